//! Rows and tables: what the library answers, in the words that are printed.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nixcloud_container::{Generation, Listed, PendingRestart};

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

/// Rows with their columns aligned; two spaces between columns, none at the end of a line.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    rows.iter()
        .map(|row| {
            let line: String =
                row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}  ")).collect();
            line.trim_end().to_owned()
        })
        .collect()
}

/// The table of `list`, with its heading.
pub(crate) fn list(list: &[Listed]) -> Vec<String> {
    let mut rows = vec![["NAME", "STATE", "ADDRESS", "GENERATION", "AUTOSTART"].map(str::to_owned)];
    rows.extend(list.iter().map(listed));
    table(&rows)
}

fn listed(listed: &Listed) -> [String; 5] {
    let bare = |state: &str| [listed.name(), state, NOTHING, NOTHING, NOTHING].map(str::to_owned);
    match listed {
        Listed::Container(status) => [
            status.name.to_string(),
            status.state.to_string(),
            or_nothing(status.address),
            or_nothing(status.generation),
            if status.autostart { "yes" } else { "no" }.to_owned(),
        ],
        Listed::Broken { .. } => bare("broken"),
        _ => bare("foreign"),
    }
}

/// The lines of `list-generations`: number, time, current and booted, system version, health.
pub(crate) fn generations(list: &[Generation], zone: &TimeZone) -> Vec<String> {
    let rows: Vec<[String; 5]> = list
        .iter()
        .map(|generation| {
            [
                format!("{:>3}", generation.id),
                time(generation.created, zone),
                flags(generation.current, generation.booted).to_owned(),
                or_nothing(generation.system_version.as_deref()),
                generation.health.to_string(),
            ]
        })
        .collect();
    table(&rows)
}

fn flags(current: bool, booted: bool) -> &'static str {
    match (current, booted) {
        (true, true) => "current,booted",
        (true, false) => "current",
        (false, true) => "booted",
        (false, false) => NOTHING,
    }
}

fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn or_nothing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| NOTHING.to_owned(), |value| value.to_string())
}

/// `pending restart: KEY: old -> new`.
pub(crate) fn pending(pending: &PendingRestart) -> String {
    let values = |values: &[String]| if values.is_empty() { NOTHING.to_owned() } else { values.join(", ") };
    format!("pending restart: {}: {} -> {}", pending.key, values(&pending.running), values(&pending.next))
}

#[cfg(test)]
mod tests {
    use nixcloud_container::GenerationId;
    use nixcloud_container::generation::Health;

    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [["ä", "b", ""], ["long", "x", "y"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), ["ä     b", "long  x  y"]);
    }

    #[test]
    fn foreign_containers_are_shown_as_such() {
        let lines = list(&[Listed::Foreign { name: "debian".into() }]);
        assert_eq!(
            lines,
            ["NAME    STATE    ADDRESS  GENERATION  AUTOSTART", "debian  foreign  -        -           -"]
        );
    }

    #[test]
    fn generations_tell_time_flags_version_and_health() {
        let generation = |id, current, version: Option<&str>| Generation {
            id: GenerationId::new(id).unwrap(),
            created: Timestamp::from_second(1_700_000_000).unwrap(),
            current,
            booted: !current,
            system_version: version.map(str::to_owned),
            health: Health::Good,
            path: "/nix/store/x".into(),
        };
        let list = [generation(9, false, None), generation(10, true, Some("24.11"))];
        assert_eq!(
            generations(&list, &TimeZone::UTC),
            [
                "  9  2023-11-14 22:13:20  booted   -      good",
                " 10  2023-11-14 22:13:20  current  24.11  good",
            ]
        );
    }

    #[test]
    fn pending_changes_tell_both_values() {
        let change = PendingRestart { key: "lxc.net.0.link".into(), running: vec!["a".into()], next: vec![] };
        assert_eq!(pending(&change), "pending restart: lxc.net.0.link: a -> -");
    }
}
