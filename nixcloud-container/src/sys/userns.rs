//! A user namespace for a guest, whose owner is an id of the guest's own.
//!
//! Many tables of the kernel have a limit a user, and count what is made in a user namespace for its owner, too: inotify
//! instances and watches, namespaces, pending signals, message queues, locked memory. LXC makes the namespace as root: then
//! root and all guests share one limit, and one guest takes it all. The owner's own limits are the host's settings, which
//! nobody in the namespace changes.
//!
//! The owner gets no rights by it: those it would have as a user of the host, whom no process is.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use ::nix::errno::Errno;
use ::nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use ::nix::sys::wait::waitpid;
use ::nix::unistd::{ForkResult, Pid, fork};
use serde::{Deserialize, Serialize};

/// Whose a user namespace is, and what its ids are on the host, for users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdSpan {
    /// The user of the host that its tables are counted for.
    pub owner: u32,
    /// The host's id of its id 0.
    pub base: u32,
    /// How many it has.
    pub count: u32,
}

/// A user namespace that lasts as long as this, or as something else holds it.
#[derive(Debug)]
pub struct Held {
    child: Pid,
    /// The child ends when this is closed.
    channel: Option<OwnedFd>,
}

impl Held {
    /// Makes one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(ids: IdSpan) -> io::Result<Self> {
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        // SAFETY: the child makes calls of the kernel and ends: whatever locks other threads held when it was forked, it takes none
        // and allocates nothing.
        let child = match unsafe { fork() }? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => be(ids.owner, ours.as_raw_fd(), theirs.as_raw_fd()),
        };
        drop(theirs);
        let held = Self { child, channel: Some(ours) };
        held.await_birth()?;
        let map = format!("0 {} {}\n", ids.base, ids.count);
        for file in ["uid_map", "gid_map"] {
            std::fs::write(format!("/proc/{child}/{file}"), &map)?;
        }
        Ok(held)
    }

    /// Where it can be bound from or opened.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/user", self.child).into()
    }

    fn await_birth(&self) -> io::Result<()> {
        let mut why = [0; 4];
        let Some(channel) = &self.channel else { return Ok(()) };
        let count = ::nix::unistd::read(channel, &mut why)?;
        match (count, i32::from_ne_bytes(why)) {
            (4, 0) => Ok(()),
            (4, why) => Err(io::Error::from_raw_os_error(why)),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.channel = None;
        let _ = waitpid(self.child, None);
    }
}

/// The child: goes into a user namespace of that owner, says whether it could, and waits for the parent to let go.
fn be(owner: u32, ours: RawFd, theirs: RawFd) -> ! {
    let why = enter(owner).err().map_or(0, |errno| errno as i32);
    // SAFETY: the descriptor is this process's copy, and is never used again: `_exit` runs no destructor.
    unsafe { libc::close(ours) };
    // SAFETY: the descriptor is this process's copy, and has no other owner here.
    let channel = unsafe { OwnedFd::from_raw_fd(theirs) };
    if ::nix::unistd::write(&channel, &why.to_ne_bytes()).is_ok() {
        // Nothing is ever sent: this is the end of the parent's interest, or of the parent.
        while matches!(::nix::unistd::read(&channel, &mut [0]), Err(Errno::EINTR)) {}
    }
    // SAFETY: ends the process without running what the parent has registered for its own end.
    unsafe { libc::_exit(0) }
}

fn enter(owner: u32) -> Result<(), Errno> {
    let keep = libc::SECBIT_NO_SETUID_FIXUP;
    // The kernel notes the effective user as the owner. The capabilities stay: some kernels let nobody else make a user
    // namespace.
    // SAFETY: a call of the kernel by value.
    Errno::result(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, keep, 0, 0, 0) })?;
    // SAFETY: a call of the kernel by value. The C library's own setresuid would speak to threads.
    Errno::result(unsafe { libc::syscall(libc::SYS_setresuid, u32::MAX, owner, u32::MAX) })?;
    // SAFETY: a call of the kernel by value.
    Errno::result(unsafe { libc::unshare(libc::CLONE_NEWUSER) })?;
    Ok(())
}
