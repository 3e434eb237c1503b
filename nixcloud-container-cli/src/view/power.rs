//! start, stop, restart, terminate, freeze, unfreeze.

use nixcloud_container::ContainerName;
use serde::Serialize;

use super::View;
use crate::screen::printer::Printer;

/// What became of a container that was to start or to end.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PowerView {
    /// The container.
    name: String,
    /// What was done, or found.
    outcome: Outcome,
    /// Its init, in the host's pid namespace, where it was started.
    init_pid: Option<i32>,
}

/// What was done, or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It was booted.
    Started,
    /// It ran already.
    AlreadyRunning,
    /// It was shut down.
    Stopped,
    /// It did not run.
    NotRunning,
    /// It was shut down and booted again.
    Restarted,
    /// It was ended at once.
    Terminated,
    /// It was booted in the foreground and has ended since.
    Ended,
    /// It did not shut down in time and was killed, as asked.
    Killed,
    /// It was asked to shut down or to reboot, and not waited for.
    Asked,
    /// It rebooted.
    Rebooted,
    /// Its processes are frozen.
    Frozen,
    /// Its processes go on.
    Running,
}

impl PowerView {
    pub(crate) fn new(name: &ContainerName, outcome: Outcome) -> Self {
        Self { name: name.to_string(), outcome, init_pid: None }
    }

    pub(crate) fn with_init(mut self, pid: i32) -> Self {
        self.init_pid = Some(pid);
        self
    }

    fn words(&self) -> String {
        let name = &self.name;
        match self.outcome {
            Outcome::Started => format!("started {name}"),
            Outcome::AlreadyRunning => format!("{name} is already running"),
            Outcome::Stopped => format!("stopped {name}"),
            Outcome::NotRunning => format!("{name} is not running"),
            Outcome::Restarted => format!("restarted {name}"),
            Outcome::Terminated => format!("terminated {name}"),
            Outcome::Ended => format!("{name} has ended"),
            Outcome::Killed => {
                format!("killed {name}: it did not shut down in time, and `-l \"-t SECONDS\"` kills it then")
            }
            Outcome::Asked => format!("asked {name}, and did not wait"),
            Outcome::Rebooted => format!("rebooted {name}"),
            Outcome::Frozen => format!("{name} is frozen"),
            Outcome::Running => format!("{name} is running"),
        }
    }
}

impl View for PowerView {
    fn tell(&self, printer: &Printer) {
        printer.result(self.words());
    }
}
