//! The version that Nix says it has.

use std::fmt;
use std::str::FromStr;

/// Nix's version, ordered by its numbers. A suffix such as `pre20240101` is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// `2` of 2.8.0.
    pub major: u32,
    /// `8` of 2.8.0.
    pub minor: u32,
    /// `0` of 2.8.0; 0 where Nix gives none.
    pub patch: u32,
}

/// A text in which no version was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no version in `{text}`")]
#[non_exhaustive]
pub struct VersionError {
    /// What Nix printed.
    pub text: String,
}

impl FromStr for Version {
    type Err = VersionError;

    /// Reads the line that `--version` prints, such as `nix-instantiate (Nix) 2.8.0`; its last
    /// word counts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || VersionError { text: text.trim().to_owned() };
        let word = text.lines().next().and_then(|line| line.split_whitespace().last()).ok_or_else(error)?;
        let mut parts = word.split('.').map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            part[..digits].parse::<u32>().ok()
        });
        let mut number = || parts.next().flatten();
        let (Some(major), Some(minor)) = (number(), number()) else { return Err(error()) };
        Ok(Self { major, minor, patch: number().unwrap_or(0) })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_are_met() {
        let read = |text: &str| text.parse::<Version>().map(|v| (v.major, v.minor, v.patch));
        assert_eq!(read("nix-instantiate (Nix) 2.8.0\n"), Ok((2, 8, 0)));
        assert_eq!(read("nix-store (Nix) 2.19.0pre20231004_4f9c2b9"), Ok((2, 19, 0)));
        assert_eq!(read("nix-instantiate (Lix, like Nix) 2.91.1\nSystem type: x"), Ok((2, 91, 1)));
        assert_eq!(read("nix (Nix) 2.4"), Ok((2, 4, 0)));
        assert!(read("").is_err());
        assert!(read("command not found").is_err());
        assert!("2.8.0".parse::<Version>().unwrap() < "2.26.3".parse::<Version>().unwrap());
    }
}
