//! list-generations, delete-generations.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nixcloud_container::{ContainerName, Generation};
use serde::Serialize;

use super::{NOTHING, Table, View, or_nothing};
use crate::screen::printer::Printer;

/// The generations of a container, oldest first.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct GenerationsView {
    /// The container.
    name: String,
    /// Its generations.
    generations: Vec<GenerationView>,
}

/// A generation.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct GenerationView {
    /// Its number.
    id: u64,
    /// When it was made, as RFC 3339.
    created: String,
    /// Whether it boots at the next start.
    current: bool,
    /// Whether an operation is switching to it, or was when it was cut off: it has not proved itself, and the next change or
    /// start puts the current one back.
    unproved: bool,
    /// Whether it is current because somebody chose it: `update --all` leaves it.
    pinned: bool,
    /// Whether the running guest was booted from it.
    booted: bool,
    /// The version of its NixOS.
    system_version: Option<String>,
    /// `good`: it was activated without a fault, or has booted and run; `bad`: its activation failed, or left failed units;
    /// `undone`: it was left again before it was activated; `untried`: nothing is known of it.
    health: String,
    /// Where it is in the store.
    path: PathBuf,
    #[serde(skip)]
    time: Timestamp,
}

impl GenerationsView {
    pub(crate) fn of(name: &ContainerName, generations: &[Generation]) -> Self {
        let view = |generation: &Generation| GenerationView {
            id: generation.id.get(),
            created: generation.created.to_string(),
            current: generation.current,
            unproved: generation.unproved,
            pinned: generation.pinned,
            booted: generation.booted,
            system_version: generation.system_version.clone(),
            health: generation.health.to_string(),
            path: generation.path.as_path().to_owned(),
            time: generation.created,
        };
        Self { name: name.to_string(), generations: generations.iter().map(view).collect() }
    }

    pub(super) fn lines(&self, zone: &TimeZone) -> Vec<String> {
        let mut table = Table::new(&["ID", "CREATED", "ROLE", "VERSION", "HEALTH"]);
        for generation in &self.generations {
            let created = generation.time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
            table.row([
                generation.id.to_string(),
                created,
                generation.role(),
                or_nothing(generation.system_version.as_deref()),
                generation.health.clone(),
            ]);
        }
        table.right(0).lines()
    }
}

impl View for GenerationsView {
    fn tell(&self, printer: &Printer) {
        // The heading is for people; a script counts lines.
        let heading = usize::from(!printer.for_people());
        for line in self.lines(&TimeZone::system()).into_iter().skip(heading) {
            printer.answer(line);
        }
    }
}

impl GenerationView {
    fn role(&self) -> String {
        let roles = [
            ("current", self.current),
            ("pinned", self.pinned),
            ("unproved", self.unproved),
            ("booted", self.booted),
        ];
        let roles: Vec<&str> = roles.into_iter().filter(|(_, is)| *is).map(|(role, _)| role).collect();
        if roles.is_empty() { NOTHING.to_owned() } else { roles.join(",") }
    }
}

/// The generations that were deleted, or would be.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Deleted {
    /// The container.
    pub(crate) name: String,
    /// Their numbers.
    pub(crate) deleted: Vec<u64>,
    /// Whether it was only planned: they are there still.
    pub(crate) dry_run: bool,
}

impl View for Deleted {
    fn tell(&self, printer: &Printer) {
        let ids: Vec<String> = self.deleted.iter().map(ToString::to_string).collect();
        let deleted = if self.dry_run { "would delete" } else { "deleted" };
        printer.result(match ids.as_slice() {
            [] => format!("{} has no such generation to delete", self.name),
            [id] => format!("{deleted} generation {id} of {}", self.name),
            ids => format!("{deleted} generations {} of {}", ids.join(", "), self.name),
        });
    }
}

#[cfg(test)]
mod tests {
    use nixcloud_container::generation::Health;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn generations_tell_time_role_version_and_health() {
        let generation = |id: u64, current: bool, version: Option<&str>| -> Generation {
            from_value(json!({
                "id": id, "created": Timestamp::from_second(1_700_000_000).unwrap(), "current": current,
                "unproved": false, "pinned": false, "booted": !current, "system_version": version,
                "health": Health::Good, "path": "/nix/store/x",
            }))
            .unwrap()
        };
        let list = [generation(9, false, None), generation(10, true, Some("24.11"))];
        let view = GenerationsView::of(&"web".parse().unwrap(), &list);
        assert_eq!(
            view.lines(&TimeZone::UTC),
            [
                "ID  CREATED              ROLE     VERSION  HEALTH",
                " 9  2023-11-14 22:13:20  booted   -        good",
                "10  2023-11-14 22:13:20  current  24.11    good",
            ]
        );
    }
}
