//! A path in the Nix store, checked once and then trusted.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Where the store is. Containers share this very directory, so no other one is supported.
pub const STORE_DIR: &str = "/nix/store";

/// The digits of Nix's base 32, in their order: no `e`, `o`, `t` and `u`.
pub(super) const BASE32: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

const HASH_LEN: usize = 32;
const NAME_MAX: usize = 211;

/// `/nix/store/HASH-NAME`: a store object itself, not a file in it.
///
/// ```
/// use nixcloud_container::nix::StorePath;
///
/// let path: StorePath = "/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-hello.drv".parse()?;
/// assert_eq!(path.name(), "hello.drv");
/// assert!(path.is_derivation());
/// # Ok::<(), nixcloud_container::nix::StorePathError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

/// Why a text is no store path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorePathError {
    /// It lies elsewhere, or is not absolute.
    #[error("`{path}` is not in {STORE_DIR}")]
    #[non_exhaustive]
    OutsideStore {
        /// What was given.
        path: String,
    },
    /// It names a file inside a store object.
    #[error("`{path}` is a file inside a store path, not a store path")]
    #[non_exhaustive]
    Inside {
        /// What was given.
        path: String,
    },
    /// The 32 digits of the hash and the dash after them are not there.
    #[error("`{path}` lacks the 32 characters of hash and the dash")]
    #[non_exhaustive]
    NoHash {
        /// What was given.
        path: String,
    },
    /// The name after the hash is empty, too long, or starts with a dot.
    #[error("`{path}` has a name that is empty, longer than {NAME_MAX} bytes or starts with a dot")]
    #[non_exhaustive]
    BadName {
        /// What was given.
        path: String,
    },
    /// A character that Nix does not use there.
    #[error("`{path}` has the character {character:?} at byte {position}")]
    #[non_exhaustive]
    BadCharacter {
        /// What was given.
        path: String,
        /// The first bad character.
        character: char,
        /// Its offset in `path`, in bytes.
        position: usize,
    },
    /// Not UTF-8.
    #[error("`{}` is not UTF-8", path.display())]
    #[non_exhaustive]
    NotUtf8 {
        /// What was given.
        path: PathBuf,
    },
}

impl StorePath {
    /// The name without hash: `hello` of `/nix/store/HASH-hello`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0[STORE_DIR.len() + 1 + HASH_LEN + 1..]
    }

    /// The 32 characters of hash.
    #[must_use]
    pub fn hash_part(&self) -> &str {
        &self.0[STORE_DIR.len() + 1..STORE_DIR.len() + 1 + HASH_LEN]
    }

    /// Whether the name ends in `.drv`.
    #[must_use]
    pub fn is_derivation(&self) -> bool {
        self.name().ends_with(".drv")
    }

    /// The whole path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }
}

fn check(path: &str) -> Result<(), StorePathError> {
    let prefix = STORE_DIR.len() + 1;
    let Some(base) = path.strip_prefix(STORE_DIR).and_then(|rest| rest.strip_prefix('/')) else {
        return Err(StorePathError::OutsideStore { path: path.to_owned() });
    };
    if base.contains('/') {
        return Err(StorePathError::Inside { path: path.to_owned() });
    }
    let bad = |(offset, character)| StorePathError::BadCharacter {
        path: path.to_owned(),
        character,
        position: prefix + offset,
    };
    if base.len() <= HASH_LEN || base.as_bytes()[HASH_LEN] != b'-' {
        return Err(StorePathError::NoHash { path: path.to_owned() });
    }
    let digit = |c: char| u8::try_from(c).is_ok_and(|byte| BASE32.contains(&byte));
    if let Some(found) = base.char_indices().take_while(|(at, _)| *at < HASH_LEN).find(|(_, c)| !digit(*c)) {
        return Err(bad(found));
    }
    let name = &base[HASH_LEN + 1..];
    if name.is_empty() || name.len() > NAME_MAX || name.starts_with('.') {
        return Err(StorePathError::BadName { path: path.to_owned() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    match name.char_indices().find(|(_, c)| !allowed(*c)) {
        Some((offset, character)) => Err(bad((HASH_LEN + 1 + offset, character))),
        None => Ok(()),
    }
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        check(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<String> for StorePath {
    type Error = StorePathError;

    fn try_from(path: String) -> Result<Self, Self::Error> {
        check(&path)?;
        Ok(Self(path))
    }
}

impl TryFrom<&Path> for StorePath {
    type Error = StorePathError;

    fn try_from(path: &Path) -> Result<Self, Self::Error> {
        path.to_str().ok_or_else(|| StorePathError::NotUtf8 { path: path.to_owned() })?.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> Self {
        path.0
    }
}

impl AsRef<Path> for StorePath {
    fn as_ref(&self) -> &Path {
        self.as_path()
    }
}

impl AsRef<OsStr> for StorePath {
    fn as_ref(&self) -> &OsStr {
        OsStr::new(&self.0)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "4pdrk2l54x8lw75fdyqhqcq15xwk0kyk";

    #[test]
    fn parts_of_a_path() {
        let text = format!("/nix/store/{HASH}-top-two.drv");
        let path: StorePath = text.parse().unwrap();
        assert_eq!((path.hash_part(), path.name()), (HASH, "top-two.drv"));
        assert!(path.is_derivation());
        assert_eq!(path.to_string(), text);
        assert!(!format!("/nix/store/{HASH}-drv").parse::<StorePath>().unwrap().is_derivation());
    }

    #[test]
    fn what_is_refused() {
        let refuse = |text: &str| text.parse::<StorePath>().unwrap_err();
        assert!(matches!(refuse("/tmp/x"), StorePathError::OutsideStore { .. }));
        assert!(matches!(refuse("/nix/storex/y"), StorePathError::OutsideStore { .. }));
        assert!(matches!(refuse("--option"), StorePathError::OutsideStore { .. }));
        assert!(matches!(refuse("/nix/store/"), StorePathError::NoHash { .. }));
        assert!(matches!(refuse("/nix/store/é-x"), StorePathError::NoHash { .. }));
        assert!(matches!(refuse(&format!("/nix/store/{HASH}")), StorePathError::NoHash { .. }));
        assert!(matches!(refuse(&format!("/nix/store/{HASH}-a/bin")), StorePathError::Inside { .. }));
        assert!(matches!(refuse(&format!("/nix/store/{HASH}-..")), StorePathError::BadName { .. }));
        assert!(matches!(refuse(&format!("/nix/store/{HASH}-")), StorePathError::BadName { .. }));
        let long = "x".repeat(212);
        assert!(matches!(refuse(&format!("/nix/store/{HASH}-{long}")), StorePathError::BadName { .. }));
        let StorePathError::BadCharacter { character, position, .. } =
            refuse(&format!("/nix/store/{HASH}-a b"))
        else {
            panic!("a blank passed");
        };
        assert_eq!((character, position), (' ', 45));
        let StorePathError::BadCharacter { character, position, .. } =
            refuse("/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kye-a")
        else {
            panic!("an `e` in the hash passed");
        };
        assert_eq!((character, position), ('e', 42));
    }

    #[test]
    fn serde_checks_too() {
        let text = format!("\"/nix/store/{HASH}-a\"");
        let path: StorePath = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&path).unwrap(), text);
        assert!(serde_json::from_str::<StorePath>("\"/etc/passwd\"").is_err());
    }
}
