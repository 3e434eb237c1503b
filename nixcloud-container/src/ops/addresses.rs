//! All addresses of a container: those that it is to have, and those that the running guest has.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::error::Error;
use crate::host::Host;
use crate::model::config::HostConfig;
use crate::model::name::ContainerName;
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::model::words::words;
use crate::net::{Netlink, netns};
use crate::store::history::Generations;
use crate::store::presence::{self, Presence};
use crate::store::record::Record;

/// The interfaces of a guest, as LXC names them.
const HOSTONLY: &str = "hostonly";
const INTERNET: &str = "internet";

/// An address of a container.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Address {
    /// The name of the interface in the guest.
    pub interface: String,
    /// The address, with the length of its prefix.
    pub address: IpNetwork,
    /// The place from which the address comes.
    pub origin: Origin,
    /// Whether the running guest has it now.
    pub live: bool,
}

setters!(Address: "One that is not on a running guest." (interface: String, address: IpNetwork, origin: Origin) {
    with_live => live: bool,
});

/// Where an address comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Origin {
    /// The pool of the host-only network: kept for the container's life.
    Leased,
    /// The container file.
    Fixed,
    /// A DHCP server: ours, which always gives it the same one, or that of its own bridge.
    Dhcp,
    /// The guest itself: a router's prefix, or somebody in it.
    Guest,
}

words!(Origin {
    Leased => "leased",
    Fixed => "fixed",
    Dhcp => "dhcp",
    Guest => "guest",
});

/// Those that it is to have come first, in the order of its interfaces. Nothing is run in the guest.
pub(crate) fn all(host: &Host, name: &ContainerName) -> Result<Vec<Address>, Error> {
    let record = host.record(name)?;
    let generations = Generations::new(&host.layout, name);
    let spec = generations.current().and_then(|id| generations.spec(id)).ok();
    let planned = spec.as_ref().map(|spec| planned(&record, spec, &host.config)).unwrap_or_default();
    let dhcp = spec.is_some_and(|spec| spec.effective.ip.is_none());
    let live = match presence::look(&host.layout, &record)?.init {
        Some(init) => netns::addresses_of_netns_of(&mut Netlink::open()?, init.pid.unsigned_abs())?,
        None => Vec::new(),
    };
    Ok(merged(planned, live, dhcp))
}

/// What a running guest lacks of the addresses that it is to have: those of the generation that it was booted from. `None` where it
/// lacks nothing; without one where its bridge would give it any. IPv6 behind NAT is left out: the guest asks for it or not.
pub(crate) fn lacking(host: &Host, record: &Record, here: &Presence) -> Result<Option<Vec<IpAddr>>, Error> {
    let Some(init) = here.init else { return Ok(Some(Vec::new())) };
    let generations = Generations::new(&host.layout, &record.name);
    let spec = generations.spec(here.booted().map_or_else(|| generations.current(), Ok)?)?;
    let live = netns::addresses_of_netns_of(&mut Netlink::open()?, init.pid.unsigned_abs())?;
    let given = spec.effective.ip.is_none();
    let all = merged(planned(record, &spec, &host.config), live, given);
    let is_asked_for = |one: &Address| one.origin == Origin::Dhcp && one.address.is_ipv6();
    let lacks: Vec<IpAddr> =
        all.iter().filter(|one| !one.live && !is_asked_for(one)).map(|one| one.address.ip()).collect();
    let has_given = || all.iter().any(|one| one.live && one.interface == HOSTONLY);
    Ok((!lacks.is_empty() || given && !has_given()).then_some(lacks))
}

/// What a generation asks for.
fn planned(record: &Record, spec: &ContainerSpec, config: &HostConfig) -> Vec<Address> {
    let network = &spec.network;
    let address = |interface: &str, address: IpAddr, prefix: u8, origin| {
        let address = IpNetwork::new(address, prefix).ok()?;
        Some(Address { interface: interface.to_owned(), address, origin, live: false })
    };
    let four = spec.effective.ip.zip(spec.effective.prefix_length).and_then(|(ip, prefix)| {
        let origin = if record.lease == Some(ip) { Origin::Leased } else { Origin::Fixed };
        address(HOSTONLY, ip.into(), prefix, origin)
    });
    let six = network.ip6.zip(network.prefix_length6);
    let six = six.and_then(|(ip, prefix)| address(HOSTONLY, ip.into(), prefix, Origin::Fixed));
    let outside = record.internet.filter(|_| network.enable_nat);
    let internet = &config.network.internet;
    let outside4 =
        outside.and_then(|ip| address(INTERNET, ip.into(), internet.address.prefix(), Origin::Dhcp));
    // DHCPv6 gives addresses, and leaves networks to the router.
    let outside6 = outside.and_then(|ip| internet.ipv6_of(ip));
    let outside6 = outside6.and_then(|ip| address(INTERNET, ip.into(), 128, Origin::Dhcp));
    [four, six, outside4, outside6].into_iter().flatten().collect()
}

/// `dhcp`: the bridge of the first interface gives it an address.
fn merged(mut planned: Vec<Address>, live: Vec<(String, IpNetwork)>, dhcp: bool) -> Vec<Address> {
    for (interface, address) in live {
        if !is_reachable(address.ip()) {
            continue;
        }
        let of_plan =
            |planned: &&mut Address| planned.interface == interface && planned.address.ip() == address.ip();
        match planned.iter_mut().find(of_plan) {
            Some(planned) => (planned.live, planned.address) = (true, address),
            None => {
                let given = dhcp && interface == HOSTONLY && address.is_ipv4();
                let origin = if given { Origin::Dhcp } else { Origin::Guest };
                planned.push(Address { interface, address, origin, live: true });
            }
        }
    }
    planned
}

/// Whether somebody else can reach it: neither loopback nor link-local.
pub(crate) fn is_reachable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(interface: &str, address: &str, origin: Origin, live: bool) -> Address {
        Address { interface: interface.into(), address: address.parse().unwrap(), origin, live }
    }

    fn seen(all: &[(&str, &str)]) -> Vec<(String, IpNetwork)> {
        all.iter().map(|(interface, address)| ((*interface).to_owned(), address.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_planned_is_live_where_it_is_seen_on_its_interface() {
        let planned = vec![
            at("hostonly", "10.101.0.2/16", Origin::Leased, false),
            at("internet", "10.202.0.10/16", Origin::Dhcp, false),
        ];
        let live = seen(&[
            ("lo", "127.0.0.1/8"),
            ("lo", "::1/128"),
            ("hostonly", "10.101.0.2/16"),
            ("hostonly", "fe80::1/64"),
            ("other", "10.202.0.10/24"),
            ("hostonly", "192.0.2.7/24"),
        ]);
        assert_eq!(
            merged(planned, live, false),
            [
                at("hostonly", "10.101.0.2/16", Origin::Leased, true),
                at("internet", "10.202.0.10/16", Origin::Dhcp, false),
                at("other", "10.202.0.10/24", Origin::Guest, true),
                at("hostonly", "192.0.2.7/24", Origin::Guest, true),
            ]
        );
    }

    #[test]
    fn a_bridge_that_gives_addresses_is_told_from_the_guest() {
        let live = seen(&[("hostonly", "10.9.0.5/24"), ("hostonly", "fd00::5/64")]);
        assert_eq!(
            merged(Vec::new(), live, true),
            [
                at("hostonly", "10.9.0.5/24", Origin::Dhcp, true),
                at("hostonly", "fd00::5/64", Origin::Guest, true),
            ]
        );
    }
}
