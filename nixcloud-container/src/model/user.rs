//! A user and a group of a guest, as they are named to us.

use std::fmt;
use std::str::FromStr;

use crate::model::setters::setters;
use serde::{Deserialize, Serialize};

/// Who a command runs as: `UID`, `USER`, `UID:GID`, `USER:GROUP`, and every mixture. What the names mean, the guest's
/// `/etc/passwd` and `/etc/group` say.
///
/// ```
/// use nixcloud_container::{Account, User};
///
/// let user: User = "alice:100".parse()?;
/// assert_eq!(user.user, Account::Name("alice".to_owned()));
/// assert_eq!(user.group, Some(Account::Id(100)));
/// # Ok::<(), nixcloud_container::UserError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct User {
    /// The user.
    pub user: Account,
    /// The group; the user's own when not given, and root's where the guest does not know the user.
    pub group: Option<Account>,
}

setters!(User: "With the user's own group." (user: Account) {
    with_group => group: Option<Account>,
});

/// A user or a group, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Account {
    /// A number that a user or group has in the guest.
    Id(u32),
    /// A name that a user or group has in the guest.
    Name(String),
}

impl User {
    /// By numbers.
    #[must_use]
    pub fn ids(uid: u32, gid: Option<u32>) -> Self {
        Self { user: Account::Id(uid), group: gid.map(Account::Id) }
    }

    /// By name.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { user: Account::Name(name.into()), group: None }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.user)?;
        self.group.iter().try_for_each(|group| write!(f, ":{group}"))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// What can be no user or group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The name is empty.
    #[error("a user is missing before or a group after the `:`")]
    Empty,
    /// The number is none that the kernel gives.
    #[error("`{text}` is no id: the highest is {}", u32::MAX - 1)]
    #[non_exhaustive]
    Id {
        /// The text that should be a number.
        text: String,
    },
    /// A character that no name has.
    #[error("{character:?} is in no name of a user or group")]
    #[non_exhaustive]
    Character {
        /// The character.
        character: char,
    },
}

impl FromStr for User {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        Ok(Self { user: user.parse()?, group: group.map(str::parse).transpose()? })
    }
}

impl FromStr for Account {
    type Err = UserError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(UserError::Empty);
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return id(text).map(Self::Id).ok_or_else(|| UserError::Id { text: text.to_owned() });
        }
        // A sign begins a line that includes others (NIS), and `-1` is meant as a number.
        let first = text.chars().next().filter(|first| matches!(first, '+' | '-'));
        let bad = |c: &char| c.is_control() || c.is_whitespace() || matches!(c, ':' | '/' | ',');
        match first.or_else(|| text.chars().find(bad)) {
            Some(character) => Err(UserError::Character { character }),
            None => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// A number of digits alone; the last of all means "unchanged" to the kernel.
pub(crate) fn id(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_in_every_mixture() {
        for text in ["0", "1000:100", "alice", "alice:users", "1000:users", "alice:100", "a.b-c_d$"] {
            assert_eq!(text.parse::<User>().unwrap().to_string(), text);
        }
        assert_eq!("1000:100".parse(), Ok(User::ids(1000, Some(100))));
        assert_eq!("alice".parse(), Ok(User::named("alice")));
    }

    #[test]
    fn what_is_no_user_is_refused_with_the_reason() {
        for text in ["", ":", "alice:", ":users", "alice::users"] {
            assert!(text.parse::<User>().is_err(), "{text:?}");
        }
        for text in ["4294967295", "4294967296", "99999999999999999999"] {
            assert!(matches!(text.parse::<User>(), Err(UserError::Id { .. })), "{text}");
        }
        for (text, character) in
            [("-1", '-'), ("+alice", '+'), ("a b", ' '), ("../x", '/'), ("a\nb", '\n'), ("a:b:c", ':')]
        {
            assert_eq!(text.parse::<User>(), Err(UserError::Character { character }), "{text:?}");
        }
        assert_eq!(
            (id("007"), id("+7"), id("-7"), id(""), id("4294967294")),
            (Some(7), None, None, None, Some(u32::MAX - 1))
        );
    }
}
