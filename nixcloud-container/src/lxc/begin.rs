//! What the process does that is to become a command, before it does: it takes the signals that are the command's, and
//! goes where it is to begin. (liblxc passes over a directory that cannot be entered: the command would run in `/`.)

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use ::nix::errno::Errno;
use ::nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use ::nix::unistd::{geteuid, getpid, getsid};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use crate::sys::process;

/// Whoever sends these to the process group means the command. To the process that attaches it they are blocked before
/// there is a command: so none of them takes the exit code away, and one that comes early is the command's all the same.
pub(super) fn block_its_signals() -> Result<(), Errno> {
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&its_signals()), None)
}

/// Where there is no command after all.
pub(super) fn unblock_its_signals() -> Result<(), Errno> {
    sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&its_signals()), None)
}

fn its_signals() -> SigSet {
    let ends = [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];
    let others = [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGCONT];
    ends.into_iter().chain(others).collect()
}

/// What the process that becomes the command needs.
pub(super) struct Payload<'a> {
    /// The program, looked for in the guest's `PATH`.
    pub(super) program: &'a CStr,
    /// Its arguments, the first of which is what it is called. NULL ends them.
    pub(super) argv: &'a [*mut c_char],
    /// The directory that it is to begin in.
    pub(super) directory: &'a CStr,
    /// Whether it begins in `/` where it cannot begin there.
    pub(super) or_root: bool,
    /// Whether it has a terminal, which then is the one of its session.
    pub(super) terminal: bool,
    /// Where it is told why there is no command. Closed on exec: the command does not have it.
    pub(super) fault: BorrowedFd<'a>,
    /// Where it waits until it is let go, by a byte, and the other end of that.
    pub(super) gate: Option<(BorrowedFd<'a>, RawFd)>,
}

/// Why there is no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotBegun {
    /// It could not begin in its directory.
    Directory(Errno),
    /// Its program could not be executed.
    Exec(Errno),
    /// Anything before that.
    Before(Errno),
}

/// Enters the directory, as the command's user, and becomes the command. None of its signals is blocked.
///
/// The guest watches. Its root may send this process signals, set its limits and slow it down, whatever keeps it from
/// looking inside: liblxc has taken on the guest's ids by now, and with them this process is judged by what
/// `fs.suid_dumpable` says; and in the middle of exec, the memory is the guest's already while files are still to be
/// closed. And a directory or a program of the guest's may be a link to `/proc/self/fd/7`. So first there is nothing left
/// to be had.
///
/// # Safety
/// `payload` points to a [`Payload`] that nobody else uses meanwhile; its pointers are to strings that live as long.
pub(super) unsafe extern "C" fn begin(payload: *mut c_void) -> c_int {
    // SAFETY: the caller's promise. liblxc calls this in a process of its own, with the pointer that it was given.
    let payload = unsafe { &*payload.cast::<Payload<'_>>() };
    let fault = run(payload);
    let (stage, why) = match fault {
        NotBegun::Before(why) => (0, why),
        NotBegun::Directory(why) => (1, why),
        NotBegun::Exec(why) => (2, why),
    };
    let [a, b, c, d] = (why as i32).to_ne_bytes();
    // With nobody left to read it there is nobody to tell.
    let _ = ::nix::unistd::write(payload.fault, &[stage, a, b, c, d]);
    1
}

/// Returns only where there is no command.
fn run(payload: &Payload<'_>) -> NotBegun {
    let prepared = process::shield()
        .and_then(|()| payload.gate.map_or(Ok(()), pass))
        // SAFETY: this process was forked to become the command, and ends without destructors where it does not.
        .and_then(|()| unsafe { process::close_all_but(payload.fault) })
        .and_then(|()| if payload.terminal { leads_a_session() } else { Ok(()) })
        .and_then(|()| if geteuid().is_root() { Ok(()) } else { as_the_user() })
        .and_then(|()| unblock_its_signals());
    if let Err(why) = prepared {
        return NotBegun::Before(why);
    }
    if let Err(why) = ::nix::unistd::chdir(payload.directory)
        && !(payload.or_root && ::nix::unistd::chdir(c"/").is_ok())
    {
        return NotBegun::Directory(why);
    }
    // SAFETY: strings that end with NUL, and a list of such that ends with NULL; all live as long as the payload.
    unsafe { libc::execvp(payload.program.as_ptr(), payload.argv.as_ptr().cast()) };
    NotBegun::Exec(Errno::last())
}

/// Waits at the gate. Whoever was to open it may be gone: then there is nobody to run for.
fn pass((gate, other_end): (BorrowedFd<'_>, RawFd)) -> Result<(), Errno> {
    // Its own copy would keep it from seeing that.
    ::nix::unistd::close(other_end)?;
    loop {
        match ::nix::unistd::read(gate, &mut [0]) {
            Ok(1) => return Ok(()),
            Ok(_) => return Err(Errno::ECANCELED),
            Err(Errno::EINTR) => {}
            Err(why) => return Err(why),
        }
    }
}

/// Gives up the capabilities that liblxc leaves to a process which comes from the host's root and has become a user of the
/// guest. They would go with exec; until then they open directories, and find programs, that are shut to the user.
fn as_the_user() -> Result<(), Errno> {
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).map_err(|errno| Errno::from_raw(errno.raw_os_error()))
}

/// Whether this process has left the caller's session, where `/dev/tty` is the caller's terminal.
///
/// liblxc leaves it if the command's terminal is one. That is the guest's own: its root gives it the line discipline of
/// none, and to liblxc it is none.
fn leads_a_session() -> Result<(), Errno> {
    if getsid(None)? == getpid() { Ok(()) } else { Err(Errno::ENOTTY) }
}

/// Why the command that has ended had not begun, if it had not.
pub(super) fn why_not_begun(pipe: &OwnedFd) -> Option<NotBegun> {
    let mut bytes = [0; 5];
    let count = ::nix::unistd::read(pipe, &mut bytes).ok()?;
    let [stage, why @ ..] = bytes;
    let why = Errno::from_raw(i32::from_ne_bytes(why));
    match stage {
        _ if count != bytes.len() => None,
        0 => Some(NotBegun::Before(why)),
        1 => Some(NotBegun::Directory(why)),
        _ => Some(NotBegun::Exec(why)),
    }
}
