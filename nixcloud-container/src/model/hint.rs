//! How to go on after a failure, as data: operations of this library between words. Which command or button an operation is, the
//! program says that shows the hint.

use std::fmt;

use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;

/// An operation that is a way to go on.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Remedy {
    /// List the containers.
    List,
    /// Make a new generation of a container, or of one that is to be named, from a file that is to be named.
    #[non_exhaustive]
    Update {
        /// The container.
        name: Option<ContainerName>,
    },
    /// Make a new generation of a container from the file that it is known to come from.
    #[non_exhaustive]
    Rebuild {
        /// The container.
        name: Option<ContainerName>,
    },
    /// Go to another generation of a container that is to be named.
    #[non_exhaustive]
    SwitchGeneration {
        /// The generation.
        id: GenerationId,
    },
    /// Boot a container.
    #[non_exhaustive]
    Start {
        /// The container.
        name: ContainerName,
    },
    /// Shut down a container, or one that is to be named.
    #[non_exhaustive]
    Stop {
        /// The container.
        name: Option<ContainerName>,
    },
    /// Shut down a container, and boot it again.
    #[non_exhaustive]
    Restart {
        /// The container.
        name: ContainerName,
    },
    /// End a container at once.
    #[non_exhaustive]
    Terminate {
        /// The container.
        name: ContainerName,
    },
    /// Thaw a container.
    #[non_exhaustive]
    Unfreeze {
        /// The container.
        name: ContainerName,
    },
    /// Remove a container.
    #[non_exhaustive]
    Destroy {
        /// The container.
        name: ContainerName,
        /// Also while it runs, or something declares it.
        force: bool,
    },
    /// Put right what is known of a container, or of all.
    #[non_exhaustive]
    Repair {
        /// The container.
        name: Option<ContainerName>,
    },
    /// Run a command in a container.
    #[non_exhaustive]
    Run {
        /// The container.
        name: ContainerName,
        /// The command.
        command: Vec<String>,
    },
    /// Make the host have what is declared, and remove what is declared no more.
    ApplyAndPrune,
    /// Make the host have what is declared, and take over what another source declared.
    ApplyAndTakeOver,
    /// Shut down all containers.
    Autostop,
    /// Prepare the host.
    HostUp,
    /// Take away what preparing the host made.
    HostDown,
}

/// The operation in the words of this library, arguments that are to be chosen in capitals: `update web FILE`.
impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chosen =
            |name: &Option<ContainerName>| name.as_ref().map_or("NAME".to_owned(), ToString::to_string);
        match self {
            Self::List => f.write_str("list"),
            Self::Update { name } => write!(f, "update {} FILE", chosen(name)),
            Self::Rebuild { name } => write!(f, "update {}", chosen(name)),
            Self::SwitchGeneration { id } => write!(f, "switch-generation NAME {id}"),
            Self::Start { name } => write!(f, "start {name}"),
            Self::Stop { name } => write!(f, "stop {}", chosen(name)),
            Self::Restart { name } => write!(f, "restart {name}"),
            Self::Terminate { name } => write!(f, "terminate {name}"),
            Self::Unfreeze { name } => write!(f, "unfreeze {name}"),
            Self::Destroy { name, force: true } => write!(f, "destroy --force {name}"),
            Self::Destroy { name, force: false } => write!(f, "destroy {name}"),
            Self::Repair { name: Some(name) } => write!(f, "repair {name}"),
            Self::Repair { name: None } => f.write_str("repair"),
            Self::Run { name, command } => write!(f, "run {name} {}", command.join(" ")),
            Self::ApplyAndPrune => f.write_str("apply --prune"),
            Self::ApplyAndTakeOver => f.write_str("apply --take-over"),
            Self::Autostop => f.write_str("autostop"),
            Self::HostUp => f.write_str("host up"),
            Self::HostDown => f.write_str("host down"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Piece {
    Words(String),
    Remedy(Remedy),
}

/// How to go on: words, and operations among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Hint(Vec<Piece>);

impl Hint {
    /// With these words behind it.
    #[must_use]
    pub(crate) fn words(mut self, words: impl Into<String>) -> Self {
        self.0.push(Piece::Words(words.into()));
        self
    }

    /// With this operation behind it.
    #[must_use]
    pub(crate) fn remedy(mut self, remedy: Remedy) -> Self {
        self.0.push(Piece::Remedy(remedy));
        self
    }

    /// The operations that the hint is to, in order.
    pub fn remedies(&self) -> impl Iterator<Item = &Remedy> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Remedy(remedy) => Some(remedy),
            Piece::Words(_) => None,
        })
    }

    /// Its text, with each operation as `spell` has it.
    #[must_use]
    pub fn spelled(&self, spell: impl Fn(&Remedy) -> String) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Words(words) => words.clone(),
            Piece::Remedy(remedy) => spell(remedy),
        };
        self.0.iter().map(text).collect()
    }

    /// Whether its text, as [`Display`](fmt::Display) has it, contains `words`.
    #[must_use]
    pub fn contains(&self, words: &str) -> bool {
        self.to_string().contains(words)
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelled(|remedy| format!("`{remedy}`")))
    }
}

impl From<Remedy> for Hint {
    fn from(remedy: Remedy) -> Self {
        Self::default().remedy(remedy)
    }
}

impl From<String> for Hint {
    fn from(words: String) -> Self {
        Self::default().words(words)
    }
}

impl From<&str> for Hint {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_it_spells_the_operations() {
        let web: ContainerName = "web".parse().unwrap();
        let hint = Hint::from(Remedy::Stop { name: Some(web.clone()) })
            .words(" first, or ")
            .remedy(Remedy::Destroy { name: web, force: true });
        assert_eq!(hint.to_string(), "`stop web` first, or `destroy --force web`");
        assert_eq!(
            hint.spelled(|remedy| format!("[{remedy}]")),
            "[stop web] first, or [destroy --force web]"
        );
        assert_eq!(hint.remedies().count(), 2);
        assert_eq!(Remedy::Update { name: None }.to_string(), "update NAME FILE");
    }
}
