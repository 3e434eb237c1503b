//! A command's terminal, served from the caller's streams: what is typed goes in, what is shown comes out, and the
//! size, the keys and the end are passed on.
//!
//! The caller's terminal is in raw mode meanwhile, so that each key is the guest's. This process stays in the caller's
//! session and foreground process group: so it is told of a new size, and of the terminal's end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ::nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use ::nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{Winsize, tcgetwinsize};

use crate::sys::pidfd::PidFd;
use crate::sys::terminal::{self, Settings, Slave};

/// How long the last output of a command may take: a process that it left behind may write for ever.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// How long nothing comes before it is taken for the end of it.
const SILENCE: Duration = Duration::from_millis(50);

/// The size of a terminal that is shown on none.
const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };

/// What becomes of a signal to this process while it serves.
const SIGNALS: [Signal; 9] = [
    Signal::SIGWINCH,
    Signal::SIGCONT,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    // The output may be a pipe whose reader has gone: the terminal is to be put back all the same.
    Signal::SIGPIPE,
];

/// Why serving ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The command has ended, and what it wrote was shown.
    Ended,
    /// The caller, its terminal or its reader is gone.
    Gone,
    /// It took longer than it might.
    Late,
}

/// The caller's streams.
pub(super) struct Caller {
    stdin: OwnedFd,
    stdout: OwnedFd,
    /// How its terminal was set, if it has one.
    settings: Option<Settings>,
}

impl Caller {
    pub(super) fn of(stdin: OwnedFd, stdout: OwnedFd) -> Self {
        let settings = Settings::of(&stdin).ok();
        Self { stdin, stdout, settings }
    }

    /// Makes the new terminal like the caller's: its keys, its size.
    pub(super) fn dress(&self, slave: &Slave) {
        if let Some(settings) = &self.settings {
            // One without line editing would stay so for good.
            settings.put_on(slave);
        }
        let _ = terminal::resize(slave, self.size());
    }

    /// From here on every key is the guest's. In the background this stops the whole job, as it should.
    pub(super) fn raw(&self) {
        if let Some(settings) = &self.settings {
            settings.pass_all(&self.stdin);
        }
    }

    fn size(&self) -> Winsize {
        tcgetwinsize(&self.stdin)
            .or_else(|_| tcgetwinsize(&self.stdout))
            .ok()
            .filter(|size| size.ws_row > 0 && size.ws_col > 0)
            .unwrap_or(SIZE)
    }

    /// The key that ends the input.
    fn end_of_input(&self) -> u8 {
        self.settings.as_ref().map_or(4, Settings::end_of_input)
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let Some(settings) = &self.settings else { return };
        // Also when somebody else is in the foreground by now: blocked, the signal does not stop us.
        let mut stop = SigSet::empty();
        stop.add(Signal::SIGTTOU);
        let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None);
        // What was typed for the guest, or pasted, or is the terminal's answer to what the guest showed, is not the host's
        // shell's to run. A terminal that is gone needs no settings.
        settings.put_back(&self.stdin);
    }
}

/// One terminal at work.
struct Service<'a> {
    caller: &'a Caller,
    master: OwnedFd,
    signals: SignalFd,
    /// Whether more is to be read from the caller; from the guest.
    input: bool,
    output: bool,
    /// What the guest has not taken yet.
    pending: Vec<u8>,
}

/// Serves the terminal until the command has ended or nobody is there any more. The other end of `channel` is the
/// caller's.
pub(super) fn serve(
    caller: &Caller,
    master: OwnedFd,
    command: Option<&PidFd>,
    channel: &UnixStream,
    until: Option<Instant>,
) -> io::Result<End> {
    let mut mask = SigSet::empty();
    SIGNALS.into_iter().for_each(|signal| mask.add(signal));
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    let mut service = Service { caller, master, signals, input: true, output: true, pending: Vec::new() };
    // It may have changed before the signal was waited for.
    service.resize();
    service.run(command, channel, until)
}

