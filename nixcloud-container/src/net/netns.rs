//! Which network namespace a thread or a process is in, and the addresses inside another one, without entering it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use ipnetwork::IpNetwork;
use netlink_packet_core::NlasIterator;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::link::without_statistics;
use super::socket::{self, Netlink};

const RTM_NEWNSID: u16 = 88;
const NSID_HEADER: usize = 4;
const NETNSA_NSID: u16 = 1;
/// "No number yet", and in a request for one "any".
const NONE: i32 = -1;

/// Why a network namespace could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/proc` does not give it (no such process: `ENOENT`).
    #[error("cannot read {path}")]
    #[non_exhaustive]
    Proc {
        /// The file of `/proc`.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel cannot look into another namespace (before 4.20).
    #[error("this kernel cannot list the addresses of another network namespace")]
    Unsupported,
    /// The kernel refused.
    #[error(transparent)]
    Netlink(#[from] socket::Error),
}

/// The addresses in the network namespace of the process `pid`, each with its interface's name, loopback's too.
/// Neither forks nor enters it. Needs `CAP_NET_ADMIN` over that namespace.
///
/// # Errors
///
/// [`Error`].
pub fn addresses_of_netns_of(netlink: &mut Netlink, pid: u32) -> Result<Vec<(String, IpNetwork)>, Error> {
    let path = Path::new("/proc").join(pid.to_string()).join("ns/net");
    // Held open until the end: the number that the kernel gives it is not another's meanwhile.
    let netns = File::open(&path).map_err(|source| Error::Proc { path, source })?;
    addresses_in(netlink, netns.as_fd())
}

/// As [`addresses_of_netns_of`], for an open namespace (`/proc/PID/ns/net`).
///
/// # Errors
///
/// [`Error`].
pub fn addresses_in(netlink: &mut Netlink, netns: BorrowedFd<'_>) -> Result<Vec<(String, IpNetwork)>, Error> {
    // An older kernel ignores the number and would give the host's own addresses.
    if !netlink.strict {
        return Err(Error::Unsupported);
    }
    let id = number_of(netlink, netns)?;
    let action = "list the addresses of another network namespace";
    let mut message = AddressMessage::default();
    message.attributes = vec![AddressAttribute::TargetNetNsId(id)];
    let entries = netlink.dump_addresses(action, message)?;
    if entries.iter().any(|entry| entry.netns != Some(id)) {
        return Err(Error::Unsupported);
    }
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfNetnsId(id), without_statistics()];
    let links = netlink.dump_links("list the interfaces of another network namespace", message)?;
    // An interface that went between the two has no addresses any more.
    let named = entries.into_iter().filter_map(|entry| {
        let link = links.iter().find(|link| link.index == entry.index)?;
        Some((link.name.clone(), entry.address))
    });
    Ok(named.collect())
}

/// The number by which the socket's namespace knows another one. LXC has had one given for a guest with a veth;
/// where there is none the kernel gives one now, which ends with that namespace.
fn number_of(netlink: &mut Netlink, netns: BorrowedFd<'_>) -> Result<i32, Error> {
    match known_number(netlink, netns)? {
        NONE => {}
        known => return Ok(known),
    }
    let message = nsid_message(netns, Some(NsidAttribute::Id(NONE)));
    match netlink.request("number a network namespace", RouteNetlinkMessage::NewNsId(message)) {
        // Another process was quicker.
        Err(error) if error.errno() != Some(libc::EEXIST) => return Err(error.into()),
        _ => {}
    }
    match known_number(netlink, netns)? {
        NONE => Err(Error::Unsupported),
        known => Ok(known),
    }
}

fn known_number(netlink: &mut Netlink, netns: BorrowedFd<'_>) -> Result<i32, Error> {
    let message = RouteNetlinkMessage::GetNsId(nsid_message(netns, None));
    let answers = netlink.request("look up a network namespace", message)?;
    let number = answers.iter().filter(|answer| answer.kind == RTM_NEWNSID).find_map(|answer| {
        NlasIterator::new(answer.payload.get(NSID_HEADER..).unwrap_or_default())
            .map_while(Result::ok)
            .find(|attribute| attribute.kind() == NETNSA_NSID)
            .and_then(|attribute| attribute.value().try_into().ok().map(i32::from_ne_bytes))
    });
    Ok(number.unwrap_or(NONE))
}

fn nsid_message(netns: BorrowedFd<'_>, more: Option<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    // A file descriptor in use is never negative.
    message.attributes = vec![NsidAttribute::Fd(netns.as_raw_fd().unsigned_abs())];
    message.attributes.extend(more);
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_own_netns, ip};
    use std::sync::mpsc;

    #[test]
    fn root_addresses_of_a_guest_are_seen_from_outside() {
        // Channels and not barriers: a panic on one side ends the other.
        let (ready, is_ready) = mpsc::channel();
        let (done, is_done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                in_own_netns(move || {
                    ip("link add guest0 type veth peer name guest1");
                    ip("addr add 10.101.0.7/16 dev guest0");
                    ip("addr add fd00:1::7/64 dev guest0 nodad");
                    ip("link set guest0 up");
                    ready.send(::nix::unistd::gettid().as_raw().unsigned_abs()).unwrap();
                    let _ = is_done.recv();
                });
            });
            in_own_netns(move || {
                let guest = is_ready.recv().unwrap();
                ip("link add own0 type veth peer name own1");
                ip("addr add 10.9.9.9/24 dev own0");
                let mut netlink = Netlink::open().unwrap();
                let wanted = ["10.101.0.7/16", "fd00:1::7/64"]
                    .map(|address| ("guest0".to_owned(), address.parse().unwrap()));
                for _ in 0..2 {
                    let mut found = addresses_of_netns_of(&mut netlink, guest).unwrap();
                    found.sort();
                    assert_eq!(found, wanted);
                }
                // One's own namespace, by the same way.
                let own = ::nix::unistd::gettid().as_raw().unsigned_abs();
                let found = addresses_of_netns_of(&mut netlink, own).unwrap();
                assert_eq!(found, [("own0".to_owned(), "10.9.9.9/24".parse().unwrap())]);
                drop(done);
            });
        });
    }
}
