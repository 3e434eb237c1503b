//! Looking at containers: list, state, addresses, generations. Nothing here changes anything.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use jiff::Timestamp;

use crate::error::Error;
use crate::fs::usage;
use crate::host::Host;
use crate::model::devices::DeviceNode;
use crate::model::generation::{Generation, GenerationId};
use crate::model::idmap::IdMap;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Data};
use crate::model::resources::Usage;
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::model::state::State;
use crate::net::{Netlink, netns};
use crate::ops::addresses::is_reachable;
use crate::ops::booting;
use crate::ops::devices;
use crate::ops::lxc_config;
use crate::render::{self, PendingRestart};
use crate::store::history::Generations;
use crate::store::legacy;
use crate::store::others;
use crate::store::presence::{self, Presence, Survey};
use crate::store::record::{Record, Run};
use crate::store::salvage;
use crate::sys::cgroup;
use crate::sys::proc::{self, Process};

/// What is known of one container.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The container's name.
    pub name: ContainerName,
    /// The state of the container, as far as the whole host knows.
    pub state: State,
    /// Whether it is running and has not finished booting: its activation still runs.
    pub booting: bool,
    /// Its address: fixed or leased. `None` where its bridge gives it one.
    pub address: Option<Ipv4Addr>,
    /// The generation that boots at the next start.
    pub generation: Option<GenerationId>,
    /// The generation that an operation is switching to, or was when it was cut off: it has not proved itself, and
    /// [`generation`](Self::generation) is put back by the next change or start.
    pub unproved: Option<GenerationId>,
    /// The generation that the running guest was booted from.
    pub booted: Option<GenerationId>,
    /// Whether it starts with the host.
    pub autostart: bool,
    /// The container's ids on the host.
    pub ids: Option<IdMap>,
    /// The memory that the running guest needs, in bytes: without the page cache that has not been used for a while.
    pub memory: Option<u64>,
    /// The swap space that it is charged with, in bytes.
    pub swap: Option<u64>,
    /// What the running guest uses and may use, when one container is looked at; a list goes without.
    pub usage: Option<Usage>,
    /// Its init, in the host's pid namespace, when it runs.
    pub init_pid: Option<i32>,
    /// When the running guest was started.
    pub started: Option<Timestamp>,
    /// When it was created.
    pub created: Timestamp,
    /// The container file last used.
    pub file: PathBuf,
    /// The arguments for Nix that go with it.
    pub nix_args: Vec<String>,
    /// Whether somebody chose its generation: an update of all containers leaves it.
    pub pinned: bool,
    /// What declares it: the set that was applied, or a manifest. `None` where it was created by hand.
    pub declared: Option<String>,
    /// The LXC configuration items that it has beside those of its file, see
    /// [`CreateRequest`](crate::CreateRequest::lxc_items).
    pub lxc_items: Vec<(String, String)>,
    /// Its groups (`lxc.group`): those of the running guest, else those of the next boot.
    pub groups: Vec<String>,
    /// The profile of AppArmor that the running guest's init is confined by, with its mode, as the kernel says it, when one
    /// container is looked at. `None` where the kernel has no AppArmor.
    pub apparmor: Option<String>,
    /// The devices of the host that the running guest has. A status that was stored before there were any has none.
    #[serde(default)]
    pub devices: Vec<DeviceNode>,
    /// What of LXC's side waits for a restart.
    pub pending_restart: Vec<PendingRestart>,
}

setters!(Status: "One that has no generation yet." (name: ContainerName, state: State, created: Timestamp, file: PathBuf) {
    with_booting => booting: bool,
    with_address => address: Option<Ipv4Addr>,
    with_generation => generation: Option<GenerationId>,
    with_unproved => unproved: Option<GenerationId>,
    with_booted => booted: Option<GenerationId>,
    with_autostart => autostart: bool,
    with_ids => ids: Option<IdMap>,
    with_memory => memory: Option<u64>,
    with_swap => swap: Option<u64>,
    with_usage => usage: Option<Usage>,
    with_init_pid => init_pid: Option<i32>,
    with_started => started: Option<Timestamp>,
    with_nix_args => nix_args: Vec<String>,
    with_pinned => pinned: bool,
    with_declared => declared: Option<String>,
    with_lxc_items => lxc_items: Vec<(String, String)>,
    with_groups => groups: Vec<String>,
    with_apparmor => apparmor: Option<String>,
    with_devices => devices: Vec<DeviceNode>,
    with_pending_restart => pending_restart: Vec<PendingRestart>,
});

