//! `host up` and `host down`: the bridges of this host. Only what is ours is touched.

use crate::error::Error;
use crate::host::Host;
use crate::name::InterfaceName;
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
    let mut changes = Vec::new();
    for network in [&networks.hostonly, &networks.internet] {
        let spec = BridgeSpec { name: network.bridge.to_string(), address: network.address };
        let change = match bridge::ensure(&spec)? {
            Outcome::Created => Change::Made,
            Outcome::Updated => Change::Mended,
            Outcome::Unchanged => Change::Kept,
            Outcome::Foreign { .. } => Change::Foreign,
        };
        changes.push(BridgeChange { bridge: network.bridge.clone(), change });
    }
    Ok(changes)
}

pub(crate) fn down(host: &Host) -> Result<Vec<BridgeChange>, Error> {
    let networks = &host.config.network;
    let mut changes = Vec::new();
    for network in [&networks.internet, &networks.hostonly] {
        let removed = bridge::remove(network.bridge.as_str())?;
        let change = if removed { Change::Removed } else { Change::Absent };
        changes.push(BridgeChange { bridge: network.bridge.clone(), change });
    }
    Ok(changes)
}
