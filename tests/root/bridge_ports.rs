//! The ports of bridges on the host: how they are set, that they stay so, and what has none.

use std::net::Ipv4Addr;
use std::time::Duration;

use nixcloud_container::{Change, Error, Part, State, Verdict};

use crate::harness::frames::{BROADCAST, Mac, Tap, dhcp, ip4, udp};
use crate::harness::{Guest, Lab, Must, chain, eventually, scenarios};
use crate::ports::{HOSTONLY, SILENCE, SOON, Side, heard, tool};
use crate::spoofing::landed;

scenarios! {
    once: [
        root_isolation_lasts_over_reboots_and_firewalls,
        root_a_second_interface_is_isolated_as_the_first,
        root_a_bridge_of_the_administrators,
        root_a_port_that_cannot_be_isolated_stops_the_start,
        root_our_bridges_take_no_other_interfaces,
        root_no_name_of_a_bridge_reaches_a_shell,
        root_a_late_address_of_the_bridge_is_told_and_mended,
    ],
    both: [],
}

fn isolated(a: &Guest<'_>, b: &Guest<'_>) -> bool {
    let (a_side, b_side) = (Side::of(a), Side::of(b));
    heard(&a_side, &b_side).is_empty() && landed(&a_side, &b_side).is_empty()
}

fn wrong_ports(lab: &Lab) -> Vec<String> {
    let findings = lab.manager().host_check().into_iter();
    findings.filter(|f| f.part == Part::BridgePort && f.verdict == Verdict::Wrong).map(|f| f.what).collect()
}

fn root_isolation_lasts_over_reboots_and_firewalls(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    a.boot();
    b.boot();
    let init = a.init();
    a.shell("rm /run/greeting; kill -INT 1");
    eventually("it rebooted", Duration::from_secs(10), || {
        a.state() == State::Running && a.container().status().must("status").init_pid != Some(init)
    });
    a.await_version();
    assert!(isolated(&a, &b) && a.pings());
    tool("nft flush ruleset");
    assert!(isolated(&a, &b) && a.pings());
    assert_eq!(wrong_ports(lab), [""; 0]);
    // What somebody takes away is noticed, and put back.
    let port = port(&a);
    for (change, words) in [
        (format!("tc qdisc del dev {port} clsact"), "sends"),
        (format!("tc filter del dev {port} ingress"), "sends"),
        (format!("ip link set {port} type bridge_slave isolated off"), "isolate"),
    ] {
        tool(&change);
        let wrong = wrong_ports(lab);
        assert!(wrong.len() == 1 && wrong[0].contains(words), "{change}: {wrong:?}");
        let changes = lab.manager().host_up().must("host up");
        let mended: Vec<_> = changes.iter().filter(|change| change.part == Part::BridgePort).collect();
        assert!(
            mended.len() == 1 && mended[0].name == port && mended[0].change == Change::Mended,
            "{changes:?}"
        );
        assert_eq!(wrong_ports(lab), [""; 0], "{change}");
        assert!(isolated(&a, &b) && a.pings(), "{change}");
    }
    let changes = lab.manager().host_up().must("host up");
    assert!(changes.iter().all(|change| change.part != Part::BridgePort), "{changes:?}");
}

/// The host's name of a guest's first interface.
fn port(guest: &Guest<'_>) -> String {
    let config = guest.config();
    let line = config.lines().find_map(|line| line.strip_prefix("lxc.net.0.veth.pair = "));
    line.unwrap().to_owned()
}

