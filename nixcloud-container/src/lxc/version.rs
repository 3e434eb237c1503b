//! The version of liblxc: the one that runs, the one of the headers, the least that will do.

use std::ffi::CStr;
use std::fmt;

use lxc_sys::Liblxc;
use thiserror::Error;

/// A version of liblxc. What follows the numbers (`-devel`, `.beta1`) is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Its first number.
    pub major: u32,
    /// Its second number.
    pub minor: u32,
    /// Its third number.
    pub micro: u32,
}

/// Why the liblxc that runs is refused.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum Error {
    /// It has not what we call, or has it elsewhere in its struct.
    #[error("liblxc {found} is too old, {needed} is the least that works")]
    TooOld {
        /// The version that runs.
        found: Version,
        /// The least that works.
        needed: Version,
    },
    /// It is not there, or lacks what each release has.
    #[error("liblxc cannot be loaded")]
    NotLoaded(#[source] &'static lxc_sys::LoadError),
    /// What it calls its version is none.
    #[error("liblxc calls its version {text:?}")]
    Unreadable {
        /// What it said.
        text: String,
    },
}

impl Version {
    /// The least that works: since 4.0.7 `lxc_attach_options_t` has its present size, and every member that this library
    /// calls its present place (4.0.5 had moved one). Nothing newer is called, so that a library older than the headers
    /// is fine down to here. 4.0.7 also brought `idmap=` for mounts.
    pub const NEEDED: Self = Self { major: 4, minor: 0, micro: 7 };

    /// The version of the library that runs.
    ///
    /// # Errors
    /// When it is not there, or does not name itself by three numbers.
    pub fn runtime() -> Result<Self, Error> {
        let lxc = lxc_sys::liblxc().map_err(Error::NotLoaded)?;
        // SAFETY: takes nothing, touches nothing.
        let text = unsafe { (lxc.lxc_get_version)() };
        if text.is_null() {
            return Err(Error::Unreadable { text: String::new() });
        }
        // SAFETY: not NULL; a static, NUL-terminated string of the library's.
        let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
        Self::parse(&text).ok_or_else(|| Error::Unreadable { text: text.into_owned() })
    }

    /// The version of the headers that the bindings were made of. The one that runs may be older or newer.
    #[must_use]
    pub const fn build() -> Self {
        Self {
            major: lxc_sys::LXC_VERSION_MAJOR,
            minor: lxc_sys::LXC_VERSION_MINOR,
            micro: lxc_sys::LXC_VERSION_MICRO,
        }
    }

    /// liblxc, if the version that runs will do.
    pub(super) fn library() -> Result<&'static Liblxc, Error> {
        Self::supported()?;
        lxc_sys::liblxc().map_err(Error::NotLoaded)
    }

    /// The version that runs, if it will do.
    ///
    /// # Errors
    /// When it is older than [`Version::NEEDED`], does not name itself or is not there.
    pub fn supported() -> Result<Self, Error> {
        Self::runtime()?.at_least(Self::NEEDED)
    }

    fn at_least(self, needed: Self) -> Result<Self, Error> {
        if self < needed { Err(Error::TooOld { found: self, needed }) } else { Ok(self) }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(['.', '-', '~', '+']).map(|part| part.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { major: next()?, minor: next()?, micro: next()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(major: u32, minor: u32, micro: u32) -> Version {
        Version { major, minor, micro }
    }

    #[test]
    fn reads_releases_and_development_versions() {
        assert_eq!(Version::parse("5.0.2"), Some(version(5, 0, 2)));
        assert_eq!(Version::parse("6.0.0-devel"), Some(version(6, 0, 0)));
        assert_eq!(Version::parse("6.0.0.beta1"), Some(version(6, 0, 0)));
        assert_eq!(Version::parse("5.0"), None);
        assert_eq!(Version::parse("five"), None);
    }

    #[test]
    fn orders_by_number_and_refuses_what_is_older() {
        assert!(version(4, 0, 12) > version(4, 0, 7));
        assert!(version(5, 0, 0) > version(4, 0, 12));
        let refused = version(4, 0, 6).at_least(Version::NEEDED).unwrap_err();
        assert_eq!(refused.to_string(), "liblxc 4.0.6 is too old, 4.0.7 is the least that works");
        assert!(version(4, 0, 7).at_least(Version::NEEDED).is_ok());
    }

    #[test]
    fn the_library_that_runs_will_do() {
        assert!(Version::supported().unwrap() >= Version::NEEDED);
        assert!(Version::build() >= Version::NEEDED);
    }
}
