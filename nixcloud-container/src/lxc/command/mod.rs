//! A container's command socket, spoken to directly: no liblxc, no configuration read, and a deadline.
//!
//! liblxc waits for a monitor's answer for ever (before 6.0 always), so a monitor that was stopped hangs whoever lists
//! containers. The protocol is private to LXC but only ever appended to: a request of sixteen bytes on a stream socket in
//! the abstract namespace, an answer of sixteen.
//!
//! The abstract namespace belongs to the *network namespace*: from another one a running container seems stopped. And any
//! local user can bind a name there first, so an answer counts only if root or this user listens.

mod holder;
mod many;
mod running;

use std::io::{self, IoSlice, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use ::nix::errno::Errno;
use ::nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, connect,
    getsockopt, sendmsg, setsockopt, socket, sockopt,
};
use ::nix::sys::time::{TimeVal, TimeValLike};
use ::nix::unistd::geteuid;
use thiserror::Error;

use super::address::{Address, InvalidAddress};
use super::state::LxcState;

pub use holder::{Holder, holder};
pub use running::{Running, others_listen, running};

/// `LXC_CMD_GET_STATE` and `LXC_CMD_GET_INIT_PID`: fixed by the protocol.
const GET_STATE: i32 = 3;
const GET_INIT_PID: i32 = 4;

/// Two `int`s and a pointer, both ways.
const MESSAGE: usize = 8 + size_of::<usize>();

/// Why a question had no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The path or name would name another container.
    #[error("no such container can be named")]
    Address(#[from] InvalidAddress),
    /// The monitor did not answer in time: it was stopped, or the host is overloaded.
    #[error("the monitor of container {name} did not answer within {} ms", timeout.as_millis())]
    #[non_exhaustive]
    Timeout {
        /// The container.
        name: String,
        /// The time it had.
        timeout: Duration,
    },
    /// Somebody else listens on the container's name.
    #[error("user {uid}, not root, listens on the name of container {name}")]
    #[non_exhaustive]
    Foreign {
        /// The container.
        name: String,
        /// The user.
        uid: u32,
    },
    /// The monitor takes no commands of this user.
    #[error("permission denied by the monitor of container {name}")]
    #[non_exhaustive]
    PermissionDenied {
        /// The container.
        name: String,
    },
    /// The monitor's answer makes no sense.
    #[error("the monitor of container {name} gave an answer that means nothing: {answer}")]
    #[non_exhaustive]
    Nonsense {
        /// The container.
        name: String,
        /// The number that it answered.
        answer: i64,
    },
    /// The monitor hung up.
    #[error("the monitor of container {name} hung up")]
    #[non_exhaustive]
    HungUp {
        /// The container.
        name: String,
    },
    /// The socket failed in another way.
    #[error("{what} the monitor of container {name} failed")]
    #[non_exhaustive]
    Socket {
        /// The step.
        what: &'static str,
        /// The container.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The list of sockets cannot be read.
    #[error("cannot read {}", running::SOCKETS)]
    List(#[source] io::Error),
}

/// Asks monitors, each with a deadline. Safe in any process and any thread.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    timeout: Duration,
}

impl Default for Client {
    /// Two seconds: an answer takes 0.04 ms.
    fn default() -> Self {
        Self::new(Duration::from_secs(2))
    }
}

impl Client {
    /// A client that waits for `timeout` (at least a millisecond) in all for each answer.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout: timeout.max(Duration::from_millis(1)) }
    }

    /// The state of a container; [`LxcState::Stopped`] when nobody listens.
    ///
    /// # Errors
    /// As [`enum@Error`] says.
    pub fn state(&self, lxc_path: &Path, name: &str) -> Result<LxcState, Error> {
        match self.ask(&Address::new(lxc_path, name)?, GET_STATE)? {
            None => Ok(LxcState::Stopped),
            Some(answer) => state_of(name, answer),
        }
    }

    /// The pid of init as the monitor sees it; `None` when stopped or not yet made.
    ///
    /// # Errors
    /// As [`enum@Error`] says.
    pub fn init_pid(&self, lxc_path: &Path, name: &str) -> Result<Option<i32>, Error> {
        let Some(answer) = self.ask(&Address::new(lxc_path, name)?, GET_INIT_PID)? else {
            return Ok(None);
        };
        match i32::try_from(answer.data) {
            Ok(0 | -1) => Ok(None),
            Ok(pid) if pid > 0 => Ok(Some(pid)),
            _ => Err(Error::Nonsense { name: name.to_owned(), answer: answer.data }),
        }
    }

    fn ask(&self, address: &Address, command: i32) -> Result<Option<Response>, Error> {
        // A monitor on its way down hangs up on those who had connected; the next connection is then refused.
        for _ in 0..2 {
            let Some(mut conversation) = Conversation::open(address, self.timeout)? else {
                return Ok(None);
            };
            if let Some(answer) = conversation.ask(command)? {
                return Ok(Some(answer));
            }
        }
        Err(Error::HungUp { name: address.name().to_owned() })
    }
}