/// A container in a list: one of ours, one that cannot be read, or somebody else's.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Listed {
    /// One of ours.
    Container(Box<Status>),
    /// One of ours about which something cannot be read. It does not hide the others.
    #[non_exhaustive]
    Broken {
        /// The container's name.
        name: ContainerName,
        /// The error of reading it.
        error: Error,
    },
    /// An LXC container that nixcloud-container did not make.
    #[non_exhaustive]
    Foreign {
        /// The container's name.
        name: String,
    },
}

impl Listed {
    /// One of ours about which something cannot be read.
    #[must_use]
    pub fn broken(name: ContainerName, error: Error) -> Self {
        Self::Broken { name, error }
    }

    /// An LXC container that nixcloud-container did not make.
    #[must_use]
    pub fn foreign(name: impl Into<String>) -> Self {
        Self::Foreign { name: name.into() }
    }

    /// The name, whatever it is.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Container(status) => status.name.as_str(),
            Self::Broken { name, .. } => name.as_str(),
            Self::Foreign { name } => name,
        }
    }
}

/// So many are looked at by one thread: fewer are sooner done than another is started.
const AT_ONCE: usize = 64;

pub(crate) fn list(host: &Host) -> Result<Vec<Listed>, Error> {
    let mut survey = Survey::new(&host.layout)?;
    let foreign = others::containers(&host.layout)?;
    let names = host.names()?;
    survey.ask(&host.layout, names.iter().map(ContainerName::as_str));
    let is_ours = |name: &String| names.binary_search_by(|ours| ours.as_str().cmp(name)).is_ok();
    let foreign = foreign.into_iter().filter(|name| !is_ours(name));
    let foreign: Vec<Listed> = foreign.map(|name| foreign_or_lost(host, name)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = names.len().div_ceil(threads).max(AT_ONCE);
    let mut list = std::thread::scope(|scope| {
        let mut shares = names.chunks(share);
        let first = shares.next();
        let look = |names| listed(host, &survey, names);
        let others: Vec<_> = shares
            .map(|names| (names, std::thread::Builder::new().spawn_scoped(scope, move || look(names))))
            .collect();
        let mut list = first.map(look).unwrap_or_default();
        for (names, other) in others {
            // Where there is no room for another thread it takes longer.
            match other.map_or_else(|_| Ok(look(names)), std::thread::ScopedJoinHandle::join) {
                Ok(more) => list.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        list
    });
    list.extend(foreign);
    list.sort_by(|a, b| a.name().cmp(b.name()));
    Ok(list)
}

/// A container without a record: somebody else's, or one of ours that has lost it.
fn foreign_or_lost(host: &Host, name: String) -> Listed {
    match name.parse::<ContainerName>() {
        Ok(ours) if salvage::is_ours(&host.layout, &ours) => {
            Listed::Broken { error: host.lost_record(&ours), name: ours }
        }
        _ => Listed::Foreign { name },
    }
}

fn listed(host: &Host, survey: &Survey, names: &[ContainerName]) -> Vec<Listed> {
    let looked = names.iter().filter_map(|name| {
        let status = host.record(name).and_then(|record| {
            let here = presence::look_in(survey, &host.layout, &record)?;
            status_of(host, record, &here)
        });
        match status {
            Ok(status) => Some(Listed::Container(Box::new(status))),
            // Destroyed since the folder was read.
            Err(Error::NotFound { .. }) => None,
            Err(error) => Some(Listed::Broken { name: name.clone(), error }),
        }
    });
    looked.collect()
}

pub(crate) fn status(host: &Host, name: &ContainerName) -> Result<Status, Error> {
    let record = host.record(name)?;
    let here = presence::look_on(&host.layout, &record)?;
    let usage = here.init.map(|init| cgroup::usage(&cgroup::of(&[init])));
    let apparmor = here.init.and_then(Process::apparmor);
    Ok(Status { usage, apparmor, ..status_of(host, record, &here)? })
}

fn status_of(host: &Host, record: Record, here: &Presence) -> Result<Status, Error> {
    let name = &record.name;
    let generations = Generations::new(&host.layout, name);
    let (current, unproved) = generations.counting(&record).unwrap_or_default();
    let spec = current.and_then(|id| generations.spec(id).ok());
    // What cannot be rendered any more is told at the next start; it does not hide the container.
    let pending_restart = match (&here.run, &spec) {
        (Some(run), Some(spec)) => lxc_config::rendered(host, &record, spec)
            .map(|next| devices::all_pending(host, run, &next, spec))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let groups = match (&here.run, &spec) {
        (Some(run), _) => run.notes.groups.clone(),
        (None, Some(spec)) => render::next_groups(spec, &record.lxc_items, &host.config),
        (None, None) => Vec::new(),
    };
    Ok(Status {
        name: record.name.clone(),
        state: here.state,
        booting: here.state == State::Running
            && here.init.is_some_and(|init| booting::is_booting(host, init)),
        address: address(&record, spec.as_ref()),
        generation: current,
        unproved,
        booted: here.booted(),
        autostart: spec.as_ref().is_some_and(|spec| spec.autostart.enable),
        ids: record.ids,
        memory: here.run.as_ref().and_then(|run| cgroup::memory_of(&run.cgroups)),
        swap: here.run.as_ref().and_then(|run| cgroup::swap_of(&run.cgroups)),
        usage: None,
        init_pid: here.init.map(|init| init.pid),
        started: here.run.as_ref().map(|run| run.started),
        created: record.created,
        file: record.file,
        nix_args: record.nix_args,
        pinned: record.pinned,
        declared: record.declared.map(|declared| declared.source),
        lxc_items: record.lxc_items,
        groups,
        apparmor: None,
        devices: here
            .run
            .as_ref()
            .and_then(|run| run.devices.clone())
            .map(|devices| devices.nodes)
            .unwrap_or_default(),
        pending_restart,
    })
}

/// What it keeps, as far as that can be looked at.
pub(crate) fn data(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<Data, Error> {
    // Whatever is the matter with its record.
    if host.names()?.binary_search(name).is_err() {
        return Err(Error::NotFound { name: name.clone() });
    }
    Ok(data_of(host, name, cancel))
}

pub(crate) fn data_of(host: &Host, name: &ContainerName, cancel: &Cancel) -> Data {
    let found = usage::of(&host.layout.rootfs(name), &|| cancel.is_cancelled());
    Data { files: found.files, bytes: found.bytes }
}

fn address(record: &Record, spec: Option<&ContainerSpec>) -> Option<Ipv4Addr> {
    match spec {
        Some(spec) => spec.effective.ip,
        None => record.fixed.first().copied().or(record.lease),
    }
}

/// What was noted at its last start, as long as that guest lives. Nobody is asked.
fn noted(host: &Host, name: &ContainerName) -> Option<Run> {
    let run = Run::load(&host.layout, name, &proc::boot_id().ok()?).ok()??;
    run.init.is_some_and(Process::is_alive).then_some(run)
}

pub(crate) fn seems_to_run(host: &Host, name: &ContainerName) -> bool {
    noted(host, name).is_some()
}

pub(crate) fn noted_generations(host: &Host, name: &ContainerName) -> Result<Vec<Generation>, Error> {
    let record = host.record(name)?;
    let booted = noted(host, name).and_then(|run| run.generation);
    Ok(Generations::new(&host.layout, name).list(&record, booted)?)
}

pub(crate) fn state(host: &Host, name: &ContainerName) -> Result<State, Error> {
    let record = host.record(name)?;
    Ok(presence::look_on(&host.layout, &record)?.state)
}

pub(crate) fn exists(host: &Host, name: &ContainerName) -> Result<bool, Error> {
    let layout = &host.layout;
    Ok(Record::load(layout, name)?.is_some() || legacy::made(layout, name) || salvage::is_ours(layout, name))
}

/// The address that is its own; where its bridge gives it one, those that the running guest has.
pub(crate) fn addresses(host: &Host, name: &ContainerName) -> Result<Vec<IpAddr>, Error> {
    let record = host.record(name)?;
    let generations = Generations::new(&host.layout, name);
    let spec = generations.current().and_then(|id| generations.spec(id)).ok();
    if let Some(address) = address(&record, spec.as_ref()) {
        return Ok(vec![address.into()]);
    }
    let found = addresses_inside(host, &record)?;
    Ok(found.into_iter().map(|(_, address)| address).filter(|address| is_reachable(*address)).collect())
}

/// What the running guest's interfaces have, without the loopback and link-local ones.
pub(crate) fn interfaces(host: &Host, name: &ContainerName) -> Result<Vec<(String, IpAddr)>, Error> {
    let record = host.record(name)?;
    let mut found = addresses_inside(host, &record)?;
    found.retain(|(_, address)| is_reachable(*address));
    Ok(found)
}

fn addresses_inside(host: &Host, record: &Record) -> Result<Vec<(String, IpAddr)>, Error> {
    let Some(init) = presence::look(&host.layout, record)?.init else { return Ok(Vec::new()) };
    let found = netns::addresses_of_netns_of(&mut Netlink::open()?, init.pid.unsigned_abs())?;
    Ok(found.into_iter().map(|(interface, address)| (interface, address.ip())).collect())
}

pub(crate) fn generations(host: &Host, name: &ContainerName) -> Result<Vec<Generation>, Error> {
    let record = host.record(name)?;
    let here = presence::look(&host.layout, &record)?;
    Ok(Generations::new(&host.layout, name).list(&record, here.booted())?)
}
