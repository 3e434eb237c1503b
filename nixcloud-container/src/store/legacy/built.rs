//! The LXC configuration that the shell original built into a generation, read as a spec.
//!
//! What the original put there is known, and ours takes its place: the rootfs, the init, the includes, the store that
//! could be written. What else is there somebody wanted: it stays, as far as it would be let into `lxcExtraConfig`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::model::idmap::{IdMap, IdMapKind, RANGE};
use crate::model::name::InterfaceName;
use crate::model::spec::{Autostart, ContainerSpec, Effective, NetworkSpec, SCHEMA};

/// The original's bridge, which ours replaces, and the prefix length of its network, which all its systems had.
const BRIDGE: &str = "brNC-hostonly";
const PREFIX: u8 = 16;

/// Keys that ours takes the place of.
const OURS: &[&str] = &[
    "lxc.uts.name",
    "lxc.arch",
    "lxc.rootfs.path",
    "lxc.rootfs.backend",
    "lxc.init.cmd",
    "lxc.include",
    "lxc.idmap",
    "lxc.apparmor.profile",
    "lxc.apparmor.allow_incomplete",
    "lxc.autodev",
    "lxc.start.auto",
];

/// Targets of mounts that ours takes the place of, or does without.
const TARGETS: &[&str] =
    &["nix/store", "init", "sys/kernel/debug", "sys/kernel/security", "sys/fs/pstore", "dev/mqueue"];

/// What keys were called before LXC 3.
const OLD_KEYS: &[(&str, &str)] = &[
    ("lxc.utsname", "lxc.uts.name"),
    ("lxc.rootfs", "lxc.rootfs.path"),
    ("lxc.init_cmd", "lxc.init.cmd"),
    ("lxc.id_map", "lxc.idmap"),
    ("lxc.aa_profile", "lxc.apparmor.profile"),
    ("lxc.aa_allow_incomplete", "lxc.apparmor.allow_incomplete"),
    ("lxc.tty", "lxc.tty.max"),
    ("lxc.pts", "lxc.pty.max"),
];

/// What a configuration comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Built {
    pub(super) spec: ContainerSpec,
    /// Its ids; `None` where they are not one range for users and groups alike.
    pub(super) ids: Option<IdMap>,
    /// The name of its bridge, where it is none that ours can have.
    pub(super) odd_bridge: Option<String>,
}

/// The `key = value` lines of a configuration, with the names that keys have today.
pub(super) fn lines(text: &str) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    // Before LXC 3 each `lxc.network.type` began another interface.
    let mut interfaces = 0_u32;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        let key = if let Some(item) = key.strip_prefix("lxc.network.") {
            interfaces += u32::from(item == "type" || interfaces == 0);
            let item = match item {
                "ipv4" | "ipv6" => format!("{item}.address"),
                item => item.to_owned(),
            };
            format!("lxc.net.{}.{item}", interfaces - 1)
        } else {
            let today = OLD_KEYS.iter().find(|(old, _)| *old == key);
            today.map_or(key, |(_, today)| today).to_owned()
        };
        lines.push((key, value.to_owned()));
    }
    lines
}

/// Reads a configuration. `address` is the one that the container has, where the configuration does not say.
pub(super) fn read(text: &str, address: Option<Ipv4Addr>) -> Built {
    let lines = lines(text);
    let mut interfaces: BTreeMap<(u32, &str), &str> = BTreeMap::new();
    let mut extra = String::new();
    for (key, value) in &lines {
        if let Some((index @ (0 | 1), item)) = interface(key) {
            interfaces.insert((index, item), value);
        } else if !OURS.contains(&key.as_str()) && !is_known_mount(key, value) {
            extra.push_str(&format!("{key} = {value}\n"));
        }
    }
    let bridge = interfaces.get(&(0, "link")).filter(|link| **link != BRIDGE);
    let named = bridge.map(|link| link.parse::<InterfaceName>());
    let odd_bridge = bridge.filter(|_| matches!(named, Some(Err(_)))).map(|link| (*link).to_owned());
    let address = stated(text).or_else(|| plain(interfaces.get(&(0, "ipv4.address"))?)).or(address);
    let spec = ContainerSpec {
        schema: SCHEMA,
        name: None,
        autostart: Autostart {
            enable: lines.iter().any(|(key, value)| key == "lxc.start.auto" && value == "1"),
            ..Autostart::default()
        },
        network: NetworkSpec {
            bridge: named.and_then(Result::ok),
            enable_nat: interfaces.get(&(1, "name")) == Some(&"internet"),
            // Containers of the original reached each other, and some were made to.
            isolated: false,
            ..NetworkSpec::default()
        },
        resources: crate::model::resources::Resources::default(),
        features: crate::model::features::Features::default(),
        devices: crate::model::devices::Devices::default(),
        lxc_extra_config: extra,
        idmap: IdMapKind::Shared,
        store: None,
        effective: Effective { ip: address, prefix_length: address.map(|_| PREFIX) },
        original: true,
    };
    Built { spec, ids: ids(&lines), odd_bridge }
}

fn interface(key: &str) -> Option<(u32, &str)> {
    let (index, item) = key.strip_prefix("lxc.net.")?.split_once('.')?;
    Some((index.parse().ok()?, item))
}

fn is_known_mount(key: &str, value: &str) -> bool {
    let target = value.split_ascii_whitespace().nth(1).unwrap_or_default();
    key == "lxc.mount.entry" && TARGETS.contains(&target.trim_matches('/'))
}

