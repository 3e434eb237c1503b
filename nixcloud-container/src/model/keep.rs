//! Which generations of a container are worth keeping.

use serde::{Deserialize, Serialize};

use crate::model::setters::setters;

/// The generations that are kept when old ones go: those that one of these rules keeps. What is current, booted or in use by a
/// running guest is kept without any.
///
/// ```
/// use nixcloud_container::{HostConfig, Keep};
///
/// let config = HostConfig::from_toml("[generations]\nkeep = 5\nkeep_days = 30\n")?;
/// assert_eq!(config.generations, Keep::new().with_newest(5_u32).with_days(30_u32));
/// # Ok::<(), nixcloud_container::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Keep {
    /// So many of the newest; 0 keeps none by this rule.
    #[serde(rename = "keep")]
    pub newest: u32,
    /// Those that were the current one within so many days, as far as that follows from when they were made; 0 keeps none by this
    /// rule.
    #[serde(rename = "keep_days")]
    pub days: u32,
    /// So many of the newest that have worked, to have where to go back to; 0 keeps none by this rule.
    #[serde(rename = "keep_good")]
    pub good: u32,
}

setters!(Keep: "Nothing is kept by a rule." {
    with_newest => newest: u32,
    with_days => days: u32,
    with_good => good: u32,
});

impl Keep {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
