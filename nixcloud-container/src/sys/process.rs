//! What a worker does before it touches liblxc: a monitor, a guest's init and an attached command inherit the signals,
//! the umask and the open files of the process that made them, and liblxc resets none of it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;

use ::nix::errno::Errno;
use ::nix::mount::{MsFlags, mount};
use ::nix::sched::{CloneFlags, unshare};
use ::nix::sys::prctl::{set_dumpable, set_pdeathsig};
use ::nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use ::nix::sys::stat::{Mode, umask};
use ::nix::unistd::{Gid, Pid, Uid, getpid, getppid, setfsgid, setfsuid, setgroups, setresgid, setresuid};
use thiserror::Error;

/// What of this process a guest would inherit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Unclean {
    /// Other threads may hold locks that the processes which liblxc forks would wait for, for ever.
    #[error("it has {threads} threads")]
    Threads {
        /// How many.
        threads: u64,
    },
    /// Ignored signals stay ignored in every process of the guest. Rust's runtime ignores SIGPIPE.
    #[error("it ignores signals (mask {mask:#x})")]
    Ignored {
        /// A bit per signal, the lowest is signal 1.
        mask: u64,
    },
    /// Blocked signals stay blocked in every process of the guest.
    #[error("it blocks signals (mask {mask:#x})")]
    Blocked {
        /// A bit per signal, the lowest is signal 1.
        mask: u64,
    },
    /// The kernel does not say.
    #[error("cannot read /proc/thread-self/status")]
    Unreadable(#[source] io::Error),
}

/// A step of the preparation that failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A call of the kernel.
    #[error("{what} failed")]
    System {
        /// The call.
        what: &'static str,
        /// Its error.
        #[source]
        source: Errno,
    },
    /// Threads of the C library's need their signals.
    #[error("there are {threads} threads, whose signals cannot be reset")]
    Threads {
        /// How many.
        threads: u64,
    },
    /// The parent ended before this process could ask to end with it.
    #[error("the parent process is gone")]
    Orphan,
}

fn system(what: &'static str) -> impl FnOnce(Errno) -> Error {
    move |source| Error::System { what, source }
}

/// The kernel's `struct sigaction` all zero: SIG_DFL, no flags, no restorer, an empty mask.
const KERNEL_DEFAULT: [u64; 4] = [0; 4];
/// The size of the kernel's signal set, in bytes, whatever a word is.
const KERNEL_SIGSET: usize = 8;

/// How many bytes the kernel reads: three words and a set.
const fn kernel_reads(word: usize) -> usize {
    3 * word + KERNEL_SIGSET
}
const _: () = assert!(kernel_reads(size_of::<usize>()) <= size_of_val(&KERNEL_DEFAULT));

/// Gives every signal its default action and unblocks all: ignored and blocked signals go through exec, into the guest.
///
/// The two that the C library keeps for its threads (32 and 33) are among them, since some parents ignore them too: with their
/// default action, a thread that changes the user of all threads would kill the process.
///
/// # Errors
/// When there are other threads, or the kernel refuses.
pub fn reset_signals() -> Result<(), Error> {
    let threads = threads();
    if threads > 1 {
        return Err(Error::Threads { threads });
    }
    for signal in 1..=libc::SIGRTMAX() {
        if matches!(signal, libc::SIGKILL | libc::SIGSTOP) {
            continue;
        }
        // The C library's own function refuses 32 and 33.
        // SAFETY: the kernel reads as many bytes as its struct has, at most those of `KERNEL_DEFAULT`, writes nothing,
        // and no handler of ours is left to run.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                KERNEL_DEFAULT.as_ptr(),
                ptr::null_mut::<usize>(),
                KERNEL_SIGSET,
            )
        };
        if result != 0 {
            return Err(system("resetting a signal")(Errno::last()));
        }
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).map_err(system("unblocking signals"))
}

/// Takes this process out of the reach of everybody but the host's root: from here on nobody else traces it, reads its
/// memory or opens its files. So it is for the processes that liblxc forks of it.
///
/// Without this, guest root is host root: what enters a guest is the host's root for as long as liblxc prepares it, while
/// the guest sees it and rules over the user namespace that it is in.
///
/// # Errors
/// When the kernel refuses.
pub fn shield() -> Result<(), Errno> {
    set_dumpable(false)
}

/// Where the kernel takes the shield away, and when.
const SUID_DUMPABLE: &str = "/proc/sys/fs/suid_dumpable";

/// Whether the shield lasts while a process gives its privileges up. With `fs.suid_dumpable` at 1 it goes with the first
/// id that is changed, which is the group's: the process is still the host's root then.
pub fn shield_lasts() -> bool {
    // A kernel without the setting is none that changes it.
    !fs::read_to_string(SUID_DUMPABLE).is_ok_and(|value| value.trim() == "1")
}

