//! A store that has in it what is needed alone: one mount for a guest, whatever the number of paths.
//!
//! It is an overlay of two layers. The lower one is the host's store. The upper one is a tmpfs of ours with a folder `shown`,
//! in which each path that is to be seen stands as an empty folder (or file) with a note of the kernel's,
//! `trusted.overlay.redirect`: what is in it is found by that name in the lower layer. The guest gets `shown` of the overlay
//! and nothing above it:
//!
//! ```text
//! LXCPATH/NAME/locked/
//!   paths/             tmpfs        shown/HASH-NAME -> "/HASH-NAME" of the lower layer
//!   store              overlay      `shown` of [paths : the host's store, idmapped], read-only; LXC binds it to /nix/store
//! ```
//!
//! All of that is in the mount namespace of LXC's monitor, out of the guest's reach. The running guest is kept current there:
//! a path that is added to `shown` is seen by the guest and by all mount namespaces in it at once, without a mount. What the
//! kernel remembers of a name that was not there before is dropped by a remount, and each new path is looked up through the
//! overlay itself before anybody relies on it (decision 033).

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::nix::mount::{MntFlags, MsFlags, mount, umount2};
use ::nix::sched::{CloneFlags, setns};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, lsetxattr, utimensat};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mounts::{self, MountError, NONE, failed};
use super::protocol::StoreClosure;
use crate::model::layout::NIX_STORE;
use crate::model::store_view::closure_names;
use crate::sys::mount::restrict;
use crate::sys::proc::Process;
use crate::sys::userns::Held;

/// The layer of ours, in the folder of locked sources.
const PATHS: &str = "paths";

/// In it, what the guest sees.
const SHOWN: &str = "shown";

/// Where the host's store stands until it is a layer.
const LOWER: &str = "lower";

/// Where the overlay stands until a part of it is shown.
const WHOLE: &str = "whole";

/// What the guest gets.
pub(super) const STORE: &str = "store";

/// How often a path that was added is looked for, and one that was taken away: somebody may be looking it up just now.
const TRIES: u32 = 50;

/// How long is waited between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// How often a path that was taken away is looked for: a process of the guest's that has a file in it open keeps it.
const LOOKS: u32 = 3;

/// The names of all closures.
pub(super) fn names(lists: &[PathBuf]) -> Result<BTreeSet<String>, MountError> {
    let mut names = BTreeSet::new();
    for list in lists {
        let text = std::fs::read_to_string(list).map_err(failed("read", list))?;
        let damaged = || failed("read", list)(io::Error::other("it is no whole list of store paths"));
        names.extend(closure_names(&text).ok_or_else(damaged)?.into_iter().map(str::to_owned));
    }
    Ok(names)
}

/// Shows those paths in `folder`, the one of the locked sources, which is this process's own. `user_namespace` is that of the
/// guest, where it is there already.
pub(super) fn make(
    folder: &Path,
    closure: &StoreClosure,
    user_namespace: Option<&Path>,
) -> Result<(), MountError> {
    let at = |name: &str| folder.join(name);
    let (paths, lower, whole, store) = (at(PATHS), at(LOWER), at(WHOLE), at(STORE));
    for place in [&paths, &lower, &whole, &store] {
        std::fs::create_dir(place).map_err(failed("make", place))?;
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("paths"), &paths, Some("tmpfs"), flags, Some("mode=700"))
        .map_err(failed("mount a folder on", &paths))?;
    let owner = closure.ids.map_or(0, |ids| ids.base);
    let shown = paths.join(SHOWN);
    std::fs::DirBuilder::new().mode(0o755).create(&shown).map_err(failed("make", &shown))?;
    lchown(&shown, Some(owner), Some(owner)).map_err(failed("make", &shown))?;
    for name in names(&closure.lists)? {
        entry(&shown.join(&name), &name, owner)?;
    }
    bind_lower(&lower, closure, user_namespace)?;
    // Relative paths: the guest reads them in its table of mounts.
    std::env::set_current_dir(folder).map_err(failed("enter", folder))?;
    let options = format!("lowerdir={PATHS}:{LOWER},redirect_dir=follow,metacopy=on");
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("nix-store"), WHOLE, Some("overlay"), flags, Some(options.as_str()));
    std::env::set_current_dir("/").map_err(failed("enter", Path::new("/")))?;
    mounted.map_err(|errno| MountError::Overlay { idmapped: closure.ids.is_some(), source: errno.into() })?;
    mount(Some(&whole.join(SHOWN)), &store, NONE, MsFlags::MS_BIND, NONE).map_err(failed("bind", &whole))?;
    mount(NONE, &store, NONE, MsFlags::MS_PRIVATE, NONE).map_err(failed("keep to itself", &store))?;
    mounts::read_only(&store)?;
    // The overlay has hold of its layers.
    for place in [&lower, &whole] {
        umount2(place, MntFlags::MNT_DETACH).map_err(failed("let go of", place))?;
    }
    Ok(())
}

