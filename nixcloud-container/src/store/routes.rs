//! Where ports of the host lead: it follows from their owners' current generations.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnetwork::IpNetwork;

use crate::model::config::HostConfig;
use crate::model::forward::Forward;
use crate::model::layout::Layout;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::spec::ContainerSpec;
use crate::render;
use crate::render::nft::Route;
use crate::store::claims::host_ports::{self, ForwardError};
use crate::store::history::Generations;
use crate::store::record::{Record, RecordPhase};

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
    let claims = host_ports::claims(layout)?;
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
        RecordPhase::Destroying => return Ok(Vec::new()),
        // Until the next one has proved itself it is the one before that counts.
        RecordPhase::Switching { from } => generations.spec(from)?,
        RecordPhase::Ready | RecordPhase::Creating => generations.spec(generations.current()?)?,
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
            store: None,
            resources: crate::model::resources::Resources::default(),
            features: crate::model::features::Features::default(),
            devices: crate::model::devices::Devices::default(),
            lxc_extra_config: String::new(),
            idmap: crate::model::idmap::IdMapKind::Isolated,
            effective: Effective { ip: Some("10.101.0.2".parse().unwrap()), prefix_length: Some(16) },
            original: false,
        }
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
