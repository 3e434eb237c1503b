//! IPv6 and its neighbour discovery, sent by a guest.

use super::frames::*;
use super::*;

#[test]
fn ipv6_comes_from_the_own_addresses() {
    let tcp = &[0; 20];
    let from = |source, target| ip6(HOST, source, target, 6, tcp);
    judged(
        &hostonly(),
        &[
            ("to the host", true, from("fd00::2", "fd00::1")),
            ("to a group", true, from("fd00::2", "ff02::fb")),
            ("link-local", true, from(LINK_LOCAL, "fe80::1")),
            ("another's address", false, from("fd00::3", "fd00::1")),
            ("another's link-local one", false, from("fe80::4e:ff:fe00:2", "fe80::1")),
            ("no address", false, from("::", "fd00::1")),
            ("to another by way of the host", false, from("fd00::2", "fd00::3")),
            ("out by way of the host", false, from("fd00::2", "2001:db8::1")),
            ("not of version 6", false, {
                let mut frame = from("fd00::2", "fd00::1");
                frame[14] = 0x45;
                frame
            }),
        ],
    );
}

#[test]
fn neighbours_are_told_of_own_addresses_alone() {
    let send = |source, kind, target| ip6(GROUP6, source, "ff02::1", 58, &icmp6(kind, target));
    judged(
        &hostonly(),
        &[
            ("asks for the host", true, send("fd00::2", 135, "fd00::1")),
            ("asks whether its own is free", true, send("::", 135, "fd00::2")),
            ("asks whether its link-local one is free", true, send("::", 135, LINK_LOCAL)),
            ("takes another's while that is tried", false, send("::", 135, "fd00::1")),
            ("tells of its own", true, send("fd00::2", 136, "fd00::2")),
            ("tells of its link-local one", true, send(LINK_LOCAL, 136, LINK_LOCAL)),
            ("tells of another's", false, send("fd00::2", 136, "fd00::3")),
            ("tells of the host's", false, send(LINK_LOCAL, 136, "fd00::1")),
            ("tells from nowhere", false, send("::", 136, "fd00::2")),
            ("is a router", false, send(LINK_LOCAL, 134, "::")),
            ("redirects", false, send(LINK_LOCAL, 137, "fd00::1")),
            ("is a multicast router", false, send(LINK_LOCAL, 151, "::")),
            ("asks for an address by MAC", false, send(LINK_LOCAL, 141, "::")),
            ("answers that", false, send(LINK_LOCAL, 142, "::")),
            ("an error", true, send("fd00::2", 1, "::")),
            ("an unknown message", false, send("fd00::2", 200, "::")),
            ("a ping", true, send("fd00::2", 128, "::")),
            ("a ping from nowhere", false, send("::", 128, "::")),
        ],
    );
}

/// An option of neighbour discovery with an Ethernet address.
fn link_layer(kind: u8, of: &str) -> Vec<u8> {
    [&[kind, 1][..], &mac(of)].concat()
}

