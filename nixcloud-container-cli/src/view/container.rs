//! list, state, exists.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use nixcloud_container::devices::DeviceNode;
use nixcloud_container::{IdMap, Listed, Status};
use serde::Serialize;

use super::usage::UsageView;
use super::{FailureView, NOTHING, Pending, Table, View, or_nothing, size};
use crate::screen::printer::{Printer, Tone};

/// All that is known of a container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ContainerView {
    /// Its name.
    name: String,
    /// `stopped`, `starting`, `running`, `frozen`, `stopping`, `unreachable`, `creating`, `destroying` (another process is at it)
    /// or `incomplete` (that was cut off, and nobody is at it).
    state: String,
    /// Whether it is running and has not finished booting: its activation still runs.
    booting: bool,
    /// Its address: fixed or leased. Null where its bridge gives it one.
    address: Option<Ipv4Addr>,
    /// The generation that boots at the next start.
    generation: Option<u64>,
    /// The generation that an operation is switching to, or was when it was cut off: it has not proved itself, and the next
    /// change or start puts `generation` back.
    unproved: Option<u64>,
    /// The generation that the running guest was booted from.
    booted: Option<u64>,
    /// Whether it starts with the host.
    autostart: bool,
    /// The memory that the running guest needs, in bytes: what its cgroup is charged with, without the page cache that has not
    /// been used for a while (`inactive_file`).
    memory: Option<u64>,
    /// Its swap space, in bytes.
    swap: Option<u64>,
    /// What the running guest uses and may use. Null in a list.
    usage: Option<UsageView>,
    /// The host ids that the guest's users and groups 0 to 65535 map to.
    ids: Option<Ids>,
    /// Its init, in the host's pid namespace.
    init_pid: Option<i32>,
    /// When the running guest was started, as RFC 3339.
    started: Option<String>,
    /// When it was created, as RFC 3339.
    created: String,
    /// The container file last used.
    file: PathBuf,
    /// The arguments for Nix that go with it.
    nix_args: Vec<String>,
    /// Whether somebody chose its generation, by `rollback` or `switch-generation`: `update --all` leaves it.
    pinned: bool,
    /// What declares it: the set that `apply` was given, or a manifest. Null where it was created by hand.
    declared: Option<String>,
    /// The LXC configuration items that it has beside those of its file (`-l -s`).
    lxc_items: Vec<Item>,
    /// Its groups (`lxc.group`).
    groups: Vec<String>,
    /// The profile of AppArmor that the running guest's init is confined by, with its mode: `NAME (enforce)`; `unconfined`. Null
    /// where the kernel has no AppArmor, and in a list.
    apparmor: Option<String>,
    /// The devices of the host that the running guest has.
    devices: Vec<DeviceView>,
    /// What of LXC's side waits for a restart.
    pending_restart: Vec<Pending>,
}

/// A device of the host in a guest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DeviceView {
    /// Where the guest has it.
    path: String,
    /// The host's node, behind all links.
    host: PathBuf,
    /// Whether it is a block device; otherwise a character device.
    block: bool,
    /// The kernel's number of its driver.
    major: u32,
    /// The driver's number of it.
    minor: u32,
    /// Whose it was made, as the guest counts users.
    owner: u16,
    /// Its group, as the guest counts groups.
    group: u16,
    /// Who might open it then: four octal digits.
    mode: String,
}

impl From<&DeviceNode> for DeviceView {
    fn from(node: &DeviceNode) -> Self {
        Self {
            path: node.path.clone(),
            host: node.host.clone(),
            block: node.block,
            major: node.major,
            minor: node.minor,
            owner: node.owner,
            group: node.group,
            mode: node.mode.to_string(),
        }
    }
}

/// An item of LXC's configuration.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Item {
    /// The LXC key.
    key: String,
    /// Its value.
    value: String,
}

/// A range of host ids.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Ids {
    /// The host id of the guest's root.
    first: u32,
    /// How many.
    count: u32,
}

