//! What a guest may send: from its own addresses alone, nothing that speaks for the network, and only to where it may.
//!
//! What is not known is dropped, and so is what cannot be judged: extension headers and options that hide what follows
//! or lead elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::address::{Load, if_address, if_in, one};
use super::asm::{Assembler, Label, Program};
use super::{
    Bridge, DESTINATION, HEAD, IPV4, IPV6, SOURCE, TYPE, V4_DESTINATION, V4_SOURCE, V6_DESTINATION, V6_SOURCE,
};
use crate::model::bridge_port::{Destination, Fate, PortPolicy};
use crate::model::interface::{MAC_MASK, MAC_PREFIX, Mac};

const ARP: u32 = 0x0806;

const ICMP: u32 = 1;
const IGMP: u32 = 2;
const UDP: u32 = 17;
const ICMPV6: u32 = 58;

/// Of IPv4: fragment, protocol.
const V4_FRAGMENT: u32 = HEAD + 6;
const V4_PROTOCOL: u32 = HEAD + 9;
/// Which part of a fragmented packet it is; only the first has ports.
const FRAGMENT_OFFSET: u32 = 0x1fff;
/// The same, and whether more parts follow: set in every part of a packet that is in parts.
const FRAGMENTED: u32 = 0x3fff;

/// Of DHCP, behind the header of UDP: what it is, by way of which relay it comes, whose it is.
const DHCP_KIND: u32 = 8;
const DHCP_RELAY: u32 = 8 + 24;
const DHCP_CLIENT: u32 = 8 + 28;
/// The kinds of DHCPv6 that a relay sends: what they carry says by itself whose it is.
const RELAYED: [u32; 2] = [12, 13];

/// Of ARP: what it is, whose MAC and IP address, which address it is about.
const ARP_KIND: u32 = HEAD + 6;
const ARP_MAC: u32 = HEAD + 8;
const ARP_SENDER: u32 = HEAD + 14;
const ARP_TARGET: u32 = HEAD + 24;

/// Of IPv6: length of what follows the header, next header, what follows.
const V6_LENGTH: u32 = HEAD + 4;
const V6_NEXT: u32 = HEAD + 6;
const V6_END: u32 = HEAD + 40;

/// Headers that hide others or lead elsewhere: hop-by-hop (judged for itself), routing, fragment (judged for itself),
/// authentication, destination options, mobility, host identity, shim.
const HIDING: [u32; 8] = [0, 43, 44, 51, 60, 135, 139, 140];
const HOP_BY_HOP: u32 = 0;
const FRAGMENT: u32 = 44;

const ROUTER_SOLICITATION: u32 = 133;
const ROUTER_ADVERTISEMENT: u32 = 134;
const NEIGHBOUR_SOLICITATION: u32 = 135;
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;
/// Of ICMPv6, what says nothing of the network: the four errors, and a ping with its answer.
const PLAIN_ICMPV6: [u32; 6] = [1, 2, 3, 4, 128, 129];
/// Reports of groups, and not queries for them: whoever asks decides what the bridge forgets.
const GROUP_REPORTS: [u32; 3] = [131, 132, 143];

/// The program. It answers `pass` for what is let through, and 0 for all else, as the kernel does for it where a packet
/// is too short.
#[must_use]
pub fn program(policy: &PortPolicy, bridge: &Bridge, pass: u32) -> Program {
    let mut asm = Assembler::new(pass, 0);
    asm.vlan_tag();
    asm.must_be(0);
    mac_must_be(&mut asm, SOURCE, policy.mac);
    if policy.isolated {
        // The bridge lets an isolated port and an open one talk.
        asm.half(DESTINATION);
        asm.and(MAC_MASK);
        asm.must_not_be(MAC_PREFIX);
    }
    let (arp, v4, v6) = (asm.label(), asm.label(), asm.label());
    asm.half(TYPE);
    asm.if_is(IPV4, v4);
    asm.if_is(IPV6, v6);
    asm.if_is(ARP, arp);
    asm.refuse();
    asm.here(arp);
    self::arp(&mut asm, policy);
    asm.here(v4);
    ipv4(&mut asm, policy, bridge);
    asm.here(v6);
    ipv6(&mut asm, policy, bridge);
    asm.finish()
}

fn mac_must_be(asm: &mut Assembler, at: u32, mac: Mac) {
    let (first, last) = halves(mac);
    asm.word(at);
    asm.must_be(first);
    asm.half(at + 4);
    asm.must_be(last);
}

