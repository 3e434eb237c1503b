//! What LXC is told of a guest's devices, for a boot: the table of mounts by which it gets them, and the rules of its cgroup.

use std::fmt::Write as _;
use std::path::Path;

use super::mount_entry;
use crate::model::devices::DeviceNode;
use crate::model::resources::{CgroupVersion, Limit};

/// The folder of the nodes, among the locked sources.
pub const NODES: &str = "devices";

/// The table of mounts there. LXC reads it anew at each boot, also when the guest reboots from inside.
pub const TABLE: &str = "fstab";

/// LXC's key of that table.
pub const TABLE_KEY: &str = "lxc.mount.fstab";

/// The files of cgroup v1 that open devices and shut them; LXC makes a program of BPF of what these get on v2.
pub const ALLOW: &str = "devices.allow";
pub const DENY: &str = "devices.deny";

/// The key of rules that are no device's.
const BASE: &str = "devices";

/// What every guest has: null, zero, full, random, urandom, its terminals; and it may make nodes, as far as the kernel lets it.
const USUAL: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// What a node is called in its folder: its path in the guest, as one name.
#[must_use]
pub fn file_name(node: &DeviceNode) -> String {
    node.path.trim_start_matches("/dev/").replace('%', "%25").replace('/', "%2F")
}

/// The table of mounts, whose sources are below `locked`.
#[must_use]
pub fn table(locked: &Path, nodes: &[DeviceNode]) -> String {
    let mut text = String::new();
    for node in nodes {
        let source = locked.join(NODES).join(file_name(node));
        let (source, target) =
            (mount_entry::encode(&source.to_string_lossy()), mount_entry::encode(&node.path[1..]));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{source} {target} none bind,create=file 0 0");
    }
    text
}

/// The rules of cgroup v2 that keep a guest to what every guest has and to these: as items of LXC's configuration, for one boot.
/// What is not opened is shut, as LXC counts where nothing else is said; said (`devices.deny = a`), it would empty its list at a reboot
/// from inside, and with it what the guest was given since.
#[must_use]
pub fn rules(nodes: &[DeviceNode]) -> Vec<(String, String)> {
    let allow = |rule: &str| (format!("lxc.cgroup2.{ALLOW}"), rule.to_owned());
    let nodes = nodes.iter().map(|node| allow(&node.rule()));
    USUAL.into_iter().map(allow).chain(nodes).collect()
}

/// The same of cgroup v1, but for the rules of devices ([`limits`]): LXC would set them by what it knew at the guest's start, after
/// whoever knows better.
#[must_use]
pub fn base() -> Vec<Limit> {
    let limit = |file: &str, rule: &str| Limit {
        key: BASE.to_owned(),
        version: CgroupVersion::V1,
        file: file.to_owned(),
        value: rule.to_owned(),
    };
    std::iter::once(limit(DENY, "a")).chain(USUAL.into_iter().map(|rule| limit(ALLOW, rule))).collect()
}

/// The rules of v1 that open these.
#[must_use]
pub fn limits(nodes: &[DeviceNode]) -> Vec<Limit> {
    let limit = |node: &DeviceNode| Limit {
        key: format!("{BASE}.{:?}", node.key),
        version: CgroupVersion::V1,
        file: ALLOW.to_owned(),
        value: node.rule(),
    };
    nodes.iter().map(limit).collect()
}

/// Whether it is a rule of devices.
#[must_use]
pub fn is_rule(limit: &Limit) -> bool {
    limit.file == ALLOW || limit.file == DENY
}

/// Whether it is one that opens a device beside those that every guest has.
#[must_use]
pub fn is_of_a_device(limit: &Limit) -> bool {
    is_rule(limit) && limit.key != BASE
}

/// Whether every guest has what this rule opens: then it is not shut with the device that asked for it.
#[must_use]
pub fn is_usual(rule: &str) -> bool {
    USUAL.contains(&rule)
}

/// Whether the container's own lines say which devices it has: then it has no rules of ours beside.
#[must_use]
pub fn has_own(items: &[(String, String)]) -> bool {
    items.iter().any(|(key, value)| {
        key.starts_with("lxc.cgroup.devices")
            || key.starts_with("lxc.cgroup2.devices")
            || key == "lxc.mount.entry"
                && value.split_whitespace().next().is_some_and(|source| Path::new(source).starts_with("/dev"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::devices::DeviceMode;

    fn node(path: &str) -> DeviceNode {
        DeviceNode {
            key: path.to_owned(),
            path: path.to_owned(),
            host: path.into(),
            block: false,
            major: 10,
            minor: 200,
            owner: 0,
            group: 7,
            mode: DeviceMode::ALL,
        }
    }

    #[test]
    fn each_node_is_a_line() {
        let nodes = [node("/dev/net/tun"), node("/dev/my line/50%")];
        assert_eq!(
            table(Path::new("/l"), &nodes),
            "/l/devices/net%2Ftun dev/net/tun none bind,create=file 0 0\n\
             /l/devices/my\\040line%2F50%25 dev/my\\040line/50% none bind,create=file 0 0\n"
        );
        assert_eq!(node("/dev/net/tun").to_string(), "/dev/net/tun (c 10:200, 0:7, 0666)");
    }

    #[test]
    fn nothing_but_what_is_named_is_open() {
        let items = rules(&[node("/dev/net/tun")]);
        let item = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert!(items.iter().all(|(key, _)| key == "lxc.cgroup2.devices.allow"), "{items:?}");
        assert_eq!(items[items.len() - 1], item("lxc.cgroup2.devices.allow", "c 10:200 rwm"));
        assert!(!items.iter().any(|(_, value)| value.contains("10:229")));
        let one = base();
        assert_eq!(
            (one[0].file.as_str(), one[0].value.as_str(), is_rule(&one[0]), is_of_a_device(&one[0])),
            (DENY, "a", true, false)
        );
        assert_eq!(one.len(), items.len());
        let own = &limits(&[node("/dev/net/tun")])[0];
        assert_eq!((own.value.as_str(), is_rule(own), is_of_a_device(own)), ("c 10:200 rwm", true, true));
        assert!(is_usual("c 1:3 rwm") && !is_usual(&own.value));
        assert!(has_own(&[item("lxc.mount.entry", "/dev/snd dev/snd none bind 0 0")]));
        for other in ["/srv dev/srv none bind 0 0", "/devel/src srv none bind 0 0"] {
            assert!(!has_own(&[item("lxc.mount.entry", other)]), "{other}");
        }
    }
}
