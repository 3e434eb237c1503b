//! Devices of the host in a guest: what its generation asks for, checked against this host, and kept current while it runs.
//!
//! ```text
//! require   before a generation counts, at a start    what this host lacks, or does not give, is refused or told
//! add       before an activation                      the guest has the devices of both generations
//! settle    at the end, and in recovery               it has those of the current one
//! ```

use std::path::Path;
use std::time::Duration;

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::devices::{Device, DeviceFault, DeviceNode, pattern, wrong_path};
use crate::model::idmap::IdMap;
use crate::model::name::ContainerName;
use crate::model::note::GuestNote;
use crate::model::observe::Cancel;
use crate::model::resources::{CgroupVersion, Limit};
use crate::model::spec::ContainerSpec;
use crate::ops::limits;
use crate::render::devices as rules;
use crate::render::{self, PendingRestart, Rendered, matches};
use crate::store::presence::{self, PresenceError};
use crate::store::record::{GuestDevices, Record, Run};
use crate::sys::device::{HostDevice, Judgement, Terminals, in_folder};
use crate::sys::proc;
use crate::worker::{Answer, Request, Stdio, Target, WorkerError};

/// How long a guest may keep its `/dev` from being looked at.
const LOOK: Duration = Duration::from_secs(10);

/// The nodes that a guest of this generation gets on this host as it is now, and which keys get none, and why.
pub(crate) fn of(host: &Host, spec: &ContainerSpec) -> (Vec<DeviceNode>, Vec<(String, DeviceFault)>) {
    let (mut nodes, mut faults) = (Vec::<DeviceNode>::new(), Vec::new());
    if spec.devices.is_empty() {
        return (nodes, faults);
    }
    let terminals = Terminals::now();
    for (key, device) in &spec.devices {
        let found = find(key, device).and_then(|found| {
            let nodes = found.into_iter().map(|(named, path, found)| {
                let allowed =
                    |path: &str| host.config.allow_devices.iter().any(|pattern| matches(pattern, path));
                match found.judge(&terminals) {
                    Judgement::Free => {}
                    Judgement::Named if allowed(&named) || found.path.to_str().is_some_and(allowed) => {}
                    Judgement::Named => return Err(DeviceFault::NotAllowed),
                    Judgement::Never => return Err(DeviceFault::Never),
                }
                if wrong_path(&path, true).is_some() {
                    return Err(DeviceFault::Taken);
                }
                Ok(DeviceNode {
                    key: key.clone(),
                    path,
                    block: found.block,
                    major: found.major,
                    minor: found.minor,
                    owner: device.owner,
                    group: device.group,
                    mode: device.mode.unwrap_or(found.usual_mode()),
                    host: found.path,
                })
            });
            nodes.collect::<Result<Vec<_>, _>>()
        });
        match found {
            Ok(found)
                if found.iter().any(|new| nodes.iter().any(|node| in_the_way(&node.path, &new.path))) =>
            {
                faults.push((key.clone(), DeviceFault::Twice));
            }
            Ok(found) => nodes.extend(found),
            Err(fault) => faults.push((key.clone(), fault)),
        }
    }
    (nodes, faults)
}

/// Whether one is the other's place, or would have to be its folder.
fn in_the_way(one: &str, other: &str) -> bool {
    Path::new(one).starts_with(other) || Path::new(other).starts_with(one)
}

/// What a key stands for: each device by its name on the host, its path in the guest, and what it is.
fn find(key: &str, device: &Device) -> Result<Vec<(String, String, HostDevice)>, DeviceFault> {
    let of_folder = |folder: &str, start: &str, inside: &str| {
        let names = in_folder(Path::new(folder), start).map_err(|_| DeviceFault::Missing)?;
        if names.is_empty() {
            return Err(DeviceFault::Missing);
        }
        let one = |name: String| {
            let path = format!("{folder}/{name}");
            HostDevice::at(Path::new(&path)).map(|found| (path, format!("{inside}/{name}"), found))
        };
        names.into_iter().map(one).collect()
    };
    if let Some((folder, start)) = pattern(key) {
        return of_folder(folder, start, device.path.as_deref().unwrap_or(folder));
    }
    let inside = device.path.as_deref().unwrap_or(key);
    if Path::new(key).is_dir() {
        return of_folder(key, "", inside);
    }
    HostDevice::at(Path::new(key)).map(|found| vec![(key.to_owned(), inside.to_owned(), found)])
}

