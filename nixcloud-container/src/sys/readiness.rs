//! One descriptor for many: readable when one of them has something to tell (epoll), each known by a number of the caller's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// Descriptors that are waited for together.
#[derive(Debug)]
pub(crate) struct Readiness(OwnedFd);

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Readiness {
    /// # Errors
    /// When no descriptor is free.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Waits for `fd` to be readable, for as long as it is.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn add(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(self, fd, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Waits for news of `fd`: each is told once.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn add_news(&self, fd: impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::PRI | EventFlags::ET;
        Ok(epoll::add(self, fd, EventData::new_u64(number), flags)?)
    }

    /// No more of `fd`, which is to be closed.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _ = epoll::delete(self, fd);
    }

    /// The numbers of those that have something to tell by now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn ready(&self) -> io::Result<Vec<u64>> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        loop {
            match epoll::wait(self, spare_capacity(&mut events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => return Ok(events.iter().map(|event| event.data.u64()).collect()),
            }
        }
    }

    /// Waits until one of them has something to tell, at most for `limit`; a signal ends the wait, too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn wait(&self, limit: Duration) -> io::Result<()> {
        let limit = Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&limit)) {
            Err(Errno::INTR) | Ok(_) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A descriptor that is readable while it is set.
#[derive(Debug)]
pub(crate) struct Flag {
    fd: OwnedFd,
    set: bool,
}

impl AsFd for Flag {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Flag {
    /// # Errors
    /// When no descriptor is free.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { fd: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?, set: false })
    }

    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn set(&mut self, set: bool) -> io::Result<()> {
        if set && !self.set {
            rustix::io::write(&self.fd, &1_u64.to_ne_bytes())?;
        } else if !set && self.set {
            rustix::io::read(&self.fd, &mut [0_u8; 8])?;
        }
        self.set = set;
        Ok(())
    }
}

/// A descriptor that is readable once a time has passed.
#[derive(Debug)]
pub(crate) struct Timer(OwnedFd);

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Timer {
    /// # Errors
    /// When no descriptor is free.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Once, after `pause`; never with `None`.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn set(&self, pause: Option<Duration>) -> io::Result<()> {
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would be never.
        let pause = pause.map_or(never, |pause| Timespec {
            tv_sec: pause.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: i64::from(pause.subsec_nanos()).max(1),
        });
        timerfd_settime(
            &self.0,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value: pause },
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_descriptor_tells_which_of_many() {
        let ready = Readiness::new().unwrap();
        let (mut flag, timer) = (Flag::new().unwrap(), Timer::new().unwrap());
        ready.add(&flag, 7).unwrap();
        ready.add(&timer, 8).unwrap();
        assert!(ready.ready().unwrap().is_empty());
        flag.set(true).unwrap();
        flag.set(true).unwrap();
        ready.wait(Duration::from_secs(60)).unwrap();
        assert_eq!(ready.ready().unwrap(), [7]);
        flag.set(false).unwrap();
        assert!(ready.ready().unwrap().is_empty());
        timer.set(Some(Duration::ZERO)).unwrap();
        while ready.ready().unwrap() != [8] {}
        timer.set(None).unwrap();
        assert!(ready.ready().unwrap().is_empty());
        ready.remove(&flag);
        flag.set(true).unwrap();
        assert!(ready.ready().unwrap().is_empty());
        let (reader, writer) = std::io::pipe().unwrap();
        ready.add_news(&reader, 9).unwrap();
        drop(writer);
        assert_eq!((ready.ready().unwrap(), ready.ready().unwrap()), (vec![9], vec![]));
    }
}
