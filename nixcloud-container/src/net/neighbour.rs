//! What the host remembers of its neighbours: which MAC address has an IP address.
//!
//! The kernel keeps an entry for as long as it likes, and asks again only when the old MAC address has not answered for
//! a while: an address that another container has by then would not be reached for 40 s.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::addr;
use super::socket::{Error, Message, Netlink};

const RTM_NEWNEIGH: u16 = 28;
const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// What somebody set by hand, or what is no Ethernet address at all: it is theirs.
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;

/// An entry of the host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    index: u32,
    /// Its IP address.
    pub address: IpAddr,
    /// Its MAC address; `None` while it is asked for.
    pub mac: Option<[u8; 6]>,
}

impl Netlink {
    /// Forgets the neighbours that are chosen. What somebody set by hand stays.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn forget_neighbours(&mut self, chosen: &dyn Fn(&Neighbour) -> bool) -> Result<(), Error> {
        let action = "list neighbours";
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = NeighbourMessage::default();
            message.header.family = family;
            let answers = match self.dump(action, &RouteNetlinkMessage::GetNeighbour(message)) {
                // A kernel without IPv6.
                Err(error) if matches!(error.errno(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {
                    continue;
                }
                other => other?,
            };
            for answer in answers.iter().filter(|answer| answer.kind == RTM_NEWNEIGH) {
                let found = parse(answer)
                    .map_err(|source| Error::Decode { action: action.to_owned(), source: source.into() })?;
                if let Some(neighbour) = found.filter(chosen) {
                    self.forget(&neighbour, family)?;
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, neighbour: &Neighbour, family: AddressFamily) -> Result<(), Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        message.header.ifindex = neighbour.index;
        let address = match neighbour.address {
            IpAddr::V4(address) => NeighbourAddress::Inet(address),
            IpAddr::V6(address) => NeighbourAddress::Inet6(address),
        };
        message.attributes = vec![NeighbourAttribute::Destination(address)];
        let action = format!("forget the neighbour {}", neighbour.address);
        match self.request(&action, RouteNetlinkMessage::DelNeighbour(message)) {
            // The kernel, or its interface, was quicker.
            Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// `None` for an entry that is somebody's.
fn parse(answer: &Message) -> Result<Option<Neighbour>, DecodeError> {
    let payload = answer.payload.as_slice();
    let short = || DecodeError::from("a neighbour without a header".to_owned());
    let index = payload.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let state = payload.get(8..10).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let (index, state) = (index.ok_or_else(short)?, state.ok_or_else(short)?);
    if state & (NUD_NOARP | NUD_PERMANENT) != 0 {
        return Ok(None);
    }
    let (mut address, mut mac) = (None, None);
    for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            NDA_DST => address = addr::ip(attribute.value()),
            NDA_LLADDR => mac = attribute.value().try_into().ok(),
            _ => {}
        }
    }
    Ok(address.map(|address| Neighbour { index, address, mac }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_own_netns, ip};

    #[test]
    fn root_chosen_neighbours_are_forgotten_and_those_set_by_hand_stay() {
        in_own_netns(|| {
            ip("link add d0 type veth peer name d9");
            ip("link set d0 up");
            for (address, mac, state) in [
                ("10.9.0.2", "02:4e:00:00:00:01", "stale"),
                ("10.9.0.3", "02:4e:00:00:00:02", "reachable"),
                ("10.9.0.4", "02:4e:00:00:00:01", "permanent"),
                ("fd00::2", "02:4e:00:00:00:01", "stale"),
                ("fd00::3", "02:4e:00:00:00:02", "stale"),
            ] {
                ip(&format!("neigh add {address} lladdr {mac} dev d0 nud {state}"));
            }
            let mut netlink = Netlink::open().unwrap();
            let theirs = Some([2, 0x4e, 0, 0, 0, 1]);
            netlink.forget_neighbours(&|neighbour| neighbour.mac == theirs).unwrap();
            let left = ip("neigh show dev d0") + &ip("-6 neigh show dev d0");
            let left: Vec<&str> = left.lines().filter_map(|line| line.split(' ').next()).collect();
            for (address, stays) in [
                ("10.9.0.2", false),
                ("10.9.0.3", true),
                ("10.9.0.4", true),
                ("fd00::2", false),
                ("fd00::3", true),
            ] {
                assert_eq!(left.contains(&address), stays, "{address}: {left:?}");
            }
        });
    }
}
