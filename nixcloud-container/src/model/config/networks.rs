//! The bridges, their address pools, and the IPv6 address that follows from an IPv4 one.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

use super::check::ConfigError;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::setters::setters;

/// The bridges and their address pools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Networks {
    /// Whether containers are kept from each other, and each to the addresses that are its own.
    pub isolation: bool,
    /// Between the host and its containers; not forwarded.
    pub hostonly: NetworkConfig,
    /// The way out, for containers with `network.enableNat`.
    pub internet: InternetConfig,
    /// Addresses of the host-only network that are kept for containers of these names.
    pub reserved: BTreeMap<ContainerName, Ipv4Addr>,
}

setters!(Networks: "All defaults." {
    with_isolation => isolation: bool,
    with_hostonly => hostonly: NetworkConfig,
    with_internet => internet: InternetConfig,
    with_reserved => reserved: BTreeMap<ContainerName, Ipv4Addr>,
});

/// One bridge of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// The name of the bridge.
    pub bridge: InterfaceName,
    /// The host's address on it, with the prefix length of the whole pool.
    pub address: Ipv4Network,
}

impl NetworkConfig {
    /// A bridge of this name, with the host's address on it.
    #[must_use]
    pub fn new(bridge: InterfaceName, address: Ipv4Network) -> Self {
        Self { bridge, address }
    }
}

/// The bridge that leads out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct InternetConfig {
    /// The name of the bridge.
    pub bridge: InterfaceName,
    /// The host's address on it, with the prefix length of the network.
    pub address: Ipv4Network,
    /// The first address that containers get; the tenth of the network when not given.
    pub first: Option<Ipv4Addr>,
    /// The last one; `x.y.200.200` of a /16 and the last of a smaller network when not given.
    pub last: Option<Ipv4Addr>,
    /// The interface that leads out; any but ours when not given.
    pub uplink: Option<InterfaceName>,
    /// IPv6, where a prefix is routed to this host.
    pub ipv6: Option<Ipv6Config>,
}

setters!(InternetConfig: "All defaults." {
    with_bridge => bridge: InterfaceName,
    with_address => address: Ipv4Network,
    with_first => first: Option<Ipv4Addr>,
    with_last => last: Option<Ipv4Addr>,
    with_uplink => uplink: Option<InterfaceName>,
    with_ipv6 => ipv6: Option<Ipv6Config>,
});

/// IPv6 on the bridge that leads out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Ipv6Config {
    /// The host's address on the bridge, with the length of the prefix that is routed here.
    pub address: Ipv6Network,
    /// Name servers for the guests; the host's own on this bridge when empty.
    #[serde(default)]
    pub name_servers: Vec<Ipv6Addr>,
}

setters!(Ipv6Config {
    with_name_servers => name_servers: Vec<Ipv6Addr>,
});

impl Ipv6Config {
    /// The host's address on the bridge, with the length of the prefix that is routed here; guests ask the host for names.
    #[must_use]
    pub fn new(address: Ipv6Network) -> Self {
        Self { address, name_servers: Vec::new() }
    }
}

/// `NAME` on a bridge with `HOST/PREFIX`; both are literals of this file, checked by a test.
fn network(bridge: &str, address: [u8; 4], prefix: u8) -> Option<NetworkConfig> {
    let address = Ipv4Network::new(address.into(), prefix).ok()?;
    Some(NetworkConfig { bridge: bridge.parse().ok()?, address })
}

impl Default for Networks {
    #[expect(clippy::expect_used, reason = "two literals, read by a test")]
    fn default() -> Self {
        Self {
            isolation: true,
            hostonly: network("brNC-hostonly", [10, 101, 0, 1], 16).expect("a literal"),
            internet: InternetConfig::default(),
            reserved: BTreeMap::new(),
        }
    }
}

impl Default for InternetConfig {
    #[expect(clippy::expect_used, reason = "a literal, read by a test")]
    fn default() -> Self {
        let NetworkConfig { bridge, address } =
            network("brNC-internet", [10, 202, 0, 1], 16).expect("a literal");
        Self { bridge, address, first: None, last: None, uplink: None, ipv6: None }
    }
}

impl InternetConfig {
    /// The addresses that containers get, first and last.
    #[must_use]
    pub fn range(&self) -> (Ipv4Addr, Ipv4Addr) {
        let network = u32::from(self.address.network());
        let last = if self.address.prefix() == 16 {
            network + 200 * 256 + 200
        } else {
            u32::from(self.address.broadcast()) - 1
        };
        // A small network begins right after the host.
        let first = if self.address.prefix() > 27 { network + 1 } else { network + 10 };
        (self.first.unwrap_or(first.into()), self.last.unwrap_or(last.into()))
    }
}