fn root_a_second_interface_is_isolated_as_the_first(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    for guest in [&a, &b] {
        guest.create_from(&guest.file().keys("network.enableNat = true;"));
        guest.start();
    }
    let internet = |guest: &Guest<'_>| {
        let config = guest.config();
        let policy = config.lines().find(|line| line.starts_with("lxc.net.1.script.up")).unwrap().to_owned();
        let ip = policy.split_once(",ip=").unwrap().1.split(',').next().unwrap().parse().unwrap();
        Side { tap: Tap::of(guest.init(), "internet"), ip }
    };
    let (a_side, b_side) = (internet(&a), internet(&b));
    let bridge = Tap::here("brNC-internet");
    // Who asks for an address is heard, and hears the answer; a server among the guests is not.
    let nowhere = Ipv4Addr::UNSPECIFIED;
    let ask =
        ip4((BROADCAST, a_side.mac()), nowhere, Ipv4Addr::BROADCAST, 17, &dhcp(a_side.mac(), b"dhcp asks"));
    b_side.tap.forget();
    a_side.tap.send(&ask);
    assert!(bridge.hears(b"dhcp asks", SOON));
    assert!(!b_side.tap.hears(b"dhcp asks", SILENCE));
    let host: Ipv4Addr = [10, 202, 0, 1].into();
    let answer = |macs, from| ip4(macs, from, Ipv4Addr::BROADCAST, 17, &udp(67, 68, b"dhcp answers"));
    bridge.send(&answer((BROADCAST, bridge.mac), host));
    assert!(a_side.tap.hears(b"dhcp answers", SOON));
    bridge.forget();
    a_side.tap.forget();
    a_side.tap.send(&answer((BROADCAST, a_side.mac()), a_side.ip));
    assert!(!bridge.hears(b"dhcp answers", SILENCE));
    // Out into the world, but to no neighbour, and not into the other network.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let other: Ipv4Addr = b
        .container()
        .addresses()
        .must("addresses")
        .into_iter()
        .find_map(|ip| match ip {
            std::net::IpAddr::V4(ip) if ip.octets()[1] == 101 => Some(ip),
            _ => None,
        })
        .unwrap();
    let hostonly = Tap::of(b.init(), "hostonly");
    for (to, macs, heard) in [
        (Ipv4Addr::from([198, 51, 100, 1]), (bridge.mac, a_side.mac()), true),
        (host, (bridge.mac, a_side.mac()), true),
        (b_side.ip, (bridge.mac, a_side.mac()), false),
        (b_side.ip, (b_side.mac(), a_side.mac()), false),
        (other, (bridge.mac, a_side.mac()), false),
    ] {
        bridge.forget();
        a_side.tap.send(&ip4(macs, a_side.ip, to, 17, &udp(5000, 5000, b"to somewhere")));
        assert_eq!(bridge.hears(b"to somewhere", SILENCE), heard, "{to}");
    }
    assert!(!hostonly.hears(b"to somewhere", SILENCE) && !b_side.tap.hears(b"to somewhere", SILENCE));
    // Each interface has its own address, and not the other's.
    let first = Side { tap: Tap::of(a.init(), "hostonly"), ip: a_side.ip };
    let hostonly = Tap::here(HOSTONLY);
    first.tap.send(&ip4(
        (hostonly.mac, first.mac()),
        first.ip,
        [10, 101, 0, 1].into(),
        17,
        &udp(1, 1, b"the other's"),
    ));
    assert!(!hostonly.hears(b"the other's", SILENCE));
    assert_eq!(wrong_ports(lab), [""; 0]);
}

fn root_a_bridge_of_the_administrators(lab: &Lab) {
    // Without one of its own, or a port of the administrator's, it has that of a guest's port, and changes it with them.
    tool("ip link add br-admin address 12:00:00:00:00:01 type bridge");
    tool("ip addr add 192.0.2.1/24 dev br-admin");
    tool("ip link set br-admin up");
    let (fixed, dhcp) = (lab.busybox("fixed"), lab.busybox("dhcp"));
    fixed.create_from(&fixed.file().keys("network.bridge = \"br-admin\"; network.ip = \"192.0.2.9/24\";"));
    fixed.start();
    dhcp.create_from(&dhcp.file().keys("network.bridge = \"br-admin\";"));
    dhcp.start();
    assert!(fixed.pings());
    let bridge = Tap::here("br-admin");
    let host: Ipv4Addr = [192, 0, 2, 1].into();
    let hears = |side: &Side, from: Ipv4Addr, mac: Mac| {
        bridge.forget();
        side.tap.send(&ip4((bridge.mac, mac), from, host, 17, &udp(5000, 5000, b"to the bridge")));
        bridge.hears(b"to the bridge", SILENCE)
    };
    let side =
        |guest: &Guest<'_>, ip: [u8; 4]| Side { tap: Tap::of(guest.init(), "hostonly"), ip: ip.into() };
    let (a, b) = (side(&fixed, [192, 0, 2, 9]), side(&dhcp, [192, 0, 2, 77]));
    assert!(hears(&a, a.ip, a.mac()) && !hears(&a, b.ip, a.mac()) && !hears(&a, a.ip, b.mac()));
    // Whatever address that network gives it; the MAC address is its own all the same.
    assert!(hears(&b, b.ip, b.mac()) && !hears(&b, b.ip, a.mac()));
    assert_eq!((heard(&a, &b).len(), heard(&b, &a).len()), (0, 0));
    let findings = lab.manager().host_check();
    let of = |guest: &Guest<'_>| findings.iter().find(|f| f.name == port(guest)).unwrap().verdict;
    assert_eq!((of(&fixed), of(&dhcp)), (Verdict::Good, Verdict::Off));
    // By way of the host.
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    dhcp.shell("busybox ip addr add 192.0.2.77/24 dev hostonly");
    a.tap.send(&ip4((bridge.mac, a.mac()), a.ip, b.ip, 17, &udp(5000, 5000, b"back again")));
    assert!(!b.tap.hears(b"back again", Duration::from_millis(300)));
    for guest in [&fixed, &dhcp] {
        guest.stop();
        guest.destroy();
    }
    tool("ip link del br-admin");
}