/// Binds the host's store where the overlay finds it, read-only and, where they are given, with the guest's ids.
fn bind_lower(place: &Path, closure: &StoreClosure, user_namespace: Option<&Path>) -> Result<(), MountError> {
    let store = Path::new(NIX_STORE);
    let Some(ids) = closure.ids else { return mounts::bind_read_only(store, place) };
    let held = match user_namespace {
        Some(_) => None,
        None => Some(Held::new(ids).map_err(failed("make a user namespace for", place))?),
    };
    let namespace = match (&held, user_namespace) {
        (Some(held), _) => held.path(),
        (None, Some(path)) => path.to_owned(),
        (None, None) => return Err(failed("find the user namespace for", place)(io::Error::other("none"))),
    };
    let namespace = File::open(&namespace).map_err(failed("open", &namespace))?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let idmapped = |source| MountError::Idmap { path: store.to_owned(), source };
    let tree = open_tree(CWD, store, flags).map_err(|errno| idmapped(errno.into()))?;
    restrict(&tree, Some(namespace.as_fd())).map_err(idmapped)?;
    move_mount(&tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(failed("bind", store))
}

/// Makes at `place` what stands for a path of the store in the layer of ours.
fn entry(place: &Path, name: &str, owner: u32) -> Result<(), MountError> {
    let source = Path::new(NIX_STORE).join(name);
    let found = source.symlink_metadata().map_err(failed("find the store path", &source))?;
    let make = || {
        let kind = found.file_type();
        if kind.is_symlink() {
            symlink(std::fs::read_link(&source)?, place)?;
        } else {
            let mode = found.mode() & 0o555;
            if kind.is_dir() {
                std::fs::DirBuilder::new().mode(mode).create(place)?;
            } else if kind.is_file() {
                let file = File::options().write(true).create_new(true).mode(mode).open(place)?;
                file.set_len(found.size())?;
                lsetxattr(place, "trusted.overlay.metacopy", b"", XattrFlags::CREATE)?;
            } else {
                return Err(io::Error::other("it is neither a file, a folder nor a link"));
            }
            let redirect = format!("/{name}");
            lsetxattr(place, "trusted.overlay.redirect", redirect.as_bytes(), XattrFlags::CREATE)?;
        }
        lchown(place, Some(owner), Some(owner))?;
        let time = Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    };
    make().map_err(failed("show the store path", &source))
}

/// Enters the mount namespace of a guest's monitor, which is the host's in all else: nothing of the guest is near.
pub(super) fn enter(monitor: Process) -> Result<(), MountError> {
    let path = PathBuf::from(format!("/proc/{}/ns/mnt", monitor.pid));
    let namespace = File::open(&path).map_err(failed("open", &path))?;
    // The number may have been another's by then.
    if !monitor.is_alive() {
        return Err(failed("open", &path)(io::Error::from(io::ErrorKind::NotFound)));
    }
    setns(namespace, CloneFlags::CLONE_NEWNS).map_err(failed("enter", &path))
}

/// Makes the paths of `wanted` the ones that are shown in `folder`, in the mount namespace of the monitor. Returns those that
/// stay although they are not wanted, since processes of the guest have them open.
///
/// Where it is cut off, each path is seen as it was or as it is to be: the next one goes on from there.
pub(super) fn change(folder: &Path, wanted: &BTreeSet<String>) -> Result<Vec<String>, MountError> {
    let (paths, store) = (folder.join(PATHS), folder.join(STORE));
    let shown = paths.join(SHOWN);
    let owner = shown.metadata().map_err(failed("look at", &shown))?.uid();
    tidy(&paths)?;
    let now = list(&shown)?;
    let new: Vec<&String> = wanted.difference(&now).collect();
    for name in &new {
        let unfinished = paths.join(name);
        entry(&unfinished, name, owner)?;
        // Seen whole or not at all.
        std::fs::rename(&unfinished, shown.join(name)).map_err(failed("show", &unfinished))?;
    }
    forget_names(&store)?;
    for name in new {
        let mut tries = 0;
        while !is_seen(&store, name).map_err(failed("look at", &store.join(name)))? {
            tries += 1;
            if tries == TRIES {
                return Err(MountError::Unseen { path: Path::new(NIX_STORE).join(name) });
            }
            std::thread::sleep(PAUSE);
            forget_names(&store)?;
        }
    }
    let mut stale: BTreeSet<String> = now.difference(wanted).cloned().collect();
    for name in &stale {
        std::fs::rename(shown.join(name), paths.join(name)).map_err(failed("hide", &shown.join(name)))?;
    }
    for look in 0..LOOKS {
        if stale.is_empty() {
            break;
        }
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        forget_names(&store)?;
        stale.retain(|name| store.join(name).symlink_metadata().is_ok());
    }
    for name in &stale {
        std::fs::rename(paths.join(name), shown.join(name)).map_err(failed("show", &shown.join(name)))?;
    }
    tidy(&paths)?;
    Ok(stale.into_iter().collect())
}

/// Whether a path is seen through the overlay, and is what it is in the store: the kernel may remember that it was not there,
/// or what has been removed since.
fn is_seen(store: &Path, name: &str) -> io::Result<bool> {
    let seen = match store.join(name).symlink_metadata() {
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let is_empty = |folder: &Path| Ok::<_, io::Error>(std::fs::read_dir(folder)?.next().is_none());
    Ok(!seen.is_dir() || is_empty(&store.join(name))? == is_empty(&Path::new(NIX_STORE).join(name))?)
}

/// Lets the kernel forget what it remembers of names in the overlay that nobody has in use, also of those that were not there.
fn forget_names(store: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, store, NONE, flags, NONE).map_err(failed("remount", store))
}

/// The names in a folder.
fn list(folder: &Path) -> Result<BTreeSet<String>, MountError> {
    let read = || {
        let entries = std::fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()
    };
    read().map_err(failed("list", folder))
}

/// Removes what was not shown yet, or is not any more.
fn tidy(paths: &Path) -> Result<(), MountError> {
    for name in list(paths)? {
        if name == SHOWN {
            continue;
        }
        let left = paths.join(&name);
        let is_folder = left.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = if is_folder { std::fs::remove_dir(&left) } else { std::fs::remove_file(&left) };
        removed.map_err(failed("remove", &left))?;
    }
    Ok(())
}
