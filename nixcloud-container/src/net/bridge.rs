//! The host's bridges: made if they are missing, completed if they are ours, otherwise left alone.
//!
//! A bridge is ours if its alias is [`MARK`]. The kernel takes no alias at creation, so a bridge is made with a
//! hardware address that follows from its name: one with this address and no alias is ours too, left by a process
//! that was killed before it could mark it.

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};
use sha2::{Digest, Sha256};

use super::addr;
use super::link::{Link, SETTINGS};
use super::route::{self, Route};
use super::socket::{self, Netlink};

/// The alias of a bridge that is ours.
pub const MARK: &str = "nixcloud-container";

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
}

/// What [`ensure`] found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
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
    NotABridge {
        /// The interface.
        name: String,
        /// Its driver.
        kind: Option<String>,
    },
    /// The bridge has another owner. It was left alone.
    #[error("bridge {name} was not made by nixcloud-container")]
    NotOurs {
        /// The bridge.
        name: String,
    },
    /// Another interface is in the same network, or has the same address. No address was given.
    #[error("bridge {name} cannot have {wanted}: interface {interface} has {address}")]
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
pub fn ensure(netlink: &mut Netlink, spec: &BridgeSpec) -> Result<Outcome, Error> {
    let name = spec.name.as_str();
    let address = IpNetwork::V4(spec.address);
    let existing = match netlink.link(name)? {
        Some(link) if !link.is_bridge() => {
            return Err(Error::NotABridge { name: name.to_owned(), kind: link.kind });
        }
        Some(link) if !is_ours(&link) => {
            let has_address = netlink.addresses(link.index)?.contains(&address);
            return Ok(Outcome::Foreign { has_address, up: link.up });
        }
        other => other,
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
        None => match make(netlink, name)? {
            Some(link) => (link, true),
            // Another process made it in the meantime, perhaps one of ours: look again.
            None => return ensure(netlink, spec),
        },
    };
    let created = changed;
    if link.alias.as_deref() != Some(MARK) {
        netlink.set_alias(name, MARK)?;
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
        (true, _) => Outcome::Created,
        (false, true) => Outcome::Completed,
        (false, false) => Outcome::Unchanged,
    })
}

