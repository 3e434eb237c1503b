//! The bridges.

use std::collections::HashMap;

use ipnetwork::IpNetwork;

use crate::error::Error;
use crate::host::Host;
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{Change, Finding, HostChange, Part};
use crate::model::interface::Slot;
use crate::model::name::InterfaceName;
use crate::net::Netlink;
use crate::net::bridge::{self, BridgeSpec, Ensured, Owner};
use crate::net::link::Link;
use crate::render::nft::Macs;
use crate::store::record::Record;

/// The bridges of a configuration, each with the host's addresses.
fn bridges(host: &Host) -> [BridgeSpec; 2] {
    let networks = &host.config.network;
    let (hostonly, internet) = (&networks.hostonly, &networks.internet);
    [
        BridgeSpec {
            name: hostonly.bridge.to_string(),
            address: hostonly.address,
            address6: None,
            mark: mark(host),
        },
        BridgeSpec {
            name: internet.bridge.to_string(),
            address: internet.address,
            address6: internet.ipv6.as_ref().map(|ipv6| ipv6.address),
            mark: mark(host),
        },
    ]
}

/// By which the bridges of this root are known: of several on one machine none sees what addresses the others have given.
fn mark(host: &Host) -> String {
    bridge::mark_of(host.layout.state())
}

/// A bridge of another root of this machine, where there is one. The table of the packet filter and the host's own name server
/// are one a network namespace, so that these are that root's as well.
fn of_another(host: &Host) -> Result<Option<(String, String)>, Error> {
    let mark = mark(host);
    let mut links = Netlink::open()?.links()?.into_iter().filter(Link::is_bridge);
    Ok(links.find_map(|link| match bridge::owner(&link, &mark) {
        Owner::Another(owner) => Some((link.name, owner)),
        _ => None,
    }))
}

/// That the networks here are not another root's.
pub(super) fn require_sole(host: &Host) -> Result<(), Error> {
    match of_another(host)? {
        Some((name, owner)) => Err(bridge::Error::AnotherRoot { name, owner }.into()),
        None => Ok(()),
    }
}

/// Whether they are.
pub(super) fn are_anothers(host: &Host) -> Result<bool, Error> {
    Ok(of_another(host)?.is_some())
}

/// That none of the bridges that a container is to be on is another root's.
pub(crate) fn require_own(host: &Host, bridges: &[&InterfaceName]) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    let mark = mark(host);
    bridges.iter().try_for_each(|name| Ok(bridge::require_own(&mut netlink, name.as_str(), &mark)?))
}

/// The names of those that we made.
pub(super) fn ours(host: &Host) -> Result<Vec<String>, Error> {
    let mut netlink = Netlink::open()?;
    let mut ours = Vec::new();
    for BridgeSpec { name, mark, .. } in bridges(host) {
        if netlink.link(&name)?.is_some_and(|link| bridge::owner(&link, &mark) == Owner::Ours) {
            ours.push(name);
        }
    }
    Ok(ours)
}

/// Their hardware addresses; of one that is not there, what it will have.
pub(super) fn macs(host: &Host) -> Result<Macs, Error> {
    let mut netlink = Netlink::open()?;
    let mut of = |name: &str| -> Result<[u8; 6], Error> {
        let there = netlink.link(name)?.and_then(|link| link.mac);
        Ok(there.unwrap_or_else(|| bridge::mac_of(name)))
    };
    let networks = &host.config.network;
    Ok(Macs {
        hostonly: of(networks.hostonly.bridge.as_str())?,
        internet: of(networks.internet.bridge.as_str())?,
    })
}

/// That no container is attached to one that `down` would remove.
pub(super) fn require_free(host: &Host) -> Result<(), Error> {
    let mut netlink = Netlink::open()?;
    for BridgeSpec { name, mark, .. } in bridges(host) {
        match bridge::require_free(&mut netlink, &name, &mark) {
            Err(bridge::Error::InUse { name, ports }) => {
                let ports = owned(host, ports);
                return Err(bridge::Error::InUse { name, ports }.into());
            }
            other => other?,
        }
    }
    Ok(())
}

/// These ports, each with the container that it is of. One that cannot be read, or is another host's, stays without.
fn owned(host: &Host, ports: Vec<String>) -> Vec<String> {
    let mut owners = HashMap::new();
    for name in Record::names(&host.layout).unwrap_or_default() {
        if let Ok(Some(record)) = Record::load(&host.layout, &name) {
            let id = record.interface_id(&host.layout);
            owners.extend(Slot::ALL.map(|slot| (id.host_name(slot), name.clone())));
        }
    }
    let words = |port: String| match owners.get(&port) {
        Some(name) => format!("container `{name}` ({port})"),
        None => port,
    };
    ports.into_iter().map(words).collect()
}

