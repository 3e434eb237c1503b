//! The host configuration, `/etc/nixcloud-container/config.toml`. Every key has a default; unknown keys are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnetwork::{Ipv4Network, Ipv6Network};
use serde::{Deserialize, Serialize};

use crate::model::idmap;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::setters::setters;

/// Where the host configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/nixcloud-container/config.toml";

/// Each key with its default and what it means, as a file to begin with.
pub const SHOWN: &str = include_str!("../../config.toml");

/// How this host runs its containers.
///
/// ```
/// let config = nixcloud_container::HostConfig::from_toml(r#"
///     root = "/srv/lab"
///     [timeouts]
///     stop = 30
/// "#)?;
/// assert_eq!(config.timeouts.stop().as_secs(), 30);
/// assert_eq!(config.network.hostonly.bridge.as_str(), "brNC-hostonly");
/// # Ok::<(), nixcloud_container::config::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HostConfig {
    /// A folder that stands before every path below, for tests and try-outs. The Nix store stays where it is.
    pub root: PathBuf,
    /// Where things are kept.
    pub paths: Paths,
    /// The bridges and their address pools.
    pub network: Networks,
    /// The pool of user and group ids.
    pub ids: Ids,
    /// How Nix is called.
    pub nix: NixConfig,
    /// Programs of the host that the networks need.
    pub tools: Tools,
    /// What every container is limited to.
    pub limits: Limits,
    /// How containers start with the host.
    pub autostart: AutostartConfig,
    /// How long is waited for what, in seconds.
    pub timeouts: Timeouts,
    /// Keys that `lxcExtraConfig` may set although they can undo the protection; a trailing `*` matches the rest.
    pub allow_lxc_keys: Vec<String>,
    /// The installed worker binary, for programs that do not call `worker::init()`. LXC runs it, or else the program that
    /// started a guest as it was then, at each of its boots.
    pub worker: Option<PathBuf>,
}

setters!(HostConfig: "All defaults." {
    with_root => root: PathBuf,
    with_paths => paths: Paths,
    with_network => network: Networks,
    with_ids => ids: Ids,
    with_nix => nix: NixConfig,
    with_tools => tools: Tools,
    with_limits => limits: Limits,
    with_autostart => autostart: AutostartConfig,
    with_timeouts => timeouts: Timeouts,
    with_allow_lxc_keys => allow_lxc_keys: Vec<String>,
    with_worker => worker: Option<PathBuf>,
});

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Paths {
    /// The LXC path: one folder a container.
    pub lxc: PathBuf,
    /// The Nix profiles: one folder a container.
    pub profiles: PathBuf,
    /// Records, leases and locks.
    pub state: PathBuf,
    /// LXC's share folder, with `config/common.conf`. Found beside the usual places when not given.
    pub lxc_share: Option<PathBuf>,
}

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

/// One bridge of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// Its name.
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
    /// Its name.
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

impl Ipv6Config {
    /// The host's address on the bridge, with the length of the prefix that is routed here; guests ask the host for names.
    #[must_use]
    pub fn new(address: Ipv6Network) -> Self {
        Self { address, name_servers: Vec::new() }
    }
}

/// Programs of the host that the networks need: names to look up in `PATH`, or paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tools {
    /// Loads the packet filter.
    pub nft: PathBuf,
    /// Answers DHCP, DNS and router solicitations of guests.
    pub dnsmasq: PathBuf,
    /// Adds our rule to an iptables firewall (Docker's, say) that drops what is forwarded; and `ip6tables` beside it.
    pub iptables: PathBuf,
    /// Tells systemd-resolved of the containers' names.
    pub resolvectl: PathBuf,
    /// Tells systemd to supervise what runs for the networks.
    pub systemctl: PathBuf,
}

/// The pool of user and group ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Ids {
    /// The ids that containers may have, each part with its first and its last one. Parts are used up in this order.
    pub ranges: Vec<[u32; 2]>,
    /// Where the first range begins, for a pool of all ids from there up instead of `ranges`. 100000, which was the
    /// default once, means `ranges`.
    pub first: Option<u32>,
    /// The files that give ranges to users of the host. Those of others are respected; `host up` adds lines of the name
    /// `nixcloud-container`, for what containers may use, and `host down` takes them out.
    pub foreign: Vec<PathBuf>,
    /// Whether ranges that processes of this host have by now are passed over, whosever they are.
    pub skip_running: bool,
}

