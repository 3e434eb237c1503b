//! What the process does that is to become a command, before it does: it takes the signals that are the command's, and
//! goes where it is to begin. (liblxc passes over a directory that cannot be entered: the command would run in `/`.)

use std::ffi::{CStr, c_int, c_void};
use std::os::fd::{BorrowedFd, OwnedFd};

use ::nix::errno::Errno;
use ::nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};

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
    /// The command, in liblxc's form.
    pub(super) command: lxc_sys::lxc_attach_command_t,
    /// The directory that it is to begin in, if that must be there.
    pub(super) directory: Option<&'a CStr>,
    /// Where it is told why it could not. Closed on exec: the command does not have it.
    pub(super) fault: BorrowedFd<'a>,
}

/// Enters the directory, as the command's user, and becomes the command. None of its signals is blocked.
///
/// # Safety
/// `payload` points to a [`Payload`] that nobody else uses meanwhile.
pub(super) unsafe extern "C" fn begin(payload: *mut c_void) -> c_int {
    // SAFETY: the caller's promise. liblxc calls this in a process of its own, with the pointer that it was given.
    let payload = unsafe { &mut *payload.cast::<Payload<'_>>() };
    if unblock_its_signals().is_err() {
        return 1;
    }
    if let Some(directory) = payload.directory
        && let Err(why) = ::nix::unistd::chdir(directory)
    {
        // With nobody left to read it there is nobody to tell.
        let _ = ::nix::unistd::write(payload.fault, &(why as i32).to_ne_bytes());
        return 1;
    }
    // SAFETY: what it takes is a `lxc_attach_command_t` whose strings live as long as the payload.
    unsafe { lxc_sys::lxc_attach_run_command((&raw mut payload.command).cast()) }
}

/// Why the command that has ended had not begun, if it had not.
pub(super) fn fault(told: &OwnedFd) -> Option<Errno> {
    let mut why = [0; 4];
    let count = ::nix::unistd::read(told, &mut why).ok()?;
    (count == why.len()).then(|| Errno::from_raw(i32::from_ne_bytes(why)))
}