/// As they are loaded: four bytes, and two.
fn halves(Mac([a, b, c, d, e, f]): Mac) -> (u32, u32) {
    (u32::from_be_bytes([a, b, c, d]), u32::from(u16::from_be_bytes([e, f])))
}

/// A question to a DHCP server must be the guest's own: the server goes by the MAC address in it, and would take an
/// address away from whom it is told to have declined it. X points to as many bytes as the IPv4 header is long.
fn client_must_be(asm: &mut Assembler, mac: Mac) {
    // In parts it would not be seen here.
    asm.half(V4_FRAGMENT);
    asm.and(FRAGMENTED);
    asm.must_be(0);
    asm.word_at_x(HEAD + DHCP_KIND);
    asm.and(0xffff_ff00);
    // A question, of Ethernet, with an address of 6 bytes.
    asm.must_be(0x0101_0600);
    asm.word_at_x(HEAD + DHCP_RELAY);
    asm.must_be(0);
    let (first, last) = halves(mac);
    asm.word_at_x(HEAD + DHCP_CLIENT);
    asm.must_be(first);
    asm.half_at_x(HEAD + DHCP_CLIENT + 4);
    asm.must_be(last);
}

fn arp(asm: &mut Assembler, policy: &PortPolicy) {
    // Ethernet and IPv4, addresses of 6 and 4 bytes.
    asm.word(HEAD);
    asm.must_be(0x0001_0800);
    asm.half(HEAD + 4);
    asm.must_be(0x0604);
    let known = asm.label();
    asm.half(ARP_KIND);
    asm.if_is(1, known);
    asm.must_be(2);
    asm.here(known);
    mac_must_be(asm, ARP_MAC, policy.mac);
    let Some(own) = &policy.v4 else { return asm.pass() };
    let good = asm.label();
    asm.word(ARP_SENDER);
    for address in own {
        asm.if_is(u32::from(*address), good);
    }
    // A probe whether an address is free has none itself. About another's, whoever tries that one would give it up.
    asm.must_be(0);
    asm.word(ARP_TARGET);
    for address in own {
        asm.if_is(u32::from(*address), good);
    }
    asm.refuse();
    asm.here(good);
    asm.pass();
}

fn ipv4(asm: &mut Assembler, policy: &PortPolicy, bridge: &Bridge) {
    let (plain, headed) = (asm.label(), asm.label());
    asm.byte(HEAD);
    asm.if_is(0x45, plain);
    // Options can lead a packet by way of the host. The one that is needed says that routers look at a group's report.
    asm.must_be(0x46);
    asm.byte(V4_PROTOCOL);
    asm.must_be(IGMP);
    asm.word(HEAD + 20);
    asm.must_be(0x9404_0000);
    asm.jump(headed);
    asm.here(plain);
    asm.here(headed);
    asm.x_header_length(HEAD);
    if let Some(own) = &policy.v4 {
        let good = asm.label();
        asm.word(V4_SOURCE);
        for address in own {
            asm.if_is(u32::from(*address), good);
        }
        // Who has no address yet asks for one, and nothing else.
        asm.must_be(0);
        asm.byte(V4_PROTOCOL);
        asm.must_be(UDP);
        asm.word_at_x(HEAD);
        asm.must_be(ports(68, 67));
        asm.word(V4_DESTINATION);
        asm.must_be(u32::from(Ipv4Addr::BROADCAST));
        client_must_be(asm, policy.mac);
        asm.pass();
        asm.here(good);
    }
    let (icmp, igmp, udp, judged) = (asm.label(), asm.label(), asm.label(), asm.label());
    asm.half(V4_FRAGMENT);
    asm.and(FRAGMENT_OFFSET);
    asm.if_not(0, judged);
    asm.byte(V4_PROTOCOL);
    asm.if_is(ICMP, icmp);
    asm.if_is(IGMP, igmp);
    if !policy.serves {
        asm.if_is(UDP, udp);
    }
    asm.jump(judged);
    asm.here(icmp);
    asm.byte_at_x(HEAD);
    // Redirect and router advertisement.
    asm.must_not_be(5);
    asm.must_not_be(9);
    asm.jump(judged);
    asm.here(igmp);
    asm.byte_at_x(HEAD);
    // Query and advertisement of a multicast router: whoever asks decides what the bridge forgets.
    asm.must_not_be(0x11);
    asm.must_not_be(0x30);
    asm.jump(judged);
    asm.here(udp);
    asm.word_at_x(HEAD);
    asm.must_not_be(ports(67, 68));
    asm.half_at_x(HEAD + 2);
    asm.if_not(67, judged);
    client_must_be(asm, policy.mac);
    asm.here(judged);
    destinations(asm, policy, bridge, false);
}

