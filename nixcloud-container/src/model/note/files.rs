//! What is told of files.

use std::fmt;
use std::path::PathBuf;

use crate::model::name::ContainerName;

/// What is told of a container's files.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FilesNote {
    /// An operation was cut off: what it left of the container is removed first.
    #[non_exhaustive]
    Remains {
        /// The container.
        name: ContainerName,
    },
    /// Somebody edited the LXC configuration, which is written anew: the edited file is kept.
    #[non_exhaustive]
    EditedByHand {
        /// The configuration.
        path: PathBuf,
        /// The path that the edited file has now.
        kept: PathBuf,
    },
    /// The files of the container get other owners.
    #[non_exhaustive]
    OwnersMove {
        /// The container.
        name: ContainerName,
        /// The first of the ids that they have.
        from: u32,
        /// The first of those that they get.
        to: u32,
    },
    /// Some of the files belong to nobody in the container, and stay as they are.
    #[non_exhaustive]
    OfNobody {
        /// How many.
        count: u64,
        /// One of these files.
        example: PathBuf,
    },
    /// Something is mounted in the container's folder, and left as it is.
    #[non_exhaustive]
    Mounted {
        /// The mount point.
        path: PathBuf,
    },
}

impl fmt::Display for FilesNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remains { name } => {
                write!(f, "an operation on `{name}` was cut off: its remains are removed first")
            }
            Self::EditedByHand { path, kept } => write!(
                f,
                "{} was edited by hand: the edited file is kept as {}; `lxcExtraConfig` takes lines that stay",
                path.display(),
                kept.display()
            ),
            Self::OwnersMove { name, from, to } => {
                write!(f, "the files of `{name}` are moved from ids {from} and up to {to} and up")
            }
            Self::OfNobody { count, example } => write!(
                f,
                "{count} of them belong to nobody in it and stay as they are, {} for one",
                example.display()
            ),
            Self::Mounted { path } => {
                write!(f, "something is mounted on {}: it is left as it is", path.display())
            }
        }
    }
}
