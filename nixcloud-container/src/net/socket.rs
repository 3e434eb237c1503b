//! A blocking rtnetlink socket: requests with acknowledgement, dumps, a time limit, errors that say what was
//! attempted.

use std::io;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE,
    NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NlasIterator,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

use ::nix::sys::socket::{setsockopt, sockopt::ReceiveTimeout};
use ::nix::sys::time::{TimeVal, TimeValLike};

/// How long the kernel may take for one request. It answers in microseconds, unless another holds its network
/// lock.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a dump is begun anew that changed while it was read.
const MOST_DUMPS: usize = 32;
/// The kernel packs a dump into messages of 32 KiB at most (netlink_dump in net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;
/// The attribute of an extended acknowledgement that says in words what is wrong.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// An error's code and the header of the request, before such attributes (with `NETLINK_CAP_ACK`).
const ERROR_HEAD: usize = 20;

/// Why the network was not asked or not changed. `action` is what was attempted, such as
/// `add bridge brNC-hostonly`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No socket.
    #[error("cannot open a netlink socket")]
    #[non_exhaustive]
    Open {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused. The source is an [`io::Error`] with its errno.
    #[error("cannot {action}{}", detail_text(.detail.as_deref()))]
    #[non_exhaustive]
    Refused {
        /// What was attempted.
        action: String,
        /// The kernel's own words, where it has any.
        detail: Option<String>,
        /// The errno.
        source: io::Error,
    },
    /// Sending or receiving failed.
    #[error("cannot {action}: no talk with the kernel")]
    #[non_exhaustive]
    Talk {
        /// What was attempted.
        action: String,
        /// What the socket said.
        source: io::Error,
    },
    /// The kernel did not answer in [`TIMEOUT`].
    #[error("cannot {action}: no answer from the kernel in {} s", TIMEOUT.as_secs())]
    #[non_exhaustive]
    Timeout {
        /// What was attempted.
        action: String,
    },
    /// The kernel's answer was not understood.
    #[error("cannot {action}: the kernel's answer is not understood")]
    #[non_exhaustive]
    Decode {
        /// What was attempted.
        action: String,
        /// Where it is odd.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The table changed each time while it was read.
    #[error("cannot {action}: it changes all the time")]
    #[non_exhaustive]
    Changing {
        /// What was attempted.
        action: String,
    },
    /// No interface can have this name: 1 to 15 bytes, without `/`, `:`, white space or control characters, not
    /// `.` or `..`.
    #[error("{name:?} is not an interface name")]
    #[non_exhaustive]
    BadName {
        /// The name as given.
        name: String,
    },
}

fn detail_text(detail: Option<&str>) -> String {
    detail.map_or_else(String::new, |detail| format!(" ({detail})"))
}

impl Error {
    /// The errno of a refusal.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// A socket to the kernel's network configuration, in the network namespace that the opening thread had.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    /// Whether the kernel (4.20 and later) looks at what a dump asks for.
    pub(super) strict: bool,
}

/// One message of an answer: its type and what follows the netlink header.
pub(super) struct Message {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
}

/// What one datagram brought.
enum Progress {
    More,
    End,
}

impl Netlink {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`Error::Open`].
    pub fn open() -> Result<Self, Error> {
        let opened = |source| Error::Open { source };
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(opened)?;
        let port = socket.bind_auto().map_err(opened)?.port_number();
        let timeout = TimeVal::milliseconds(i64::try_from(TIMEOUT.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket, ReceiveTimeout, &timeout).map_err(|errno| opened(errno.into()))?;
        // Errors in words and without a copy of the request; kernels before 4.12 have neither.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        let strict = socket.set_netlink_get_strict_chk(true).is_ok();
        Ok(Self { socket, port, sequence: 0, buffer: Vec::with_capacity(BUFFER), strict })
    }

    /// Changes something, or asks for one thing; returns what came before the acknowledgement.
    pub(super) fn request(
        &mut self,
        action: &str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<Message>, Error> {
        self.talk(action, message, NLM_F_REQUEST | NLM_F_ACK).map(|(answers, _)| answers)
    }

    /// As [`Self::request`], for something that must not exist yet.
    pub(super) fn create(&mut self, action: &str, message: RouteNetlinkMessage) -> Result<(), Error> {
        self.talk(action, message, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL).map(|_| ())
    }

    /// As [`Self::request`], for something that is made where it is missing.
    pub(super) fn put(&mut self, action: &str, message: RouteNetlinkMessage) -> Result<(), Error> {
        self.talk(action, message, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE).map(|_| ())
    }

    /// Reads a whole table, again if it changed meanwhile.
    pub(super) fn dump(
        &mut self,
        action: &str,
        message: &RouteNetlinkMessage,
    ) -> Result<Vec<Message>, Error> {
        for _ in 0..MOST_DUMPS {
            let (answers, interrupted) = self.talk(action, message.clone(), NLM_F_REQUEST | NLM_F_DUMP)?;
            if !interrupted {
                return Ok(answers);
            }
        }
        Err(Error::Changing { action: action.to_owned() })
    }

    fn talk(
        &mut self,
        action: &str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<(Vec<Message>, bool), Error> {
        let begin = Instant::now();
        self.send(action, message, flags)?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            if begin.elapsed() > TIMEOUT {
                return Err(Error::Timeout { action: action.to_owned() });
            }
            let from = self.receive(action)?;
            // Any process may send to our port.
            if from.port_number() != 0 {
                continue;
            }
            let bytes = std::mem::take(&mut self.buffer);
            let progress = self.sort(action, &bytes, &mut answers, &mut interrupted);
            self.buffer = bytes;
            if let Progress::End = progress? {
                return Ok((answers, interrupted));
            }
        }
    }

    fn send(&mut self, action: &str, message: RouteNetlinkMessage, flags: u16) -> Result<(), Error> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        loop {
            match self.socket.send_to(&bytes, &SocketAddr::new(0, 0), 0) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Talk { action: action.to_owned(), source }),
            }
        }
    }

    /// One datagram into the buffer.
    fn receive(&mut self, action: &str) -> Result<SocketAddr, Error> {
        let begin = Instant::now();
        loop {
            self.buffer.clear();
            match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok((length, from)) if length <= self.buffer.len() => return Ok(from),
                Ok((length, _)) => {
                    let source = DecodeError::from(format!("a message of {length} bytes was cut off"));
                    return Err(Error::Decode { action: action.to_owned(), source: source.into() });
                }
                // A signal begins the kernel's time anew.
                Err(error) if error.kind() == io::ErrorKind::Interrupted && begin.elapsed() < TIMEOUT => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    return Err(Error::Timeout { action: action.to_owned() });
                }
                Err(source) => return Err(Error::Talk { action: action.to_owned(), source }),
            }
        }
    }

    /// Takes the messages of one datagram apart.
    fn sort(
        &self,
        action: &str,
        mut bytes: &[u8],
        answers: &mut Vec<Message>,
        interrupted: &mut bool,
    ) -> Result<Progress, Error> {
        while !bytes.is_empty() {
            let packet = NetlinkBuffer::new_checked(bytes)
                .map_err(|source| Error::Decode { action: action.to_owned(), source: source.into() })?;
            // Checked above to lie within the bytes.
            let length = packet.length() as usize;
            bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
            // The answer to an earlier request that we gave up.
            if packet.sequence_number() != self.sequence || packet.port_number() != self.port {
                continue;
            }
            *interrupted |= packet.flags() & NLM_F_DUMP_INTR != 0;
            match packet.message_type() {
                NLMSG_NOOP => {}
                NLMSG_ERROR | NLMSG_DONE => {
                    return refusal(action, packet.payload()).map_or(Ok(Progress::End), Err);
                }
                NLMSG_OVERRUN => *interrupted = true,
                kind => answers.push(Message { kind, payload: packet.payload().to_vec() }),
            }
        }
        Ok(Progress::More)
    }
}

