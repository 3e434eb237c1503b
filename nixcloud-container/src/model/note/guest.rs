//! What is told of guests.

use std::fmt;
use std::path::PathBuf;

use crate::model::config::Above;
use crate::model::name::ContainerName;
use crate::model::resources::Unheld;

/// What is told of a guest that runs, or is to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GuestNote {
    /// The guest boots: it is waited for.
    #[non_exhaustive]
    AwaitsBoot {
        /// The container.
        name: ContainerName,
    },
    /// The guest has not booted in time: the operation goes on.
    #[non_exhaustive]
    StillBoots {
        /// The container.
        name: ContainerName,
    },
    /// The guest's systemd starts units: it is waited for.
    #[non_exhaustive]
    AwaitsUnits {
        /// The container.
        name: ContainerName,
    },
    /// The guest's systemd has not started its units in time: the operation goes on.
    #[non_exhaustive]
    StillStartsUnits {
        /// The container.
        name: ContainerName,
    },
    /// The store cannot be mounted with the guest's ids: it is mounted read-only without them.
    #[non_exhaustive]
    StoreWithoutIds {
        /// LXC's words.
        why: String,
    },
    /// lxcfs is mounted and does not answer: the guest sees the memory and the processors of the host.
    #[non_exhaustive]
    SeesTheHosts {
        /// The container.
        name: ContainerName,
        /// What lxcfs did.
        why: String,
    },
    /// This host cannot hold the guest to a limit.
    #[non_exhaustive]
    LimitUnheld {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Unheld,
    },
    /// The container asks for more than this host gives, and has what there is.
    #[non_exhaustive]
    LimitAbove {
        /// The container.
        name: ContainerName,
        /// What it asks for, and the most that there is.
        limit: Above,
    },
    /// This host does not have a device that the container can do without.
    #[non_exhaustive]
    NoDevice {
        /// The container.
        name: ContainerName,
        /// The key of the container file, below `devices`.
        device: String,
    },
    /// A device that the running guest is itself in the way of: it gets it when it boots again.
    #[non_exhaustive]
    DeviceWaits {
        /// The container.
        name: ContainerName,
        /// Where it was to have it.
        path: String,
        /// What is in the way, in words.
        why: String,
    },
    /// What the container mounts, and does not start without, does not exist.
    #[non_exhaustive]
    NoMountSource {
        /// The file or folder of the host.
        path: PathBuf,
    },
    /// What was to be run is in a path of the store that the guest does not see: it sees what its generations in use need alone.
    #[non_exhaustive]
    NotInItsStore {
        /// The container.
        name: ContainerName,
        /// The path of the store.
        path: PathBuf,
        /// Whether the host has it.
        on_host: bool,
    },
}

impl fmt::Display for GuestNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AwaitsBoot { name } => write!(f, "waiting for `{name}` to finish booting"),
            Self::StillBoots { name } => write!(
                f,
                "`{name}` has not finished booting (its activation still runs, or hangs): goes on all the same"
            ),
            Self::AwaitsUnits { name } => write!(f, "waiting for `{name}` to start its units"),
            Self::StillStartsUnits { name } => {
                write!(f, "`{name}` still starts units: goes on all the same")
            }
            Self::StoreWithoutIds { why } => write!(
                f,
                "the store cannot be shown with the guest's ids here ({why}): it is mounted read-only without them"
            ),
            Self::SeesTheHosts { name, why } => {
                write!(f, "`{name}` sees the memory and the processors of the host as its own: {why}")
            }
            Self::LimitUnheld { name, limit: Unheld { key, why } } => {
                write!(f, "`{name}` is not held to `resources.{key}`: {why}")
            }
            Self::LimitAbove { name, limit: Above { key, asked, most } } => {
                write!(
                    f,
                    "`{name}` asks for `resources.{key}` {asked} and has {most}: this host gives no more"
                )
            }
            Self::NoDevice { name, device } => {
                write!(f, "`{name}` goes without the device `{device}`: this host does not have it")
            }
            Self::DeviceWaits { name, path, why } => {
                write!(f, "`{name}` gets {path} when it boots again: {why}")
            }
            Self::NoMountSource { path } => write!(
                f,
                "the container does not start without {}, which it mounts and which does not exist",
                path.display()
            ),
            Self::NotInItsStore { name, path, on_host: true } => write!(
                f,
                "{} is not in the store of `{name}`: the host has it, and the guest sees only what its generations in use need; the \
                 container file can name it (in `environment.systemPackages`, say), or ask for all of the store (`store = \"full\"`)",
                path.display()
            ),
            Self::NotInItsStore { name, path, on_host: false } => write!(
                f,
                "{} is not in the store of `{name}`, and the host does not have it either",
                path.display()
            ),
        }
    }
}
