//! Frames, and what the programs make of them. The programs are run here as the kernel runs them; that the kernel does
//! so is shown by real guests.

mod frames;
mod ipv4;
mod ipv6;

use frames::*;

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
