//! What a phase has done, counted, and how that is told when it is over.

use std::time::Duration;

use nixcloud_container::{Event, Phase, UnitChange};

use crate::view::size;

/// The counts of one phase.
#[derive(Debug, Default)]
pub(super) struct Tally {
    built: Vec<String>,
    fetched: u64,
    bytes: u64,
    units: Vec<(UnitChange, String)>,
    /// Whether an earlier state is being put back.
    undoing: bool,
}

/// A phase that took no longer than this and has nothing to show is not worth a line.
pub(super) const SHORT: Duration = Duration::from_secs(1);

impl Tally {
    /// Counts what an event says.
    pub(super) fn count(&mut self, event: &Event) {
        match event {
            Event::Phase(phase) => {
                *self = Self { undoing: self.undoing || *phase == Phase::Undo, ..Self::default() };
            }
            // The next of several: what was undone was another's.
            Event::Container { .. } => *self = Self::default(),
            Event::BuildFinished { name, .. } => self.built.push(name.clone()),
            Event::DownloadFinished { .. } => self.fetched += 1,
            // It is told when all has come. Nix does not count to the end of each.
            Event::DownloadCount { expected, .. } => self.bytes = *expected,
            Event::Units { change, names, .. } => {
                self.units.extend(names.iter().map(|name| (*change, name.clone())));
            }
            _ => {}
        }
    }

    /// The line that a phase leaves, if it is worth one.
    pub(super) fn line(&self, phase: Phase, took: Duration) -> Option<String> {
        let time = seconds(took);
        Some(match phase {
            Phase::Evaluate => format!("evaluated in {time}"),
            Phase::Build => match (self.fetched(), self.built()) {
                (None, None) => return None,
                (Some(done), None) | (None, Some(done)) => format!("{done} in {time}"),
                (Some(fetched), Some(built)) => format!("{fetched} and {built} in {time}"),
            },
            Phase::Activate if self.undoing => format!("activated the old generation again in {time}"),
            Phase::Activate => match self.units() {
                units if units.is_empty() => format!("activated in {time}"),
                units => format!("activated in {time}: {units}"),
            },
            _ if took < SHORT => return None,
            Phase::Install => format!("installed in {time}"),
            Phase::Undo => format!("undone in {time}"),
            _ => return None,
        })
    }

    /// Whether an earlier state is being put back.
    pub(super) fn undoing(&self) -> bool {
        self.undoing
    }

    /// Forgets the units, which have been told one by one.
    pub(super) fn forget_units(&mut self) {
        self.units.clear();
    }

    fn built(&self) -> Option<String> {
        match &self.built[..] {
            [] => None,
            [name] => Some(format!("built {name}")),
            names => Some(format!("built {} derivations", names.len())),
        }
    }

    fn fetched(&self) -> Option<String> {
        let paths = match self.fetched {
            0 => return None,
            1 => "1 path".to_owned(),
            count => format!("{count} paths"),
        };
        Some(if self.bytes > 0 {
            format!("fetched {paths} ({})", size(self.bytes))
        } else {
            format!("fetched {paths}")
        })
    }

    /// What happened to units: one that was stopped and started was restarted.
    pub(super) fn units(&self) -> String {
        let of = |wanted: UnitChange| {
            self.units.iter().filter(move |(change, _)| *change == wanted).map(|(_, name)| name.as_str())
        };
        let stopped: Vec<&str> = of(UnitChange::Stopping).collect();
        let begun: Vec<&str> = of(UnitChange::Starting).collect();
        let (again, fresh): (Vec<&str>, Vec<&str>) = begun.iter().partition(|name| stopped.contains(name));
        let groups = [
            ("restarted", of(UnitChange::Restarting).chain(again).collect::<Vec<_>>()),
            ("reloaded", of(UnitChange::Reloading).collect()),
            ("started", fresh.into_iter().chain(of(UnitChange::Started)).collect()),
            ("stopped", stopped.iter().copied().filter(|name| !begun.contains(name)).collect()),
            ("failed", of(UnitChange::Failed).collect()),
        ];
        let changed = groups.iter().filter(|(_, names)| !names.is_empty());
        changed.map(|(word, names)| format!("{word} {}", some(names))).collect::<Vec<_>>().join("; ")
    }
}

/// A few names, and how many more there are.
pub(super) fn some(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    // Not for one more: it takes as much room as the words.
    if names.len() <= SHOWN + 1 {
        return names.join(", ");
    }
    format!("{} +{} more", names[..SHOWN].join(", "), names.len() - SHOWN)
}

/// A time, for people.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f32()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event;
    use super::*;

    fn tally(events: &[Event]) -> Tally {
        let mut tally = Tally::default();
        events.iter().for_each(|event| tally.count(event));
        tally
    }

    fn units(change: UnitChange, names: &[&str]) -> Event {
        event("units", json!({ "change": change, "names": names }))
    }

    #[test]
    fn a_build_is_told_by_what_was_done() {
        let second = Duration::from_millis(4_500);
        let built = |name: &str| event("build_finished", json!({ "name": name }));
        let fetched = || event("download_finished", json!({ "name": "glibc" }));
        assert_eq!(tally(&[]).line(Phase::Build, second), None);
        assert_eq!(tally(&[built("etc")]).line(Phase::Build, second).unwrap(), "built etc in 4.5 s");
        let all = [
            fetched(),
            event("download_count", json!({ "done": 7, "expected": 3 << 19 })),
            built("a"),
            built("b"),
        ];
        assert_eq!(
            tally(&all).line(Phase::Build, second).unwrap(),
            "fetched 1 path (1.5 MiB) and built 2 derivations in 4.5 s"
        );
    }

    #[test]
    fn units_are_told_by_what_became_of_them() {
        let tally = tally(&[
            Event::Phase(Phase::Activate),
            units(UnitChange::Stopping, &["web.service", "old.service"]),
            units(UnitChange::Reloading, &["dbus.service"]),
            units(UnitChange::Starting, &["web.service", "db.service"]),
            units(UnitChange::Kept, &["display.service"]),
        ]);
        assert_eq!(
            tally.line(Phase::Activate, Duration::from_millis(840)).unwrap(),
            "activated in 0.8 s: restarted web.service; reloaded dbus.service; started db.service; stopped old.service"
        );
    }

    #[test]
    fn short_work_without_news_is_not_told() {
        assert_eq!(tally(&[]).line(Phase::Install, Duration::from_millis(300)), None);
        assert_eq!(tally(&[]).line(Phase::Undo, Duration::from_secs(75)).unwrap(), "undone in 1 min 15 s");
    }

    #[test]
    fn many_names_are_a_few() {
        assert_eq!(some(&["a"; 6]), "a, a, a, a, a, a");
        assert_eq!(some(&["a"; 7]), "a, a, a, a, a +2 more");
    }
}
