//! A pseudo terminal with a program on it, as a user has one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

/// How long is waited for what a program is to show, and for its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A program on a pseudo terminal that is its controlling one: it leads the session, as a user's shell does.
pub struct Pty {
    master: File,
    slave: OwnedFd,
    child: Child,
    settings: Termios,
    screen: vt100::Parser,
    raw: Vec<u8>,
    seen: String,
}

impl Pty {
    /// Starts `command` on a terminal of this size. Of `command`, program, arguments, folder and variables count.
    #[track_caller]
    pub fn spawn(command: &Command, rows: u16, columns: u16) -> Self {
        let pty = openpty(&size(rows, columns), None).unwrap();
        let stream = || pty.slave.try_clone().unwrap();
        let mut leader = Command::new("/proc/self/exe");
        leader.arg("--leader").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => leader.env(name, value),
                None => leader.env_remove(name),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            leader.current_dir(folder);
        }
        let child = leader.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let settings = tcgetattr(&pty.slave).unwrap();
        let screen = vt100::Parser::new(some(rows), some(columns), 0);
        Self {
            master: pty.master.into(),
            slave: pty.slave,
            child,
            settings,
            screen,
            raw: Vec::new(),
            seen: String::new(),
        }
    }

    /// The program's pid.
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Another size, of which the foreground process group is told by SIGWINCH.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        let size = rustix::termios::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.master, size).unwrap();
        self.screen.screen_mut().set_size(some(rows), some(columns));
    }

    /// A signal to the program itself.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Reads until `text` was written, whatever became of it on the screen.
    #[track_caller]
    pub fn awaits(&mut self, text: &str) {
        self.until(&format!("{text:?}"), |pty| pty.seen.contains(text));
    }

    /// Reads until `text` is on the screen.
    #[track_caller]
    pub fn shows(&mut self, text: &str) {
        self.until(&format!("{text:?} on the screen"), |pty| pty.screen().contains(text));
    }

    /// Reads until `done`.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            assert!(begin.elapsed() < PATIENCE, "no {what} in {:?}; screen:\n{}", self.seen, self.screen());
            self.reads(Duration::from_millis(100));
        }
    }

    /// Takes in what there is; whether there was anything within this time.
    pub fn reads(&mut self, limit: Duration) -> bool {
        let mut waiting = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        let limit = u16::try_from(limit.as_millis()).unwrap_or(u16::MAX);
        if poll(&mut waiting, limit).unwrap_or(0) == 0 {
            return false;
        }
        let mut buffer = [0; 16384];
        let count = self.master.read(&mut buffer).unwrap_or(0);
        self.screen.process(&buffer[..count]);
        self.raw.extend_from_slice(&buffer[..count]);
        // A character may come in two pieces.
        self.seen = String::from_utf8_lossy(&self.raw).into_owned();
        count > 0
    }

    /// All that was written so far, control sequences included.
    pub fn seen(&self) -> &str {
        &self.seen
    }

    /// Forgets what was written so far; the screen stays.
    pub fn forget(&mut self) {
        self.raw.clear();
        self.seen.clear();
    }

    /// What a user sees now: the lines of the screen.
    pub fn screen(&self) -> String {
        self.screen.screen().contents()
    }

    /// Whether the program hid the cursor.
    pub fn cursor_is_hidden(&self) -> bool {
        self.screen.screen().hide_cursor()
    }

    /// The terminal's settings before the program had it.
    pub fn settings_before(&self) -> &Termios {
        &self.settings
    }

    /// The terminal's settings now.
    pub fn settings(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    /// Whether the program still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the program's end and takes in its last words.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end: {:?}", self.seen);
            self.reads(Duration::from_millis(10));
        };
        while self.reads(Duration::ZERO) {}
        status
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // Of a scenario that failed; else it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn some(length: u16) -> NonZero<u16> {
    NonZero::new(length).unwrap()
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// `--leader PROGRAM ARGUMENTS...`: leads a new session on the terminal that is its stdin, and becomes PROGRAM.
pub fn lead(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    nix::unistd::setsid().unwrap();
    // The first terminal that a session leader opens is its controlling one.
    let terminal = std::fs::read_link("/proc/self/fd/0").unwrap();
    drop(File::options().read(true).write(true).open(terminal).unwrap());
    let program = arguments.next().unwrap();
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("{}: {error}", program.display());
    ExitCode::FAILURE
}
