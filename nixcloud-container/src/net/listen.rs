//! Which ports programs of this network namespace listen on.

use std::fs;

/// The state of a TCP socket that listens, and of a UDP socket that is not connected.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// Whether a socket takes what comes to `port` from elsewhere, over IPv4 or IPv6. `tcp` says which protocol, else UDP.
#[must_use]
pub fn is_listened_on(tcp: bool, port: u16) -> bool {
    // Of this thread: `/proc/net` is that of the thread group's leader.
    let tables = if tcp { ["tcp", "tcp6"] } else { ["udp", "udp6"] };
    let state = if tcp { LISTENING } else { UNCONNECTED };
    tables.iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| takes(line, port, state))
    })
}

/// One line: number, local address, remote address, state; addresses are words of the kernel's in hexadecimal.
fn takes(line: &str, port: u16, state: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, found, ..] = fields[..] else { return false };
    let Some((address, digits)) = local.rsplit_once(':') else { return false };
    found == state && u16::from_str_radix(digits, 16) == Ok(port) && !is_loopback(address)
}

fn is_loopback(address: &str) -> bool {
    let is_v4 = |word: &str| u32::from_str_radix(word, 16).is_ok_and(|word| word.to_ne_bytes()[0] == 127);
    match address.len() {
        8 => is_v4(address),
        // ::1, or an IPv4 one mapped.
        32 => {
            let one = u32::from_ne_bytes([0, 0, 0, 1]);
            let mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
            address == format!("{:024}{one:08X}", 0)
                || (address[..24] == format!("{:016}{mapped:08X}", 0) && is_v4(&address[24..]))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, UdpSocket};

    use super::*;
    use crate::net::Netlink;
    use crate::net::testing::in_own_netns;

    #[test]
    fn root_listeners_are_seen_but_those_on_the_loopback() {
        in_own_netns(|| {
            Netlink::open().unwrap().set_up("lo").unwrap();
            let _tcp = TcpListener::bind("0.0.0.0:8080").unwrap();
            let _udp = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 5353)).unwrap();
            let _lo = (TcpListener::bind("127.0.0.1:81").unwrap(), TcpListener::bind("[::1]:81").unwrap());
            assert!(is_listened_on(true, 8080) && is_listened_on(false, 5353));
            for (tcp, port) in [(false, 8080), (true, 5353), (true, 81), (true, 80)] {
                assert!(!is_listened_on(tcp, port), "{tcp} {port}");
            }
        });
    }
}