/// Deletes the bridge if it is ours; says whether there was one.
///
/// # Errors
///
/// [`Error::NotOurs`], [`Error::NotABridge`], and [`Error::InUse`] while it has ports.
pub fn remove(netlink: &mut Netlink, name: &str) -> Result<bool, Error> {
    let Some(link) = netlink.link(name)? else { return Ok(false) };
    if !link.is_bridge() {
        return Err(Error::NotABridge { name: name.to_owned(), kind: link.kind });
    }
    if !is_ours(&link) {
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

/// Whether a bridge was made by us, see the module's description.
#[must_use]
pub fn is_ours(link: &Link) -> bool {
    match link.alias.as_deref() {
        Some(alias) => alias == MARK,
        None => link.is_bridge() && link.mac == Some(mac_of(&link.name)),
    }
}

/// That the bridge can be removed, as far as it is ours.
///
/// # Errors
///
/// [`Error::InUse`] while it has ports.
pub fn require_free(netlink: &mut Netlink, name: &str) -> Result<(), Error> {
    let Some(link) = netlink.link(name)?.filter(|link| link.is_bridge() && is_ours(link)) else {
        return Ok(());
    };
    no_ports(netlink, &link)
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
fn make(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, Error> {
    match netlink.add_bridge(name, MARK, Some(mac_of(name))) {
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
mod tests {
    use super::*;
    use crate::interface::Mac;
    use crate::net::testing::{in_own_netns, ip};

    fn spec() -> BridgeSpec {
        let address = "10.101.0.1/16".parse().unwrap();
        BridgeSpec { name: "brNC-hostonly".to_owned(), address, address6: None }
    }

    fn addresses(netlink: &mut Netlink, name: &str) -> Vec<String> {
        let index = netlink.link(name).unwrap().unwrap().index;
        let v4 = netlink.addresses(index).unwrap().into_iter().filter(IpNetwork::is_ipv4);
        v4.map(|address| address.to_string()).collect()
    }

    #[test]
    fn the_mac_is_local_unicast_and_follows_the_name() {
        assert_eq!(mac_of("a")[0] & 3, 2);
        assert_eq!(mac_of("a"), mac_of("a"));
        assert_ne!(mac_of("a"), mac_of("b"));
        // The packet filter takes frames with those addresses for a container's.
        assert!((0..2000).all(|n| !Mac(mac_of(&format!("br{n}"))).is_ours()));
    }

    #[test]
    fn root_it_is_made_once_and_removed_once() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Created);
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Unchanged);
            let link = netlink.link("brNC-hostonly").unwrap().unwrap();
            assert!(link.up && is_ours(&link));
            assert_eq!((link.alias.as_deref(), link.bridge), (Some(MARK), Some(SETTINGS)));
            assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"]);
            assert!(remove(&mut netlink, "brNC-hostonly").unwrap());
            assert!(!remove(&mut netlink, "brNC-hostonly").unwrap());
            assert_eq!(netlink.links().unwrap().len(), 1);
        });
    }

    #[test]
    fn root_an_ipv6_address_is_given_beside() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Created);
            let six = "2001:db8:1::1/64".parse().unwrap();
            let both = BridgeSpec { address6: Some(six), ..spec() };
            assert_eq!(ensure(&mut netlink, &both).unwrap(), Outcome::Completed);
            assert_eq!(ensure(&mut netlink, &both).unwrap(), Outcome::Unchanged);
            let index = netlink.link("brNC-hostonly").unwrap().unwrap().index;
            assert!(netlink.addresses(index).unwrap().contains(&IpNetwork::V6(six)));
        });
    }

    #[test]
    fn root_what_a_killed_process_left_is_completed() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            let mac = mac_of("brNC-hostonly").map(|byte| format!("{byte:02x}")).join(":");
            ip(&format!("link add brNC-hostonly address {mac} type bridge"));
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Completed);
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Unchanged);
            // Each thing alone that a hand may have changed.
            for change in [
                "link set brNC-hostonly down",
                "link set brNC-hostonly type bridge stp_state 1",
                "addr del 10.101.0.1/16 dev brNC-hostonly",
                "addr add 10.101.0.1/24 dev brNC-hostonly",
            ] {
                ip(change);
                assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Completed, "{change}");
                assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Unchanged, "{change}");
                assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"], "{change}");
            }
        });
    }

    #[test]
    fn root_what_is_not_ours_is_left_alone() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            ip("link add brNC-hostonly type bridge");
            let foreign = |has_address, up| Outcome::Foreign { has_address, up };
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), foreign(false, false));
            assert!(matches!(remove(&mut netlink, "brNC-hostonly"), Err(Error::NotOurs { .. })));
            assert_eq!(addresses(&mut netlink, "brNC-hostonly"), Vec::<String>::new());
            ip("addr add 10.101.0.1/16 dev brNC-hostonly");
            ip("link set brNC-hostonly up alias theirs");
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), foreign(true, true));
            assert!(matches!(remove(&mut netlink, "brNC-hostonly"), Err(Error::NotOurs { .. })));

            ip("link add v0 type veth peer name v1");
            let veth = BridgeSpec { name: "v0".to_owned(), ..spec() };
            let error = ensure(&mut netlink, &veth).unwrap_err();
            assert_eq!(error.to_string(), "interface v0 is not a bridge but veth");
            assert!(matches!(remove(&mut netlink, "v0"), Err(Error::NotABridge { .. })));
            assert!(matches!(remove(&mut netlink, "lo"), Err(Error::NotABridge { kind: None, .. })));
        });
    }

    #[test]
    fn root_a_conflict_names_the_other_interface_and_makes_nothing() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            ip("link add lan0 type veth peer name lan1");
            ip("addr add 10.101.5.5/24 dev lan0");
            let error = ensure(&mut netlink, &spec()).unwrap_err();
            assert_eq!(
                error.to_string(),
                "bridge brNC-hostonly cannot have 10.101.0.1/16: interface lan0 has 10.101.5.5/24"
            );
            assert_eq!(netlink.link("brNC-hostonly").unwrap(), None);
            ip("addr flush dev lan0");
            ip("addr add 10.0.0.5/8 dev lan0");
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Created);
        });
    }

    #[test]
    fn root_a_bridge_with_ports_is_not_removed() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            ensure(&mut netlink, &spec()).unwrap();
            for port in ["nci-b", "nci-a"] {
                ip(&format!("link add {port} type veth peer name p{port}"));
                ip(&format!("link set {port} master brNC-hostonly"));
            }
            let error = remove(&mut netlink, "brNC-hostonly").unwrap_err();
            assert_eq!(error.to_string(), "bridge brNC-hostonly is in use by nci-a, nci-b");
            // The ports do not take its hardware address away.
            assert_eq!(netlink.link("brNC-hostonly").unwrap().unwrap().mac, Some(mac_of("brNC-hostonly")));
            ip("link del nci-a");
            ip("link del nci-b");
            assert!(remove(&mut netlink, "brNC-hostonly").unwrap());
        });
    }

    #[test]
    fn root_many_at_once_agree() {
        in_own_netns(|| {
            // Threads inherit the namespace.
            let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| ensure(&mut Netlink::open().unwrap(), &spec()).unwrap()))
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(
                !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Foreign { .. })),
                "{outcomes:?}"
            );
            assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Outcome::Created).count(), 1);
            let mut netlink = Netlink::open().unwrap();
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Outcome::Unchanged);
            assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"]);
        });
    }
}
