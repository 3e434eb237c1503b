//! The policies of a container's ports, and the lines by which LXC has them set.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnetwork::{IpNetwork, Ipv4Network, Ipv6Network};

use super::Input;
use crate::model::bridge_port::{BridgePort, Destination, Fate, HOOK, PortPolicy};
use crate::model::config::{HostConfig, Networks};
use crate::model::interface::Slot;

/// What LXC runs for an interface, at each boot of the guest: `lxc.net.N.script.up`.
pub(super) const SCRIPT: &str = "script.up";

/// Why a line of the container file is refused: on our bridges each port has a policy.
pub(super) fn refused(config: &HostConfig, key: &str, value: &str) -> Option<String> {
    let networks = &config.network;
    let ours =
        [&networks.hostonly.bridge, &networks.internet.bridge].into_iter().any(|b| b.as_str() == value);
    let is_link = key.starts_with("lxc.net.") && key.ends_with(".link");
    (networks.isolation && is_link && ours && !super::allows(config, key)).then(|| {
        format!(
            "at {value} each interface is kept to its own addresses, which only `network.*` of the container file describes"
        )
    })
}

/// The port of an interface.
pub(super) fn of(input: &Input<'_>, slot: Slot) -> BridgePort {
    BridgePort { interface: input.interface.host_name(slot), policy: policy(input, slot) }
}

/// What the program that sets a port is told: all of its line that counts where two configurations are compared.
pub(super) fn arguments(port: &BridgePort) -> String {
    format!("{HOOK} {} {}", port.interface, port.policy)
}

/// The value of the line for an interface. LXC gives it to a shell and adds words of its own.
pub(super) fn line(program: &Path, arguments: &str) -> String {
    format!("{} {arguments}", quoted(&program.to_string_lossy()))
}

/// A path as a shell reads it back.
fn quoted(path: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,".contains(c);
    if path.chars().all(plain) {
        return path.into();
    }
    format!("'{}'", path.replace('\'', r"'\''")).into()
}

/// What a port lets through.
fn policy(input: &Input<'_>, slot: Slot) -> PortPolicy {
    let Input { spec, config, interface, .. } = *input;
    let (isolated, networks) = (spec.network.isolated, &config.network);
    let base = PortPolicy {
        mac: interface.mac(slot, isolated),
        isolated,
        serves: false,
        v4: None,
        v6: None,
        from: Vec::new(),
        to: Vec::new(),
    };
    match slot {
        Slot::Second => internet(base, networks, input.internet),
        Slot::First => {
            let bridge = super::bridge(spec, config);
            let own = spec.effective.ip.zip(spec.effective.prefix_length);
            let own6 = spec.network.ip6.zip(spec.network.prefix_length6);
            let at_home = own.is_some_and(|(ip, _)| networks.hostonly.address.contains(ip));
            if *bridge == networks.hostonly.bridge && at_home {
                hostonly(base, networks.hostonly.address, own.map(|(ip, _)| ip), own6)
            } else {
                custom(base, networks, own, own6)
            }
        }
    }
}

/// What is sent to the network of a bridge of ours, beside the host: directly, and never by way of the host.
fn inside(policy: &PortPolicy) -> Fate {
    if policy.isolated { Fate::Drop } else { Fate::Peers }
}

fn to(network: impl Into<IpNetwork>, fate: Fate) -> Destination {
    Destination { network: network.into(), fate }
}

fn one(address: impl Into<IpAddr>) -> IpNetwork {
    IpNetwork::from(address.into())
}

fn all4() -> IpNetwork {
    net4(Ipv4Addr::UNSPECIFIED, 0)
}

fn net4(address: Ipv4Addr, prefix: u8) -> IpNetwork {
    Ipv4Network::new(address, prefix).map_or_else(|_| one(address), IpNetwork::V4)
}

fn net6(address: Ipv6Addr, prefix: u8) -> IpNetwork {
    Ipv6Network::new(address, prefix).map_or_else(
        |_| one(address),
        |network| Ipv6Network::new(network.network(), prefix).map_or(one(address), IpNetwork::V6),
    )
}

