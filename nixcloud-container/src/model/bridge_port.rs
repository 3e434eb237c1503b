//! What a port of a bridge lets through: one container's interface, as the host sees it.
//!
//! It is written as one word on the command line of the program that LXC runs at each boot of the guest, so it has a
//! text form of harmless characters.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnetwork::IpNetwork;

use crate::model::interface::Mac;

/// The argument that tells this program that LXC runs it for a port; the interface and its policy follow.
pub const HOOK: &str = "--nixcloud-port";

/// A container's interface at a bridge.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgePort {
    /// The host's name of the interface.
    pub interface: String,
    /// Its policy.
    pub policy: PortPolicy,
}

/// What a guest may send and be sent at one of its interfaces.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PortPolicy {
    /// Its MAC address, the only one that it sends from.
    pub mac: Mac,
    /// Whether no other container is reached, nor reaches it.
    pub isolated: bool,
    /// Whether it may answer DHCP, relay the questions of others, and advertise itself as a router.
    pub serves: bool,
    /// The IPv4 addresses that it sends from; `None` where another network gives them.
    pub v4: Option<Vec<Ipv4Addr>>,
    /// As `v4`, for IPv6. The link-local address that follows from the MAC address goes without saying.
    pub v6: Option<Vec<Ipv6Addr>>,
    /// Where what the host sends it may come from: nowhere else where one is named. Only the network of a bridge that the
    /// host does not forward to is.
    pub from: Vec<IpNetwork>,
    /// Where it may send to: the first that contains an address decides; one that none contains is let through.
    pub to: Vec<Destination>,
}

/// What becomes of what is sent to a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Destination {
    /// The network.
    pub network: IpNetwork,
    /// What becomes of the packet.
    pub fate: Fate,
}

/// What becomes of a packet, by its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The packet is let through.
    Pass,
    /// The packet is dropped.
    Drop,
    /// Only to an address that the host has on the bridge.
    Host,
    /// As `Host`, and directly to other containers: by their MAC address, not by way of the host.
    Peers,
    /// Everywhere, but not by way of the host: to the host itself only at its addresses on the bridge.
    Lan,
}

impl Fate {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Pass, "pass"),
        (Self::Drop, "drop"),
        (Self::Host, "host"),
        (Self::Peers, "peers"),
        (Self::Lan, "lan"),
    ];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(fate, _)| *fate == self).map_or("", |(_, word)| word)
    }
}

impl fmt::Display for PortPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mac={}", self.mac)?;
        f.write_str(if self.isolated { ",isolated" } else { ",open" })?;
        if self.serves {
            f.write_str(",serves")?;
        }
        match &self.v4 {
            None => f.write_str(",any4")?,
            Some(addresses) => addresses.iter().try_for_each(|address| write!(f, ",ip={address}"))?,
        }
        match &self.v6 {
            None => f.write_str(",any6")?,
            Some(addresses) => addresses.iter().try_for_each(|address| write!(f, ",ip={address}"))?,
        }
        self.from.iter().try_for_each(|network| write!(f, ",from={network}"))?;
        self.to.iter().try_for_each(|to| write!(f, ",{}={}", to.fate.as_str(), to.network))
    }
}

impl From<PortPolicy> for String {
    fn from(policy: PortPolicy) -> Self {
        policy.to_string()
    }
}

impl TryFrom<String> for PortPolicy {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

/// A text that is no policy of a port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is no part of a port's policy")]
pub struct PolicyError {
    word: String,
}

impl FromStr for PortPolicy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut mac = None;
        let mut isolated = None;
        let (mut serves, mut from, mut to) = (false, Vec::new(), Vec::new());
        let (mut v4, mut v6) = (Some(Vec::new()), Some(Vec::new()));
        for word in text.split(',') {
            let refuse = || PolicyError { word: word.to_owned() };
            match word.split_once('=') {
                None => match word {
                    "isolated" => isolated = Some(true),
                    "open" => isolated = Some(false),
                    "serves" => serves = true,
                    "any4" => v4 = None,
                    "any6" => v6 = None,
                    _ => return Err(refuse()),
                },
                Some(("mac", value)) => mac = Some(value.parse().map_err(|_| refuse())?),
                Some(("ip", value)) => match value.parse().map_err(|_| refuse())? {
                    std::net::IpAddr::V4(address) => v4.as_mut().ok_or_else(refuse)?.push(address),
                    std::net::IpAddr::V6(address) => v6.as_mut().ok_or_else(refuse)?.push(address),
                },
                Some(("from", value)) => from.push(value.parse().map_err(|_| refuse())?),
                Some((key, value)) => {
                    let fate = Fate::ALL.iter().find(|(_, word)| *word == key);
                    let fate = fate.ok_or_else(refuse)?.0;
                    to.push(Destination { network: value.parse().map_err(|_| refuse())?, fate });
                }
            }
        }
        let missing = |word: &str| PolicyError { word: format!("{text}, without {word},") };
        Ok(Self {
            mac: mac.ok_or_else(|| missing("mac"))?,
            isolated: isolated.ok_or_else(|| missing("isolated"))?,
            serves,
            v4,
            v6,
            from,
            to,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "mac=02:4e:00:c0:ff:ee,isolated,ip=10.101.0.2,ip=2001:db8::2,from=10.101.0.0/16,\
                        pass=10.101.0.1/32,drop=10.101.0.0/16,host=fd00::/64";

    #[test]
    fn the_text_is_read_as_it_is_written() {
        let policy: PortPolicy = TEXT.parse().unwrap();
        assert_eq!(policy.to_string(), TEXT);
        assert_eq!(policy.v4.as_deref(), Some(["10.101.0.2".parse().unwrap()].as_slice()));
        let any = PortPolicy { v4: None, v6: None, isolated: false, serves: true, ..policy };
        assert_eq!(any.to_string().parse::<PortPolicy>().unwrap(), any);
    }

    #[test]
    fn the_text_is_harmless_to_a_shell() {
        let harmless = |c: char| c.is_ascii_alphanumeric() || "=,.:/".contains(c);
        assert!(TEXT.parse::<PortPolicy>().unwrap().to_string().chars().all(harmless));
    }

    #[test]
    fn half_a_policy_is_refused() {
        for bad in [
            "",
            "mac=02:4e:00:c0:ff:ee",
            "isolated",
            "mac=02:4e:00:c0:ff,isolated",
            "mac=02:4e:00:c0:ff:ee:00,isolated",
            "mac=02:4e:00:c0:ff:ee,isolated,any4,ip=10.0.0.1",
            "mac=02:4e:00:c0:ff:ee,isolated,let=10.0.0.0/8",
            "mac=02:4e:00:c0:ff:ee,isolated,drop=10.0.0.0/33",
        ] {
            assert!(bad.parse::<PortPolicy>().is_err(), "{bad}");
        }
    }
}
