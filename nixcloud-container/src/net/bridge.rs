//! The host's bridges: made if they are missing, completed if they are ours, otherwise left alone.
//!
//! A bridge is ours if its alias is [`MARK`] with the state folder whose containers it is for: several roots of one
//! machine know nothing of each other's addresses. The kernel takes no alias at creation, so a bridge is made with a
//! hardware address that follows from its name: one with this address and no alias is ours too, left by a process
//! that was killed before it could mark it. So are those that older versions marked, without a folder, and those
//! whose folder is gone.

use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use sha2::{Digest, Sha256};

use super::addr;
use super::link::{Link, SETTINGS};
use super::route::{self, Route};
use super::socket::{self, Netlink};
use crate::model::fingerprint::fingerprint;

/// What the alias of a bridge begins with that one of us made.
pub const MARK: &str = "nixcloud-container";

/// How long an alias may be.
const ALIAS: usize = 255;

/// The alias of bridges for the containers of a state folder.
#[must_use]
pub fn mark_of(state: &Path) -> String {
    let whole = format!("{MARK} {}", state.display());
    // What does not fit is told apart by a hash, and never taken for a folder that is gone.
    if whole.len() <= ALIAS { whole } else { format!("{MARK} #{}", fingerprint(&whole)) }
}

/// Whose a bridge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Ours.
    Ours,
    /// Containers' of another root of this machine, by the state folder.
    Another(String),
    /// Somebody else's altogether.
    Foreign,
}

/// Whose a bridge is, for the root with this mark.
#[must_use]
pub fn owner(link: &Link, mark: &str) -> Owner {
    let Some(alias) = link.alias.as_deref() else {
        let unmarked = link.is_bridge() && link.mac == Some(mac_of(&link.name));
        return if unmarked { Owner::Ours } else { Owner::Foreign };
    };
    if alias == mark || alias == MARK {
        return Owner::Ours;
    }
    match alias.strip_prefix(MARK).and_then(|rest| rest.strip_prefix(' ')) {
        Some(state) if state.starts_with('/') && !Path::new(state).is_dir() => Owner::Ours,
        Some(state) => Owner::Another(state.to_owned()),
        None => Owner::Foreign,
    }
}

/// The table of routes that is meant where none is named.
const MAIN: u32 = 254;

/// A bridge as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The host's own address on it, with the prefix of the network.
    pub address: Ipv4Network,
    /// The same for IPv6, if any.
    pub address6: Option<Ipv6Network>,
    /// The alias by which it is ours: [`mark_of`].
    pub mark: String,
}

/// What [`ensure`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensured {
    /// It was made.
    Created,
    /// It was ours and something was corrected.
    Completed,
    /// It was as it should be.
    Unchanged,
    /// It is not ours: nothing was changed.
    Foreign {
        /// Whether it has the address that was asked for, with that prefix.
        has_address: bool,
        /// Whether it is set up.
        up: bool,
    },
}

/// Why a bridge was not made or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An interface of that name is something else. It was left alone.
    #[error("interface {name} is not a bridge but {}", .kind.as_deref().unwrap_or("hardware"))]
    #[non_exhaustive]
    NotABridge {
        /// The interface.
        name: String,
        /// Its driver.
        kind: Option<String>,
    },
    /// The bridge has another owner. It was left alone.
    #[error("bridge {name} was not made by nixcloud-container")]
    #[non_exhaustive]
    NotOurs {
        /// The bridge.
        name: String,
    },
    /// It is for the containers of another root of this machine. It was left alone.
    #[error("bridge {name} is for the containers of {owner}")]
    #[non_exhaustive]
    AnotherRoot {
        /// The bridge.
        name: String,
        /// The state folder of that root.
        owner: String,
    },
    /// Another interface is in the same network, or has the same address. No address was given.
    #[error("bridge {name} cannot have {wanted}: interface {interface} has {address}")]
    #[non_exhaustive]
    AddressConflict {
        /// The bridge.
        name: String,
        /// The address that was asked for.
        wanted: Ipv4Network,
        /// The other interface.
        interface: String,
        /// Its address.
        address: IpNetwork,
    },
    /// A route leads what is for the bridge's network elsewhere. No address was given.
    #[error("bridge {name} cannot have {wanted}: {}", .route)]
    #[non_exhaustive]
    RouteConflict {
        /// The bridge.
        name: String,
        /// The address that was asked for.
        wanted: Ipv4Network,
        /// The route, in words.
        route: String,
    },
    /// Interfaces are attached to the bridge. It was left alone.
    #[error("bridge {name} is in use by {}", .ports.join(", "))]
    #[non_exhaustive]
    InUse {
        /// The bridge.
        name: String,
        /// Its ports, sorted.
        ports: Vec<String>,
    },
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] socket::Error),
}

