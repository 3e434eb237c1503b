//! The worker's own mount namespace: the locked read-only sources, and no newuidmap.
//!
//! LXC sets `ro` on a bind inside the guest's user namespace, so guest root could take it off again; with an
//! idmapped store it would then write as host root. A mount that was read-only *before* the guest's namespace was
//! made has that flag locked by the kernel (mount_namespaces(7)): LXC's bind of it inherits the lock.

use std::fs::FileType;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ::nix::mount::{MsFlags, mount};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::OWN_PROGRAM;
use crate::render::LockedSource;
use crate::sys::userns::{Held, IdSpan};

/// A mount of the worker that failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum MountError {
    #[error("cannot {what} {}", .path.display())]
    Failed { what: &'static str, path: PathBuf, source: io::Error },
    /// The store cannot be mounted with the guest's ids: the kernel or its file system cannot.
    #[error("cannot give the mount of {} the guest's ids", .path.display())]
    Idmap { path: PathBuf, source: io::Error },
    /// The kernel has no overlays as they are needed, or none over what is idmapped.
    #[error("cannot show a part of the store: the kernel refuses the overlay")]
    Overlay { idmapped: bool, source: io::Error },
    #[error("{} was added to what the guest sees, and is not seen", .path.display())]
    Unseen { path: PathBuf },
    /// Of two changes of what the guest sees the later one counts.
    #[error("what the guest sees of the store has been changed by another operation since")]
    Late,
    #[error(
        "`{}` is {kind}, and in a folder that is shown with `idmap=container` guest root opens it as its owner does: take \
         it out of there, or leave `idmap=container` out of the `lxc.mount.entry`", .path.display()
    )]
    NoFile { kind: &'static str, path: PathBuf },
}

impl MountError {
    /// Where the kernel cannot show the store as it is to be seen: whether it may be possible without the guest's ids.
    pub(super) fn of_store(&self) -> Option<bool> {
        match self {
            Self::Idmap { .. } => Some(true),
            Self::Overlay { idmapped, .. } => Some(*idmapped),
            _ => None,
        }
    }
}

pub(super) fn failed<E: Into<io::Error>>(what: &'static str, path: &Path) -> impl FnOnce(E) -> MountError {
    move |source| MountError::Failed { what, path: path.to_owned(), source: source.into() }
}

pub(super) const NONE: Option<&str> = None;

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
        if source.only_files
            && let Some((kind, path)) =
                other_than_file(&place).map_err(failed("look through", &source.source))?
        {
            let below = path.strip_prefix(&place).unwrap_or(&path);
            let path =
                if below.as_os_str().is_empty() { source.source.clone() } else { source.source.join(below) };
            return Err(MountError::NoFile { kind, path });
        }
    }
    Ok(())
}

/// This program, to be mounted elsewhere. It is of the mount namespace that it was started in, so this comes before that is
/// left; `None` where it was started in yet another one.
pub(super) fn own_program() -> Option<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, OWN_PROGRAM, flags).ok()
}

/// Keeps this program at `place` for as long as the monitor lives, whose mounts these become: LXC runs it again when the guest
/// reboots, and by then its file may have been moved, replaced or removed. A mount costs no room, and is run where the
/// file itself was, also where everything of ours is mounted `noexec`.
pub(super) fn keep_program(own: Option<OwnedFd>, place: &Path) -> Result<(), MountError> {
    std::fs::File::create_new(place).map_err(failed("make", place))?;
    match own {
        Some(own) => move_mount(&own, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(failed("keep the program that sets ports at", place))?,
        None => {
            let program = std::fs::read_link(OWN_PROGRAM).map_err(failed("read", Path::new(OWN_PROGRAM)))?;
            mount(Some(&program), place, NONE, MsFlags::MS_BIND, NONE).map_err(failed("bind", &program))?;
        }
    }
    mount(NONE, place, NONE, MsFlags::MS_PRIVATE, NONE).map_err(failed("keep to itself", place))
}

/// Nothing is added any more; the guest's root can look through it, not into it.
pub(super) fn seal(folder: &Path) -> Result<(), MountError> {
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711)).map_err(failed("seal", folder))
}

/// Makes a user namespace and holds it in `folder`: there the monitor, whose mounts these become, finds it again when
/// the guest reboots; and it ends with the monitor.
pub(super) fn user_namespace(folder: &Path, ids: IdSpan) -> Result<PathBuf, MountError> {
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

/// The first at or below `place` that is opened for writing whether its mount is read-only or not. What is put there
/// later is not seen, but for devices, which the mount does not open.
fn other_than_file(place: &Path) -> io::Result<Option<(&'static str, PathBuf)>> {
    let kind = |kind: FileType| {
        let kinds = [
            (kind.is_socket(), "a socket"),
            (kind.is_fifo(), "a named pipe"),
            (kind.is_block_device() || kind.is_char_device(), "a device"),
        ];
        kinds.into_iter().find_map(|(is, name)| is.then_some(name))
    };
    let top = std::fs::symlink_metadata(place)?.file_type();
    if let Some(kind) = kind(top) {
        return Ok(Some((kind, place.to_owned())));
    }
    let mut folders = Vec::new();
    if top.is_dir() {
        folders.push(place.to_owned());
    }
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            let found = entry.file_type()?;
            if let Some(kind) = kind(found) {
                return Ok(Some((kind, entry.path())));
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(None)
}

/// Binds a folder without the mounts below it, read-only.
pub(super) fn bind_read_only(source: &Path, place: &Path) -> Result<(), MountError> {
    let source = LockedSource {
        source: source.to_owned(),
        name: String::new(),
        recursive: false,
        optional: false,
        only_files: false,
    };
    bind(&source, place)
}

/// Adds the flags of a locked source to a bind and keeps the others, which a remount would otherwise clear. Through the
/// read-only flag alone a device is opened for writing, and a set-uid file of the host's is one in the guest.
pub(super) fn read_only(mounted: &Path) -> Result<(), MountError> {
    use ::nix::sys::statvfs::{FsFlags, statvfs};
    let now = statvfs(mounted).map_err(failed("look at", mounted))?.flags();
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    flags |= MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    for (have, keep) in [
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
    if after.contains(FsFlags::ST_RDONLY | FsFlags::ST_NOSUID | FsFlags::ST_NODEV) {
        Ok(())
    } else {
        Err(failed("make read-only", mounted)(io::Error::other("the kernel left flags out")))
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
