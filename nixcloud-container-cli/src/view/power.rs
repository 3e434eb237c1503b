//! start, stop, restart, terminate, freeze, unfreeze.

use nixcloud_container::{ContainerName, Readiness, SystemState};
use serde::Serialize;

use super::View;
use crate::screen::printer::{Printer, Tone};

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
    /// How it is, where that was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<ReadyView>,
}

/// How a guest is that was waited for.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ReadyView {
    /// The level that was waited for, and reached.
    level: String,
    /// What its systemd says: `running`, `degraded`, or `plain` of a guest without; null where it was not asked.
    system: Option<&'static str>,
    /// The units that failed, where it is degraded.
    failed_units: Vec<String>,
    /// How long it was waited for, in seconds.
    seconds: f64,
}

impl ReadyView {
    fn of(readiness: &Readiness) -> Self {
        let (system, units) = match &readiness.system {
            None => (None, Vec::new()),
            Some(SystemState::Degraded { units, .. }) => (Some("degraded"), units.clone()),
            Some(SystemState::Plain) => (Some("plain"), Vec::new()),
            Some(_) => (Some("running"), Vec::new()),
        };
        Self {
            level: readiness.level.to_string(),
            system,
            failed_units: units,
            seconds: readiness.took.as_secs_f64(),
        }
    }

    /// Behind what was done.
    fn words(&self) -> String {
        format!(": {} after {:.1} s", self.level, self.seconds)
    }
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
        Self { name: name.to_string(), outcome, init_pid: None, ready: None }
    }

    pub(crate) fn with_init(mut self, pid: i32) -> Self {
        self.init_pid = Some(pid);
        self
    }

    pub(crate) fn with_readiness(mut self, readiness: Option<&Readiness>) -> Self {
        self.ready = readiness.map(ReadyView::of);
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
        let Some(ready) = &self.ready else { return printer.result(self.words()) };
        printer.result(self.words() + &ready.words());
        if ready.system == Some("degraded") {
            let units = match ready.failed_units.as_slice() {
                [] => "units have failed, and the guest does not name them".to_owned(),
                units => format!("these units failed: {}", units.join(", ")),
            };
            printer.labelled(Tone::Warning, "warning", &units);
            let unit = ready.failed_units.first().map_or("--failed", String::as_str);
            let status = if unit.starts_with('-') { String::new() } else { "status ".to_owned() };
            let hint = format!("`nixcloud-container run {} systemctl {status}{unit}` shows why", self.name);
            printer.labelled(Tone::Hint, "hint", &hint);
        }
    }
}