impl Ids {
    /// The ids that containers may have, each part with its first and its last one.
    #[must_use]
    pub fn pool(&self) -> Vec<[u32; 2]> {
        match self.lone_first() {
            Some(first) => vec![[first, idmap::LAST]],
            None => self.ranges.clone(),
        }
    }

    fn lone_first(&self) -> Option<u32> {
        self.first.filter(|first| *first != idmap::FIRST)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if let Some(first) = self.lone_first() {
            let refused = |why| ConfigError::Value { key: "ids.first", value: first.to_string(), why };
            idmap::IdMap::new(first).map_err(|error| refused(error.why()))?;
            if self.ranges != idmap::POOL {
                return Err(refused("`ids.ranges` says already which ids containers have"));
            }
        }
        if self.ranges.is_empty() {
            let why = "containers need ids";
            return Err(ConfigError::Value { key: "ids.ranges", value: "[]".to_owned(), why });
        }
        for [first, last] in &self.ranges {
            let refused =
                |why| ConfigError::Value { key: "ids.ranges", value: format!("[{first}, {last}]"), why };
            idmap::IdMap::new(*first).map_err(|error| refused(error.why()))?;
            if u64::from(*first) + u64::from(idmap::RANGE) > u64::from(*last) + 1 {
                return Err(refused("a container needs 65536 ids"));
            }
            if *last > idmap::LAST {
                return Err(refused("it runs over the largest id"));
            }
        }
        Ok(())
    }
}

/// How Nix is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NixConfig {
    /// What `<nixpkgs>` is, unless the user says otherwise with `-n "-I nixpkgs=..."`. `NIX_PATH` decides when not given.
    pub nixpkgs: Option<String>,
    /// The folder of `nix-instantiate`, `nix-store` and `nix-env`. They are looked up in `PATH` when not given.
    pub bin: Option<PathBuf>,
    /// The expression that evaluates container files, when not the one built in.
    pub expression: Option<PathBuf>,
    /// The system to build for, such as `x86_64-linux`. The host's own when not given.
    pub system: Option<String>,
}

/// What every container is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Processes and threads a container may have, and no more than a quarter of what the kernel has for all; 0 sets no
    /// limit.
    pub pids: u32,
    /// Connections that a container may begin, by one of its addresses, with the host or by way of it at a time; 0 sets
    /// no limit.
    pub connections: u32,
}

/// How containers start with the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AutostartConfig {
    /// How many boot at once; 0 means as many as the host has processors, and two at least.
    pub parallel: u32,
}

impl AutostartConfig {
    /// How many boot at once.
    #[must_use]
    pub fn parallel(&self) -> usize {
        match usize::try_from(self.parallel) {
            Ok(0) | Err(_) => std::thread::available_parallelism().map_or(2, usize::from).max(2),
            Ok(parallel) => parallel,
        }
    }
}

/// How long is waited for what, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Timeouts {
    /// For LXC to bring a container to RUNNING.
    pub start: u32,
    /// For a guest to shut down cleanly.
    pub stop: u32,
    /// For another process to release a lock.
    pub lock: u32,
    /// For a guest's `switch-to-configuration`.
    pub activate: u32,
    /// For a guest to boot: from the start of its init until NixOS has activated its system.
    pub boot: u32,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            paths: Paths::default(),
            network: Networks::default(),
            ids: Ids::default(),
            nix: NixConfig::default(),
            tools: Tools::default(),
            limits: Limits::default(),
            autostart: AutostartConfig::default(),
            timeouts: Timeouts::default(),
            allow_lxc_keys: Vec::new(),
            worker: None,
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self {
            lxc: "/var/lib/lxc".into(),
            profiles: "/nix/var/nix/profiles/nixcloud-container".into(),
            state: "/var/lib/nixcloud/container".into(),
            lxc_share: None,
        }
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

    fn check(&self) -> Result<(), ConfigError> {
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

impl Default for Tools {
    fn default() -> Self {
        Self {
            nft: "nft".into(),
            dnsmasq: "dnsmasq".into(),
            iptables: "iptables".into(),
            resolvectl: "resolvectl".into(),
            systemctl: "systemctl".into(),
        }
    }
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            ranges: idmap::POOL.to_vec(),
            first: None,
            foreign: vec!["/etc/subuid".into(), "/etc/subgid".into()],
            skip_running: true,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { pids: 16_384, connections: 8192 }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { start: 60, stop: 60, lock: 300, activate: 600, boot: 60 }
    }
}

