//! What is told of containers, and to whom.

use super::*;
use crate::model::spec::NetworkSpec;

fn layout() -> Layout {
    Layout::new(&HostConfig::default()).unwrap()
}

fn ipv6() -> HostConfig {
    HostConfig::from_toml("[network.internet.ipv6]\naddress = \"2001:db8:1::1/64\"").unwrap()
}

fn spec(change: impl FnOnce(&mut NetworkSpec)) -> ContainerSpec {
    let json = r#"{"schema":1,"name":null,"autostart":{"enable":false,"order":0,"delay":0,"after":[]},
        "network":{"bridge":null,"ip":null,"prefixLength":null,"gateway":null,"enableNat":true},
        "lxcExtraConfig":"","idmap":"isolated","effective":{"ip":"10.101.0.2","prefixLength":16}}"#;
    let mut spec = ContainerSpec::from_json(json.as_bytes()).unwrap();
    change(&mut spec.network);
    spec
}

/// What is told of a container: for each resolver, and for DHCP.
fn lines_of(name: &str, spec: &ContainerSpec, config: &HostConfig) -> [Option<String>; 4] {
    let name = name.parse().unwrap();
    let interface = InterfaceId::of(Path::new("/var/lib/lxc"), &name, 0);
    let internet = Some(Ipv4Addr::new(10, 202, 0, 10));
    let entry = Entry { name: &name, spec, internet, interface };
    let names = Resolver::ALL.map(|resolver| entry.names(resolver, config));
    let [hostonly, internet, host] = names;
    [hostonly, internet, host, entry.lease(config)]
}

#[test]
fn the_configurations() {
    let all = Resolver::ALL.map(|resolver| config(resolver, &ipv6(), &layout())).join("\n");
    insta::assert_snapshot!(all);
}

#[test]
fn without_ipv6_there_is_none_of_it() {
    let text = config(Resolver::Internet, &HostConfig::default(), &layout());
    for word in ["enable-ra", "quiet-ra", "dhcp6", "option6", "dhcp-duid"] {
        assert!(!text.contains(word), "{text}");
    }
}

#[test]
fn name_servers_of_the_configuration_take_the_place_of_the_host() {
    let mut ours = ipv6();
    ours.network.internet.ipv6.as_mut().unwrap().name_servers =
        vec!["2001:db8::53".parse().unwrap(), "2001:db8::54".parse().unwrap()];
    let text = config(Resolver::Internet, &ours, &layout());
    assert!(text.contains("\ndhcp-option=option6:dns-server,[2001:db8::53],[2001:db8::54]\n"), "{text}");
}

#[test]
fn a_prefix_that_dnsmasq_does_not_know_is_cut_to_one_it_does() {
    let wide = |address: &str| {
        let toml = format!("[network.internet.ipv6]\naddress = \"{address}\"");
        config(Resolver::Internet, &HostConfig::from_toml(&toml).unwrap(), &layout())
    };
    assert!(wide("2001:db8:1::1/48").contains("\ndhcp-range=2001:db8:1::,static,64,1h\n"));
    assert!(wide("2001:db8:1::5:1/112").contains("\ndhcp-range=2001:db8:1::5:0,static,112,1h\n"));
}

#[test]
fn an_isolated_container_is_known_to_the_host_alone() {
    let [hostonly, internet, host, lease] = lines_of("web", &spec(|_| {}), &ipv6());
    assert_eq!((hostonly, internet), (None, None));
    assert_eq!(host.as_deref(), Some("10.101.0.2 web.containers\n2001:db8:1::a web.containers\n"));
    let lease = lease.unwrap();
    assert!(lease.starts_with("06:4e:") && lease.ends_with(",10.202.0.10,[2001:db8:1::a]\n"), "{lease}");
}

#[test]
fn an_open_one_is_known_by_the_address_that_it_has_on_that_bridge() {
    let open = spec(|network| network.isolated = false);
    let [hostonly, internet, ..] = lines_of("web", &open, &ipv6());
    assert_eq!(hostonly.as_deref(), Some("10.101.0.2 web.containers\n"));
    let both = "10.202.0.10 web.containers web\n2001:db8:1::a web.containers web\n";
    assert_eq!(internet.as_deref(), Some(both));
    // None of these is on the host-only bridge, or leads out.
    let elsewhere = spec(|network| {
        network.isolated = false;
        network.bridge = Some("br0".parse().unwrap());
        network.enable_nat = false;
    });
    let [hostonly, internet, host, lease] = lines_of("web", &elsewhere, &ipv6());
    assert_eq!((hostonly, internet, lease), (None, None, None));
    assert_eq!(host.as_deref(), Some("10.101.0.2 web.containers\n"));
}

#[test]
fn no_container_takes_the_name_of_the_host() {
    for name in ["host", "Host", "localhost"] {
        let [hostonly, internet, host, _] =
            lines_of(name, &spec(|network| network.isolated = false), &ipv6());
        assert_eq!((hostonly, internet, host), (None, None, None), "{name}");
    }
}

#[test]
fn the_unit() {
    insta::assert_snapshot!(unit(Path::new("/usr/sbin/dnsmasq"), &layout()));
}
