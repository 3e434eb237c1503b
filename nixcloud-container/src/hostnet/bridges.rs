//! The bridges.

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{Change, Finding, HostChange, Part, Verdict};
use crate::error::Error;
use crate::host::Host;
use crate::name::InterfaceName;
use crate::net::Netlink;
use crate::net::bridge::{self, BridgeSpec, Outcome};

/// The bridges of a configuration, each with the host's address.
fn bridges(host: &Host) -> [(&InterfaceName, Ipv4Network); 2] {
    let networks = &host.config.network;
    [
        (&networks.hostonly.bridge, networks.hostonly.address),
        (&networks.internet.bridge, networks.internet.address),
    ]
}

fn changed(bridge: &InterfaceName, change: Change) -> HostChange {
    HostChange { part: Part::Bridge, name: bridge.to_string(), change }
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for (name, address) in bridges(host) {
        let spec = BridgeSpec { name: name.to_string(), address };
        let change = match bridge::ensure(&mut netlink, &spec)? {
            Outcome::Created => Change::Made,
            Outcome::Completed => Change::Mended,
            Outcome::Unchanged => Change::Kept,
            Outcome::Foreign { .. } => Change::Foreign,
        };
        changes.push(changed(name, change));
    }
    Ok(changes)
}

pub(super) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for (name, _) in bridges(host).into_iter().rev() {
        let change = match bridge::remove(&mut netlink, name.as_str()) {
            Ok(true) => Change::Removed,
            Ok(false) => Change::Absent,
            Err(bridge::Error::NotOurs { .. }) => Change::Foreign,
            Err(error) => return Err(error.into()),
        };
        changes.push(changed(name, change));
    }
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let mut netlink = Netlink::open()?;
    let mut findings = Vec::new();
    for (name, address) in bridges(host) {
        let wrong = match netlink.link(name.as_str())? {
            None => Some("it is not there".to_owned()),
            Some(link) if !link.is_bridge() => Some("it is no bridge".to_owned()),
            Some(link) if !link.up => Some("it is down".to_owned()),
            Some(link) => (!netlink.addresses(link.index)?.contains(&IpNetwork::V4(address)))
                .then(|| format!("it lacks the address {address}")),
        };
        findings.push(Finding {
            part: Part::Bridge,
            name: name.to_string(),
            verdict: if wrong.is_some() { Verdict::Wrong } else { Verdict::Good },
            mend: wrong.is_some().then(|| "`nixcloud-container host up`".to_owned()),
            what: wrong.unwrap_or_else(|| format!("it is up and has {address}")),
        });
    }
    Ok(findings)
}