/// Refuses a generation with devices that this host does not have or give, or tells of them where its file says so.
pub(crate) fn require(
    context: &mut Context<'_>,
    name: &ContainerName,
    spec: &ContainerSpec,
) -> Result<Vec<DeviceNode>, Error> {
    let (nodes, faults) = of(context.host, spec);
    for (device, why) in faults {
        let is_required = spec.devices.get(&device).is_none_or(|device| device.required);
        let name = name.clone();
        if is_required || why != DeviceFault::Missing {
            return Err(Error::Device { name, device, why });
        }
        context.tell(GuestNote::NoDevice { name, device });
    }
    Ok(nodes)
}

/// What a boot needs for its devices.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    /// The nodes.
    pub(crate) nodes: Vec<DeviceNode>,
    /// What is noted of them.
    pub(crate) noted: Option<GuestDevices>,
    /// Items for that boot.
    pub(crate) items: Vec<(String, String)>,
    /// What the guest's later boots are held to, too.
    pub(crate) limits: Vec<Limit>,
}

/// Prepares a boot with these items beside ours.
pub(crate) fn boot(
    context: &mut Context<'_>,
    name: &ContainerName,
    spec: &ContainerSpec,
    others: &[(String, String)],
) -> Result<Boot, Error> {
    let nodes = require(context, name, spec)?;
    if others.iter().any(|(key, _)| key == rules::TABLE_KEY) {
        return match nodes.first() {
            None => Ok(Boot::default()),
            Some(node) => {
                let device = node.key.clone();
                Err(Error::Device { name: name.clone(), device, why: DeviceFault::OwnTable })
            }
        };
    }
    let host = context.host;
    let table = host.layout.locked(name).join(rules::TABLE);
    let mut boot =
        Boot { items: vec![(rules::TABLE_KEY.to_owned(), table.display().to_string())], ..Boot::default() };
    let version = host.facts()?.controllers.devices;
    // On v1 the program that sets the guest's ports holds them, which is there with isolation alone.
    let holds = !nodes.is_empty() && (version == Some(CgroupVersion::V2) || host.config.network.isolation);
    let version = version.filter(|_| holds && !rules::has_own(others));
    match version {
        Some(CgroupVersion::V1) => boot.limits = [rules::base(), rules::limits(&nodes)].concat(),
        Some(CgroupVersion::V2) => boot.items.extend(rules::rules(&nodes)),
        None => {}
    }
    boot.noted =
        Some(GuestDevices { rules: version.is_some(), nodes: nodes.clone(), ..GuestDevices::default() });
    boot.nodes = nodes;
    Ok(boot)
}

/// Gives a running guest the devices of a generation beside those that it has.
pub(crate) fn add(context: &mut Context<'_>, record: &Record, spec: &ContainerSpec) -> Result<(), Error> {
    let Some((run, before)) = noted(context.host, record)? else { return Ok(()) };
    let (mut nodes, _) = of(context.host, spec);
    nodes.extend(beside(&before.nodes, &nodes));
    // The guest may have cleared the way since.
    let before = GuestDevices { unsure: before.unsure || !before.waiting.is_empty(), ..before };
    change(context, record, &run, &before, nodes)
}