/// Closes every file above 2 but `keep`.
///
/// # Safety
/// Whoever owns those files here does not learn of it: for a process that was forked of another to execute a program next, and
/// that runs nothing of their owners' until then, also not their destructors.
pub unsafe fn close_all_but(keep: BorrowedFd<'_>) -> Result<(), Errno> {
    let keep = keep.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, keep.saturating_sub(1)), (keep.max(2) + 1, u32::MAX)] {
        if first <= last {
            // SAFETY: the caller's promise; the kernel takes three numbers.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0_u32) };
            if result != 0 {
                return Err(Errno::last());
            }
        }
    }
    Ok(())
}

/// What this process does when a child of it ends.
fn child_action() -> Option<libc::sigaction> {
    // SAFETY: a zeroed `sigaction` is one; the kernel writes the present action into it, and nothing is changed.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: as above; without a new action (NULL) it only reads.
    let read = unsafe { libc::sigaction(libc::SIGCHLD, ptr::null(), &raw mut action) };
    (read == 0).then_some(action)
}

/// Has the ends of this process's children told again, where whoever started it ignores SIGCHLD: that goes through exec, and
/// no wait for a child would say how it ended.
pub fn hear_of_children() {
    if let Some(mut action) = child_action()
        && action.sa_sigaction == libc::SIG_IGN
    {
        action.sa_sigaction = libc::SIG_DFL;
        action.sa_flags &= !libc::SA_NOCLDWAIT;
        // SAFETY: the default action runs nothing of ours.
        unsafe { libc::sigaction(libc::SIGCHLD, &raw const action, ptr::null_mut()) };
    }
}

/// Whether this process may not learn how a child of it ended: ends are not told, or somebody else in it, a handler or a
/// thread, may wait for whatever ends.
#[must_use]
pub fn may_lose_children() -> bool {
    let default = |action: libc::sigaction| {
        action.sa_sigaction == libc::SIG_DFL && action.sa_flags & libc::SA_NOCLDWAIT == 0
    };
    !child_action().is_some_and(default) || threads() > 1
}

/// How many threads this process has.
#[must_use]
pub fn threads() -> u64 {
    // Of a folder the kernel counts those in it, itself and its parent.
    fs::metadata("/proc/self/task").map_or(1, |tasks| tasks.nlink().saturating_sub(2).max(1))
}

/// Sets the umask to 022.
pub fn set_umask() {
    umask(Mode::from_bits_truncate(0o022));
}

/// Whether a guest can be started or entered from here.
///
/// # Errors
/// When there are other threads, or signals are ignored or blocked.
pub fn check_clean() -> Result<(), Unclean> {
    let status = fs::read_to_string("/proc/thread-self/status").map_err(Unclean::Unreadable)?;
    judge(&status)
}

fn judge(status: &str) -> Result<(), Unclean> {
    let field = |name: &str, radix| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|value| u64::from_str_radix(value.trim(), radix).ok())
            .ok_or_else(|| Unclean::Unreadable(io::Error::new(io::ErrorKind::InvalidData, name.to_owned())))
    };
    match (field("Threads", 10)?, field("SigIgn", 16)?, field("SigBlk", 16)?) {
        (1, 0, 0) => Ok(()),
        (1, 0, mask) => Err(Unclean::Blocked { mask }),
        (1, mask, _) => Err(Unclean::Ignored { mask }),
        (threads, ..) => Err(Unclean::Threads { threads }),
    }
}

/// Marks every file above 2 close-on-exec, so that no command of a guest inherits one.
///
/// # Errors
/// When the kernel refuses.
pub fn cloexec_all() -> Result<(), Errno> {
    // SAFETY: sets a flag on whatever is open; no descriptor is closed or made.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop)
}

/// Gives this process mounts of its own: the host's changes arrive, ours do not leave.
///
/// # Errors
/// When the kernel refuses (it needs root).
pub fn private_mounts() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(system("leaving the host's mount namespace"))?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).map_err(system("making the mounts slaves"))
}

/// Lets the kernel kill this process when its parent ends: precisely, the parent's *thread* that made it. Monitors and
/// guests started later are not killed.
///
/// # Errors
/// [`Error::Orphan`] when `parent` (its pid, which it told us) is already gone.
pub fn die_with_parent(parent: i32) -> Result<(), Error> {
    set_pdeathsig(Signal::SIGKILL).map_err(system("asking to end with the parent"))?;
    // If it ended before the line above, no signal will ever come.
    if getppid() == Pid::from_raw(parent) { Ok(()) } else { Err(Error::Orphan) }
}

