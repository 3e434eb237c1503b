//! What a host needs for its containers, in words: the kinds of things, what was done to one, what was found of one.

use crate::model::hint::Hint;
use crate::model::setters::setters;
use crate::model::words::words;

/// What `host up` or `host down` did to one thing of this host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct HostChange {
    /// What kind of thing it is.
    pub part: Part,
    /// The name of the thing, as of a bridge, a kernel setting or a container.
    pub name: String,
    /// What was done to the thing.
    pub change: Change,
}

setters!(HostChange: "What was done to one of the host's things." (part: Part, name: String, change: Change) {});

/// The kinds of things that a host needs for its containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Part {
    /// The library that runs containers.
    Lxc,
    /// A bridge.
    Bridge,
    /// A setting of the kernel.
    Sysctl,
    /// Our table of the packet filter.
    Filter,
    /// A rule of ours in the firewall of somebody else, or such a firewall.
    Firewall,
    /// A port of the host that leads to a container.
    Forward,
    /// A running container's port of a bridge.
    #[serde(rename = "port")]
    BridgePort,
    /// Ids of containers, kept from users of the host.
    Ids,
    /// A limit of the kernel.
    Limit,
    /// What one guest can take of a table of the kernel that all share.
    Share,
    /// A dnsmasq of ours.
    Resolver,
    /// The names of containers on the host itself.
    Names,
    /// What is kept of a container: its record, claims, profile and folders.
    Container,
}

words!(Part {
    Lxc => "lxc",
    Bridge => "bridge",
    Sysctl => "sysctl",
    Filter => "filter",
    Firewall => "firewall",
    Forward => "forward",
    BridgePort => "port",
    Ids => "ids",
    Limit => "limit",
    Share => "share",
    Resolver => "resolver",
    Names => "names",
    Container => "container",
});

/// What was done to a part of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// The thing is new.
    Made,
    /// The thing was ours already and lacked something.
    Mended,
    /// The thing was there as it should be.
    Kept,
    /// Somebody else made it, or needs it now; it was left alone.
    Foreign,
    /// The thing was removed.
    Removed,
    /// The thing was not there.
    Absent,
}

words!(Change {
    Made => "made",
    Mended => "mended",
    Kept => "kept",
    Foreign => "foreign",
    Removed => "removed",
    Absent => "absent",
});

/// What `host check` found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What kind of thing it is about.
    pub part: Part,
    /// The name of the thing, as of a bridge, a kernel setting or a container.
    pub name: String,
    /// Whether the thing is as it should be.
    pub verdict: Verdict,
    /// What was seen, in a sentence without full stop.
    pub what: String,
    /// How to mend it, where it is to be mended.
    pub mend: Option<Hint>,
}

setters!(Finding: "Something that was seen, and needs no mending." (part: Part, name: String, verdict: Verdict, what: String) {
    with_mend => mend: Option<Hint>,
});

impl Finding {
    /// One that is as it should be.
    pub(crate) fn good(part: Part, name: impl Into<String>, what: impl Into<String>) -> Self {
        Self { part, name: name.into(), verdict: Verdict::Good, what: what.into(), mend: None }
    }

    /// One that is to be mended.
    pub(crate) fn wrong(
        part: Part,
        name: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<Hint>,
    ) -> Self {
        let (name, what) = (name.into(), what.into());
        Self { part, name, verdict: Verdict::Wrong, what, mend: Some(mend.into()) }
    }
}

/// How a part of the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The part is as it should be.
    Good,
    /// Something optional is not there; containers work without it.
    Off,
    /// Containers lack something, or protection.
    Wrong,
}

words!(Verdict {
    Good => "good",
    Off => "off",
    Wrong => "wrong",
});
