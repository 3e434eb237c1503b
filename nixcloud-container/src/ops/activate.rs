//! Activation: the guest switches to its current generation, by that generation's own `switch-to-configuration`.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Error, FailedActivation};
use crate::fs::error::FileError;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::note::GuestNote;
use crate::model::observe::{Cancel, Event, Observer, Phase, UnitChange};
use crate::ops::guest_units;
use crate::ops::power;
use crate::sys::proc::Process;
use crate::worker::{Answer, AttachCommand, Exit, Request, Stdio, WorkerError};

/// In the guest: the profile's system, whichever generation that is.
const SWITCH: &str = "/init/profile/container/bin/switch-to-configuration";

/// How nix/guest.nix begins the line with the status of the activation script, which it prints where [`ASKED`] is set.
const REPORT: &str = "nixcloud-container: the activation script ended with ";

/// The variable that asks for [`REPORT`].
const ASKED: &str = "NIXCLOUD_CONTAINER_REPORT";

/// How NixOS says that a part of its activation script failed.
const SNIPPET_FAILED: &str = "Activation script snippet '";

/// A guest whose systemd does not answer within this is switched without a comparison.
const UNITS_LIMIT: Duration = Duration::from_secs(5);

/// A guest that takes longer to start its units is told of.
const TOLD_AFTER: Duration = Duration::from_secs(1);

/// After the switch has ended, how long its last lines may take. A background child may hold the pipe for ever.
const LAST_LINES: Duration = Duration::from_millis(200);

/// A line of a guest is shown, not stored: what is longer is cut.
const LONGEST_LINE: u64 = 64 * 1024;

/// What a switch of the running guest came to.
#[derive(Debug, Default)]
pub(crate) struct Activated {
    /// A failed activation, which is not an error of ours.
    pub(crate) failed: Option<FailedActivation>,
    /// Units that had failed before the switch and fail after it.
    pub(crate) still: Vec<String>,
}

enum Said {
    Line(String),
    Ended(Result<Exit, Error>),
}

/// The units that fail in the running guest; `None` where nobody answers for them: no systemd, or one that hangs.
pub(crate) fn failed_units(host: &Host, name: &ContainerName, cancel: &Cancel) -> Option<Vec<String>> {
    let mut units = Vec::new();
    let exit = run(host, name, list_failed(), UNITS_LIMIT, cancel, &mut |line| {
        units.extend(guest_units::listed(&line));
        units.truncate(guest_units::MOST_LISTED);
    });
    let known = matches!(exit, Ok(Exit::Code(0)));
    tracing::debug!(%name, ?exit, ?units, "failed units before the switch");
    known.then_some(units)
}

/// Waits until the systemd of a guest that has just booted has started its units: a switch meanwhile would be told of units that
/// are about to start, or cut their start off. No longer than `timeouts.boot` after the start of its init.
///
/// # Errors
/// When it was cancelled.
pub(crate) fn await_units(
    context: &mut Context<'_>,
    name: &ContainerName,
    init: Process,
) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    let started = |limit| match system_state(host, name, limit, cancel) {
        Err(Error::Worker(WorkerError::Deadline { .. })) => Ok(false),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        // Whatever it says: units may have failed, or there is no systemd. Who cannot be entered is told so by the switch.
        _ => Ok(true),
    };
    let left = host.config.timeouts.boot().saturating_sub(init.age());
    let first = left.min(TOLD_AFTER);
    if left.is_zero() || started(first)? {
        return Ok(());
    }
    context.tell(GuestNote::AwaitsUnits { name: name.clone() });
    if left > first && !started(left.saturating_sub(first))? {
        context.tell(GuestNote::StillStartsUnits { name: name.clone() });
    }
    Ok(())
}

/// What the guest's systemd calls its state, once it has started all that it was to start: one call that waits in the guest. `None`
/// where nobody answers.
///
/// # Errors
/// When it has not answered within `limit`, it was cancelled, or the guest cannot be entered.
pub(crate) fn system_state(
    host: &Host,
    name: &ContainerName,
    limit: Duration,
    cancel: &Cancel,
) -> Result<Option<&'static str>, Error> {
    let command = in_guest(&["systemctl", "is-system-running", "--wait"], &[]);
    let mut state = None;
    run(host, name, command, limit, cancel, &mut |line| state = state.or(guest_units::state(&line)))?;
    Ok(state)
}

