//! `host up` and `host down`: the bridges of this host. Only what is ours is touched.

use crate::error::Error;
use crate::host::Host;
use crate::name::InterfaceName;
use crate::net::Netlink;
use crate::net::bridge::{self, BridgeSpec, Outcome};

/// What `host up` or `host down` did to one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeChange {
    /// The bridge.
    pub bridge: InterfaceName,
    /// What was done.
    pub change: Change,
}

/// What was done to a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// It is new.
    Made,
    /// It was ours already and lacked something.
    Mended,
    /// It was there as it should be.
    Kept,
    /// Somebody else made it; it was left alone.
    Foreign,
    /// It is gone.
    Removed,
    /// It was not there.
    Absent,
}

pub(crate) fn up(host: &Host) -> Result<Vec<BridgeChange>, Error> {
    host.prepare()?;
    let networks = &host.config.network;
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for network in [&networks.hostonly, &networks.internet] {
        let spec = BridgeSpec { name: network.bridge.to_string(), address: network.address };
        let change = match bridge::ensure(&mut netlink, &spec)? {
            Outcome::Created => Change::Made,
            Outcome::Completed => Change::Mended,
            Outcome::Unchanged => Change::Kept,
            Outcome::Foreign { .. } => Change::Foreign,
        };
        changes.push(BridgeChange { bridge: network.bridge.clone(), change });
    }
    Ok(changes)
}

pub(crate) fn down(host: &Host) -> Result<Vec<BridgeChange>, Error> {
    let networks = &host.config.network;
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for network in [&networks.internet, &networks.hostonly] {
        let change = match bridge::remove(&mut netlink, network.bridge.as_str()) {
            Ok(true) => Change::Removed,
            Ok(false) => Change::Absent,
            Err(bridge::Error::NotOurs { .. }) => Change::Foreign,
            Err(error) => return Err(error.into()),
        };
        changes.push(BridgeChange { bridge: network.bridge.clone(), change });
    }
    Ok(changes)
}
