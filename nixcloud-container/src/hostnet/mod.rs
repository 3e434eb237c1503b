//! `host up`, `host down` and `host check`: the networks of this host. Only what is ours is touched.
//!
//! Each part of the host has a file with what it does for `up`, `down` and `check`; here is their order.

mod bridges;
mod ports;

use crate::error::Error;
use crate::host::Host;

/// What `host up` or `host down` did to one thing of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostChange {
    /// What kind of thing it is.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// What was done.
    pub change: Change,
}

/// The kinds of things that a host needs for its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// A bridge.
    Bridge,
    /// A running container's port of a bridge.
    Port,
}

impl Part {
    /// Its name, as programs read it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Port => "port",
        }
    }
}

/// What was done to a part of the host.
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

/// What `host check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing it is about.
    pub part: Part,
    /// Its name.
    pub name: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, in a sentence without full stop.
    pub what: String,
    /// How to mend it, where it is to be mended.
    pub mend: Option<String>,
}

/// How a part of the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Something optional is not there; containers work without it.
    Off,
    /// Containers lack something, or protection.
    Wrong,
}

pub(crate) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    host.prepare()?;
    let mut changes = bridges::up(host)?;
    changes.extend(ports::up(host)?);
    Ok(changes)
}

pub(crate) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    bridges::down(host)
}

pub(crate) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let mut findings = bridges::check(host)?;
    findings.extend(ports::check(host)?);
    Ok(findings)
}