impl From<&Status> for ContainerView {
    fn from(status: &Status) -> Self {
        let item = |(key, value): &(String, String)| Item { key: key.clone(), value: value.clone() };
        let ids = |ids: IdMap| Ids { first: ids.base(), count: nixcloud_container::idmap::RANGE };
        Self {
            name: status.name.to_string(),
            state: status.state.to_string(),
            booting: status.booting,
            address: status.address,
            generation: status.generation.map(nixcloud_container::GenerationId::get),
            unproved: status.unproved.map(nixcloud_container::GenerationId::get),
            booted: status.booted.map(nixcloud_container::GenerationId::get),
            autostart: status.autostart,
            memory: status.memory,
            swap: status.swap,
            usage: status.usage.as_ref().map(UsageView::from),
            ids: status.ids.map(ids),
            init_pid: status.init_pid,
            started: status.started.map(|time| time.to_string()),
            created: status.created.to_string(),
            file: status.file.clone(),
            nix_args: status.nix_args.clone(),
            pinned: status.pinned,
            declared: status.declared.clone(),
            lxc_items: status.lxc_items.iter().map(item).collect(),
            groups: status.groups.clone(),
            apparmor: status.apparmor.clone(),
            devices: status.devices.iter().map(DeviceView::from).collect(),
            pending_restart: status.pending_restart.iter().map(Pending::from).collect(),
        }
    }
}

impl View for ContainerView {
    fn tell(&self, printer: &Printer) {
        printer.answer(&self.state);
    }
}

/// A container in a list.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Row {
    /// One of ours.
    Container(Box<ContainerView>),
    /// One of ours about which something cannot be read.
    Broken {
        /// Its name.
        name: String,
        /// Why.
        error: FailureView,
    },
    /// An LXC container that nixcloud-container did not make.
    Foreign {
        /// Its name.
        name: String,
    },
}

impl From<&Listed> for Row {
    fn from(listed: &Listed) -> Self {
        match listed {
            Listed::Container(status) => Self::Container(Box::new(status.as_ref().into())),
            Listed::Broken { name, error, .. } => {
                Self::Broken { name: name.to_string(), error: FailureView::of_error(error) }
            }
            other => Self::Foreign { name: other.name().to_owned() },
        }
    }
}

impl Row {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Container(container) => &container.name,
            Self::Broken { name, .. } | Self::Foreign { name } => name,
        }
    }

    /// What the table shows of it.
    pub(crate) fn cells(&self) -> [String; 6] {
        let bare = |state: &str| [self.name(), state, NOTHING, NOTHING, NOTHING, NOTHING].map(str::to_owned);
        match self {
            Self::Container(container) => [
                container.name.clone(),
                if container.booting { "booting".to_owned() } else { container.state.clone() },
                or_nothing(container.address),
                match container.unproved {
                    Some(unproved) => format!("{}, {unproved} unproved", or_nothing(container.generation)),
                    None => or_nothing(container.generation),
                },
                if container.autostart { "yes" } else { "no" }.to_owned(),
                or_nothing(container.memory.map(size)),
            ],
            Self::Broken { .. } => bare("broken"),
            Self::Foreign { .. } => bare("foreign"),
        }
    }
}

/// All containers of the host, sorted by name.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListView {
    /// The containers.
    pub(crate) containers: Vec<Row>,
}

impl ListView {
    pub(crate) fn of(list: &[Listed]) -> Self {
        Self { containers: list.iter().map(Row::from).collect() }
    }

    /// A name a line.
    pub(super) fn tell_names(&self, printer: &Printer) {
        // A script goes on to use these names with our commands, which refuse the foreign ones.
        let ours = self.containers.iter().filter(|row| !matches!(row, Row::Foreign { .. }));
        printer.answers(ours.map(Row::name));
    }

    /// What cannot be read.
    pub(super) fn tell_trouble(&self, printer: &Printer) {
        for row in &self.containers {
            if let Row::Broken { name, error } = row {
                error.tell_trouble(&format!("container `{name}` is broken"), printer);
            }
        }
    }

    /// The table, with its heading.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut table = Table::new(&["NAME", "STATE", "ADDRESS", "GENERATION", "AUTOSTART", "MEMORY"]);
        for row in &self.containers {
            table.row(row.cells());
        }
        table.lines()
    }
}

impl View for ListView {
    fn tell(&self, printer: &Printer) {
        if !printer.for_people() {
            self.tell_names(printer);
        } else if self.containers.is_empty() {
            printer.note(Tone::Hint, "note", "there are no containers");
        } else {
            printer.answers(self.table());
        }
        self.tell_trouble(printer);
    }
}

/// Whether a container exists.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Exists {
    /// The name that was asked for.
    pub(crate) name: String,
    /// Whether it does.
    pub(crate) exists: bool,
}

impl View for Exists {
    /// The exit code says it.
    fn tell(&self, _printer: &Printer) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_containers_are_shown_as_such() {
        let list = ListView::of(&[Listed::foreign("debian")]);
        assert_eq!(
            list.table(),
            [
                "NAME    STATE    ADDRESS  GENERATION  AUTOSTART  MEMORY",
                "debian  foreign  -        -           -          -"
            ]
        );
    }
}
