//! Copies between the caller's streams and the pipes that a command has in their place.
//!
//! Who shares an open file description sets its flags, moves its offset, truncates the file and keeps it: so none of the
//! caller's reaches a guest. Bytes are read and written, not spliced, since splice refuses files that are appended to, and
//! pages that a guest has put into a pipe stay the guest's to change.

use std::io::{self, IsTerminal, PipeReader, PipeWriter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use ::nix::fcntl::{FcntlArg, fcntl};
use ::nix::sys::signal::{SigSet, Signal};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

/// How much a pipe holds, where the kernel grants it.
const PIPE: i32 = 1 << 20;

/// How much is read and written at once.
const BLOCK: usize = 1 << 17;

/// How long the output of what a command left behind is waited for.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// How often a process in the background looks whether it is in the foreground again.
const BACKGROUND: Duration = Duration::from_millis(100);

/// What statfs(2) says of a pipe without a name.
const NAMELESS: i64 = 0x5049_5045;

/// A pipe for a command that runs as the user `owner` of the host, who then can open it by its name, too, such as
/// `/dev/stdout`. It holds nothing but what that command reads or writes.
pub(super) fn pipe(owner: Option<u32>) -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = io::pipe()?;
    if let Some(owner) = owner {
        std::os::unix::fs::fchown(&writer, Some(owner), None)?;
    }
    // A small one works as well.
    let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
    Ok((reader, writer))
}

/// Lets this thread get the signals of job control alone. A reader that is gone and a file that may not grow are errors of
/// a write here, whatever the program that embeds this library does with the signals.
fn take_no_signals() -> io::Result<()> {
    let mut mask = SigSet::all();
    for signal in [Signal::SIGTTIN, Signal::SIGTTOU, Signal::SIGTSTP, Signal::SIGCONT] {
        mask.remove(signal);
    }
    Ok(mask.thread_block()?)
}

