//! Ranges of user and group ids that a guest's 0..65535 map to.

use serde::{Deserialize, Serialize};

use crate::model::words::words;

/// How many ids a container has: all that a guest's 16-bit ids can say.
pub const RANGE: u32 = 65_536;

/// Where the first container's range begins.
pub const FIRST: u32 = 100_000;

/// The pool: what systemd's table of ids calls unused above the 16-bit ids. Between the two are those that systemd-nspawn
/// picks, and Incus and LXD are given; the topmost 131072 hold systemd's range of foreign images.
pub const POOL: [[u32; 2]; 2] = [[FIRST, 524_287], [1_879_048_192, 2_147_352_575]];

/// The last id of a range at the very end: (u32)-1 means "no id" to the kernel.
pub const LAST: u32 = u32::MAX - 1;

/// The host ids of one container: `base` to `base + 65535`, for users and groups alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct IdMap {
    base: u32,
}

/// A range that cannot be given to a container.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{base} cannot be the first id of a container: {why}")]
pub struct IdMapError {
    base: u32,
    why: &'static str,
}

impl IdMapError {
    /// Why not.
    #[must_use]
    pub fn why(&self) -> &'static str {
        self.why
    }
}

impl IdMap {
    /// The range that begins at `base`.
    ///
    /// # Errors
    /// When the range holds ids below 65,536, which are the host's own, or runs over the 32-bit ids.
    pub fn new(base: u32) -> Result<Self, IdMapError> {
        if base < RANGE {
            return Err(IdMapError { base, why: "ids below 65536 are the host's own" });
        }
        // (u32)-1 means "no id" to the kernel.
        if base > u32::MAX - RANGE {
            return Err(IdMapError { base, why: "the range runs over the largest id" });
        }
        Ok(Self { base })
    }

    /// The host id of the guest's root.
    #[must_use]
    pub fn base(self) -> u32 {
        self.base
    }

    /// An id of the range that is the same for the same number, and another one for nearly every other number.
    #[must_use]
    pub fn one_of(self, number: u32) -> u32 {
        self.base + number % RANGE
    }

    /// Whether the half-open range `start..start + count` shares an id with this one.
    #[must_use]
    pub fn overlaps(self, start: u64, count: u64) -> bool {
        let base = u64::from(self.base);
        start < base + u64::from(RANGE) && base < start.saturating_add(count)
    }
}

impl TryFrom<u32> for IdMap {
    type Error = IdMapError;

    fn try_from(base: u32) -> Result<Self, IdMapError> {
        Self::new(base)
    }
}

impl From<IdMap> for u32 {
    fn from(map: IdMap) -> Self {
        map.base
    }
}

/// Whose ids a container uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum IdMapKind {
    /// A range of its own.
    #[default]
    Isolated,
    /// The range that all `shared` containers have in common, as the shell original did.
    Shared,
}

words!(IdMapKind {
    Isolated => "isolated",
    Shared => "shared",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_never_holds_a_host_id() {
        assert!(IdMap::new(0).is_err());
        assert!(IdMap::new(65_535).is_err());
        assert!(IdMap::new(65_536).is_ok());
        assert!(IdMap::new(u32::MAX - RANGE).is_ok());
        assert!(IdMap::new(u32::MAX - RANGE + 1).is_err());
    }

    #[test]
    fn overlap_is_half_open() {
        let map = IdMap::new(FIRST).unwrap();
        assert!(map.overlaps(100_000, 1));
        assert!(map.overlaps(165_535, 1));
        assert!(!map.overlaps(165_536, 65_536));
        assert!(!map.overlaps(34_464, 65_536));
        assert!(map.overlaps(34_465, 65_536));
        assert!(map.overlaps(0, u64::MAX));
    }
}
