//! Frames, and what the programs make of them. The programs are run here as the kernel runs them; that the kernel does
//! so is shown by real guests.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::asm::Program;
use super::{Bridge, from_guest, to_guest};
use crate::model::bridge_port::PortPolicy;
use crate::model::interface::Mac;

const PASS: u32 = 1;

/// What the kernel would answer. `tagged` says that there was a VLAN tag.
fn run(program: &Program, frame: &[u8], tagged: bool) -> u32 {
    let load = |at: usize, count: usize| -> Option<u32> {
        let bytes = frame.get(at..at + count)?;
        Some(bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    };
    let (mut a, mut x, mut at) = (0u32, 0usize, 0usize);
    loop {
        let instruction = program.0[at];
        at += 1;
        let k = instruction.k as usize;
        let loaded = match instruction.code {
            0x30 if k == 0xffff_f030 => Some(u32::from(tagged)),
            0x20 => load(k, 4),
            0x28 => load(k, 2),
            0x30 => load(k, 1),
            0x40 => load(x + k, 4),
            0x48 => load(x + k, 2),
            0x50 => load(x + k, 1),
            code => {
                let skip = |holds| usize::from(if holds { instruction.then } else { instruction.other });
                match code {
                    0x01 => x = k,
                    0xb1 => match frame.get(k) {
                        Some(byte) => x = 4 * usize::from(byte & 0xf),
                        None => return 0,
                    },
                    0x54 => a &= instruction.k,
                    0x05 => at += k,
                    0x15 => at += skip(a == instruction.k),
                    0x45 => at += skip(a & instruction.k != 0),
                    0x06 => return instruction.k,
                    other => panic!("instruction {other:#x}"),
                }
                continue;
            }
        };
        match loaded {
            Some(value) => a = value,
            None => return 0,
        }
    }
}

const OWN: &str = "02:4e:00:00:00:01";
const HOST: &str = "12:00:00:00:00:01";
const OTHER: &str = "02:4e:00:00:00:02";
const OPEN: &str = "0a:4e:00:00:00:03";
const ALL: &str = "ff:ff:ff:ff:ff:ff";
const GROUP6: &str = "33:33:00:00:00:01";
const LINK_LOCAL: &str = "fe80::4e:ff:fe00:1";

fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

fn ether(to: &str, from: &str, kind: u16, rest: &[u8]) -> Vec<u8> {
    let (to, from) = (mac(to), mac(from));
    [&to[..], &from[..], &kind.to_be_bytes()[..], rest].concat()
}

fn v4(text: &str) -> [u8; 4] {
    text.parse::<Ipv4Addr>().unwrap().octets()
}

fn arp(to: &str, from: &str, sender: &str, sender_ip: &str, target: &str) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let rest = [&head[..], &mac(sender)[..], &v4(sender_ip)[..], &[0; 6][..], &v4(target)[..]].concat();
    ether(to, from, 0x806, &rest)
}

/// An IPv4 packet; `fragment` are the bytes of flags and offset.
fn ip4(to: &str, source: &str, target: &str, protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0];
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(v4(source));
    header.extend(v4(target));
    header.extend(rest);
    ether(to, OWN, 0x800, &header)
}

/// The same with options, padded to words.
fn ip4_options(source: &str, target: &str, protocol: u8, options: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut frame = ip4(HOST, source, target, protocol, 0, &[options, rest].concat());
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    frame
}

fn udp(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes(), [0, 12], [0, 0]].concat().into_iter().chain([0; 4]).collect()
}

/// A question to a DHCP server, of the client with this MAC address.
fn dhcp(from: u16, client: &str, relay: &str) -> Vec<u8> {
    let head = [&from.to_be_bytes()[..], &[0, 67, 0, 244, 0, 0]].concat();
    let mut message = vec![1, 1, 6, 0];
    message.resize(24, 0);
    message.extend(v4(relay));
    message.extend(mac(client));
    message.resize(236, 0);
    [head, message].concat()
}

/// A message of DHCPv6 to the servers.
fn dhcp6(kind: u8) -> Vec<u8> {
    [&546u16.to_be_bytes()[..], &547u16.to_be_bytes(), &[0, 12, 0, 0, kind, 0, 0, 1]].concat()
}

fn ip6(to: &str, source: &str, target: &str, next: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, next, 255];
    header.extend(source.parse::<Ipv6Addr>().unwrap().octets());
    header.extend(target.parse::<Ipv6Addr>().unwrap().octets());
    header.extend(rest);
    ether(to, OWN, 0x86dd, &header)
}

/// An ICMPv6 message about a target.
fn icmp6(kind: u8, target: &str) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.parse::<Ipv6Addr>().unwrap().octets()[..]].concat()
}