/// Takes from a running guest what its current generation does not ask for, and what the host gives no more. A device that the host
/// has no more stays what it is.
pub(crate) fn settle(context: &mut Context<'_>, record: &Record, spec: &ContainerSpec) -> Result<(), Error> {
    let Some((run, before)) = noted(context.host, record)? else { return Ok(()) };
    let (mut nodes, faults) = of(context.host, spec);
    let lost =
        |node: &DeviceNode| faults.iter().any(|(key, why)| *key == node.key && *why == DeviceFault::Missing);
    let stay: Vec<DeviceNode> = before.nodes.iter().filter(|node| lost(node)).cloned().collect();
    nodes.extend(beside(&stay, &nodes));
    change(context, record, &run, &before, nodes)
}

/// Those of `nodes` in whose place none of `others` is.
fn beside(nodes: &[DeviceNode], others: &[DeviceNode]) -> Vec<DeviceNode> {
    let free = |node: &&DeviceNode| !others.iter().any(|other| other.path == node.path);
    nodes.iter().filter(free).cloned().collect()
}

/// What is noted of a guest in this boot of the host.
pub(crate) fn noted_run(host: &Host, name: &ContainerName) -> Result<Option<Run>, Error> {
    let boot = proc::boot_id().map_err(PresenceError::Proc)?;
    Ok(Run::load(&host.layout, name, &boot)?)
}

/// The same of one that runs and whose devices can be changed.
fn noted(host: &Host, record: &Record) -> Result<Option<(Run, GuestDevices)>, Error> {
    let run = noted_run(host, &record.name)?.filter(Run::lives);
    Ok(run.and_then(|run| {
        let devices = run.devices.clone()?;
        Some((run, devices))
    }))
}

/// Gives a running guest these devices and no others.
fn change(
    context: &mut Context<'_>,
    record: &Record,
    run: &Run,
    before: &GuestDevices,
    mut nodes: Vec<DeviceNode>,
) -> Result<(), Error> {
    let (host, name) = (context.host, &record.name);
    nodes.sort_by(|a, b| a.path.cmp(&b.path));
    let had = [&before.nodes[..], &before.waiting].concat();
    let is_same = nodes.len() == had.len() && nodes.iter().all(|node| had.contains(node));
    if is_same && !before.unsure {
        return Ok(());
    }
    let here = presence::look(&host.layout, record)?;
    // It may be between two boots.
    let Some(monitor) = here.monitor.or(run.monitor).filter(|monitor| monitor.is_alive()) else {
        return Ok(());
    };
    let init = here.init.filter(|init| init.is_staying());
    let note = |unsure, nodes, waiting| {
        let devices = Some(GuestDevices { unsure, rules: before.rules, nodes, waiting });
        Run { devices, ..run.clone() }.save(&host.layout, name)
    };
    // Whoever goes on after a kill knows what it may have.
    note(true, [&beside(&had, &nodes)[..], &nodes].concat(), Vec::new())?;
    let version = host.facts()?.controllers.devices;
    if version == Some(CgroupVersion::V1) && before.rules {
        limits::change_devices(host, name, init, rules::limits(&nodes))?;
    }
    let lxcs = if version == Some(CgroupVersion::V2) && before.rules {
        changed_rules(&had, &nodes)
    } else {
        Vec::new()
    };
    let ask = |init| {
        let request = Request::ShowDevices {
            caller: std::process::id(),
            target: Target::of(&host.layout, name),
            init,
            root: record.ids.map_or(0, IdMap::base),
            monitor,
            locked: host.layout.locked(name),
            devices: nodes.clone(),
            rules: lxcs.clone(),
        };
        // Not to be cancelled: it takes milliseconds, unless the guest does its worst.
        host.worker.call(&request, Stdio::Null, Some(LOOK), &Cancel::new())
    };
    let answer = match ask(init) {
        // It has ended since, and may boot again.
        Err(_) if init.is_some_and(|init| !init.is_alive()) && monitor.is_alive() => ask(None),
        answer => answer,
    };
    // Whether what is to go may be there still.
    let mut is_cut_off = false;
    let left = match answer {
        Ok(Answer::DevicesShown { left }) => left,
        Ok(other) => return Err(other.unexpected().into()),
        Err(WorkerError::Deadline { .. }) => {
            is_cut_off = true;
            let why = "the guest does not let its /dev be looked at".to_owned();
            (0..nodes.len()).map(|number| (number, why.clone())).collect()
        }
        // Its next start begins anew.
        Err(failure) if !monitor.is_alive() => {
            tracing::debug!(%name, %failure, "the guest has ended while its devices were changed");
            return Ok(());
        }
        Err(failure) => return Err(failure.into()),
    };
    let (mut shown, mut waiting) = (Vec::new(), Vec::new());
    for (number, node) in nodes.into_iter().enumerate() {
        match left.iter().find(|(of, _)| *of == number) {
            None => shown.push(node),
            Some((_, why)) => {
                let (name, path, why) = (name.clone(), node.path.clone(), why.clone());
                context.tell(GuestNote::DeviceWaits { name, path, why });
                waiting.push(node);
            }
        }
    }
    if is_cut_off {
        shown.extend(beside(&had, &waiting));
    }
    note(is_cut_off, shown, waiting)?;
    Ok(())
}

