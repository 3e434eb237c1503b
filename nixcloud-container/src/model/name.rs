//! Names: of a container, of a network interface. Valid by construction.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a container: 1 to 63 letters, digits, `-` or `_`, the first and the last a letter or digit.
///
/// These are the names that are at once a NixOS host name, a cgroup, a directory and a DNS label
/// without any quoting, so a name never changes its meaning on the way.
///
/// ```
/// use nixcloud_container::ContainerName;
///
/// let name: ContainerName = "web-1".parse()?;
/// assert_eq!(name.as_str(), "web-1");
/// let error = "../etc".parse::<ContainerName>().unwrap_err();
/// assert_eq!(error.to_string(), "container name `../etc` has `.` at position 1: letters, digits, `-` and `_` are allowed");
/// # Ok::<(), nixcloud_container::name::NameError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName(String);

/// The names by which guests and programs know the host and each machine itself.
const HOST_NAMES: [&str; 2] = ["host", "localhost"];

impl ContainerName {
    /// Whether it is a name of the host's, which no container is known by.
    #[must_use]
    pub fn is_the_hosts(&self) -> bool {
        HOST_NAMES.iter().any(|name| name.eq_ignore_ascii_case(&self.0))
    }

    /// Whether two containers of these names are taken for each other: DNS knows no case, and host names no `_`, in whose
    /// place systemd and people write `-`.
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        self.0.len() == other.0.len() && self.0.bytes().map(plain).eq(other.0.bytes().map(plain))
    }

    /// The longest name, in bytes: a DNS label.
    pub const MAX: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a network interface: 1 to 15 letters, digits, `.`, `_` or `-`, the first no `-`.
///
/// The kernel takes more. But LXC gives a bridge's name to a shell (`lxc.net.N.script.up`), and others take it for an
/// option, a wildcard or the end of a quotation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InterfaceName(String);

impl InterfaceName {
    /// The longest name, in bytes: `IFNAMSIZ` less its NUL.
    pub const MAX: usize = 15;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name. Positions count characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The text is empty.
    #[error("{what} is empty")]
    #[non_exhaustive]
    Empty {
        /// What was to be named: `container name`, `interface name`.
        what: &'static str,
    },
    /// The text is too long.
    #[error("{what} `{name}` has {length} characters: at most {max} are allowed")]
    #[non_exhaustive]
    TooLong {
        /// What was to be named: `container name`, `interface name`.
        what: &'static str,
        /// The text.
        name: String,
        /// The length of the name, in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A character does not belong into a name.
    #[error("{what} `{name}` has `{}` at position {position}: {allowed}", .character.escape_debug())]
    #[non_exhaustive]
    Character {
        /// What was to be named: `container name`, `interface name`.
        what: &'static str,
        /// The text.
        name: String,
        /// The character.
        character: char,
        /// The position of the character in the name, from 1.
        position: usize,
        /// The characters that may stand there, in words.
        allowed: &'static str,
    },
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    fits: impl Fn(usize, char, bool) -> bool,
) -> Result<(), NameError> {
    let length = text.chars().count();
    if length == 0 {
        return Err(NameError::Empty { what });
    }
    // The bad character first: it says more than the length.
    for (index, character) in text.chars().enumerate() {
        if !fits(index, character, index + 1 == length) {
            let name = text.chars().take(80).collect();
            return Err(NameError::Character { what, name, character, position: index + 1, allowed });
        }
    }
    if length > max {
        return Err(NameError::TooLong { what, name: text.chars().take(80).collect(), length, max });
    }
    Ok(())
}

impl FromStr for ContainerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let what = "container name";
        check(what, text, Self::MAX, "letters, digits, `-` and `_` are allowed", |_, c, _| {
            c.is_ascii_alphanumeric() || c == '-' || c == '_'
        })?;
        let ends = "the first and the last character are a letter or a digit";
        check(what, text, Self::MAX, ends, |index, c, last| {
            c.is_ascii_alphanumeric() || !(index == 0 || last)
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for InterfaceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let what = "interface name";
        let allowed = "letters, digits, `.`, `_` and `-` are allowed, not `-` first";
        check(what, text, Self::MAX, allowed, |index, c, _| {
            c.is_ascii_alphanumeric() || matches!(c, '.' | '_') || (c == '-' && index > 0)
        })?;
        if text == "." || text == ".." {
            let name = text.to_owned();
            return Err(NameError::Character { what, name, character: '.', position: 1, allowed });
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! text_newtype {
    ($type:ty) => {
        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype!(ContainerName);
text_newtype!(InterfaceName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_host_names_pass() {
        for good in ["a", "0", "web", "Web-1", "a_b", &"x".repeat(63)] {
            assert_eq!(good.parse::<ContainerName>().unwrap().as_str(), good);
        }
    }

    /// Fault 9 of the shell original: names were regular expressions and never validated.
    #[test]
    fn field_09_names_are_validated() {
        for bad in
            ["", ".", "..", "a/b", "../x", "a b", ".*", "-a", "a-", "_", "ä", "a\n", "a.b", &"x".repeat(64)]
        {
            assert!(bad.parse::<ContainerName>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn names_that_dns_takes_for_each_other_are_alike() {
        let name = |text: &str| text.parse::<ContainerName>().unwrap();
        for (one, other, alike) in
            [("fld_12", "FLD_12", true), ("fld_12", "fld-12", true), ("a", "b", false), ("a1", "a12", false)]
        {
            assert_eq!(name(one).is_alike(&name(other)), alike, "{one} {other}");
        }
        assert!(
            name("Host").is_the_hosts() && name("localhost").is_the_hosts() && !name("hosts").is_the_hosts()
        );
    }

    #[test]
    fn the_error_names_the_character_and_its_position() {
        let error = "web/x".parse::<ContainerName>().unwrap_err();
        assert!(matches!(error, NameError::Character { character: '/', position: 4, .. }));
        let error = "-a".parse::<ContainerName>().unwrap_err();
        assert!(error.to_string().contains("the first and the last"), "{error}");
    }

    /// LXC gives them to a shell.
    #[test]
    fn interface_names_say_nothing_to_a_shell() {
        for odd in "!\"#$%&'()*+,/:;<=>?@[\\]^`{|}~ \t\n\u{7f}ä".chars() {
            assert!(format!("br{odd}7").parse::<InterfaceName>().is_err(), "{odd:?} passed");
        }
    }

    #[test]
    fn interface_names_hold_the_kernel_limit() {
        assert!("brNC-hostonly".parse::<InterfaceName>().is_ok());
        assert!("eth0.5".parse::<InterfaceName>().is_ok() && "br_1-a".parse::<InterfaceName>().is_ok());
        for bad in ["", "..", "a/b", "a b", "abcdefghijklmnop", "eth0:1", "-a"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad:?} passed");
        }
    }
}