/// Lets the kernel send `signal` to the process of `command` when the caller ends, however it ends: precisely, the
/// *thread* that spawns it. So what a killed caller had begun does not go on behind the back of the next one.
pub fn end_with_caller(command: &mut Command, signal: Signal) {
    let caller = getpid();
    let ask = move || {
        set_pdeathsig(signal)?;
        // If it ended before the line above, no signal will ever come.
        if getppid() == caller { Ok(()) } else { Err(Errno::ESRCH.into()) }
    };
    // SAFETY: between fork and exec, two calls of the kernel: nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(ask) };
}

/// Lets the process of `command` begin with no signal blocked: it would inherit what the caller blocks.
pub fn unblocked(command: &mut Command) {
    let unblock = || Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?);
    // SAFETY: between fork and exec, one call of the kernel: nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(unblock) };
}

/// Lets the process of `command` begin with the default action of `signal`: who ignores it hands that on, as a shell does to
/// what it runs in the background, and then nobody can be asked by it.
pub fn hearing(command: &mut Command, signal: Signal) {
    let reset = move || {
        // SAFETY: the default action runs nothing of ours.
        unsafe { ::nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
        Ok(())
    };
    // SAFETY: between fork and exec, one call of the kernel: nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(reset) };
}

/// The host's id of the root of a guest, of which `init` is a process. `map` is `uid_map` or `gid_map`.
pub fn root_of(init: i32, map: &str) -> io::Result<u32> {
    let text = fs::read_to_string(format!("/proc/{init}/{map}"))?;
    mapped_root(&text).ok_or_else(|| io::Error::other("the guest has no root"))
}

fn mapped_root(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next()?, numbers.next()?) {
            (Ok(0), Ok(root)) => Some(root),
            _ => None,
        }
    })
}

/// The root of a guest, as the host knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    uid: u32,
    gid: u32,
}

impl Root {
    /// That of the guest of which `init` is a process. Whether it still is, is the caller's to ask afterwards.
    ///
    /// # Errors
    /// When the process is gone, or its guest has no root.
    pub fn of(init: i32) -> io::Result<Self> {
        Ok(Self { uid: root_of(init, "uid_map")?, gid: root_of(init, "gid_map")? })
    }

    /// Lets this thread reach files as that root does, whatever the file system; its other rights stay.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reach_files(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&[])?;
        setfsgid(gid);
        // With the user, the rights over other people's files go.
        setfsuid(uid);
        // They say who it was before.
        if setfsuid(uid) != uid || setfsgid(gid) != gid {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // What the kernel made of it meanwhile is the host's setting.
        Ok(shield()?)
    }

    /// Makes this process one of that root's: without any capability, and for good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn become_it(self) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&[])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // What the kernel made of it meanwhile is the host's setting.
        Ok(shield()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(threads: u32, ignored: &str, blocked: &str) -> String {
        format!("Name:\tx\nThreads:\t{threads}\nSigBlk:\t{blocked}\nSigIgn:\t{ignored}\n")
    }

    #[test]
    fn what_a_guest_would_inherit_is_refused() {
        let none = "0000000000000000";
        assert!(judge(&status(1, none, none)).is_ok());
        assert!(matches!(judge(&status(2, none, none)), Err(Unclean::Threads { threads: 2 })));
        // SIGPIPE, as Rust's runtime leaves it.
        assert!(matches!(
            judge(&status(1, "0000000000001000", none)),
            Err(Unclean::Ignored { mask: 0x1000 })
        ));
        assert!(matches!(judge(&status(1, none, "1")), Err(Unclean::Blocked { mask: 1 })));
        assert!(matches!(judge(""), Err(Unclean::Unreadable(_))));
    }

    #[test]
    fn this_threaded_test_process_is_unclean() {
        assert!(check_clean().is_err());
    }

    #[test]
    fn the_kernel_reads_no_further_than_there_is() {
        assert_eq!((kernel_reads(4), kernel_reads(8)), (20, 32));
        assert!(size_of_val(&KERNEL_DEFAULT) >= kernel_reads(8));
    }

    #[test]
    fn signals_of_a_process_with_threads_stay() {
        let both = std::sync::Arc::new(std::sync::Barrier::new(2));
        let thread = std::thread::spawn({
            let both = std::sync::Arc::clone(&both);
            move || both.wait()
        });
        assert!(matches!(reset_signals(), Err(Error::Threads { threads: 2.. })));
        both.wait();
        thread.join().unwrap();
    }

    #[test]
    fn the_guests_root_is_read_from_its_map() {
        assert_eq!(mapped_root("         0     100000      65536\n"), Some(100_000));
        assert_eq!(mapped_root("1 5 1\n0 7 1\n"), Some(7));
        assert_eq!(mapped_root("1000 1000 1\n"), None);
        assert_eq!(mapped_root(""), None);
    }
}
