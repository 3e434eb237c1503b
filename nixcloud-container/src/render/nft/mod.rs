//! The packet filter of the host, rendered from configuration and forwards: a pure function, golden-tested.
//!
//! One table of ours, which is loaded whole. It never accepts what another table drops, since a drop anywhere wins; it
//! only drops what concerns our bridges, forwards ports and masquerades the network of the bridge that leads out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use ipnetwork::Ipv6Network;

use crate::model::config::Networks;
use crate::model::fingerprint::fingerprint;
use crate::model::forward::{HostPort, Protocol};
use crate::model::name::{ContainerName, InterfaceName};

/// The name of our table, in the family `inet`.
pub const TABLE: &str = "nixcloud-container";
/// The family of our table.
pub const FAMILY: &str = "inet";
/// The chain whose comment says what the table was made from.
pub const IDENTITY: &str = "made_from";

/// What the table is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The bridges.
    pub networks: &'a Networks,
    /// How many connections begun by one address of a guest the host follows at a time; 0 sets no limit.
    pub connections: u32,
    /// The hardware addresses of both bridges: who sends to one wants to be routed.
    pub macs: Macs,
    /// Ports of the host and where they lead.
    pub forwards: &'a [Route],
}

/// Hardware addresses of the bridges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Macs {
    /// Of the host-only one.
    pub hostonly: [u8; 6],
    /// Of the one that leads out.
    pub internet: [u8; 6],
}

/// A port of the host and where it leads. One port may lead to one address of each family.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The port of the host.
    pub port: HostPort,
    /// The address and port in the guest.
    pub target: SocketAddr,
    /// The bridge that the address is on.
    pub bridge: InterfaceName,
    /// Whose it is.
    pub owner: ContainerName,
}

/// A rendered table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    text: String,
    /// How many rules it has.
    pub rules: usize,
    /// How many elements its named sets and maps have.
    pub elements: usize,
    /// The comment of its identity.
    pub identity: String,
}

impl Table {
    /// The script that loads it, in place of one that may be there.
    #[must_use]
    pub fn load(&self) -> String {
        format!("add table {FAMILY} {TABLE}\n{}{}", remove(), self.text)
    }
}

/// The script that removes it.
#[must_use]
pub fn remove() -> String {
    format!("delete table {FAMILY} {TABLE}\n")
}

/// The text as it grows.
struct Text {
    text: String,
    rules: usize,
    elements: usize,
}

impl Text {
    fn line(&mut self, depth: usize, line: impl Display) {
        let _ = writeln!(self.text, "{:1$}{line}", "", depth * 4);
    }

    fn rule(&mut self, rule: impl Display) {
        self.rules += 1;
        self.line(2, rule);
    }

    fn chain(&mut self, name: &str, hook: Option<&str>, rules: impl FnOnce(&mut Self)) {
        self.line(1, format_args!("chain {name} {{"));
        if let Some(hook) = hook {
            self.line(2, format_args!("type {hook}; policy accept;"));
        }
        rules(self);
        self.line(1, "}");
    }

    fn collection(&mut self, what: &str, name: &str, kind: &str, elements: &BTreeSet<String>) {
        self.elements += elements.len();
        self.line(1, format_args!("{what} {name} {{"));
        self.line(2, format_args!("type {kind};"));
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        self.line(2, format_args!("elements = {{ {} }};", elements.join(", ")));
        self.line(1, "}");
    }
}

/// Renders the table.
#[must_use]
pub fn render(input: &Input<'_>) -> Table {
    let mut text = Text { text: String::new(), rules: 0, elements: 0 };
    // Those that are not of the internet's network have no way back to a stranger: to them the host speaks itself.
    let internet = &input.networks.internet.bridge;
    let elsewhere: Vec<&Route> = input.forwards.iter().filter(|route| route.bridge != *internet).collect();
    if !input.forwards.is_empty() {
        destinations(&mut text, input);
    }
    source_addresses(&mut text, input.networks, &elsewhere);
    if input.connections > 0 {
        begun(&mut text, input.connections);
    }
    to_the_host(&mut text, input);
    through_the_host(&mut text, input);
    finish(text)
}

/// The text, with what it was made from in it: what the kernel has cannot be compared with it.
fn finish(mut body: Text) -> Table {
    let identity = fingerprint(&body.text);
    let rest = std::mem::take(&mut body.text);
    body.line(0, format_args!("table {FAMILY} {TABLE} {{"));
    body.chain(IDENTITY, None, |text| text.rule(format_args!("return comment \"{identity}\"")));
    body.text.push_str(&rest);
    body.line(0, "}");
    Table { text: body.text, rules: body.rules, elements: body.elements, identity }
}