fn plain(value: &str) -> Option<Ipv4Addr> {
    value.split(['/', ' ']).next()?.parse().ok()
}

/// The original let NixOS set the address, and wrote it into a comment: that is the one that the system was built with.
fn stated(text: &str) -> Option<Ipv4Addr> {
    text.lines().find_map(|line| {
        let (key, value) = line.trim().strip_prefix('#')?.split_once('=')?;
        (key.trim() == "lxc.net.0.ipv4.address").then(|| plain(value.trim()))?
    })
}

fn ids(lines: &[(String, String)]) -> Option<IdMap> {
    let maps = lines.iter().filter(|(key, _)| key == "lxc.idmap");
    let maps: Vec<Vec<&str>> = maps.map(|(_, value)| value.split_ascii_whitespace().collect()).collect();
    let base = |kind: &str| match maps.iter().find(|map| map.first() == Some(&kind))?[..] {
        [_, "0", base, count] if count == RANGE.to_string() => base.parse().ok(),
        _ => None,
    };
    let (users, groups): (u32, u32) = (base("u")?, base("g")?);
    if users != groups || maps.len() != 2 { None } else { IdMap::new(users).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: &str = "lxc.uts.name = web\nlxc.arch = x86_64\nlxc.rootfs.path = /var/lib/lxc/web/rootfs\n\
        lxc.init.cmd = /init/profile/container/init\nlxc.include = /nix/store/x-lxc/share/lxc/config/common.conf\n\
        lxc.net.0.type = veth\nlxc.net.0.name = hostonly\n\
        #lxc.net.0.ipv4.address = 10.101.0.7 (we assign this using nix, not from lxc)\n\
        lxc.net.0.flags = up\nlxc.net.0.link = brNC-hostonly\n\
        lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\nlxc.autodev = 1\n\
        lxc.mount.entry = /nix/store nix/store none defaults,bind.ro 0.0\n\
        lxc.mount.entry = /nix/var/nix/profiles/nixcloud-container/web/ init none defaults,bind.ro 0 0\n\
        lxc.mount.entry = mqueue dev/mqueue mqueue rw,relatime,create=dir,optional 0 0\nlxc.start.auto = 0\n";

    #[test]
    fn what_the_original_wrote_leaves_nothing_over() {
        let built = read(TODAY, Some("10.101.0.9".parse().unwrap()));
        assert_eq!(built.spec.lxc_extra_config, "");
        assert_eq!(built.spec.effective.ip, Some("10.101.0.7".parse().unwrap()), "as it was built");
        assert_eq!(built.ids, IdMap::new(100_000).ok());
        let network = &built.spec.network;
        assert_eq!((&network.bridge, network.enable_nat, built.spec.autostart.enable), (&None, false, false));
    }

    #[test]
    fn a_bridge_that_a_shell_would_run_is_told() {
        let built = read("lxc.net.0.type = veth\nlxc.net.0.link = br;>q\n", None);
        assert_eq!((built.spec.network.bridge, built.odd_bridge.as_deref()), (None, Some("br;>q")));
        assert_eq!(read("lxc.net.0.link = br7\n", None).odd_bridge, None);
    }

    #[test]
    fn bridge_nat_autostart_and_lines_of_their_own_are_kept() {
        let text = TODAY.replace("brNC-hostonly", "myOwnBridge").replace("auto = 0", "auto = 1")
            + "lxc.net.1.type = veth\nlxc.net.1.name = internet\nlxc.net.1.link = brNC-internet\n\
               lxc.mount.entry = /srv srv none bind,ro,create=dir 0 0\nlxc.hook.start = /bin/x\n\
               lxc.net.2.type = macvlan\n";
        let spec = read(&text, None).spec;
        assert_eq!(spec.network.bridge, "myOwnBridge".parse().ok());
        assert!(spec.network.enable_nat && spec.autostart.enable);
        let left = "lxc.mount.entry = /srv srv none bind,ro,create=dir 0 0\nlxc.hook.start = /bin/x\n\
                    lxc.net.2.type = macvlan\n";
        assert_eq!(spec.lxc_extra_config, left);
    }

    #[test]
    fn keys_from_before_lxc_3() {
        let text = "lxc.utsname = web\nlxc.rootfs = /x\nlxc.network.type = veth\nlxc.network.link = other\n\
                    lxc.network.ipv4 = 10.10.1.2/16\nlxc.network.type = veth\nlxc.network.name = internet\n\
                    lxc.id_map = u 0 200000 65536\nlxc.id_map = g 0 200000 65536\nlxc.tty = 2\n";
        let built = read(text, None);
        assert_eq!(built.ids, IdMap::new(200_000).ok());
        assert_eq!(built.spec.network.bridge, "other".parse().ok());
        assert!(built.spec.network.enable_nat);
        assert_eq!(built.spec.effective.ip, Some("10.10.1.2".parse().unwrap()));
        assert_eq!(built.spec.lxc_extra_config, "lxc.tty.max = 2\n");
    }

    #[test]
    fn ids_that_would_be_the_hosts_are_none() {
        for map in ["u 0 0 4294967295", "u 0 100000 10", "u 1 100000 65536", "u 0 1000 65536", ""] {
            let text = TODAY.replace("u 0 100000 65536", map);
            assert_eq!(read(&text, None).ids, None, "{map}");
        }
        assert_eq!(read(&format!("{TODAY}lxc.idmap = u 0 0 1\n"), None).ids, None);
    }
}
