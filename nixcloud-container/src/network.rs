//! The words of a container's network: protocols and ports that are forwarded.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host, as `tcp-8080`: on all of its addresses, IPv4 and IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: NonZeroU16,
}

impl HostPort {
    /// It in words: `tcp port 8080`.
    #[must_use]
    pub fn words(self) -> String {
        format!("{} port {}", self.protocol, self.port)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.protocol, self.port)
    }
}

/// A text that is no port of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no port of the host, which would be such as `tcp-8080`")]
pub struct HostPortError {
    text: String,
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let read = || {
            let (protocol, digits) = text.split_once('-')?;
            let protocol = match protocol {
                "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return None,
            };
            let port = HostPort { protocol, port: digits.parse().ok()? };
            // One spelling a port, since it names a file.
            (port.to_string() == text).then_some(port)
        };
        read().ok_or_else(|| HostPortError { text: text.to_owned() })
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(port: HostPort) -> Self {
        port.to_string()
    }
}

/// A port of the host that leads to a port of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// The port on the host.
    pub host_port: NonZeroU16,
    /// The port in the container.
    pub container_port: NonZeroU16,
    /// Of which protocol.
    pub protocol: Protocol,
}

impl Forward {
    /// What it takes of the host.
    #[must_use]
    pub fn host(&self) -> HostPort {
        HostPort { protocol: self.protocol, port: self.host_port }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_spelling() {
        for good in ["tcp-80", "udp-53", "tcp-65535"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in ["tcp-0", "tcp-080", "tcp-65536", "tcp-+80", "sctp-1", "80", "tcp-", "tcp-80/../x"] {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
