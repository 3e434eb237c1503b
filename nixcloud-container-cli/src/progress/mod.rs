//! What an operation is doing, on stderr: live where a terminal can be drawn on, else as plain lines.

mod lines;
mod live;
mod operation;
mod tally;

use nixcloud_container::{Cancel, ContainerName, Event, Observer, Planned};

use crate::screen::colours::{self, Stream};
use crate::screen::printer::{Printer, Tone, clean};
use crate::view::plan;

use lines::Lines;
use live::Live;

/// Shows the events of one operation. What is drawn is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Progress<'p> {
    printer: &'p Printer,
    /// Whether the lines of build logs are shown.
    logs: bool,
    how: How,
    /// The one of several containers that it is about.
    about: Option<ContainerName>,
}

#[derive(Debug)]
enum How {
    Live(Live),
    Lines(Lines),
}

impl<'p> Progress<'p> {
    /// With `logs` the logs of builds are shown, too.
    pub(crate) fn new(printer: &'p Printer, logs: bool, cancel: &Cancel) -> Self {
        let live = Stream::Err.is_terminal() && !colours::dumb() && !printer.quiet();
        let how = if live {
            How::Live(Live::new(printer.bottom(), Stream::Err.coloured(), cancel))
        } else {
            How::Lines(Lines::default())
        };
        Self { printer, logs, how, about: None }
    }

    /// Shows what is done where no event tells it, if it takes long enough.
    pub(crate) fn doing(self, what: &str) -> Self {
        if let How::Live(live) = &self.how {
            live.doing(what);
        }
        self
    }
}

impl Observer for Progress<'_> {
    fn event(&mut self, event: Event) {
        let said = match &mut self.how {
            // Above the display there is the whole of it.
            How::Live(_) if self.logs && matches!(event, Event::BuildLog { .. }) => None,
            How::Live(live) => live.event(&event),
            How::Lines(lines) => lines.of(&event),
        };
        if let Some(line) = said {
            let about = self.about.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            self.printer.progress(clean(&format!("{about}{line}")));
        }
        match event {
            Event::Planned(steps) if steps.iter().any(|(_, step)| *step != Planned::Unchanged) => {
                for line in plan(steps.iter().map(|(name, step)| (name.as_str(), *step))) {
                    self.printer.progress(clean(&line));
                }
            }
            Event::Container { name, .. } => self.about = Some(name),
            Event::NixMessage { warning: true, text, .. } => {
                self.printer.note(Tone::Warning, "warning", warning_of(&text));
            }
            Event::NixMessage { text, .. } if self.printer.verbose() || text.starts_with("trace: ") => {
                self.printer.progress(clean(&text));
            }
            Event::Note(note) => self.printer.note(Tone::Hint, "note", &note.to_string()),
            Event::BuildLog { name, line, .. } if self.logs => {
                self.printer.progress(clean(&format!("{name}> {line}")));
            }
            Event::DownloadStarted { name, .. } if self.printer.verbose() => {
                self.printer.progress(clean(&format!("fetching {name}")));
            }
            Event::Activation { line, .. } if self.printer.verbose() || is_news(&line) => {
                self.printer.progress(clean(&format!("guest> {}", line.trim_end())));
            }
            Event::Health { generation, health, .. } if self.printer.verbose() => {
                self.printer.progress(format!("generation {generation} is {health}"));
            }
            _ => {}
        }
    }
}

/// A warning without the words that Nix and nixpkgs, by their versions, put before it.
fn warning_of(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(rest) =
        ["warning:", "trace:", "evaluation warning:"].iter().find_map(|words| text.strip_prefix(words))
    {
        text = rest.trim_start();
    }
    text
}

/// Whether a line of `switch-to-configuration` says something that the rest of the display does not: what every switch
/// prints is left out, and what it says about units is told as such.
fn is_news(line: &str) -> bool {
    const ROUTINE: [&str; 14] = [
        "activating the configuration",
        "setting up ",
        "reloading user units for ",
        "restarting sysinit-reactivation.target",
        "restarting systemd",
        "stopping the following units:",
        "starting the following units:",
        "NOT restarting the following changed units:",
        "NOT restarting the following units:",
        "restarting the following units:",
        "reloading the following units:",
        "the following new units were started:",
        "warning: the following units failed:",
        "Done. The new configuration is",
    ];
    let line = line.trim();
    !line.is_empty() && !ROUTINE.iter().any(|start| line.starts_with(start))
}

/// An event by its word and its fields, as programs store it: its own fields may become more.
#[cfg(test)]
fn event(word: &str, fields: serde_json::Value) -> Event {
    let stored = serde_json::Map::from_iter([(word.to_owned(), fields)]);
    serde_json::from_value(stored.into()).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_called_so_once() {
        for text in ["warning: old", "trace: warning: old", "evaluation warning: old", "old"] {
            assert_eq!(warning_of(text), "old");
        }
        assert_eq!(warning_of("warning:"), "");
    }

    #[test]
    fn what_every_switch_says_is_no_news() {
        for routine in [
            "",
            "  ",
            "activating the configuration...",
            "setting up /etc...",
            "starting the following units: a.service",
        ] {
            assert!(!is_news(routine), "{routine}");
        }
        assert!(is_news("Activation script snippet 'users' failed (1)"));
    }
}