/// The ports of UDP as one word.
fn ports(from: u32, to: u32) -> u32 {
    from << 16 | to
}

fn ipv6(asm: &mut Assembler, policy: &PortPolicy, bridge: &Bridge) {
    asm.byte(HEAD);
    asm.and(0xf0);
    asm.must_be(0x60);
    let (sourced, groups) = (asm.label(), asm.label());
    if let Some(own) = policy.v6.as_ref().map(|own| with_link_local(own, policy.mac)) {
        for address in &own {
            if_address(asm, Load::At(V6_SOURCE), *address, sourced);
        }
        let unspecified = asm.label();
        if_address(asm, Load::At(V6_SOURCE), Ipv6Addr::UNSPECIFIED, unspecified);
        asm.refuse();
        asm.here(unspecified);
        without_address(asm, &own, groups);
    }
    asm.here(sourced);
    let (fragment, upper, judged) = (asm.label(), asm.label(), asm.label());
    asm.x(V6_END);
    asm.byte(V6_NEXT);
    asm.if_is(HOP_BY_HOP, groups);
    asm.if_is(FRAGMENT, fragment);
    asm.jump(upper);

    asm.here(fragment);
    asm.half(V6_END + 2);
    asm.and(0xfff8);
    // Only the first part of a packet says what is in it.
    asm.if_not(0, judged);
    asm.x(V6_END + 8);
    asm.byte(V6_END);

    asm.here(upper);
    for header in HIDING {
        asm.must_not_be(header);
    }
    let (icmp, udp) = (asm.label(), asm.label());
    asm.if_is(ICMPV6, icmp);
    if !policy.serves {
        asm.if_is(UDP, udp);
    }
    asm.jump(judged);

    asm.here(icmp);
    let (solicits, asks, tells) = (asm.label(), asm.label(), asm.label());
    asm.byte_at_x(0);
    for kind in PLAIN_ICMPV6.into_iter().chain(GROUP_REPORTS) {
        asm.if_is(kind, judged);
    }
    if policy.serves {
        asm.if_is(ROUTER_ADVERTISEMENT, judged);
    }
    asm.if_is(ROUTER_SOLICITATION, solicits);
    asm.if_is(NEIGHBOUR_SOLICITATION, asks);
    asm.if_is(NEIGHBOUR_ADVERTISEMENT, tells);
    // Among the rest: queries for groups, redirects, the other router's and server's messages.
    asm.refuse();

    asm.here(solicits);
    discovery(asm, 8, &[Part::Source(policy.mac)], judged);
    asm.here(asks);
    discovery(asm, 24, &[Part::Source(policy.mac), Part::Nonce], judged);
    asm.here(tells);
    let own_target = asm.label();
    discovery(asm, 24, &[Part::Target(policy.mac)], own_target);
    asm.here(own_target);
    if let Some(own) = &policy.v6 {
        target_must_be(asm, &with_link_local(own, policy.mac), judged);
    } else {
        asm.jump(judged);
    }

    asm.here(groups);
    groups_only(asm);

    asm.here(udp);
    asm.word_at_x(0);
    asm.must_not_be(ports(547, 546));
    asm.half_at_x(2);
    asm.if_not(547, judged);
    // In parts it would not be seen here.
    asm.byte(V6_NEXT);
    asm.must_not_be(FRAGMENT);
    asm.byte_at_x(8);
    for kind in RELAYED {
        asm.must_not_be(kind);
    }
    asm.here(judged);
    destinations(asm, policy, bridge, true);
}

/// From `::`: whether an address of its own is free, what routers there are, and its groups.
fn without_address(asm: &mut Assembler, own: &[Ipv6Addr], groups: Label) {
    let good = asm.label();
    asm.x(V6_END);
    asm.byte(V6_NEXT);
    asm.if_is(HOP_BY_HOP, groups);
    asm.must_be(ICMPV6);
    let (solicits, own_target) = (asm.label(), asm.label());
    asm.byte_at_x(0);
    asm.if_is(ROUTER_SOLICITATION, solicits);
    asm.must_be(NEIGHBOUR_SOLICITATION);
    discovery(asm, 24, &[Part::Nonce], own_target);
    asm.here(own_target);
    target_must_be(asm, own, good);
    asm.here(solicits);
    discovery(asm, 8, &[], good);
    asm.here(good);
    asm.pass();
}

