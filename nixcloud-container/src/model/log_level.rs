//! How grave what LXC logs is.

use std::fmt;

/// How grave a record is, in liblxc's order; of a log: the least grave that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// `TRACE`
    Trace,
    /// `DEBUG`
    Debug,
    /// `INFO`
    Info,
    /// `NOTICE`
    Notice,
    /// `WARN`
    Warn,
    /// `ERROR`
    Error,
    /// `CRIT`
    Crit,
    /// `ALERT`
    Alert,
    /// `FATAL`
    Fatal,
}

/// A word that is none of LXC's log levels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no log level of LXC: there are {}", Level::ALL.map(Level::as_str).join(", "))]
#[non_exhaustive]
pub struct UnknownLevel {
    /// The word.
    pub word: String,
}

impl Level {
    /// All of them, the least grave first.
    pub const ALL: [Self; 9] = [
        Self::Trace,
        Self::Debug,
        Self::Info,
        Self::Notice,
        Self::Warn,
        Self::Error,
        Self::Crit,
        Self::Alert,
        Self::Fatal,
    ];

    /// LXC's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Notice => "NOTICE",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
            Self::Crit => "CRIT",
            Self::Alert => "ALERT",
            Self::Fatal => "FATAL",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// As LXC's tools read `-l`: in any case.
impl std::str::FromStr for Level {
    type Err = UnknownLevel;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::from_name(&word.to_ascii_uppercase()).ok_or_else(|| UnknownLevel { word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_the_tools_read_them() {
        for level in Level::ALL {
            assert_eq!(level.as_str().parse(), Ok(level));
            assert_eq!(level.to_string().to_lowercase().parse(), Ok(level));
        }
        let error = "LOUD".parse::<Level>().unwrap_err();
        assert!(error.to_string().contains("`LOUD`") && error.to_string().contains("TRACE"), "{error}");
        assert!(Level::Trace < Level::Fatal);
    }
}
