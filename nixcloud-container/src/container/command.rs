//! Commands in a guest, in the shape of the standard library's.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::MemfdFlags;

use super::Container;
use crate::error::Error;
use crate::fs::error::FileError;
use crate::model::observe::{Cancel, Observer, PassedSignals};
use crate::model::user::User;
use crate::ops::exec::{RunRequest, Streams};
use crate::worker::Exit;

/// How much of each stream is kept when nothing else is said: 16 MiB.
const CAPTURED: usize = 16 << 20;

/// A command in a guest, made by [`Container::command`] and shaped like [`std::process::Command`].
///
/// All that descends from it is held together, so that a time limit or a cancelled token ends all of it: also what ignores
/// SIGTERM, began a session of its own or was left behind by its parent. (Guest root alone can take a process out of that.)
///
/// ```no_run
/// # fn main() -> Result<(), nixcloud_container::Error> {
/// use std::time::Duration;
/// use nixcloud_container::{Exit, HostConfig, Manager};
///
/// let manager = Manager::open(HostConfig::default())?;
/// let web = manager.container("web".parse()?);
/// let said = web
///     .command("sh")
///     .args(["-c", "wc -l; echo done >&2"])
///     .env("LANG", "C")
///     .stdin("one\ntwo\n")
///     .timeout(Duration::from_secs(30))
///     .output()?;
/// match said.exit {
///     Exit::Code(0) => print!("{}", String::from_utf8_lossy(&said.stdout)),
///     Exit::TimedOut => eprintln!("no answer within 30 s"),
///     other => eprintln!("ended with {}", other.code()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "it is run by `output`, `status` or `spawn`"]
pub struct Command {
    container: Container,
    request: RunRequest,
    stdin: Option<Input>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    capture_limit: usize,
}

/// What a [`Command`] reads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// Nothing: `/dev/null`.
    Null,
    /// What this process has on its standard input.
    Inherit,
    /// These bytes, and then the end.
    Bytes(Vec<u8>),
    /// What comes out of this. The command does not have it: what is read is copied.
    Fd(OwnedFd),
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<&[u8]> for Input {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_owned())
    }
}

impl From<String> for Input {
    fn from(text: String) -> Self {
        Self::Bytes(text.into_bytes())
    }
}

impl From<&str> for Input {
    fn from(text: &str) -> Self {
        Self::Bytes(text.into())
    }
}

impl From<OwnedFd> for Input {
    fn from(fd: OwnedFd) -> Self {
        Self::Fd(fd)
    }
}

impl From<File> for Input {
    fn from(file: File) -> Self {
        Self::Fd(file.into())
    }
}

impl From<PipeReader> for Input {
    fn from(pipe: PipeReader) -> Self {
        Self::Fd(pipe.into())
    }
}

/// What a command wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to its standard output, as far as it is kept.
    pub stdout: Captured,
    /// The same of its standard error.
    pub stderr: Captured,
    /// How long it took, from being asked for to its end.
    pub took: Duration,
}

/// What was kept of a stream. It is to be used as the bytes that it is of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Captured {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether there were more, which were read and dropped.
    pub truncated: bool,
}

impl Captured {
    /// What was kept, as a whole: for those who imitate a guest in their own tests.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>, truncated: bool) -> Self {
        Self { bytes: bytes.into(), truncated }
    }
}

impl Output {
    /// What a command came to: for those who imitate a guest in their own tests.
    #[must_use]
    pub fn new(exit: Exit, stdout: Captured, stderr: Captured, took: Duration) -> Self {
        Self { exit, stdout, stderr, took }
    }
}

impl std::ops::Deref for Captured {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Command {
    pub(super) fn new(container: Container, request: RunRequest) -> Self {
        Self { container, request, stdin: None, stdout: None, stderr: None, capture_limit: CAPTURED }
    }

    /// One argument more.
    pub fn arg(&mut self, argument: impl Into<OsString>) -> &mut Self {
        self.request.command.push(argument.into());
        self
    }

