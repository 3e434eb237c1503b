//! What a user should know of an operation and what did not stop it, as data: one enum a subject, each of which writes itself as a
//! sentence without full stop for programs that only show it.

mod adoption;
mod declaration;
mod files;
mod generation;
mod guest;
mod network;

use std::fmt;

use crate::model::name::ContainerName;

pub use adoption::AdoptionNote;
pub use declaration::DeclarationNote;
pub use files::FilesNote;
pub use generation::GenerationNote;
pub use guest::GuestNote;
pub use network::NetworkNote;

/// Something that the user should know and that did not stop the operation, by its subject.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Note {
    /// The container's generations.
    Generation(GenerationNote),
    /// The guest that runs, or is to.
    Guest(GuestNote),
    /// The container's networks.
    Network(NetworkNote),
    /// The container's files.
    Files(FilesNote),
    /// Who declares the container, and as what.
    Declaration(DeclarationNote),
    /// A container that the shell original made.
    Adoption(AdoptionNote),
    /// Of an operation on many containers: a note of the one that is named.
    #[non_exhaustive]
    Of {
        /// The container.
        name: ContainerName,
        /// The note about the container.
        note: Box<Note>,
    },
}

impl Note {
    /// As a note of an operation on many containers.
    pub(crate) fn of(self, name: &ContainerName) -> Self {
        Self::Of { name: name.clone(), note: Box::new(self) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation(note) => note.fmt(f),
            Self::Guest(note) => note.fmt(f),
            Self::Network(note) => note.fmt(f),
            Self::Files(note) => note.fmt(f),
            Self::Declaration(note) => note.fmt(f),
            Self::Adoption(note) => note.fmt(f),
            Self::Of { name, note } => write!(f, "{name}: {note}"),
        }
    }
}

/// What is told of a subject is a note.
macro_rules! subjects {
    ($($subject:ident($of:ident),)+) => {
        $(impl From<$of> for Note {
            fn from(note: $of) -> Self {
                Self::$subject(note)
            }
        })+
    };
}

subjects! {
    Generation(GenerationNote),
    Guest(GuestNote),
    Network(NetworkNote),
    Files(FilesNote),
    Declaration(DeclarationNote),
    Adoption(AdoptionNote),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_a_sentence_and_data() {
        let web: ContainerName = "web".parse().unwrap();
        let note = Note::from(GuestNote::AwaitsBoot { name: web.clone() }).of(&"all".parse().unwrap());
        assert_eq!(note.to_string(), "all: waiting for `web` to finish booting");
        let json = serde_json::to_value(&note).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "of": { "name": "all", "note": { "guest": { "awaits_boot": { "name": "web" } } } } })
        );
        assert_eq!(serde_json::from_value::<Note>(json).unwrap(), note);
    }
}
