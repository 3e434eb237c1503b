//! Many containers asked for their states at the same time: a monitor that does not answer costs nobody else anything.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ::nix::errno::Errno;
use ::nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Client, Error, GET_STATE, MESSAGE, read, require_ours, send, state_of};
use crate::lxc::address::Address;
use crate::lxc::state::LxcState;

/// How many are asked at once: each takes a file descriptor, of which a process may have 1024.
const AT_ONCE: usize = 256;

/// How soon is tried again where a monitor's queue is full.
const AGAIN: Duration = Duration::from_millis(20);

/// How far one has got.
enum Step {
    /// The queue of its monitor is full.
    Waits,
    Asked {
        stream: UnixStream,
        answer: [u8; MESSAGE],
        filled: usize,
    },
    Done(Result<LxcState, Error>),
}

impl Client {
    /// The states of many containers, in their order; all together they have the time that one has alone.
    pub fn states(&self, lxc_path: &Path, names: &[&str]) -> Vec<Result<LxcState, Error>> {
        names.chunks(AT_ONCE).flat_map(|names| self.states_at_once(lxc_path, names)).collect()
    }

    fn states_at_once(&self, lxc_path: &Path, names: &[&str]) -> Vec<Result<LxcState, Error>> {
        let deadline = Instant::now() + self.timeout;
        let mut steps: Vec<Step> = names.iter().map(|name| begin(lxc_path, name)).collect();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let waits = steps.iter().any(|step| matches!(step, Step::Waits));
            let mut fds: Vec<PollFd<'_>> = steps
                .iter()
                .filter_map(|step| match step {
                    Step::Asked { stream, .. } => Some(PollFd::new(stream, PollFlags::IN)),
                    _ => None,
                })
                .collect();
            if left.is_zero() || fds.is_empty() && !waits {
                break;
            }
            let pause = if waits { left.min(AGAIN) } else { left };
            let timeout = Timespec::try_from(pause).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            // An interrupted one is looked at again.
            let _ = poll(&mut fds, Some(&timeout));
            drop(fds);
            for (step, name) in steps.iter_mut().zip(names) {
                match step {
                    Step::Waits => *step = begin(lxc_path, name),
                    Step::Asked { .. } => step.hear(lxc_path, name),
                    Step::Done(_) => {}
                }
            }
        }
        let timeout = |name: &str| Error::Timeout { name: name.to_owned(), timeout: self.timeout };
        let ended = steps.into_iter().zip(names).map(|(step, name)| match step {
            Step::Done(Err(Error::HungUp { .. })) => self.state(lxc_path, name),
            Step::Done(result) => result,
            _ => Err(timeout(name)),
        });
        ended.collect()
    }
}

fn begin(lxc_path: &Path, name: &str) -> Step {
    let begun = || -> Result<Step, Error> {
        let address = Address::new(lxc_path, name)?;
        let failed =
            |what| move |source: Errno| Error::Socket { what, name: name.to_owned(), source: source.into() };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)
            .map_err(failed("making a socket for"))?;
        let place = UnixAddr::new_abstract(&address.socket_name()).map_err(failed("naming"))?;
        match connect(fd.as_raw_fd(), &place) {
            Ok(()) => {}
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => return Ok(Step::Done(Ok(LxcState::Stopped))),
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(Step::Waits),
            Err(errno) => return Err(failed("connecting to")(errno)),
        }
        require_ours(&fd, name)?;
        match send(&fd, GET_STATE) {
            Ok(MESSAGE) => {}
            Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => {
                return Err(Error::HungUp { name: name.to_owned() });
            }
            Err(errno) => return Err(failed("asking")(errno)),
        }
        Ok(Step::Asked { stream: UnixStream::from(fd), answer: [0; MESSAGE], filled: 0 })
    };
    begun().unwrap_or_else(|error| Step::Done(Err(error)))
}

impl Step {
    /// Reads what is there of an answer.
    fn hear(&mut self, lxc_path: &Path, name: &str) {
        let Self::Asked { stream, answer, filled } = self else { return };
        let result = loop {
            match stream.read(&mut answer[*filled..]) {
                Ok(0) => break Err(Error::HungUp { name: name.to_owned() }),
                Ok(length) => {
                    *filled += length;
                    if *filled == MESSAGE {
                        let said = Address::new(lxc_path, name).map_err(Error::from);
                        break said
                            .and_then(|address| read(&address, answer))
                            .and_then(|said| state_of(name, said));
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::ConnectionReset => break Err(Error::HungUp { name: name.to_owned() }),
                    _ => {
                        break Err(Error::Socket { what: "hearing", name: name.to_owned(), source: error });
                    }
                },
            }
        };
        *self = Self::Done(result);
    }
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    #[test]
    fn the_silent_ones_are_waited_for_together() {
        let path = std::path::PathBuf::from(format!("/nxc-test-{}-many", std::process::id()));
        let listen = |name: &str| {
            let socket = Address::new(&path, name).unwrap().socket_name();
            UnixListener::bind_addr(&SocketAddr::from_abstract_name(socket).unwrap()).unwrap()
        };
        let silent: Vec<String> = (0..20).map(|n| format!("silent{n}")).collect();
        let _listeners: Vec<UnixListener> = silent.iter().map(|name| listen(name)).collect();
        let full = listen("full");
        ::nix::sys::socket::listen(&full, ::nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let socket = Address::new(&path, "full").unwrap().socket_name();
        let _queued = UnixStream::connect_addr(&SocketAddr::from_abstract_name(socket).unwrap()).unwrap();
        let alive = listen("alive");
        let answers = std::thread::spawn(move || {
            let (mut stream, _) = alive.accept().unwrap();
            stream.read_exact(&mut [0; MESSAGE]).unwrap();
            let answer = [&0_i32.to_ne_bytes()[..], &0_i32.to_ne_bytes(), &2_i64.to_ne_bytes()].concat();
            io::Write::write_all(&mut stream, &answer).unwrap();
        });
        let mut names: Vec<&str> = silent.iter().map(String::as_str).collect();
        names.extend(["full", "alive", "nobody"]);
        let begin = Instant::now();
        let states = Client::new(Duration::from_millis(500)).states(&path, &names);
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
        answers.join().unwrap();
        assert_eq!(states.len(), names.len());
        assert!(states[..21].iter().all(|state| matches!(state, Err(Error::Timeout { .. }))), "{states:?}");
        assert!(matches!(states[21..], [Ok(LxcState::Running), Ok(LxcState::Stopped)]), "{states:?}");
    }
}