    /// More arguments.
    pub fn args<S: Into<OsString>>(&mut self, arguments: impl IntoIterator<Item = S>) -> &mut Self {
        self.request.command.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// A variable. The command has none of this process's.
    pub fn env(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> &mut Self {
        self.request.env.push((name.into(), value.into()));
        self
    }

    /// More variables.
    pub fn envs<N: Into<OsString>, V: Into<OsString>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.request.env.extend(variables);
        self
    }

    /// Who it runs as: a user of the guest's, by name or ids. Root when not given.
    pub fn user(&mut self, user: User) -> &mut Self {
        self.request.user = Some(user);
        self
    }

    /// Where in the guest it begins: `/` when not given. That there is no such folder is an error.
    pub fn current_dir(&mut self, folder: impl Into<PathBuf>) -> &mut Self {
        self.request.directory = Some(folder.into());
        self
    }

    /// What it reads. When not given, nothing for [`output`](Self::output) and [`spawn`](Self::spawn), and what this process
    /// has for [`status`](Self::status).
    pub fn stdin(&mut self, input: impl Into<Input>) -> &mut Self {
        self.stdin = Some(input.into());
        self
    }

    /// Where [`status`](Self::status) and [`spawn`](Self::spawn) write what it says: a file, a pipe's end.
    pub fn stdout(&mut self, output: impl Into<OwnedFd>) -> &mut Self {
        self.stdout = Some(output.into());
        self
    }

    /// The same for what it says to standard error.
    pub fn stderr(&mut self, output: impl Into<OwnedFd>) -> &mut Self {
        self.stderr = Some(output.into());
        self
    }

    /// How long it may take: then it is ended, with all that descends from it, and the answer is [`Exit::TimedOut`].
    pub fn timeout(&mut self, limit: Duration) -> &mut Self {
        self.request.timeout = Some(limit);
        self
    }

    /// How long it may take to end once it was told to (by SIGTERM at the time limit, by the signal of a cancelled token) until
    /// it is killed. 10 s when not given.
    pub fn kill_after(&mut self, limit: Duration) -> &mut Self {
        self.request.kill_after = Some(limit);
        self
    }

    /// How many bytes [`output`](Self::output) keeps of each stream, from the first on. 16 MiB when not given.
    pub fn capture_limit(&mut self, bytes: usize) -> &mut Self {
        self.capture_limit = bytes;
        self
    }

    /// Runs it, and keeps what it writes.
    ///
    /// # Errors
    /// When the guest does not run or cannot be entered. A command that fails is no error.
    pub fn output(&mut self) -> Result<Output, Error> {
        self.output_observed(&mut ())
    }

    /// As [`output`](Self::output), and says what it waits for.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn output_observed(&mut self, observer: &mut dyn Observer) -> Result<Output, Error> {
        let begin = Instant::now();
        let broken = FileError::at("connect the streams of", self.container.name.as_str());
        let pipes = || -> io::Result<_> { Ok((io::pipe()?, io::pipe()?)) };
        let ((out, stdout), (err, stderr)) = pipes().map_err(&broken)?;
        let stdin = self.input(&Input::Null).map_err(&broken)?;
        let streams = Streams::Fds { stdin, stdout: stdout.into(), stderr: stderr.into() };
        let (out, err) = (Capture::of(out, self.capture_limit), Capture::of(err, self.capture_limit));
        let exit = self.container.run_observed(self.request.clone(), streams, observer)?;
        // The library has let go of the pipes.
        Ok(Output { exit, stdout: out.end(), stderr: err.end(), took: begin.elapsed() })
    }

    /// Runs it on this process's streams, as far as it was given no others.
    ///
    /// # Errors
    /// As [`output`](Self::output).
    pub fn status(&mut self) -> Result<Exit, Error> {
        let streams = self.streams(&Input::Inherit)?;
        self.container.run(self.request.clone(), streams)
    }