fn policy(text: &str) -> PortPolicy {
    format!("mac={OWN},{text}").parse().unwrap()
}

fn hostonly() -> PortPolicy {
    policy(
        "isolated,ip=10.101.0.2,ip=fd00::2,pass=10.101.0.1/32,pass=255.255.255.255/32,pass=224.0.0.0/4,\
         drop=10.101.0.0/16,drop=0.0.0.0/0,pass=fe80::/10,pass=ff00::/8,host=fd00::/64,drop=::/0",
    )
}

fn bridge() -> Bridge {
    Bridge {
        macs: vec![Mac(mac(HOST))],
        addresses: vec!["192.0.2.1/24".parse().unwrap(), "fd00::1/64".parse().unwrap()],
    }
}

#[track_caller]
fn judged(policy: &PortPolicy, cases: &[(&str, bool, Vec<u8>)]) {
    let program = from_guest::program(policy, &bridge(), PASS);
    assert!(program.0.len() < 4096);
    for (what, good, frame) in cases {
        let answer = run(&program, frame, false);
        assert_eq!(answer == PASS, *good, "{what}");
        assert_eq!(run(&program, frame, true), 0, "{what}, in a VLAN");
        // However short it is cut, it never says more than the whole: nothing is let through unseen.
        for length in 0..frame.len() {
            let cut = run(&program, &frame[..length], false);
            assert!(cut == 0 || *good, "{what}, the first {length} bytes");
        }
    }
}

#[test]
fn frames_are_from_the_own_mac_and_of_known_kinds() {
    let raw = |kind| ether(HOST, OWN, kind, &[0; 50]);
    judged(
        &hostonly(),
        &[
            ("another's MAC", false, arp(HOST, OTHER, OTHER, "10.101.0.2", "10.101.0.1")),
            ("LLDP", false, raw(0x88cc)),
            ("802.1Q", false, raw(0x8100)),
            ("STP, 802.3", false, raw(38)),
            ("EAPOL", false, raw(0x888e)),
            ("an experiment", false, raw(0x88b5)),
            ("PPPoE", false, raw(0x8863)),
            ("nothing", false, vec![]),
        ],
    );
}

#[test]
fn arp_speaks_for_itself_alone() {
    let from = |sender, ip| arp(ALL, OWN, sender, ip, "10.101.0.1");
    let kind = |kind| {
        let mut frame = from(OWN, "10.101.0.2");
        frame[21] = kind;
        frame
    };
    let mut token_ring = from(OWN, "10.101.0.2");
    token_ring[15] = 6;
    judged(
        &hostonly(),
        &[
            ("a question", true, from(OWN, "10.101.0.2")),
            ("a probe", true, arp(ALL, OWN, OWN, "0.0.0.0", "10.101.0.2")),
            ("a probe of another's address", false, from(OWN, "0.0.0.0")),
            ("an answer", true, kind(2)),
            ("RARP", false, kind(3)),
            ("InARP", false, kind(8)),
            ("a group's MAC within", false, from(GROUP6, "10.101.0.2")),
            ("everybody's MAC within", false, from(ALL, "10.101.0.2")),
            ("another's address", false, from(OWN, "10.101.0.3")),
            ("the host's address", false, from(OWN, "10.101.0.1")),
            ("another's MAC within", false, from(OTHER, "10.101.0.2")),
            ("not of Ethernet", false, token_ring),
        ],
    );
}

#[test]
fn ipv4_comes_from_the_own_address_and_goes_to_the_host() {
    let from = |source, target, protocol, rest: &[u8]| ip4(HOST, source, target, protocol, 0, rest);
    let tcp = &[0; 20];
    let to = |mac, target| ip4(mac, "10.101.0.2", target, 6, 0, tcp);
    judged(
        &hostonly(),
        &[
            ("to the host", true, from("10.101.0.2", "10.101.0.1", 6, tcp)),
            ("a ping", true, from("10.101.0.2", "10.101.0.1", 1, &[8, 0, 0, 0])),
            ("another's address", false, from("10.101.0.3", "10.101.0.1", 6, tcp)),
            ("no address", false, from("0.0.0.0", "10.101.0.1", 6, tcp)),
            ("to another by way of the host", false, to(HOST, "10.101.0.3")),
            ("to another", false, to(OTHER, "10.101.0.3")),
            ("to an open one", false, to(OPEN, "10.101.0.1")),
            ("out by way of the host", false, to(HOST, "198.51.100.1")),
            ("to a group", true, to("01:00:5e:00:00:fb", "224.0.0.251")),
            ("to a loopback address", false, to(HOST, "127.0.0.1")),
            ("a redirect", false, from("10.101.0.2", "10.101.0.1", 1, &[5, 1, 0, 0])),
            ("a router's advertisement", false, from("10.101.0.2", "224.0.0.1", 1, &[9, 0, 0, 0])),
        ],
    );
}