/// Switches the running guest. Units that had failed `before` are not blamed on what it is switched to.
pub(crate) fn switch(
    context: &mut Context<'_>,
    name: &ContainerName,
    before: Option<&[String]>,
) -> Result<Activated, Error> {
    let Context { host, cancel, .. } = *context;
    let observer = &mut *context.observer;
    observer.event(Event::Phase(Phase::Activate));
    let begin = Instant::now();
    let mut heard = Heard { reports: reports(host, name), ..Heard::default() };
    let limit = host.config.timeouts.activate();
    let exit = run(host, name, command(), limit, cancel, &mut |line| {
        if heard.about_activation(&line) {
            return;
        }
        let about = guest_units::changed(&line);
        observer.event(Event::Activation { line });
        let Some((change, names)) = about else { return };
        if change == UnitChange::Failed {
            let (old, new) =
                names.into_iter().partition(|unit| before.is_some_and(|before| before.contains(unit)));
            heard.failed(UnitChange::StillFailed, old, observer);
            heard.failed(UnitChange::Failed, new, observer);
        } else {
            observer.event(Event::Units { change, names: guest_units::cut(names) });
        }
    })?;
    let took = begin.elapsed();
    tracing::debug!(%name, ?exit, ?heard, ?took, "switch-to-configuration ended");
    let failed = heard.verdict(exit);
    if failed.is_none() {
        observer.event(Event::Done { phase: Phase::Activate, took });
    }
    Ok(Activated { failed, still: guest_units::cut(heard.still) })
}

/// What a switch said.
#[derive(Debug, Default)]
struct Heard {
    /// Whether this generation says how its activation script ended.
    reports: bool,
    /// How it ended, as it says.
    activated: Option<bool>,
    /// A part of the activation script failed, or systemd did not load its units, as others said.
    complaint: Option<i32>,
    failed: Vec<String>,
    still: Vec<String>,
}

impl Heard {
    /// Whether this is the line that is ours; others are only listened to.
    fn about_activation(&mut self, line: &str) -> bool {
        if let Some(status) = line.strip_prefix(REPORT) {
            self.activated = Some(status.trim() == "0");
            return true;
        }
        if line.starts_with(SNIPPET_FAILED) {
            self.complaint = Some(2);
        } else if line.starts_with("Failed to reload daemon: ") {
            self.complaint = Some(3);
        }
        false
    }

    fn failed(&mut self, change: UnitChange, names: Vec<String>, observer: &mut dyn Observer) {
        if names.is_empty() {
            return;
        }
        let all = if change == UnitChange::Failed { &mut self.failed } else { &mut self.still };
        all.extend(names.iter().cloned());
        all.truncate(guest_units::MOST_LISTED);
        observer.event(Event::Units { change, names: guest_units::cut(names) });
    }

    /// NixOS overwrites the code of a failed activation script, and of a failed reload, with the 4 of a failed unit.
    fn verdict(&mut self, exit: Exit) -> Option<FailedActivation> {
        match exit {
            Exit::Code(0) => None,
            Exit::Code(4) if self.reports && self.activated != Some(true) => {
                Some(FailedActivation::Failed { code: 2 })
            }
            Exit::Code(4) => match self.complaint {
                Some(code) => Some(FailedActivation::Failed { code }),
                None => self.units_failed(),
            },
            Exit::Code(100) => Some(FailedActivation::NeedsRestart),
            Exit::Signal(signal) => Some(FailedActivation::Killed { signal }),
            other => Some(FailedActivation::Failed { code: other.code() }),
        }
    }

    /// A 4 that names only units which had failed before says nothing of this switch. One that names none may.
    fn units_failed(&mut self) -> Option<FailedActivation> {
        if self.failed.is_empty() && !self.still.is_empty() {
            return None;
        }
        let units = guest_units::cut(std::mem::take(&mut self.failed));
        Some(FailedActivation::UnitsFailed { units })
    }
}

/// Whether the current generation reports how its activation script ended; those of earlier versions do not.
fn reports(host: &Host, name: &ContainerName) -> bool {
    let script = host.layout.profile(name).join("container/activate");
    std::fs::read(script).is_ok_and(|text| text.windows(ASKED.len()).any(|part| part == ASKED.as_bytes()))
}

pub(super) fn run(
    host: &Host,
    name: &ContainerName,
    command: AttachCommand,
    limit: Duration,
    cancel: &Cancel,
    line: &mut dyn FnMut(String),
) -> Result<Exit, Error> {
    let pipe = FileError::at("make a pipe for", SWITCH);
    let (reader, writer) = std::io::pipe().map_err(pipe)?;
    let stdio = Stdio::Fds {
        stdin: std::fs::File::open("/dev/null").map_err(pipe)?.into(),
        stdout: writer.try_clone().map_err(pipe)?.into(),
        stderr: writer.into(),
    };
    let request = Request::Attach { target: power::target(host, name), command };
    // Bounded: a guest that prints for ever waits for us, and does not fill the host's memory.
    let (say, said) = mpsc::sync_channel(1024);
    let lines = say.clone();
    // A host without room for another thread is no reason to panic with a generation that has not proved itself.
    let thread = FileError::at("start a thread for", SWITCH);
    // Not joined: it ends when the last process of the guest closes the pipe, and holds nothing but the pipe.
    std::thread::Builder::new().spawn(move || read_lines(reader, &lines)).map_err(thread)?;
    std::thread::scope(|scope| {
        let switch = move || {
            let ended = match host.worker.call(&request, stdio, Some(limit), cancel) {
                Ok(Answer::Exited(exit)) => Ok(exit),
                Ok(other) => Err(other.unexpected().into()),
                Err(error) => Err(error.into()),
            };
            let _ = say.send(Said::Ended(ended));
        };
        std::thread::Builder::new().spawn_scoped(scope, switch).map_err(thread)?;
        // Until the switch has ended...
        let ended = loop {
            match said.recv() {
                Ok(Said::Line(text)) => line(text),
                Ok(Said::Ended(result)) => break result,
                // Both senders are gone and neither said so: the worker's thread panicked.
                Err(mpsc::RecvError) => return Err(Error::Cancelled),
            }
        };
        // ... and what it had printed by then: no longer, however much is said.
        let end = Instant::now() + LAST_LINES;
        while let Ok(Said::Line(text)) = said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            line(text);
        }
        ended
    })
}