/// An option of neighbour discovery, of 8 bytes.
enum Part {
    /// The MAC address of who sends it.
    Source(Mac),
    /// The MAC address of whom it is about.
    Target(Mac),
    /// A number by which a guest knows its own question again (RFC 7527).
    Nonce,
}

/// Drops a message of neighbour discovery that is longer than `length` bytes, unless it is longer by one of these
/// options; else goes on at `good`. Receivers believe the MAC address in an option, wherever it stands and whoever sent
/// the frame: an option that is not seen here would lead answers to another machine. The filter has no loops to look for
/// options, so that only whole messages of known shapes pass. They are never sent in parts (RFC 6980).
fn discovery(asm: &mut Assembler, length: u32, options: &[Part], good: Label) {
    let option = V6_END + length;
    asm.byte(V6_NEXT);
    asm.must_be(ICMPV6);
    // What follows that length in the frame nobody reads.
    asm.half(V6_LENGTH);
    asm.if_is(length, good);
    asm.must_be(length + 8);
    for part in options {
        let other = asm.label();
        asm.half(option);
        match part {
            Part::Nonce => asm.if_is(0x0e01, good),
            Part::Source(mac) | Part::Target(mac) => {
                asm.if_not(if matches!(part, Part::Source(_)) { 0x0101 } else { 0x0201 }, other);
                mac_must_be(asm, option + 2, *mac);
                asm.jump(good);
            }
        }
        asm.here(other);
    }
    asm.refuse();
}

/// The one use of hop-by-hop options here: reports of groups.
fn groups_only(asm: &mut Assembler) {
    let good = asm.label();
    // ICMPv6 follows, after options of 8 bytes.
    asm.half(V6_END);
    asm.must_be(ICMPV6 << 8);
    asm.byte(V6_END + 8);
    for kind in GROUP_REPORTS {
        asm.if_is(kind, good);
    }
    asm.refuse();
    asm.here(good);
    // Reports go to groups; to a single machine by way of the host they would be anything.
    asm.byte(V6_DESTINATION);
    asm.must_be(0xff);
    asm.pass();
}

/// Drops a solicitation or advertisement that is about none of these addresses, else goes on at `good`.
fn target_must_be(asm: &mut Assembler, own: &[Ipv6Addr], good: Label) {
    for address in own {
        if_address(asm, Load::AtX(8), *address, good);
    }
    asm.refuse();
}

/// The link-local address goes without saying.
fn with_link_local(own: &[Ipv6Addr], mac: Mac) -> Vec<Ipv6Addr> {
    own.iter().copied().chain([mac.link_local()]).collect()
}

/// The end of each kind of packet: the destination decides.
fn destinations(asm: &mut Assembler, policy: &PortPolicy, bridge: &Bridge, v6: bool) {
    let at = Load::At(if v6 { V6_DESTINATION } else { V4_DESTINATION });
    for Destination { network, fate } in policy.to.iter().filter(|to| to.network.is_ipv6() == v6) {
        let (inside, outside) = (asm.label(), asm.label());
        if_in(asm, at, *network, inside);
        asm.jump(outside);
        asm.here(inside);
        self::fate(asm, *fate, at, bridge, v6);
        asm.here(outside);
    }
    asm.pass();
}

fn fate(asm: &mut Assembler, fate: Fate, at: Load, bridge: &Bridge, v6: bool) {
    let good = asm.label();
    match fate {
        Fate::Pass => return asm.pass(),
        Fate::Drop => return asm.refuse(),
        Fate::Host => {}
        Fate::Peers => {
            asm.byte(DESTINATION);
            asm.if_any(1, good);
            asm.half(DESTINATION);
            asm.and(MAC_MASK);
            asm.if_is(MAC_PREFIX, good);
        }
        Fate::Lan => {
            let host = asm.label();
            for (first, last) in bridge.macs.iter().copied().map(halves) {
                let other = asm.label();
                asm.word(DESTINATION);
                asm.if_not(first, other);
                asm.half(DESTINATION + 4);
                asm.if_is(last, host);
                asm.here(other);
            }
            asm.pass();
            asm.here(host);
        }
    }
    for address in bridge.addresses.iter().filter(|address| address.is_ipv6() == v6) {
        if_in(asm, at, one(address.ip()), good);
    }
    asm.refuse();
    asm.here(good);
    asm.pass();
}
