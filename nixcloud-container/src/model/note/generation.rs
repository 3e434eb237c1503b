//! What is told of generations.

use std::fmt;

use crate::model::generation::{GenerationId, Health, passed_over};
use crate::model::name::ContainerName;

/// What is told of a container's generations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GenerationNote {
    /// A rollback passes over generations that have not worked.
    #[non_exhaustive]
    PassedOver {
        /// The generation that the rollback goes to.
        to: GenerationId,
        /// The newer ones with what is known of each.
        passed: Vec<(GenerationId, Health)>,
    },
    /// A rollback goes to a generation of which nothing is known, since no older one is known to have worked.
    #[non_exhaustive]
    NeverRun {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
    },
    /// A switch failed or was cut off: the generation that was current before is made so again.
    #[non_exhaustive]
    PutBack {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
    },
    /// The generation that was to be put back is gone: the current one stays.
    #[non_exhaustive]
    Gone {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
    },
    /// The generation has failed units and counts all the same; what follows from that failed, too.
    #[non_exhaustive]
    Unsettled {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
        /// The failure with its causes.
        why: String,
    },
    /// Units that had failed before the switch fail still: no fault of the generation.
    #[non_exhaustive]
    FailedBefore {
        /// The container.
        name: ContainerName,
        /// The units.
        units: Vec<String>,
    },
    /// The running guest had lost its profile, and sees the new one from its next start on.
    #[non_exhaustive]
    NextStart {
        /// The container.
        name: ContainerName,
    },
    /// The system that was planned is that of the current generation, which is activated again.
    #[non_exhaustive]
    ActivatedAgain {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
    },
}

impl fmt::Display for GenerationNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PassedOver { to, passed } => {
                write!(f, "the rollback goes to generation {to}: {}", passed_over(passed))
            }
            Self::NeverRun { name, generation } => write!(
                f,
                "generation {generation} of `{name}` is not known to have ever run, and no older one is"
            ),
            Self::PutBack { name, generation } => {
                write!(f, "generation {generation} of `{name}` is put back")
            }
            Self::Gone { name, generation } => write!(
                f,
                "generation {generation} of `{name}` is gone and cannot be put back: the current one stays"
            ),
            Self::Unsettled { why, .. } => f.write_str(why),
            Self::FailedBefore { name, units } => {
                let units = units.join(", ");
                write!(f, "units of `{name}` that had failed before this change still do: {units}")
            }
            Self::NextStart { name } => {
                write!(f, "`{name}` runs on without a profile: the new one is there from its next start on")
            }
            Self::ActivatedAgain { name, generation } => {
                write!(
                    f,
                    "the system of `{name}` is that of generation {generation}, which is activated again"
                )
            }
        }
    }
}