fn changed(bridge: &str, change: Change) -> HostChange {
    HostChange { part: Part::Bridge, name: bridge.to_owned(), change }
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut netlink = Netlink::open()?;
    let (mut changes, mut failures) = (Vec::new(), Vec::new());
    // What is in the way of one is no reason to leave the other unmade.
    for spec in bridges(host) {
        let change = match bridge::ensure(&mut netlink, &spec) {
            Ok(Ensured::Created) => Change::Made,
            Ok(Ensured::Completed) => Change::Mended,
            Ok(Ensured::Unchanged) => Change::Kept,
            Ok(Ensured::Foreign { .. }) => Change::Foreign,
            Err(error) => {
                failures.push((Part::Bridge, error.into()));
                continue;
            }
        };
        changes.push(changed(&spec.name, change));
    }
    if failures.is_empty() { Ok(changes) } else { Err(Error::HostParts { done: changes, failures }) }
}

pub(super) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for BridgeSpec { name, mark, .. } in bridges(host).into_iter().rev() {
        let change = match bridge::remove(&mut netlink, &name, &mark) {
            Ok(true) => Change::Removed,
            Ok(false) => Change::Absent,
            Err(bridge::Error::NotOurs { .. }) => Change::Foreign,
            Err(error) => return Err(error.into()),
        };
        changes.push(changed(&name, change));
    }
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let mut netlink = Netlink::open()?;
    let mut findings = Vec::new();
    if let Some((name, owner)) = of_another(host)? {
        let mend = Hint::from("one network namespace has the networks of one root: ").remedy(Remedy::HostDown).words(
            " with the configuration of that one gives them up; containers with a `network.bridge` of yours need none",
        );
        findings.push(Finding::wrong(
            Part::Bridge,
            name,
            format!("it is for the containers of {owner}"),
            mend,
        ));
    }
    for (spec, key) in bridges(host).into_iter().zip(["hostonly", "internet"]) {
        let in_the_way = bridge::in_the_way(&mut netlink, &spec)?;
        let BridgeSpec { name, address, address6, mark } = spec;
        let link = netlink.link(&name)?;
        let owner = link.as_ref().map_or(Owner::Ours, |link| bridge::owner(link, &mark));
        if matches!(owner, Owner::Another(_)) {
            continue;
        }
        let foreign = owner == Owner::Foreign;
        let is_bridge = link.as_ref().is_none_or(Link::is_bridge);
        let wanted: Vec<IpNetwork> =
            std::iter::once(address.into()).chain(address6.map(IpNetwork::from)).collect();
        let wrong = match link {
            None => Some("it is not there".to_owned()),
            Some(link) if !link.is_bridge() => Some("it is no bridge".to_owned()),
            Some(link) if !link.up => Some("it is down".to_owned()),
            Some(link) => {
                let there = netlink.addresses(link.index)?;
                let lacks = wanted.iter().find(|address| !there.contains(address));
                lacks.map(|address| format!("it lacks the address {address}"))
            }
        };
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let has = wanted.join(" and ");
        findings.push(match (wrong, in_the_way) {
            // `host up` would not give it the address, or nothing would come of it.
            (wrong, Some(way)) => {
                let what = wrong.map_or(way.clone(), |wrong| format!("{wrong}, and {way}"));
                let mend = format!(
                    "take that away, or choose another network for the containers (`network.{key}.address` of the host \
                     configuration), then "
                );
                let mend = Hint::from(mend).remedy(Remedy::HostUp);
                Finding::wrong(Part::Bridge, name, what, mend)
            }
            (Some(what), None) if !is_bridge => {
                let mend = format!(
                    "another interface has that name: choose another one (`network.{key}.bridge` of the host \
                     configuration), then "
                );
                let mend = Hint::from(mend).remedy(Remedy::HostUp);
                Finding::wrong(Part::Bridge, name, what, mend)
            }
            (Some(what), None) if foreign => {
                let all: Vec<String> =
                    wanted.iter().map(|address| format!("`ip addr add {address} dev {name}`")).collect();
                let mend = format!(
                    "it is not ours, and `host up` leaves it alone: `ip link set {name} up`, {}; or choose another name \
                     (`network.{key}.bridge` of the host configuration)",
                    all.join(", ")
                );
                Finding::wrong(Part::Bridge, name, format!("somebody else made it, and {what}"), mend)
            }
            (None, None) => Finding::good(Part::Bridge, name, format!("it is up and has {has}")),
            (Some(what), None) => Finding::wrong(Part::Bridge, name, what, Remedy::HostUp),
        });
    }
    Ok(findings)
}
