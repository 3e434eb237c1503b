//! What stands between the caller's streams and those of a command: nothing that the caller has reaches a guest.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, Stat, fcntl_getfl, fstat, major, minor};

use super::{Streams, copy};
use crate::model::observe::Cancel;
use crate::sys::terminal::Settings;
use crate::worker::Stdio;

/// How long the last output may take when the caller has cancelled.
const CANCELLED: Duration = Duration::from_secs(2);

/// How often a cancelled token is noticed.
const TICK: Duration = Duration::from_millis(50);

/// How long the input may take to stop. Who else reads it may have taken what was there, and it waits for more.
const INPUT: Duration = Duration::from_millis(100);

/// Streams for a worker, and the threads that copy.
pub(super) struct Relay {
    input: Crew,
    outputs: Crew,
    /// Closed when the command has ended.
    running: Option<PipeWriter>,
    saved: Option<Saved>,
}

/// What failed of the caller's own streams.
pub(super) struct Broken {
    pub(super) action: &'static str,
    pub(super) source: io::Error,
}

impl Relay {
    /// For a command that has pipes, and runs as the user `owner` of the host.
    pub(super) fn of(streams: Streams, owner: Option<u32>) -> io::Result<(Stdio, Self)> {
        let (ended, running) = io::pipe()?;
        let (mut input, mut outputs) = (Crew::new(), Crew::new());
        let [stdin, stdout, stderr] = callers(streams)?;
        // Of two streams that are one, the order is to be that in which the command writes.
        let one = same(&stdout, &stderr)?;
        let stdout = to(stdout, owner, &ended, &mut outputs)?;
        let stdio = Stdio::Fds {
            stdin: from(stdin, owner, &ended, &mut input)?,
            stderr: if one { stdout.try_clone()? } else { to(stderr, owner, &ended, &mut outputs)? },
            stdout,
        };
        Ok((stdio, Self { input, outputs, running: Some(running), saved: None }))
    }

    /// For a command that has a terminal of the guest's: the worker copies.
    pub(super) fn of_terminal(streams: Streams) -> io::Result<(Stdio, Self)> {
        let stdio = match streams {
            Streams::Inherit => Stdio::Inherit,
            streams => {
                let [stdin, stdout, stderr] = callers(streams)?;
                Stdio::Fds { stdin, stdout, stderr }
            }
        };
        let saved = match &stdio {
            Stdio::Inherit => Saved::of(io::stdin().as_fd()),
            Stdio::Fds { stdin, .. } => Saved::of(stdin.as_fd()),
            Stdio::Null => Ok(None),
        };
        Ok((stdio, Self { input: Crew::new(), outputs: Crew::new(), running: None, saved: saved? }))
    }

    /// The command has ended, and what it wrote last is still on its way. `clean` when the worker has put the terminal in
    /// order itself.
    pub(super) fn end(self, clean: bool, cancel: &Cancel) -> Result<(), Broken> {
        drop(self.running);
        let mut cancelled = None;
        let output = self.outputs.end(|| {
            cancel.is_cancelled() && cancelled.get_or_insert_with(Instant::now).elapsed() > CANCELLED
        });
        let begin = Instant::now();
        let input = self.input.end(|| begin.elapsed() > INPUT);
        if let (Some(saved), false) = (self.saved, clean) {
            saved.restore();
        }
        output.map_err(|source| Broken { action: "write the output of", source })?;
        input.map_err(|source| Broken { action: "read the input of", source })
    }
}

/// Threads that are waited for together.
struct Crew {
    threads: Vec<JoinHandle<io::Result<()>>>,
    /// Each thread has a sender, and nothing is ever sent.
    work: Sender<Infallible>,
    done: Receiver<Infallible>,
}

impl Crew {
    fn new() -> Self {
        let (work, done) = channel();
        Self { threads: Vec::new(), work, done }
    }

    fn add(&mut self, name: &str, copy: impl FnOnce() -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let work = self.work.clone();
        self.threads.push(Builder::new().name(name.to_owned()).spawn(move || {
            let result = copy();
            drop(work);
            result
        })?);
        Ok(())
    }

    /// Waits until all have ended, or `enough` says that it was long enough: then they are left alone.
    fn end(self, mut enough: impl FnMut() -> bool) -> io::Result<()> {
        drop(self.work);
        while self.done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
            if enough() {
                return Ok(());
            }
        }
        let ended = self.threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        ended.fold(Ok(()), io::Result::and)
    }
}

/// The caller's three streams.
fn callers(streams: Streams) -> io::Result<[OwnedFd; 3]> {
    Ok(match streams {
        Streams::Null => [null(OFlags::RDONLY)?, null(OFlags::WRONLY)?, null(OFlags::WRONLY)?],
        Streams::Fds { stdin, stdout, stderr } => [stdin, stdout, stderr],
        Streams::Inherit => [
            io::stdin().as_fd().try_clone_to_owned()?,
            io::stdout().as_fd().try_clone_to_owned()?,
            io::stderr().as_fd().try_clone_to_owned()?,
        ],
    })
}

/// The null device, opened anew. The guest has that device anyway; nobody else has this description of it.
fn null(how: OFlags) -> io::Result<OwnedFd> {
    Ok(File::options().read(how == OFlags::RDONLY).write(how == OFlags::WRONLY).open("/dev/null")?.into())
}

fn is_null(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (major(stat.st_rdev), minor(stat.st_rdev)) == (1, 3)
}

fn same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// What a command reads in place of the caller's stream.
fn from(stream: OwnedFd, owner: Option<u32>, ended: &PipeReader, input: &mut Crew) -> io::Result<OwnedFd> {
    let stat = fstat(&stream)?;
    // One that can only be written, as nohup makes it, has nothing to say.
    if is_null(&stat) || fcntl_getfl(&stream)? & OFlags::RWMODE == OFlags::WRONLY {
        return null(OFlags::RDONLY);
    }
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        let why = "standard input is a folder of the host, which leads to all of the host's";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, why));
    }
    let ((reader, writer), ended) = (copy::pipe(owner)?, ended.try_clone()?);
    input.add("stdin", move || copy::input(stream, writer, ended))?;
    Ok(reader.into())
}

/// What a command writes to in place of the caller's stream.
fn to(stream: OwnedFd, owner: Option<u32>, ended: &PipeReader, outputs: &mut Crew) -> io::Result<OwnedFd> {
    if is_null(&fstat(&stream)?) {
        return null(OFlags::WRONLY);
    }
    let ((reader, writer), ended) = (copy::pipe(owner)?, ended.try_clone()?);
    outputs.add("output", move || copy::output(&reader.into(), &stream, &ended))?;
    Ok(writer.into())
}

/// A terminal and how it was set: a worker that is killed does not put it back.
struct Saved {
    terminal: OwnedFd,
    settings: Settings,
}

impl Saved {
    fn of(stream: BorrowedFd<'_>) -> io::Result<Option<Self>> {
        let Ok(settings) = Settings::of(stream) else { return Ok(None) };
        Ok(Some(Self { terminal: stream.try_clone_to_owned()?, settings }))
    }

    fn restore(&self) {
        // What was typed for the guest is not the host's shell's to run. A terminal that is gone needs no settings.
        self.settings.put_back(&self.terminal);
    }
}