#[test]
fn dhcp_asks_and_does_not_answer() {
    let ask = |source, target, from, to| ip4(ALL, source, target, 17, 0, &udp(from, to));
    let nowhere = |fragment, rest: &[u8]| ip4(ALL, "0.0.0.0", "255.255.255.255", 17, fragment, rest);
    let renew = |fragment, rest: &[u8]| ip4(HOST, "10.101.0.2", "10.101.0.1", 17, fragment, rest);
    let (own, theirs) = (dhcp(68, OWN, "0.0.0.0"), dhcp(68, OTHER, "0.0.0.0"));
    let mut token_ring = own.clone();
    token_ring[9] = 6;
    judged(
        &hostonly(),
        &[
            ("asks", true, nowhere(0, &own)),
            ("asks, not to be put in parts", true, nowhere(0x4000, &own)),
            ("renews", true, renew(0, &own)),
            ("renews from another port", true, renew(0, &dhcp(1068, OWN, "0.0.0.0"))),
            ("asks for another", false, nowhere(0, &theirs)),
            ("gives up for another", false, renew(0, &theirs)),
            ("the same from another port", false, renew(0, &dhcp(1068, OTHER, "0.0.0.0"))),
            ("the same in parts", false, renew(0x2000, &own)),
            ("the same in parts, from nowhere", false, nowhere(0x2000, &own)),
            ("relays", false, renew(0, &dhcp(67, OWN, "10.101.0.3"))),
            ("not of Ethernet", false, renew(0, &token_ring)),
            ("cut off", false, renew(0, &udp(68, 67))),
            ("answers", false, ask("10.101.0.2", "255.255.255.255", 67, 68)),
            ("answers from nowhere", false, ask("0.0.0.0", "255.255.255.255", 67, 68)),
            ("another port from nowhere", false, ask("0.0.0.0", "255.255.255.255", 68, 53)),
            ("from nowhere to one", false, ask("0.0.0.0", "10.101.0.1", 68, 67)),
            (
                "answers in a first fragment",
                false,
                ip4(ALL, "10.101.0.2", "10.101.0.1", 17, 0x2000, &udp(67, 68)),
            ),
            ("a later fragment", true, ip4(HOST, "10.101.0.2", "10.101.0.1", 17, 0x2001, &udp(67, 68))),
            (
                "a later fragment from nowhere",
                false,
                ip4(HOST, "0.0.0.0", "255.255.255.255", 17, 1, &udp(68, 67)),
            ),
        ],
    );
    let mut serving = hostonly();
    serving.serves = true;
    judged(
        &serving,
        &[
            ("a server answers", true, ask("10.101.0.2", "255.255.255.255", 67, 68)),
            ("it relays", true, renew(0, &dhcp(67, OTHER, "10.101.0.2"))),
        ],
    );
}

#[test]
fn options_do_not_lead_elsewhere() {
    let alert = [0x94, 4, 0, 0];
    let igmp = |options: &[u8], kind| ip4_options("10.101.0.2", "224.0.0.22", 2, options, &[kind, 0, 0, 0]);
    // Loose source routing by way of the host.
    let loose = [131, 7, 4, 10, 101, 0, 3, 0];
    judged(
        &hostonly(),
        &[
            ("a report of groups", true, igmp(&alert, 0x22)),
            (
                "a report without the option",
                true,
                ip4(ALL, "10.101.0.2", "224.0.0.22", 2, 0, &[0x16, 0, 0, 0]),
            ),
            ("a query for groups", false, igmp(&alert, 0x11)),
            ("a multicast router", false, igmp(&alert, 0x30)),
            ("loose source routing", false, ip4_options("10.101.0.2", "10.101.0.1", 6, &loose, &[0; 20])),
            (
                "the same as a report",
                false,
                ip4_options("10.101.0.2", "10.101.0.1", 2, &loose, &[0x22, 0, 0, 0]),
            ),
            ("another option", false, igmp(&[7, 4, 4, 0], 0x22)),
            ("the option elsewhere", false, ip4_options("10.101.0.2", "10.101.0.1", 6, &alert, &[0; 20])),
        ],
    );
}

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

