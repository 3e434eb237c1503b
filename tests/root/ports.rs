//! The ports of containers: kept from each other, each to its own addresses. With real frames, in real guests.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use nixcloud_container::{Change, Error, Manager, Part, State, Verdict};

use crate::harness::frames::{
    BROADCAST, Mac, Tap, arp, dhcp, ether, icmp6, ip4, ip6, labelled, link_local, udp,
};
use crate::harness::{Guest, Kind, Lab, Must, chain, eventually, scenarios};

scenarios! {
    once: [
        root_a_guest_cannot_take_what_is_not_its_own,
        root_without_isolation_the_same_is_let_through,
        root_neighbour_discovery_does_not_lead_answers_elsewhere,
        root_open_guests_reach_each_other,
        root_an_isolated_and_an_open_guest_hear_nothing_of_each_other,
        root_the_host_does_not_route_between_guests,
        root_isolation_lasts_over_reboots_and_firewalls,
        root_a_second_interface_is_isolated_as_the_first,
        root_a_bridge_of_the_administrators,
        root_a_port_that_cannot_be_isolated_stops_the_start,
        root_our_bridges_take_no_other_interfaces,
        root_no_name_of_a_bridge_reaches_a_shell,
        root_a_late_address_of_the_bridge_is_told_and_mended,
    ],
    both: [
        root_isolated_guests_hear_nothing_of_each_other,
    ],
}

const HOSTONLY: &str = "brNC-hostonly";

/// How long is waited for what must not come: what comes takes microseconds.
const SILENCE: Duration = Duration::from_millis(60);
const SOON: Duration = Duration::from_secs(3);

fn tool(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// A side of a conversation: a guest's interface.
struct Side {
    tap: Tap,
    ip: Ipv4Addr,
}

impl Side {
    fn of(guest: &Guest<'_>) -> Self {
        Self { tap: Tap::of(guest.init(), "hostonly"), ip: guest.address() }
    }

    fn mac(&self) -> Mac {
        self.tap.mac
    }

    fn local(&self) -> Ipv6Addr {
        link_local(self.mac())
    }
}

/// A mark that no other frame has.
fn mark(name: &str) -> Vec<u8> {
    format!("mark of {name}").into_bytes()
}

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Honest frames from one guest to another, of each protocol, each with its mark.
fn greetings(a: &Side, b: &Side) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let macs = (b.mac(), a.mac());
    let made = |name: &'static str, frame: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mark = mark(name);
        let frame = frame(&mark);
        (name, frame, mark)
    };
    vec![
        made("IPv4", &|m| ip4(macs, a.ip, b.ip, 17, &udp(5000, 5000, m))),
        made("IPv4 to all", &|m| {
            ip4((BROADCAST, a.mac()), a.ip, [10, 101, 255, 255].into(), 17, &udp(5000, 5000, m))
        }),
        made("IPv4 to a group", &|m| {
            ip4(([1, 0, 0x5e, 0, 0, 0xfb], a.mac()), a.ip, [224, 0, 0, 251].into(), 17, &udp(5353, 5353, m))
        }),
        made("ARP to all", &|m| arp(BROADCAST, a.mac(), (a.mac(), a.ip), b.ip, m)),
        made("ARP to one", &|m| arp(b.mac(), a.mac(), (a.mac(), a.ip), b.ip, m)),
        made("IPv6 link-local", &|m| ip6(macs, a.local(), b.local(), 17, &udp(5000, 5000, m))),
        made("IPv6 to all", &|m| {
            ip6((ALL_NODES_MAC, a.mac()), a.local(), ALL_NODES, 17, &udp(5353, 5353, m))
        }),
        {
            let rest = [&[0; 4][..], &b.local().octets()].concat();
            let asks = icmp6(a.local(), ALL_NODES, 135, &rest);
            let (frame, mark) =
                labelled(ip6((ALL_NODES_MAC, a.mac()), a.local(), ALL_NODES, 58, &asks), 0x4e4e);
            ("a neighbour solicitation", frame, mark)
        },
        made("a MAC address that the bridge does not know", &|m| {
            ip4(([0x02, 0xaa, 0, 0, 0, 1], a.mac()), a.ip, [10, 101, 0, 1].into(), 17, &udp(5000, 5000, m))
        }),
    ]
}

