//! Our dnsmasqs as processes: found, told to read their files again, ended, and who sees to it that they run.
//!
//! One is ours if its arguments name a configuration of ours; it is found by the number that it wrote itself. Nobody
//! else is ever signalled.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::nix::sys::signal::Signal;

use crate::model::idmap;
use crate::model::layout::Layout;
use crate::render::dnsmasq::{self, Resolver};
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Process};
use crate::worker::{Client, SUPERVISE, WorkerError};

/// How long one may take until it answers, and to end.
const START: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(3);
/// How long one that was told to begin anew takes at most, on a busy host.
const AGAIN: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(2);
/// How long one may take to answer a question, in how many tries: they answer in less than a millisecond.
const ANSWER: Duration = Duration::from_secs(2);
const TRIES: u32 = 4;

/// Where it is though a caller's `PATH` need not say so.
const SBIN: [&str; 2] = ["/usr/sbin", "/sbin"];

/// A dnsmasq that does not do what it is to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResolverError {
    /// dnsmasq is not installed.
    #[error("`{}` is not installed", .program.display())]
    #[non_exhaustive]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// dnsmasq does not start.
    #[error("dnsmasq does not start on {address}: {words}")]
    #[non_exhaustive]
    Start {
        /// The address on which it was to listen.
        address: Ipv4Addr,
        /// dnsmasq's own words.
        words: String,
    },
    /// A dnsmasq cannot be sent a signal.
    #[error("cannot signal process {pid}")]
    #[non_exhaustive]
    Signal {
        /// The pid of the dnsmasq.
        pid: i32,
        /// What the kernel said.
        source: io::Error,
    },
    /// A dnsmasq does not end.
    #[error("process {pid} does not end")]
    #[non_exhaustive]
    Stays {
        /// The pid of the dnsmasq.
        pid: i32,
    },
    /// The supervisor.
    #[error("cannot supervise dnsmasq")]
    Supervisor(#[source] WorkerError),
}

/// How to go on where a dnsmasq ended with these words since somebody else has its port; `None` where it had others.
#[must_use]
pub fn in_the_way(words: &str) -> Option<&'static str> {
    words.contains("in use").then_some(
        "another DNS or DHCP server of this host listens on all addresses: let it listen on its own alone (dnsmasq: \
         `bind-dynamic` and `except-interface=brNC-*`)",
    )
}

/// The program, by its whole path.
///
/// # Errors
/// [`ResolverError::Missing`].
pub fn program(named: &Path) -> Result<PathBuf, ResolverError> {
    let missing = || ResolverError::Missing { program: named.to_owned() };
    let executable = |path: &Path| {
        path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if named.components().count() > 1 {
        return if executable(named) { Ok(named.to_owned()) } else { Err(missing()) };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from));
    folders.map(|folder| folder.join(named)).find(|path| executable(path)).ok_or_else(missing)
}

/// The process of one that answers. It writes its number last of all, once it listens.
#[must_use]
pub fn running(layout: &Layout, resolver: Resolver) -> Option<Process> {
    let number = std::fs::read_to_string(layout.resolver_pid(resolver.as_str())).ok()?;
    let process = Process::now(number.trim().parse().ok()?)?;
    (is_ours(process, &|argument| argument == config_argument(layout, resolver)) && process.is_alive())
        .then_some(process)
}

