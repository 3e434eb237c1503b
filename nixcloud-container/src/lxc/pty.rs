//! Pseudo terminals of a guest and of the host.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};

use super::error::Error;
use super::handle::{Handle, call};
use crate::sys::process;

/// A new pseudo terminal.
#[derive(Debug)]
pub struct Pty {
    /// Our end.
    pub master: OwnedFd,
    /// The end of the command.
    pub slave: Slave,
}

/// The end of a pseudo terminal that a command gets: one that was made for it, never a terminal that was there before.
#[derive(Debug)]
pub struct Slave(OwnedFd);

impl AsFd for Slave {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Handle {
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
        open(devpts.as_fd(), "ptmx").or_else(|_| of_host())
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
    open(CWD, "/dev/ptmx").map_err(|source| Error::Terminal { source })
}

fn open(folder: BorrowedFd<'_>, ptmx: &str) -> io::Result<Pty> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = rustix::fs::openat(folder, ptmx, flags, Mode::empty())?;
    unlockpt(&master)?;
    // Not by its name, which is another one in another mount namespace.
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    Ok(Pty { master, slave: Slave(slave) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_of_the_host_has_two_ends() {
        let Pty { master, slave } = of_host().unwrap();
        rustix::io::write(&slave, b"out\n").unwrap();
        let mut buffer = [0; 16];
        let mut read = rustix::io::read(&master, &mut buffer);
        while read == Err(rustix::io::Errno::AGAIN) {
            read = rustix::io::read(&master, &mut buffer);
        }
        assert_eq!(&buffer[..read.unwrap()], b"out\r\n");
        drop(slave);
        assert_eq!(rustix::io::read(&master, &mut buffer), Err(rustix::io::Errno::IO));
    }
}
