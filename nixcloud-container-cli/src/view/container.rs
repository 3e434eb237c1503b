//! list, state, exists.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use nixcloud_container::{IdMap, Listed, PendingRestart, Status};
use serde::Serialize;

use super::usage::UsageView;
use super::{FailureView, NOTHING, Table, View, or_nothing, size};
use crate::report;
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
    /// What of LXC's side waits for a restart.
    pending_restart: Vec<Pending>,
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

/// An item of LXC's configuration that is another one at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pending {
    /// The LXC key.
    key: String,
    /// All its values in the running guest.
    running: Vec<String>,
    /// All its values at the next start.
    next: Vec<String>,
    /// The values that the running guest has and the next start has not.
    removed: Vec<String>,
    /// The values that the next start has and the running guest has not.
    added: Vec<String>,
}

impl From<&PendingRestart> for Pending {
    fn from(pending: &PendingRestart) -> Self {
        Self::new(pending.key.clone(), pending.running.clone(), pending.next.clone())
    }
}

impl Pending {
    fn new(key: String, running: Vec<String>, next: Vec<String>) -> Self {
        let (removed, added) = (beyond(&running, &next), beyond(&next, &running));
        Self { key, running, next, removed, added }
    }

    /// A line each, `pending restart: KEY: old -> new`, with the values that differ alone; an interface that comes or goes
    /// is one line.
    pub(crate) fn words(all: &[Self]) -> Vec<String> {
        let mut lines: Vec<String> = all.iter().map(|one| one.in_words(all)).collect();
        lines.dedup();
        lines
    }

    fn in_words(&self, all: &[Self]) -> String {
        let words =
            self.interface(all).unwrap_or_else(|| match (self.removed.join(", "), self.added.join(", ")) {
                (removed, added) if removed.is_empty() && added.is_empty() => {
                    format!("the order of {}", self.key)
                }
                (removed, added) if removed.is_empty() => format!("{} gets {added}", self.key),
                (removed, added) if added.is_empty() => format!("{} loses {removed}", self.key),
                (removed, added) => format!("{}: {removed} -> {added}", self.key),
            });
        format!("pending restart: {words}")
    }

    /// About an interface as a whole, or what its port lets through: a command line of ours that nobody reads.
    fn interface(&self, all: &[Self]) -> Option<String> {
        let (number, item) = self.key.strip_prefix("lxc.net.")?.split_once('.')?;
        let of = |item: &str| all.iter().find(|one| one.key == format!("lxc.net.{number}.{item}"));
        let name = |values: fn(&Self) -> &Vec<String>| of("name").map(|one| values(one).concat());
        match of("type") {
            Some(kind) if kind.running.is_empty() => {
                let bridge = of("link").map(|one| one.next.concat()).unwrap_or_default();
                Some(format!("interface {} on {bridge} comes", name(|one| &one.next)?))
            }
            Some(kind) if kind.next.is_empty() => {
                Some(format!("interface {} goes", name(|one| &one.running)?))
            }
            _ if item == "script.up" && !self.running.is_empty() && !self.next.is_empty() => {
                Some(format!("what the port of lxc.net.{number} lets through"))
            }
            _ => None,
        }
    }
}

/// What `of` has more often than `than`: of a key with many values, those that differ.
fn beyond(of: &[String], than: &[String]) -> Vec<String> {
    let mut rest: Vec<&String> = than.iter().collect();
    let differs = |value: &&String| match rest.iter().position(|other| other == value) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    };
    of.iter().filter(differs).cloned().collect()
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
            Listed::Broken { name, error } => {
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
                report::trouble(&format!("container `{name}` is broken"), error, printer);
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
        let list = ListView::of(&[Listed::Foreign { name: "debian".into() }]);
        assert_eq!(
            list.table(),
            [
                "NAME    STATE    ADDRESS  GENERATION  AUTOSTART  MEMORY",
                "debian  foreign  -        -           -          -"
            ]
        );
    }

    #[test]
    fn pending_changes_tell_both_values() {
        let change = Pending::new("lxc.net.0.link".into(), vec!["a".into()], vec![]);
        assert_eq!(Pending::words(&[change]), ["pending restart: lxc.net.0.link loses a"]);
        let change = Pending::new("lxc.net.0.link".into(), vec!["a".into()], vec!["b".into()]);
        assert_eq!(Pending::words(&[change]), ["pending restart: lxc.net.0.link: a -> b"]);
    }

    #[test]
    fn of_many_values_those_that_differ_are_told() {
        let pending = |running: &[&str], next: &[&str]| {
            let values = |all: &[&str]| all.iter().map(|value| (*value).to_owned()).collect();
            Pending::words(&[Pending::new("k".into(), values(running), values(next))]).concat()
        };
        assert_eq!(pending(&["a", "b", "c"], &["a", "c"]), "pending restart: k loses b");
        assert_eq!(pending(&["a", "c"], &["a", "b", "c"]), "pending restart: k gets b");
        assert_eq!(pending(&["a", "b"], &["a", "x"]), "pending restart: k: b -> x");
        assert_eq!(pending(&["a", "a"], &["a"]), "pending restart: k loses a");
        assert_eq!(pending(&["a", "b"], &["b", "a"]), "pending restart: the order of k");
    }

    #[test]
    fn an_interface_that_comes_or_goes_is_one_line() {
        let items = [("link", "br"), ("name", "internet"), ("script.up", "-- nci x"), ("type", "veth")];
        let mut all =
            items.map(|(item, value)| Pending::new(format!("lxc.net.1.{item}"), vec![], vec![value.into()]));
        assert_eq!(Pending::words(&all), ["pending restart: interface internet on br comes"]);
        for one in &mut all {
            std::mem::swap(&mut one.running, &mut one.next);
        }
        assert_eq!(Pending::words(&all), ["pending restart: interface internet goes"]);
        let policy = Pending::new("lxc.net.0.script.up".into(), vec!["one".into()], vec!["other".into()]);
        let wanted = ["pending restart: what the port of lxc.net.0 lets through"];
        assert_eq!(Pending::words(&[policy]), wanted);
    }
}
