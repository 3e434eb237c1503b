//! Programs of the host that the networks need: run to their end with a time limit, which a cancelled operation cuts short,
//! their words kept.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ::nix::sys::signal::{Signal, killpg};
use ::nix::unistd::Pid;

use crate::model::observe::Cancel;
use crate::sys::pidfd::PidFd;
use crate::sys::process;
use crate::sys::reporter::{End, Reported};

/// How long one may take. They answer in milliseconds, unless another holds their lock.
const LIMIT: Duration = Duration::from_secs(30);
/// How long one may go on after its operation was cancelled. One that works ends in that time, and is not cut off half-way.
const CANCELLED: Duration = Duration::from_millis(500);
/// Where they are though a caller's `PATH` need not say so.
const SBIN: &str = "/usr/sbin:/sbin";

/// Why a program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not installed.
    #[error("`{}` is not installed", .program.display())]
    #[non_exhaustive]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// It could not be run.
    #[error("cannot run `{}`", .program.display())]
    #[non_exhaustive]
    Run {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It refused. Its own words are told.
    #[error("{command}: {}", said(.words, *.status))]
    #[non_exhaustive]
    Refused {
        /// What was run.
        command: String,
        /// What it said on stderr.
        words: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It did not end.
    #[error("{command} did not end in {} s and was killed", .limit.as_secs())]
    #[non_exhaustive]
    Timeout {
        /// What was run.
        command: String,
        /// The time that it had.
        limit: Duration,
    },
    /// Its operation was cancelled, and it did not end.
    #[error("{command} was killed, since the operation is cancelled")]
    #[non_exhaustive]
    Cancelled {
        /// What was run.
        command: String,
    },
}

fn said(words: &str, status: ExitStatus) -> String {
    if words.is_empty() { status.to_string() } else { words.to_owned() }
}

/// A program, by a name to look up in `PATH` or by its path.
#[derive(Debug, Clone)]
pub struct Tool {
    program: PathBuf,
    limit: Duration,
    cancel: Cancel,
}

impl Tool {
    /// The program as the host configuration names it, for an operation that `cancel` ends. What undoes or gives back
    /// has a token of its own, which nobody cancels.
    #[must_use]
    pub fn new(program: &Path, cancel: &Cancel) -> Self {
        Self { program: program.to_owned(), limit: LIMIT, cancel: cancel.clone() }
    }

    /// The same with another time limit.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs it with `input` on its standard input, and returns what it printed.
    ///
    /// # Errors
    /// When it is not there, fails, or does not end in time, which is half a second once the operation is cancelled.
    pub fn run(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let command = format!("{} {}", self.program.display(), arguments.join(" "));
        let path = std::env::var("PATH").map_or_else(|_| SBIN.to_owned(), |path| format!("{path}:{SBIN}"));
        let not_started = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { program: self.program.clone() },
            _ => Error::Run { program: self.program.clone(), source },
        };
        let mut tool = Command::new(&self.program);
        // Its words are read, not only shown.
        tool.args(arguments).env("PATH", path).env("LC_ALL", "C");
        let mut tool = Reported::new(tool).map_err(not_started)?;
        tool.command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Killed with those that it runs itself: they hold the pipes, too.
        tool.command().process_group(0);
        // Else one that hung could still change the host after the next operation has.
        process::end_with_caller(tool.command(), Signal::SIGKILL);
        let mut running = tool.spawn().map_err(not_started)?;
        let child = &mut running.child;
        let begin = Instant::now();
        let (mut stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let ended = thread::scope(|scope| {
            let begun = (|| -> io::Result<_> {
                thread::Builder::new().spawn_scoped(scope, move || {
                    if let Some(stdin) = &mut stdin {
                        // One that ended before it read all says why on stderr.
                        let _ = stdin.write_all(input.as_bytes());
                    }
                })?;
                let out = thread::Builder::new().spawn_scoped(scope, move || read(out))?;
                Ok((out, thread::Builder::new().spawn_scoped(scope, move || read(err))?))
            })();
            // Without those that read it, it might wait for ever.
            let (out, err) = begun.inspect_err(|_| drop((child.kill(), child.wait())))?;
            let status = self.wait(child);
            Ok((status, out.join().unwrap_or_default(), err.join().unwrap_or_default()))
        });
        let (status, stdout, stderr) = ended.map_err(not_started)?;
        tracing::debug!(%command, ?status, took = ?begin.elapsed(), "a program ended");
        let waited = match status {
            Ok(Waited::Ended(waited)) => waited,
            Ok(Waited::Late) => return Err(Error::Timeout { command, limit: self.limit }),
            Ok(Waited::Cancelled) => return Err(Error::Cancelled { command }),
            Err(error) => return Err(not_started(error)),
        };
        let end =
            running.end(waited).map_err(|source| Error::Run { program: self.program.clone(), source })?;
        match end {
            End::Ended(status) if status.success() => Ok(stdout),
            End::Ended(status) => Err(Error::Refused { command, words: stderr.trim().to_owned(), status }),
            End::NotStarted(source) => Err(not_started(source)),
        }
    }
}

fn read(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How the wait for a program came out.
#[derive(Debug)]
enum Waited {
    /// It ended; this is what the kernel says of it.
    Ended(io::Result<ExitStatus>),
    /// It had to be killed: the time was over.
    Late,
    /// It had to be killed: the operation was cancelled.
    Cancelled,
}

impl Tool {
    /// Waits for its end, or makes it.
    fn wait(&self, child: &mut Child) -> io::Result<Waited> {
        let ended = PidFd::of_child(child).and_then(|held| {
            // Somebody else in this process has waited for it.
            let Some(held) = held else { return Ok(true) };
            let begin = Instant::now();
            Ok(held.wait(self.limit, &|| self.cancel.is_cancelled())?
                || (self.cancel.is_cancelled()
                    && held.wait(CANCELLED.min(self.limit.saturating_sub(begin.elapsed())), &|| false)?))
        });
        if matches!(ended, Ok(true)) {
            return Ok(Waited::Ended(child.wait()));
        }
        // SIGKILL at once: one that hangs need not hear anything else. It has not been waited for, so nobody else has its
        // number.
        let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
        let _ = child.wait();
        ended?;
        Ok(if self.cancel.is_cancelled() { Waited::Cancelled } else { Waited::Late })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_input_pass_through() {
        let sh = Tool::new(Path::new("sh"), &Cancel::new());
        assert_eq!(sh.run(&["-c", "cat; echo $LC_ALL"], "a\n").unwrap(), "a\nC\n");
        let error = sh.run(&["-c", "echo no way >&2; exit 3"], &"x".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo no way >&2; exit 3: no way");
        let error = sh.run(&["-c", "exit 3"], "").unwrap_err();
        assert!(error.to_string().ends_with(": exit status: 3"), "{error}");
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let begin = Instant::now();
        let sh = Tool::new(Path::new("sh"), &Cancel::new()).within(Duration::from_millis(50));
        let error = sh.run(&["-c", "trap '' TERM; sleep 1000; sleep 1000"], "").unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        // Not for as long as its child has the pipes.
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn one_that_hangs_is_killed_soon_after_its_operation_is_cancelled_and_one_that_works_ends() {
        let cancel = Cancel::new();
        let sh = Tool::new(Path::new("sh"), &cancel);
        let begin = Instant::now();
        let error = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(100));
                cancel.cancel();
            });
            sh.run(&["-c", "kill -STOP $$; sleep 1000"], "").unwrap_err()
        });
        assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
        assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
        assert_eq!(sh.run(&["-c", "echo a"], "").unwrap(), "a\n");
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = Tool::new(Path::new("no-such-program-here"), &Cancel::new()).run(&[], "").unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert_eq!(error.to_string(), "`no-such-program-here` is not installed");
    }
}
