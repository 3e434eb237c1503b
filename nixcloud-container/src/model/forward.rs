//! The words of a container's network: protocols and ports that are forwarded.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::setters::setters;
use crate::model::words::words;

/// A protocol with ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

words!(Protocol {
    Tcp => "tcp",
    Udp => "udp",
});

/// A port of the host: on all of its addresses, IPv4 and IPv6 (`tcp-8080`), or on one of them (`tcp-8080@192.0.2.1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub struct HostPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: NonZeroU16,
    /// The one address that it is on.
    pub listen: Option<IpAddr>,
}

setters!(HostPort: "A port on all addresses of the host." (protocol: Protocol, port: NonZeroU16) {
    with_listen => listen: Option<IpAddr>,
});

impl HostPort {
    /// It in words: `tcp port 8080`, `tcp port 192.0.2.1:8080`.
    #[must_use]
    pub fn words(self) -> String {
        format!("{} port {}", self.protocol, self.place())
    }

    /// Port and address.
    pub(crate) fn place(self) -> String {
        let port = self.port.get();
        self.listen.map_or_else(|| port.to_string(), |listen| SocketAddr::new(listen, port).to_string())
    }

    /// Whether something that comes to one comes to the other.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        let same = (self.protocol, self.port) == (other.protocol, other.port);
        same && (self.listen.is_none() || other.listen.is_none() || self.listen == other.listen)
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.protocol, self.port)?;
        self.listen.map_or(Ok(()), |listen| write!(f, "@{listen}"))
    }
}

/// A text that is no port of the host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no port of the host, which would be such as `tcp-8080` or `tcp-8080@192.0.2.1`")]
#[non_exhaustive]
pub struct HostPortError {
    text: String,
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let read = || {
            let (protocol, rest) = text.split_once('-')?;
            let protocol = protocol.parse().ok()?;
            let (digits, listen) = match rest.split_once('@') {
                Some((digits, listen)) => (digits, Some(listen.parse().ok()?)),
                None => (rest, None),
            };
            let port = HostPort { protocol, port: digits.parse().ok()?, listen };
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
#[non_exhaustive]
pub struct Forward {
    /// The port on the host.
    pub host_port: NonZeroU16,
    /// The port in the container.
    pub container_port: NonZeroU16,
    /// Of which protocol.
    pub protocol: Protocol,
    /// The one address of the host that it leads from; from all of them without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<IpAddr>,
}

setters!(Forward: "From a port on all addresses of the host." (protocol: Protocol, host_port: NonZeroU16, container_port: NonZeroU16) {
    with_listen => listen: Option<IpAddr>,
});

impl Forward {
    /// What it takes of the host.
    #[must_use]
    pub fn host(&self) -> HostPort {
        HostPort { protocol: self.protocol, port: self.host_port, listen: self.listen }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_one_spelling() {
        for good in ["tcp-80", "udp-53", "tcp-65535", "tcp-80@192.0.2.1", "udp-53@2001:db8::1"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        let bad = ["tcp-0", "tcp-080", "tcp-65536", "tcp-+80", "sctp-1", "80", "tcp-", "tcp-80/../x"];
        for bad in bad.into_iter().chain(["tcp-80@", "tcp-80@192.0.2", "tcp-80@2001:DB8::1", "tcp-80@x/y"]) {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ports_of_different_addresses_do_not_meet() {
        let port = |text: &str| text.parse::<HostPort>().unwrap();
        let one = port("tcp-80@192.0.2.1");
        assert!(one.overlaps(port("tcp-80")) && port("tcp-80").overlaps(one) && one.overlaps(one));
        for other in ["tcp-80@192.0.2.2", "tcp-80@2001:db8::1", "udp-80", "tcp-81@192.0.2.1"] {
            assert!(!one.overlaps(port(other)), "{other}");
        }
        assert_eq!(one.words(), "tcp port 192.0.2.1:80");
        assert_eq!(port("udp-53@2001:db8::1").words(), "udp port [2001:db8::1]:53");
    }
}
