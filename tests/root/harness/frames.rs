//! Frames as they are: put together byte by byte, sent and heard at an interface, also inside a guest.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

pub type Mac = [u8; 6];

pub const BROADCAST: Mac = [0xff; 6];

/// An interface, at which all frames are heard and any can be sent.
pub struct Tap {
    socket: OwnedFd,
    pub mac: Mac,
}

impl Tap {
    /// An interface of this network namespace.
    pub fn here(interface: &str) -> Self {
        let link = getifaddrs()
            .unwrap()
            .filter(|found| found.interface_name == interface)
            .find_map(|found| found.address?.as_link_addr().copied())
            .unwrap_or_else(|| panic!("no interface {interface}"));
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
                .unwrap();
        bind(socket.as_raw_fd(), &link).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20)).unwrap();
        Self { socket, mac: link.addr().unwrap() }
    }

    /// An interface in the network namespace of a process. Only a thread enters it; the socket stays there.
    pub fn of(pid: i32, interface: &str) -> Self {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let namespace = File::open(format!("/proc/{pid}/ns/net")).unwrap();
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                Self::here(interface)
            });
            inside.join().unwrap()
        })
    }

    #[track_caller]
    pub fn send(&self, frame: &[u8]) {
        assert_eq!(send(self.socket.as_raw_fd(), frame, MsgFlags::empty()).unwrap(), frame.len());
    }

    /// Forgets what was heard so far.
    pub fn forget(&self) {
        let mut buffer = [0; 2048];
        while recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    /// Whether a frame with these bytes in it comes.
    pub fn hears(&self, mark: &[u8], limit: Duration) -> bool {
        let begin = Instant::now();
        let mut buffer = [0; 2048];
        while begin.elapsed() < limit {
            if let Ok(length) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
                && buffer[..length].windows(mark.len()).any(|window| window == mark)
            {
                return true;
            }
        }
        false
    }
}

pub fn ether(to: Mac, from: Mac, kind: u16, rest: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from[..], &kind.to_be_bytes()[..], rest].concat();
    frame.resize(frame.len().max(60), 0);
    frame
}

/// An IPv6 frame with a flow label, and the mark that it is then: for messages of a fixed shape, which have no room for
/// one, and whose padding bridges cut off.
pub fn labelled(mut frame: Vec<u8>, label: u16) -> (Vec<u8>, Vec<u8>) {
    frame[16..18].copy_from_slice(&label.to_be_bytes());
    let mark = frame[14..38].to_vec();
    (frame, mark)
}

/// The last bytes are a mark: they are padding.
pub fn arp(to: Mac, from: Mac, sender: (Mac, Ipv4Addr), target: Ipv4Addr, mark: &[u8]) -> Vec<u8> {
    let rest =
        [&[0, 1, 8, 0, 6, 4, 0, 1][..], &sender.0, &sender.1.octets(), &[0; 6], &target.octets(), mark];
    ether(to, from, 0x806, &rest.concat())
}

/// Adds up 16-bit words as the Internet's checksums do.
fn checksum(bytes: &[u8]) -> [u8; 2] {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// UDP without a checksum.
pub fn udp(from: u16, to: u16, mark: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + mark.len()).unwrap();
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &length.to_be_bytes(), &[0, 0], mark].concat()
}

/// A question to a DHCP server, of a client with this MAC address.
pub fn dhcp(client: Mac, options: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 0x4e, 0x43, 0, 1];
    message.resize(28, 0);
    message.extend(client);
    message.resize(236, 0);
    message.extend(options);
    message.resize(message.len().max(300), 0);
    udp(68, 67, &message)
}

pub fn ip4(macs: (Mac, Mac), source: Ipv4Addr, target: Ipv4Addr, protocol: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
    let mut header = [&[0x45, 0][..], &length, &[0, 0, 0, 0, 64, protocol, 0, 0]].concat();
    header.extend(source.octets());
    header.extend(target.octets());
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum);
    ether(macs.0, macs.1, 0x800, &[&header[..], rest].concat())
}

pub fn ip6(macs: (Mac, Mac), source: Ipv6Addr, target: Ipv6Addr, next: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    let header = [&[0x60, 0, 0, 0][..], &length, &[next, 255], &source.octets(), &target.octets()].concat();
    ether(macs.0, macs.1, 0x86dd, &[&header[..], rest].concat())
}

/// An ICMPv6 message with its checksum.
pub fn icmp6(source: Ipv6Addr, target: Ipv6Addr, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 0, 0, 0][..], rest].concat();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let pseudo = [&source.octets()[..], &target.octets(), &length, &[0, 0, 0, 58], &message].concat();
    let sum = checksum(&pseudo);
    message[2..4].copy_from_slice(&sum);
    message
}

/// The link-local address that follows from a MAC address.
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}
