//! How far a guest is to have come, what is found when it has, and what is missing when it has not.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::exit::Exit;
use crate::model::occurrence::End;
use crate::model::setters::setters;

/// How far a guest is to have come. Each level begins where [`Activated`](Self::Activated) is reached.
///
/// As text, which [`Display`](fmt::Display) writes and [`FromStr`] reads: `activated`, `system-running`, `address`, `port:80`,
/// `probe:COMMAND` (for a shell of the guest's).
///
/// ```
/// use nixcloud_container::Ready;
///
/// assert_eq!("port:80".parse(), Ok(Ready::port(80)));
/// assert_eq!(Ready::probe(["curl", "-f", "localhost"]).to_string(), "probe:curl -f localhost");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ready {
    /// NixOS has activated its system: users, `/etc` and programs are there, and its systemd answers.
    Activated,
    /// The guest's systemd has started all that it is to start, see [`SystemState`]. A guest without systemd has nothing to start
    /// that could be asked for: it is as far when it is activated.
    SystemRunning,
    /// The guest has the addresses that it is to have: its fixed or leased ones, with NAT the one that leads out, and one at least
    /// where its own bridge gives them.
    Address,
    /// A program in the guest listens on this TCP port, at another address than the loopback's.
    #[non_exhaustive]
    Port {
        /// The port.
        port: u16,
    },
    /// This command, run in the guest as its root, exits with 0. It is run again until it does.
    #[non_exhaustive]
    Probe {
        /// Program and arguments.
        command: Vec<String>,
    },
}

impl Ready {
    /// A program in the guest listens on this TCP port.
    #[must_use]
    pub fn port(port: u16) -> Self {
        Self::Port { port }
    }

    /// This command exits with 0.
    pub fn probe<S: Into<String>>(command: impl IntoIterator<Item = S>) -> Self {
        Self::Probe { command: command.into_iter().map(Into::into).collect() }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activated => f.write_str("activated"),
            Self::SystemRunning => f.write_str("system-running"),
            Self::Address => f.write_str("address"),
            Self::Port { port } => write!(f, "port:{port}"),
            Self::Probe { command } => match command.as_slice() {
                [shell, option, text] if [shell, option] == SHELL => write!(f, "probe:{text}"),
                words => write!(f, "probe:{}", words.join(" ")),
            },
        }
    }
}

/// What runs the text of a probe.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is none of activated, system-running, address, port:NUMBER, probe:COMMAND")]
#[non_exhaustive]
pub struct ReadyError {
    /// The text.
    pub text: String,
}

impl FromStr for Ready {
    type Err = ReadyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = || ReadyError { text: text.to_owned() };
        Ok(match text {
            "activated" => Self::Activated,
            "system-running" => Self::SystemRunning,
            "address" => Self::Address,
            _ => match text.split_once(':') {
                Some(("port", port)) => {
                    Self::Port { port: port.parse().ok().filter(|port| *port > 0).ok_or_else(none)? }
                }
                Some(("probe", command)) if !command.trim().is_empty() => {
                    Self::probe(SHELL.into_iter().chain([command]))
                }
                _ => return Err(none()),
            },
        })
    }
}

/// What a guest that came as far as it was to was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Readiness {
    /// The level that was waited for.
    pub level: Ready,
    /// What its systemd says; none where the level does not ask it.
    pub system: Option<SystemState>,
    /// How long it was waited for.
    pub took: Duration,
}

setters!(Readiness: "Without a word of its systemd." (level: Ready) {
    with_system => system: Option<SystemState>,
    with_took => took: Duration,
});

impl Readiness {
    /// Whether it is as it should be: nothing that it was to start has failed.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !matches!(self.system, Some(SystemState::Degraded { .. }))
    }
}

/// How a guest's system is once it has started all that it was to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SystemState {
    /// All of it runs.
    Running,
    /// It runs, but for units that failed.
    #[non_exhaustive]
    Degraded {
        /// The units, as the guest says; at most 64.
        units: Vec<String>,
    },
    /// The guest has no systemd that could be asked.
    Plain,
}

/// Why a guest was not waited for any longer. It is left as it is: what was started goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unready {
    /// The time was over.
    #[non_exhaustive]
    Late {
        /// The limit.
        limit: Duration,
    },
    /// It ended.
    #[non_exhaustive]
    Ended {
        /// How.
        how: End,
    },
    /// The caller cancelled.
    Cancelled,
}

/// What a guest lacks that is not as far as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Missing {
    /// NixOS has not activated its system, or the guest hides it.
    Activation,
    /// Its systemd has not started all units.
    #[non_exhaustive]
    System {
        /// systemd's word for what it does (`starting`, `maintenance`); none where it does not answer.
        state: Option<String>,
    },
    /// Addresses that it is to have.
    #[non_exhaustive]
    Address {
        /// The addresses; none where any one would do.
        addresses: Vec<IpAddr>,
    },
    /// Somebody who listens on a TCP port.
    #[non_exhaustive]
    Port {
        /// The port.
        port: u16,
    },
    /// A probe that exits with 0.
    #[non_exhaustive]
    Probe {
        /// How it ended when it was run last; none where it was never run to its end.
        exit: Option<Exit>,
    },
}

impl Missing {
    /// How far a guest has come that lacks this; nowhere where it has not activated its system.
    #[must_use]
    pub fn reached(&self) -> Option<Ready> {
        match self {
            Self::Activation => None,
            _ => Some(Ready::Activated),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Activation => f.write_str("it has not activated its system"),
            Self::System { state: Some(state) } => {
                write!(f, "it is activated, and its systemd says `{state}`")
            }
            Self::System { state: None } => f.write_str("it is activated, and its systemd does not answer"),
            Self::Address { addresses } if addresses.is_empty() => {
                f.write_str("it is activated, and has no address")
            }
            Self::Address { addresses } => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                write!(f, "it is activated, and lacks the address {}", all.join(", "))
            }
            Self::Port { port } => write!(f, "it is activated, and nothing listens on port {port}"),
            Self::Probe { exit: None } => f.write_str("it is activated, and the probe did not end"),
            Self::Probe { exit: Some(Exit::NotFound) } => {
                f.write_str("it is activated, and the probe's program is not there")
            }
            Self::Probe { exit: Some(exit) } => {
                write!(f, "it is activated, and the probe exited with {}", exit.shell_code())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_written() {
        for text in ["activated", "system-running", "address", "port:80", "probe:test -e /run/x && true"] {
            let ready: Ready = text.parse().unwrap();
            assert_eq!(ready.to_string(), text);
        }
        for text in [
            "",
            "booted",
            "port",
            "port:",
            "port:0",
            "port:65536",
            "port:http",
            "probe:",
            "probe: ",
            "Port:80",
        ] {
            assert_eq!(text.parse::<Ready>().unwrap_err().text, text);
        }
        let shell = "probe:exit 3".parse().unwrap();
        assert_eq!(Ready::probe(["/bin/sh", "-c", "exit 3"]), shell);
    }

    #[test]
    fn what_is_missing_is_told_with_what_is_reached() {
        assert_eq!(Missing::Activation.reached(), None);
        let system = Missing::System { state: Some("starting".to_owned()) };
        assert_eq!(system.reached(), Some(Ready::Activated));
        assert_eq!(system.to_string(), "it is activated, and its systemd says `starting`");
        let two = ["10.0.0.2", "fd00::2"].map(|text| text.parse().unwrap()).to_vec();
        let address = Missing::Address { addresses: two };
        assert_eq!(address.to_string(), "it is activated, and lacks the address 10.0.0.2, fd00::2");
    }
}