impl Timeouts {
    /// For LXC to bring a container to RUNNING.
    #[must_use]
    pub fn start(&self) -> Duration {
        Duration::from_secs(self.start.into())
    }

    /// For a guest to shut down cleanly.
    #[must_use]
    pub fn stop(&self) -> Duration {
        Duration::from_secs(self.stop.into())
    }

    /// For another process to release a lock.
    #[must_use]
    pub fn lock(&self) -> Duration {
        Duration::from_secs(self.lock.into())
    }

    /// For a guest's `switch-to-configuration`.
    #[must_use]
    pub fn activate(&self) -> Duration {
        Duration::from_secs(self.activate.into())
    }

    /// For a guest to boot.
    #[must_use]
    pub fn boot(&self) -> Duration {
        Duration::from_secs(self.boot.into())
    }
}

/// A host configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the host configuration {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What a file says cannot be used.
    #[error("the host configuration {} is not valid", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<ConfigError>,
    },
    /// It is not TOML, or has a key or value that does not belong there.
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    /// A value that cannot be.
    #[error("{key} cannot be {value}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        why: &'static str,
    },
}

impl HostConfig {
    /// Reads the file at `path`; with `None` the one at [`DEFAULT_PATH`], whose absence means all defaults.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::from_toml(&text)
                .map_err(|error| ConfigError::File { path: file.to_owned(), source: Box::new(error) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read { path: file.to_owned(), source }),
        }
    }

    /// Reads a configuration from TOML.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(ConfigError::Toml)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let absolute = |key, path: &Path| {
            if path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir) {
                Ok(())
            } else {
                let why = "an absolute path without `..` is needed";
                Err(ConfigError::Value { key, value: path.display().to_string(), why })
            }
        };
        absolute("root", &self.root)?;
        absolute("paths.lxc", &self.paths.lxc)?;
        absolute("paths.profiles", &self.paths.profiles)?;
        absolute("paths.state", &self.paths.state)?;
        let (hostonly, internet) = (&self.network.hostonly, &self.network.internet);
        for (key, address) in [("network.hostonly", hostonly.address), ("network.internet", internet.address)]
        {
            if !(8..=30).contains(&address.prefix()) {
                return Err(ConfigError::Value {
                    key,
                    value: address.to_string(),
                    why: "its prefix length is to be 8 to 30",
                });
            }
            if address.ip() == address.network() || address.ip() == address.broadcast() {
                let why = "it is the address of the network or of the broadcast, not of the host";
                return Err(ConfigError::Value { key, value: address.to_string(), why });
            }
        }
        if self.network.hostonly.bridge == self.network.internet.bridge {
            let value = self.network.internet.bridge.to_string();
            let why = "both networks would share one bridge";
            return Err(ConfigError::Value { key: "network.internet.bridge", value, why });
        }
        if hostonly.address.overlaps(internet.address) {
            let value = internet.address.to_string();
            let why = "both networks would have the same addresses";
            return Err(ConfigError::Value { key: "network.internet.address", value, why });
        }
        internet.check()?;
        let mut reserved = BTreeSet::new();
        for address in self.network.reserved.values() {
            if !reserved.insert(address) {
                let why = "it is kept for two containers";
                return Err(ConfigError::Value { key: "network.reserved", value: address.to_string(), why });
            }
            let network = hostonly.address;
            if !network.contains(*address)
                || [network.network(), network.ip(), network.broadcast()].contains(address)
            {
                let why = "it is no address of a container in the host-only network";
                return Err(ConfigError::Value { key: "network.reserved", value: address.to_string(), why });
            }
        }
        self.ids.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_defaults_are_valid_and_survive_toml() {
        let text = toml::to_string(&HostConfig::default()).unwrap();
        assert_eq!(HostConfig::from_toml(&text).unwrap(), HostConfig::default());
        assert_eq!(HostConfig::from_toml("").unwrap(), HostConfig::default());
    }

    /// A key without a default is a comment there.
    #[test]
    fn the_file_to_begin_with_has_every_key_and_its_default() {
        assert_eq!(HostConfig::from_toml(SHOWN).unwrap(), HostConfig::default());
        let line = |line: &str| {
            line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line).to_owned()
        };
        let all: Vec<String> = SHOWN.lines().map(line).collect();
        HostConfig::from_toml(&all.join("\n")).unwrap();
        let tables = [
            "",
            "[paths]",
            "[network]",
            "[network.hostonly]",
            "[network.internet]",
            "[network.internet.ipv6]",
            "[ids]",
            "[nix]",
            "[tools]",
            "[limits]",
            "[autostart]",
            "[timeouts]",
        ];
        for table in tables {
            // The error for a key that there is not names those that there are.
            let error = toml::from_str::<HostConfig>(&format!("{table}\nno_such_key = 1")).unwrap_err();
            let known: Vec<&str> = error.message().split('`').skip(3).step_by(2).collect();
            assert!(!known.is_empty(), "{error}");
            for key in known {
                let is_there = |line: &String| {
                    line.starts_with(&format!("{key} = "))
                        || line.starts_with(&format!("[{key}"))
                        || line == &format!("[network.{key}]")
                        || line == &format!("[network.internet.{key}]")
                };
                assert!(all.iter().any(is_there), "{table} {key}");
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = HostConfig::from_toml("[paths]\nlcx = \"/x\"").unwrap_err();
        let told = error.to_string();
        assert!(told.contains("lcx") && told.contains("lxc_share"), "{told}");
    }

    #[test]
    fn an_old_first_id_is_a_pool_of_its_own_unless_it_was_the_default() {
        let pool = |text: &str| HostConfig::from_toml(text).unwrap().ids.pool();
        assert_eq!(pool("ids = { first = 1000000 }"), [[1_000_000, idmap::LAST]]);
        assert_eq!(pool("ids = { first = 100000 }"), idmap::POOL);
        assert_eq!(pool("ids = { ranges = [[200000, 900000]] }"), [[200_000, 900_000]]);
    }

    #[test]
    fn at_least_two_boot_at_once_unless_one_is_asked_for() {
        assert!(AutostartConfig::default().parallel() >= 2);
        assert_eq!(AutostartConfig { parallel: 1 }.parallel(), 1);
    }

    #[test]
    fn impossible_values_are_refused() {
        for bad in [
            "root = \"lab\"",
            "root = \"/a/../b\"",
            "ids = { first = 1000 }",
            "ids = { ranges = [] }",
            "ids = { ranges = [[100000, 165534]] }",
            "ids = { ranges = [[200000, 100000]] }",
            "ids = { ranges = [[1000, 524287]] }",
            "ids = { ranges = [[100000, 4294967295]] }",
            "ids = { first = 200000, ranges = [[100000, 524287]] }",
            "[network.hostonly]\nbridge = \"br0\"\naddress = \"10.0.0.0/16\"",
            "[network.hostonly]\nbridge = \"brNC-internet\"\naddress = \"10.0.0.1/16\"",
        ] {
            assert!(matches!(HostConfig::from_toml(bad), Err(ConfigError::Value { .. })), "{bad}");
        }
        for bad in [
            "[network.hostonly]\nbridge = 'br\"x'",
            "[network.internet]\nuplink = \"eth+\"",
            "[network.hostonly]\nbridge = \"b;>q\"",
        ] {
            let error = HostConfig::from_toml(bad).unwrap_err();
            assert!(crate::error::chain(&error).contains("interface name"), "{bad}: {error}");
        }
    }

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
