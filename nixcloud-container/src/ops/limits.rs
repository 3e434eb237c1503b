//! What a container may use: what its generation asks for, checked against this host, noted for each boot, and held in the
//! guest that runs.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::host::context::Context;
use crate::host::grants::granted;
use crate::model::config::Above;
use crate::model::name::ContainerName;
use crate::model::note::GuestNote;
use crate::model::overrides::Overrides;
use crate::model::resources::{Bytes, CgroupVersion, Limit, Unheld};
use crate::model::spec::ContainerSpec;
use crate::render::devices::{DENY, is_of_a_device, is_rule, is_usual};
use crate::render::limits;
use crate::store::record::{Record, Run};
use crate::sys::cgroup::{self, noted};
use crate::sys::proc::{self, Process};

/// The files of the most memory, on both versions.
const MEMORY: [&str; 2] = ["memory.max", "memory.limit_in_bytes"];

/// What it is held to, and what of it this host cannot hold.
pub(crate) fn of(
    host: &Host,
    spec: &ContainerSpec,
    overrides: Option<&Overrides>,
) -> Result<(Vec<Limit>, Vec<Unheld>), Error> {
    let resources = granted(host, spec, overrides)?.resources;
    Ok(limits::limits(&resources, &host.facts()?.controllers, &device))
}

/// Refuses what asks for more than this host's configuration gives to anyone. That is for what is new: what was there
/// before a ceiling was lowered is held to it when it comes back, and told of by [`require`].
pub(crate) fn refuse_above(
    host: &Host,
    name: &ContainerName,
    spec: &ContainerSpec,
    overrides: Option<&Overrides>,
) -> Result<(), Error> {
    refuse(name, granted(host, spec, overrides)?.above)
}

/// Refuses this, if it is anything.
pub(crate) fn refuse(name: &ContainerName, above: Vec<Above>) -> Result<(), Error> {
    if above.is_empty() { Ok(()) } else { Err(Error::LimitAbove { name: name.clone(), above }) }
}

/// What of that which somebody set counts for a generation: another one begins without it, unless it was to be kept.
pub(crate) fn overrides(record: &Record, is_another: bool) -> Option<&Overrides> {
    record.limits.as_ref().filter(|limits| limits.keep || !is_another)
}

/// The limits as items of an LXC configuration, for a boot.
pub(crate) fn items(host: &Host, limits: &[Limit]) -> Result<Vec<(String, String)>, Error> {
    Ok(limits::items(limits, &host.facts()?))
}

/// Refuses a generation with limits that this host cannot hold, or tells of them where its file says so.
pub(crate) fn require(
    context: &mut Context<'_>,
    name: &ContainerName,
    spec: &ContainerSpec,
    overrides: Option<&Overrides>,
) -> Result<Vec<Limit>, Error> {
    let (held, unheld) = of(context.host, spec, overrides)?;
    if spec.resources.required && !unheld.is_empty() {
        return Err(Error::LimitUnheld { name: name.clone(), unheld });
    }
    for limit in granted(context.host, spec, overrides)?.above {
        context.tell(GuestNote::LimitAbove { name: name.clone(), limit });
    }
    for limit in unheld {
        context.tell(GuestNote::LimitUnheld { name: name.clone(), limit });
    }
    Ok(held)
}

/// The whole block device of that path, by its numbers.
fn device(path: &str) -> Result<(u32, u32), String> {
    let meta = fs::metadata(path).map_err(|error| format!("{path}: {error}"))?;
    if !meta.file_type().is_block_device() {
        return Err(format!("{path} is no block device"));
    }
    let number = meta.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    if Path::new(&format!("/sys/dev/block/{major}:{minor}/partition")).exists() {
        return Err(format!("{path} is a partition: the kernel limits whole devices"));
    }
    Ok((major, minor))
}

/// Holds all guests together to what they leave to the host. A host that does not let us goes on: `host check` tells of it.
pub(crate) fn hold_together(host: &Host) {
    let most = cgroup::memory_of_host().and_then(|all| host.config.limits.reserve.leaves(all));
    if let Err(error) = cgroup::hold_together(most) {
        tracing::debug!(%error, ?most, "guests are not held together");
    }
}

/// Notes what the guest is held to from its next boot on.
pub(crate) fn note(host: &Host, name: &ContainerName, limits: &[Limit]) -> Result<(), Error> {
    Ok(noted::save(&host.layout.limits(name), limits)?)
}

/// Whether a limit may be set that the guest is beyond already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Below {
    /// No: the guest keeps what it has.
    Refuse,
    /// Yes: processes of the guest's are ended (v2), or the kernel refuses by itself (v1).
    Force,
}

