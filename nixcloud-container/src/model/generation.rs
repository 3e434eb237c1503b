//! Generations: built systems of one container, numbered by Nix.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::keep::Keep;
use crate::model::setters::setters;
use crate::model::words::words;

/// The number of a generation, from 1 up, as in Nix's `profile-N-link`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(NonZeroU64);

/// A text or number that is no generation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a generation: a whole number from 1 up is")]
pub struct GenerationIdError {
    text: String,
}

impl GenerationId {
    /// The generation of that number.
    ///
    /// # Errors
    /// When it is 0.
    pub fn new(number: u64) -> Result<Self, GenerationIdError> {
        NonZeroU64::new(number).map(Self).ok_or_else(|| GenerationIdError { text: number.to_string() })
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl FromStr for GenerationId {
    type Err = GenerationIdError;

    fn from_str(text: &str) -> Result<Self, GenerationIdError> {
        text.parse().map(Self).map_err(|_| GenerationIdError { text: text.to_owned() })
    }
}

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What is known of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Health {
    /// It was never activated in a running guest, and no guest is known to have run with it.
    #[default]
    Untried,
    /// It was activated without a fault, or a guest has booted from it and run.
    Good,
    /// Its activation failed, or left failed units behind.
    Bad,
    /// The change to it was cut off, cancelled or failed before anything was activated, and the generation before was put
    /// back.
    Undone,
}

words!(Health {
    Untried => "untried",
    Good => "good",
    Bad => "bad",
    Undone => "undone",
});

/// One generation as `list-generations` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Generation {
    /// The generation's number, from 1.
    pub id: GenerationId,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it boots at the next start.
    pub current: bool,
    /// Whether the profile points to it although it has not proved itself: an operation is about to make it the current
    /// one, or was cut off before it could. The next change or start of the container puts the current one back.
    pub unproved: bool,
    /// Whether it is current because somebody chose it: an update of all containers leaves it.
    pub pinned: bool,
    /// Whether the running guest was booted from it.
    pub booted: bool,
    /// The NixOS version of its system, where the system names one.
    pub system_version: Option<String>,
    /// What came of its activation.
    pub health: Health,
    /// The built container in the Nix store.
    pub path: std::path::PathBuf,
}

setters!(Generation: "One that nobody has booted or chosen yet." (id: GenerationId, created: Timestamp, path: std::path::PathBuf) {
    with_current => current: bool,
    with_unproved => unproved: bool,
    with_pinned => pinned: bool,
    with_booted => booted: bool,
    with_system_version => system_version: Option<String>,
    with_health => health: Health,
});

/// Which generations `delete-generations` is asked to delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Selection {
    /// The generations with these numbers.
    Ids(Vec<GenerationId>),
    /// All but the current and the booted one.
    Old,
    /// Those older than this many days, except the newest of them: it was active at that time.
    OlderThanDays(u32),
    /// All but the newest `n` and those after the current one.
    KeepNewest(u32),
    /// All that no rule keeps.
    Keep(Keep),
}

/// Words that select no generations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No word was given.
    #[error("no generation is named")]
    Empty,
    /// A word is none of the forms.
    #[error("`{word}` selects no generations: use numbers, or one of `old`, `30d`, `+5`")]
    #[non_exhaustive]
    Word {
        /// The word.
        word: String,
    },
    /// A form that stands alone was mixed with others.
    #[error("`{word}` stands alone: it cannot be mixed with other words")]
    #[non_exhaustive]
    Mixed {
        /// The word.
        word: String,
    },
}

impl Selection {
    /// Reads the words of a command line: numbers, or one of `old`, `30d`, `+5`.
    ///
    /// # Errors
    /// When a word has none of these forms, or a form that stands alone does not.
    pub fn from_words<S: AsRef<str>>(words: &[S]) -> Result<Self, SelectionError> {
        let lone = |word: &str| -> Option<Self> {
            if word == "old" {
                Some(Self::Old)
            } else if let Some(days) = word.strip_suffix('d') {
                days.parse().ok().map(Self::OlderThanDays)
            } else {
                word.strip_prefix('+').and_then(|n| n.parse().ok()).map(Self::KeepNewest)
            }
        };
        match words {
            [] => Err(SelectionError::Empty),
            [word] if lone(word.as_ref()).is_some() => {
                lone(word.as_ref()).ok_or_else(|| SelectionError::Word { word: word.as_ref().to_owned() })
            }
            words => words
                .iter()
                .map(|word| {
                    let word = word.as_ref();
                    // "+5" would parse as the number 5.
                    if lone(word).is_some() {
                        return Err(SelectionError::Mixed { word: word.to_owned() });
                    }
                    word.parse().map_err(|_| SelectionError::Word { word: word.to_owned() })
                })
                .collect::<Result<_, _>>()
                .map(Self::Ids),
        }
    }
}

/// Generations with what is known of each: `3 is bad, 2 is undone`.
pub(crate) fn passed_over(generations: &[(GenerationId, Health)]) -> String {
    let words: Vec<String> = generations.iter().map(|(id, health)| format!("{id} is {health}")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_a_number_from_one_up() {
        assert_eq!("12".parse::<GenerationId>().unwrap().get(), 12);
        for bad in ["", "0", "-1", "x", "1.5", "99999999999999999999999"] {
            assert!(bad.parse::<GenerationId>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn selections_read_as_nix_writes_them() {
        assert_eq!(Selection::from_words(&["old"]).unwrap(), Selection::Old);
        assert_eq!(Selection::from_words(&["30d"]).unwrap(), Selection::OlderThanDays(30));
        assert_eq!(Selection::from_words(&["+5"]).unwrap(), Selection::KeepNewest(5));
        let ids = vec![GenerationId::new(1).unwrap(), GenerationId::new(3).unwrap()];
        assert_eq!(Selection::from_words(&["1", "3"]).unwrap(), Selection::Ids(ids));
        assert_eq!(Selection::from_words::<&str>(&[]), Err(SelectionError::Empty));
        assert!(matches!(Selection::from_words(&["old", "3"]), Err(SelectionError::Mixed { .. })));
        assert!(matches!(Selection::from_words(&["+5", "3"]), Err(SelectionError::Mixed { .. })));
        assert!(matches!(Selection::from_words(&["young"]), Err(SelectionError::Word { .. })));
    }
}