/// Which greetings from `a` reach `b`.
fn heard(a: &Side, b: &Side) -> Vec<&'static str> {
    let mut heard = Vec::new();
    for (name, frame, mark) in greetings(a, b) {
        b.tap.forget();
        a.tap.send(&frame);
        if b.tap.hears(&mark, SILENCE) {
            heard.push(name);
        }
    }
    heard
}

fn root_isolated_guests_hear_nothing_of_each_other(lab: &Lab, kind: Kind) {
    let (a, b) = (lab.guest("a", kind), lab.guest("b", kind));
    a.boot();
    b.boot();
    let (a_side, b_side) = (Side::of(&a), Side::of(&b));
    assert_eq!(heard(&a_side, &b_side), [""; 0]);
    assert_eq!(heard(&b_side, &a_side), [""; 0]);
    // Both speak with the host, and it with them.
    assert!(a.pings() && b.pings());
    assert!(a.sh("ping -c1 -W2 10.101.0.1 || busybox ping -c1 -W2 10.101.0.1").exit.success());
    let said = a.sh(&format!("ping -c1 -W1 {0} || busybox ping -c1 -W1 {0}", b.address()));
    assert!(!said.exit.success(), "{said:?}");
}

fn root_open_guests_reach_each_other(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    for guest in [&a, &b] {
        guest.create_from(&guest.file().keys("network.isolated = false;"));
        guest.start();
    }
    let (a_side, b_side) = (Side::of(&a), Side::of(&b));
    let mut all: Vec<&str> = greetings(&a_side, &b_side).into_iter().map(|(name, ..)| name).collect();
    // What is for nobody is flooded to no container.
    all.pop();
    assert_eq!(heard(&a_side, &b_side), all);
    assert_eq!(heard(&b_side, &a_side), all);
    a.shell(&format!("busybox ping -c1 -W2 {}", b.address()));
    // The kernel takes its time to try its own link-local address.
    eventually("IPv6 reaches", Duration::from_secs(10), || {
        a.sh(&format!("busybox ping -c1 -W2 {}%hostonly", b_side.local())).exit.success()
    });
}

fn root_an_isolated_and_an_open_guest_hear_nothing_of_each_other(lab: &Lab) {
    let (isolated, open) = (lab.busybox("isolated"), lab.busybox("open"));
    isolated.boot();
    open.create_from(&open.file().keys("network.isolated = false;"));
    open.start();
    let (a, b) = (Side::of(&isolated), Side::of(&open));
    assert_eq!(heard(&a, &b), [""; 0]);
    assert_eq!(heard(&b, &a), [""; 0]);
    assert!(isolated.pings() && open.pings());
}