/// What LXC has to change in the rules of cgroup v2.
fn changed_rules(before: &[DeviceNode], after: &[DeviceNode]) -> Vec<(String, String)> {
    let beyond = |these: &[DeviceNode], those: &[DeviceNode], file: &str| -> Vec<(String, String)> {
        let new = these.iter().filter(|one| !those.iter().any(|other| other.rule() == one.rule()));
        new.map(|one| (file.to_owned(), one.rule())).collect()
    };
    // Also those that it should have by now: the change may have been cut off there.
    let mut all: Vec<_> = after.iter().map(|node| (rules::ALLOW.to_owned(), node.rule())).collect();
    all.extend(beyond(before, after, rules::DENY).into_iter().filter(|(_, rule)| !rules::is_usual(rule)));
    all
}

/// As [`all_pending`], once the guest has been given the devices of `spec`.
pub(crate) fn foreseen_pending(
    host: &Host,
    run: &Run,
    rendered: &Rendered,
    spec: &ContainerSpec,
) -> Vec<PendingRestart> {
    let mut run = run.clone();
    if let Some(devices) = &mut run.devices {
        let waits = |node: &DeviceNode| devices.waiting.contains(node);
        devices.nodes = of(host, spec).0.into_iter().filter(|node| !waits(node)).collect();
    }
    all_pending(host, &run, rendered, spec)
}

/// What differs between what a guest was booted with, or has been given since, and what it would boot with.
pub(crate) fn all_pending(
    host: &Host,
    run: &Run,
    rendered: &Rendered,
    spec: &ContainerSpec,
) -> Vec<PendingRestart> {
    let mut all = run.pending_restart(spec.store_view(host.config.store), rendered);
    all.extend(pending(host, run, spec));
    all.sort_by(|a, b| a.key.cmp(&b.key));
    all
}

/// What of a running guest's devices waits for a restart: what it is itself in the way of, or all where it was booted without a
/// table of them.
fn pending(host: &Host, run: &Run, spec: &ContainerSpec) -> Vec<PendingRestart> {
    let has = run.devices.as_ref().map(|devices| &devices.nodes[..]).unwrap_or_default();
    if spec.devices.is_empty() && has.is_empty() {
        return Vec::new();
    }
    let (next, faults) = of(host, spec);
    let lost = |key: &str| faults.iter().any(|(of, _)| of == key);
    let item = |node: &DeviceNode| (format!("devices.{:?}", node.key), node.to_string());
    let running: Vec<_> = has.iter().filter(|node| !lost(&node.key)).map(item).collect();
    let next: Vec<_> = next.iter().map(item).collect();
    let view = spec.store_view(host.config.store);
    render::compare((view, &running), (view, &next))
}
