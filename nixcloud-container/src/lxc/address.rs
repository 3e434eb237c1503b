//! What names a container to liblxc: the *string* of the LXC path and a name, and the socket that follows from them.

#[cfg(feature = "liblxc")]
use std::ffi::CString;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use thiserror::Error;

/// `sizeof(sun_path)` less the leading and a trailing NUL: a longer socket name is hashed.
const PLAIN_LIMIT: usize = 106;

/// The LXC path and the name of one container, as liblxc takes them.
///
/// liblxc identifies a container by the bytes of its path: over `/var/lib//lxc` or a symlink a running container seems
/// stopped, and starts a second time on the same rootfs. This type refuses what is visibly not canonical; resolving
/// symlinks, once, is up to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    lxc_path: PathBuf,
    name: String,
}

/// A path or a name that liblxc would take and misread.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidAddress {
    /// Not absolute, or with `.`, `..`, `//`, a final slash or a NUL.
    #[error("LXC path {path:?} is not absolute and canonical")]
    #[non_exhaustive]
    Path {
        /// The path.
        path: PathBuf,
    },
    /// Empty, hidden (LXC does not list those), or with a slash or a NUL.
    #[error("{name:?} cannot name a container")]
    #[non_exhaustive]
    Name {
        /// The name.
        name: String,
    },
}

impl Address {
    /// An address of a canonical `lxc_path` and a plain `name`.
    ///
    /// # Errors
    /// Where the path or the name would name another container than it seems to.
    pub fn new(lxc_path: &Path, name: &str) -> Result<Self, InvalidAddress> {
        if !is_canonical(lxc_path) {
            return Err(InvalidAddress::Path { path: lxc_path.to_owned() });
        }
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            return Err(InvalidAddress::Name { name: name.to_owned() });
        }
        Ok(Self { lxc_path: lxc_path.to_owned(), name: name.to_owned() })
    }

    /// The LXC path.
    #[must_use]
    pub fn lxc_path(&self) -> &Path {
        &self.lxc_path
    }

    /// The container's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The container's own directory.
    #[must_use]
    pub fn directory(&self) -> PathBuf {
        self.lxc_path.join(&self.name)
    }

    /// The name of the command socket in the abstract namespace, without its leading NUL.
    #[must_use]
    pub fn socket_name(&self) -> Vec<u8> {
        let mut name = joined(&self.lxc_path, &self.name);
        name.extend_from_slice(b"/command");
        match self.socket_hash() {
            Some(hash) => format!("lxc/{hash}/command").into_bytes(),
            None => name,
        }
    }

    /// The hash that stands for path and name in the socket's name where both together are too long for it.
    #[must_use]
    pub fn socket_hash(&self) -> Option<String> {
        let name = joined(&self.lxc_path, &self.name);
        (name.len() + "/command".len() >= PLAIN_LIMIT).then(|| format!("{:016x}", fnv1a_64(&name)))
    }
}

#[cfg(feature = "liblxc")]
impl Address {
    pub(super) fn c_path(&self) -> Result<CString, InvalidAddress> {
        CString::new(self.lxc_path.as_os_str().as_bytes())
            .map_err(|_| InvalidAddress::Path { path: self.lxc_path.clone() })
    }

    pub(super) fn c_name(&self) -> Result<CString, InvalidAddress> {
        CString::new(self.name.as_str()).map_err(|_| InvalidAddress::Name { name: self.name.clone() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.lxc_path.display(), self.name)
    }
}

pub(super) fn is_canonical(path: &Path) -> bool {
    let rebuilt: PathBuf = path.components().collect();
    path.is_absolute()
        && rebuilt.as_os_str() == path.as_os_str()
        && !path.components().any(|part| matches!(part, Component::ParentDir | Component::CurDir))
        && !path.as_os_str().as_bytes().contains(&0)
}

fn joined(path: &Path, name: &str) -> Vec<u8> {
    [path.as_os_str(), OsStr::new(name)].map(OsStr::as_bytes).join(&b'/')
}

/// FNV-1a of 64 bits, which LXC's `fnv_64a_buf` is.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv_is_the_published_one() {
        // Test vectors of the FNV authors.
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn short_names_are_plain_and_long_ones_hashed_from_106_bytes() {
        let address = Address::new(Path::new("/var/lib/lxc"), "web").unwrap();
        assert_eq!(address.socket_name(), b"/var/lib/lxc/web/command");
        // "/p/" + name + "/command" of 105 bytes fits, of 106 does not.
        let fits = Address::new(Path::new("/p"), &"n".repeat(105 - 11)).unwrap();
        assert_eq!((fits.socket_name().len(), fits.socket_hash()), (105, None));
        let long = Address::new(Path::new("/p"), &"n".repeat(106 - 11)).unwrap();
        let hash = long.socket_hash().unwrap();
        assert_eq!(hash.len(), 16);
        assert_eq!(long.socket_name(), format!("lxc/{hash}/command").into_bytes());
    }

    #[test]
    fn what_would_name_another_container_is_refused() {
        for path in ["var/lib", "/var//lib", "/var/./lib", "/var/../lib", "/var/lib/", "", "/var\0lib"] {
            assert!(Address::new(Path::new(path), "web").is_err(), "{path:?}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "../x", "a\0b"] {
            assert!(Address::new(Path::new("/var/lib/lxc"), name).is_err(), "{name:?}");
        }
    }
}
