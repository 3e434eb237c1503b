//! Frames, as guests and the host would send them.

use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const OWN: &str = "02:4e:00:00:00:01";

pub(super) const HOST: &str = "12:00:00:00:00:01";

pub(super) const OTHER: &str = "02:4e:00:00:00:02";

pub(super) const OPEN: &str = "0a:4e:00:00:00:03";

pub(super) const ALL: &str = "ff:ff:ff:ff:ff:ff";

pub(super) const GROUP6: &str = "33:33:00:00:00:01";

pub(super) const LINK_LOCAL: &str = "fe80::4e:ff:fe00:1";

pub(super) fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().unwrap()
}

pub(super) fn ether(to: &str, from: &str, kind: u16, rest: &[u8]) -> Vec<u8> {
    let (to, from) = (mac(to), mac(from));
    [&to[..], &from[..], &kind.to_be_bytes()[..], rest].concat()
}

pub(super) fn v4(text: &str) -> [u8; 4] {
    text.parse::<Ipv4Addr>().unwrap().octets()
}

pub(super) fn arp(to: &str, from: &str, sender: &str, sender_ip: &str, target: &str) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, 1];
    let rest = [&head[..], &mac(sender)[..], &v4(sender_ip)[..], &[0; 6][..], &v4(target)[..]].concat();
    ether(to, from, 0x806, &rest)
}

/// An IPv4 packet; `fragment` are the bytes of flags and offset.
pub(super) fn ip4(to: &str, source: &str, target: &str, protocol: u8, fragment: u16, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0x45, 0, 0, 0, 0, 0];
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    header.extend(v4(source));
    header.extend(v4(target));
    header.extend(rest);
    ether(to, OWN, 0x800, &header)
}

/// The same with options, padded to words.
pub(super) fn ip4_options(source: &str, target: &str, protocol: u8, options: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut frame = ip4(HOST, source, target, protocol, 0, &[options, rest].concat());
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    frame
}

pub(super) fn udp(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes(), [0, 12], [0, 0]].concat().into_iter().chain([0; 4]).collect()
}

/// A question to a DHCP server, of the client with this MAC address.
pub(super) fn dhcp(from: u16, client: &str, relay: &str) -> Vec<u8> {
    let head = [&from.to_be_bytes()[..], &[0, 67, 0, 244, 0, 0]].concat();
    let mut message = vec![1, 1, 6, 0];
    message.resize(24, 0);
    message.extend(v4(relay));
    message.extend(mac(client));
    message.resize(236, 0);
    [head, message].concat()
}

/// A message of DHCPv6 to the servers.
pub(super) fn dhcp6(kind: u8) -> Vec<u8> {
    [&546u16.to_be_bytes()[..], &547u16.to_be_bytes(), &[0, 12, 0, 0, kind, 0, 0, 1]].concat()
}

pub(super) fn ip6(to: &str, source: &str, target: &str, next: u8, rest: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, next, 255];
    header.extend(source.parse::<Ipv6Addr>().unwrap().octets());
    header.extend(target.parse::<Ipv6Addr>().unwrap().octets());
    header.extend(rest);
    ether(to, OWN, 0x86dd, &header)
}

/// An ICMPv6 message about a target.
pub(super) fn icmp6(kind: u8, target: &str) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target.parse::<Ipv6Addr>().unwrap().octets()[..]].concat()
}
