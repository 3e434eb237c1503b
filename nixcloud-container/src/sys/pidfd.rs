//! One process, held by a file descriptor: a signal never hits another that was given the same pid.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::sys::proc::Process;

/// How often a waiting caller is asked whether it has given up.
const TICK: Duration = Duration::from_millis(50);

/// What the kernel tells of a process that has ended: what its parent was told, or would have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It has not ended, or its parent has not taken note of that yet: the descriptor hangs up when it does.
    NotYet,
    /// It ended so.
    Exit(Ended),
    /// This kernel tells nobody but the parent (before Linux 6.15).
    Nothing,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    /// Of what `wait` writes.
    #[must_use]
    pub fn of_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Code(status >> 8 & 0xff),
            signal => Self::Signal(signal),
        }
    }
}

/// `struct pidfd_info` as its first version was.
#[repr(C)]
#[derive(Debug, Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 3 << 30 | (size_of::<Info>() as libc::c_ulong) << 16 | 0xff << 8 | 11;

/// `PIDFD_INFO_EXIT`.
const INFO_EXIT: u64 = 1 << 3;

/// Why a wait for a process is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// The process has ended.
    Ended,
    /// Nobody is at the other end any more.
    HungUp,
    /// It is time.
    Late,
}

/// A running process.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

/// To be polled: it is readable once the process has ended.
impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl PidFd {
    /// Takes hold of a process; `None` when it has ended.
    ///
    /// # Errors
    /// When the kernel has no pidfds or no descriptor is free.
    pub fn open(process: Process) -> io::Result<Option<Self>> {
        let Some(pid) = Pid::from_raw(process.pid) else { return Ok(None) };
        let fd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => fd,
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // The pid may have been given out again before it was opened; from here on it cannot be.
        Ok(process.is_alive().then_some(Self(fd)))
    }

    /// Takes hold of a child that this caller has not waited for; `None` where somebody else in this process has.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn of_child(child: &Child) -> io::Result<Option<Self>> {
        match pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal by its number; the real-time ones that systemd listens to have no name. A process that has
    /// ended meanwhile is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        // SAFETY: the descriptor is open for as long as `self` lives; without a siginfo (NULL) the kernel fills it, and
        // it checks the number.
        let result = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.0.as_raw_fd(),
                number,
                std::ptr::null::<libc::siginfo_t>(),
                0_u32,
            )
        };
        if result == 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            error => Err(error),
        }
    }

    /// How it ended, as far as the kernel tells who is not its parent. Of one that was ended by `reboot` in its pid namespace the
    /// kernel keeps here what it did itself: code 0 of an init that called it, SIGKILL of one whose child did.
    #[must_use]
    pub fn told(&self) -> Told {
        let mut info = Info { mask: INFO_EXIT, ..Info::default() };
        // SAFETY: the descriptor is open for as long as `self` lives, and the kernel writes no more than the size that the request
        // says, which is that of `info`.
        let result = unsafe { libc::ioctl(self.0.as_raw_fd(), GET_INFO as _, &raw mut info) };
        match result {
            0 if info.mask & INFO_EXIT != 0 => Told::Exit(Ended::of_status(info.exit_code)),
            0 => Told::NotYet,
            _ => Told::Nothing,
        }
    }

    /// Waits until it has ended, the other end of `channel`, a socket, is closed, or it is time.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait_unless_hung_up(&self, channel: impl AsFd, until: Option<Instant>) -> io::Result<Woken> {
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            });
            // Of the channel nothing but POLLHUP, which is always told: the end of the request is no hang-up.
            let mut fds = [
                PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::empty()),
            ];
            match poll(&mut fds, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                other => drop(other?),
            }
            if !fds[0].revents().is_empty() {
                return Ok(Woken::Ended);
            }
            if fds[1].revents().contains(PollFlags::HUP) {
                return Ok(Woken::HungUp);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(Woken::Late);
            }
        }
    }

    /// Waits until it has ended; `false` when `limit` is over or `given_up` says so first.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait(&self, limit: Duration, given_up: &dyn Fn() -> bool) -> io::Result<bool> {
        let begin = Instant::now();
        loop {
            let Some(left) = limit.checked_sub(begin.elapsed()) else { return Ok(false) };
            if given_up() {
                return Ok(false);
            }
            let pause = left.min(TICK);
            let timeout = Timespec { tv_sec: 0, tv_nsec: pause.subsec_nanos().into() };
            let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
            match poll(&mut fds, Some(&timeout)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_process_ended_is_told_once_its_parent_knows() {
        for (script, ended) in [("exit 3", Ended::Code(3)), ("kill -9 $$", Ended::Signal(9))] {
            let mut child = std::process::Command::new("sh").args(["-c", script]).spawn().unwrap();
            let pidfd = PidFd::of_child(&child).unwrap().unwrap();
            assert!(pidfd.wait(Duration::from_secs(60), &|| false).unwrap());
            assert_ne!(pidfd.told(), Told::Exit(ended), "its parent was not told yet");
            child.wait().unwrap();
            // Before Linux 6.15 there is nothing.
            assert!(matches!(pidfd.told(), Told::Nothing) || pidfd.told() == Told::Exit(ended), "{script}");
        }
        assert_eq!(Ended::of_status(0x300), Ended::Code(3));
        assert_eq!(Ended::of_status(0x80 | 6), Ended::Signal(6));
    }

    #[test]
    fn a_signal_by_number_ends_a_process_and_the_wait() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::now(child.id().cast_signed()).unwrap();
        let pidfd = PidFd::open(process).unwrap().unwrap();
        assert!(!pidfd.wait(Duration::from_millis(5), &|| false).unwrap());
        assert!(!pidfd.wait(Duration::from_secs(60), &|| true).unwrap());
        pidfd.signal(libc::SIGKILL).unwrap();
        assert!(pidfd.wait(Duration::from_secs(10), &|| false).unwrap());
        child.wait().unwrap();
        pidfd.signal(libc::SIGKILL).unwrap();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(pidfd.wait_unless_hung_up(&ours, None).unwrap(), Woken::Ended);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let me = PidFd::open(Process::now(std::process::id().cast_signed()).unwrap()).unwrap().unwrap();
        let hang_up = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            drop(theirs);
        });
        let begin = Instant::now();
        assert_eq!(
            me.wait_unless_hung_up(&ours, Some(Instant::now() + Duration::from_millis(5))).unwrap(),
            Woken::Late
        );
        assert_eq!(me.wait_unless_hung_up(&ours, None).unwrap(), Woken::HungUp);
        assert!(begin.elapsed() >= Duration::from_millis(15), "half a close is no hang-up");
        hang_up.join().unwrap();
        assert!(PidFd::open(process).unwrap().is_none());
        assert!(PidFd::open(Process { start: 1, ..Process::now(1).unwrap() }).is_ok_and(|fd| fd.is_none()));
    }
}
