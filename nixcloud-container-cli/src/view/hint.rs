//! How to go on.

use nixcloud_container::Hint;

/// A hint of the library, whose operations are commands here.
pub(crate) fn spelled(hint: &Hint) -> String {
    hint.spelled(|remedy| format!("`nixcloud-container {remedy}`"))
}
