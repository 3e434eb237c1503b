//! Showing a guest's console: between a pseudo terminal, which LXC has the other end of, and the caller's own streams.
//!
//! ```text
//!  caller's terminal <---> this worker <---> master | slave <---> LXC's monitor <---> the guest's /dev/console
//!  (keys, if it is one)                      our pseudo terminal     (lxc.console.path)
//! ```
//!
//! It is a process of its own so that the caller's terminal is given back when the caller is killed, and keeps its signal
//! handlers when it is not. It ends when nobody has the slave any more, or the caller is gone.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ::nix::errno::Errno;
use ::nix::fcntl::{FcntlArg, OFlag, fcntl};
use ::nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ::nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use ::nix::sys::signalfd::{SfdFlags, SignalFd};
use ::nix::unistd::{getpgrp, tcgetpgrp};
use rustix::termios::tcgetwinsize;

use crate::sys::terminal::{self, Settings};

/// How much of what the guest says is kept for a screen that does not take it.
const ROOM: usize = 1 << 20;

/// How long the guest, and LXC's monitor with it, waits for a full screen to go on. Then what it says is dropped: the
/// monitor must answer others.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many keys are kept for a guest that does not read.
const KEYS: usize = 4096;

/// How long a step may take: a write of this size does not block where there is room at all.
const CHUNK: usize = 4096;

/// How often a passing trouble is looked at again.
const TICK: Duration = Duration::from_millis(200);

/// Why showing ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Nobody has the other end any more, and all was shown.
    Ended,
    /// The caller is gone.
    Abandoned,
}

/// Shows `master` until its other end is closed. With `keys`, stdin and stdout are a terminal.
pub(super) fn show(master: OwnedFd, keys: bool, channel: &UnixStream) -> io::Result<End> {
    let signals = own_signals()?;
    let stdin = io::stdin();
    let terminal = if keys { Some(Terminal::take(stdin.as_fd())?) } else { None };
    nonblocking(&master)?;
    let mut relay = Relay {
        master: File::from(master),
        terminal,
        keys_from: Instant::now(),
        to_guest: VecDeque::new(),
        screen: Screen::new(io::stdout().as_fd())?,
        ended: false,
    };
    loop {
        if let Some(end) = relay.turn(channel.as_fd(), &signals)? {
            return Ok(end);
        }
    }
}

