//! The pool of user and group ids.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::ConfigError;
use crate::model::idmap;
use crate::model::setters::setters;

/// The pool of user and group ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ids {
    /// The ids that containers may have, each part with its first and its last one. Parts are used up in this order.
    pub ranges: Vec<[u32; 2]>,
    /// Where the first range begins, for a pool of all ids from there up instead of `ranges`. 100000, which was the
    /// default once, means `ranges`.
    pub first: Option<u32>,
    /// The files that give ranges to users of the host. Those of others are respected; `host up` adds lines of the name
    /// `nixcloud-container`, for what containers may use, and `host down` takes them out.
    pub foreign: Vec<PathBuf>,
    /// Whether ranges that processes of this host have by now are passed over, whosever they are.
    pub skip_running: bool,
}

setters!(Ids: "All defaults." {
    with_ranges => ranges: Vec<[u32; 2]>,
    with_first => first: Option<u32>,
    with_foreign => foreign: Vec<PathBuf>,
    with_skip_running => skip_running: bool,
});

impl Ids {
    /// The ids that containers may have, each part with its first and its last one.
    #[must_use]
    pub fn pool(&self) -> Vec<[u32; 2]> {
        match self.lone_first() {
            Some(first) => vec![[first, idmap::LAST]],
            None => self.ranges.clone(),
        }
    }

    fn lone_first(&self) -> Option<u32> {
        self.first.filter(|first| *first != idmap::FIRST)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(first) = self.lone_first() {
            let refused = |why| ConfigError::Value { key: "ids.first", value: first.to_string(), why };
            idmap::IdMap::new(first).map_err(|error| refused(error.why()))?;
            if self.ranges != idmap::POOL {
                return Err(refused("`ids.ranges` says already which ids containers have"));
            }
        }
        if self.ranges.is_empty() {
            let why = "containers need ids";
            return Err(ConfigError::Value { key: "ids.ranges", value: "[]".to_owned(), why });
        }
        for [first, last] in &self.ranges {
            let refused =
                |why| ConfigError::Value { key: "ids.ranges", value: format!("[{first}, {last}]"), why };
            idmap::IdMap::new(*first).map_err(|error| refused(error.why()))?;
            if u64::from(*first) + u64::from(idmap::RANGE) > u64::from(*last) + 1 {
                return Err(refused("a container needs 65536 ids"));
            }
            if *last > idmap::LAST {
                return Err(refused("it runs over the largest id"));
            }
        }
        Ok(())
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            ranges: idmap::POOL.to_vec(),
            first: None,
            foreign: vec!["/etc/subuid".into(), "/etc/subgid".into()],
            skip_running: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::HostConfig;

    #[test]
    fn an_old_first_id_is_a_pool_of_its_own_unless_it_was_the_default() {
        let pool = |text: &str| HostConfig::from_toml(text).unwrap().ids.pool();
        assert_eq!(pool("ids = { first = 1000000 }"), [[1_000_000, idmap::LAST]]);
        assert_eq!(pool("ids = { first = 100000 }"), idmap::POOL);
        assert_eq!(pool("ids = { ranges = [[200000, 900000]] }"), [[200_000, 900_000]]);
    }
}
