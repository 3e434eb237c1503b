//! Golden tests of the table.

use super::*;
use crate::model::config::{HostConfig, Ipv6Config};

fn networks() -> Networks {
    HostConfig::default().network
}

fn whole() -> Networks {
    let mut networks = networks();
    networks.internet.uplink = Some("eth0".parse().unwrap());
    networks.internet.ipv6 =
        Some(Ipv6Config { address: "2001:db8:1::1/64".parse().unwrap(), name_servers: Vec::new() });
    networks
}

fn route(port: &str, target: &str, bridge: &str) -> Route {
    Route {
        port: port.parse().unwrap(),
        target: target.parse().unwrap(),
        bridge: bridge.parse().unwrap(),
        owner: "web".parse().unwrap(),
    }
}

fn forwards() -> Vec<Route> {
    vec![
        route("tcp-8080", "10.101.0.2:80", "brNC-hostonly"),
        route("tcp-443", "10.202.0.10:443", "brNC-internet"),
        route("tcp-443", "[2001:db8:1::10]:443", "brNC-internet"),
        route("udp-53", "10.9.0.2:5353", "br7"),
        route("udp-53", "[fd00:9::2]:5353", "br7"),
        route("tcp-9", "10.9.0.2:9", "br7"),
    ]
}

fn table(networks: &Networks, forwards: &[Route]) -> Table {
    let macs = Macs { hostonly: [2, 0, 0, 0, 0, 1], internet: [2, 0, 0, 0, 0, 2] };
    render(&Input { networks, connections: 8192, macs, forwards })
}

#[test]
fn the_default() {
    insta::assert_snapshot!(table(&networks(), &[]).load());
}

#[test]
fn an_uplink_ipv6_and_forwards() {
    insta::assert_snapshot!(table(&whole(), &forwards()).load());
}

#[test]
fn the_identity_follows_what_it_is_made_of() {
    let one = table(&networks(), &[]);
    assert_eq!(one, table(&networks(), &[]));
    assert_ne!(one.identity, table(&whole(), &[]).identity);
    assert_ne!(one.identity, table(&networks(), &forwards()).identity);
}

fn listening() -> Vec<Route> {
    vec![
        route("tcp-8080@192.0.2.1", "10.101.0.2:80", "brNC-hostonly"),
        route("tcp-8080@192.0.2.2", "10.101.0.3:80", "brNC-hostonly"),
        route("tcp-8080@2001:db8::1", "[fd00:9::2]:80", "br7"),
        route("udp-53@192.0.2.1", "10.101.0.2:53", "brNC-hostonly"),
        route("tcp-443", "10.101.0.2:443", "brNC-hostonly"),
    ]
}

#[test]
fn ports_of_one_address_each() {
    insta::assert_snapshot!(table(&networks(), &listening()).load());
}

/// nft and the kernel take it, and count as we do.
#[test]
fn root_it_loads() {
    use crate::net::nft::Nft;
    use crate::net::testing::in_own_netns;
    use crate::sys::tool::Tool;
    in_own_netns(|| {
        let nft = Nft::new(Tool::new(std::path::Path::new("nft"), &crate::model::observe::Cancel::new()));
        for (networks, forwards) in
            [(networks(), vec![]), (whole(), forwards()), (networks(), forwards()), (networks(), listening())]
        {
            let table = table(&networks, &forwards);
            nft.load(&table.load()).unwrap();
            let there = nft.table(FAMILY, TABLE).unwrap().unwrap();
            assert_eq!((there.rules(), there.elements), (table.rules, table.elements));
            let identity = there.chains.iter().find(|chain| chain.name == IDENTITY).unwrap();
            assert_eq!(identity.rules[0].comment.as_deref(), Some(table.identity.as_str()));
        }
        nft.load(&remove()).unwrap();
        assert_eq!(nft.ruleset().unwrap(), crate::net::nft::Ruleset::default());
    });
}
