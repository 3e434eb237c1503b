//! Programs of the host that the networks need: run to their end with a time limit, their words kept.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use ::nix::sys::signal::{Signal, killpg};
use ::nix::unistd::Pid;

use crate::sys::reporter::{End, Reported};

/// How long one may take. They answer in milliseconds, unless another holds their lock.
const LIMIT: Duration = Duration::from_secs(30);
/// The first and the longest pause between two looks at whether it has ended.
const FIRST_PAUSE: Duration = Duration::from_micros(500);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// Where they are though a caller's `PATH` need not say so.
const SBIN: &str = "/usr/sbin:/sbin";

/// Why a program did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not installed.
    #[error("`{}` is not installed", .program.display())]
    Missing {
        /// The program.
        program: PathBuf,
    },
    /// It could not be run.
    #[error("cannot run `{}`", .program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It refused. Its own words are told.
    #[error("{command}: {}", said(.words, *.status))]
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
    Timeout {
        /// What was run.
        command: String,
        /// The time that it had.
        limit: Duration,
    },
}

fn said(words: &str, status: ExitStatus) -> String {
    if words.is_empty() { status.to_string() } else { words.to_owned() }
}

/// A program, by a name to look up in `PATH` or by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    program: PathBuf,
    limit: Duration,
}

impl Tool {
    /// The program as the host configuration names it.
    #[must_use]
    pub fn new(program: &Path) -> Self {
        Self { program: program.to_owned(), limit: LIMIT }
    }

    /// The same with another time limit.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Runs it with `input` on its standard input, and returns what it printed.
    ///
    /// # Errors
    /// When it is not there, fails, or does not end in time.
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
            let status = wait(child, self.limit);
            Ok((status, out.join().unwrap_or_default(), err.join().unwrap_or_default()))
        });
        let (status, stdout, stderr) = ended.map_err(not_started)?;
        tracing::debug!(%command, ?status, took = ?begin.elapsed(), "a program ended");
        let Some(waited) = status else { return Err(Error::Timeout { command, limit: self.limit }) };
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

/// What waiting for it says once it has ended; `None` if it had to be killed.
fn wait(child: &mut Child, limit: Duration) -> Option<io::Result<ExitStatus>> {
    let begin = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(waited) = child.try_wait().transpose() {
            return Some(waited);
        }
        if begin.elapsed() > limit {
            // SIGKILL at once: one that hangs need not hear anything else. It has not been waited for, so nobody else has its
            // number.
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
            return None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_input_pass_through() {
        let sh = Tool::new(Path::new("sh"));
        assert_eq!(sh.run(&["-c", "cat; echo $LC_ALL"], "a\n").unwrap(), "a\nC\n");
        let error = sh.run(&["-c", "echo no way >&2; exit 3"], &"x".repeat(1 << 20)).unwrap_err();
        assert_eq!(error.to_string(), "sh -c echo no way >&2; exit 3: no way");
        let error = sh.run(&["-c", "exit 3"], "").unwrap_err();
        assert!(error.to_string().ends_with(": exit status: 3"), "{error}");
    }

    #[test]
    fn one_that_hangs_is_killed_with_its_children() {
        let begin = Instant::now();
        let sh = Tool::new(Path::new("sh")).within(Duration::from_millis(50));
        let error = sh.run(&["-c", "trap '' TERM; sleep 1000; sleep 1000"], "").unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        // Not for as long as its child has the pipes.
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn one_that_is_not_there_is_named() {
        let error = Tool::new(Path::new("no-such-program-here")).run(&[], "").unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error:?}");
        assert_eq!(error.to_string(), "`no-such-program-here` is not installed");
    }
}
