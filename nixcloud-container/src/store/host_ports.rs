//! Ports of the host that lead to containers. A port is claimed by the exclusive creation of a file named after it, as
//! addresses are; where it leads follows from its owner's current generation.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;

use crate::fs::claim::{self, Claim};
use crate::model::config::HostConfig;
use crate::model::forward::{Forward, HostPort};
use crate::model::layout::Layout;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::spec::ContainerSpec;
use crate::render;
use crate::render::nft::Route;
use crate::store::generations::{Generations, GenerationsError};
use crate::store::record::{Phase, Record, RecordError};

/// A port that cannot be forwarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Another container has it.
    #[error("{} of the host leads to container `{owner}` already", .port.words())]
    Taken {
        /// The port.
        port: HostPort,
        /// Whose it is.
        owner: String,
    },
    /// Its claim says of nobody that he has it.
    #[error("{} names no container", .path.display())]
    Damaged {
        /// The claim.
        path: PathBuf,
    },
    /// The container has no address that is known here.
    #[error(
        "no port of the host can lead to container `{name}`: its bridge gives it an address that is not known here"
    )]
    NoAddress {
        /// The container.
        name: ContainerName,
    },
    /// The container has no address of the family that a port of the host is to lead from.
    #[error("{} of the host cannot lead to container `{name}`, of which no {} address is known here", .port.words(), family(*.port))]
    NoAddressOf {
        /// The container.
        name: ContainerName,
        /// The port.
        port: HostPort,
    },
    /// The folder of claims, or one of them, cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A claim cannot be written or removed.
    #[error("cannot claim {} of the host", .port.words())]
    Claim {
        /// The port.
        port: HostPort,
        /// Why.
        source: claim::Error,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The generations of a container cannot be read.
    #[error(transparent)]
    Generations(#[from] GenerationsError),
}

fn family(port: HostPort) -> &'static str {
    if port.listen.is_some_and(|listen| listen.is_ipv6()) { "IPv6" } else { "IPv4" }
}

/// Claims a port. Claiming one's own again is no error.
///
/// # Errors
/// When another container has it, by name, or the claim cannot be written.
pub(crate) fn claim(layout: &Layout, owner: &ContainerName, port: HostPort) -> Result<(), ForwardError> {
    match claim::create(&layout.port(port), owner.as_str().as_bytes()) {
        Ok(Claim::New | Claim::Ours) => Ok(()),
        Ok(Claim::Held { contents }) => {
            let owner = String::from_utf8_lossy(&contents).trim().to_owned();
            if owner.parse::<ContainerName>().is_err() {
                return Err(ForwardError::Damaged { path: layout.port(port) });
            }
            Err(ForwardError::Taken { port, owner })
        }
        Err(source) => Err(ForwardError::Claim { port, source }),
    }
}

/// That ports that were just claimed meet none of another container's: claims are told apart by their names alone. Of two
/// that claim such ports in one moment both may be refused.
///
/// # Errors
/// When another container has one, by name.
pub(crate) fn require_sole(
    layout: &Layout,
    owner: &ContainerName,
    ports: impl Iterator<Item = HostPort>,
) -> Result<(), ForwardError> {
    let mut others = claims(layout)?;
    others.retain(|(_, theirs)| theirs != owner);
    for port in ports {
        // They are sorted by protocol and port first.
        let from =
            others.partition_point(|(other, _)| (other.protocol, other.port) < (port.protocol, port.port));
        let same = others[from..]
            .iter()
            .take_while(|(other, _)| (other.protocol, other.port) == (port.protocol, port.port));
        if let Some((port, owner)) = same.into_iter().find(|(other, _)| other.overlaps(port)) {
            return Err(ForwardError::Taken { port: *port, owner: owner.to_string() });
        }
    }
    Ok(())
}

/// Gives a port back. One that is not the owner's stays.
///
/// # Errors
/// When the claim cannot be removed.
pub(crate) fn free(layout: &Layout, owner: &ContainerName, port: HostPort) -> Result<(), ForwardError> {
    claim::release(&layout.port(port), owner.as_str().as_bytes())
        .map(drop)
        .map_err(|source| ForwardError::Claim { port, source })
}

/// The ports that are claimed, each with its owner.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn claims(layout: &Layout) -> Result<Vec<(HostPort, ContainerName)>, ForwardError> {
    let folder = layout.ports();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ForwardError::Read { path: folder, source }),
    };
    let ports = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<HostPort>().ok());
    let mut claims = Vec::new();
    for port in ports {
        let path = layout.port(port);
        match std::fs::read_to_string(&path) {
            Ok(owner) => claims.extend(owner.trim().parse().ok().map(|owner| (port, owner))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(ForwardError::Read { path, source }),
        }
    }
    claims.sort();
    Ok(claims)
}