/// The host, and all at once, of a network of ours.
fn host_and_groups(network: Ipv4Network) -> Vec<Destination> {
    vec![
        to(one(network.ip()), Fate::Pass),
        to(one(network.broadcast()), Fate::Pass),
        to(one(Ipv4Addr::BROADCAST), Fate::Pass),
        to(net4(Ipv4Addr::new(224, 0, 0, 0), 4), Fate::Pass),
    ]
}

/// Link-local and multicast addresses: the host does not forward them.
fn local6() -> [Destination; 2] {
    let group = net6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8);
    [to(link_local6(), Fate::Pass), to(group, Fate::Pass)]
}

fn link_local6() -> IpNetwork {
    net6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10)
}

fn whole(network: Ipv4Network) -> IpNetwork {
    net4(network.network(), network.prefix())
}

/// Between the host and its containers, and no further.
fn hostonly(
    mut policy: PortPolicy,
    network: Ipv4Network,
    ip: Option<Ipv4Addr>,
    ip6: Option<(Ipv6Addr, u8)>,
) -> PortPolicy {
    policy.v4 = Some(ip.into_iter().collect());
    policy.v6 = Some(ip6.iter().map(|(ip, _)| *ip).collect());
    policy.from = vec![whole(network), one(Ipv6Addr::UNSPECIFIED), link_local6()];
    policy.from.extend(ip6.iter().map(|(ip, prefix)| net6(*ip, *prefix)));
    policy.to = host_and_groups(network);
    policy.to.extend([to(whole(network), inside(&policy)), to(all4(), Fate::Drop)]);
    policy.to.extend(local6());
    if let Some((ip, prefix)) = ip6 {
        // Which address the host has there is its administrator's to say.
        let fate = if policy.isolated { Fate::Host } else { Fate::Peers };
        policy.to.push(to(net6(ip, prefix), fate));
    }
    policy.to.push(to(net6(Ipv6Addr::UNSPECIFIED, 0), Fate::Drop));
    policy
}

/// The way out, but not to other containers.
fn internet(mut policy: PortPolicy, networks: &Networks, ip: Option<Ipv4Addr>) -> PortPolicy {
    let network = &networks.internet;
    policy.v4 = ip.map(|ip| vec![ip]);
    policy.v6 = ip.map(|ip| network.ipv6_of(ip).into_iter().collect());
    policy.to = host_and_groups(network.address);
    policy.to.extend([
        to(whole(network.address), inside(&policy)),
        to(whole(networks.hostonly.address), Fate::Drop),
    ]);
    policy.to.extend(local6());
    if let Some(ipv6) = &network.ipv6 {
        policy.to.extend([
            to(one(ipv6.address.ip()), Fate::Pass),
            to(net6(ipv6.address.network(), ipv6.address.prefix()), inside(&policy)),
        ]);
    }
    policy
}

/// A bridge of the administrator's. Its addresses may come from elsewhere, and it may lead anywhere but to the networks
/// of ours.
fn custom(
    mut policy: PortPolicy,
    networks: &Networks,
    own: Option<(Ipv4Addr, u8)>,
    own6: Option<(Ipv6Addr, u8)>,
) -> PortPolicy {
    policy.serves = !policy.isolated;
    policy.v4 = own.map(|(ip, _)| vec![ip]);
    policy.v6 = own6.map(|(ip, _)| vec![ip]);
    if let Some((ip, prefix)) = own {
        policy.to.push(to(net4(network_of(ip, prefix), prefix), Fate::Lan));
    }
    for network in [networks.hostonly.address, networks.internet.address] {
        policy.to.extend([to(one(network.ip()), Fate::Pass), to(whole(network), Fate::Drop)]);
    }
    if let Some((ip, prefix)) = own6 {
        policy.to.push(to(net6(ip, prefix), Fate::Lan));
    }
    if let Some(ipv6) = &networks.internet.ipv6 {
        policy.to.extend([
            to(one(ipv6.address.ip()), Fate::Pass),
            to(net6(ipv6.address.network(), ipv6.address.prefix()), Fate::Drop),
        ]);
    }
    policy
}

fn network_of(ip: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Network::new(ip, prefix).map_or(ip, |network| network.network())
}
