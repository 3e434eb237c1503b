//! Terminals: here pseudo terminals are made, and here terminals are set and put back.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use ::nix::sys::termios::{
    FlushArg, InputFlags, LocalFlags, OutputFlags, SetArg, SpecialCharacterIndices, Termios, cfmakeraw,
    tcflush, tcgetattr, tcsetattr,
};
use rustix::fs::{CWD, Mode, OFlags, fstat, stat};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A new pseudo terminal. Neither end becomes the terminal of this process; the master does not block.
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

impl Pty {
    /// A new one of the host's own.
    ///
    /// # Errors
    /// When there are no more.
    pub fn of_host() -> io::Result<Self> {
        Self::of(CWD, "/dev/ptmx")
    }

    /// A new one of a file system of terminals, by its `ptmx` in a folder.
    ///
    /// # Errors
    /// When there are no more there, or it is none.
    pub fn of(folder: BorrowedFd<'_>, ptmx: &str) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let master = rustix::fs::openat(folder, ptmx, flags, Mode::empty())?;
        unlockpt(&master)?;
        // Not by its name, which is another one in another mount namespace.
        let slave =
            ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        Ok(Self { master, slave: Slave(slave) })
    }

    /// The path of the command's end, for one of the host's own.
    ///
    /// # Errors
    /// When it has none here.
    pub fn path(&self) -> io::Result<PathBuf> {
        let name = ptsname(&self.master, Vec::new())?;
        let path = PathBuf::from(OsString::from_vec(name.into_bytes()));
        // The number is that of another one where `/dev/pts` is not what `/dev/ptmx` belongs to.
        if stat(&path)?.st_rdev != fstat(&self.slave)?.st_rdev {
            return Err(io::Error::new(io::ErrorKind::NotFound, "it has no name in /dev/pts"));
        }
        Ok(path)
    }
}

/// Gives a terminal a size. The kernel tells the process in its foreground.
///
/// # Errors
/// When it is no terminal.
pub fn resize(terminal: impl AsFd, size: Winsize) -> io::Result<()> {
    Ok(tcsetwinsize(terminal, size)?)
}

/// How a terminal is set.
#[derive(Debug, Clone)]
pub struct Settings(Termios);

impl Settings {
    /// As it is now.
    ///
    /// # Errors
    /// When it is no terminal.
    pub fn of(terminal: impl AsFd) -> io::Result<Self> {
        Ok(Self(tcgetattr(terminal)?))
    }

    /// The key that ends the input.
    #[must_use]
    pub fn end_of_input(&self) -> u8 {
        self.0.control_chars[SpecialCharacterIndices::VEOF as usize]
    }

    /// Sets another terminal so, where it can be.
    pub fn put_on(&self, terminal: impl AsFd) {
        let _ = tcsetattr(terminal, SetArg::TCSANOW, &self.0);
    }

    /// Sets the terminal so again. What was typed meanwhile is forgotten. One that is gone needs no settings.
    pub fn put_back(&self, terminal: impl AsFd) {
        let _ = tcsetattr(terminal, SetArg::TCSAFLUSH, &self.0);
    }

    /// Lets every key and every byte of the terminal pass as it is, where that can be. What was typed ahead is kept. In the
    /// background this stops the whole job.
    pub fn pass_all(&self, terminal: impl AsFd) {
        let mut raw = self.0.clone();
        cfmakeraw(&mut raw);
        let _ = tcsetattr(terminal, SetArg::TCSADRAIN, &raw);
    }

    /// Lets every key of the terminal pass as it is, without an echo; what is shown still gets its line ends.
    ///
    /// # Errors
    /// When it cannot be set.
    pub fn pass_keys(&self, terminal: impl AsFd) -> io::Result<()> {
        Ok(tcsetattr(terminal, SetArg::TCSANOW, &keys_as_they_are(&self.0))?)
    }

    /// Puts the terminal's settings back, if they are those of [`Self::pass_keys`]: a shell that has taken the terminal over
    /// has its own. What was typed for a guest that is gone is not the shell's to read.
    pub fn put_back_unless_others(&self, terminal: impl AsFd) {
        if tcgetattr(&terminal).is_ok_and(|now| same(&now, &keys_as_they_are(&self.0))) {
            let _ = tcflush(&terminal, FlushArg::TCIFLUSH);
            // One that hung up has no settings.
            let _ = tcsetattr(&terminal, SetArg::TCSANOW, &self.0);
        }
    }
}

/// Every key as it is, without an echo; what is shown still gets its line ends. LXC does the same on a terminal.
fn keys_as_they_are(before: &Termios) -> Termios {
    let mut settings = before.clone();
    settings.input_flags.insert(InputFlags::IGNPAR);
    settings.input_flags.remove(
        InputFlags::ISTRIP
            | InputFlags::INLCR
            | InputFlags::IGNCR
            | InputFlags::ICRNL
            | InputFlags::IXON
            | InputFlags::IXANY
            | InputFlags::IXOFF,
    );
    settings.local_flags.remove(
        LocalFlags::TOSTOP
            | LocalFlags::ISIG
            | LocalFlags::ICANON
            | LocalFlags::ECHO
            | LocalFlags::ECHOE
            | LocalFlags::ECHOK
            | LocalFlags::ECHONL
            | LocalFlags::IEXTEN,
    );
    settings.output_flags.insert(OutputFlags::ONLCR | OutputFlags::OPOST);
    settings.control_chars[SpecialCharacterIndices::VMIN as usize] = 1;
    settings.control_chars[SpecialCharacterIndices::VTIME as usize] = 0;
    settings
}

fn same(a: &Termios, b: &Termios) -> bool {
    a.input_flags == b.input_flags
        && a.output_flags == b.output_flags
        && a.control_flags == b.control_flags
        && a.local_flags == b.local_flags
        && a.control_chars == b.control_chars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_terminal_has_two_ends() {
        let Pty { master, slave } = Pty::of_host().unwrap();
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

    #[test]
    fn a_pseudo_terminal_has_a_path_that_is_its_other_end() {
        let pty = Pty::of_host().unwrap();
        let (there, end) = (stat(pty.path().unwrap()).unwrap(), fstat(&pty.slave).unwrap());
        assert_eq!((there.st_rdev, there.st_ino), (end.st_rdev, end.st_ino));
    }

    #[test]
    fn a_terminal_is_given_back_unless_somebody_else_has_it() {
        let Pty { master: _master, slave } = Pty::of_host().unwrap();
        let before = Settings::of(&slave).unwrap();
        let now = || tcgetattr(&slave).unwrap();
        before.pass_keys(&slave).unwrap();
        before.put_back_unless_others(&slave);
        assert_eq!(now(), before.0);
        before.pass_keys(&slave).unwrap();
        assert!(!now().local_flags.contains(LocalFlags::ISIG));
        // A shell, say.
        let mut other = before.0.clone();
        other.local_flags.remove(LocalFlags::ECHO);
        tcsetattr(&slave, SetArg::TCSANOW, &other).unwrap();
        before.put_back_unless_others(&slave);
        assert!(same(&now(), &other));
    }
}