/// What a monitor answered: `struct lxc_cmd_rsp`.
#[derive(Debug, Clone, Copy)]
struct Response {
    data: i64,
}

/// One connection to one monitor.
struct Conversation<'a> {
    address: &'a Address,
    stream: UnixStream,
    timeout: Duration,
    deadline: Instant,
}

impl<'a> Conversation<'a> {
    /// Connects; `None` when nobody listens.
    fn open(address: &'a Address, timeout: Duration) -> Result<Option<Self>, Error> {
        let deadline = Instant::now() + timeout;
        let failed = |what, source| match source {
            Errno::EAGAIN => Error::Timeout { name: address.name().to_owned(), timeout },
            source => Error::Socket { what, name: address.name().to_owned(), source: source.into() },
        };
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
            .map_err(|errno| failed("making a socket for", errno))?;
        let limit = microseconds(timeout);
        setsockopt(&fd, sockopt::SendTimeout, &limit)
            .map_err(|errno| failed("limiting the wait for", errno))?;
        let name = UnixAddr::new_abstract(&address.socket_name()).map_err(|errno| failed("naming", errno))?;
        loop {
            // Blocks, for as long as `SO_SNDTIMEO` says, while the queue of a stopped monitor is full.
            match connect(fd.as_raw_fd(), &name) {
                Ok(()) => break,
                Err(Errno::ECONNREFUSED | Errno::ENOENT) => return Ok(None),
                Err(Errno::EINTR) if Instant::now() < deadline => {}
                Err(Errno::EINTR) => return Err(failed("connecting to", Errno::EAGAIN)),
                Err(errno) => return Err(failed("connecting to", errno)),
            }
        }
        require_ours(&fd, address.name())?;
        Ok(Some(Self { address, stream: UnixStream::from(fd), timeout, deadline }))
    }

    /// Sends a command without data and reads the answer; `None` when the monitor hung up.
    fn ask(&mut self, command: i32) -> Result<Option<Response>, Error> {
        loop {
            match send(&self.stream, command) {
                Ok(length) if length == MESSAGE => break,
                Ok(_) | Err(Errno::EPIPE | Errno::ECONNRESET) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Err(self.timeout()),
                Err(source) => return Err(self.failed("asking", source)),
            }
        }
        let mut answer = [0; MESSAGE];
        let mut filled = 0;
        while filled < answer.len() {
            let rest = self.deadline.saturating_duration_since(Instant::now());
            if rest.is_zero() {
                return Err(self.timeout());
            }
            setsockopt(&self.stream, sockopt::ReceiveTimeout, &microseconds(rest))
                .map_err(|source| self.failed("limiting the wait for", source))?;
            match self.stream.read(&mut answer[filled..]) {
                Ok(0) => return Ok(None),
                Ok(length) => filled += length,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Err(self.timeout()),
                    io::ErrorKind::ConnectionReset => return Ok(None),
                    _ => return Err(self.failed("hearing", error)),
                },
            }
        }
        read(self.address, &answer).map(Some)
    }

    fn timeout(&self) -> Error {
        Error::Timeout { name: self.address.name().to_owned(), timeout: self.timeout }
    }

    fn failed(&self, what: &'static str, source: impl Into<io::Error>) -> Error {
        Error::Socket { what, name: self.address.name().to_owned(), source: source.into() }
    }
}

/// Sends a command without data; the monitor looks at who asks.
fn send(socket: &impl AsRawFd, command: i32) -> Result<usize, Errno> {
    let mut request = [0; MESSAGE];
    request[..4].copy_from_slice(&command.to_ne_bytes());
    let credentials = UnixCredentials::new();
    let control = [ControlMessage::ScmCredentials(&credentials)];
    let parts = [IoSlice::new(&request)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)
}

/// That whoever listens is root or this user.
fn require_ours(socket: &impl AsFd, name: &str) -> Result<(), Error> {
    // The user alone: the kernel keeps the pid of who called `listen`, which is the starter's and long gone.
    let failed =
        |source: Errno| Error::Socket { what: "identifying", name: name.to_owned(), source: source.into() };
    let peer = getsockopt(&socket.as_fd(), sockopt::PeerCredentials).map_err(failed)?;
    if peer.uid() != 0 && peer.uid() != geteuid().as_raw() {
        return Err(Error::Foreign { name: name.to_owned(), uid: peer.uid() });
    }
    Ok(())
}

