//! What the live display shows now: one line with the phase, and a few below it with what it is at.

use std::time::{Duration, Instant};

use nixcloud_container::{ContainerChange, Event};

use super::lines::{doing, waiting};
use super::tally::{Tally, seconds};
use crate::view::size;

/// What is shown from a Ctrl-C on until what it interrupts has ended.
const INTERRUPTED: &str = "stopping; Ctrl-C again ends at once";

/// The state of one operation.
#[derive(Debug)]
pub(super) struct Operation {
    tally: Tally,
    /// The one of several containers that it is about.
    about: Option<String>,
    doing: Option<String>,
    since: Instant,
    /// Builds that run, or containers that start or stop, the oldest first.
    building: Vec<String>,
    builds: (u64, u64),
    fetching: Vec<String>,
    bytes: (u64, u64),
    /// What a build or the switch said last.
    last: String,
}

/// What is to be drawn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    /// What is done.
    pub(super) head: String,
    /// For how long, from a second on.
    pub(super) time: String,
    /// So many of so many.
    pub(super) count: Option<(u64, u64)>,
    /// What it is at.
    pub(super) below: Vec<String>,
}

impl Operation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            tally: Tally::default(),
            about: None,
            doing: None,
            since: now,
            building: Vec::new(),
            builds: (0, 0),
            fetching: Vec::new(),
            bytes: (0, 0),
            last: String::new(),
        }
    }

    /// Something begins that no event tells.
    pub(super) fn begin(&mut self, what: &str, now: Instant) {
        *self = Self { doing: Some(what.to_owned()), ..Self::new(now) };
    }

    /// Takes an event in; the line that it leaves above the display, if any.
    pub(super) fn event(&mut self, event: &Event, now: Instant) -> Option<String> {
        self.tally.count(event);
        match event {
            Event::Phase(phase) => {
                let tally = std::mem::take(&mut self.tally);
                let doing = Some(doing(*phase, tally.undoing()));
                *self = Self { tally, about: self.about.take(), doing, ..Self::new(now) };
            }
            Event::Container { name, number, of, .. } => {
                self.about = Some(format!("{name} ({number} of {of})"));
            }
            Event::Done { phase, took, .. } => {
                self.doing = None;
                return self.tally.line(*phase, *took);
            }
            Event::Waiting { holder, .. } => {
                self.begin(&waiting(*holder), now);
            }
            Event::BuildStarted { name, .. } => self.building.push(name.clone()),
            Event::BuildFinished { name, .. } => {
                forget(&mut self.building, name);
                self.last.clear();
            }
            Event::ContainerChanged {
                name,
                change: ContainerChange::Starting | ContainerChange::Stopping,
                ..
            } => {
                self.building.push(name.to_string());
            }
            Event::ContainerChanged { name, change, .. } => {
                forget(&mut self.building, name.as_str());
                // Those that go well are counted.
                let bad = matches!(
                    change,
                    ContainerChange::Failed | ContainerChange::Killed | ContainerChange::Skipped
                );
                return bad.then(|| format!("{name}: {}", change.words()));
            }
            Event::ContainerCount { done, expected, .. } => self.builds = (*done, *expected),
            Event::BuildCount { done, expected, .. } => self.builds = (*done, *expected),
            Event::BuildLog { name, line, .. } if self.building.len() > 1 => {
                self.last = format!("{name}> {line}");
            }
            Event::BuildLog { line, .. } => self.last = format!("> {line}"),
            Event::DownloadStarted { name, .. } => self.fetching.push(name.clone()),
            Event::DownloadFinished { name, .. } => forget(&mut self.fetching, name),
            Event::DownloadCount { done, expected, .. } => self.bytes = (*done, *expected),
            Event::Activation { line, .. } => self.last.clone_from(line),
            Event::Units { change, names, .. } => {
                self.last = format!("{}: {}", change.words(), names.join(", "));
            }
            _ => {}
        }
        None
    }

    /// What there is to see, on a terminal so wide; `None` between phases.
    pub(super) fn view(&self, now: Instant, width: usize, interrupted: bool) -> Option<View> {
        let doing = self.doing.as_ref()?;
        if interrupted && !self.tally.undoing() {
            return Some(View { head: INTERRUPTED.to_owned(), ..View::default() });
        }
        // Below them there are two blanks at the left.
        let room = width.saturating_sub(2);
        let mut below = Vec::new();
        if !self.building.is_empty() {
            below.push(fitting(&self.building, room));
        }
        if !self.fetching.is_empty() || self.bytes.0 < self.bytes.1 {
            let bytes = match self.bytes {
                (_, 0) => "fetching".to_owned(),
                (done, expected) => format!("fetching {} of {}", size(done), size(expected)),
            };
            below.push(if self.fetching.is_empty() {
                bytes
            } else {
                let names = fitting(&self.fetching, room.saturating_sub(bytes.len() + 2));
                format!("{bytes}: {names}")
            });
        }
        if !self.last.trim().is_empty() {
            below.push(self.last.trim().to_owned());
        }
        let elapsed = now.saturating_duration_since(self.since);
        // Who waits for less than that has no use for it.
        let time = if elapsed < Duration::from_secs(1) { String::new() } else { seconds(elapsed) };
        let head = self.about.as_ref().map_or_else(|| doing.clone(), |about| format!("{about}: {doing}"));
        Some(View { head, time, count: (self.builds.1 > 0).then_some(self.builds), below })
    }
}

fn forget(names: &mut Vec<String>, name: &str) {
    if let Some(at) = names.iter().position(|known| known == name) {
        names.remove(at);
    }
}

