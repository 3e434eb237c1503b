//! Run and login: commands in a running guest.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::Host;
use crate::install;
use crate::name::ContainerName;
use crate::observe::Cancel;
use crate::power;
use crate::state::{Action, Permission};
use crate::worker::{Answer, AttachCommand, Exit, Request, Stdio};

/// The folders of a NixOS guest's programs, and those of others.
const PATH: &str = "/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:\
                    /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long the last output of a command may take to reach the terminal.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// A login shell: the best that the guest has.
const LOGIN: &str = "for shell in /run/current-system/sw/bin/bash /bin/bash; do \
                     if [ -x $shell ]; then exec $shell -l; fi; done; exec /bin/sh -l";

/// A command for a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunRequest {
    /// Program and arguments. The program is looked for in the guest's `PATH`.
    pub command: Vec<String>,
    /// Variables beside `PATH`, `HOME` and `USER`; nothing of the caller's environment gets in by itself.
    pub env: Vec<(String, String)>,
    /// Where it runs; `/` when not given.
    pub directory: Option<PathBuf>,
    /// The guest's user id; root when not given.
    pub uid: Option<u32>,
    /// The guest's group id; root's when not given.
    pub gid: Option<u32>,
    /// Whether it gets a pseudo terminal of the guest.
    pub terminal: bool,
}

impl RunRequest {
    /// A command as root of the guest.
    pub fn new<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// A login shell on a terminal. `term` is the caller's `TERM`.
    #[must_use]
    pub fn login(term: Option<String>) -> Self {
        let term = term.unwrap_or_else(|| "linux".to_owned());
        Self {
            env: vec![("TERM".to_owned(), term)],
            directory: Some("/root".into()),
            terminal: true,
            ..Self::new(["/bin/sh", "-c", LOGIN])
        }
    }
}

/// What a command in a guest reads and writes.
#[derive(Debug, Default)]
pub enum Streams {
    /// The caller's own stdin, stdout and stderr. A terminal is never handed to the guest itself (who has it can type
    /// into the host's shell): what is on it is copied.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// These; none of them a terminal.
    Fds {
        /// Standard input.
        stdin: OwnedFd,
        /// Standard output.
        stdout: OwnedFd,
        /// Standard error.
        stderr: OwnedFd,
    },
}

pub(crate) fn run(
    host: &Host,
    name: &ContainerName,
    request: RunRequest,
    streams: Streams,
    cancel: &Cancel,
) -> Result<Exit, Error> {
    let record = host.record(name)?;
    let limit = host.config.timeouts.start();
    let here = power::wait_while_passing(host, &record, Action::Enter, limit, cancel)?;
    if here.state.permits(Action::Enter) != Permission::Allowed {
        return Err(Error::State { name: name.clone(), state: here.state, action: Action::Enter });
    }
    let root = request.uid.is_none_or(|uid| uid == 0);
    let mut env = vec![("PATH".to_owned(), PATH.to_owned())];
    if root {
        env.extend(
            [("HOME", "/root"), ("USER", "root")].map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
    }
    env.retain(|(name, _)| request.env.iter().all(|(theirs, _)| theirs != name));
    env.extend(request.env);
    let command = AttachCommand {
        argv: request.command,
        env,
        cwd: request.directory,
        uid: request.uid,
        gid: request.gid,
        terminal: request.terminal,
    };
    let wire = Request::Attach { target: power::target(host, name), command };
    let relay = match streams {
        // LXC itself stands between the caller's terminal and the guest's.
        Streams::Inherit if request.terminal => Relay { stdio: Stdio::Inherit, outputs: Vec::new() },
        streams => relay(streams).map_err(|source| Error::Io {
            action: "connect the streams of",
            path: name.as_str().into(),
            source,
        })?,
    };
    let answer = host.worker.call(&wire, relay.stdio, None, cancel);
    // What the command wrote last is still on its way; a background child of it may hold the pipe for ever.
    let end = Instant::now() + LAST_OUTPUT;
    while relay.outputs.iter().any(|output| !output.is_finished()) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    match answer? {
        Answer::Exited(exit) => Ok(exit),
        other => Err(install::unexpected(&other)),
    }
}

/// Streams for a worker, and the threads that copy from and to terminals.
struct Relay {
    stdio: Stdio,
    outputs: Vec<std::thread::JoinHandle<()>>,
}

fn relay(streams: Streams) -> io::Result<Relay> {
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
    Ok(Relay { stdio, outputs })
}

fn input(stdin: OwnedFd) -> io::Result<OwnedFd> {
    if !stdin.is_terminal() {
        return Ok(stdin);
    }
    let (reader, mut writer) = io::pipe()?;
    // Not joined: it may wait for a key that never comes.
    std::thread::spawn(move || io::copy(&mut File::from(stdin), &mut writer));
    Ok(reader.into())
}

fn output(stream: OwnedFd, outputs: &mut Vec<std::thread::JoinHandle<()>>) -> io::Result<OwnedFd> {
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
