//! What stands between the caller's streams and those of a command: no terminal of the host reaches a guest.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::Streams;
use crate::worker::Stdio;

/// How long the last output of a command may take to reach the terminal.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// How often a process in the background looks whether it is in the foreground again.
const BACKGROUND: Duration = Duration::from_millis(100);

/// Streams for a worker, and the threads that copy from and to terminals.
pub(super) struct Relay {
    outputs: Vec<JoinHandle<()>>,
    saved: Option<Saved>,
}

impl Relay {
    /// For a command that has pipes and files: what is on a terminal is copied.
    pub(super) fn of(streams: Streams) -> io::Result<(Stdio, Self)> {
        let mut outputs = Vec::new();
        let stdio = match streams {
            Streams::Null => {
                let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
                Stdio::Fds { stdin: null()?, stdout: null()?, stderr: null()? }
            }
            Streams::Fds { stdin, stdout, stderr } => Stdio::Fds { stdin, stdout, stderr },
            Streams::Inherit => Stdio::Fds {
                stdin: input(io::stdin().as_fd().try_clone_to_owned()?)?,
                stdout: output(io::stdout().as_fd().try_clone_to_owned()?, &mut outputs)?,
                stderr: output(io::stderr().as_fd().try_clone_to_owned()?, &mut outputs)?,
            },
        };
        Ok((stdio, Self { outputs, saved: None }))
    }

    /// For a command that has a terminal of the guest's: the worker copies.
    pub(super) fn of_terminal(streams: Streams) -> io::Result<(Stdio, Self)> {
        let stdio = match streams {
            Streams::Inherit => Stdio::Inherit,
            streams => Self::of(streams)?.0,
        };
        let saved = match &stdio {
            Stdio::Inherit => Saved::of(io::stdin().as_fd()),
            Stdio::Fds { stdin, .. } => Saved::of(stdin.as_fd()),
            Stdio::Null => Ok(None),
        };
        Ok((stdio, Self { outputs: Vec::new(), saved: saved? }))
    }

    /// What the command wrote last is still on its way; a background child of it may hold the pipe for ever. `clean`
    /// when the worker has put the terminal in order itself.
    pub(super) fn end(self, clean: bool) {
        let end = Instant::now() + LAST_OUTPUT;
        while self.outputs.iter().any(|output| !output.is_finished()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        if let (Some(saved), false) = (self.saved, clean) {
            saved.restore();
        }
    }
}

/// A terminal and how it was set: a worker that is killed does not put it back.
struct Saved {
    terminal: OwnedFd,
    settings: Termios,
}

impl Saved {
    fn of(stream: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Ok(settings) = tcgetattr(stream) else { return Ok(None) };
        Ok(Some(Self { terminal: stream.try_clone_to_owned()?, settings }))
    }

    fn restore(&self) {
        // What was typed for the guest is not the host's shell's to run. A terminal that is gone needs no settings.
        let _ = tcsetattr(&self.terminal, OptionalActions::Flush, &self.settings);
    }
}

fn input(stdin: OwnedFd) -> io::Result<OwnedFd> {
    if !stdin.is_terminal() {
        return Ok(stdin);
    }
    let (reader, writer) = io::pipe()?;
    // Not joined: it may wait for a key that never comes.
    std::thread::spawn(move || type_in(&stdin, writer));
    Ok(reader.into())
}

/// Copies what is typed, while this process is in the foreground: to read in the background would stop it, and a command
/// that reads nothing is to run there.
fn type_in(terminal: &OwnedFd, mut writer: io::PipeWriter) {
    let mut buffer = [0; 4096];
    loop {
        let typed = [PollFd::new(terminal, PollFlags::IN)];
        match poll(&mut { typed }, None) {
            Err(Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if tcgetpgrp(terminal).is_ok_and(|foreground| foreground != getpgrp()) {
            std::thread::sleep(BACKGROUND);
            continue;
        }
        match rustix::io::read(terminal, &mut buffer) {
            Ok(count @ 1..) if writer.write_all(&buffer[..count]).is_ok() => {}
            Err(Errno::INTR | Errno::AGAIN) => {}
            _ => return,
        }
    }
}

fn output(stream: OwnedFd, outputs: &mut Vec<JoinHandle<()>>) -> io::Result<OwnedFd> {
    if !stream.is_terminal() {
        return Ok(stream);
    }
    let (mut reader, writer) = io::pipe()?;
    outputs.push(std::thread::spawn(move || {
        // A terminal that is gone is no fault of the command's.
        let _ = io::copy(&mut reader, &mut File::from(stream));
    }));
    Ok(writer.into())
}