/// Frames that a guest may not send, each with its mark.
fn attacks(a: &Side, victim: &Side, host: Mac) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let host_ip: Ipv4Addr = [10, 101, 0, 1].into();
    let all: Ipv4Addr = [10, 101, 255, 255].into();
    let made = |name: &'static str, frame: &dyn Fn(&[u8]) -> Vec<u8>| {
        let mark = mark(name);
        let frame = frame(&mark);
        (name, frame, mark)
    };
    let any = (BROADCAST, a.mac());
    let router: Ipv6Addr = link_local(a.mac());
    vec![
        made("another's MAC address", &|m| {
            ip4((BROADCAST, victim.mac()), victim.ip, all, 17, &udp(5000, 5000, m))
        }),
        made("another's IPv4 address", &|m| {
            ip4((host, a.mac()), victim.ip, host_ip, 17, &udp(5000, 5000, m))
        }),
        made("ARP for another's address", &|m| arp(BROADCAST, a.mac(), (a.mac(), victim.ip), victim.ip, m)),
        made("ARP for the host's address", &|m| arp(BROADCAST, a.mac(), (a.mac(), host_ip), host_ip, m)),
        made("ARP with another's MAC address", &|m| {
            arp(BROADCAST, a.mac(), (victim.mac(), a.ip), host_ip, m)
        }),
        made("another's IPv6 address", &|m| {
            ip6((ALL_NODES_MAC, a.mac()), victim.local(), ALL_NODES, 17, &udp(5000, 5000, m))
        }),
        made("a router's advertisement", &|m| {
            let rest = [&[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0][..], m].concat();
            ip6((ALL_NODES_MAC, a.mac()), router, ALL_NODES, 58, &icmp6(router, ALL_NODES, 134, &rest))
        }),
        made("another's neighbour advertisement", &|m| {
            let rest = [&[0x20, 0, 0, 0][..], &victim.local().octets(), m].concat();
            ip6((ALL_NODES_MAC, a.mac()), router, ALL_NODES, 58, &icmp6(router, ALL_NODES, 136, &rest))
        }),
        made("a DHCP server's answer", &|m| ip4(any, a.ip, Ipv4Addr::BROADCAST, 17, &udp(67, 68, m))),
        made("a DHCPv6 server's answer", &|m| {
            ip6((ALL_NODES_MAC, a.mac()), router, ALL_NODES, 17, &udp(547, 546, m))
        }),
        made("a VLAN", &|m| {
            let inner = ip4((BROADCAST, a.mac()), a.ip, all, 17, &udp(5000, 5000, m));
            [&inner[..12], &[0x81, 0, 0, 5], &inner[12..]].concat()
        }),
        made("another protocol", &|m| ether(BROADCAST, a.mac(), 0x88b5, m)),
        made("a probe of another's address", &|m| {
            arp(BROADCAST, a.mac(), (a.mac(), Ipv4Addr::UNSPECIFIED), victim.ip, m)
        }),
        made("RARP within ARP", &|m| {
            let mut frame = arp(BROADCAST, a.mac(), (a.mac(), a.ip), host_ip, m);
            frame[21] = 3;
            frame
        }),
        made("inverse neighbour discovery", &|m| {
            let rest = [&[0; 4][..], &[1, 1], &a.mac(), &[2, 1], &victim.mac(), m].concat();
            ip6((ALL_NODES_MAC, a.mac()), router, ALL_NODES, 58, &icmp6(router, ALL_NODES, 141, &rest))
        }),
    ]
}

/// Messages of neighbour discovery by which the host would send the answers to a guest elsewhere: the guest's own
/// address, with a MAC address that is not its own, wherever that may stand.
fn discoveries(a: &Side, evil: Mac, host: Mac) -> Vec<(String, Vec<u8>, Vec<u8>)> {
    let option = |kind: u8, mac: Mac| [&[kind, 1][..], &mac].concat();
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6].to_vec();
    let target = link_local(host);
    let mut made = Vec::new();
    let about = |address: Ipv6Addr| [&[0x20, 0, 0, 0][..], &address.octets()].concat();
    for (what, kind, head, layer) in [
        ("routers", 133, vec![0; 4], 1),
        ("solicitation", 135, about(target), 1),
        ("advertisement", 136, about(a.local()), 2),
    ] {
        let (own, other) = (option(layer, a.mac()), option(layer, evil));
        let zero = [&[layer, 0][..], &evil].concat();
        let double = [&[layer, 2][..], &evil, &[0; 8]].concat();
        for (how, options) in [
            ("alone", other.clone()),
            ("second", [own.clone(), other.clone()].concat()),
            ("first", [other.clone(), own.clone()].concat()),
            ("twice", [other.clone(), other.clone()].concat()),
            ("behind a nonce", [nonce.clone(), other.clone()].concat()),
            ("of length 0", zero),
            ("of length 2", double),
            ("in a fragment", other.clone()),
        ] {
            let message = icmp6(a.local(), target, kind, &[head.clone(), options].concat());
            if how == "in a fragment" {
                // The host may take the fragment's header away before the tap sees it.
                let parts = [&[58, 0, 0, 0, 0, 0, 0, 9][..], &message].concat();
                let frame = ip6((host, a.mac()), a.local(), target, 44, &parts);
                made.push((format!("{what}, {how}"), frame, message));
                continue;
            }
            let packet = ip6((host, a.mac()), a.local(), target, 58, &message);
            let (frame, mark) = labelled(packet, 0x4e00 + u16::try_from(made.len()).unwrap());
            made.push((format!("{what}, {how}"), frame, mark));
        }
    }
    made
}

