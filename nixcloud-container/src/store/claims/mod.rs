//! Leases: addresses, id ranges and interface identities, each claimed by the exclusive creation of a file named after
//! it.
//!
//! The file holds its owner's name. Creation is atomic, so two creates at once never get the same one, and no
//! record has to be parsed to find a free one.

mod addresses;
pub mod host_ports;
mod ids;
mod interfaces;

pub(crate) use ids::SHARED;

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnetwork::{IpNetwork, Ipv6Network};

use crate::fs::claim::{self, Claim};
use crate::fs::error::FileError;
use crate::model::config::HostConfig;
use crate::model::idmap::RANGE;
use crate::model::interface::InterfaceId;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::store::subid::SubidError;

/// Claims addresses, id ranges and interface identities.
#[derive(Debug, Clone, Copy)]
pub struct Leases<'a> {
    layout: &'a Layout,
    config: &'a HostConfig,
}

/// A claim that could not be made or given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else has the address.
    #[error("address {address} belongs to container `{owner}`")]
    #[non_exhaustive]
    AddressTaken {
        /// The address.
        address: IpAddr,
        /// The container that has it.
        owner: String,
    },
    /// Its claim says of nobody that he has it.
    #[error("{} names no container", .path.display())]
    #[non_exhaustive]
    Damaged {
        /// The claim.
        path: PathBuf,
    },
    /// It is kept for somebody else.
    #[error("address {address} is reserved for container `{name}`")]
    #[non_exhaustive]
    AddressReserved {
        /// The address.
        address: IpAddr,
        /// Whom the host configuration keeps it for.
        name: ContainerName,
    },
    /// It is an address of the host.
    #[error("address {address} is the host's own, on {interface}")]
    #[non_exhaustive]
    HostAddress {
        /// The address.
        address: IpAddr,
        /// The interface on which the host has the address.
        interface: String,
    },
    /// The address means a whole network, and no host.
    #[error("address {address} is not one of a host: it stands for the network {network}, or for all in it")]
    #[non_exhaustive]
    NetworkAddress {
        /// The address.
        address: IpAddr,
        /// The network.
        network: IpNetwork,
    },
    /// It is in the prefix whose addresses follow from those of the internet bridge.
    #[error("address {address} is in {prefix}, where containers with `enableNat` have the addresses")]
    #[non_exhaustive]
    RoutedPrefix {
        /// The address.
        address: IpAddr,
        /// The routed prefix.
        prefix: Ipv6Network,
    },
    /// No address is left.
    #[error("no address of {pool} is free")]
    #[non_exhaustive]
    AddressesExhausted {
        /// The pool.
        pool: String,
    },
    /// Somebody else has the ids, or some of them.
    #[error("ids from {base} up belong to container `{owner}`")]
    #[non_exhaustive]
    IdsTaken {
        /// The first id.
        base: u32,
        /// Their owner.
        owner: String,
    },
    /// No id range is left.
    #[error("no range of {RANGE} ids is free in {pool}")]
    #[non_exhaustive]
    IdsExhausted {
        /// The ranges in which ids were looked for.
        pool: String,
    },
    /// No identity of interfaces is left.
    #[error("no names of interfaces are free")]
    InterfacesExhausted,
    /// A file of ours or of the host cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The ids of other users cannot be read.
    #[error(transparent)]
    Subids(#[from] SubidError),
    /// A claim cannot be written or removed.
    #[error("cannot claim {what}")]
    #[non_exhaustive]
    Claim {
        /// The address, ids or interface names that were to be claimed.
        what: String,
        /// The error that this one follows from.
        source: claim::Error,
    },
}

/// What others of this host use; found by the caller, who knows the network and the LXC path.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    /// Addresses of the host, each with its interface.
    pub host_addresses: Vec<(IpAddr, String)>,
    /// Addresses of LXC containers that are not ours, each with the container's name.
    pub addresses: Vec<(IpAddr, String)>,
    /// Id ranges of LXC containers that are not ours: first and count.
    pub ids: Vec<(u64, u64)>,
    /// Identities that interfaces of this network namespace have: those of running guests of whichever LXC path.
    pub interfaces: BTreeSet<InterfaceId>,
}

impl<'a> Leases<'a> {
    /// The claims of one host.
    #[must_use]
    pub fn new(layout: &'a Layout, config: &'a HostConfig) -> Self {
        Self { layout, config }
    }

    /// Whether the claim is new, and so ours alone.
    fn claim(&self, path: &Path, owner: &str, what: &str) -> Result<bool, LeaseError> {
        claim::create(path, owner.as_bytes())
            .map(|claim| claim == Claim::New)
            .map_err(|source| LeaseError::Claim { what: what.to_owned(), source })
    }

    fn release(&self, path: &Path, owner: &str, what: &str) -> Result<(), LeaseError> {
        claim::release(path, owner.as_bytes())
            .map(drop)
            .map_err(|source| LeaseError::Claim { what: what.to_owned(), source })
    }
}

/// The claims of a folder, by file name alone.
fn names<T: std::str::FromStr + Ord>(folder: &Path) -> Result<BTreeSet<T>, LeaseError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(FileError::new("read", folder, source).into()),
    }
}

fn read_owner(path: &Path) -> Result<Option<String>, LeaseError> {
    match std::fs::read_to_string(path) {
        Ok(owner) => Ok(Some(owner.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::new("read", path, source).into()),
    }
}

#[cfg(test)]
mod tests;
