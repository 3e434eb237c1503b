//! A container's port of a bridge: what its policy comes to in the kernel, put there and looked at.
//!
//! All of it is at the port itself. It ends with it, so that LXC has it set again at each boot of the guest; and it is
//! no part of the host's packet filter, so that nobody flushes it.

use ipnetwork::IpNetwork;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};

use super::filter::asm::{Assembler, Program};
use super::filter::{Bridge, from_guest, to_guest};
use super::link::{GROUPS, Link};
use super::socket::{self, Netlink};
use super::tc::{Filter, MATCH, OK, SHOT, Side};
use crate::model::bridge_port::{Fate, PortPolicy};
use crate::model::interface::Mac;

/// Why a port is not as it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such interface.
    #[error("there is no interface {name}")]
    #[non_exhaustive]
    Missing {
        /// Its name.
        name: String,
    },
    /// It is not at a bridge of the kernel's.
    #[error("interface {name} is no port of a bridge")]
    #[non_exhaustive]
    NoPort {
        /// Its name.
        name: String,
    },
    /// The kernel cannot isolate a port.
    #[error("cannot isolate bridge port {name}")]
    #[non_exhaustive]
    Isolate {
        /// Its name.
        name: String,
        /// The error that this one follows from.
        source: socket::Error,
    },
    /// The kernel has no packet filter programs for interfaces.
    #[error("this kernel lacks what filters a port (sch_clsact and cls_bpf)")]
    #[non_exhaustive]
    Unsupported {
        /// What the kernel said.
        source: socket::Error,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] socket::Error),
}

/// What is wrong with a port, in words that follow its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The filter of what the guest sends is not there, or not the one that should be.
    Sends,
    /// As `Sends`: the filter is that of the addresses that the host had on the bridge when it was made.
    Moved,
    /// As `Sends`, for what the guest gets.
    Gets,
    /// The bridge does not keep it from other isolated ports.
    Isolation,
    /// It gets frames that are not for it.
    Flood,
    /// It may take all of the bridge's multicast groups.
    Groups,
    /// It is at no bridge.
    NoPort,
}

impl Fault {
    /// What is wrong.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sends => "what the guest sends is not filtered as it should be",
            Self::Moved => {
                "the host's addresses on its bridge have changed since: those that came are not reached, where only the host is"
            }
            Self::Gets => "what the guest gets is not filtered as it should be",
            Self::Isolation => "its bridge does not isolate it as it should",
            Self::Flood => "it gets frames that are for others",
            Self::Groups => "it may take all of the bridge's multicast groups",
            Self::NoPort => "it is at no bridge",
        }
    }
}

/// The filters that a policy comes to.
struct Filters {
    /// What matches is let through.
    sends: Filter,
    /// The rest is not. A program of its own, since the kernel takes one that reads beyond a packet as not matching.
    rest: Filter,
    gets: Filter,
}

impl Filters {
    fn new(policy: &PortPolicy, bridge: &Bridge) -> Self {
        let filter = |priority, decides, program| Filter { priority, decides, program };
        Self {
            sends: filter(1, false, from_guest::program(policy, bridge, MATCH)),
            rest: filter(2, true, nothing()),
            gets: filter(1, true, to_guest::program(policy, OK, SHOT)),
        }
    }
}

/// Drops everything.
fn nothing() -> Program {
    Assembler::new(OK, SHOT).finish()
}

/// Sets a port, whatever it was before. Until that is done, a new one lets nothing of the guest through.
///
/// # Errors
///
/// [`Error`]; then the port may be half set, and lets less through and not more.
pub fn set(netlink: &mut Netlink, name: &str, policy: &PortPolicy) -> Result<(), Error> {
    let (link, bridge) = look(netlink, name, policy)?;
    let filters = Filters::new(policy, &bridge);
    let unsupported = |source: socket::Error| match source.errno() {
        Some(libc::ENOENT | libc::EOPNOTSUPP) => Error::Unsupported { source },
        _ => source.into(),
    };
    netlink.allow_filters(name, link.index).map_err(unsupported)?;
    netlink.put_filter(name, link.index, Side::In, &filters.rest).map_err(unsupported)?;
    netlink
        .set_port(name, policy.isolated, false)
        .map_err(|source| Error::Isolate { name: name.to_owned(), source })?;
    netlink.pin(name, link.index, policy.mac)?;
    netlink.put_filter(name, link.index, Side::Out, &filters.gets).map_err(unsupported)?;
    netlink.put_filter(name, link.index, Side::In, &filters.sends).map_err(unsupported)?;
    Ok(())
}