/// Makes the bridge, or completes it if it is ours: mark, hardware address, no spanning tree and forward delay,
/// the address, up. Other addresses stay, unless they are the same with another prefix. A second call changes
/// nothing.
///
/// # Errors
///
/// [`Error::AddressConflict`] is found out before anything is made.
pub fn ensure(netlink: &mut Netlink, spec: &BridgeSpec) -> Result<Ensured, Error> {
    let name = spec.name.as_str();
    let address = IpNetwork::V4(spec.address);
    let existing = match netlink.link(name)? {
        Some(link) if !link.is_bridge() => {
            return Err(Error::NotABridge { name: name.to_owned(), kind: link.kind });
        }
        Some(link) => match owner(&link, &spec.mark) {
            Owner::Ours => Some(link),
            Owner::Another(owner) => return Err(Error::AnotherRoot { name: name.to_owned(), owner }),
            Owner::Foreign => {
                let has_address = netlink.addresses(link.index)?.contains(&address);
                return Ok(Ensured::Foreign { has_address, up: link.up });
            }
        },
        None => None,
    };
    let index = existing.as_ref().map(|link| link.index);
    let own = match index {
        Some(index) => netlink.addresses(index)?,
        None => Vec::new(),
    };
    if !own.contains(&address) {
        no_conflict(netlink, spec, index)?;
    }
    let (link, mut changed) = match existing {
        Some(link) => (link, false),
        None => match make(netlink, spec)? {
            Some(link) => (link, true),
            // Another process made it in the meantime, perhaps one of ours: look again.
            None => return ensure(netlink, spec),
        },
    };
    let created = changed;
    if link.alias.as_ref() != Some(&spec.mark) {
        netlink.set_alias(name, &spec.mark)?;
        changed = true;
    }
    if link.bridge != Some(SETTINGS) {
        netlink.settle_bridge(name)?;
        changed = true;
    }
    for address in std::iter::once(address).chain(spec.address6.map(IpNetwork::V6)) {
        changed |= set_address(netlink, name, link.index, address, &own)?;
    }
    if !link.up {
        netlink.set_up(name)?;
        changed = true;
    }
    Ok(match (created, changed) {
        (true, _) => Ensured::Created,
        (false, true) => Ensured::Completed,
        (false, false) => Ensured::Unchanged,
    })
}

