//! The ports of containers: kept from each other, each to its own addresses. With real frames, in real guests.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::time::Duration;

use nixcloud_container::Manager;

use crate::harness::frames::{BROADCAST, Mac, Tap, arp, icmp6, ip4, ip6, labelled, link_local, udp};
use crate::harness::{Guest, Kind, Lab, eventually, scenarios};

scenarios! {
    once: [
        root_open_guests_reach_each_other,
        root_an_isolated_and_an_open_guest_hear_nothing_of_each_other,
        root_the_host_does_not_route_between_guests,
    ],
    both: [
        root_isolated_guests_hear_nothing_of_each_other,
    ],
}

pub const HOSTONLY: &str = "brNC-hostonly";

/// How long is waited for what must not come: what comes takes microseconds.
pub const SILENCE: Duration = Duration::from_millis(60);
pub const SOON: Duration = Duration::from_secs(3);

pub fn tool(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

/// A side of a conversation: a guest's interface.
pub struct Side {
    pub tap: Tap,
    pub ip: Ipv4Addr,
}

impl Side {
    pub fn of(guest: &Guest<'_>) -> Self {
        Self { tap: Tap::of(guest.init(), "hostonly"), ip: guest.address() }
    }

    pub fn mac(&self) -> Mac {
        self.tap.mac
    }

    pub fn local(&self) -> Ipv6Addr {
        link_local(self.mac())
    }
}

/// A mark that no other frame has.
pub fn mark(name: &str) -> Vec<u8> {
    format!("mark of {name}").into_bytes()
}

pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];

/// Honest frames from one guest to another, of each protocol, each with its mark.
pub fn greetings(a: &Side, b: &Side) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
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

/// A manager of the same host, without isolation.
pub fn without_isolation(lab: &Lab) -> Manager {
    lab.manager_with(|config| config.network.isolation = false)
}

/// Which greetings from `a` reach `b`.
pub fn heard(a: &Side, b: &Side) -> Vec<&'static str> {
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