impl InternetConfig {
    /// The IPv6 address of the container that has this IPv4 one: the same place in the routed prefix as that has in its
    /// network. `None` where no prefix is routed here, or `v4` is no address of a container there.
    ///
    /// No pool is needed for them: different IPv4 addresses give different ones, and never the host's own. The container
    /// that would get that has the place of the host's IPv4 address instead, which no container has.
    #[must_use]
    pub fn ipv6_of(&self, v4: Ipv4Addr) -> Option<Ipv6Addr> {
        let ipv6 = self.ipv6.as_ref()?.address;
        let ends = [self.address.network(), self.address.ip(), self.address.broadcast()];
        if !self.address.contains(v4) || ends.contains(&v4) {
            return None;
        }
        let place = |v4: Ipv4Addr| {
            let offset = u32::from(v4) - u32::from(self.address.network());
            let address = Ipv6Addr::from(u128::from(ipv6.network()) + u128::from(offset));
            // `check` refuses prefixes that are too long for that.
            ipv6.contains(address).then_some(address)
        };
        let address = place(v4)?;
        if address == ipv6.ip() { place(self.address.ip()) } else { Some(address) }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (first, last) = self.range();
        if !(self.address.contains(first) && self.address.contains(last) && first <= last) {
            let value = format!("{first} to {last}");
            let why = "`first` to `last` is no range of its network";
            return Err(ConfigError::Value { key: "network.internet", value, why });
        }
        let Some(ipv6) = &self.ipv6 else { return Ok(()) };
        if !(48..=112).contains(&ipv6.address.prefix()) {
            let why = "its prefix length is to be 48 to 112";
            let value = ipv6.address.to_string();
            return Err(ConfigError::Value { key: "network.internet.ipv6.address", value, why });
        }
        if 128 - ipv6.address.prefix() < 32 - self.address.prefix() {
            let why = "it has fewer addresses than the IPv4 network of the bridge";
            let value = ipv6.address.to_string();
            return Err(ConfigError::Value { key: "network.internet.ipv6.address", value, why });
        }
        if ipv6.address.ip() == ipv6.address.network() {
            let why = "it is the address of the network, not of the host";
            let value = ipv6.address.to_string();
            return Err(ConfigError::Value { key: "network.internet.ipv6.address", value, why });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn internet(v4: &str, v6: &str) -> InternetConfig {
        let ipv6 = Ipv6Config { address: v6.parse().unwrap(), name_servers: Vec::new() };
        InternetConfig { address: v4.parse().unwrap(), ipv6: Some(ipv6), ..InternetConfig::default() }
    }

    #[test]
    fn the_ipv6_address_of_a_container_follows_from_its_ipv4_address() {
        let internet = internet("10.202.0.1/16", "2001:db8:1::1/64");
        let of = |v4: &str| internet.ipv6_of(v4.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(of("10.202.0.10").as_deref(), Some("2001:db8:1::a"));
        assert_eq!(of("10.202.200.200").as_deref(), Some("2001:db8:1::c8c8"));
        for nobodys in ["10.202.0.0", "10.202.0.1", "10.202.255.255", "10.203.0.10"] {
            assert_eq!(of(nobodys), None, "{nobodys}");
        }
        assert_eq!(InternetConfig::default().ipv6_of("10.202.0.10".parse().unwrap()), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn no_two_containers_have_one_ipv6_address(
            v4 in any::<u32>(), v4_prefix in 20u8..=30, host in any::<u32>(),
            v6 in any::<u128>(), v6_prefix in 48u8..=112, offset in 0u32..5000,
        ) {
            let network = Ipv4Network::new(v4.into(), v4_prefix).unwrap();
            let base = u32::from(network.network());
            let host = base + 1 + host % ((1 << (32 - v4_prefix)) - 2);
            // The host's own one often is in a container's place.
            let v6 = u128::from(Ipv6Network::new(v6.into(), v6_prefix).unwrap().network()) + u128::from(offset) + 1;
            let internet = internet(&format!("{}/{v4_prefix}", Ipv4Addr::from(host)), &format!("{}/{v6_prefix}", Ipv6Addr::from(v6)));
            prop_assert!(internet.check().is_ok());
            let prefix = internet.ipv6.as_ref().unwrap().address;
            let mut seen = BTreeSet::new();
            for v4 in internet.address.iter() {
                let none = [internet.address.network(), internet.address.ip(), internet.address.broadcast()].contains(&v4);
                let Some(v6) = internet.ipv6_of(v4) else { prop_assert!(none, "{v4}"); continue };
                prop_assert!(!none && prefix.contains(v6) && v6 != prefix.ip() && v6 != prefix.network());
                prop_assert!(seen.insert(v6));
            }
        }
    }
}