/// Where connections to ports of the host go: those from outside, and the host's own. Those of guests go nowhere else.
fn destinations(text: &mut Text, input: &Input<'_>) {
    let mut maps: BTreeMap<Ports, BTreeSet<String>> = BTreeMap::new();
    for Route { port, target, .. } in input.forwards {
        let from = port.listen.map_or_else(String::new, |listen| format!("{listen} . "));
        let element = format!("{from}{} : {} . {}", port.port, target.ip(), target.port());
        let ports = Ports { protocol: port.protocol, six: target.is_ipv6(), all: port.listen.is_none() };
        maps.entry(ports).or_default().insert(element);
    }
    for (ports, elements) in &maps {
        let address = if ports.six { "ipv6_addr" } else { "ipv4_addr" };
        let from = if ports.all { String::new() } else { format!("{address} . ") };
        let kind = format!("{from}inet_service : {address} . inet_service");
        text.collection("map", &ports.name(), &kind, elements);
    }
    let bridges: BTreeSet<&InterfaceName> =
        ours(input.networks).into_iter().chain(input.forwards.iter().map(|route| &route.bridge)).collect();
    text.chain("from_outside", Some("nat hook prerouting priority dstnat"), |text| {
        text.rule(format_args!("iifname {} return", set(bridges)));
        text.rule("fib daddr type local jump forwards");
    });
    text.chain("from_the_host", Some("nat hook output priority -100"), |text| {
        // What comes from the loopback address cannot leave the host, wherever it goes.
        text.rule("oifname \"lo\" ip daddr 127.0.0.0/8 return");
        text.rule("oifname \"lo\" ip6 daddr ::1 return");
        text.rule("fib daddr type local jump forwards");
    });
    text.chain("forwards", None, |text| {
        for ports in maps.into_keys() {
            let (family, version) = if ports.six { ("ipv6", "ip6") } else { ("ipv4", "ip") };
            let from = if ports.all { String::new() } else { format!("{version} daddr . ") };
            let (protocol, map) = (ports.protocol, ports.name());
            text.rule(format_args!(
                "meta nfproto {family} dnat {version} to {from}{protocol} dport map @{map}"
            ));
        }
    });
}

/// Ports of the host that one map leads elsewhere: of one protocol to addresses of one family, from all of the host's
/// addresses or from one each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ports {
    protocol: Protocol,
    six: bool,
    all: bool,
}

impl Ports {
    fn name(self) -> String {
        let family = if self.six { 6 } else { 4 };
        format!("{}{family}{}", self.protocol, if self.all { "" } else { "at" })
    }
}

/// Who is seen as the sender.
fn source_addresses(text: &mut Text, networks: &Networks, elsewhere: &[&Route]) {
    let of = |six: bool| -> BTreeSet<String> {
        let addresses = elsewhere.iter().map(|route| route.target.ip());
        addresses.filter(|address| address.is_ipv6() == six).map(|address| address.to_string()).collect()
    };
    let (four, six) = (of(false), of(true));
    if !four.is_empty() {
        text.collection("set", "masqueraded4", "ipv4_addr", &four);
    }
    if !six.is_empty() {
        text.collection("set", "masqueraded6", "ipv6_addr", &six);
    }
    let internet = &networks.internet;
    let out = match &internet.uplink {
        Some(uplink) => format!("oifname {}", quoted(uplink)),
        None => format!("oifname != {}", set(ours(networks))),
    };
    text.chain("sources", Some("nat hook postrouting priority srcnat"), |text| {
        let (network, host) = (v4_network(networks), internet.address.ip());
        text.rule(format_args!("ip saddr {network} ip saddr != {host} {out} masquerade"));
        // The host asks by its own address on the other bridge: guests there send nothing to that network.
        let (other, bridge) = (networks.hostonly.address.ip(), quoted(&internet.bridge));
        text.rule(format_args!("ip saddr {other} oifname {bridge} ct status dnat masquerade"));
        if !four.is_empty() {
            text.rule("ct status dnat ip daddr @masqueraded4 masquerade");
        }
        if !six.is_empty() {
            text.rule("ct status dnat ip6 daddr @masqueraded6 masquerade");
        }
    });
}

