//! Containers that the shell original of this program made: found by its profile, its LXC folder and its state files
//! together, and read as one of ours.

mod bash;
mod built;

use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{CWD, Mode, OFlags};

pub use self::bash::BashError;
use self::built::Built;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::fs::lock::{self, Lock};
use crate::model::idmap::IdMapKind;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::spec::ContainerSpec;
use crate::nix::Profile;
use crate::nix::profile::Error as ProfileError;
use crate::store::record::{Adopted, Record, RecordPhase};

/// Its lists, in the state folder, each with the name of its array: the container of each leased address, the leased
/// address of each container, the fixed ones.
const LISTS: [(&str, &str); 3] = [("ip", "ips"), (NAMES.0, NAMES.1), (FIXED.0, FIXED.1)];
const NAMES: (&str, &str) = ("name", "names");
const FIXED: (&str, &str) = ("fixedIp", "fixedIps");

/// Its lock of these, which it leaves there.
const LOCK: &str = ".container.exclusivelock";

/// How long another process may hold that.
const LOCKED: Duration = Duration::from_secs(10);

/// In the LXC folder: the container files that it was created and updated from, the last one last.
const FILES: &str = "nixConfigPath";

/// No file of the original has more bytes.
const LARGEST: u64 = 16 << 20;

/// A container of the original that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginalError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// A list is not one.
    #[error("cannot understand {}", .path.display())]
    #[non_exhaustive]
    List {
        /// The file.
        path: PathBuf,
        /// The error that this one follows from.
        source: BashError,
    },
    /// Its bridge has a name that reaches no shell whole.
    #[error("{} names the bridge `{value}` of `{name}`", .path.display())]
    #[non_exhaustive]
    Bridge {
        /// The file.
        path: PathBuf,
        /// The container.
        name: ContainerName,
        /// The value that the file has.
        value: String,
    },
    /// What a list says of the container is no address.
    #[error("{} says that the address of `{name}` is `{value}`, which is none", .path.display())]
    #[non_exhaustive]
    Address {
        /// The file.
        path: PathBuf,
        /// The container.
        name: ContainerName,
        /// The value that the file has.
        value: String,
    },
    /// The ids of its configuration are not one range of our size.
    #[error("the ids of `{name}` are not 65536 from one number up, in {}", .path.display())]
    #[non_exhaustive]
    Ids {
        /// The container.
        name: ContainerName,
        /// The configuration.
        path: PathBuf,
    },
    /// The container's profile cannot be read.
    #[error("cannot read the generations")]
    Profile(#[from] ProfileError),
    /// The lists are locked.
    #[error("cannot lock the lists of the shell original")]
    Lock(#[source] lock::Error),
    /// A list cannot be written.
    #[error("cannot change the lists of the shell original")]
    Write(#[source] atomic::Error),
}

/// A regular file of root's, whole; `None` where there is none. Never more than [`LARGEST`] bytes, never through a link.
fn read(path: &Path) -> Result<Option<String>, OriginalError> {
    let failed = FileError::at("read", path);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(failed(errno.into()).into()),
    };
    let found = file.metadata().map_err(failed)?;
    // LXC gave the container's folder to the guest's root: what is in it counts only if root wrote it.
    if !found.is_file() || found.uid() != 0 {
        return Err(failed(io::Error::other("it is no regular file of root's")).into());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    // A list with odd bytes is refused where it is read; a configuration has none.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn list(layout: &Layout, (file, name): (&'static str, &'static str)) -> Result<bash::Array, OriginalError> {
    let path = layout.state().join(file);
    let text = read(&path)?.unwrap_or_default();
    bash::read(&text, name).map_err(|source| OriginalError::List { path, source })
}

/// Whether the original was ever here: where not, nothing need be looked at.
fn was_here(layout: &Layout) -> bool {
    [NAMES.0, FIXED.0].iter().any(|file| layout.state().join(file).exists())
}

/// Whether the original made this container of the LXC path, which has no record. All of it must be there: a profile
/// whose current generation is of its shape, an LXC configuration that is about that profile, and its state files.
pub(crate) fn made(layout: &Layout, name: &ContainerName) -> bool {
    if !was_here(layout) {
        return false;
    }
    let generation = layout.profile(name);
    let is_its = generation.join("container").exists()
        && generation.join("config").is_file()
        && !generation.join("spec.json").exists();
    if !is_its || !Profile::new(generation).is_ok_and(|profile| matches!(profile.current(), Ok(Some(_)))) {
        return false;
    }
    let Ok(Some(config)) = read(&layout.lxc_config(name)) else { return false };
    if !built::lines(&config).iter().any(|(key, value)| is_about(layout, name, key, value)) {
        return false;
    }
    let known = |which| match list(layout, which) {
        Ok(list) => list.contains_key(name.as_str()),
        // It may well be in it: whoever wants to change the container is told what is wrong.
        Err(_) => matches!(read(&layout.container_dir(name).join(FILES)), Ok(Some(_))),
    };
    known(NAMES) || known(FIXED)
}

/// Whether a line of an LXC configuration includes the one of this container's profile, or mounts its profile as the
/// original did.
fn is_about(layout: &Layout, name: &ContainerName, key: &str, value: &str) -> bool {
    let is_folder = |path: &Path| {
        path.file_name().is_some_and(|last| last == name.as_str())
            && path.canonicalize().is_ok_and(|path| path == layout.profile_dir(name))
    };
    match key {
        "lxc.include" => {
            let path = Path::new(value);
            path.ends_with("profile/config") && path.ancestors().nth(2).is_some_and(is_folder)
        }
        "lxc.mount.entry" => {
            let mut fields = value.split_ascii_whitespace();
            fields.next().is_some_and(|source| is_folder(Path::new(source))) && fields.next() == Some("init")
        }
        _ => false,
    }
}

/// The containers of the LXC path that the original made, those with a record left out, sorted.
pub(crate) fn names(layout: &Layout) -> Vec<ContainerName> {
    if !was_here(layout) {
        return Vec::new();
    }
    let entries = std::fs::read_dir(layout.lxc_path()).into_iter().flatten().flatten();
    let mut names: Vec<ContainerName> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|name| !layout.record(name).exists() && made(layout, name))
        .collect();
    names.sort();
    names
}

/// The leased and the fixed address that the lists say.
fn addresses(
    layout: &Layout,
    name: &ContainerName,
) -> Result<(Option<Ipv4Addr>, Option<Ipv4Addr>), OriginalError> {
    let of = |which: (&'static str, &'static str), read: &dyn Fn(&str) -> Option<Ipv4Addr>| {
        let list = list(layout, which)?;
        let Some(value) = list.get(name.as_str()) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| OriginalError::Address {
            path: layout.state().join(which.0),
            name: name.clone(),
            value: value.clone(),
        })
    };
    let leased = of(NAMES, &|value| {
        // A number within 10.101.0.0/16.
        let [high, low] = value.parse::<u16>().ok().filter(|n| (2..u16::MAX).contains(n))?.to_be_bytes();
        Some(Ipv4Addr::new(10, 101, high, low))
    })?;
    // Nix printed it with its quotes.
    let fixed = of(FIXED, &|value| value.trim_matches('"').parse().ok())?;
    Ok((leased, fixed))
}