fn read_lines(reader: impl Read, lines: &mpsc::SyncSender<Said>) {
    let mut reader = BufReader::new(reader);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        // The guest is hostile: its control characters do not reach a terminal.
        let text: String =
            String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control() || *c == '\t').collect();
        if lines.send(Said::Line(text)).is_err() {
            return;
        }
    }
}

fn command() -> AttachCommand {
    // The store is the host's: syncing it is the host's business.
    in_guest(&[SWITCH, "switch"], &[("NIXOS_NO_SYNC", "1"), (ASKED, "1")])
}

/// What NixOS looks at when it names failed units: also those that are about to be started again.
fn list_failed() -> AttachCommand {
    let states = "--state=failed,auto-restart";
    in_guest(&["systemctl", "list-units", "--plain", "--no-legend", "--no-pager", "--full", states], &[])
}

pub(super) fn in_guest(argv: &[&str], more: &[(&str, &str)]) -> AttachCommand {
    let path = "/run/current-system/sw/bin:/run/wrappers/bin:/bin";
    let variables = [("PATH", path), ("HOME", "/root"), ("LC_ALL", "C")];
    let owned = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
    AttachCommand {
        argv: argv.iter().map(|word| (*word).into()).collect(),
        env: variables.iter().chain(more).map(owned).collect(),
        ..AttachCommand::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(
        reports: bool,
        lines: &[&str],
        before: &[&str],
        exit: Exit,
    ) -> (Option<FailedActivation>, Vec<String>) {
        let mut heard = Heard { reports, ..Heard::default() };
        for line in lines {
            heard.about_activation(line);
            if let Some((UnitChange::Failed, names)) = guest_units::changed(line) {
                let (old, new) = names.into_iter().partition(|unit| before.contains(&unit.as_str()));
                heard.failed(UnitChange::StillFailed, old, &mut ());
                heard.failed(UnitChange::Failed, new, &mut ());
            }
        }
        (heard.verdict(exit), heard.still)
    }

    #[test]
    fn a_four_hides_no_failed_activation() {
        let failed = |code| Some(FailedActivation::Failed { code });
        let units = "warning: the following units failed: a.service";
        let (good, bad) = (format!("{REPORT}0"), format!("{REPORT}1"));
        let four = Exit::Code(4);
        assert_eq!(after(true, &[&bad, units], &[], four).0, failed(2));
        // The script was cut off before its last part.
        assert_eq!(after(true, &[units], &["a.service"], four).0, failed(2));
        let blamed = Some(FailedActivation::UnitsFailed { units: vec!["a.service".to_owned()] });
        assert_eq!(after(true, &[&good, units], &[], four).0, blamed);
        // Of an earlier version: by NixOS's own words.
        assert_eq!(
            after(false, &["Activation script snippet 'x' failed (1)", units], &[], four).0,
            failed(2)
        );
        assert_eq!(after(false, &[units], &[], four).0, blamed);
        assert_eq!(after(true, &[&good, "Failed to reload daemon: Timeout", units], &[], four).0, failed(3));
    }

    #[test]
    fn units_that_had_failed_blame_nobody() {
        let good = format!("{REPORT}0");
        let both = "warning: the following units failed: a.service, b.service";
        let four = Exit::Code(4);
        let (failed, still) = after(true, &[&good, both], &["a.service", "b.service"], four);
        assert_eq!((failed, still.len()), (None, 2));
        let (failed, still) = after(true, &[&good, both], &["a.service"], four);
        assert_eq!(failed, Some(FailedActivation::UnitsFailed { units: vec!["b.service".to_owned()] }));
        assert_eq!(still, ["a.service"]);
        // What failed is not named: something did.
        assert_eq!(
            after(true, &[&good], &["a.service"], four).0,
            Some(FailedActivation::UnitsFailed { units: Vec::new() })
        );
    }

    #[test]
    fn lines_of_a_guest_carry_no_control_characters_and_are_cut() {
        let (say, said) = mpsc::sync_channel(16);
        let mut bytes = b"\x1b[31mred\x07\n".to_vec();
        bytes.extend(vec![b'x'; 70_000]);
        read_lines(&bytes[..], &say);
        drop(say);
        let lines: Vec<String> = said
            .into_iter()
            .filter_map(|said| if let Said::Line(line) = said { Some(line) } else { None })
            .collect();
        assert_eq!(lines[0], "[31mred");
        assert_eq!(lines[1].len(), 65_536);
    }
}