/// Where the option begins, how a known message is followed by it, and what else follows: each must be its own.
#[test]
fn neighbour_discovery_names_the_own_mac_alone_and_once() {
    let nonce = [14, 1, 1, 2, 3, 4, 5, 6].to_vec();
    let (source, target) = (|of| link_layer(1, of), |of| link_layer(2, of));
    let zero = |kind: u8| vec![kind, 0, 2, 0x4e, 0, 0, 0, 2];
    let double = |kind: u8| [&[kind, 2][..], &mac(OTHER), &[0; 8]].concat();
    let join = |parts: &[&Vec<u8>]| parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
    let routers = vec![133, 0, 0, 0, 0, 0, 0, 0];
    let (asks, tells, probes) = (icmp6(135, "fd00::1"), icmp6(136, "fd00::2"), icmp6(135, "fd00::2"));
    for policy in [hostonly(), policy("isolated,any4,any6"), policy("open,serves,any4,any6")] {
        let any = policy.v6.is_none();
        for (head, kind, option) in [
            (&routers, 1, &source as &dyn Fn(&'static str) -> Vec<u8>),
            (&asks, 1, &source),
            (&tells, 2, &target),
        ] {
            let send = |rest: &Vec<u8>| ip6(GROUP6, "fd00::2", "ff02::1", 58, &join(&[head, rest]));
            let in_part = |next: u8, rest: &Vec<u8>| {
                let header = vec![next, 0, 0, 0, 0, 0, 0, 1];
                ip6(GROUP6, "fd00::2", "ff02::1", 44, &join(&[&header, head, rest]))
            };
            let (own, other) = (option(OWN), option(OTHER));
            let mut longer = send(&Vec::new());
            // More than the header says: nobody reads it.
            longer.extend(&other);
            let mut shorter = send(&own);
            shorter[19] -= 8;
            let mut lies = send(&Vec::new());
            lies[19] += 8;
            judged(
                &policy,
                &[
                    ("no option", true, send(&Vec::new())),
                    ("its own MAC", true, send(&own)),
                    ("behind its end", true, longer),
                    ("the option behind its end", true, shorter),
                    ("another's MAC", false, send(&other)),
                    ("a group's MAC", false, send(&option(GROUP6))),
                    ("everybody's MAC", false, send(&option(ALL))),
                    ("its own, then another's", false, send(&join(&[&own, &other]))),
                    ("another's, then its own", false, send(&join(&[&other, &own]))),
                    ("its own twice", false, send(&join(&[&own, &own]))),
                    ("another's behind a nonce", false, send(&join(&[&nonce, &other]))),
                    ("another's before a nonce", false, send(&join(&[&other, &nonce]))),
                    ("of length 0", false, send(&zero(kind))),
                    ("of length 2", false, send(&double(kind))),
                    ("of half a length", false, send(&own[..6].to_vec())),
                    ("the other kind of it", false, send(&link_layer(3 - kind, OWN))),
                    ("its own in a fragment", false, in_part(58, &own)),
                    ("another's in a fragment", false, in_part(58, &other)),
                    ("nothing in a fragment", false, in_part(58, &Vec::new())),
                    ("a part that is missing", false, lies),
                ],
            );
        }
        let send =
            |source, head: &Vec<u8>, rest: &Vec<u8>| ip6(GROUP6, source, "ff02::1", 58, &join(&[head, rest]));
        let none = Vec::new();
        judged(
            &policy,
            &[
                ("whether its own is free", true, send("::", &probes, &none)),
                ("the same with a nonce", true, send("::", &probes, &nonce)),
                ("with two", false, send("::", &probes, &join(&[&nonce, &nonce]))),
                ("with another's MAC", false, send("::", &probes, &source(OTHER))),
                ("with its own, which has no address", any, send("::", &probes, &source(OWN))),
                ("asks for routers from nowhere", true, send("::", &routers, &none)),
                ("the same with its own MAC", any, send("::", &routers, &source(OWN))),
                ("the same with another's", false, send("::", &routers, &source(OTHER))),
                ("a nonce for routers", false, send(LINK_LOCAL, &routers, &nonce)),
                ("a nonce for itself", false, send("fd00::2", &tells, &nonce)),
            ],
        );
    }
}

#[test]
fn headers_hide_nothing() {
    let icmp = |kind| icmp6(kind, "fd00::1");
    let after =
        |next, header: &[u8], rest: &[u8]| ip6(GROUP6, LINK_LOCAL, "ff02::1", next, &[header, rest].concat());
    // Options of 8 bytes with the router alert; a fragment's header.
    let options = |next| [next, 0, 5, 2, 0, 0, 1, 0];
    let fragment = |next, offset: u16| {
        let [high, low] = (offset << 3 | 1).to_be_bytes();
        [next, 0, high, low, 0, 0, 0, 1]
    };
    let report = [143, 0, 0, 0, 0, 0, 0, 0];
    let mut long = options(58).to_vec();
    long[1] = 1;
    long.extend([0; 8]);
    let to_one = ip6(HOST, LINK_LOCAL, "fd00::3", 0, &[&options(58)[..], &report].concat());
    judged(
        &hostonly(),
        &[
            ("a report of groups", true, after(0, &options(58), &report)),
            ("the same from nowhere", true, {
                ip6(GROUP6, "::", "ff02::16", 0, &[&options(58)[..], &report].concat())
            }),
            ("a report to one", false, to_one),
            ("a query for groups", false, after(0, &options(58), &icmp(130))),
            ("a query without options", false, after(58, &[], &icmp(130))),
            ("a router behind options", false, after(0, &options(58), &icmp(134))),
            ("a report behind more options", false, after(0, &long, &report)),
            ("TCP behind options", false, after(0, &options(6), &[0; 20])),
            ("a router behind others' options", false, after(60, &options(58), &icmp(134))),
            ("a routing header", false, after(43, &options(6), &[0; 20])),
            ("an authentication header", false, after(51, &options(58), &icmp(134))),
            ("a router in a fragment", false, after(44, &fragment(58, 0), &icmp(134))),
            ("a neighbour in a fragment", false, after(44, &fragment(58, 0), &icmp(136))),
            ("options in a fragment", false, after(44, &fragment(60, 0), &options(58))),
            ("a fragment in a fragment", false, after(44, &fragment(44, 0), &fragment(58, 0))),
            ("a ping in a fragment", true, after(44, &fragment(58, 0), &icmp(128))),
            ("a later fragment", true, after(44, &fragment(58, 9), &icmp(134))),
            ("DHCP answers", false, after(17, &[], &udp(547, 546))),
            ("DHCP answers in a fragment", false, after(44, &fragment(17, 0), &udp(547, 546))),
            ("DHCP asks", true, ip6(GROUP6, LINK_LOCAL, "ff02::1:2", 17, &dhcp6(1))),
            (
                "DHCP asks for another, as a relay",
                false,
                ip6(GROUP6, LINK_LOCAL, "ff02::1:2", 17, &dhcp6(12)),
            ),
            ("DHCP asks in a fragment", false, after(44, &fragment(17, 0), &dhcp6(1))),
        ],
    );
}