/// Holds a running guest, whose init this is, to `limits`. Where one is refused, those that it had are put back.
pub(crate) fn change(
    host: &Host,
    name: &ContainerName,
    init: Process,
    limits: &[Limit],
    below: Below,
) -> Result<(), Error> {
    let path = host.layout.limits(name);
    // A note that cannot be read is of no boot of ours: then nothing is known to be taken away.
    let noted = noted::load(&path).map_err(FileError::at("read", &path))?;
    let (devices, before): (Vec<Limit>, Vec<Limit>) = noted.into_iter().partition(is_rule);
    let note = |host, name, limits: &[Limit]| note(host, name, &[limits, &devices].concat());
    let cgroups = cgroup::of(&[init]);
    require_room(name, &cgroups, limits, below, init)?;
    let is_over = |old: &&Limit| !limits.iter().any(|new| new.file == old.file && is_same_device(new, old));
    let over: Vec<Limit> = before.iter().filter(is_over).cloned().collect();
    // Until it is done the note has both: whoever goes on after a kill knows what may have to be taken away. Those that are
    // noted are held all the same, since who noted them may have been killed before.
    if !over.is_empty() {
        note(host, name, &[&over, limits].concat())?;
    }
    let taken = over.iter().map(|old| Limit { value: limits::cleared(old), ..old.clone() });
    if let Err((limit, source)) = hold_all(&cgroups, taken.chain(limits.iter().cloned()).collect()) {
        note(host, name, &before)?;
        // What cannot be put back is put back at the next boot.
        let _ = hold_all(&cgroups, before);
        return Err(refused(name, &cgroups, limit, source));
    }
    note(host, name, limits)
}

/// Opens these devices to a running guest, and shuts those that it had beside: rules of cgroup v1, which are held at each of
/// its boots, as limits are.
pub(crate) fn change_devices(
    host: &Host,
    name: &ContainerName,
    init: Option<Process>,
    devices: Vec<Limit>,
) -> Result<(), Error> {
    let path = host.layout.limits(name);
    let noted = noted::load(&path).map_err(FileError::at("read", &path))?;
    let (before, others): (Vec<Limit>, Vec<Limit>) = noted.into_iter().partition(is_of_a_device);
    note(host, name, &[others, devices.clone()].concat())?;
    let over = before
        .into_iter()
        .filter(|old| !is_usual(&old.value) && !devices.iter().any(|new| new.value == old.value));
    let shut: Vec<Limit> = over.map(|old| Limit { file: DENY.to_owned(), ..old }).collect();
    // Without one its next boot holds them.
    let Some(init) = init else { return Ok(()) };
    let cgroups = cgroup::of(&[init]);
    let refused = |(limit, source)| Error::LimitRefused { name: name.clone(), limit, source };
    hold_all(&cgroups, shut.into_iter().chain(devices).collect()).map_err(refused)
}

/// Memory that the kernel could not take back (v1 says that it is busy) is told with its figures.
fn refused(name: &ContainerName, cgroups: &[PathBuf], limit: Limit, source: io::Error) -> Error {
    let name = name.clone();
    let most = limit.value.parse().ok().filter(|_| MEMORY.contains(&limit.file.as_str()));
    match (most, cgroup::charged(cgroups)) {
        (Some(most), Some(used)) if source.kind() == io::ErrorKind::ResourceBusy => {
            Error::LimitBelowUse { name, most: Bytes(most), used: Bytes(used) }
        }
        _ => Error::LimitRefused { name, limit, source },
    }
}

/// Holds the guest, if it runs, to the limits of a generation that is put back.
pub(crate) fn restore(host: &Host, record: &Record, spec: &ContainerSpec) -> Result<(), Error> {
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    let run = Run::load(&host.layout, &record.name, &boot)?;
    match run.and_then(|run| run.init).filter(|init| init.is_alive()) {
        Some(init) => {
            change(host, &record.name, init, &of(host, spec, record.limits.as_ref())?.0, Below::Force)
        }
        None => Ok(()),
    }
}

fn is_same_device(new: &Limit, old: &Limit) -> bool {
    let device = |limit: &Limit| {
        let by_device = limit.file == "io.max" || limit.file.starts_with("blkio.throttle.");
        by_device.then(|| limit.value.split(' ').next().map(str::to_owned)).flatten()
    };
    device(new) == device(old)
}

/// The kernel refuses memory above what memory and swap have together, and the other way about: what it refuses is tried
/// again when the rest is there.
fn hold_all(cgroups: &[PathBuf], mut steps: Vec<Limit>) -> Result<(), (Limit, io::Error)> {
    loop {
        let (mut left, mut failure) = (Vec::new(), None);
        let count = steps.len();
        for limit in steps {
            if let Err(error) = cgroup::hold(cgroups, &limit) {
                left.push(limit.clone());
                failure.get_or_insert((limit, error));
            }
        }
        match failure {
            None => return Ok(()),
            Some(failure) if left.len() == count => return Err(failure),
            Some(_) => steps = left,
        }
    }
}

/// A guest that uses more memory than it is to have: what it can do without is asked back first.
/// Where that is not enough and it is asked for, its largest processes are ended.
fn require_room(
    name: &ContainerName,
    cgroups: &[PathBuf],
    limits: &[Limit],
    below: Below,
    init: Process,
) -> Result<(), Error> {
    let Some(limit) = limits.iter().find(|limit| MEMORY.contains(&limit.file.as_str())) else {
        return Ok(());
    };
    let Ok(most) = limit.value.parse::<u64>() else { return Ok(()) };
    let used = || cgroup::charged(cgroups).unwrap_or(0);
    if used() > most && limit.version == CgroupVersion::V2 {
        match below {
            Below::Refuse => cgroup::reclaim(cgroups, used() - most),
            Below::Force if cgroup::make_room(cgroups, init, most) => return Ok(()),
            Below::Force => {}
        }
    }
    // On v1 the kernel asks it back itself, and refuses where it does not get it.
    let used = used();
    if used > most && limit.version == CgroupVersion::V2 {
        return Err(Error::LimitBelowUse { name: name.clone(), most: Bytes(most), used: Bytes(used) });
    }
    Ok(())
}
