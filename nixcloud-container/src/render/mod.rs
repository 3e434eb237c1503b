//! The LXC configuration, rendered from spec, record and host: a pure function, golden-tested.
//!
//! It is rendered again at create, update, switch and start, so that a rolled-back generation brings
//! back its own network, and an upgraded LXC never leaves a stale include path.

pub mod dnsmasq;
mod extra;
mod further;
mod keys;
pub mod limits;
mod mount_entry;
pub mod nft;
mod port;
mod seccomp;
pub mod warnings;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

use crate::model::bridge_port::BridgePort;
use crate::model::config::HostConfig;
use crate::model::idmap::{IdMap, RANGE};
use crate::model::interface::{InterfaceId, Slot};
use crate::model::layout::{Layout, NIX_STORE};
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::resources::{Controllers, Version};
use crate::model::spec::ContainerSpec;

use extra::ExtraLine;
pub use extra::{ExtraError, ItemError};
pub use further::macs as further_macs;
use mount_entry::MountEntry;
pub use seccomp::PROFILE as SECCOMP_PROFILE;

/// What the rendering depends on that is the host's, found once an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// LXC's folder with `common.conf`.
    pub lxc_config_dir: PathBuf,
    /// Whether lxcfs is mounted. Where it is not, its hooks only cost time (Debian's make a stop 0.5 s slower).
    pub lxcfs: bool,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// How many processes and threads the kernel has for all.
    pub processes: u32,
    /// Which controllers of cgroups the kernel has.
    pub controllers: Controllers,
    /// Whether the store can be mounted with the guest's ids.
    pub idmapped_store: bool,
}

/// What one container's configuration is made of.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The container.
    pub name: &'a ContainerName,
    /// The spec of the generation that is to boot.
    pub spec: &'a ContainerSpec,
    /// LXC configuration items that it has beside those of its container file.
    pub items: &'a [(String, String)],
    /// Its ids.
    pub ids: IdMap,
    /// What its interface names and MAC addresses are made of.
    pub interface: InterfaceId,
    /// Its address on the bridge that leads out, where it has one.
    pub internet: Option<Ipv4Addr>,
    /// The program that LXC runs to set a port of a bridge.
    pub hook: &'a Path,
    /// Where things are.
    pub layout: &'a Layout,
    /// The host's own choices.
    pub config: &'a HostConfig,
    /// What the host is.
    pub facts: &'a HostFacts,
}

/// A host path that the guest may read and never write.
///
/// The worker binds it read-only in its own mount namespace, *outside* the guest's user namespace, before LXC
/// sees it: only then is the flag locked. A bare `bind,ro,idmap=container` of the path is an escape to host root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LockedSource {
    /// The host path.
    pub source: PathBuf,
    /// Its name in the container's `locked` folder.
    pub name: String,
    /// Whether the mounts below it come along.
    pub recursive: bool,
    /// Whether it may be missing.
    pub optional: bool,
    /// Whether it is the container file's own and shown with the guest's ids: then it may hold plain files alone.
    pub only_files: bool,
}

/// A rendered configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The text of the `config` file.
    pub text: String,
    /// The read-only sources that the worker locks.
    pub locked: Vec<LockedSource>,
    /// The container file's own lines and the items beside it, which liblxc checks on a scratch handle.
    pub extra: Vec<(String, String)>,
    /// Host paths that those lines mount, and without which the container does not start.
    pub needed: Vec<PathBuf>,
    /// All its items, in the order of the text. Which program sets a port is left out: it changes nothing.
    pub items: Vec<(String, String)>,
    /// The ports that it has set.
    pub bridge_ports: Vec<BridgePort>,
    /// The groups that it puts its container into, in order.
    pub groups: Vec<String>,
}

/// The init of a system that the shell original built: it has no link to it beside.
const ORIGINAL_INIT: &str = "/init/profile/container/init";

/// How many cgroups a guest may make of its own. systemd makes one a unit.
pub const CGROUPS: u32 = 4096;

/// How many files a process begins with that raises nothing: as systemd and `lxc-start` have it.
const SOFT_OPEN_FILES: u32 = 1024;

