//! `run --json`: a command whose output is kept for the answer.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::thread::JoinHandle;

use nixcloud_container::{Container, Exit, Observer, RunRequest, Streams};

use super::Failure;
use crate::view::Captured;

/// How much of each stream is kept; the rest is read and dropped, so that the command goes on.
const KEPT: usize = 16 << 20;

/// Runs it on the caller's stdin, which is empty where that is a terminal; how it ended, and what it wrote to stdout
/// and stderr.
pub(super) fn run(
    container: &Container,
    request: RunRequest,
    observer: &mut dyn Observer,
) -> Result<(Exit, Captured, Captured), Failure> {
    let (out, stdout) = io::pipe().map_err(Failure::Streams)?;
    let (err, stderr) = io::pipe().map_err(Failure::Streams)?;
    let stdin = stdin().map_err(Failure::Streams)?;
    let (out, err) = (Kept::of(out), Kept::of(err));
    let streams = Streams::Fds { stdin, stdout: stdout.into(), stderr: stderr.into() };
    let exit = container.run_observed(request, streams, observer)?;
    // The library has let go of the pipes.
    Ok((exit, out.end(), err.end()))
}

fn stdin() -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    if stdin.is_terminal() { Ok(File::open("/dev/null")?.into()) } else { stdin.as_fd().try_clone_to_owned() }
}

/// What a stream says.
struct Kept(JoinHandle<(Vec<u8>, bool)>);

impl Kept {
    fn of(mut stream: PipeReader) -> Self {
        Self(std::thread::spawn(move || {
            let (mut said, mut truncated) = (Vec::new(), false);
            let mut buffer = [0; 1 << 16];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let room = count.min(KEPT - said.len());
                said.extend_from_slice(&buffer[..room]);
                truncated |= room < count;
            }
            (said, truncated)
        }))
    }

    fn end(self) -> Captured {
        let (said, truncated) = self.0.join().unwrap_or_default();
        Captured::new(said, truncated)
    }
}
