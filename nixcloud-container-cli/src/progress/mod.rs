//! What an operation is doing, as plain lines on stderr.

use std::collections::HashSet;

use nixcloud_container::{Event, Observer, Phase};

use crate::printer::{Printer, Tone, clean};
use crate::view::size;

/// Prints the events of one operation.
#[derive(Debug)]
pub(crate) struct Progress<'p> {
    printer: &'p Printer,
    /// Whether the lines of build logs are shown.
    logs: bool,
    lines: Lines,
}

impl<'p> Progress<'p> {
    /// With `logs` the logs of builds are shown, too.
    pub(crate) fn new(printer: &'p Printer, logs: bool) -> Self {
        Self { printer, logs, lines: Lines::default() }
    }
}

impl Observer for Progress<'_> {
    fn event(&mut self, event: Event) {
        match event {
            Event::NixMessage { warning: true, text } => self.printer.note(Tone::Warning, "warning", &text),
            Event::Note(text) => self.printer.note(Tone::Hint, "note", &text),
            Event::BuildLog { name, line } if self.logs => {
                self.printer.progress(format!("{name}> {}", clean(&line)));
            }
            event => {
                if let Some(line) = self.lines.of(event) {
                    self.printer.progress(clean(&line));
                }
            }
        }
    }
}

/// Turns events into lines.
#[derive(Debug, Default)]
struct Lines {
    started: HashSet<String>,
    expected: u64,
    downloading: bool,
}

impl Lines {
    fn of(&mut self, event: Event) -> Option<String> {
        match event {
            Event::Phase(phase) => self.phase(phase).map(str::to_owned),
            Event::BuildCount { expected, .. } => {
                self.expected = expected;
                None
            }
            Event::BuildStarted { name } => {
                self.started.insert(name.clone());
                let begun = self.started.len() as u64;
                Some(match self.expected {
                    // Nix tells its count late, or not at all.
                    0 | 1 if begun <= 1 => format!("building {name}"),
                    expected => format!("building ({begun}/{}) {name}", expected.max(begun)),
                })
            }
            Event::DownloadCount { expected, .. } if expected > 0 && !self.downloading => {
                self.downloading = true;
                Some(format!("fetching {}", size(expected)))
            }
            Event::Activation { line } if !line.trim().is_empty() => Some(format!("activating: {line}")),
            _ => None,
        }
    }

    fn phase(&mut self, phase: Phase) -> Option<&'static str> {
        *self = Self::default();
        match phase {
            Phase::Evaluate => Some("evaluating"),
            // Each build has a line of its own; often there is none.
            Phase::Build => None,
            Phase::Install => Some("installing"),
            Phase::Activate => Some("activating"),
            Phase::Undo => Some("undoing"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_are_counted() {
        let mut lines = Lines::default();
        let started = |name: &str| Event::BuildStarted { name: name.into() };
        assert_eq!(lines.of(Event::Phase(Phase::Build)), None);
        assert_eq!(lines.of(Event::BuildCount { done: 0, expected: 2 }), None);
        assert_eq!(lines.of(started("etc")).unwrap(), "building (1/2) etc");
        assert_eq!(lines.of(started("system")).unwrap(), "building (2/2) system");
        assert_eq!(lines.of(started("late")).unwrap(), "building (3/3) late");
    }

    #[test]
    fn a_lone_build_is_not_counted() {
        assert_eq!(Lines::default().of(Event::BuildStarted { name: "x".into() }).unwrap(), "building x");
    }

    #[test]
    fn downloads_are_told_once() {
        let mut lines = Lines::default();
        assert_eq!(lines.of(Event::DownloadCount { done: 0, expected: 0 }), None);
        let line = lines.of(Event::DownloadCount { done: 0, expected: 3 * 1024 * 1024 / 2 }).unwrap();
        assert_eq!(line, "fetching 1.5 MiB");
        assert_eq!(lines.of(Event::DownloadCount { done: 9, expected: 99 }), None);
    }
}
