//! The worker: a short-lived process in which liblxc does what it must not do inside a caller.
//!
//! `start` moves its caller into the monitor's cgroup for ever, attach leaves signals ignored, a `setenv` in any
//! thread deadlocks its fork, a bad configuration prints, a stopped monitor hangs. All of that happens in a
//! re-executed, single-threaded process with clean signals, umask and environment, a mount namespace of its own and
//! a deadline.
//!
//! ```text
//! caller                                worker
//!   | Client::call(request, deadline)     .
//!   |------ spawn, fd 3 ----------------->| init(): is this the worker?
//!   |------ Request, JSON --------------->| serve: hygiene, mounts, liblxc
//!   |<----- Answer, JSON -----------------| exit
//!   x reaps it, or kills it at the deadline
//! ```
//!
//! A guest that is started in the foreground has two that last as long as it: its monitor, and one that shows its console
//! and gives the caller's terminal back whatever happens.
//!
//! A program that embeds the library calls [`init`] first in `main`; others name an installed
//! `nixcloud-container-worker` in the host configuration. A program without the feature `liblxc` is pure Rust and never a worker,
//! so it has no `init`: it runs the one that is named, or that is where packages install it.
#![cfg_attr(
    not(feature = "liblxc"),
    expect(dead_code, unused_imports, reason = "what only a worker does, and the installed one does it")
)]

mod booted;
mod bridge_port;
mod client;
mod companion;
mod console;
mod devices;
mod lxcfs;
mod mounts;
mod passwd;
mod paths;
mod protocol;
pub(crate) mod resolver;
#[cfg(feature = "liblxc")]
mod server;
mod store;
mod supervise;
#[cfg(feature = "liblxc")]
mod terminal;
mod users;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::model::bridge_port::HOOK;
use crate::sys::proc::Process;
use crate::sys::process;
use crate::sys::reporter::{self, REPORT};

pub use crate::model::exit::Exit;
pub(crate) use booted::{has_activated, has_booted, links_folder};
pub(crate) use bridge_port::HookFailure;
pub(crate) use client::{Client, PATH, Stdio};
pub use client::{LxcWords, WorkerError};
pub(crate) use companion::Companion;
pub(crate) use protocol::{Answer, AttachCommand, Identity, LogFile, Request, StoreClosure, Target};
pub use protocol::{LogRequest, NoAccount};
pub(crate) use supervise::SUPERVISE;

/// What a worker is called and told: its first two arguments. No variable, which LXC's hooks would inherit.
const MARK: [&str; 2] = [reporter::WORKER, "serve"];

/// The file descriptor of the control channel.
const CHANNEL: i32 = 3;

/// How long a command may take to end once its caller is gone.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The file that this process was executed from, whatever its name is now.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// How many threads this program had when it called [`init`], if it has: only then does re-executing it give a worker and not a
/// second program.
static INITIALISED: AtomicU64 = AtomicU64::new(0);

/// Makes this program able to be its own worker. Call it first in `main`, before any thread exists.
///
/// In the caller it returns at once. In the re-executed worker it never returns: it does the one thing asked of it
/// and ends the process.
///
/// Where whoever started this program ignores SIGCHLD, which goes through exec, it is put back to its default: else nobody
/// here could wait for a child. Called when there are threads, all that needs a worker fails with
/// [`WorkerError::Threads`], unless the host configuration names an installed one.
///
/// ```no_run
/// # fn the_program_itself() {}
/// nixcloud_container::worker::init();
/// the_program_itself();
/// ```
#[cfg(feature = "liblxc")]
pub fn init() {
    if std::env::args_os().nth(1).is_some_and(|arg| arg == HOOK) {
        bridge_port::main();
    }
    let mut args = std::env::args_os();
    if args.next().is_some_and(|arg| arg == MARK[0]) {
        match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
            Some(word) if word == MARK[1] => server::main(),
            Some(REPORT) => reporter::main(args),
            Some(word) => supervise::main(word, args),
            None => {}
        }
    }
    process::hear_of_children();
    reporter::known(Path::new(OWN_PROGRAM));
    INITIALISED.store(process::threads(), Ordering::Relaxed);
}

/// Whether a process is LXC's, run by a worker, and has not become a guest's init yet.
pub(crate) fn is_setting_up(process: Process) -> bool {
    let words = process.arguments();
    // LXC renames the monitor, before it makes the guest's first process of itself.
    words == MARK || words.first().is_some_and(|word| word.as_encoded_bytes().starts_with(b"[lxc monitor]"))
}

/// Says that nothing in this program but the library waits for children that the library has started: no thread waits for
/// whatever ends, no handler of SIGCHLD does, and the signal is not ignored.
///
/// Without this the library takes care where it could be otherwise, which costs 2 ms for each program of the host that it runs.
/// What it starts in the background, the monitors of guests, has this process for a parent only if this is a subreaper
/// (`PR_SET_CHILD_SUBREAPER`) or the first process of a pid namespace: the library waits for those that it sees to have
/// ended, and for those that end by themselves the program does, as for all its orphans.
pub fn waits_alone() {
    reporter::wait_alone();
}

fn initialised() -> Option<u64> {
    Some(INITIALISED.load(Ordering::Relaxed)).filter(|threads| *threads > 0)
}
