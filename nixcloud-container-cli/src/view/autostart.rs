//! autostart, autostop.

use nixcloud_container::{AutostartOutcome, Autostarted, AutostopOutcome, Autostopped};
use serde::Serialize;

use super::{FailureView, View};
use crate::screen::printer::{Printer, Tone};

/// What became of the containers that start with the host.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AutostartView {
    /// Those that were booted.
    started: Vec<StartedView>,
    /// Those that ran already.
    already_running: Vec<String>,
    /// Those that did not start, whose `after` cannot be followed, or of which it cannot be read.
    failed: Vec<FailedView>,
    /// Those that were not tried, since one that they come after does not run.
    skipped: Vec<SkippedView>,
}

/// A container that was booted.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct StartedView {
    /// The container.
    name: String,
    /// Its init, in the host's pid namespace.
    init_pid: i32,
}

/// A container for which something did not work out.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FailedView {
    /// The container.
    name: String,
    /// Why.
    error: FailureView,
}

/// A container that was not tried.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SkippedView {
    /// The container.
    name: String,
    /// The one that it comes after and that does not run.
    after: String,
}

/// What became of the containers that ran.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AutostopView {
    /// Those that shut down.
    stopped: Vec<String>,
    /// Those that did not in time, and were killed.
    killed: Vec<String>,
    /// Those that still run, or of which that cannot be found out.
    failed: Vec<FailedView>,
}

impl AutostartView {
    pub(crate) fn of(all: &[Autostarted]) -> Self {
        let mut view = Self::default();
        for Autostarted { name, outcome, .. } in all {
            let name = name.to_string();
            match outcome {
                AutostartOutcome::Started { init_pid, .. } => {
                    view.started.push(StartedView { name, init_pid: *init_pid });
                }
                AutostartOutcome::Failed(error) => {
                    view.failed.push(FailedView { name, error: FailureView::of_error(error) });
                }
                AutostartOutcome::Refused(error) => {
                    view.failed.push(FailedView { name, error: FailureView::of_after(error) });
                }
                AutostartOutcome::Skipped { after, .. } => {
                    view.skipped.push(SkippedView { name, after: after.to_string() });
                }
                _ => view.already_running.push(name),
            }
        }
        view
    }

    /// Whether all of them run.
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty() && self.skipped.is_empty()
    }

    fn words(&self) -> String {
        summary(
            &[
                ("started", self.started.len()),
                ("already running", self.already_running.len()),
                ("failed", self.failed.len()),
                ("skipped", self.skipped.len()),
            ],
            "no container starts with this host",
        )
    }
}

impl View for AutostartView {
    fn tell(&self, printer: &Printer) {
        tell_failed(&self.failed, printer);
        for SkippedView { name, after } in &self.skipped {
            printer.labelled(
                Tone::Error,
                "error",
                &format!("{name}: it comes after `{after}`, which does not run"),
            );
        }
        printer.result(self.words());
    }
}

impl AutostopView {
    pub(crate) fn of(all: &[Autostopped]) -> Self {
        let mut view = Self::default();
        for Autostopped { name, outcome, .. } in all {
            let name = name.to_string();
            match outcome {
                AutostopOutcome::Failed(error) => {
                    view.failed.push(FailedView { name, error: FailureView::of_error(error) });
                }
                AutostopOutcome::Killed => view.killed.push(name),
                _ => view.stopped.push(name),
            }
        }
        view
    }

    /// Whether none of them runs.
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty()
    }

    fn words(&self) -> String {
        summary(
            &[
                ("stopped", self.stopped.len()),
                ("killed", self.killed.len()),
                ("still running or unknown", self.failed.len()),
            ],
            "no container runs",
        )
    }
}

impl View for AutostopView {
    fn tell(&self, printer: &Printer) {
        tell_failed(&self.failed, printer);
        printer.result(self.words());
    }
}

/// The counts that are not 0: `3 started, 1 failed`.
fn summary(counts: &[(&str, usize)], none: &str) -> String {
    let told = counts.iter().filter(|(_, count)| *count > 0);
    let told: Vec<String> = told.map(|(word, count)| format!("{count} {word}")).collect();
    if told.is_empty() { none.to_owned() } else { told.join(", ") }
}

/// Each failure with its way to go on; one that the next has, too, stands below the last of them.
fn tell_failed(failed: &[FailedView], printer: &Printer) {
    for (index, FailedView { name, error }) in failed.iter().enumerate() {
        error.tell_trouble(name, printer);
        let next = failed.get(index + 1).and_then(|next| next.error.hint.as_ref());
        if let Some(hint) = error.hint.as_ref().filter(|hint| next != Some(hint)) {
            printer.labelled(Tone::Hint, "hint", hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_what_there_is() {
        assert_eq!(AutostartView::default().words(), "no container starts with this host");
        assert_eq!(AutostopView::default().words(), "no container runs");
        let view = AutostartView::of(&[
            Autostarted::new("a".parse().unwrap(), AutostartOutcome::AlreadyRunning),
            Autostarted::new(
                "b".parse().unwrap(),
                AutostartOutcome::Failed(nixcloud_container::Error::NeedsRoot),
            ),
        ]);
        assert_eq!(view.words(), "1 already running, 1 failed");
        assert!(!view.is_good());
    }
}
