//! Values that are one word each: as programs store, send and read them.

/// A word that is none of those of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is none of {known}")]
#[non_exhaustive]
pub struct UnknownWord {
    /// The word.
    pub word: String,
    /// Those that there are, with commas between.
    pub known: String,
}

/// The words of an enum: [`Display`](std::fmt::Display) writes them, [`FromStr`](std::str::FromStr) reads them. A variant without a
/// word does not compile.
macro_rules! words {
    ($of:ident { $($variant:ident => $word:literal,)+ }) => {
        impl $of {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its word, as programs read it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $of {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $of {
            type Err = $crate::model::words::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| {
                    let known = [$($word,)+].join(", ");
                    $crate::model::words::UnknownWord { word: word.to_owned(), known }
                })
            }
        }
    };
}

pub(crate) use words;

#[cfg(test)]
mod tests {
    use std::fmt::{Debug, Display};
    use std::str::FromStr;

    use serde::Serialize;

    use super::UnknownWord;
    use crate::error::ErrorKind;
    use crate::model::forward::Protocol;
    use crate::model::generation::Health;
    use crate::model::host_report::{Change, Part, Verdict};
    use crate::model::idmap::IdMapKind;
    use crate::model::observe::{ContainerChange, Phase, UnitChange};
    use crate::model::state::{Action, State};
    use crate::model::store_view::StoreView;

    fn agree<T>(all: &[T])
    where
        T: Copy + Debug + Display + PartialEq + Serialize + FromStr<Err = UnknownWord>,
    {
        assert!(all.len() > 1);
        for value in all {
            let word = value.to_string();
            assert_eq!(word.parse::<T>().unwrap(), *value);
            assert_eq!(serde_json::to_value(value).unwrap(), word, "{value:?} is stored as another word");
        }
        let error = "no such".parse::<T>().unwrap_err();
        assert!(error.to_string().contains(&all[0].to_string()), "{error}");
    }

    #[test]
    fn a_word_is_written_read_and_stored_alike() {
        agree(ErrorKind::ALL);
        agree(Protocol::ALL);
        agree(Health::ALL);
        agree(Change::ALL);
        agree(Part::ALL);
        agree(Verdict::ALL);
        agree(IdMapKind::ALL);
        agree(State::ALL);
        agree(Action::ALL);
        agree(Phase::ALL);
        agree(UnitChange::ALL);
        agree(ContainerChange::ALL);
        agree(StoreView::ALL);
        agree(crate::ops::addresses::Origin::ALL);
    }
}