/// What the host knows of who has an address at a bridge.
fn neighbour(bridge: &str, address: &str) -> String {
    let output = Command::new("ip").args(["neigh", "show", "to", address, "dev", bridge]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Which of them reach the host, and whether it then takes the address to be elsewhere.
fn believed(a: &Side, evil: Mac) -> (Vec<String>, Vec<String>) {
    let host = Tap::here(HOSTONLY);
    let text = evil.map(|byte| format!("{byte:02x}")).join(":");
    let (mut heard, mut believed) = (Vec::new(), Vec::new());
    for (name, frame, mark) in discoveries(a, evil, host.mac) {
        // The host knows the guest, as it does while they speak.
        let own = a.mac().map(|byte| format!("{byte:02x}")).join(":");
        tool(&format!("ip neigh replace {} lladdr {own} dev {HOSTONLY} nud stale", a.local()));
        host.forget();
        a.tap.send(&frame);
        if host.hears(&mark, SILENCE) {
            heard.push(name.clone());
        }
        if neighbour(HOSTONLY, &a.local().to_string()).contains(&text) {
            believed.push(name);
        }
    }
    (heard, believed)
}

fn root_neighbour_discovery_does_not_lead_answers_elsewhere(lab: &Lab) {
    let six = Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, 2);
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    a.create_from(&a.file().keys(&format!("network.ip6 = \"{six}/64\";")));
    a.start();
    b.boot();
    let (a_side, b_side) = (Side::of(&a), Side::of(&b));
    let evils = [b_side.mac(), BROADCAST, ALL_NODES_MAC, Tap::here(HOSTONLY).mac];
    for evil in evils {
        assert_eq!(believed(&a_side, evil), (vec![], vec![]), "{evil:?}");
    }
    // The kernel's own messages pass: the host finds it out anew, and the guest finds out the host.
    let bridge = Tap::here(HOSTONLY);
    let local = link_local(bridge.mac);
    eventually("the guest's link-local address is tried", Duration::from_secs(10), || {
        tool(&format!("ip neigh flush dev {HOSTONLY}"));
        a.sh(&format!("busybox ip neigh flush dev hostonly; busybox ping -6 -c1 -W1 {local}%hostonly"))
            .exit
            .success()
    });
    assert!(neighbour(HOSTONLY, &a_side.local().to_string()).contains("lladdr"));
    // Duplicate detection, as the kernel does it: it asks, and hears of the one who has the address already.
    tool(&format!("ip addr add {six}/64 dev {HOSTONLY} nodad"));
    bridge.forget();
    a.shell(&format!(
        "busybox ip -6 addr del {six}/64 dev hostonly; busybox ip -6 addr add {six}/64 dev hostonly"
    ));
    assert!(bridge.hears(&six.octets(), SOON));
    let failed = || a.sh("busybox ip -6 addr show dev hostonly").text().contains("dadfailed");
    eventually("it is found out", Duration::from_secs(10), failed);
    // Without the filter each is believed that the kernel can read.
    a.terminate();
    tool(&format!("ip addr del {six}/64 dev {HOSTONLY}"));
    a.start_by(&without_isolation(lab));
    let a_side = Side::of(&a);
    for evil in evils {
        let (heard, believed) = believed(&a_side, evil);
        assert_eq!(heard.len(), 24, "{heard:?}");
        assert!(believed.len() >= 9, "{evil:?}: {believed:?}");
    }
}

/// Which attacks of `a` reach the host.
fn landed(a: &Side, victim: &Side) -> Vec<&'static str> {
    let host = Tap::here(HOSTONLY);
    let mut landed = Vec::new();
    for (name, frame, mark) in attacks(a, victim, host.mac) {
        host.forget();
        a.tap.send(&frame);
        if host.hears(&mark, SILENCE) {
            landed.push(name);
        }
    }
    landed
}

