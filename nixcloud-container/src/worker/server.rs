//! The worker's own side: one request, one answer, in a process that is nobody else's.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use ::nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

use super::protocol::{Answer, AttachCommand, Fault, Request, Target};
use super::{CHANNEL, mounts};
use crate::lxc::log::{self, Log};
use crate::lxc::{self, Attach, Exit, Handle, StartOptions, process, scratch};
use crate::render::LockedSource;

/// A failure here only ever becomes words in the answer.
type Failure = Box<dyn Error>;

/// Serves the request on the control channel and ends the process.
pub(super) fn main() -> ! {
    // Without a channel somebody typed the mark by hand: there is nobody to tell.
    let code = process::take_fd(CHANNEL).map_or(2, |channel| converse(File::from(channel)));
    std::process::exit(code)
}

fn converse(mut channel: File) -> i32 {
    let answer = serve(&mut channel).unwrap_or_else(|failure| Answer::Failed(fault(&*failure)));
    let sent = serde_json::to_vec(&answer).map(|text| channel.write_all(&text));
    i32::from(!matches!(sent, Ok(Ok(()))))
}

fn serve(channel: &mut File) -> Result<Answer, Failure> {
    process::reset_signals()?;
    process::set_umask();
    process::close_other_fds(&[channel.as_fd()])?;
    let mut text = Vec::new();
    channel.read_to_end(&mut text)?;
    let request = serde_json::from_slice(&text)?;
    if !matches!(&request, Request::Attach { command, .. } if command.terminal) {
        // Whoever shares the caller's session opens its terminal as /dev/tty and types into the host's shell; and a
        // Ctrl-C there is the caller's to judge.
        ::nix::unistd::setsid()?;
    }
    Ok(match request {
        Request::Start { target, log, locked, sources } => start(&target, &log, &locked, &sources)?,
        Request::Attach { target, command } => Answer::Exited(attach(&target, command)?),
        Request::Check { items } => {
            let refused = scratch::check(&items)?;
            Answer::Checked {
                refused: refused.into_iter().map(|item| (item.key, item.value, item.why)).collect(),
            }
        }
        Request::Freeze { target, frozen } => {
            let mut handle = open(&target)?;
            if frozen {
                handle.freeze()?;
            } else {
                handle.unfreeze()?;
            }
            Answer::Done
        }
    })
}

fn open(target: &Target) -> Result<Handle, lxc::Error> {
    Handle::open(&target.lxc_path, &target.name)
}

fn start(target: &Target, log: &Path, locked: &Path, sources: &[LockedSource]) -> Result<Answer, Failure> {
    // The log of the last start alone: a new one each time.
    match std::fs::remove_file(log) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Log::init(log::Target::File(log.to_owned()))?;
    process::private_mounts()?;
    mounts::lock(locked, sources)?;
    mounts::hide_id_helpers(&std::env::var("PATH").unwrap_or_default())?;
    let mut handle = open(target)?;
    handle.start(StartOptions { daemonize: true })?;
    let Some(init_pid) = handle.init_pid()? else {
        return Err("the container stopped as soon as it had started".into());
    };
    Ok(Answer::Started { init_pid })
}

fn attach(target: &Target, command: AttachCommand) -> Result<Exit, Failure> {
    let mut handle = open(target)?;
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let attached = handle.attach(&Attach {
        argv: command.argv.into_iter().map(Into::into).collect(),
        env: command.env,
        cwd: command.cwd,
        uid: command.uid,
        gid: command.gid,
        stdin: stdin.as_fd(),
        stdout: stdout.as_fd(),
        stderr: stderr.as_fd(),
        terminal: command.terminal,
    })?;
    // From here on Ctrl-C is the command's: it must not take its exit code away. The command did not inherit this.
    let mut keys = SigSet::empty();
    keys.add(Signal::SIGINT);
    keys.add(Signal::SIGQUIT);
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&keys), None)?;
    // Nor may it hold a pipe open whose end somebody waits for.
    release_streams()?;
    match attached.wait() {
        Ok(exit) => Ok(exit),
        // What a shell says of a program that it cannot run is what the command's user expects.
        Err(error) => match error.exit_code() {
            Some(code) => Ok(Exit::Code(code)),
            None => Err(error.into()),
        },
    }
}

/// Points the worker's own three streams at `/dev/null`.
fn release_streams() -> Result<(), Failure> {
    let null: OwnedFd = File::options().read(true).write(true).open("/dev/null")?.into();
    ::nix::unistd::dup2_stdin(&null)?;
    ::nix::unistd::dup2_stdout(&null)?;
    ::nix::unistd::dup2_stderr(&null)?;
    Ok(())
}

fn fault(error: &dyn Error) -> Fault {
    let mut chain = vec![error.to_string()];
    let mut log = Vec::new();
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(reason) = source.downcast_ref::<log::Reason>() {
            log.extend(reason.records().iter().map(|record| record.message.clone()));
        } else {
            chain.push(source.to_string());
        }
        next = source.source();
    }
    Fault { chain, log }
}
