//! What is told of containers that the shell original made.

use std::fmt;

use crate::model::name::ContainerName;

/// What is told of a container that the shell original made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AdoptionNote {
    /// The container becomes one of ours.
    #[non_exhaustive]
    Adopted {
        /// The container.
        name: ContainerName,
    },
    /// The guest runs as the original started it, and less confined, until the container is restarted.
    #[non_exhaustive]
    RunsAsBefore {
        /// The container.
        name: ContainerName,
    },
    /// A line of the LXC configuration that somebody added, or a generation has, would break the confinement, and is left out.
    #[non_exhaustive]
    LineLeftOut {
        /// The line.
        line: String,
        /// The reason for which the line is left out.
        why: String,
    },
}

impl fmt::Display for AdoptionNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Adopted { name } => {
                write!(f, "`{name}` was made by the shell original: it is adopted")
            }
            Self::RunsAsBefore { name } => write!(
                f,
                "`{name}` keeps what the original started it with until it is restarted: until then nothing but its \
                 ids keeps it from writing to the store"
            ),
            Self::LineLeftOut { line, why } => write!(f, "`{line}` is left out: {why}"),
        }
    }
}