/// The host follows the connections of all guests in one table, so each has a share of it. Those that others begin with a
/// guest are not the guest's. A port lets through only its own addresses, so that nobody uses up the share of another.
fn begun(text: &mut Text, connections: u32) {
    for six in [false, true] {
        text.line(1, format_args!("set {} {{", followed(six)));
        text.line(2, format_args!("type {};", if six { "ipv6_addr" } else { "ipv4_addr" }));
        text.line(2, "size 65535;");
        text.line(2, "flags dynamic;");
        text.line(1, "}");
    }
    text.chain("begun", None, |text| {
        // Who asks for an address has none yet: all ask in one connection.
        text.rule("ip saddr 0.0.0.0 return");
        for (six, family) in [(false, "ip"), (true, "ip6")] {
            let set = followed(six);
            text.rule(format_args!("add @{set} {{ {family} saddr ct count over {connections} }} drop"));
        }
    });
}

fn followed(six: bool) -> &'static str {
    if six { "begun6" } else { "begun4" }
}

/// Where what comes from guests is counted.
fn count(text: &mut Text, input: &Input<'_>) {
    if input.connections > 0 {
        text.rule(format_args!("iifname {} ct state new jump begun", set(ours(input.networks))));
    }
}

/// What guests may send to the host itself: on the host-only bridge only to what the host is there. Its other addresses
/// would be a way around, to the name server of the other bridge for one. All else is for the host's own firewall.
fn to_the_host(text: &mut Text, input: &Input<'_>) {
    let hostonly = quoted(&input.networks.hostonly.bridge);
    text.chain("to_the_host", Some("filter hook input priority filter"), |text| {
        count(text, input);
        // Answers to the host's own connections, which it may have begun from any address.
        text.rule(format_args!("iifname {hostonly} ct direction reply accept"));
        text.rule(format_args!(
            "iifname {hostonly} fib daddr . iif type != {{ local, broadcast, multicast }} drop"
        ));
    });
}

fn through_the_host(text: &mut Text, input: &Input<'_>) {
    let networks = input.networks;
    let (hostonly, internet) = (quoted(&networks.hostonly.bridge), quoted(&networks.internet.bridge));
    let uplink = networks.internet.uplink.as_ref().map(quoted);
    text.chain("through_the_host", Some("filter hook forward priority filter"), |text| {
        count(text, input);
        // With `bridge-nf-call-iptables` (Docker sets it) what a bridge passes on comes by here, too: the ports decide.
        for (bridge, mac) in [(&hostonly, input.macs.hostonly), (&internet, input.macs.internet)] {
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            text.rule(format_args!("iifname {bridge} oifname {bridge} ether daddr != {mac} accept"));
        }
        let ours = set(ours(networks));
        text.rule(format_args!("iifname {ours} oifname {ours} drop"));
        text.rule(format_args!("iifname {ours} ct direction reply ct status dnat accept"));
        text.rule(format_args!("iifname {hostonly} drop"));
        text.rule(format_args!("oifname {hostonly} ct status dnat accept"));
        text.rule(format_args!("oifname {hostonly} drop"));

        text.rule(format_args!("iifname {internet} ip saddr != {} drop", v4_network(networks)));
        match &networks.internet.ipv6 {
            Some(ipv6) => {
                let prefix = v6_network(ipv6.address);
                text.rule(format_args!("iifname {internet} ip6 saddr != {prefix} drop"));
            }
            None => text.rule(format_args!("meta nfproto ipv6 iifname {internet} drop")),
        }
        if let Some(uplink) = &uplink {
            text.rule(format_args!("iifname {internet} oifname != {uplink} drop"));
        }
        text.rule(format_args!("iifname {internet} accept"));
        text.rule(format_args!("oifname {internet} ct state established,related accept"));
        text.rule(format_args!("oifname {internet} ct status dnat accept"));
        if networks.internet.ipv6.is_some() {
            // Its addresses are routed to this host: what a guest does not want, its own firewall refuses.
            let from = uplink.map_or_else(String::new, |uplink| format!("iifname {uplink} "));
            text.rule(format_args!("meta nfproto ipv6 {from}oifname {internet} accept"));
        }
        text.rule(format_args!("oifname {internet} drop"));
    });
}

fn ours(networks: &Networks) -> [&InterfaceName; 2] {
    [&networks.hostonly.bridge, &networks.internet.bridge]
}

fn quoted(interface: &InterfaceName) -> String {
    format!("\"{}\"", interface.as_str())
}

fn set<'a>(interfaces: impl IntoIterator<Item = &'a InterfaceName>) -> String {
    let names: Vec<String> = interfaces.into_iter().map(quoted).collect();
    format!("{{ {} }}", names.join(", "))
}

fn v4_network(networks: &Networks) -> String {
    let address = networks.internet.address;
    format!("{}/{}", address.network(), address.prefix())
}

fn v6_network(address: Ipv6Network) -> String {
    format!("{}/{}", address.network(), address.prefix())
}

#[cfg(test)]
mod tests;