/// Where all ports lead. `reachable` are the networks that the host itself is in. A container that cannot be read has no
/// ports for now: it is nobody else's reason to fail.
///
/// # Errors
/// When the claims cannot be read.
pub(crate) fn routes(
    layout: &Layout,
    config: &HostConfig,
    reachable: &[IpNetwork],
) -> Result<Vec<Route>, ForwardError> {
    let claims = claims(layout)?;
    let owners: BTreeSet<&ContainerName> = claims.iter().map(|(_, owner)| owner).collect();
    let mut routes = Vec::new();
    for owner in owners {
        match of(layout, config, owner, reachable) {
            Ok(theirs) => {
                let is_claimed = |route: &Route| claims.contains(&(route.port, owner.clone()));
                routes.extend(theirs.into_iter().filter(is_claimed));
            }
            Err(error) => tracing::warn!(%owner, %error, "its ports lead nowhere"),
        }
    }
    routes.sort();
    Ok(routes)
}

/// Where the ports of one container lead.
fn of(
    layout: &Layout,
    config: &HostConfig,
    owner: &ContainerName,
    reachable: &[IpNetwork],
) -> Result<Vec<Route>, ForwardError> {
    let Some(record) = Record::load(layout, owner)? else { return Ok(Vec::new()) };
    let generations = Generations::new(layout, owner);
    let spec = match record.phase {
        Phase::Destroying => return Ok(Vec::new()),
        // Until the next one has proved itself it is the one before that counts.
        Phase::Switching { from } => generations.spec(from)?,
        Phase::Ready | Phase::Creating => generations.spec(generations.current()?)?,
    };
    let mut routes = Vec::new();
    for (address, bridge) in targets(config, &record, &spec, reachable) {
        let same_family =
            |forward: &&Forward| forward.listen.is_none_or(|listen| listen.is_ipv4() == address.is_ipv4());
        for forward in spec.network.forwards.iter().filter(same_family) {
            routes.push(Route {
                port: forward.host(),
                target: SocketAddr::new(address, forward.container_port.get()),
                bridge: bridge.clone(),
                owner: owner.clone(),
            });
        }
    }
    Ok(routes)
}

/// The addresses that its ports lead to, each with its bridge. On the bridge that leads out where it has one there: the
/// guest's answers find their way back from it to any client. Else its first address, to which the host speaks itself.
fn targets(
    config: &HostConfig,
    record: &Record,
    spec: &ContainerSpec,
    reachable: &[IpNetwork],
) -> Vec<(IpAddr, InterfaceName)> {
    let first = render::bridge(spec, config);
    let internet = &config.network.internet;
    let out = record.internet.filter(|_| spec.network.enable_nat);
    let four = match out {
        Some(address) => Some((address.into(), internet.bridge.clone())),
        None => spec.effective.ip.map(|address| (address.into(), first.clone())),
    };
    let is_reachable = |address: &IpAddr| reachable.iter().any(|network| network.contains(*address));
    let six = match out.and_then(|address| internet.ipv6_of(address)) {
        Some(address) => Some((address.into(), internet.bridge.clone())),
        // To an address that the host has no way to, IPv6 clients would wait in vain instead of trying IPv4.
        None => {
            let fixed = spec.network.ip6.map(IpAddr::from).filter(is_reachable);
            fixed.map(|address| (address, first.clone()))
        }
    };
    four.into_iter().chain(six).collect()
}

