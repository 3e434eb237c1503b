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
use std::path::{Path, PathBuf};

use ::nix::mount::{MntFlags, MsFlags, mount, umount2};
use ::nix::sched::{CloneFlags, setns};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::mounts::{self, MountError, NONE, failed};
use super::paths::{Change, Paths, SHOWN};
use super::protocol::StoreClosure;
use crate::model::layout::NIX_STORE;
use crate::model::store_view::closure_names;
use crate::render::STORE;
use crate::sys::mount::restrict;
use crate::sys::proc::Process;
use crate::sys::userns::{Held, IdSpan};

/// The layer of ours, in the folder of locked sources.
const PATHS: &str = "paths";

/// Where the host's store stands until it is a layer.
const LOWER: &str = "lower";

/// Where the overlay stands until a part of it is shown.
const WHOLE: &str = "whole";

/// A folder that each host has. Nothing is made in it: a mount lies over it, which only the process that tries sees.
const ANYWHERE: &str = "/run";

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
    show(folder, &names(&closure.lists)?, closure.ids, user_namespace)
}

/// Shows a package of the store's to this process alone, whose mount namespace is its own, and looks at it.
pub(super) fn try_out(ids: Option<IdSpan>) -> Result<(), MountError> {
    let store = Path::new(NIX_STORE);
    let entries = std::fs::read_dir(store).map_err(failed("read", store))?;
    let is_package = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    let names = entries.flatten().filter(is_package).filter_map(|entry| entry.file_name().into_string().ok());
    // What Nix works with has a dot at its beginning.
    let one: BTreeSet<String> = names.filter(|name| !name.starts_with('.')).take(1).collect();
    let folder = Path::new(ANYWHERE);
    mounts::lock(folder, &[])?;
    show(folder, &one, ids, None)?;
    one.iter().try_for_each(|name| {
        let place = folder.join(STORE).join(name);
        std::fs::read_dir(&place).map(drop).map_err(failed("read", &place))
    })
}

fn show(
    folder: &Path,
    names: &BTreeSet<String>,
    ids: Option<IdSpan>,
    user_namespace: Option<&Path>,
) -> Result<(), MountError> {
    let at = |name: &str| folder.join(name);
    let (paths, lower, whole, store) = (at(PATHS), at(LOWER), at(WHOLE), at(STORE));
    for place in [&paths, &lower, &whole, &store] {
        std::fs::create_dir(place).map_err(failed("make", place))?;
    }
    Paths::at(paths).make(names, ids.map_or(0, |ids| ids.base))?;
    bind_lower(&lower, ids, user_namespace)?;
    // Relative paths: the guest reads them in its table of mounts.
    std::env::set_current_dir(folder).map_err(failed("enter", folder))?;
    let options = format!("lowerdir={PATHS}:{LOWER},redirect_dir=follow,metacopy=on");
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some("nix-store"), WHOLE, Some("overlay"), flags, Some(options.as_str()));
    std::env::set_current_dir("/").map_err(failed("enter", Path::new("/")))?;
    mounted.map_err(|errno| MountError::Overlay { idmapped: ids.is_some(), source: errno.into() })?;
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
fn bind_lower(place: &Path, ids: Option<IdSpan>, user_namespace: Option<&Path>) -> Result<(), MountError> {
    let store = Path::new(NIX_STORE);
    let Some(ids) = ids else { return mounts::bind_read_only(store, place) };
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

/// Changes what is shown in `folder`, in the mount namespace of the monitor. Returns the numbers of the packages that could go
/// and stay, since processes of the guest have them in use.
pub(super) fn change(folder: &Path, change: &Change) -> Result<Vec<usize>, MountError> {
    Paths::at(folder.join(PATHS)).change(&folder.join(STORE), change)
}
