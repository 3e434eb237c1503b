//! What is told of who declares a container.

use std::fmt;

use crate::model::name::ContainerName;
use crate::model::state::State;

/// What is told of who declares a container, and as what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeclarationNote {
    /// The container is declared, and was changed by hand: the next apply of what declares it changes it back.
    #[non_exhaustive]
    ChangedBack {
        /// The container.
        name: ContainerName,
        /// The set or manifest that declares the container.
        by: String,
    },
    /// The container file proposes another name than the container has.
    #[non_exhaustive]
    OtherName {
        /// The container.
        name: ContainerName,
        /// The name that the file proposes.
        proposed: ContainerName,
    },
    /// The host configuration declares the container, and an update of all leaves it to that.
    #[non_exhaustive]
    LeftToHost {
        /// The container.
        name: ContainerName,
    },
    /// Another process is just making or removing the container, and an update of all leaves it out.
    #[non_exhaustive]
    LeftOut {
        /// The container.
        name: ContainerName,
        /// The state of the container while that process is at it.
        state: State,
    },
    /// The container is taken over by what declares it now.
    #[non_exhaustive]
    TakenOver {
        /// The container.
        name: ContainerName,
        /// What declared it before; `None` where it was made by hand.
        from: Option<String>,
    },
}

impl fmt::Display for DeclarationNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChangedBack { name, by } => {
                write!(f, "`{by}` declares {name}, and the next time that it is applied it changes this back")
            }
            Self::OtherName { name, proposed } => {
                write!(f, "the container file calls itself `{proposed}`; it is `{name}` here")
            }
            Self::LeftToHost { name } => {
                write!(f, "`{name}` is left to the host configuration, which declares it")
            }
            Self::LeftOut { name, state } => write!(f, "`{name}` is left out: it is {}", state.words()),
            Self::TakenOver { name, from: Some(source) } => {
                write!(f, "`{name}` is taken over: `{source}` declared it")
            }
            Self::TakenOver { name, from: None } => {
                write!(f, "`{name}` is taken over: it was made by hand")
            }
        }
    }
}