/// As many names as there is room for, and how many more there are. The first one is shown in any case.
fn fitting(names: &[String], room: usize) -> String {
    let all = names.join(", ");
    if all.chars().count() <= room {
        return all;
    }
    let more = |count: usize| {
        if count == names.len() { String::new() } else { format!(" +{} more", names.len() - count) }
    };
    let first = |count: usize| format!("{}{}", names[..count].join(", "), more(count));
    let fits = |count: &usize| first(*count).chars().count() <= room;
    (1..names.len()).rev().find(fits).map_or_else(|| first(1), first)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event;
    use nixcloud_container::{Phase, UnitChange};

    use super::*;

    fn after(events: &[Event], late: Duration) -> (Vec<String>, Option<View>) {
        let now = Instant::now();
        let mut operation = Operation::new(now);
        let said = events.iter().filter_map(|event| operation.event(event, now)).collect();
        (said, operation.view(now + late, 40, false))
    }

    #[test]
    fn nothing_is_shown_before_the_first_phase_and_after_the_last() {
        assert_eq!(after(&[], Duration::ZERO).1, None);
        let took = Duration::from_millis(1_230);
        let (said, view) = after(
            &[
                Event::Phase(Phase::Evaluate),
                event("done", json!({ "phase": Phase::Evaluate, "took": took })),
            ],
            Duration::ZERO,
        );
        assert_eq!((said, view), (vec!["evaluated in 1.2 s".to_owned()], None));
    }

    #[test]
    fn builds_and_downloads_are_counted_and_named() {
        let started = |name: &str| event("build_started", json!({ "name": name }));
        let (_, view) = after(
            &[
                Event::Phase(Phase::Build),
                event("build_count", json!({ "done": 1, "expected": 9 })),
                started("etc"),
                started("nixos-system-web-24.11"),
                started("a-third-one"),
                started("a-fourth-one"),
                event("build_finished", json!({ "name": "etc" })),
                event("download_started", json!({ "name": "glibc-2.40" })),
                event("download_count", json!({ "done": 1 << 20, "expected": 3 << 20 })),
                event("build_log", json!({ "name": "a-third-one", "line": "cc x.c" })),
            ],
            Duration::from_secs(75),
        );
        let view = view.unwrap();
        assert_eq!(
            (view.head.as_str(), view.time.as_str(), view.count),
            ("building", "1 min 15 s", Some((1, 9)))
        );
        assert_eq!(
            view.below,
            [
                "nixos-system-web-24.11 +2 more",
                "fetching 1.0 MiB of 3.0 MiB: glibc-2.40",
                "a-third-one> cc x.c"
            ]
        );
    }

    #[test]
    fn the_one_of_several_is_named() {
        let events = [
            event("container", json!({ "name": "web", "number": 2, "of": 9 })),
            Event::Phase(Phase::Install),
        ];
        assert_eq!(after(&events, Duration::ZERO).1.unwrap().head, "web (2 of 9): installing");
    }

    #[test]
    fn containers_are_counted_and_only_bad_ends_stay_on_the_screen() {
        let container =
            |name: &str, change| event("container_changed", json!({ "name": name, "change": change }));
        let (said, view) = after(
            &[
                Event::Phase(Phase::Start),
                event("container_count", json!({ "done": 0, "expected": 4 })),
                container("a", ContainerChange::Starting),
                container("b", ContainerChange::Starting),
                container("a", ContainerChange::Started),
                container("c", ContainerChange::Starting),
                container("c", ContainerChange::Failed),
                event("container_count", json!({ "done": 2, "expected": 4 })),
            ],
            Duration::ZERO,
        );
        let view = view.unwrap();
        assert_eq!((view.head.as_str(), view.count), ("starting", Some((2, 4))));
        assert_eq!((view.below, said), (vec!["b".to_owned()], vec!["c: failed".to_owned()]));
    }

    #[test]
    fn units_are_shown_as_they_change() {
        let (_, view) = after(
            &[
                Event::Phase(Phase::Activate),
                event("activation", json!({ "line": "restarting the following units: web.service" })),
                event("units", json!({ "change": UnitChange::Restarting, "names": ["web.service"] })),
            ],
            Duration::ZERO,
        );
        assert_eq!(view.unwrap().below, ["restarting: web.service"]);
    }

    #[test]
    fn an_interruption_is_shown_until_it_is_undone() {
        let now = Instant::now();
        let mut operation = Operation::new(now);
        operation.event(&Event::Phase(Phase::Activate), now);
        assert_eq!(operation.view(now, 40, true).unwrap().head, INTERRUPTED);
        operation.event(&Event::Phase(Phase::Undo), now);
        assert_eq!(operation.view(now, 40, true).unwrap().head, "undoing");
        operation.event(&Event::Phase(Phase::Activate), now);
        assert_eq!(operation.view(now, 40, true).unwrap().head, "activating the old generation again");
    }

    #[test]
    fn a_wait_is_shown_until_the_work_begins() {
        let wait = event("waiting", json!({ "holder": null }));
        assert!(
            after(std::slice::from_ref(&wait), Duration::ZERO)
                .1
                .unwrap()
                .head
                .starts_with("waiting for another")
        );
        let (_, view) = after(&[wait, Event::Phase(Phase::Evaluate)], Duration::ZERO);
        assert_eq!(view.unwrap().head, "evaluating");
    }

    #[test]
    fn names_fill_the_room_that_there_is() {
        let names: Vec<String> = ["alpha", "beta", "gamma"].map(str::to_owned).into();
        assert_eq!(fitting(&names, 40), "alpha, beta, gamma");
        assert_eq!(fitting(&names, 18), "alpha, beta, gamma");
        assert_eq!(fitting(&names, 17), "alpha +2 more");
        assert_eq!(fitting(&names[..2], 3), "alpha +1 more");
        assert_eq!(fitting(&names, 0), "alpha +2 more");
    }
}
