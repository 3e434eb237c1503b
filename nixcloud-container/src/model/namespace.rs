//! Which of a container's namespaces a command enters, and what of its confinement it is spared.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::model::setters::setters;
use serde::{Deserialize, Serialize};

/// A namespace that a container has of its own, or shares with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Namespace {
    /// Mounts: the files that are seen.
    #[serde(rename = "mnt")]
    Mount,
    /// Process ids.
    Pid,
    /// Host and domain name.
    Uts,
    /// System V IPC and POSIX message queues.
    Ipc,
    /// User and group ids, and the capabilities that go with them.
    User,
    /// Interfaces, addresses, ports, abstract sockets.
    Net,
    /// The root of the cgroups that are seen.
    Cgroup,
}

impl Namespace {
    /// All that LXC gives a container.
    pub const ALL: [Self; 7] =
        [Self::Mount, Self::Pid, Self::Uts, Self::Ipc, Self::User, Self::Net, Self::Cgroup];

    /// Its name in `/proc/PID/ns` and in LXC's configuration (`lxc.namespace.share.NAME`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mount => "mnt",
            Self::Pid => "pid",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::User => "user",
            Self::Net => "net",
            Self::Cgroup => "cgroup",
        }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name of no namespace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is no namespace: mnt, pid, uts, ipc, user, net and cgroup are")]
#[non_exhaustive]
pub struct UnknownNamespace {
    name: String,
}

impl FromStr for Namespace {
    type Err = UnknownNamespace;

    /// The kernel's names and those of lxc-attach (`MOUNT`, `UTSNAME`, `NETWORK`), in either case.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.to_ascii_lowercase().as_str() {
            "mnt" | "mount" => Self::Mount,
            "pid" => Self::Pid,
            "uts" | "utsname" => Self::Uts,
            "ipc" => Self::Ipc,
            "user" => Self::User,
            "net" | "network" => Self::Net,
            "cgroup" => Self::Cgroup,
            _ => return Err(UnknownNamespace { name: text.to_owned() }),
        })
    }
}

/// What of a container's confinement a command is spared. None of it by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Elevated {
    /// Its cgroups: the command then counts as the caller's. Not for a command inside a guest.
    pub cgroup: bool,
    /// The capabilities that its configuration drops. They reach no further than the guest's own user namespace.
    pub capabilities: bool,
    /// AppArmor's or SELinux's profile, and the seccomp filter. Not for a command inside a guest.
    pub lsm: bool,
}

impl Elevated {
    /// Spared everything.
    pub const ALL: Self = Self { cgroup: true, capabilities: true, lsm: true };
}

setters!(Elevated: "Spared nothing." {
    with_cgroup => cgroup: bool,
    with_capabilities => capabilities: bool,
    with_lsm => lsm: bool,
});

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// In the guest: its files, its users.
    Guest,
    /// On the host, as the host's root, with a view into the guest: its network, its processes.
    Host,
}

/// Without these a program of the guest would have something of the host's in reach.
const WHOLE: [Namespace; 5] =
    [Namespace::Mount, Namespace::Pid, Namespace::Ipc, Namespace::User, Namespace::Net];

/// Where a command runs that enters these namespaces, or why it may not.
///
/// Either all that confine a guest or neither its files nor its users. Between the two there is an escape: with its
/// files alone, the guest's programs run as the host's root; with its users alone, the guest's root takes over a process
/// that sees the host's files.
pub(crate) fn side(namespaces: Option<&[Namespace]>) -> Result<Side, &'static str> {
    let Some(namespaces) = namespaces else { return Ok(Side::Guest) };
    let entered: BTreeSet<Namespace> = namespaces.iter().copied().collect();
    if entered.is_empty() {
        return Err("none is named");
    }
    if WHOLE.iter().all(|namespace| entered.contains(namespace)) {
        return Ok(Side::Guest);
    }
    match (entered.contains(&Namespace::Mount), entered.contains(&Namespace::User)) {
        (false, false) => Ok(Side::Host),
        (true, false) => Err("programs of the guest would run as the host's root: `mnt` needs `user`"),
        (false, true) => {
            Err("the guest's root could take over a process that sees the host's files: `user` needs `mnt`")
        }
        (true, true) => {
            Err("programs of the guest would reach what is the host's: beside `mnt` and `user` they need \
                 `pid`, `ipc` and `net`")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_kernel_and_of_lxc() {
        for namespace in Namespace::ALL {
            assert_eq!(namespace.as_str().parse(), Ok(namespace));
            assert_eq!(serde_json::to_string(&namespace).unwrap(), format!("\"{namespace}\""));
        }
        for (name, namespace) in
            [("MOUNT", Namespace::Mount), ("UTSNAME", Namespace::Uts), ("Network", Namespace::Net)]
        {
            assert_eq!(name.parse(), Ok(namespace));
        }
        let error = "time".parse::<Namespace>().unwrap_err();
        assert_eq!(error.to_string(), "`time` is no namespace: mnt, pid, uts, ipc, user, net and cgroup are");
    }

    #[test]
    fn no_choice_of_namespaces_is_half_a_guest() {
        use Namespace::{Cgroup, Ipc, Mount, Net, Pid, User, Uts};
        assert_eq!(side(None), Ok(Side::Guest));
        assert_eq!(side(Some(&Namespace::ALL)), Ok(Side::Guest));
        assert_eq!(side(Some(&[Net, User, Ipc, Pid, Mount])), Ok(Side::Guest));
        for outside in [&[Net][..], &[Net, Net], &[Pid, Net, Ipc, Uts, Cgroup]] {
            assert_eq!(side(Some(outside)), Ok(Side::Host), "{outside:?}");
        }
        assert!(side(Some(&[])).is_err());
        // All others, by brute force: whatever has the guest's files or users, and not all of both, is refused.
        for bits in 1..1_u8 << Namespace::ALL.len() {
            let set: Vec<Namespace> = Namespace::ALL
                .into_iter()
                .enumerate()
                .filter(|(n, _)| bits >> n & 1 == 1)
                .map(|(_, n)| n)
                .collect();
            let touches = set.contains(&Mount) || set.contains(&User);
            let whole = WHOLE.iter().all(|namespace| set.contains(namespace));
            assert_eq!(side(Some(&set)).is_err(), touches && !whole, "{set:?}");
        }
    }
}
