//! Addresses of interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeader, AddressMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Error, Message, Netlink};

const RTM_NEWADDR: u16 = 20;
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_TARGET_NETNSID: u16 = 10;

/// An address as a dump gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) index: u32,
    pub(super) address: IpNetwork,
    /// The network namespace that the kernel says it looked into.
    pub(super) netns: Option<i32>,
}

impl Netlink {
    /// The addresses of the interface with this index, in the kernel's order.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn addresses(&mut self, index: u32) -> Result<Vec<IpNetwork>, Error> {
        let all = self.all_addresses()?;
        Ok(all.into_iter().filter(|&(at, _)| at == index).map(|(_, address)| address).collect())
    }

    /// The addresses of all interfaces, each with its interface's index.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn all_addresses(&mut self) -> Result<Vec<(u32, IpNetwork)>, Error> {
        let entries = self.dump_addresses("list addresses", AddressMessage::default())?;
        Ok(entries.into_iter().map(|entry| (entry.index, entry.address)).collect())
    }

    pub(super) fn dump_addresses(
        &mut self,
        action: &str,
        message: AddressMessage,
    ) -> Result<Vec<Entry>, Error> {
        let answers = self.dump(action, &RouteNetlinkMessage::GetAddress(message))?;
        parse_all(action, &answers)
    }

    /// Gives the interface `name`, whose index is `index`, an address with its prefix. An IPv4 network of more than
    /// two addresses gets its broadcast address too (the kernel sets none by itself). An IPv6 address is usable at
    /// once, without waiting for duplicates to answer: a bridge without ports could wait for ever.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EEXIST` if the interface has it already.
    pub fn add_address(&mut self, name: &str, index: u32, address: IpNetwork) -> Result<(), Error> {
        let mut message = message(index, address);
        match address {
            IpNetwork::V4(v4) if v4.prefix() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(v4.broadcast()));
            }
            IpNetwork::V4(_) => {}
            IpNetwork::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
        }
        self.create(&format!("add address {address} to {name}"), RouteNetlinkMessage::NewAddress(message))
    }

    /// Takes an address from the interface `name`, whose index is `index`.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EADDRNOTAVAIL` if it has no such address with that prefix.
    pub fn delete_address(&mut self, name: &str, index: u32, address: IpNetwork) -> Result<(), Error> {
        let action = format!("delete address {address} of {name}");
        self.request(&action, RouteNetlinkMessage::DelAddress(message(index, address))).map(drop)
    }
}

fn message(index: u32, address: IpNetwork) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = address.prefix();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.attributes = vec![AddressAttribute::Local(address.ip()), AddressAttribute::Address(address.ip())];
    message
}

/// Whether `other`, which another interface has, leaves no room for `wanted` on one of ours: the same network, or a
/// part of it. A wider one (a company's 10.0.0.0/8) is no conflict: the narrower route wins, unless it is the very
/// same address.
pub(super) fn conflicts(wanted: Ipv4Network, other: IpNetwork) -> bool {
    let IpNetwork::V4(other) = other else { return false };
    other.ip() == wanted.ip() || (other.prefix() >= wanted.prefix() && wanted.contains(other.ip()))
}

fn parse_all(action: &str, answers: &[Message]) -> Result<Vec<Entry>, Error> {
    answers
        .iter()
        .filter(|answer| answer.kind == RTM_NEWADDR)
        .filter_map(|answer| parse(&answer.payload).transpose())
        .map(|entry| {
            entry.map_err(|source| Error::Decode { action: action.to_owned(), source: source.into() })
        })
        .collect()
}

/// `None` for families that have no IP addresses. Only what is needed is read, see [`super::link`].
fn parse(payload: &[u8]) -> Result<Option<Entry>, DecodeError> {
    let header = AddressHeader::parse(payload)?;
    let (mut address, mut local, mut netns) = (None, None, None);
    for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            IFA_ADDRESS => address = ip(attribute.value()),
            IFA_LOCAL => local = ip(attribute.value()),
            IFA_TARGET_NETNSID => netns = attribute.value().try_into().ok().map(i32::from_ne_bytes),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's.
    let Some(found) = local.or(address) else { return Ok(None) };
    let address = IpNetwork::new(found, header.prefix_len)
        .map_err(|error| DecodeError::from(format!("{found}: {error}")))?;
    Ok(Some(Entry { index: header.index, address, netns }))
}

/// An address of the kernel's, by its length.
pub(super) fn ip(value: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(value).ok().map(|octets| Ipv4Addr::from(octets).into());
    let v6 = || <[u8; 16]>::try_from(value).ok().map(|octets| Ipv6Addr::from(octets).into());
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_own_netns, ip};

    #[test]
    fn a_wider_network_is_no_conflict_and_the_same_or_a_part_is() {
        let wanted: Ipv4Network = "10.101.0.1/16".parse().unwrap();
        let on = |other: &str| conflicts(wanted, other.parse().unwrap());
        for other in ["10.101.7.9/16", "10.101.3.1/24", "10.101.0.9/32", "10.101.0.1/8"] {
            assert!(on(other), "{other}");
        }
        for other in ["10.0.0.5/8", "10.102.0.1/16", "192.168.1.1/24", "fe80::1/64"] {
            assert!(!on(other), "{other}");
        }
    }

    #[test]
    fn loopback_has_its_address_without_root() {
        let addresses = Netlink::open().unwrap().addresses(1).unwrap();
        assert!(addresses.contains(&"127.0.0.1/8".parse().unwrap()), "{addresses:?}");
    }

    #[test]
    fn root_addresses_are_added_read_and_deleted() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            netlink.add_bridge("br0", "mark", None).unwrap();
            netlink.set_up("br0").unwrap();
            let index = netlink.link("br0").unwrap().unwrap().index;
            let wanted: Vec<IpNetwork> = ["10.101.0.1/16", "10.9.0.1/31", "10.9.1.1/32", "fd00:1::1/64"]
                .iter()
                .map(|address| address.parse().unwrap())
                .collect();
            for &address in &wanted {
                netlink.add_address("br0", index, address).unwrap();
            }
            let mut found = netlink.addresses(index).unwrap();
            found.retain(|address| !matches!(address, IpNetwork::V6(v6) if v6.ip().is_unicast_link_local()));
            assert_eq!(found, wanted);
            let shown = ip("addr show br0");
            assert!(shown.contains("inet 10.101.0.1/16 brd 10.101.255.255 "), "{shown}");
            assert!(shown.contains("inet 10.9.0.1/31 scope"), "{shown}");
            assert!(shown.contains("fd00:1::1/64 scope global nodad"), "{shown}");

            let twice = netlink.add_address("br0", index, wanted[0]).unwrap_err();
            assert_eq!(twice.errno(), Some(libc::EEXIST));
            assert!(twice.to_string().starts_with("cannot add address 10.101.0.1/16 to br0"), "{twice}");
            netlink.delete_address("br0", index, wanted[0]).unwrap();
            assert!(!netlink.addresses(index).unwrap().contains(&wanted[0]));
            let gone = netlink.delete_address("br0", index, wanted[0]).unwrap_err();
            assert_eq!(gone.errno(), Some(libc::EADDRNOTAVAIL));
        });
    }
}