/// The error that an NLMSG_ERROR or the end of a dump carries; `None` is success.
fn refusal(action: &str, payload: &[u8]) -> Option<Error> {
    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
    if code == 0 {
        return None;
    }
    let detail = NlasIterator::new(payload.get(ERROR_HEAD..).unwrap_or_default())
        .map_while(Result::ok)
        .find(|attribute| attribute.kind() == NLMSGERR_ATTR_MSG)
        .map(|attribute| text(attribute.value()));
    let source = io::Error::from_raw_os_error(code.saturating_abs());
    Some(Error::Refused { action: action.to_owned(), detail, source })
}

/// A string attribute, without its closing NUL.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_carries_errno_and_words() {
        let mut payload = (-17i32).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        payload.extend([9, 0, 1, 0]);
        payload.extend(b"busy\0\0\0\0");
        let error = refusal("add bridge br0", &payload).unwrap();
        assert_eq!(error.to_string(), "cannot add bridge br0 (busy)");
        assert_eq!(error.errno(), Some(libc::EEXIST));
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("File exists"));
        assert!(refusal("x", &0i32.to_ne_bytes()).is_none());
        assert!(refusal("x", &[]).is_none());
        assert!(refusal("x", &i32::MIN.to_ne_bytes()).is_some());
    }

    #[test]
    fn hostile_bytes_are_an_error_and_not_a_panic() {
        let netlink = Netlink::open().unwrap();
        for length in [0u32, 1, 15, 17, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend([0; 12]);
            assert!(netlink.sort("x", &bytes, &mut vec![], &mut false).is_err(), "{length}");
        }
    }
}