/// How deep they may be nested.
pub const CGROUP_DEPTH: u32 = 64;

/// The most processes and threads that one guest may have where all have so many.
#[must_use]
pub fn pids_share(all: u32) -> u32 {
    (all / 4).max(1)
}

/// The bridge of the first interface.
#[must_use]
pub fn bridge<'a>(spec: &'a ContainerSpec, config: &'a HostConfig) -> &'a InterfaceName {
    spec.network.bridge.as_ref().unwrap_or(&config.network.hostonly.bridge)
}

/// Renders the configuration of one container.
///
/// # Errors
/// When a line of `lxcExtraConfig` or an item beside it is refused.
pub fn render(input: &Input<'_>) -> Result<Rendered, ExtraError> {
    let mut text = Text { text: String::with_capacity(2048), items: Vec::with_capacity(64) };
    let mut locked = Vec::new();
    header(&mut text, input);
    includes(&mut text, input.facts);
    system(&mut text, input);
    mounts(&mut text, input, &mut locked);
    let bridge_ports = network(&mut text, input);
    let mut needed = Vec::new();
    let extra = extra_lines(&mut text, input, &mut locked, &mut needed)?;
    let groups = groups(&extra);
    Ok(Rendered { text: text.text, locked, extra, needed, items: text.items, bridge_ports, groups })
}

/// The text, and the items in it.
struct Text {
    text: String,
    items: Vec<(String, String)>,
}

impl Text {
    fn line(&mut self, key: &str, value: impl std::fmt::Display) {
        let value = value.to_string();
        self.line_of(key, &value, &value);
    }

    /// A line of whose value only `counts` does.
    fn line_of(&mut self, key: &str, value: &str, counts: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}", format!("{key} = {value}").trim_end());
        self.items.push((key.to_owned(), counts.trim().to_owned()));
    }

    fn comment(&mut self, text: &str) {
        let _ = writeln!(self.text, "\n# {text}");
    }
}

fn header(text: &mut Text, input: &Input<'_>) {
    text.text.push_str(
        "# Written by nixcloud-container, anew at each start: change the container file instead\n\
         # (`lxcExtraConfig` takes lines for this file). Start it with `nixcloud-container start`:\n",
    );
    let locked = input.layout.locked(input.name);
    let _ = writeln!(
        text.text,
        "# {} is filled only in the mount namespace of that command, read-only and locked\n\
         # against the guest. Elsewhere it is empty, so lxc-start fails rather than open the host.",
        locked.display()
    );
}

fn includes(text: &mut Text, facts: &HostFacts) {
    text.comment("LXC's own defaults for unprivileged guests: devices, cgroups.");
    text.line("lxc.include", facts.lxc_config_dir.join("common.conf").display());
    text.line("lxc.include", facts.lxc_config_dir.join("userns.conf").display());
    if !facts.lxcfs {
        text.line("lxc.hook.mount", "");
        text.line("lxc.hook.post-stop", "");
    }
}

fn system(text: &mut Text, input: &Input<'_>) {
    let Input { name, spec, ids, layout, .. } = *input;
    text.comment("The guest.");
    text.line("lxc.uts.name", name);
    text.line("lxc.arch", std::env::consts::ARCH);
    text.line("lxc.seccomp.profile", layout.seccomp(name).display());
    // Otherwise LXC leaves the profile out, and says nothing, where whoever starts the guest is confined by one.
    text.line("lxc.seccomp.allow_nesting", 1);
    text.line("lxc.rootfs.path", format_args!("dir:{}", layout.rootfs(name).display()));
    text.line("lxc.init.cmd", if spec.original { ORIGINAL_INIT } else { "/init/profile/init" });
    text.line("lxc.idmap", format_args!("u 0 {} {RANGE}", ids.base()));
    text.line("lxc.idmap", format_args!("g 0 {} {RANGE}", ids.base()));
    if input.facts.apparmor {
        text.line("lxc.apparmor.profile", "generated");
        // systemd in the guest mounts for its services; the user namespace confines what that can be.
        text.line("lxc.apparmor.allow_nesting", 1);
    }
    let controllers = &input.facts.controllers;
    if input.config.limits.pids > 0 {
        let key = if controllers.pids == Some(Version::V1) {
            "lxc.cgroup.pids.max"
        } else {
            "lxc.cgroup2.pids.max"
        };
        text.line(key, input.config.limits.pids.min(pids_share(input.facts.processes)));
    }
    if let Some(most) = spec.resources.open_files {
        text.line("lxc.prlimit.nofile", format_args!("{}:{most}", most.min(SOFT_OPEN_FILES)));
    }
    if controllers.unified && controllers.pids != Some(Version::V1) {
        // Its own to divide, but not without end: the kernel numbers memory cgroups of all with 16 bits.
        text.line("lxc.cgroup2.cgroup.max.descendants", CGROUPS);
        text.line("lxc.cgroup2.cgroup.max.depth", CGROUP_DEPTH);
    }
}