    /// Begins to run it, in a thread of this process. Without a [`stdout`](Self::stdout) and [`stderr`](Self::stderr) it says
    /// what it says on those of this process.
    ///
    /// # Errors
    /// When there is no thread for it. What else fails is told by [`Child::wait`].
    pub fn spawn(&mut self) -> Result<Child, Error> {
        let streams = self.streams(&Input::Null)?;
        let broken = FileError::at("connect the streams of", self.container.name.as_str());
        let (ended, running) = io::pipe().map_err(&broken)?;
        let (end, signals) = (self.container.cancel.below(), PassedSignals::default());
        let container = self.container.clone().with_cancel(end.clone().passing(signals.clone()));
        let request = self.request.clone();
        let run = move || {
            let outcome = container.run(request, streams);
            drop::<PipeWriter>(running);
            outcome
        };
        let thread = std::thread::Builder::new().name("command".to_owned()).spawn(run).map_err(&broken)?;
        Ok(Child { thread: Some(thread), ended, end, signals })
    }

    fn streams(&self, stdin: &Input) -> Result<Streams, Error> {
        let other = |given: &Option<OwnedFd>, own: BorrowedFd<'_>| {
            given.as_ref().map_or_else(|| own.try_clone_to_owned(), OwnedFd::try_clone)
        };
        let streams = || -> io::Result<Streams> {
            Ok(Streams::Fds {
                stdin: self.input(stdin)?,
                stdout: other(&self.stdout, io::stdout().as_fd())?,
                stderr: other(&self.stderr, io::stderr().as_fd())?,
            })
        };
        Ok(streams().map_err(FileError::at("connect the streams of", self.container.name.as_str()))?)
    }

    /// What it reads; `default` where nothing was given.
    fn input(&self, default: &Input) -> io::Result<OwnedFd> {
        match self.stdin.as_ref().unwrap_or(default) {
            Input::Null => Ok(File::open("/dev/null")?.into()),
            Input::Inherit => io::stdin().as_fd().try_clone_to_owned(),
            Input::Bytes(bytes) => {
                let mut file = File::from(rustix::fs::memfd_create("input", MemfdFlags::CLOEXEC)?);
                file.write_all(bytes)?;
                file.rewind()?;
                Ok(file.into())
            }
            Input::Fd(fd) => fd.try_clone(),
        }
    }
}

/// A stream that is being read.
struct Capture(JoinHandle<Captured>);

impl Capture {
    fn of(mut stream: PipeReader, most: usize) -> Self {
        Self(std::thread::spawn(move || {
            let mut captured = Captured::default();
            let mut buffer = [0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let room = count.min(most.saturating_sub(captured.bytes.len()));
                captured.bytes.extend_from_slice(&buffer[..room]);
                captured.truncated |= room < count;
            }
            captured
        }))
    }

    fn end(self) -> Captured {
        self.0.join().unwrap_or_default()
    }
}

/// A command that was begun by [`Command::spawn`]. One that is dropped goes on, and nobody is told how it ends.
///
/// To be polled, in any event loop: its descriptor hangs up (`POLLHUP`) when the command has ended.
#[derive(Debug)]
pub struct Child {
    thread: Option<JoinHandle<Result<Exit, Error>>>,
    ended: PipeReader,
    end: Cancel,
    signals: PassedSignals,
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Child {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Command::output`].
    pub fn wait(mut self) -> Result<Exit, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Err(Error::Cancelled),
        }
    }

    /// Whether it has ended: then [`wait`](Self::wait) says at once how.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends a signal to the command's process group: SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH or SIGCONT,
    /// by its number. One that comes before the command has begun reaches it when it has.
    pub fn signal(&self, number: i32) {
        self.signals.note(number);
    }

    /// Has it end, with all that descends from it: it is told, and what has not ended within [`Command::kill_after`] is killed.
    pub fn kill(&self) {
        self.end.cancel();
    }
}
