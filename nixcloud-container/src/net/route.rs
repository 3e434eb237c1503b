//! Routes of the host that lead elsewhere what is for one of our networks.

use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Error, Message, Netlink};

const RTM_NEWROUTE: u16 = 24;
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_TABLE: u16 = 15;
/// Where the kernel itself notes its own addresses.
const LOCAL: u32 = 255;
/// Copies of routes that were used, which older kernels list.
const CLONED: u32 = 0x200;

/// A route for IPv4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// What it is for.
    pub network: Ipv4Network,
    /// The index of the interface that it leads to; `None` where it leads to none, or to several.
    pub index: Option<u32>,
    /// The table that it is in; 254 is the main one.
    pub table: u32,
}

impl Netlink {
    /// The routes for IPv4 of all tables, but not those to the host's own addresses.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let action = "list routes";
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        let answers = self.dump(action, &RouteNetlinkMessage::GetRoute(message))?;
        let mut routes = Vec::new();
        for answer in answers.iter().filter(|answer| answer.kind == RTM_NEWROUTE) {
            let route = parse(answer)
                .map_err(|source| Error::Decode { action: action.to_owned(), source: source.into() })?;
            routes.extend(route.filter(|route| route.table != LOCAL));
        }
        Ok(routes)
    }

    /// The route that the host takes to an address, by its policy, too.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] where there is none, or one that refuses.
    pub fn route_to(&mut self, address: Ipv4Addr) -> Result<Option<Route>, Error> {
        let action = format!("find the way to {address}");
        let mut message = RouteMessage::default();
        message.header.address_family = AddressFamily::Inet;
        message.header.destination_prefix_length = 32;
        message.attributes = vec![RouteAttribute::Destination(RouteAddress::Inet(address))];
        let answers = self.request(&action, RouteNetlinkMessage::GetRoute(message))?;
        let Some(answer) = answers.iter().find(|answer| answer.kind == RTM_NEWROUTE) else { return Ok(None) };
        // The kernel answers with a copy that it made for this address.
        parse_any(answer).map_err(|source| Error::Decode { action, source: source.into() })
    }
}

/// Whether a route leads away what is for `wanted`, or a part of that. A wider one gives way to that of the bridge.
pub(super) fn conflicts(wanted: Ipv4Network, route: &Route) -> bool {
    route.network.prefix() >= wanted.prefix() && wanted.contains(route.network.ip())
}

fn parse(answer: &Message) -> Result<Option<Route>, DecodeError> {
    let flags =
        answer.payload.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    if flags & CLONED != 0 { Ok(None) } else { parse_any(answer) }
}

fn parse_any(answer: &Message) -> Result<Option<Route>, DecodeError> {
    let payload = answer.payload.as_slice();
    let [family, prefix, _, _, table, ..] = *payload else {
        return Err(DecodeError::from("a route without a header".to_owned()));
    };
    if i32::from(family) != libc::AF_INET {
        return Ok(None);
    }
    let (mut network, mut index, mut table) = (Ipv4Addr::UNSPECIFIED, None, u32::from(table));
    for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        let four = <[u8; 4]>::try_from(attribute.value()).ok();
        match attribute.kind() {
            RTA_DST => network = four.map_or(network, Ipv4Addr::from),
            RTA_OIF => index = four.map(u32::from_ne_bytes),
            RTA_TABLE => table = four.map_or(table, u32::from_ne_bytes),
            _ => {}
        }
    }
    let network = Ipv4Network::new(network, prefix)
        .map_err(|error| DecodeError::from(format!("{network}/{prefix}: {error}")))?;
    Ok(Some(Route { network, index, table }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_own_netns, ip};

    #[test]
    fn root_routes_of_all_tables_are_read_and_the_policy_is_followed() {
        in_own_netns(|| {
            for line in [
                "link add d0 type veth peer name d8",
                "link set d0 up",
                "addr add 192.0.2.1/24 dev d0",
                "link add d1 type veth peer name d9",
                "link set d1 up",
                "addr add 10.101.0.1/16 dev d1",
                "route add 10.101.7.0/24 via 192.0.2.9",
                "route add blackhole 10.101.8.0/24",
                "route add default via 192.0.2.9 table 7007",
            ] {
                ip(line);
            }
            let mut netlink = Netlink::open().unwrap();
            let index =
                |netlink: &mut Netlink, name: &str| netlink.link(name).unwrap().map(|link| link.index);
            let (d0, d1) = (index(&mut netlink, "d0"), index(&mut netlink, "d1"));
            let wanted: Ipv4Network = "10.101.0.1/16".parse().unwrap();
            let routes = netlink.routes().unwrap();
            let mut found: Vec<(String, Option<u32>)> = routes
                .iter()
                .filter(|route| conflicts(wanted, route))
                .map(|route| (route.network.to_string(), route.index))
                .collect();
            found.sort();
            assert_eq!(
                found,
                [
                    ("10.101.0.0/16".to_owned(), d1),
                    ("10.101.7.0/24".to_owned(), d0),
                    ("10.101.8.0/24".to_owned(), None)
                ]
            );
            assert!(routes.iter().any(|route| route.table == 7007 && route.network.prefix() == 0));
            let to = |netlink: &mut Netlink, address: &str| {
                netlink.route_to(address.parse().unwrap()).map(|route| route.and_then(|route| route.index))
            };
            assert_eq!(to(&mut netlink, "10.101.0.2").unwrap(), d1);
            assert_eq!(to(&mut netlink, "10.101.7.2").unwrap(), d0);
            assert!(to(&mut netlink, "10.101.8.2").is_err());
            ip("rule add to 10.101.0.0/16 lookup 7007");
            assert_eq!(to(&mut netlink, "10.101.0.2").unwrap(), d0);
        });
    }
}
