//! What a switch would do to the units of a running guest, asked of the guest itself: `dry-activate` of the system that it would be
//! switched to. The guest is hostile: its words are bounded in time and length, and nothing but a plan follows from them.
//!
//! ```text
//!  record: unsettled --> noted, rooted, shown --> dry-activate --> settled: hidden, let go
//! ```
//!
//! Whoever is killed on the way leaves a record that is unsettled, which the next operation on the container settles.

use std::time::Duration;

use crate::error::Error;
use crate::host::context::Context;
use crate::model::foresight::{PlannedUnits, UnitPlan};
use crate::model::observe::{Event, Phase, UnitChange};
use crate::nix::StorePath;
use crate::ops::activate;
use crate::ops::booting;
use crate::ops::guest_units;
use crate::ops::recover;
use crate::ops::shown;
use crate::store::history::Generations;
use crate::store::presence::Presence;
use crate::store::record::Record;
use crate::worker::{Exit, WorkerError};

/// What it takes at most, if `timeouts.activate` is not less: it only compares.
const LIMIT: Duration = Duration::from_secs(60);

/// A guest that says more than so many bytes is cut off.
const MOST_SAID: usize = 1024 * 1024;

/// What of a line of the guest's is told.
const MOST_TOLD: usize = 200;

/// Asks a guest that runs. The container's lock is held, and `package` is rooted.
///
/// # Errors
/// When it was cancelled, or what the guest sees of the store cannot be changed. What the guest does wrong is an answer.
pub(crate) fn ask(
    context: &mut Context<'_>,
    record: &mut Record,
    here: &Presence,
    package: &StorePath,
) -> Result<PlannedUnits, Error> {
    let Context { host, cancel, .. } = *context;
    let name = record.name.clone();
    // As a switch does.
    if let Some(init) = here.init {
        booting::wait(context, &name, init)?;
        activate::await_units(context, &name, init)?;
    }
    if !shown::lacks(host, record, package)? {
        return context.phase(Phase::Foresee, |context| said(context, record, package));
    }
    record.unsettled = true;
    record.save(&host.layout)?;
    let asked = shown::lend(host, record, package, cancel)
        .and_then(|()| context.phase(Phase::Foresee, |context| said(context, record, package)));
    let generations = Generations::new(&host.layout, &name);
    let settled = context.uncancelled(|context| {
        let spec = generations.spec(generations.current()?)?;
        recover::settle(context, record, &spec)
    });
    match asked {
        Ok(units) => settled.map(|()| units),
        Err(failure) => Err(failure.undone(settled)),
    }
}

fn said(context: &mut Context<'_>, record: &Record, package: &StorePath) -> Result<PlannedUnits, Error> {
    let Context { host, cancel, .. } = *context;
    let observer = &mut *context.observer;
    let program = format!("{package}/container/bin/switch-to-configuration");
    let command = activate::in_guest(&[&program, "dry-activate"], &[]);
    let limit = host.config.timeouts.activate().min(LIMIT);
    let enough = cancel.below();
    let (mut heard, mut bytes) = (Heard::default(), 0);
    let exit = activate::run(host, &record.name, command, limit, &enough, &mut |line| {
        bytes += line.len() + 1;
        if bytes > MOST_SAID {
            enough.cancel();
            return;
        }
        heard.line(&line);
        observer.event(Event::Activation { line });
    });
    tracing::debug!(name = %record.name, ?exit, ?heard, bytes, "dry-activate ended");
    let unknown = |why: String| Ok(PlannedUnits::Unknown { why });
    match exit {
        _ if cancel.is_cancelled() => Err(Error::Cancelled),
        Err(Error::Cancelled) => unknown(format!("it says more than {MOST_SAID} bytes")),
        Err(Error::Worker(WorkerError::Deadline { .. })) => {
            unknown(format!("it does not end within {} s", limit.as_secs()))
        }
        Ok(exit) => Ok(heard.verdict(exit)),
        Err(failure) => Err(failure),
    }
}

