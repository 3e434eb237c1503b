//! The worker's own mount namespace: the locked read-only sources, and no newuidmap.
//!
//! LXC sets `ro` on a bind inside the guest's user namespace, so guest root could take it off again; with an
//! idmapped store it would then write as host root. A mount that was read-only *before* the guest's namespace was
//! made has that flag locked by the kernel (mount_namespaces(7)): LXC's bind of it inherits the lock.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ::nix::mount::{MsFlags, mount};

use crate::lxc::userns::{Held, Ids};
use crate::render::LockedSource;

/// A mount of the worker that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", .path.display())]
pub(super) struct MountError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    move |source| MountError { what, path: path.to_owned(), source: source.into() }
}

const NONE: Option<&str> = None;

/// The place of the guest's user namespace beside the sources.
const USER_NAMESPACE: &str = "user-namespace";

/// Shows each source in `folder`, read-only. The caller's mount namespace is already private.
pub(super) fn lock(folder: &Path, sources: &[LockedSource]) -> Result<(), MountError> {
    // Mode 711: LXC looks the sources up as the guest's root, which owns nothing here.
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("locked"), folder, Some("tmpfs"), flags, Some("mode=711,size=64k"))
        .map_err(failed("mount a folder on", folder))?;
    for source in sources {
        let place = folder.join(&source.name);
        let metadata = match std::fs::metadata(&source.source) {
            Ok(metadata) => metadata,
            Err(error) if source.optional && error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("find the mount source", &source.source)(error)),
        };
        if metadata.is_dir() {
            std::fs::create_dir(&place).map_err(failed("make", &place))?;
        } else {
            std::fs::File::create_new(&place).map_err(failed("make", &place))?;
        }
        bind(source, &place)?;
    }
    Ok(())
}

/// Nothing is added any more; the guest's root can look through it, not into it.
pub(super) fn seal(folder: &Path) -> Result<(), MountError> {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).map_err(failed("seal", folder))
}

/// Makes a user namespace and holds it in `folder`: there the monitor, whose mounts these become, finds it again when
/// the guest reboots; and it ends with the monitor.
pub(super) fn user_namespace(folder: &Path, ids: Ids) -> Result<PathBuf, MountError> {
    let place = folder.join(USER_NAMESPACE);
    std::fs::File::create_new(&place).map_err(failed("make", &place))?;
    let held = Held::new(ids).map_err(failed("make the guest's user namespace for", &place))?;
    mount(Some(&held.path()), &place, NONE, MsFlags::MS_BIND, NONE)
        .map_err(failed("keep the guest's user namespace at", &place))?;
    Ok(place)
}

fn bind(source: &LockedSource, place: &Path) -> Result<(), MountError> {
    let recursive = if source.recursive { MsFlags::MS_REC } else { MsFlags::empty() };
    mount(Some(&source.source), place, NONE, MsFlags::MS_BIND | recursive, NONE)
        .map_err(failed("bind", &source.source))?;
    // Otherwise what the host mounts below the source later would appear here, writable.
    mount(NONE, place, NONE, MsFlags::MS_PRIVATE | MsFlags::MS_REC, NONE)
        .map_err(failed("keep to itself", place))?;
    let mut mounts = vec![place.to_owned()];
    if source.recursive {
        // A remount changes one mount; the ones that came along are named by mountinfo.
        mounts = crate::fs::mounts::at_or_below(place).map_err(failed("list the mounts of", place))?;
    }
    for mounted in mounts {
        read_only(&mounted)?;
    }
    Ok(())
}

/// Adds the read-only flag to a bind and keeps the others, which a remount would otherwise clear.
fn read_only(mounted: &Path) -> Result<(), MountError> {
    use ::nix::sys::statvfs::{FsFlags, statvfs};
    let now = statvfs(mounted).map_err(failed("look at", mounted))?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    for (have, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if now.contains(have) {
            flags |= keep;
        }
    }
    mount(NONE, mounted, NONE, flags, NONE).map_err(failed("make read-only", mounted))?;
    // The whole safety of the host stands on this flag: look, do not trust.
    let after = statvfs(mounted).map_err(failed("look at", mounted))?.flags();
    if after.contains(FsFlags::ST_RDONLY) {
        Ok(())
    } else {
        Err(failed("make read-only", mounted)(io::Error::other("the kernel left it writable")))
    }
}

/// Hides newuidmap and newgidmap: where they are on the PATH, LXC uses them even as root, and they refuse ranges
/// that `/etc/subuid` does not give to root.
pub(super) fn hide_id_helpers(path: &str) -> Result<(), MountError> {
    for folder in path.split(':') {
        for tool in ["newuidmap", "newgidmap"] {
            let tool = Path::new(folder).join(tool);
            if !tool.exists() {
                continue;
            }
            // A device without an execute bit is not "on the PATH", not even for root.
            mount(Some("/dev/null"), &tool, NONE, MsFlags::MS_BIND, NONE).map_err(failed("hide", &tool))?;
        }
    }
    Ok(())
}