/// A read-only bind of a host path by way of the `locked` folder.
fn locked_bind(
    text: &mut Text,
    input: &Input<'_>,
    source: LockedSource,
    target: &str,
    options: &str,
) -> LockedSource {
    let place = input.layout.locked(input.name).join(&source.name);
    let place = mount_entry::encode(&place.to_string_lossy());
    text.line("lxc.mount.entry", format_args!("{place} {target} none {options} 0 0"));
    source
}

fn mounts(text: &mut Text, input: &Input<'_>, locked: &mut Vec<LockedSource>) {
    let source = |path: &Path, name: &str| LockedSource {
        source: path.to_owned(),
        name: name.to_owned(),
        recursive: false,
        optional: false,
        only_files: false,
    };
    text.comment("The host's store, the container's generations, and what systemd expects of a runtime.");
    let store = source(Path::new(NIX_STORE), "store");
    let options =
        if input.facts.idmapped_store { "bind,ro,idmap=container,create=dir" } else { "bind,ro,create=dir" };
    locked.push(locked_bind(text, input, store, "nix/store", options));
    let profile = source(&input.layout.profile_dir(input.name), "profile");
    locked.push(locked_bind(text, input, profile, "init", "bind,ro,create=dir"));
    text.line("lxc.mount.entry", "tmpfs run tmpfs rw,nosuid,nodev,mode=755,create=dir 0 0");
    // Without it sys-kernel-debug.mount fails and a systemd guest is "degraded". Each shows only what root of
    // the host sees, which the guest is not.
    for path in ["sys/kernel/debug", "sys/kernel/security", "sys/fs/pstore"] {
        text.line("lxc.mount.entry", format_args!("/{path} {path} none bind,optional 0 0"));
    }
}

fn network(text: &mut Text, input: &Input<'_>) -> Vec<BridgePort> {
    let Input { spec, config, .. } = *input;
    text.comment("Interface `hostonly`.");
    let first = interface(text, input, Slot::First, bridge(spec, config), "hostonly");
    if let Some((address, prefix)) = spec.effective.ip.zip(spec.effective.prefix_length) {
        text.line("lxc.net.0.ipv4.address", with_broadcast(address, prefix));
        if let Some(gateway) = spec.network.gateway {
            text.line("lxc.net.0.ipv4.gateway", gateway);
        }
    }
    let second = spec.network.enable_nat.then(|| {
        text.comment("Interface `internet`: its address comes by DHCP.");
        interface(text, input, Slot::Second, &config.network.internet.bridge, "internet")
    });
    first.into_iter().chain(second.flatten()).collect()
}

/// LXC 5.0 computes the broadcast address of a /16 as 0.0.255.255 unless it is given.
fn with_broadcast(address: Ipv4Addr, prefix: u8) -> String {
    match Ipv4Network::new(address, prefix) {
        Ok(network) => format!("{network} {}", network.broadcast()),
        Err(_) => format!("{address}/{prefix}"),
    }
}

