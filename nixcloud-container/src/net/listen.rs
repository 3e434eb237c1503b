//! Which ports programs of this network namespace listen on.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;

/// The state of a TCP socket that listens, and of a UDP socket that is not connected.
const LISTENING: &str = "0A";
const UNCONNECTED: &str = "07";

/// Whether a socket takes what comes to `port` from elsewhere, over IPv4 or IPv6: at the address `at`, or at any. `tcp` says
/// which protocol, else UDP.
#[must_use]
pub fn is_listened_on(tcp: bool, port: u16, at: Option<IpAddr>) -> bool {
    // Of this thread: `/proc/net` is that of the thread group's leader.
    let tables = if tcp { ["tcp", "tcp6"] } else { ["udp", "udp6"] };
    let state = if tcp { LISTENING } else { UNCONNECTED };
    tables.iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap_or_default();
        text.lines().skip(1).any(|line| takes(line, port, at, state))
    })
}

/// Whether a program takes TCP connections to `port` in the network namespace of the process `pid`, at another address than the
/// loopback's. The kernel is asked; nothing enters that namespace. Its table begins with the sockets that listen: what else a guest
/// has, however much, is not read.
#[must_use]
pub fn is_listened_on_in(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let Ok(file) = File::open(format!("/proc/{pid}/net/{table}")) else { return false };
        let lines = BufReader::new(file).lines().map_while(Result::ok).skip(1).take(MOST_LISTENERS);
        lines
            .take_while(|line| state(line) == Some(LISTENING))
            .any(|line| takes(&line, port, None, LISTENING))
    })
}

/// A guest that listens on more is asked for the first ones alone.
const MOST_LISTENERS: usize = 65_536;

/// The state of the socket of a line.
fn state(line: &str) -> Option<&str> {
    line.split_whitespace().nth(3)
}

/// One line: number, local address, remote address, state; addresses are words of the kernel's in hexadecimal.
fn takes(line: &str, port: u16, at: Option<IpAddr>, state: &str) -> bool {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, found, ..] = fields[..] else { return false };
    let Some((digits, theirs)) = local.rsplit_once(':') else { return false };
    let Some(address) = address(digits) else { return false };
    // An IPv6 socket may take IPv4, too.
    let all = |at: IpAddr| address.is_unspecified() && (address.is_ipv6() || at.is_ipv4());
    found == state
        && u16::from_str_radix(theirs, 16) == Ok(port)
        && !address.is_loopback()
        && at.is_none_or(|at| address == at || all(at))
}

/// An address; an IPv4 one that is mapped is one.
fn address(digits: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match digits.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(IpAddr::from(bytes).to_canonical())
        }
        _ => None,
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
            assert!(is_listened_on(true, 8080, None) && is_listened_on(false, 5353, None));
            let here = ::nix::unistd::gettid().as_raw().unsigned_abs();
            let connected = std::net::TcpStream::connect("127.0.0.1:8080").unwrap();
            assert!(is_listened_on_in(here, 8080));
            let own = connected.local_addr().unwrap().port();
            for port in [81, 5353, 80, own] {
                assert!(!is_listened_on_in(here, port), "{port}");
            }
            let at = |text: &str| Some(text.parse().unwrap());
            assert!(
                is_listened_on(true, 8080, at("192.0.2.1")) && !is_listened_on(true, 8080, at("2001:db8::1"))
            );
            assert!(
                is_listened_on(false, 5353, at("192.0.2.1"))
                    && is_listened_on(false, 5353, at("2001:db8::1"))
            );
            for (tcp, port) in [(false, 8080), (true, 5353), (true, 81), (true, 80)] {
                assert!(!is_listened_on(tcp, port, None), "{tcp} {port}");
            }
        });
    }
}
