//! The host configuration, `/etc/nixcloud-container/config.toml`. Every key has a default; unknown keys are refused.

mod allowance;
mod check;
mod ids;
mod limits;
mod networks;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::keep::Keep;
use crate::model::setters::setters;
use crate::model::store_view::StoreView;

pub use allowance::{Allowance, DeviceAllowance};
pub use check::ConfigError;
pub use ids::Ids;
pub use limits::{Above, Granted, Limits, Share};
pub use networks::{InternetConfig, Ipv6Config, NetworkConfig, Networks};

/// Where the host configuration is looked for.
pub const DEFAULT_PATH: &str = "/etc/nixcloud-container/config.toml";

/// Each key with its default and what it means, as a file to begin with.
pub const SHOWN: &str = include_str!("../../../config.toml");

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
    /// How much of the store containers see that do not say so themselves.
    pub store: StoreView,
    /// What every container is limited to.
    pub limits: Limits,
    /// Which generations are kept when old ones go.
    pub generations: Keep,
    /// How containers start with the host.
    pub autostart: AutostartConfig,
    /// How long is waited for what, in seconds.
    pub timeouts: Timeouts,
    /// Keys that `lxcExtraConfig` may set although they can undo the protection; a trailing `*` matches the rest.
    pub allow_lxc_keys: Vec<String>,
    /// Devices of the host that container files may ask for beside those that surely do no harm, by their paths; a trailing `*`
    /// matches the rest.
    pub allow_devices: Vec<String>,
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
    with_store => store: StoreView,
    with_limits => limits: Limits,
    with_generations => generations: Keep,
    with_autostart => autostart: AutostartConfig,
    with_timeouts => timeouts: Timeouts,
    with_allow_lxc_keys => allow_lxc_keys: Vec<String>,
    with_allow_devices => allow_devices: Vec<String>,
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
    /// Where lxcfs is mounted, from which guests see their own size. It is the host's: `root` does not stand before it.
    pub lxcfs: PathBuf,
}

setters!(Paths: "The usual ones." {
    with_lxc => lxc: PathBuf,
    with_profiles => profiles: PathBuf,
    with_state => state: PathBuf,
    with_lxc_share => lxc_share: Option<PathBuf>,
    with_lxcfs => lxcfs: PathBuf,
});

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

setters!(Tools: "By name, from the search path." {
    with_nft => nft: PathBuf,
    with_dnsmasq => dnsmasq: PathBuf,
    with_iptables => iptables: PathBuf,
    with_resolvectl => resolvectl: PathBuf,
    with_systemctl => systemctl: PathBuf,
});

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

setters!(NixConfig: "The host's Nix as it is." {
    with_nixpkgs => nixpkgs: Option<String>,
    with_bin => bin: Option<PathBuf>,
    with_expression => expression: Option<PathBuf>,
    with_system => system: Option<String>,
});

/// How containers start with the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AutostartConfig {
    /// How many boot at once; 0 means as many as the host has processors, and two at least.
    pub parallel: u32,
}

setters!(AutostartConfig: "All defaults." {
    with_parallel => parallel: u32,
});

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

setters!(Timeouts: "All defaults." {
    with_start => start: u32,
    with_stop => stop: u32,
    with_lock => lock: u32,
    with_activate => activate: u32,
    with_boot => boot: u32,
});

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            paths: Paths::default(),
            network: Networks::default(),
            ids: Ids::default(),
            nix: NixConfig::default(),
            tools: Tools::default(),
            store: StoreView::default(),
            limits: Limits::default(),
            generations: Keep::default(),
            autostart: AutostartConfig::default(),
            timeouts: Timeouts::default(),
            allow_lxc_keys: Vec::new(),
            allow_devices: Vec::new(),
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
            lxcfs: "/var/lib/lxcfs".into(),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
            "[limits.defaults]",
            "[limits.ceilings]",
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
                        || line == &format!("[limits.{key}]")
                };
                assert!(all.iter().any(is_there), "{table} {key}");
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = HostConfig::from_toml("[paths]\nlcx = \"/x\"").unwrap_err();
        let message = error.to_string();
        assert!(message.contains("lcx") && message.contains("lxc_share"), "{message}");
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
            "allow_devices = [\"sda\"]",
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
}