/// The lines of an interface; returns its port, where that is set.
fn interface(
    text: &mut Text,
    input: &Input<'_>,
    slot: Slot,
    bridge: &InterfaceName,
    inside: &str,
) -> Option<BridgePort> {
    let (id, isolated) = (input.interface, input.spec.network.isolated);
    let mut item = |key: &str, value: &dyn std::fmt::Display| {
        text.line(&format!("lxc.net.{}.{key}", slot.index()), value);
    };
    item("type", &"veth");
    item("link", bridge);
    item("flags", &"up");
    item("name", &inside);
    item("hwaddr", &id.mac(slot, isolated));
    item("veth.pair", &id.host_name(slot));
    // LXC gives it to both ends.
    if let Some(mtu) = &input.spec.network.mtu {
        item("mtu", mtu);
    }
    input.config.network.isolation.then(|| {
        let port = port::of(input, slot);
        let arguments = port::arguments(&port);
        let key = format!("lxc.net.{}.{}", slot.index(), port::SCRIPT);
        text.line_of(&key, &port::line(input.hook, &arguments), &arguments);
        port
    })
}

/// The lines of the container file and the items beside it, as far as the rules of this program go.
fn judged(
    spec: &ContainerSpec,
    items: &[(String, String)],
    config: &HostConfig,
) -> Result<(Vec<ExtraLine>, Vec<ExtraLine>), ExtraError> {
    let allowed = &config.allow_lxc_keys;
    let lines = if spec.original {
        extra::keep(&spec.lxc_extra_config, allowed).0
    } else {
        extra::parse(&spec.lxc_extra_config, allowed)?
    };
    let items = extra::items(items, "item", allowed)?;
    for ExtraLine { number, key, value, .. } in lines.iter().chain(&items) {
        if let Some(why) = port::refused(config, key, value) {
            return Err(ExtraError { number: *number, line: format!("{key} = {value}"), why });
        }
    }
    Ok((lines, items))
}

fn extra_lines(
    text: &mut Text,
    input: &Input<'_>,
    locked: &mut Vec<LockedSource>,
    needed: &mut Vec<PathBuf>,
) -> Result<Vec<(String, String)>, ExtraError> {
    let (lines, items) = judged(input.spec, input.items, input.config)?;
    let mut checked = Vec::with_capacity(lines.len() + items.len());
    for (lines, from) in [
        (lines, "lxcExtraConfig of the container file."),
        (items, "Items that were given with the container file, on the command line."),
    ] {
        if !lines.is_empty() {
            text.comment(from);
        }
        for line in lines {
            let ExtraLine { number, place, key, mut value } = line;
            if key == keys::MOUNT {
                let refuse = |why| ExtraError { number, line: format!("{key} = {value}"), why };
                let folder = input.layout.locked(input.name);
                let entry = MountEntry::parse(&value).map_err(refuse)?;
                needed.extend(entry.needs());
                value = locked_entry(&entry, &value, &folder, place, locked);
            }
            text.line(&key, &value);
            checked.push((key, value));
        }
    }
    let macs = further_macs(&checked, input.interface);
    if !macs.is_empty() {
        text.comment("MAC addresses of those interfaces, the same at each boot.");
    }
    macs.iter().for_each(|(key, mac)| text.line(key, mac));
    Ok(checked)
}

/// A mount entry, by way of the `locked` folder where it is a read-only bind.
fn locked_entry(
    entry: &MountEntry,
    value: &str,
    folder: &Path,
    place: String,
    locked: &mut Vec<LockedSource>,
) -> String {
    if !entry.locks() {
        return value.to_owned();
    }
    let rendered = entry.render(&folder.join(&place));
    locked.push(LockedSource {
        source: entry.source(),
        name: place,
        recursive: entry.has("rbind"),
        optional: entry.has("optional"),
        only_files: entry.has("idmap=container"),
    });
    rendered
}

/// Items for one boot alone, judged as lines of `lxcExtraConfig` are; their read-only sources join `locked`.
///
/// # Errors
/// The first item that is refused.
pub fn items(
    items: &[(String, String)],
    config: &HostConfig,
    folder: &Path,
    locked: &mut Vec<LockedSource>,
) -> Result<Vec<(String, String)>, ItemError> {
    let mut rendered = Vec::with_capacity(items.len());
    for (number, (key, value)) in items.iter().enumerate() {
        let (key, value) = (key.trim(), value.trim());
        extra::item(key, value, &config.allow_lxc_keys)?;
        if let Some(why) = port::refused(config, key, value) {
            return Err(ItemError { key: key.to_owned(), value: value.to_owned(), why });
        }
        let value = if key == keys::MOUNT {
            let refuse = |why| ItemError { key: key.to_owned(), value: value.to_owned(), why };
            let entry = MountEntry::parse(value).map_err(refuse)?;
            locked_entry(&entry, value, folder, format!("boot-{number}"), locked)
        } else {
            value.to_owned()
        };
        rendered.push((key.to_owned(), value));
    }
    Ok(rendered)
}