/// Whether the one on this address answers: one that was stopped, or hangs, has its address and does not. Asked by DNS for
/// the name of the host, which each of them knows, as a guest would.
#[must_use]
pub fn answers(address: Ipv4Addr) -> bool {
    let ask = || -> io::Result<bool> {
        // From there: where this host has no such address, nothing is sent anywhere.
        let socket = UdpSocket::bind((address, 0))?;
        socket.connect((address, DNS))?;
        socket.set_read_timeout(Some(ANSWER / TRIES))?;
        let mut answer = [0; 512];
        // A datagram may get lost on a busy host.
        for id in 1..=TRIES {
            socket.send(&question(id.to_be_bytes()))?;
            match socket.recv(&mut answer) {
                Ok(length) if length > 12 => return Ok(true),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    };
    ask().unwrap_or(false)
}

/// The port of DNS.
const DNS: u16 = 53;

/// The question for the IPv4 address of the host, by the name that guests know.
fn question(id: [u8; 4]) -> Vec<u8> {
    let mut question = vec![id[2], id[3], 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in dnsmasq::HOST_NAME.split('.') {
        question.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        question.extend_from_slice(label.as_bytes());
    }
    question.extend_from_slice(&[0, 0, 1, 0, 1]);
    question
}

/// Ends one that does not answer; whoever supervises it starts it again.
///
/// # Errors
/// When the kernel refuses, or it does not end.
pub fn end_hung(process: Process) -> Result<(), ResolverError> {
    signal(process, Signal::SIGKILL)?;
    end(vec![process])
}

fn config_argument(layout: &Layout, resolver: Resolver) -> std::ffi::OsString {
    dnsmasq::config_argument(&layout.resolver_config(resolver.as_str()))
}

/// Whether one of its arguments is as wanted. A guest can call its processes what it likes, but they are not of the
/// host's users.
fn is_ours(process: Process, wanted: &dyn Fn(&OsStr) -> bool) -> bool {
    process.arguments().iter().any(|argument| wanted(argument))
        && process.user().is_some_and(|user| user < idmap::FIRST)
}

/// The supervisor of this host's dnsmasqs, where there is one. One that was stopped supervises nothing.
#[must_use]
pub fn supervisor(layout: &Layout) -> Option<Process> {
    supervisors(layout).find(|process| !process.is_stopped())
}

/// Any user of the host can call a process so; root alone supervises.
fn supervisors(layout: &Layout) -> impl Iterator<Item = Process> {
    let config = layout.resolver_config(Resolver::Hostonly.as_str());
    proc::all().filter(move |process| {
        process.arguments().get(1).is_some_and(|word| word == SUPERVISE)
            && is_ours(*process, &|argument| argument == config)
            && process.user() == Some(0)
            && process.is_alive()
    })
}

/// All dnsmasqs of this host, also those that nobody supervises any more.
fn dnsmasqs(layout: &Layout) -> Vec<Process> {
    let begin = dnsmasq::config_argument(&layout.resolvers());
    let of_ours = |argument: &OsStr| {
        argument.as_bytes().strip_prefix(begin.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    };
    proc::all().filter(|process| is_ours(*process, &of_ours)).collect()
}

/// As [`running`]; one that is just being started again is waited for, or it might have read its files already.
fn settled(layout: &Layout, resolver: Resolver) -> Option<Process> {
    let began_before = layout.resolver_pid(resolver.as_str()).exists();
    let begin = Instant::now();
    loop {
        let found = running(layout, resolver);
        if found.is_some() || !began_before || begin.elapsed() > AGAIN {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Lets one read its names and leases again; says whether there is one.
///
/// # Errors
/// When the kernel refuses.
pub fn reload(layout: &Layout, resolver: Resolver) -> Result<bool, ResolverError> {
    let Some(process) = settled(layout, resolver) else { return Ok(false) };
    signal(process, Signal::SIGHUP)?;
    Ok(true)
}

/// Lets one begin anew, by ending it: whoever supervises it starts it again. What it knew of leases is forgotten.
///
/// # Errors
/// When the kernel refuses.
pub fn restart(layout: &Layout, resolver: Resolver) -> Result<bool, ResolverError> {
    let Some(process) = settled(layout, resolver) else { return Ok(false) };
    signal(process, Signal::SIGTERM)?;
    Ok(true)
}

fn signal(process: Process, signal: Signal) -> Result<(), ResolverError> {
    let failed = |source| ResolverError::Signal { pid: process.pid, source };
    match PidFd::open(process).map_err(failed)? {
        Some(held) => held.signal(signal as i32).map_err(failed),
        None => Ok(()),
    }
}

/// Supervises all of them, unless somebody does already; says whether that is new.
///
/// # Errors
/// When there is no worker.
pub fn supervise(layout: &Layout, program: &Path, worker: &Client) -> Result<bool, ResolverError> {
    if supervisor(layout).is_some() {
        return Ok(false);
    }
    // Of a supervisor that was killed, or that was stopped.
    end(supervisors(layout).collect())?;
    end(dnsmasqs(layout))?;
    let configs = Resolver::ALL.map(|resolver| layout.resolver_config(resolver.as_str()));
    worker.supervise(program, &configs).map_err(ResolverError::Supervisor)?;
    Ok(true)
}

/// Ends the supervisor and all dnsmasqs; says whether there were any.
///
/// # Errors
/// When one does not end.
pub fn stop(layout: &Layout) -> Result<bool, ResolverError> {
    let supervisors: Vec<Process> = supervisors(layout).collect();
    let some = !supervisors.is_empty();
    // First, or it would start the others again. It takes them with it.
    end(supervisors)?;
    let others = dnsmasqs(layout);
    let some = some || !others.is_empty();
    end(others)?;
    Ok(some)
}

fn end(processes: Vec<Process>) -> Result<(), ResolverError> {
    for process in &processes {
        // One that was stopped takes no other signal.
        let ends = if process.is_stopped() { Signal::SIGKILL } else { Signal::SIGTERM };
        signal(*process, ends)?;
    }
    let begin = Instant::now();
    for process in processes {
        let mut killed = false;
        while process.is_alive() {
            if begin.elapsed() > END && !killed {
                signal(process, Signal::SIGKILL)?;
                killed = true;
            }
            if begin.elapsed() > 2 * END {
                return Err(ResolverError::Stays { pid: process.pid });
            }
            std::thread::sleep(PAUSE);
        }
        process.reap();
    }
    Ok(())
}

/// Waits until each answers that is not `before`: the process that was told to begin anew.
///
/// # Errors
/// With its own words, where it does not start.
pub fn wait(
    layout: &Layout,
    resolver: Resolver,
    address: Ipv4Addr,
    before: Option<Process>,
) -> Result<(), ResolverError> {
    let begin = Instant::now();
    let said = || std::fs::read_to_string(layout.resolver_log(resolver.as_str())).unwrap_or_default();
    loop {
        if running(layout, resolver).is_some_and(|process| Some(process) != before) {
            return Ok(());
        }
        let words = said();
        if words.contains('\n') && !words.trim().is_empty() {
            return Err(ResolverError::Start { address, words: words.trim().to_owned() });
        }
        if begin.elapsed() > START {
            let words = format!("it is not there after {} s", START.as_secs());
            return Err(ResolverError::Start { address, words });
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::model::config::HostConfig;

    /// A process with the words of a supervisor; it waits for its input.
    fn called_so(layout: &Layout, user: u32) -> Child {
        let mut command = Command::new("cat");
        command.args([SUPERVISE.as_ref(), layout.resolver_config(Resolver::Hostonly.as_str()).as_os_str()]);
        command.arg("-").uid(user).stdin(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    #[test]
    fn root_only_roots_process_is_the_supervisor() {
        let root = tempfile::tempdir().unwrap();
        let config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let layout = Layout::new(&config).unwrap();
        for (user, counts) in [(65_534, false), (0, true)] {
            let mut child = called_so(&layout, user);
            let found = supervisor(&layout).map(|process| process.pid);
            assert_eq!(found, counts.then(|| child.id().cast_signed()), "user {user}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