fn root_a_port_that_cannot_be_isolated_stops_the_start(lab: &Lab) {
    // A thing of that name which is no bridge of the kernel's, as an Open vSwitch would be.
    let web = lab.busybox("web");
    web.create();
    let program = lab.path("/files/it's refused");
    let start = || {
        let manager = lab.manager_with(|config| config.worker = Some(program.clone()));
        let error = manager.container(web.name().clone()).start(&mut ()).unwrap_err();
        assert!(matches!(error, Error::Isolation { .. }), "{}", chain(&error));
        assert!(error.hint().unwrap().contains("network.isolation = false"));
        assert_eq!(web.state(), State::Stopped);
        error.to_string()
    };
    let said = start();
    assert!(said.contains("cannot be run"), "{said}");
    std::fs::write(&program, "#!/bin/sh\nexit 72\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = start();
    assert!(said.contains("cls_bpf"), "{said}");
    web.start();
    assert!(web.pings());
}

fn root_our_bridges_take_no_other_interfaces(lab: &Lab) {
    let web = lab.busybox("web");
    let file = web.file().extra("lxc.net.2.type = veth\\nlxc.net.2.link = brNC-hostonly");
    let error = web.try_create(&file).unwrap_err();
    assert!(error.to_string().contains("brNC-hostonly"), "{error}");
    lab.assert_nothing_left();
}

/// LXC gives a bridge's name to `sh -c`, as a word beside our program.
fn root_no_name_of_a_bridge_reaches_a_shell(lab: &Lab) {
    // The kernel lets a bridge be called so: with it the guest's start would run the rest.
    tool("ip link add b;>pwned type bridge");
    let web = lab.busybox("web");
    for odd in ["b;>pwned", "b$(id)", "b`id`", "b|id", "b&id", "-b", "b'", "b c"] {
        let text = odd.replace('$', "\\$");
        let error = web.try_create(&web.file().keys(&format!("network.bridge = \"{text}\";"))).unwrap_err();
        assert!(chain(&error).contains("network.bridge"), "{odd}: {}", chain(&error));
    }
    for key in ["link", "name", "veth.pair"] {
        let lines = format!("lxc.net.2.type = veth\\nlxc.net.2.{key} = b;>pwned");
        let error = web.try_create(&web.file().extra(&lines)).unwrap_err();
        assert!(chain(&error).contains("interface name"), "{key}: {}", chain(&error));
    }
    let config = "[network.hostonly]\nbridge = \"b;>pwned\"\n";
    let error = toml::from_str::<nixcloud_container::HostConfig>(config).unwrap_err();
    assert!(error.to_string().contains("interface name"), "{error}");
    tool("ip link del b;>pwned");
    lab.assert_nothing_left();
}

/// Its fixed IPv6 address reaches the host alone: at which address the host is there is known when the port is set.
fn root_a_late_address_of_the_bridge_is_told_and_mended(lab: &Lab) {
    let a = lab.busybox("a");
    a.create_from(&a.file().keys("network.ip6 = \"fd00:7::2/64\"; network.gateway6 = \"fd00:7::1\";"));
    a.start();
    tool("ip addr add fd00:7::1/64 dev brNC-hostonly nodad");
    let wrong = wrong_ports(lab);
    assert!(wrong.len() == 1 && wrong[0].contains("have changed since"), "{wrong:?}");
    let pings = || a.sh("busybox ping -6 -c1 -W1 fd00:7::1").exit.success();
    // The guest has the address by itself, and its way to others.
    eventually("its address", Duration::from_secs(10), || {
        let shown = a.sh("busybox ip -6 addr show dev hostonly").text();
        shown.contains("fd00:7::2/64") && !shown.contains("tentative")
    });
    assert!(!pings());
    lab.manager().host_up().must("host up");
    assert_eq!(wrong_ports(lab), [""; 0]);
    eventually("the host answers", SOON, pings);
    eventually("its gateway", SOON, || {
        a.sh("busybox ip -6 route").text().contains("default via fd00:7::1 dev hostonly")
    });
    a.stop();
}