/// Lines as [`ContainerSpec::lxc_extra_config`] has them: the items among them that keep the protection, and why the
/// others do not.
#[must_use]
pub fn keep(lines: &str, config: &HostConfig) -> (Vec<(String, String)>, Vec<ExtraError>) {
    let (kept, refused) = extra::keep(lines, &config.allow_lxc_keys);
    (kept.into_iter().map(|line| (line.key, line.value)).collect(), refused)
}

/// The lines of `lxcExtraConfig` and the items beside them, for liblxc to check. What [`render`] would refuse of them is refused here: one check,
/// used before there is a container to render.
///
/// # Errors
/// The first line that is refused.
pub fn check_extra(
    spec: &ContainerSpec,
    items: &[(String, String)],
    config: &HostConfig,
) -> Result<Vec<(String, String)>, ExtraError> {
    let (lines, items) = judged(spec, items, config)?;
    let each = lines.into_iter().chain(items).map(|ExtraLine { number, key, value, .. }| {
        if key == keys::MOUNT {
            let refuse = |why| ExtraError { number, line: format!("{key} = {value}"), why };
            MountEntry::parse(&value).map_err(refuse)?;
        }
        Ok((key, value))
    });
    each.collect()
}

/// Whether the host configuration allows a key by name.
#[must_use]
pub fn allows(config: &HostConfig, key: &str) -> bool {
    config.allow_lxc_keys.iter().any(|pattern| extra::matches(pattern, key))
}

const GROUP: &str = "lxc.group";

/// The groups that items put a container into, in order.
#[must_use]
pub fn groups(items: &[(String, String)]) -> Vec<String> {
    items.iter().filter(|(key, _)| key == GROUP).map(|(_, value)| value.clone()).collect()
}

/// The groups that the next boot puts it into, found without rendering. Lines that are refused have none.
#[must_use]
pub fn next_groups(spec: &ContainerSpec, items: &[(String, String)], config: &HostConfig) -> Vec<String> {
    let lines = extra::parse(&spec.lxc_extra_config, &config.allow_lxc_keys).unwrap_or_default();
    let items = extra::items(items, "item", &config.allow_lxc_keys).unwrap_or_default();
    lines.into_iter().chain(items).filter(|line| line.key == GROUP).map(|line| line.value).collect()
}

/// A setting that differs between the configuration a guest was booted with and the one it would boot with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PendingRestart {
    /// The LXC key.
    pub key: String,
    /// Its values in the running guest.
    pub running: Vec<String>,
    /// Its values at the next start.
    pub next: Vec<String>,
}

/// Compares the items of two configurations key by key; the order of keys does not count.
#[must_use]
pub fn compare(running: &[(String, String)], next: &[(String, String)]) -> Vec<PendingRestart> {
    fn by_key(items: &[(String, String)]) -> BTreeMap<&str, Vec<&str>> {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in items {
            map.entry(key).or_default().push(value);
        }
        map
    }
    fn owned(values: Vec<&str>) -> Vec<String> {
        values.into_iter().map(str::to_owned).collect()
    }
    let (mut old, new) = (by_key(running), by_key(next));
    let mut pending = Vec::new();
    for (key, next) in new {
        let running = old.remove(key).unwrap_or_default();
        if running != next {
            pending.push(PendingRestart { key: key.to_owned(), running: owned(running), next: owned(next) });
        }
    }
    for (key, running) in old {
        pending.push(PendingRestart { key: key.to_owned(), running: owned(running), next: Vec::new() });
    }
    pending.sort_by(|a, b| a.key.cmp(&b.key));
    pending
}

#[cfg(test)]
mod tests;