/// Signals of the terminal reach the whole process group; the caller judges them, and this ends when the caller says so.
fn own_signals() -> io::Result<SignalFd> {
    let mut blocked = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGPIPE,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGWINCH,
        Signal::SIGCONT,
    ] {
        blocked.add(signal);
    }
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&blocked), None)?;
    let mut read = SigSet::empty();
    read.add(Signal::SIGWINCH);
    read.add(Signal::SIGCONT);
    Ok(SignalFd::with_flags(&read, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

fn nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd.as_fd(), FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

struct Relay<'t> {
    master: File,
    terminal: Option<Terminal<'t>>,
    /// Not before this time are keys read.
    keys_from: Instant,
    to_guest: VecDeque<u8>,
    screen: Screen,
    /// Whether all that the guest said has been read.
    ended: bool,
}

impl Relay<'_> {
    /// Waits and does what can be done, until there is no more to do.
    fn turn(&mut self, channel: BorrowedFd<'_>, signals: &SignalFd) -> io::Result<Option<End>> {
        if self.ended && self.screen.is_done() {
            return Ok(Some(End::Ended));
        }
        let listens = !self.ended && self.screen.has_room();
        let mut of_master = PollFlags::empty();
        of_master.set(PollFlags::POLLIN, listens);
        of_master.set(PollFlags::POLLOUT, !self.ended && !self.to_guest.is_empty());
        let keys = self.terminal.as_ref().map(|terminal| terminal.fd);
        let keys = keys.filter(|_| self.to_guest.len() < KEYS && Instant::now() >= self.keys_from);
        // Of the channel nothing but POLLHUP, which is always told: the end of the request is no hang-up.
        let mut fds =
            vec![PollFd::new(channel, PollFlags::empty()), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let mut place = |fd, flags: PollFlags, wanted: bool| {
            wanted.then(|| {
                fds.push(PollFd::new(fd, flags));
                fds.len() - 1
            })
        };
        let master = place(self.master.as_fd(), of_master, !of_master.is_empty());
        let screen = place(self.screen.fd.as_fd(), PollFlags::POLLOUT, !self.screen.is_done());
        let keys = keys.and_then(|fd| place(fd, PollFlags::POLLIN, true));
        // A full screen and a terminal that is somebody else's for now are looked at again.
        let waits = self.terminal.is_some() && keys.is_none() || !listens && !self.ended;
        let limit =
            if waits { PollTimeout::try_from(TICK).unwrap_or(PollTimeout::MAX) } else { PollTimeout::NONE };
        match poll(&mut fds, limit) {
            Err(Errno::EINTR) => return Ok(None),
            other => other?,
        };
        let seen =
            |place: Option<usize>| place.and_then(|place| fds[place].revents()).unwrap_or(PollFlags::empty());
        let (hung_up, signalled) = (seen(Some(0)).contains(PollFlags::POLLHUP), !seen(Some(1)).is_empty());
        let (master, screen, keys) = (seen(master), seen(screen), seen(keys));
        if hung_up {
            return Ok(Some(End::Abandoned));
        }
        if signalled {
            // Several may have come together.
            while let Ok(Some(_)) = signals.read_signal() {}
            self.look();
        }
        if !screen.is_empty() {
            self.screen.write();
        }
        if master.contains(PollFlags::POLLOUT) {
            self.type_keys();
        }
        if master.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            self.listen();
        }
        if !keys.is_empty() {
            self.read_keys(keys);
        }
        Ok(None)
    }

    /// The terminal has another size, or the shell had it while the caller was stopped and has given it back.
    fn look(&self) {
        let Some(terminal) = &self.terminal else { return };
        // What the guest's console looks like is no reason to end.
        if let Ok(size) = tcgetwinsize(terminal.fd) {
            let _ = terminal::resize(&self.master, size);
        }
        if tcgetpgrp(terminal.fd).is_ok_and(|group| group == getpgrp()) {
            let _ = terminal.before.pass_keys(terminal.fd);
        }
    }

    fn listen(&mut self) {
        let mut buffer = [0; CHUNK];
        match self.master.read(&mut buffer) {
            Ok(count) if count > 0 => self.screen.take(&buffer[..count]),
            Err(error) if passes(&error) => {}
            // EIO: nobody has the slave any more.
            _ => self.ended = true,
        }
    }

    fn type_keys(&mut self) {
        match self.master.write(self.to_guest.as_slices().0) {
            Ok(count) => drop(self.to_guest.drain(..count)),
            Err(error) if passes(&error) => {}
            Err(_) => self.ended = true,
        }
    }

    fn read_keys(&mut self, seen: PollFlags) {
        let Some(terminal) = &self.terminal else { return };
        let mut buffer = [0; 256];
        match ::nix::unistd::read(terminal.fd, &mut buffer) {
            Ok(count) if count > 0 => self.to_guest.extend(&buffer[..count]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // The shell has it for now: this process group was put in the background.
            Err(Errno::EIO) if !seen.contains(PollFlags::POLLHUP) => self.keys_from = Instant::now() + TICK,
            // It hung up. What that means is the caller's to say.
            _ => self.terminal = None,
        }
    }
}

fn passes(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// What the guest's console is shown on, and what it has not taken yet.
struct Screen {
    fd: File,
    queue: VecDeque<u8>,
    line_ends: LineEnds,
    /// When it last took something, or had nothing to take.
    moved: Instant,
    dropped: u64,
    closed: bool,
}

impl Screen {
    fn new(stdout: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = File::from(stdout.try_clone_to_owned()?);
        let kind = fd.metadata()?.file_type();
        // A description of its own that does not block: the flag on the caller's would be on the caller's shell's too.
        // A file never blocks for long, and another description of it would begin at its beginning.
        let own = if kind.is_fifo() || fd.is_terminal() {
            File::options()
                .write(true)
                .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
                .open(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                .ok()
        } else {
            None
        };
        Ok(Self {
            fd: own.unwrap_or(fd),
            queue: VecDeque::new(),
            line_ends: LineEnds::default(),
            moved: Instant::now(),
            dropped: 0,
            closed: false,
        })
    }

    fn is_done(&self) -> bool {
        self.closed || self.queue.is_empty()
    }

    /// Whether more can be taken, be it to drop it.
    fn has_room(&self) -> bool {
        self.closed || self.queue.len() < ROOM || self.moved.elapsed() > PATIENCE
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.closed {
            return;
        }
        if self.queue.len() >= ROOM {
            self.dropped += bytes.len() as u64;
            return;
        }
        if self.queue.is_empty() {
            self.moved = Instant::now();
        }
        self.queue.extend(bytes.iter().flat_map(|byte| self.line_ends.pass(*byte)).flatten());
    }

    fn write(&mut self) {
        let (front, _) = self.queue.as_slices();
        let front = &front[..front.len().min(CHUNK)];
        if front.is_empty() {
            return;
        }
        match self.fd.write(front) {
            Ok(count) => {
                self.queue.drain(..count);
                self.moved = Instant::now();
            }
            Err(error) if passes(&error) => return,
            // A pipe without a reader, a terminal that hung up, a full disk: the guest goes on all the same.
            Err(_) => {
                self.closed = true;
                self.queue = VecDeque::new();
            }
        }
        if self.dropped > 0 && self.queue.is_empty() {
            let note = format!("\n[{} bytes were not shown: nobody read them]\n", self.dropped);
            self.dropped = 0;
            self.take(note.as_bytes());
        }
    }
}

/// Each of the two terminals on the way makes `\r\n` of `\n`: that is undone, so that lines end as lines do in a file or a
/// pipe. The caller's terminal, if there is one, does it once more.
#[derive(Default)]
struct LineEnds {
    held: bool,
}

impl LineEnds {
    fn pass(&mut self, byte: u8) -> [Option<u8>; 2] {
        match byte {
            b'\r' => {
                self.held = true;
                [None, None]
            }
            b'\n' => {
                self.held = false;
                [Some(byte), None]
            }
            _ => [std::mem::take(&mut self.held).then_some(b'\r'), Some(byte)],
        }
    }
}

/// A terminal whose keys are the guest's; given back when this is dropped.
struct Terminal<'t> {
    fd: BorrowedFd<'t>,
    before: Settings,
}

impl<'t> Terminal<'t> {
    fn take(fd: BorrowedFd<'t>) -> io::Result<Self> {
        let before = Settings::of(fd)?;
        before.pass_keys(fd)?;
        Ok(Self { fd, before })
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.before.put_back_unless_others(self.fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str) -> String {
        let mut ends = LineEnds::default();
        let bytes = text.bytes().flat_map(|byte| ends.pass(byte)).flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_end_once() {
        assert_eq!(passed("one\r\r\ntwo\r\n\r\r\r\nthree\n"), "one\ntwo\n\nthree\n");
        // A line that is written over keeps its return.
        assert_eq!(passed("10%\r20%\r\r30%"), "10%\r20%\r30%");
    }

    #[test]
    fn what_nobody_reads_is_bounded_and_counted() {
        let (reader, writer) = io::pipe().unwrap();
        let mut screen = Screen::new(writer.as_fd()).unwrap();
        drop(writer);
        let line = [b'x'; 1000];
        for _ in 0..ROOM / 500 {
            screen.take(&line);
            // As much as the pipe holds, and never waits.
            screen.write();
        }
        assert!(screen.queue.len() < ROOM + line.len() && !screen.has_room());
        assert!(screen.dropped > 0);
        let mut said = String::new();
        let read = std::thread::spawn(move || {
            File::from(OwnedFd::from(reader)).read_to_string(&mut said).map(|_| said)
        });
        while !screen.is_done() {
            screen.write();
        }
        drop(screen);
        let said = read.join().unwrap().unwrap();
        assert!(
            said.ends_with(" bytes were not shown: nobody read them]\n"),
            "{}",
            &said[said.len() - 100..]
        );
    }

    #[test]
    fn a_reader_that_left_is_no_fault() {
        let (reader, writer) = io::pipe().unwrap();
        let mut screen = Screen::new(writer.as_fd()).unwrap();
        drop(reader);
        screen.take(b"hello");
        screen.write();
        assert!(screen.closed && screen.is_done() && screen.has_room());
    }
}