fn root_a_guest_cannot_take_what_is_not_its_own(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    a.boot();
    b.boot();
    let (a_side, b_side) = (Side::of(&a), Side::of(&b));
    assert_eq!(landed(&a_side, &b_side), [""; 0]);
    // What is its own is heard.
    let host = Tap::here(HOSTONLY);
    for (name, frame) in [
        (
            "IPv4",
            ip4(
                (host.mac, a_side.mac()),
                a_side.ip,
                [10, 101, 0, 1].into(),
                17,
                &udp(5000, 5000, b"own four"),
            ),
        ),
        (
            "IPv6",
            ip6((host.mac, a_side.mac()), a_side.local(), link_local(host.mac), 17, &udp(1, 1, b"own six")),
        ),
    ] {
        a_side.tap.send(&frame);
        assert!(host.hears(b"own ", SOON), "{name}");
    }
    // With another address, by the guest's own tools.
    a.shell("busybox ip addr add 10.101.0.99/16 dev hostonly");
    assert!(!a.sh("busybox ping -c1 -W1 -I 10.101.0.99 10.101.0.1").exit.success());
    a.shell("busybox ip link set hostonly address 02:4e:99:99:99:99");
    assert!(!a.sh("busybox ping -c1 -W1 10.101.0.1").exit.success());
    assert!(b.pings());
}

/// A manager of the same host, without isolation.
fn without_isolation(lab: &Lab) -> Manager {
    lab.manager_with(|config| config.network.isolation = false)
}

fn root_without_isolation_the_same_is_let_through(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    a.create();
    b.create();
    let manager = without_isolation(lab);
    a.start_by(&manager);
    b.start_by(&manager);
    assert!(!a.config().contains("script.up"));
    let (a_side, b_side) = (Side::of(&a), Side::of(&b));
    let attacks: Vec<&str> =
        attacks(&a_side, &b_side, a_side.mac()).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(landed(&a_side, &b_side), attacks);
    let greetings: Vec<&str> = greetings(&a_side, &b_side).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(heard(&a_side, &b_side), greetings);
    let findings = manager.host_check();
    assert!(findings.iter().any(|f| f.part == Part::Port && f.verdict == Verdict::Off), "{findings:?}");
    // To a host with isolation, they run without it, and it is known what would change.
    let findings = lab.manager().host_check();
    let wrong = findings.iter().filter(|f| f.part == Part::Port && f.verdict == Verdict::Wrong).count();
    assert_eq!(wrong, 2, "{findings:?}");
    let pending = a.container().status().must("status").pending_restart;
    let keys: Vec<&str> = pending.iter().map(|pending| pending.key.as_str()).collect();
    assert_eq!(keys, ["lxc.net.0.script.up"]);
}

/// Frames to another guest by way of the host, in both versions of IP.
fn routed(a: &Side, b: &Side, six: (Ipv6Addr, Ipv6Addr)) -> Vec<&'static str> {
    let host = Tap::here(HOSTONLY).mac;
    let mut heard = Vec::new();
    for (name, frame, mark) in [
        ("IPv4", ip4((host, a.mac()), a.ip, b.ip, 17, &udp(5000, 5000, b"routed four")), b"routed four"),
        ("IPv6", ip6((host, a.mac()), six.0, six.1, 17, &udp(5000, 5000, b"routed sixx")), b"routed sixx"),
    ] {
        // The host may have to ask for the neighbour first.
        a.tap.send(&frame);
        if b.tap.hears(mark, Duration::from_millis(400)) {
            heard.push(name);
        }
    }
    heard
}

