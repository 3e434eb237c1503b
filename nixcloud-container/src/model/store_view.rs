//! How much of the host's store a guest sees, and the list of what is in a closure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::words::words;

/// How much of the host's store a guest sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum StoreView {
    /// What its generations in use need, and nothing else.
    #[default]
    Closure,
    /// All of it.
    Full,
}

words!(StoreView {
    Closure => "closure",
    Full => "full",
});

/// The last line of a list: one that was cut off has none.
const END: &str = ".";

/// The paths of a closure as a text: their names in the store, one a line.
#[must_use]
pub fn closure_text<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let mut text = String::with_capacity(names.len() * 64);
    for name in names {
        text.push_str(name);
        text.push('\n');
    }
    text + END + "\n"
}

/// The names in a text as [`closure_text`] writes it; `None` where it is not whole, or names what cannot be in a store.
#[must_use]
pub fn closure_names(text: &str) -> Option<Vec<&str>> {
    let names: Vec<&str> = text.strip_suffix("\n")?.strip_suffix(END)?.lines().collect();
    let good = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    (!names.is_empty() && names.iter().all(good)).then_some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_cut_off_is_none() {
        let text = closure_text(["b-two", "a-one", "b-two"]);
        assert_eq!(text, "a-one\nb-two\n.\n");
        assert_eq!(closure_names(&text), Some(vec!["a-one", "b-two"]));
        for end in 0..text.len() {
            assert_eq!(closure_names(&text[..end]), None, "{end}");
        }
        for bad in ["../etc\n.\n", "..\n.\n", "a/b\n.\n", "\n.\n", ".\n", ".links\n.\n"] {
            assert_eq!(closure_names(bad), None, "{bad:?}");
        }
    }
}
