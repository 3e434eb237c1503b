//! Signals, as people, LXC and kill(1) call them.

use std::fmt;
use std::str::FromStr;

use ::nix::sys::signal::Signal as Known;
use serde::{Deserialize, Serialize};

/// The highest number of a signal that Linux has.
const LAST: i32 = 64;

/// Second names.
const ALIASES: [(&str, Known); 3] =
    [("SIGCLD", Known::SIGCHLD), ("SIGIOT", Known::SIGABRT), ("SIGPOLL", Known::SIGIO)];

/// A signal.
///
/// It is read from a name with or without `SIG` in any case (`TERM`, `SIGTERM`), a number, or the distance from an end of
/// the real-time ones (`RTMIN+3`, `RTMAX-2`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Signal(i32);

/// A text that is no signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no signal is called `{0}`: TERM, SIGTERM, 15 and RTMIN+3 are known, and all like them")]
pub struct SignalError(pub String);

impl Signal {
    /// Ends a process at once.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// The signal's number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    pub(crate) fn of(number: i32) -> Option<Self> {
        (1..=LAST).contains(&number).then_some(Self(number))
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let refused = || SignalError(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            return text.parse().ok().and_then(Self::of).ok_or_else(refused);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(name) = name.strip_prefix("RT") {
            return real_time(name).ok_or_else(refused);
        }
        let name = format!("SIG{name}");
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, known)| *known);
        let known = alias.or_else(|| name.parse().ok()).ok_or_else(refused)?;
        Ok(Self(known as i32))
    }
}

/// What follows `RT`.
fn real_time(name: &str) -> Option<Signal> {
    let (min, max) = (libc::SIGRTMIN(), libc::SIGRTMAX());
    let distance = |text: &str, sign: char| match text.strip_prefix(sign) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i32>().ok(),
        None if text.is_empty() => Some(0),
        _ => None,
    };
    let number = match name.strip_prefix("MIN") {
        Some(rest) => min.checked_add(distance(rest, '+')?)?,
        None => max.checked_sub(distance(name.strip_prefix("MAX")?, '-')?)?,
    };
    (min..=max).contains(&number).then_some(Signal(number))
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Known::try_from(self.0), self.0 - libc::SIGRTMIN()) {
            (Ok(known), _) => f.pad(known.as_str()),
            (_, 0) => f.pad("SIGRTMIN"),
            (_, above) if above > 0 => f.pad(&format!("SIGRTMIN+{above}")),
            _ => f.pad(&self.0.to_string()),
        }
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

impl TryFrom<String> for Signal {
    type Error = SignalError;

    fn try_from(text: String) -> Result<Self, SignalError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_signal_is_read_as_it_is_told() {
        for number in 1..=LAST {
            let signal = Signal::of(number).unwrap();
            assert_eq!(signal.to_string().parse(), Ok(signal));
            assert_eq!(number.to_string().parse(), Ok(signal));
        }
    }

    #[test]
    fn signals_have_many_names() {
        let min = libc::SIGRTMIN();
        for (text, number, word) in [
            ("TERM", libc::SIGTERM, "SIGTERM"),
            ("SIGTERM", libc::SIGTERM, "SIGTERM"),
            ("sigterm", libc::SIGTERM, "SIGTERM"),
            ("15", libc::SIGTERM, "SIGTERM"),
            ("winch", libc::SIGWINCH, "SIGWINCH"),
            ("POLL", libc::SIGIO, "SIGIO"),
            ("RTMIN", min, "SIGRTMIN"),
            ("RTMIN+3", min + 3, "SIGRTMIN+3"),
            ("SIGRTMIN+3", min + 3, "SIGRTMIN+3"),
            ("rtmax-1", libc::SIGRTMAX() - 1, "SIGRTMIN+29"),
            ("64", 64, "SIGRTMIN+30"),
        ] {
            let signal: Signal = text.parse().unwrap();
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, word), "{text}");
        }
        for text in [
            "", "0", "65", "-9", "SIG", "FOO", "RT", "RTMIN+", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMIN++3",
            "+9",
        ] {
            assert_eq!(text.parse::<Signal>(), Err(SignalError(text.to_owned())), "{text}");
        }
    }
}
