//! What a guest claims to be, and where it leads others' answers. With real frames, in real guests.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use nixcloud_container::{Part, Verdict};

use crate::harness::frames::{BROADCAST, Mac, Tap, arp, ether, icmp6, ip4, ip6, labelled, link_local, udp};
use crate::harness::{Lab, Must, eventually, scenarios};
use crate::ports::{
    ALL_NODES, ALL_NODES_MAC, HOSTONLY, SILENCE, SOON, Side, greetings, heard, mark, tool, without_isolation,
};

scenarios! {
    once: [
        root_a_guest_cannot_take_what_is_not_its_own,
        root_without_isolation_the_same_is_let_through,
        root_neighbour_discovery_does_not_lead_answers_elsewhere,
    ],
    both: [],
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
pub fn landed(a: &Side, victim: &Side) -> Vec<&'static str> {
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
    assert!(findings.iter().any(|f| f.part == Part::BridgePort && f.verdict == Verdict::Off), "{findings:?}");
    // To a host with isolation, they run without it, and it is known what would change.
    let findings = lab.manager().host_check();
    let wrong = findings.iter().filter(|f| f.part == Part::BridgePort && f.verdict == Verdict::Wrong).count();
    assert_eq!(wrong, 2, "{findings:?}");
    let pending = a.container().status().must("status").pending_restart;
    let keys: Vec<&str> = pending.iter().map(|pending| pending.key.as_str()).collect();
    assert_eq!(keys, ["lxc.net.0.script.up"]);
}