fn root_the_host_does_not_route_between_guests(lab: &Lab) {
    let six = |last: u16| Ipv6Addr::new(0xfd00, 7, 0, 0, 0, 0, 0, last);
    let guest = |name: &str, last: u16, more: &str| {
        let guest = lab.busybox(name);
        guest.create_from(&guest.file().keys(&format!("network.ip6 = \"{}/64\"; {more}", six(last))));
        guest
    };
    let (a, b, open) = (guest("a", 2, ""), guest("b", 3, ""), guest("open", 4, "network.isolated = false;"));
    tool("ip addr add fd00:7::1/64 dev brNC-hostonly nodad");
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
    let begin = |guest: &Guest<'_>, last: u16, manager: &Manager| {
        guest.start_by(manager);
        guest.shell(&format!("busybox ip -6 addr add {}/64 dev hostonly 2>&1 || true", six(last)));
        Side::of(guest)
    };
    let manager = lab.manager();
    let sides = [begin(&a, 2, manager), begin(&b, 3, manager), begin(&open, 4, manager)];
    for (from, to) in [(0, 1), (0, 2), (2, 0), (1, 2)] {
        let addresses = (six(from as u16 + 2), six(to as u16 + 2));
        assert_eq!(routed(&sides[from], &sides[to], addresses), [""; 0], "{from} to {to}");
    }
    // Nor in from elsewhere: the host-only bridge is not forwarded to, with whatever packet filter.
    tool("ip link add outside type veth peer name wan");
    for line in
        ["addr add 198.51.100.1/24 dev wan", "addr add 2001:db8::1/64 dev wan nodad", "link set wan up"]
    {
        tool(&format!("ip {line}"));
    }
    tool("ip link set outside up");
    tool("nft flush ruleset");
    let (outside, wan) = (Tap::here("outside"), Tap::here("wan").mac);
    let from_outside = |to: &Side, six: Ipv6Addr| -> Vec<&str> {
        let macs = (wan, outside.mac);
        let stranger: (Ipv4Addr, Ipv6Addr) =
            ([198, 51, 100, 7].into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7));
        let frames = [
            ("IPv4", ip4(macs, stranger.0, to.ip, 17, &udp(5000, 5000, b"from outside 4"))),
            ("IPv6", ip6(macs, stranger.1, six, 17, &udp(5000, 5000, b"from outside 6"))),
        ];
        let limit = Duration::from_millis(400);
        let heard = frames.iter().filter(|(name, frame)| {
            outside.send(frame);
            to.tap.hears(format!("from outside {}", &name[3..]).as_bytes(), limit)
        });
        heard.map(|(name, _)| *name).collect()
    };
    assert_eq!(from_outside(&sides[0], six(2)), [""; 0]);
    assert_eq!(from_outside(&sides[2], six(4)), [""; 0]);
    // The host itself is reached at each.
    let six_pings = || a.sh("busybox ping -6 -c1 -W1 fd00:7::1").exit.success();
    eventually("the host answers", Duration::from_secs(10), six_pings);
    assert!(a.pings());
    // Without isolation it is the host that would carry it.
    for guest in [&a, &b] {
        guest.stop();
    }
    let without = without_isolation(lab);
    let (a_side, b_side) = (begin(&a, 2, &without), begin(&b, 3, &without));
    eventually("the guests are reached", Duration::from_secs(10), || {
        routed(&a_side, &b_side, (six(2), six(3))) == ["IPv4", "IPv6"]
    });
    // The host looks for its neighbours first.
    eventually("it comes in from outside", Duration::from_secs(10), || {
        from_outside(&a_side, six(2)) == ["IPv4", "IPv6"]
    });
    tool("ip link del wan");
}

fn isolated(a: &Guest<'_>, b: &Guest<'_>) -> bool {
    let (a_side, b_side) = (Side::of(a), Side::of(b));
    heard(&a_side, &b_side).is_empty() && landed(&a_side, &b_side).is_empty()
}

fn wrong_ports(lab: &Lab) -> Vec<String> {
    let findings = lab.manager().host_check().into_iter();
    findings.filter(|f| f.part == Part::Port && f.verdict == Verdict::Wrong).map(|f| f.what).collect()
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
        let mended: Vec<_> = changes.iter().filter(|change| change.part == Part::Port).collect();
        assert!(
            mended.len() == 1 && mended[0].name == port && mended[0].change == Change::Mended,
            "{changes:?}"
        );
        assert_eq!(wrong_ports(lab), [""; 0], "{change}");
        assert!(isolated(&a, &b) && a.pings(), "{change}");
    }
    let changes = lab.manager().host_up().must("host up");
    assert!(changes.iter().all(|change| change.part != Part::Port), "{changes:?}");
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