/// Deletes the bridge if it is ours; says whether there was one.
///
/// # Errors
///
/// [`Error::NotOurs`], [`Error::NotABridge`], and [`Error::InUse`] while it has ports.
pub fn remove(netlink: &mut Netlink, name: &str, mark: &str) -> Result<bool, Error> {
    let Some(link) = netlink.link(name)? else { return Ok(false) };
    if !link.is_bridge() {
        return Err(Error::NotABridge { name: name.to_owned(), kind: link.kind });
    }
    if owner(&link, mark) != Owner::Ours {
        return Err(Error::NotOurs { name: name.to_owned() });
    }
    no_ports(netlink, &link)?;
    match netlink.delete_link(name) {
        Ok(()) => Ok(true),
        // Another process was quicker.
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// That the bridge can be removed, as far as it is ours.
///
/// # Errors
///
/// [`Error::InUse`] while it has ports.
pub fn require_free(netlink: &mut Netlink, name: &str, mark: &str) -> Result<(), Error> {
    match netlink.link(name)? {
        Some(link) if link.is_bridge() && owner(&link, mark) == Owner::Ours => no_ports(netlink, &link),
        _ => Ok(()),
    }
}

/// That containers of the root with this mark may be on a bridge: it is no other root's.
///
/// # Errors
///
/// [`Error::AnotherRoot`].
pub fn require_own(netlink: &mut Netlink, name: &str, mark: &str) -> Result<(), Error> {
    match netlink.link(name)?.map(|link| owner(&link, mark)) {
        Some(Owner::Another(owner)) => Err(Error::AnotherRoot { name: name.to_owned(), owner }),
        _ => Ok(()),
    }
}

fn no_ports(netlink: &mut Netlink, link: &Link) -> Result<(), Error> {
    let ports: Vec<String> = netlink.ports_of(link.index)?.into_iter().map(|port| port.name).collect();
    if ports.is_empty() { Ok(()) } else { Err(Error::InUse { name: link.name.clone(), ports }) }
}

/// A locally administered unicast address that follows from the bridge's name. It stays when ports come and go, so
/// that guests need not learn the gateway's anew.
#[must_use]
pub fn mac_of(name: &str) -> [u8; 6] {
    let digest: [u8; 32] = Sha256::digest(format!("{MARK} bridge {name}")).into();
    // Locally administered as well, and none that an interface of a container has.
    [0x12, digest[0], digest[1], digest[2], digest[3], digest[4]]
}

/// `None` if the name was taken meanwhile.
fn make(netlink: &mut Netlink, spec: &BridgeSpec) -> Result<Option<Link>, Error> {
    let name = spec.name.as_str();
    match netlink.add_bridge(name, &spec.mark, Some(mac_of(name))) {
        Ok(()) => Ok(netlink.link(name)?),
        Err(error) if error.errno() == Some(libc::EEXIST) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn no_conflict(netlink: &mut Netlink, spec: &BridgeSpec, own: Option<u32>) -> Result<(), Error> {
    let found = netlink
        .all_addresses()?
        .into_iter()
        .find(|&(index, address)| Some(index) != own && addr::conflicts(spec.address, address));
    if let Some((index, address)) = found {
        let interface = interface(netlink, index)?;
        return Err(Error::AddressConflict {
            name: spec.name.clone(),
            wanted: spec.address,
            interface,
            address,
        });
    }
    let elsewhere =
        |route: &Route| route::conflicts(spec.address, route) && (own.is_none() || route.index != own);
    let Some(route) = netlink.routes()?.into_iter().find(elsewhere) else { return Ok(()) };
    let route = words(netlink, &route)?;
    Err(Error::RouteConflict { name: spec.name.clone(), wanted: spec.address, route })
}

fn interface(netlink: &mut Netlink, index: u32) -> Result<String, Error> {
    let link = netlink.links()?.into_iter().find(|link| link.index == index);
    Ok(link.map_or_else(|| format!("number {index}"), |link| link.name))
}

fn words(netlink: &mut Netlink, route: &Route) -> Result<String, Error> {
    let to = match route.index {
        Some(index) => format!("leads to {}", interface(netlink, index)?),
        None => "leads to no single interface".to_owned(),
    };
    let table = if route.table == MAIN { String::new() } else { format!(" of table {}", route.table) };
    Ok(format!("the route {}{table} {to}", route.network))
}

/// What would stand in the way of a bridge's address, or takes away what is for its network: another interface's address,
/// a route, a rule that looks into another table.
///
/// # Errors
///
/// When the kernel cannot be asked.
pub fn in_the_way(netlink: &mut Netlink, spec: &BridgeSpec) -> Result<Option<String>, Error> {
    let own = netlink.link(&spec.name)?.map(|link| link.index);
    match no_conflict(netlink, spec, own) {
        Err(Error::AddressConflict { interface, address, .. }) => {
            return Ok(Some(format!("interface {interface} has {address}")));
        }
        Err(Error::RouteConflict { route, .. }) => return Ok(Some(route)),
        other => other?,
    }
    let (Some(own), Some(address)) =
        (own, spec.address.iter().find(|address| is_of_a_container(spec, *address)))
    else {
        return Ok(None);
    };
    // Only where its own route is there is the way to its network known.
    if !netlink.addresses(own)?.contains(&IpNetwork::V4(spec.address)) {
        return Ok(None);
    }
    Ok(match netlink.route_to(address) {
        Ok(Some(route)) if route.index == Some(own) => None,
        Ok(Some(route)) => {
            let words = words(netlink, &route)?;
            Some(format!("a rule of the host (`ip rule`) takes another way to {address}: {words}"))
        }
        Ok(None) => None,
        // A bridge that is down has no routes: that is told by itself.
        Err(error) if error.errno().is_some() => None,
        Err(error) => return Err(error.into()),
    })
}

fn is_of_a_container(spec: &BridgeSpec, address: std::net::Ipv4Addr) -> bool {
    ![spec.address.ip(), spec.address.network(), spec.address.broadcast()].contains(&address)
}

fn set_address(
    netlink: &mut Netlink,
    name: &str,
    index: u32,
    address: IpNetwork,
    own: &[IpNetwork],
) -> Result<bool, Error> {
    let mut changed = false;
    if !own.contains(&address) {
        match netlink.add_address(name, index, address) {
            // Another process was quicker.
            Err(error) if error.errno() == Some(libc::EEXIST) => {}
            other => other?,
        }
        changed = true;
    }
    for &stale in own.iter().filter(|other| other.ip() == address.ip() && **other != address) {
        netlink.delete_address(name, index, stale)?;
        changed = true;
    }
    Ok(changed)
}

#[cfg(test)]
#[path = "bridge_tests.rs"]
mod tests;
