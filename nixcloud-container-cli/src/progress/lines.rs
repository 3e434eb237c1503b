//! What an operation is doing, as plain lines: for pipes, logs and terminals that cannot be drawn on.

use std::collections::HashSet;

use nixcloud_container::{ContainerChange, Event, Phase};

use super::tally::{SHORT, Tally, some};
use crate::view::size;

/// Turns events into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    tally: Tally,
    started: HashSet<String>,
    expected: u64,
    downloading: bool,
}

impl Lines {
    /// The line that an event is worth, if it is.
    pub(super) fn of(&mut self, event: &Event) -> Option<String> {
        self.tally.count(event);
        match event {
            Event::Phase(phase) => {
                *self = Self { tally: std::mem::take(&mut self.tally), ..Self::default() };
                // Each build, and each container, has a line of its own; often there is none.
                (!matches!(phase, Phase::Build | Phase::Start | Phase::Stop))
                    .then(|| doing(*phase, self.tally.undoing()))
            }
            Event::Done { phase: Phase::Evaluate, took, .. } if *took < SHORT => None,
            Event::Done { phase, took, .. } => self.tally.line(*phase, *took),
            Event::Waiting { holder, .. } => Some(waiting(*holder)),
            Event::BuildCount { expected, .. } => {
                self.expected = *expected;
                None
            }
            Event::BuildStarted { name, .. } => {
                self.started.insert(name.clone());
                let begun = self.started.len() as u64;
                Some(match self.expected {
                    // Nix tells its count late, or not at all.
                    0 | 1 if begun <= 1 => format!("building {name}"),
                    expected => format!("building ({begun}/{}) {name}", expected.max(begun)),
                })
            }
            Event::DownloadCount { expected, .. } if *expected > 0 && !self.downloading => {
                self.downloading = true;
                Some(format!("fetching {}", size(*expected)))
            }
            Event::Units { change, names, .. } => {
                self.tally.forget_units();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                Some(format!("{}: {}", change.words(), some(&names)))
            }
            Event::ContainerChanged {
                change: ContainerChange::Starting | ContainerChange::Stopping, ..
            } => None,
            Event::ContainerChanged { name, change, .. } => Some(format!("{name}: {}", change.words())),
            _ => None,
        }
    }
}

/// Whom a lock is waited for.
pub(super) fn waiting(holder: Option<u32>) -> String {
    match holder {
        Some(pid) => format!("waiting for process {pid}, which changes this container"),
        None => "waiting for another process, which changes this container".to_owned(),
    }
}

/// What is done in a phase; `undoing` when it puts back what was.
pub(super) fn doing(phase: Phase, undoing: bool) -> String {
    match phase {
        Phase::Evaluate => "evaluating",
        Phase::Build => "building",
        Phase::Install => "installing",
        Phase::Foresee => "asking the guest",
        Phase::Activate if undoing => "activating the old generation again",
        Phase::Activate => "activating",
        Phase::Undo => "undoing",
        Phase::Start => "starting",
        Phase::Stop => "stopping",
        Phase::Wait => "waiting until it is ready",
        _ => return phase.to_string(),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event;
    use std::time::Duration;

    use nixcloud_container::UnitChange;

    use super::*;

    #[test]
    fn builds_are_counted() {
        let mut lines = Lines::default();
        let started = |name: &str| event("build_started", json!({ "name": name }));
        assert_eq!(lines.of(&Event::Phase(Phase::Build)), None);
        assert_eq!(lines.of(&event("build_count", json!({ "done": 0, "expected": 2 }))), None);
        assert_eq!(lines.of(&started("etc")).unwrap(), "building (1/2) etc");
        assert_eq!(lines.of(&started("system")).unwrap(), "building (2/2) system");
        assert_eq!(lines.of(&started("late")).unwrap(), "building (3/3) late");
        for name in ["etc", "system", "late"] {
            assert_eq!(lines.of(&event("build_finished", json!({ "name": name }))), None);
        }
        let done = event("done", json!({ "phase": Phase::Build, "took": Duration::from_millis(1240) }));
        assert_eq!(lines.of(&done).unwrap(), "built 3 derivations in 1.2 s");
    }

    #[test]
    fn a_lone_build_is_not_counted() {
        assert_eq!(
            Lines::default().of(&event("build_started", json!({ "name": "x" }))).unwrap(),
            "building x"
        );
    }

    #[test]
    fn downloads_are_told_once() {
        let mut lines = Lines::default();
        assert_eq!(lines.of(&event("download_count", json!({ "done": 0, "expected": 0 }))), None);
        let line = lines
            .of(&event("download_count", json!({ "done": 0, "expected": 3 * 1024 * 1024 / 2 })))
            .unwrap();
        assert_eq!(line, "fetching 1.5 MiB");
        assert_eq!(lines.of(&event("download_count", json!({ "done": 9, "expected": 99 }))), None);
    }

    #[test]
    fn units_are_told_as_they_change() {
        let mut lines = Lines::default();
        assert_eq!(lines.of(&Event::Phase(Phase::Activate)).unwrap(), "activating");
        let change = event("units", json!({ "change": UnitChange::Restarting, "names": ["web.service"] }));
        assert_eq!(lines.of(&change).unwrap(), "restarting: web.service");
        let done = event("done", json!({ "phase": Phase::Activate, "took": Duration::from_millis(500) }));
        assert_eq!(lines.of(&done).unwrap(), "activated in 0.5 s");
    }

    #[test]
    fn each_container_is_told_when_it_is_done_with() {
        let mut lines = Lines::default();
        let container = |change| event("container_changed", json!({ "name": "web", "change": change }));
        assert_eq!(lines.of(&Event::Phase(Phase::Start)), None);
        assert_eq!(lines.of(&container(ContainerChange::Starting)), None);
        assert_eq!(lines.of(&container(ContainerChange::Started)).unwrap(), "web: started");
        assert_eq!(lines.of(&container(ContainerChange::AlreadyRunning)).unwrap(), "web: already running");
    }

    #[test]
    fn whom_is_waited_for_is_said() {
        let line = Lines::default().of(&event("waiting", json!({ "holder": 7 }))).unwrap();
        assert_eq!(line, "waiting for process 7, which changes this container");
    }
}
