//! `run --json`: a command whose output is kept for the answer.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nixcloud_container::{Container, Exit, RunRequest, Streams};

use super::Failure;
use crate::view::Captured;

/// How much of each stream is kept; the rest is read and dropped, so that the command goes on.
const KEPT: usize = 16 << 20;

/// How long the last words of a command may take. A background child of it may hold the pipe for ever.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Runs it on the caller's stdin, which is empty where that is a terminal; how it ended, and what it wrote to stdout
/// and stderr.
pub(super) fn run(
    container: &Container<'_>,
    request: RunRequest,
) -> Result<(Exit, Captured, Captured), Failure> {
    let (out, stdout) = io::pipe().map_err(Failure::Streams)?;
    let (err, stderr) = io::pipe().map_err(Failure::Streams)?;
    let stdin = stdin().map_err(Failure::Streams)?;
    let (out, err) = (Kept::of(out), Kept::of(err));
    let streams = Streams::Fds { stdin, stdout: stdout.into(), stderr: stderr.into() };
    let exit = container.run(request, streams)?;
    let end = Instant::now() + LAST_WORDS;
    Ok((exit, out.until(end), err.until(end)))
}

fn stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { Ok(File::open("/dev/null")?.into()) } else { stdin.as_fd().try_clone_to_owned() }
}

/// What a stream has said so far.
struct Kept {
    said: Arc<Mutex<(Vec<u8>, bool)>>,
    reader: std::thread::JoinHandle<()>,
}

impl Kept {
    fn of(mut stream: PipeReader) -> Self {
        let said = Arc::new(Mutex::new((Vec::new(), false)));
        let kept = Arc::clone(&said);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let mut said = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = count.min(KEPT - said.0.len());
                said.0.extend_from_slice(&buffer[..room]);
                said.1 |= room < count;
            }
        });
        Self { said, reader }
    }

    fn until(self, end: Instant) -> Captured {
        while !self.reader.is_finished() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, truncated) = std::mem::take(&mut *said);
        Captured::new(bytes, truncated)
    }
}
