//! Our table of the packet filter: what is forwarded, whose address is masqueraded, where ports of the host lead.

use std::net::IpAddr;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::bridges;
use crate::error::Error;
use crate::host::Host;
use crate::model::forward::{HostPort, Protocol};
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{Change, Finding, HostChange, Part};
use crate::model::observe::Cancel;
use crate::net::nft::{Nft, Ruleset};
use crate::net::{Netlink, listen};
use crate::render::nft::{self, FAMILY, IDENTITY, Input, TABLE, Table};
use crate::store::claims::host_ports;
use crate::store::routes;
use crate::sys::tool::Tool;

const UP: Remedy = Remedy::HostUp;

/// How long `nft` may take. It answers in milliseconds, and in seconds on a slow machine that boots; whoever else changes the networks of the
/// host waits for it.
const NFT: Duration = Duration::from_secs(15);

pub(super) fn nft(host: &Host, cancel: &Cancel) -> Nft {
    Nft::new(Tool::new(&host.config.tools.nft, cancel).within(NFT))
}

/// The table as it should be now.
fn wanted(host: &Host) -> Result<Table, Error> {
    let reachable: Vec<IpNetwork> =
        Netlink::open()?.all_addresses()?.into_iter().map(|(_, address)| address).collect();
    let forwards = routes::routes(&host.layout, &host.config, &reachable)?;
    let macs = bridges::macs(host)?;
    Ok(nft::render(&Input {
        networks: &host.config.network,
        connections: host.config.limits.connections,
        macs,
        forwards: &forwards,
    }))
}

/// What is wrong with the one that is there.
fn fault(there: &Ruleset, wanted: &Table) -> Option<&'static str> {
    let identity = there.chains.iter().find(|chain| chain.name == IDENTITY);
    let made_from = identity.and_then(|chain| chain.rules.first()?.comment.as_deref());
    if made_from != Some(wanted.identity.as_str()) {
        return Some("it was made from another configuration, or other containers");
    }
    if there.rules() != wanted.rules || there.elements != wanted.elements {
        return Some("somebody changed its rules");
    }
    None
}

fn changed(change: Change) -> Vec<HostChange> {
    vec![HostChange { part: Part::Filter, name: TABLE.to_owned(), change }]
}

pub(super) fn up(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let (nft, wanted) = (nft(host, cancel), wanted(host)?);
    let change = match nft.table(FAMILY, TABLE)? {
        Some(there) if fault(&there, &wanted).is_none() => return Ok(changed(Change::Kept)),
        Some(_) => Change::Mended,
        None => Change::Made,
    };
    nft.load(&wanted.load())?;
    Ok(changed(change))
}

pub(super) fn down(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let nft = nft(host, cancel);
    match nft.table(FAMILY, TABLE) {
        Ok(None) => Ok(changed(Change::Absent)),
        Ok(Some(_)) => {
            nft.load(&nft::remove())?;
            Ok(changed(Change::Removed))
        }
        // Then we never made one.
        Err(error) if error.is_missing() => Ok(changed(Change::Absent)),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn check(host: &Host, cancel: &Cancel) -> Result<Vec<Finding>, Error> {
    let wanted = wanted(host)?;
    let mut findings = vec![match nft(host, cancel).table(FAMILY, TABLE) {
        Err(error) if error.is_missing() => {
            let what = "`nft` is not installed: nothing is forwarded to or from containers as it should be";
            Finding::wrong(Part::Filter, TABLE, what, Hint::from("install nftables, then ").remedy(UP))
        }
        Err(error) => return Err(error.into()),
        Ok(None) => {
            let what = "the table is not loaded: the host may forward between its networks and containers";
            Finding::wrong(Part::Filter, TABLE, what, UP)
        }
        Ok(Some(there)) => match fault(&there, &wanted) {
            Some(what) => Finding::wrong(Part::Filter, TABLE, what, UP),
            None => {
                let what = format!("the table is loaded, with {} rules", wanted.rules);
                Finding::good(Part::Filter, TABLE, what)
            }
        },
    }];
    let claims = host_ports::claims(&host.layout)?;
    let absent = absent(&claims.iter().map(|(port, _)| *port).collect::<Vec<_>>())?;
    for (port, owner) in claims {
        findings.push(if absent.contains(&port) {
            let what = format!("it is to lead to container `{owner}` from an address that the host does not have");
            let mend = format!("give the host that address, or `{owner}` another `listen` in `network.forwards`");
            Finding::wrong(Part::Forward, port.to_string(), what, mend)
        } else if is_listened_on(port) {
            let what = format!(
                "leads to container `{owner}`, though a program of the host listens on it: that one is reached by the loopback \
                 addresses alone"
            );
            let mend = format!("end that program, or give `{owner}` another port in `network.forwards`");
            Finding::wrong(Part::Forward, port.to_string(), what, mend)
        } else {
            Finding::good(Part::Forward, port.to_string(), format!("leads to container `{owner}`"))
        });
    }
    Ok(findings)
}

/// Whether the networks of the host are up, as far as the packet filter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// The table is loaded.
    Loaded,
    /// There is none: `host up` will load what is to be in it.
    NotUp,
}

/// Puts the rules for all ports that lead to containers in place, at once. The container that has changed is on disk as
/// it is to be seen.
pub(crate) fn reload(host: &Host, cancel: &Cancel) -> Result<Reloaded, Error> {
    let _lock = host.lock_network(cancel)?;
    if bridges::are_anothers(host)? {
        return Ok(Reloaded::NotUp);
    }
    let (nft, wanted) = (nft(host, cancel), wanted(host)?);
    match nft.table(FAMILY, TABLE) {
        Ok(None) => Ok(Reloaded::NotUp),
        Ok(Some(there)) if fault(&there, &wanted).is_none() => Ok(Reloaded::Loaded),
        Ok(Some(_)) => {
            nft.load(&wanted.load())?;
            Ok(Reloaded::Loaded)
        }
        Err(error) if error.is_missing() => Ok(Reloaded::NotUp),
        Err(error) => Err(error.into()),
    }
}

/// Those of `ports` that a program of the host listens on.
pub(crate) fn shadowed(ports: &[HostPort]) -> Vec<HostPort> {
    ports.iter().copied().filter(|port| is_listened_on(*port)).collect()
}

/// Those of `ports` that are of an address which the host does not have.
pub(crate) fn absent(ports: &[HostPort]) -> Result<Vec<HostPort>, Error> {
    if ports.iter().all(|port| port.listen.is_none()) {
        return Ok(Vec::new());
    }
    let own: Vec<IpAddr> =
        Netlink::open()?.all_addresses()?.into_iter().map(|(_, address)| address.ip()).collect();
    Ok(ports
        .iter()
        .copied()
        .filter(|port| port.listen.is_some_and(|listen| !own.contains(&listen)))
        .collect())
}

fn is_listened_on(port: HostPort) -> bool {
    listen::is_listened_on(port.protocol == Protocol::Tcp, port.port.get(), port.listen)
}