/// What the configuration of a generation without a spec comes to; `None` where it has none either.
pub(crate) fn spec(
    layout: &Layout,
    name: &ContainerName,
    generation: &Path,
) -> Result<Option<ContainerSpec>, OriginalError> {
    Ok(read_built(layout, name, generation)?.map(|built| built.spec))
}

fn read_built(
    layout: &Layout,
    name: &ContainerName,
    generation: &Path,
) -> Result<Option<Built>, OriginalError> {
    let path = generation.join("config");
    // Links of the store, which root made.
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FileError::new("read", &path, source).into()),
    };
    let mut built = built::read(&text, None);
    if built.spec.effective.ip.is_none() && built.spec.network.bridge.is_none() {
        let (leased, fixed) = addresses(layout, name)?;
        built = built::read(&text, leased.or(fixed));
    }
    if let Some(value) = built.odd_bridge {
        return Err(OriginalError::Bridge { path, name: name.clone(), value });
    }
    Ok(Some(built))
}

/// The record of a container that the original made, put together from its files; `None` where it did not make it.
/// Nothing is written.
///
/// # Errors
/// When it did, but its files say what cannot be.
pub(crate) fn record(layout: &Layout, name: &ContainerName) -> Result<Option<Record>, OriginalError> {
    if !made(layout, name) {
        return Ok(None);
    }
    let (leased, fixed) = addresses(layout, name)?;
    let generation = layout.profile(name);
    let Some(built) = read_built(layout, name, &generation)? else { return Ok(None) };
    let Some(ids) = built.ids else {
        return Err(OriginalError::Ids { name: name.clone(), path: generation.join("config") });
    };
    let file = read(&layout.container_dir(name).join(FILES))?.unwrap_or_default();
    let file = file.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    let mut record = Record::new(name.clone(), PathBuf::from(file), Vec::new());
    record.phase = RecordPhase::Ready;
    record.adopted = Some(Adopted::Begun);
    record.created = Profile::new(generation)?
        .generations()?
        .first()
        .map_or(Timestamp::UNIX_EPOCH, |generation| generation.created);
    record.lease = leased;
    record.fixed =
        fixed.into_iter().chain(built.spec.effective.ip).filter(|ip| leased != Some(*ip)).collect();
    record.fixed.dedup();
    record.ids = Some(ids);
    record.idmap = IdMapKind::Shared;
    Ok(Some(record))
}

/// What somebody added to the LXC configuration that `lxc-create` wrote, as lines of `lxcExtraConfig`.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn added(layout: &Layout, name: &ContainerName) -> Result<String, OriginalError> {
    let text = read(&layout.lxc_config(name))?.unwrap_or_default();
    Ok(built::read(&text, None).spec.lxc_extra_config)
}

/// Takes a container that is destroyed out of the lists. With the last one the lists go. A list that cannot be understood
/// is left as it is.
///
/// # Errors
/// When they cannot be locked or written.
pub(crate) fn forget(layout: &Layout, name: &ContainerName) -> Result<(), OriginalError> {
    if !was_here(layout) {
        return Ok(());
    }
    // The original takes this very lock.
    let _lock = Lock::acquire(&*layout.state().join(LOCK), LOCKED, &|| false).map_err(OriginalError::Lock)?;
    let mut empty = true;
    for (file, array) in LISTS {
        let Ok(mut list) = list(layout, (file, array)) else {
            empty = false;
            continue;
        };
        let before = list.len();
        if array == LISTS[0].1 {
            list.retain(|_, owner| owner != name.as_str());
        } else {
            list.remove(name.as_str());
        }
        if list.len() != before {
            let text = bash::write(&list, array);
            atomic::write(&layout.state().join(file), text.as_bytes(), 0o644, Durability::Synced)
                .map_err(OriginalError::Write)?;
        }
        // The names of containers that are gone keep nothing.
        empty &= !list.iter().any(|(key, value)| {
            let name = if array == LISTS[0].1 { value } else { key };
            name.parse().is_ok_and(|name: ContainerName| layout.container_dir(&name).exists())
        });
    }
    if empty {
        for (file, _) in LISTS {
            let path = layout.state().join(file);
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(FileError::new("remove", &path, source).into());
                }
                _ => {}
            }
        }
    }
    Ok(())
}
