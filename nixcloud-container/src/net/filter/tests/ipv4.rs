//! Kinds of frames, ARP, IPv4 and DHCP, sent by a guest.

use super::frames::*;
use super::*;

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