/// Whether ports can lead to it at all.
///
/// # Errors
/// When its addresses are not known here.
pub(crate) fn require_address(
    config: &HostConfig,
    record: &Record,
    spec: &ContainerSpec,
) -> Result<(), ForwardError> {
    if !spec.network.forwards.is_empty() && targets(config, record, spec, &[]).is_empty() {
        return Err(ForwardError::NoAddress { name: record.name.clone() });
    }
    // Where the host has no way to its IPv6 address by now, it may have one later.
    let any = IpNetwork::from(IpAddr::from(Ipv6Addr::UNSPECIFIED));
    let any = IpNetwork::new(any.ip(), 0).unwrap_or(any);
    let targets = targets(config, record, spec, &[any]);
    let lacks = |listen: IpAddr| !targets.iter().any(|(address, _)| address.is_ipv4() == listen.is_ipv4());
    match spec.network.forwards.iter().find(|forward| forward.listen.is_some_and(lacks)) {
        Some(forward) => Err(ForwardError::NoAddressOf { name: record.name.clone(), port: forward.host() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::Ipv6Config;
    use crate::model::forward::Protocol;
    use crate::model::spec::{Autostart, Effective, NetworkSpec, SCHEMA};

    fn lab() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let layout = Layout::new(&config).unwrap();
        for folder in layout.state_dirs() {
            std::fs::create_dir_all(folder).unwrap();
        }
        (root, layout)
    }

    fn port(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    fn spec() -> ContainerSpec {
        let number = |number: u16| number.try_into().unwrap();
        let forward = Forward {
            host_port: number(8080),
            container_port: number(80),
            protocol: Protocol::Tcp,
            listen: None,
        };
        ContainerSpec {
            schema: SCHEMA,
            name: None,
            autostart: Autostart::default(),
            network: NetworkSpec { forwards: vec![forward], ..NetworkSpec::default() },
            resources: crate::model::resources::Resources::default(),
            lxc_extra_config: String::new(),
            idmap: crate::model::idmap::IdMapKind::Isolated,
            effective: Effective { ip: Some("10.101.0.2".parse().unwrap()), prefix_length: Some(16) },
            original: false,
        }
    }

    #[test]
    fn a_port_has_one_owner_who_is_named() {
        let (_root, layout) = lab();
        let (web, db): (ContainerName, ContainerName) = ("web".parse().unwrap(), "db".parse().unwrap());
        claim(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &db, port("udp-80")).unwrap();
        let error = claim(&layout, &db, port("tcp-80")).unwrap_err();
        assert_eq!(error.to_string(), "tcp port 80 of the host leads to container `web` already");
        free(&layout, &db, port("tcp-80")).unwrap();
        assert_eq!(
            claims(&layout).unwrap(),
            [(port("tcp-80"), web.clone()), (port("udp-80"), db.clone())],
            "freed by a stranger"
        );
        free(&layout, &web, port("tcp-80")).unwrap();
        free(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &db, port("tcp-80")).unwrap();
    }

    #[test]
    fn ports_that_meet_have_one_owner_and_others_have_several() {
        let (_root, layout) = lab();
        let (web, db): (ContainerName, ContainerName) = ("web".parse().unwrap(), "db".parse().unwrap());
        let sole = |owner: &ContainerName, ports: &[&str]| {
            require_sole(&layout, owner, ports.iter().map(|text| port(text)))
                .map_err(|error| error.to_string())
        };
        for text in ["tcp-80@192.0.2.1", "tcp-443", "udp-80"] {
            claim(&layout, &web, port(text)).unwrap();
        }
        sole(&web, &["tcp-80@192.0.2.1", "tcp-443"]).unwrap();
        sole(&db, &["tcp-80@192.0.2.2", "tcp-80@2001:db8::1", "tcp-81"]).unwrap();
        let told =
            |place: &str| Err(format!("tcp port {place} of the host leads to container `web` already"));
        assert_eq!(sole(&db, &["tcp-81", "tcp-80"]), told("192.0.2.1:80"));
        assert_eq!(sole(&db, &["tcp-443@192.0.2.1"]), told("443"));
    }

    #[test]
    fn a_port_leads_to_the_interface_that_leads_out_else_to_the_first() {
        let mut config = HostConfig::default();
        let mut record = Record::new("web".parse().unwrap(), "/web.nix".into(), Vec::new());
        let mut spec = spec();
        let shown =
            |config: &HostConfig, record: &Record, spec: &ContainerSpec, reachable: &[&str]| -> Vec<String> {
                let reachable: Vec<IpNetwork> =
                    reachable.iter().map(|network| network.parse().unwrap()).collect();
                let targets = targets(config, record, spec, &reachable);
                targets.into_iter().map(|(address, bridge)| format!("{address} {bridge}")).collect()
            };
        record.internet = Some("10.202.0.10".parse().unwrap());
        assert_eq!(shown(&config, &record, &spec, &[]), ["10.101.0.2 brNC-hostonly"]);
        spec.network.enable_nat = true;
        assert_eq!(shown(&config, &record, &spec, &[]), ["10.202.0.10 brNC-internet"]);
        let ipv6 = Ipv6Config { address: "2001:db8:1::1/64".parse().unwrap(), name_servers: Vec::new() };
        config.network.internet.ipv6 = Some(ipv6);
        assert_eq!(
            shown(&config, &record, &spec, &[]),
            ["10.202.0.10 brNC-internet", "2001:db8:1::a brNC-internet"]
        );
        spec.network.enable_nat = false;
        spec.network.bridge = Some("br7".parse().unwrap());
        spec.network.ip6 = Some("fd00:7::5".parse().unwrap());
        assert_eq!(shown(&config, &record, &spec, &["fe80::1/64", "10.0.0.1/8"]), ["10.101.0.2 br7"]);
        assert_eq!(shown(&config, &record, &spec, &["fd00:7::1/64"]), ["10.101.0.2 br7", "fd00:7::5 br7"]);
        spec.effective.ip = None;
        spec.network.ip6 = None;
        let error = require_address(&config, &record, &spec).unwrap_err();
        assert!(error.to_string().contains("`web`"), "{error}");
        spec.network.forwards.clear();
        require_address(&config, &record, &spec).unwrap();
    }
}