#[test]
fn an_open_container_reaches_others_directly_and_not_by_way_of_the_host() {
    let open = policy(
        "open,ip=10.101.0.2,pass=10.101.0.1/32,peers=10.101.0.0/16,drop=0.0.0.0/0,pass=fe80::/10,peers=fd00::/64",
    );
    let to = |mac, target| ip4(mac, "10.101.0.2", target, 6, 0, &[0; 20]);
    let to6 = |mac, target| ip6(mac, LINK_LOCAL, target, 6, &[0; 20]);
    judged(
        &open,
        &[
            ("to a container", true, to(OPEN, "10.101.0.3")),
            ("to all", true, to(ALL, "10.101.255.255")),
            ("to the host", true, to(HOST, "10.101.0.1")),
            ("by way of the host", false, to(HOST, "10.101.0.3")),
            ("out", false, to(HOST, "198.51.100.1")),
            ("out by way of another", false, to(OPEN, "198.51.100.1")),
            ("to a container, IPv6", true, to6(OPEN, "fd00::3")),
            ("to the host, IPv6", true, to6(HOST, "fd00::1")),
            ("by way of the host, IPv6", false, to6(HOST, "fd00::3")),
        ],
    );
}

#[test]
fn a_bridge_of_the_administrators_leads_anywhere_but_back() {
    let custom = policy("isolated,ip=192.0.2.9,any6,lan=192.0.2.0/24,pass=10.101.0.1/32,drop=10.101.0.0/16");
    let to = |mac, target| ip4(mac, "192.0.2.9", target, 6, 0, &[0; 20]);
    let router = "00:16:3e:00:00:01";
    judged(
        &custom,
        &[
            ("to a machine", true, to(router, "192.0.2.7")),
            ("to the host", true, to(HOST, "192.0.2.1")),
            ("back by way of the host", false, to(HOST, "192.0.2.7")),
            ("out by way of the host", true, to(HOST, "198.51.100.1")),
            ("out", true, to(router, "198.51.100.1")),
            ("to the host elsewhere", true, to(HOST, "10.101.0.1")),
            ("to a network of ours", false, to(HOST, "10.101.0.9")),
            ("any IPv6 address", true, ip6(router, "2001:db8::77", "2001:db8::1", 6, &[0; 20])),
            ("is a router", false, ip6(GROUP6, "fe80::5", "ff02::1", 58, &icmp6(134, "::"))),
        ],
    );
    let unknown = policy("isolated,any4,any6");
    judged(
        &unknown,
        &[
            ("any address", true, ip4(router, "192.0.2.77", "198.51.100.1", 6, 0, &[0; 20])),
            ("any sender of ARP", true, arp(ALL, OWN, OWN, "192.0.2.77", "192.0.2.1")),
            ("another's MAC within", false, arp(ALL, OWN, OTHER, "192.0.2.77", "192.0.2.1")),
            ("another's MAC", false, arp(ALL, OTHER, OTHER, "192.0.2.77", "192.0.2.1")),
        ],
    );
}

#[test]
fn only_open_containers_hear_each_other() {
    let frame = |from| ether(ALL, from, 0x800, &[0; 20]);
    let hears = |policy: &PortPolicy, from| run(&to_guest::program(policy, 1, 0), &frame(from), false) == 1;
    let (isolated, open) = (hostonly(), policy("open"));
    let of = |from| (hears(&isolated, from), hears(&open, from));
    assert_eq!(of(HOST), (true, true));
    assert_eq!(of("00:16:3e:00:00:01"), (true, true));
    assert_eq!(of(OTHER), (false, false));
    assert_eq!(of("06:4e:00:00:00:02"), (false, false));
    assert_eq!(of(OPEN), (false, true));
    assert_eq!(of("0e:4e:00:00:00:02"), (false, true));
    assert_eq!(of("02:4f:00:00:00:02"), (true, true));
}

#[test]
fn what_the_host_forwards_does_not_come_where_it_forwards_nothing() {
    let policy = policy("isolated,from=10.101.0.0/16,from=::/128,from=fe80::/10,from=fd00::/64");
    let program = to_guest::program(&policy, 1, 0);
    let from_host = |mut frame: Vec<u8>| {
        frame[6..12].copy_from_slice(&mac(HOST));
        run(&program, &frame, false) == 1
    };
    let v4 = |source| from_host(ip4(OWN, source, "10.101.0.2", 6, 0, &[0; 20]));
    let v6 = |source| from_host(ip6(OWN, source, "fd00::2", 6, &[0; 20]));
    assert!(v4("10.101.0.1") && !v4("198.51.100.1") && !v4("10.202.0.9") && !v4("0.0.0.0"));
    assert!(v6("fd00::1") && v6("fe80::1") && v6("::") && !v6("2001:db8::1") && !v6("fd00:0:0:1::1"));
    assert!(from_host(arp(ALL, HOST, HOST, "10.101.0.1", "10.101.0.2")));
}