/// What `dry-activate` said.
#[derive(Debug, Default)]
struct Heard {
    units: UnitPlan,
    /// A check before the switch that refuses it.
    refusal: Option<String>,
    last: String,
}

impl Heard {
    fn line(&mut self, line: &str) {
        if line.starts_with("Pre-switch check ") && line.contains("failed") {
            self.refusal = Some(told(line));
        }
        if let Some((change, names)) = guest_units::foreseen(line) {
            let list = match change {
                UnitChange::Stopping => &mut self.units.stop,
                UnitChange::Starting => &mut self.units.start,
                UnitChange::Restarting => &mut self.units.restart,
                UnitChange::Reloading => &mut self.units.reload,
                _ => &mut self.units.keep,
            };
            list.extend(names);
            list.truncate(guest_units::MOST_LISTED);
        }
        if !line.trim().is_empty() {
            self.last = told(line);
        }
    }

    fn verdict(self, exit: Exit) -> PlannedUnits {
        match (exit, self.refusal) {
            (Exit::Code(0), _) => PlannedUnits::Told(in_pairs(self.units)),
            (Exit::Code(100), _) => PlannedUnits::NeedsRestart,
            (_, Some(line)) => PlannedUnits::Refused { line },
            (exit, None) => {
                let last = if self.last.is_empty() { String::new() } else { format!(": {}", self.last) };
                PlannedUnits::Unknown { why: format!("it ends with {}{last}", exit.code()) }
            }
        }
    }
}

/// A unit that is stopped before the activation and started after it is restarted.
fn in_pairs(units: UnitPlan) -> UnitPlan {
    let UnitPlan { mut stop, mut start, mut restart, mut reload, mut keep } = units;
    for list in [&mut stop, &mut start, &mut restart, &mut reload, &mut keep] {
        list.sort();
        list.dedup();
    }
    let (both, stop): (Vec<String>, _) = stop.into_iter().partition(|unit| start.binary_search(unit).is_ok());
    start.retain(|unit| both.binary_search(unit).is_err());
    restart.extend(both);
    restart.sort();
    restart.dedup();
    UnitPlan { stop, start, restart, reload, keep }
}

/// As much of a line as is told.
fn told(line: &str) -> String {
    line.trim().chars().take(MOST_TOLD).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str], code: i32) -> PlannedUnits {
        let mut heard = Heard::default();
        lines.iter().for_each(|line| heard.line(line));
        heard.verdict(Exit::Code(code))
    }

    #[test]
    fn what_is_stopped_and_started_is_restarted() {
        let told = heard(
            &[
                "would stop the following units: c.service, a.service, b.service",
                "would activate the configuration...",
                "would reload the following units: d.service",
                "would start the following units: b.service, e.service",
                "would restart the following units: f.service",
            ],
            0,
        );
        let PlannedUnits::Told(units) = told else { panic!("{told:?}") };
        assert_eq!(units.stop, ["a.service", "c.service"]);
        assert_eq!(units.start, ["e.service"]);
        assert_eq!(units.restart, ["b.service", "f.service"]);
        assert_eq!(units.reload, ["d.service"]);
        assert!(units.keep.is_empty() && !units.is_empty());
    }

    #[test]
    fn a_code_says_more_than_units_do() {
        let line = "would start the following units: a.service";
        assert_eq!(heard(&[line], 100), PlannedUnits::NeedsRestart);
        let told = heard(&[line, "Pre-switch check 'switchInhibitors' failed"], 1);
        assert!(matches!(told, PlannedUnits::Refused { line } if line.contains("switchInhibitors")));
        let told = heard(&["", "no D-Bus", " "], 1);
        assert_eq!(told, PlannedUnits::Unknown { why: "it ends with 1: no D-Bus".to_owned() });
        let long = "x".repeat(10_000);
        assert!(matches!(heard(&[&long], 7), PlannedUnits::Unknown { why } if why.len() < 256));
        assert_eq!(heard(&[], 0), PlannedUnits::Told(UnitPlan::default()));
    }
}
