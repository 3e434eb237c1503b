//! Pseudo terminals of a guest.

use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use super::error::Error;
use super::handle::{Handle, call};
use crate::sys::process;

pub use crate::sys::terminal::{Pty, Slave};

impl Handle<'_> {
    /// A new terminal of the guest's own: there it has a name. The mount is the monitor's, so that the guest cannot put
    /// anything in its place. A guest that has none, or has used up its own, gets one of the host's: as good, without
    /// a name.
    ///
    /// # Errors
    /// When the container does not run, or the host has no more terminals.
    pub fn open_terminal(&self) -> Result<Pty, Error> {
        self.expect_running()?;
        // A member since 4.0.5, before which `Handle::open` stops.
        let fd = call!(self, devpts_fd);
        if fd < 0 {
            return of_host();
        }
        // SAFETY: liblxc has just received it for us; nobody else knows it.
        let devpts = unsafe { OwnedFd::from_raw_fd(fd) };
        Pty::of(devpts.as_fd(), "ptmx").or_else(|_| of_host())
    }

    /// Gives the terminal to root of the guest, so that programs there can open it by its name. liblxc gives it to the
    /// command's user from there. One that stays the host's can be used all the same.
    pub fn hand_over(&self, slave: &Slave, init: i32) {
        if let Ok(root) = process::root_of(init, "uid_map") {
            let _ = rustix::fs::fchown(slave, Some(rustix::fs::Uid::from_raw(root)), None);
        }
    }
}

/// A new terminal of the host's own, for a program of the host.
///
/// # Errors
/// When there are no more.
pub fn of_host() -> Result<Pty, Error> {
    Pty::of_host().map_err(|source| Error::Terminal { source })
}
