//! The root file system of a guest: a skeleton that belongs to the guest's root. NixOS's activation makes the rest.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::Path;

use crate::fs::error::FileError;
use crate::fs::owner::{self, Moved, Shift};
use crate::fs::{beneath, durable, remove, tree};
use crate::model::idmap::{IdMap, RANGE};
use crate::model::layout::Layout;
use crate::model::name::ContainerName;

/// What a guest needs before its init runs: mount points, and the folders that activation takes for granted.
const SKELETON: &[(&str, u32)] = &[
    (".", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("run", 0o755),
    ("init", 0o755),
    ("nix", 0o755),
    ("nix/store", 0o755),
    ("etc", 0o755),
    ("var", 0o755),
    ("tmp", 0o1777),
    ("root", 0o700),
];

/// A folder of a container that cannot be made or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootfsError {
    /// The rootfs.
    #[error("cannot make the root file system")]
    Skeleton(#[from] beneath::Error),
    /// A folder around the root file system.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// Removal.
    #[error("cannot remove the container's folder")]
    Remove(#[source] remove::Error),
    /// Other owners.
    #[error("cannot move the container's files to other ids")]
    Move(#[source] owner::Error),
}

/// Makes the folder of a container in the LXC path, and in it the rootfs and the empty `locked` folder.
///
/// The folder is `0710 root:GUEST-ROOT`: the guest's root must pass through it, and no other user of the host may,
/// since a guest can make set-uid files of its own users.
pub(crate) fn create(layout: &Layout, name: &ContainerName, ids: IdMap) -> Result<(), RootfsError> {
    let folder = layout.container_dir(name);
    make_lasting_dirs(layout.lxc_path(), 0o755)?;
    match std::fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(FileError::at("make", &folder))?,
    }
    open_to(&folder, ids)?;
    tree::skeleton(&layout.locked(name), &[(".", 0o711)], 0, 0)?;
    tree::skeleton(&layout.rootfs(name), SKELETON, ids.base(), ids.base())?;
    tracing::debug!(path = %folder.display(), base = ids.base(), "rootfs made");
    let rootfs = layout.rootfs(name);
    [&rootfs.join("nix"), &rootfs, &folder, layout.lxc_path()].into_iter().try_for_each(sync)
}

fn sync(folder: &Path) -> Result<(), RootfsError> {
    Ok(durable::entries(folder).map_err(FileError::at("sync", folder))?)
}

/// Lets the guest's root, and nobody else, pass through the folder.
fn open_to(folder: &Path, ids: IdMap) -> Result<(), RootfsError> {
    chown(folder, Some(0), Some(ids.base())).map_err(FileError::at("change the owner of", folder))?;
    Ok(std::fs::set_permissions(folder, PermissionsExt::from_mode(0o710))
        .map_err(FileError::at("open", folder))?)
}

/// Makes what our own start needs around a rootfs that somebody else made, and takes the folder from the guest's root,
/// which `lxc-create` gave it to.
pub(crate) fn adopt(layout: &Layout, name: &ContainerName, ids: IdMap) -> Result<(), RootfsError> {
    open_to(&layout.container_dir(name), ids)?;
    Ok(tree::skeleton(&layout.locked(name), &[(".", 0o711)], 0, 0)?)
}

/// Moves all files of a container from its ids to others, and lets its new root pass. Files of other ids stay theirs.
/// Nothing of the container runs. A run that was killed is completed by the next, in either direction.
pub(crate) fn move_ids(
    layout: &Layout,
    name: &ContainerName,
    from: IdMap,
    to: IdMap,
    cancelled: &dyn Fn() -> bool,
) -> Result<Moved, RootfsError> {
    let moved = shift(layout, name, Shift { from: from.base(), to: to.base(), count: RANGE }, cancelled)?;
    open_to(&layout.container_dir(name), to)?;
    Ok(moved)
}

/// Moves all files of a container from one range of ids to another.
pub(crate) fn shift(
    layout: &Layout,
    name: &ContainerName,
    shift: Shift,
    cancelled: &dyn Fn() -> bool,
) -> Result<Moved, RootfsError> {
    owner::shift(&layout.rootfs(name), shift, cancelled).map_err(RootfsError::Move)
}

/// Removes all that is in the container's folder, and the folder. Refuses when anything is mounted in it.
pub(crate) fn destroy(layout: &Layout, name: &ContainerName) -> Result<(), RootfsError> {
    remove::tree(&layout.container_dir(name)).map_err(RootfsError::Remove)
}

/// Makes a folder with `mode` and those above it that are missing, which anybody may pass through. The caller's umask
/// does not count: a guest's root, who is nobody on the host, has to reach its rootfs.
pub(crate) fn make_dirs(path: &Path, mode: u32) -> Result<(), RootfsError> {
    make(path, mode).map(drop)
}

/// As [`make_dirs`]; those that are made survive a power cut.
pub(crate) fn make_lasting_dirs(path: &Path, mode: u32) -> Result<(), RootfsError> {
    make(path, mode)?.into_iter().filter_map(Path::parent).try_for_each(sync)
}

/// The folders that were missing, outermost first.
fn make(path: &Path, mode: u32) -> Result<Vec<&Path>, RootfsError> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.is_dir()).collect();
    missing.reverse();
    for folder in &missing {
        let folder = *folder;
        let mode = if folder == path { mode } else { 0o755 };
        let failed = FileError::at("make", folder);
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => std::fs::set_permissions(folder, PermissionsExt::from_mode(mode)).map_err(failed)?,
            // Another process makes the same folders.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(failed(error).into()),
        }
    }
    Ok(missing)
}
