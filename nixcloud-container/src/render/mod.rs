//! The LXC configuration, rendered from spec, record and host: a pure function, golden-tested.
//!
//! It is rendered again at create, update, switch and start, so that a rolled-back generation brings
//! back its own network, and an upgraded LXC never leaves a stale include path.

mod bridge_port;
pub mod devices;
pub mod dnsmasq;
mod extra;
mod further;
mod items;
mod keys;
pub mod limits;
pub mod lxcfs;
mod mount_entry;
pub mod nft;
mod pending;
mod seccomp;
pub mod warnings;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

use crate::model::bridge_port::BridgePort;
use crate::model::config::{HostConfig, Share};
use crate::model::idmap::{IdMap, RANGE};
use crate::model::interface::{InterfaceId, Slot};
use crate::model::layout::{Layout, NIX_STORE};
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::resources::{CgroupVersion, Controllers};
use crate::model::spec::ContainerSpec;
use crate::model::store_view::StoreView;

pub(crate) use extra::matches;
pub use extra::{ExtraError, ItemError, allows};
pub use further::macs as further_macs;
use items::extra_lines;
pub use items::{check_extra, groups, items, keep, next_groups};
pub use pending::{PendingRestart, compare};

/// What the rendering depends on that is the host's, found once an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// LXC's folder with `common.conf`.
    pub lxc_config_dir: PathBuf,
    /// Whether guests get a profile of AppArmor.
    pub apparmor: AppArmor,
    /// How many processes and threads the kernel has for all.
    pub processes: u32,
    /// Which controllers of cgroups the kernel has.
    pub controllers: Controllers,
    /// Whether the store can be mounted with the guest's ids.
    pub idmapped_store: bool,
}

/// AppArmor of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppArmor {
    /// The kernel has none, or it is off.
    Off,
    /// The kernel has it, and there is no program that compiles profiles: LXC would start nobody.
    NoParser,
    /// LXC can make a profile for each guest.
    On,
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
    /// The text of the file that says which system calls the guest does not get; `None` leaves the one that is there.
    pub seccomp: Option<String>,
}

/// The store, in the folder of locked sources.
pub(crate) const STORE: &str = "store";

/// Where the guest has it.
const STORE_TARGET: &str = "nix/store";

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
    let seccomp = Some(seccomp::profile(input.spec.features));
    Ok(Rendered { text: text.text, locked, extra, needed, items: text.items, bridge_ports, groups, seccomp })
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
    // Those that Debian's lxcfs adds to the defaults: shells at each boot, and 0.5 s of sleep at each stop. What they mount is
    // mounted by items of the start (`render::lxcfs`).
    text.line("lxc.hook.mount", "");
    text.line("lxc.hook.post-stop", "");
}

fn system(text: &mut Text, input: &Input<'_>) {
    let Input { name, spec, ids, layout, .. } = *input;
    text.comment("The guest.");
    text.line("lxc.uts.name", name);
    text.line("lxc.arch", std::env::consts::ARCH);
    text.line("lxc.seccomp.profile", layout.seccomp(name).display());
    // Otherwise LXC leaves the profile out, and says nothing, where whoever starts the guest is confined by one.
    text.line("lxc.seccomp.allow_nesting", 1);
    // In that profile, and no line here: a change of one waits for a restart as the lines do.
    for (key, has) in spec.features.changed() {
        text.items.push((key.to_owned(), has.to_string()));
    }
    text.line("lxc.rootfs.path", format_args!("dir:{}", layout.rootfs(name).display()));
    text.line("lxc.init.cmd", if spec.original { ORIGINAL_INIT } else { "/init/profile/init" });
    text.line("lxc.idmap", format_args!("u 0 {} {RANGE}", ids.base()));
    text.line("lxc.idmap", format_args!("g 0 {} {RANGE}", ids.base()));
    match input.facts.apparmor {
        AppArmor::Off => {}
        AppArmor::NoParser => text.line("lxc.apparmor.profile", "unconfined"),
        AppArmor::On => {
            text.line("lxc.apparmor.profile", "generated");
            // systemd in the guest mounts for its services; the user namespace confines what that can be.
            text.line("lxc.apparmor.allow_nesting", 1);
        }
    }
    let controllers = &input.facts.controllers;
    let share = pids_share(input.facts.processes);
    if input.config.limits.pids > 0 {
        let key = if controllers.pids == Some(CgroupVersion::V1) {
            "lxc.cgroup.pids.max"
        } else {
            "lxc.cgroup2.pids.max"
        };
        text.line(key, input.config.limits.pids.min(share));
    }
    if let Some(most) =
        input.config.limits.grant(&spec.resources, &|_| false, Share::new()).resources.open_files
    {
        text.line("lxc.prlimit.nofile", format_args!("{}:{most}", most.min(SOFT_OPEN_FILES)));
    }
    if controllers.unified && controllers.pids != Some(CgroupVersion::V1) {
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
    text.comment("The store, the container's generations, and what systemd expects of a runtime.");
    let store = source(Path::new(NIX_STORE), STORE);
    let view = input.spec.store_view(input.config.store);
    // Of a closure the worker makes a store that has the guest's ids already.
    let options = match view {
        StoreView::Full if input.facts.idmapped_store => "bind,ro,idmap=container,create=dir",
        StoreView::Full | StoreView::Closure => "bind,ro,create=dir",
    };
    let store = locked_bind(text, input, store, STORE_TARGET, options);
    if view == StoreView::Full {
        locked.push(store);
    }
    let profile = source(&input.layout.profile_dir(input.name), "profile");
    locked.push(locked_bind(text, input, profile, "init", "bind,ro,create=dir"));
    text.line("lxc.mount.entry", "tmpfs run tmpfs rw,nosuid,nodev,mode=755,create=dir 0 0");
    if input.spec.features.nesting {
        // The kernel lets a user namespace mount one where it sees one that nothing is mounted over. Of /sys there is such a
        // one today.
        text.line("lxc.mount.entry", "proc dev/.lxc/proc proc create=dir 0 0");
    }
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
        let port = bridge_port::of(input, slot);
        let arguments = bridge_port::arguments(&port);
        let key = format!("lxc.net.{}.{}", slot.index(), bridge_port::SCRIPT);
        text.line_of(&key, &bridge_port::line(input.hook, &arguments), &arguments);
        port
    })
}

#[cfg(test)]
mod tests;