impl Service<'_> {
    fn run(
        &mut self,
        command: Option<&PidFd>,
        channel: &UnixStream,
        until: Option<Instant>,
    ) -> io::Result<End> {
        let mut last = command.is_none().then(|| Instant::now() + LAST_OUTPUT);
        loop {
            let ready = self.wait(command.filter(|_| last.is_none()), channel, last, until)?;
            if last.is_none() && !ready.ended && until.is_some_and(|until| Instant::now() >= until) {
                return Ok(End::Late);
            }
            if ready.gone || (ready.signal && self.signalled(command)? == End::Gone) {
                return Ok(End::Gone);
            }
            // Before the end is looked at: what it wrote last is there already.
            if ready.output && !self.show()? {
                return Ok(End::Gone);
            }
            if ready.ended {
                last = Some(Instant::now() + LAST_OUTPUT);
            }
            if let Some(last) = last {
                if !self.output || ready.nothing || Instant::now() >= last {
                    return Ok(End::Ended);
                }
                continue;
            }
            if ready.room {
                self.feed();
            }
            if ready.input && !self.take()? {
                return Ok(End::Gone);
            }
        }
    }

    fn wait(
        &self,
        command: Option<&PidFd>,
        channel: &UnixStream,
        last: Option<Instant>,
        until: Option<Instant>,
    ) -> io::Result<Ready> {
        let signals = self.signals.as_fd();
        // What is not waited for stands in the list as one that is, without events.
        let either = |wanted: Option<_>| wanted.unwrap_or((signals, PollFlags::empty()));
        let out = if self.pending.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
        let input = self.input && self.pending.is_empty() && last.is_none();
        let mut fds = [
            (signals, PollFlags::IN),
            either(self.output.then_some((self.master.as_fd(), PollFlags::IN | out))),
            either(input.then_some((self.caller.stdin.as_fd(), PollFlags::IN))),
            either(command.map(|command| (command.as_fd(), PollFlags::IN))),
            // Of the channel nothing but its end, which is always told.
            (channel.as_fd(), PollFlags::empty()),
        ]
        .map(|(fd, flags)| PollFd::from_borrowed_fd(fd, flags));
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let limit = last.map(|_| SILENCE).or(left).map(|limit| Timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let count = match poll(&mut fds, limit.as_ref()) {
            Err(Errno::INTR) => return Ok(Ready::default()),
            other => other?,
        };
        let [signal, master, stdin, ended, caller] = fds.map(|fd| fd.revents());
        let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        Ok(Ready {
            nothing: count == 0,
            signal: signal.contains(PollFlags::IN),
            output: self.output && master.intersects(any),
            room: self.output && master.contains(PollFlags::OUT),
            input: input && stdin.intersects(any),
            ended: command.is_some() && !ended.is_empty(),
            gone: caller.contains(PollFlags::HUP),
        })
    }

    /// Whether a signal was the end of it.
    fn signalled(&mut self, command: Option<&PidFd>) -> io::Result<End> {
        while let Some(signal) = self.signals.read_signal()? {
            match Signal::try_from(signal.ssi_signo.cast_signed()) {
                Ok(Signal::SIGWINCH) => self.resize(),
                // Somebody had stopped us, and the shell has taken its terminal back since.
                Ok(Signal::SIGCONT) => {
                    self.caller.raw();
                    self.resize();
                }
                // Keys make none of these: they were sent for the command.
                Ok(signal @ (Signal::SIGQUIT | Signal::SIGUSR1 | Signal::SIGUSR2)) => {
                    command.iter().try_for_each(|command| command.signal(signal as i32))?;
                }
                Ok(Signal::SIGPIPE) => {}
                _ => return Ok(End::Gone),
            }
        }
        Ok(End::Ended)
    }

    fn resize(&self) {
        // The kernel tells the guest's foreground process.
        let _ = terminal::resize(&self.master, self.caller.size());
    }

    /// Shows what the guest wrote; false when nobody reads it.
    fn show(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 16 << 10];
        match rustix::io::read(&self.master, &mut buffer) {
            Ok(count @ 1..) => put(self.caller.stdout.as_fd(), &buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => Ok(true),
            // EIO: the last process of the guest has closed it.
            Ok(0) | Err(_) => {
                self.output = false;
                Ok(true)
            }
        }
    }

    /// Takes what was typed; false when the terminal is gone.
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.caller.stdin, &mut buffer) {
            Ok(0) => {
                self.input = false;
                self.pending.push(self.caller.end_of_input());
            }
            Ok(count) => self.pending.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            // A terminal that hung up.
            Err(Errno::IO) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.feed();
        Ok(true)
    }

    /// Gives the guest what it takes.
    fn feed(&mut self) {
        match rustix::io::write(&self.master, &self.pending) {
            Ok(count) => drop(self.pending.drain(..count)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            // There is nobody to take it.
            Err(_) => self.pending.clear(),
        }
    }
}

/// What a wait found.
#[derive(Debug, Default, Clone, Copy)]
struct Ready {
    nothing: bool,
    signal: bool,
    output: bool,
    room: bool,
    input: bool,
    ended: bool,
    gone: bool,
}

/// Writes all of it; false when nobody reads it.
fn put(stream: BorrowedFd<'_>, mut bytes: &[u8]) -> io::Result<bool> {
    while !bytes.is_empty() {
        match rustix::io::write(stream, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(Errno::INTR) => {}
            // Somebody made it so that it does not wait.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(stream, PollFlags::OUT)], None)?;
            }
            Err(Errno::PIPE | Errno::IO) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}
