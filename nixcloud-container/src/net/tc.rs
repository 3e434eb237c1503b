//! Packet filter programs at an interface: what it gets and what it is given to send, before any other part of the
//! network sees it. They end with the interface, and no packet filter of the host knows of them.

use netlink_packet_core::{DecodeError, DefaultNla, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcHeader, TcMessage};

use super::filter::asm::Program;
use super::socket::{Error, Message, Netlink, text};

const RTM_NEWTFILTER: u16 = 44;
const HEADER: usize = 20;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_OPS_LEN: u16 = 4;
const TCA_BPF_OPS: u16 = 5;
const TCA_BPF_FLAGS: u16 = 8;
/// The program's answer is what becomes of the packet, and not whether it matches.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;

/// All protocols (`ETH_P_ALL`).
const ALL: u16 = 3;
/// The one filter of a priority.
const HANDLE: u32 = 1;

/// What a program answers that decides: the packet goes on, the packet is dropped.
pub const OK: u32 = 0;
/// See [`OK`].
pub const SHOT: u32 = 2;
/// What a program answers that matches; 0 is no match, and the next filter is asked.
pub const MATCH: u32 = u32::MAX;

/// Which way packets go, seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What comes from the interface.
    In,
    /// What goes out by it.
    Out,
}

/// A filter at an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The lower is asked first.
    pub priority: u16,
    /// Whether its answer decides ([`OK`], [`SHOT`]). One that does not lets a packet through where it matches.
    pub decides: bool,
    /// Its program.
    pub program: Program,
}

/// What is known of a filter that somebody put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The lower is asked first.
    pub priority: u16,
    decides: bool,
    bytes: Option<Vec<u8>>,
}

impl Found {
    /// Whether it is this filter.
    #[must_use]
    pub fn is(&self, filter: &Filter) -> bool {
        self.priority == filter.priority
            && self.decides == filter.decides
            && self.bytes.as_deref() == Some(filter.program.bytes().as_slice())
    }
}

impl Netlink {
    /// Lets an interface have filters, both ways. One that may have them already is left as it is.
    ///
    /// # Errors
    ///
    /// [`Error`], with `ENOENT` where the kernel has no filters of this kind.
    pub fn allow_filters(&mut self, name: &str, index: u32) -> Result<(), Error> {
        let mut message = at(index, TcHandle::CLSACT);
        message.header.handle = TcHandle { major: u16::MAX, minor: 0 };
        message.attributes = vec![TcAttribute::Kind("clsact".to_owned())];
        let action = format!("prepare {name} for filters");
        match self.create(&action, RouteNetlinkMessage::NewQueueDiscipline(message)) {
            Err(error) if error.errno() == Some(libc::EEXIST) => Ok(()),
            other => other,
        }
    }

    /// Puts a filter there, in place of the one of that priority.
    ///
    /// # Errors
    ///
    /// [`Error`], with `ENOENT` where the kernel has no filters of this kind.
    pub fn put_filter(&mut self, name: &str, index: u32, side: Side, filter: &Filter) -> Result<(), Error> {
        let mut message = at(index, parent(side));
        message.header.handle = HANDLE.into();
        message.header.info = u32::from(filter.priority) << 16 | u32::from(ALL.to_be());
        let bytes = filter.program.bytes();
        let count = u16::try_from(filter.program.0.len()).unwrap_or(u16::MAX);
        let mut options = Vec::with_capacity(bytes.len() + 32);
        attribute(&mut options, TCA_BPF_OPS_LEN, &count.to_ne_bytes());
        attribute(&mut options, TCA_BPF_OPS, &bytes);
        if filter.decides {
            attribute(&mut options, TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes());
        }
        message.attributes = vec![
            TcAttribute::Kind("bpf".to_owned()),
            TcAttribute::Other(DefaultNla::new(TCA_OPTIONS, options)),
        ];
        self.put(&format!("filter {name}"), RouteNetlinkMessage::NewTrafficFilter(message))
    }

    /// The filters that are there, those first that are asked first; of another kind too.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn filters(&mut self, name: &str, index: u32, side: Side) -> Result<Vec<Found>, Error> {
        let action = format!("list the filters of {name}");
        let message = RouteNetlinkMessage::GetTrafficFilter(at(index, parent(side)));
        let answers = match self.dump(&action, &message) {
            // It may have none.
            Err(error) if matches!(error.errno(), Some(libc::EINVAL | libc::ENOENT)) => return Ok(Vec::new()),
            other => other?,
        };
        let mut found = Vec::new();
        for answer in answers.iter().filter(|answer| answer.kind == RTM_NEWTFILTER) {
            let parsed = parse(answer)
                .map_err(|source| Error::Decode { action: action.clone(), source: source.into() })?;
            found.extend(parsed);
        }
        found.sort_by_key(|filter| filter.priority);
        Ok(found)
    }
}

fn at(index: u32, parent: TcHandle) -> TcMessage {
    let mut message = TcMessage::with_index(index.cast_signed());
    message.header.parent = parent;
    message
}

fn parent(side: Side) -> TcHandle {
    let minor = match side {
        Side::In => TcHandle::MIN_INGRESS,
        Side::Out => TcHandle::MIN_EGRESS,
    };
    TcHandle { major: u16::MAX, minor }
}

/// An attribute with its padding.
fn attribute(options: &mut Vec<u8>, kind: u16, value: &[u8]) {
    options.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    options.extend(kind.to_ne_bytes());
    options.extend(value);
    options.resize(options.len().next_multiple_of(4), 0);
}

/// `None` for the head of a priority, which is no filter.
fn parse(answer: &Message) -> Result<Option<Found>, DecodeError> {
    let header = TcHeader::parse(&answer.payload)?;
    if u32::from(header.handle) == 0 {
        return Ok(None);
    }
    let priority = u16::try_from(header.info >> 16).unwrap_or(0);
    let mut found = Found { priority, decides: false, bytes: None };
    let mut is_program = false;
    let mut options = Vec::new();
    for attribute in NlasIterator::new(answer.payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            TCA_KIND => is_program = text(attribute.value()) == "bpf",
            TCA_OPTIONS => options = attribute.value().to_vec(),
            _ => {}
        }
    }
    if !is_program {
        return Ok(Some(found));
    }
    for option in NlasIterator::new(options.as_slice()) {
        let option = option?;
        match option.kind() {
            TCA_BPF_OPS => found.bytes = Some(option.value().to_vec()),
            TCA_BPF_FLAGS => {
                let flags = option.value().try_into().map_or(0, u32::from_ne_bytes);
                found.decides = flags & TCA_BPF_FLAG_ACT_DIRECT != 0;
            }
            _ => {}
        }
    }
    Ok(Some(found))
}
