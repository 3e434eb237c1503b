//! A worker that lasts as long as a guest: its caller looks in from time to time.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};

use super::CHANNEL;
use super::client::{Client, Stdio, WorkerError, held};
use super::protocol::{Answer, Request};
use crate::sys::handed;
use crate::sys::pidfd::PidFd;

/// A running worker. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Companion {
    child: Child,
    pidfd: Option<PidFd>,
    channel: UnixStream,
    text: Vec<u8>,
}

impl Client {
    /// Starts a worker on a request, to which `terminal` belongs.
    pub(crate) fn accompany(
        &self,
        request: &Request,
        stdio: Stdio,
        terminal: Option<OwnedFd>,
    ) -> Result<Companion, WorkerError> {
        let path = self.program()?;
        let (mut ours, theirs) = UnixStream::pair().map_err(WorkerError::Channel)?;
        let mut command = self.command(&path, stdio);
        command
            .fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: CHANNEL }])
            .map_err(|error| WorkerError::Channel(io::Error::other(error)))?;
        let child = command.spawn().map_err(|source| WorkerError::Spawn { path: path.clone(), source })?;
        // It holds the worker's end of the channel.
        drop(command);
        let request = serde_json::to_vec(request).map_err(|error| WorkerError::Channel(error.into()))?;
        ours.set_write_timeout(Some(Duration::from_secs(5))).map_err(WorkerError::Channel)?;
        let sent = match &terminal {
            Some(terminal) => handed::send(&ours, &request, terminal.as_fd()),
            None => ours.write_all(&request),
        };
        // The worker alone has it from here on, so that it ends with the worker.
        drop(terminal);
        let sent = sent.and_then(|()| ours.shutdown(std::net::Shutdown::Write));
        // Before the channel: where it is no use, the child is reaped by the drop.
        let pidfd = held(&child).map_err(WorkerError::Channel)?;
        let companion = Companion { child, pidfd, channel: ours, text: Vec::new() };
        match sent {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(WorkerError::Channel(error)),
            _ => Ok(companion),
        }
    }
}

impl Companion {
    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for its answer, no longer than `wait`; `None` when it has none yet. Once there was an answer or an error it
    /// has ended.
    pub(crate) fn poll(&mut self, wait: Duration) -> Result<Option<Answer>, WorkerError> {
        // Zero would mean to wait for ever.
        let wait = wait.max(Duration::from_millis(1));
        self.channel.set_read_timeout(Some(wait)).map_err(WorkerError::Channel)?;
        let mut buffer = [0; 4096];
        loop {
            match self.channel.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => self.text.extend_from_slice(&buffer[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                        return Ok(None);
                    }
                    _ => return Err(WorkerError::Channel(error)),
                },
            }
        }
        let status = self.child.wait().map_or_else(|_| "unknown".to_owned(), |status| status.to_string());
        if self.text.is_empty() {
            return Err(WorkerError::NoAnswer { status });
        }
        match serde_json::from_slice(&self.text) {
            Ok(Answer::Failed(fault)) => Err(fault.into()),
            Ok(answer) => Ok(Some(answer)),
            Err(error) => Err(WorkerError::Channel(error.into())),
        }
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        // One that has ended is not signalled again.
        if let Some(pidfd) = &self.pidfd {
            let _ = pidfd.signal(libc::SIGKILL);
        }
        let _ = self.child.wait();
    }
}