/// Reads what the monitor of a container answered.
fn read(address: &Address, answer: &[u8; MESSAGE]) -> Result<Response, Error> {
    let (head, data) = answer.split_at(8);
    let result = i32::from_ne_bytes([head[0], head[1], head[2], head[3]]);
    let name = || address.name().to_owned();
    if result == -libc::EPERM || result == -libc::EACCES {
        return Err(Error::PermissionDenied { name: name() });
    }
    if result < 0 {
        return Err(Error::Socket {
            what: "asking",
            name: name(),
            source: io::Error::from_raw_os_error(-result),
        });
    }
    // The value travels in the pointer.
    let mut word = [0; size_of::<usize>()];
    word.copy_from_slice(data);
    Ok(Response { data: i64::try_from(isize::from_ne_bytes(word)).unwrap_or(i64::MAX) })
}

/// What a state's number says.
fn state_of(name: &str, answer: Response) -> Result<LxcState, Error> {
    LxcState::from_number(answer.data)
        .ok_or_else(|| Error::Nonsense { name: name.to_owned(), answer: answer.data })
}

/// Zero would mean no limit.
fn microseconds(duration: Duration) -> TimeVal {
    TimeVal::microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    use super::*;

    /// A listener on the name of a container of this process's own.
    fn listen(name: &str) -> (UnixListener, std::path::PathBuf) {
        let path = std::path::PathBuf::from(format!("/nxc-test-{}-{name}", std::process::id()));
        let socket = Address::new(&path, name).unwrap().socket_name();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(socket).unwrap()).unwrap();
        (listener, path)
    }

    #[test]
    fn nobody_there_is_stopped() {
        let client = Client::default();
        let path = Path::new("/nxc-test-nobody");
        assert_eq!(client.state(path, "web").unwrap(), LxcState::Stopped);
        assert_eq!(client.init_pid(path, "web").unwrap(), None);
    }

    /// A monitor that accepts nothing is one that was stopped.
    #[test]
    fn silence_is_a_timeout() {
        let (_listener, path) = listen("silent");
        let client = Client::new(Duration::from_millis(60));
        let start = Instant::now();
        assert!(matches!(client.state(&path, "silent"), Err(Error::Timeout { .. })));
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(running(&path).unwrap().names, ["silent"]);
    }

    /// Once its queue is full, already connecting blocks.
    #[test]
    fn a_full_queue_is_a_timeout() {
        let (listener, path) = listen("full");
        ::nix::sys::socket::listen(&listener, ::nix::sys::socket::Backlog::new(0).unwrap()).unwrap();
        let client = Client::new(Duration::from_millis(40));
        let address = Address::new(&path, "full").unwrap();
        let first = Conversation::open(&address, Duration::from_millis(40)).unwrap();
        assert!(first.is_some());
        assert!(matches!(client.state(&path, "full"), Err(Error::Timeout { .. })));
    }

    /// Answers one question with these bytes.
    fn answered(name: &str, answer: Vec<u8>) -> (Client, std::path::PathBuf) {
        let (listener, path) = listen(name);
        std::thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut request = [0; MESSAGE];
                stream.read_exact(&mut request).unwrap();
                io::Write::write_all(&mut stream, &answer).unwrap();
            }
        });
        (Client::new(Duration::from_secs(5)), path)
    }

    fn message(result: i32, data: i64) -> Vec<u8> {
        [&result.to_ne_bytes()[..], &0_i32.to_ne_bytes(), &data.to_ne_bytes()].concat()
    }

    #[test]
    fn answers_are_read_and_judged() {
        let (client, path) = answered("ok", message(0, 2));
        assert_eq!(client.state(&path, "ok").unwrap(), LxcState::Running);
        let (client, path) = answered("denied", message(-libc::EPERM, 0));
        assert!(matches!(client.state(&path, "denied"), Err(Error::PermissionDenied { .. })));
        let (client, path) = answered("mad", message(0, 99));
        assert!(matches!(client.state(&path, "mad"), Err(Error::Nonsense { answer: 99, .. })));
        let (client, path) = answered("mute", Vec::new());
        assert!(matches!(client.state(&path, "mute"), Err(Error::HungUp { .. })));
        let (client, path) = answered("pid", message(0, 4711));
        assert_eq!(client.init_pid(&path, "pid").unwrap(), Some(4711));
    }
}