/// Copies what a command writes to `to`. Once the other end of `ended` is closed, what the pipe holds is copied, however
/// slow the caller's reader, and for a short time what comes from processes that the command left behind.
///
/// # Errors
/// When the caller's stream does not take it; a reader that is gone is no error. Either way the pipe is closed, so that the
/// command is told by its next write.
pub(super) fn output(from: &OwnedFd, to: &OwnedFd, ended: &PipeReader) -> io::Result<()> {
    take_no_signals()?;
    rustix::io::ioctl_fionbio(from, true)?;
    // A FIFO with a name may get another reader, and what else there is tells at a write.
    let watched = rustix::fs::fstatfs(to).is_ok_and(|fs| fs.f_type == NAMELESS);
    let mut block = Vec::with_capacity(BLOCK);
    let mut last: Option<(u64, Instant)> = None;
    loop {
        let left = last.map(|(_, until)| until.saturating_duration_since(Instant::now()));
        let mut fds = [
            PollFd::new(from, PollFlags::IN),
            // What is not waited for stands in the list as the pipe, without events.
            if watched { PollFd::new(to, PollFlags::empty()) } else { PollFd::new(from, PollFlags::empty()) },
            if last.is_none() {
                PollFd::new(ended, PollFlags::empty())
            } else {
                PollFd::new(from, PollFlags::empty())
            },
        ];
        match poll(&mut fds, left.map(timespec).as_ref()) {
            Err(Errno::INTR) => continue,
            other => drop(other?),
        }
        if watched && fds[1].revents().contains(PollFlags::ERR) {
            return Ok(());
        }
        if last.is_none() && fds[2].revents().contains(PollFlags::HUP) {
            last = Some((rustix::io::ioctl_fionread(from)?, Instant::now() + LAST_OUTPUT));
        }
        block.clear();
        let count = match rustix::io::read(from, spare_capacity(&mut block)) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        match put(to, &block) {
            Ok(()) => {}
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            // A terminal that has hung up.
            Err(Errno::IO) if to.is_terminal() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some((owed, until)) = &mut last {
            *owed = owed.saturating_sub(count as u64);
            // Another process of the guest may have taken what the pipe held.
            if (*owed == 0 || count == 0) && Instant::now() >= *until {
                return Ok(());
            }
        }
    }
}

/// Writes all of it, also where somebody made the stream so that it does not wait.
fn put(to: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Copies what a command reads from `from`, until the other end of `ended` is closed or nobody reads any more. In a file
/// the offset is then where the command stopped; of all else what was read ahead is gone.
///
/// # Errors
/// When the caller's stream cannot be read.
pub(super) fn input(from: OwnedFd, to: PipeWriter, ended: PipeReader) -> io::Result<()> {
    take_no_signals()?;
    rustix::io::ioctl_fionbio(&to, true)?;
    let file = rustix::fs::fstat(&from)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
    let terminal = from.is_terminal();
    let mut feed = Feed { from, to, ended, terminal, given: 0, kept: 0 };
    let result = feed.copy();
    if !file {
        return result.map(drop);
    }
    let Feed { from, to, ended, given, kept, .. } = feed;
    let ahead = match result {
        // The end has come, and the command is to see it; what it then does not read is counted by a reader's end.
        Ok(true) => {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let reader = rustix::fs::open(format!("/proc/self/fd/{}", to.as_raw_fd()), flags, Mode::empty());
            drop(to);
            let Ok(reader) = reader else { return Ok(()) };
            while poll(&mut [PollFd::new(&ended, PollFlags::empty())], None) == Err(Errno::INTR) {}
            rustix::io::ioctl_fionread(&reader)
        }
        _ => rustix::io::ioctl_fionread(&to),
    };
    // No more than came from us: a guest can write into its own stdin.
    let ahead = ahead.unwrap_or(0).min(given) + kept;
    if let (1.., Ok(ahead)) = (ahead, i64::try_from(ahead)) {
        rustix::fs::seek(&from, rustix::fs::SeekFrom::Current(-ahead))?;
    }
    result.map(drop)
}

struct Feed {
    from: OwnedFd,
    to: PipeWriter,
    ended: PipeReader,
    terminal: bool,
    /// How many bytes the pipe was given.
    given: u64,
    /// How many of those that were read it has not taken.
    kept: u64,
}

impl Feed {
    /// Whether the input came to its end.
    fn copy(&mut self) -> io::Result<bool> {
        let mut block = Vec::with_capacity(BLOCK);
        while self.wait(true)? {
            // To read in the background would stop this process, and a command that reads nothing is to run there.
            if self.terminal && tcgetpgrp(&self.from).is_ok_and(|foreground| foreground != getpgrp()) {
                std::thread::sleep(BACKGROUND);
                continue;
            }
            block.clear();
            match rustix::io::read(&self.from, spare_capacity(&mut block)) {
                Ok(0) => return Ok(true),
                Ok(_) if self.give(&block)? => {}
                Ok(_) => return Ok(false),
                Err(Errno::INTR | Errno::AGAIN) => {}
                // A terminal that has hung up.
                Err(Errno::IO) if self.terminal => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(false)
    }

    /// Whether all of it was taken.
    fn give(&mut self, mut bytes: &[u8]) -> io::Result<bool> {
        self.kept = bytes.len() as u64;
        while !bytes.is_empty() {
            match rustix::io::write(&self.to, bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.given += count as u64;
                    self.kept = bytes.len() as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.wait(false)? => {}
                Err(Errno::AGAIN | Errno::PIPE) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// Waits for something to read, or else for room; false when the command has ended or reads no more.
    fn wait(&self, input: bool) -> io::Result<bool> {
        loop {
            let mut fds = [
                PollFd::new(&self.ended, PollFlags::empty()),
                PollFd::new(&self.to, if input { PollFlags::empty() } else { PollFlags::OUT }),
                if input {
                    PollFd::new(&self.from, PollFlags::IN)
                } else {
                    PollFd::new(&self.ended, PollFlags::empty())
                },
            ];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                other => drop(other?),
            }
            let over = fds[0].revents().contains(PollFlags::HUP) || fds[1].revents().contains(PollFlags::ERR);
            return Ok(!over);
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // It is a fraction of a second.
    Timespec { tv_sec: 0, tv_nsec: duration.subsec_nanos().into() }
}