/// What is wrong with a port.
///
/// # Errors
///
/// When it cannot be looked at.
pub fn faults(netlink: &mut Netlink, name: &str, policy: &PortPolicy) -> Result<Vec<Fault>, Error> {
    let (link, bridge) = match look(netlink, name, policy) {
        Err(Error::NoPort { .. }) => return Ok(vec![Fault::NoPort]),
        other => other?,
    };
    let filters = Filters::new(policy, &bridge);
    let mut faults = Vec::new();
    let sends = netlink.filters(name, link.index, Side::In)?;
    // One before ours could let anything through.
    let is_there = |wanted: &Filters| matches!(&sends[..], [first, second, ..] if first.is(&wanted.sends) && second.is(&wanted.rest));
    if !is_there(&filters) {
        let before = earlier(&bridge).into_iter().map(|bridge| Filters::new(policy, &bridge));
        let moved = before.into_iter().any(|filters| is_there(&filters));
        faults.push(if moved { Fault::Moved } else { Fault::Sends });
    }
    let gets = netlink.filters(name, link.index, Side::Out)?;
    if !gets.first().is_some_and(|first| first.is(&filters.gets)) {
        faults.push(Fault::Gets);
    }
    let port = link.port.unwrap_or_default();
    if port.isolated != policy.isolated {
        faults.push(Fault::Isolation);
    }
    if port.flood {
        faults.push(Fault::Flood);
    }
    if port.groups.is_some_and(|groups| groups != GROUPS) {
        faults.push(Fault::Groups);
    }
    Ok(faults)
}

/// What a bridge may have been before an address came, or all of a version of IP.
fn earlier(bridge: &Bridge) -> Vec<Bridge> {
    let without = |gone: &dyn Fn(&IpNetwork) -> bool| {
        let addresses = bridge.addresses.iter().copied().filter(|address| !gone(address)).collect();
        Bridge { macs: bridge.macs.clone(), addresses }
    };
    let singly = bridge.addresses.iter().map(|address| without(&|other| other == address));
    singly.chain([without(&IpNetwork::is_ipv6), without(&IpNetwork::is_ipv4), without(&|_| true)]).collect()
}

/// The port, and what its programs need of its bridge.
fn look(netlink: &mut Netlink, name: &str, policy: &PortPolicy) -> Result<(Link, Bridge), Error> {
    let link = netlink.link(name)?.ok_or_else(|| Error::Missing { name: name.to_owned() })?;
    let (Some(master), Some(_)) = (link.master, link.port) else {
        return Err(Error::NoPort { name: name.to_owned() });
    };
    let mut bridge = Bridge::default();
    let uses = |wanted: &[Fate]| policy.to.iter().any(|to| wanted.contains(&to.fate));
    if uses(&[Fate::Lan]) {
        let mac = netlink.link_at(master)?.and_then(|bridge| bridge.mac);
        bridge.macs = mac.into_iter().chain(link.mac).map(Mac).collect();
    }
    if uses(&[Fate::Lan, Fate::Host, Fate::Peers]) {
        // Link-local ones come and go with the bridge's state, and are let through anyway.
        let local =
            |address: &IpNetwork| matches!(address, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local());
        bridge.addresses = netlink.addresses(master)?;
        bridge.addresses.retain(|address| !local(address));
        bridge.addresses.sort();
    }
    Ok((link, bridge))
}

impl Netlink {
    /// Tells a bridge that this MAC address is at this port and nowhere else. It would learn that from frames, and
    /// forget it; and it would believe another port.
    fn pin(&mut self, name: &str, index: u32, mac: Mac) -> Result<(), socket::Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = index;
        message.header.state = NeighbourState::Noarp;
        message.header.flags = NeighbourFlags::Controller | NeighbourFlags::Sticky;
        message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
        let action = format!("pin the MAC address of {name}");
        self.put(&action, RouteNetlinkMessage::NewNeighbour(message))
    }
}

#[cfg(test)]
#[path = "bridge_port_tests.rs"]
mod tests;
