//! What a container's packages need of the store, asked of Nix once and kept as a list each: it never changes.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::fs::remove;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::store_view::{closure_names, closure_text};
use crate::nix::{self, Nix, StorePath};
use crate::store::rootfs::{self, RootfsError};

/// What a package needs cannot be found out or kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClosureError {
    /// Nix does not say.
    #[error("cannot find out what {package} needs of the store")]
    #[non_exhaustive]
    Nix {
        /// The package.
        package: StorePath,
        /// The error that this one follows from.
        source: Box<nix::Error>,
    },
    /// The folder of the lists cannot be made.
    #[error(transparent)]
    Folder(#[from] RootfsError),
    /// A list cannot be written.
    #[error("cannot keep the list of store paths")]
    Write(#[from] atomic::Error),
    /// A list cannot be read or removed.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The folder of the lists cannot be removed.
    #[error("cannot remove the lists of store paths")]
    Remove(#[from] remove::Error),
}

/// The name of a package in the store.
pub(crate) fn base_name(package: &StorePath) -> &str {
    package.as_str().rsplit('/').next().unwrap_or_default()
}

/// The file with the list of what `package` needs; Nix is asked where there is none.
pub(crate) fn list(
    layout: &Layout,
    name: &ContainerName,
    package: &StorePath,
    nix: &Nix,
    cancel: &Cancel,
) -> Result<PathBuf, ClosureError> {
    let folder = layout.closures(name);
    let file = folder.join(base_name(package));
    // Not synced: one that a power cut took a part of is made anew.
    if std::fs::read_to_string(&file).is_ok_and(|text| closure_names(&text).is_some()) {
        return Ok(file);
    }
    let paths = nix
        .closure(package, cancel)
        .map_err(|source| ClosureError::Nix { package: package.clone(), source: Box::new(source) })?;
    rootfs::make_dirs(&folder, 0o700)?;
    let text = closure_text(paths.iter().map(base_name));
    atomic::write(&file, text.as_bytes(), 0o600, Durability::Volatile)?;
    Ok(file)
}

/// The names in a list that [`list`] gave.
pub(crate) fn names(file: &Path) -> Result<Vec<String>, ClosureError> {
    let unreadable = FileError::at("read", file);
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let names = closure_names(&text).ok_or_else(|| unreadable(io::ErrorKind::InvalidData.into()))?;
    Ok(names.into_iter().map(str::to_owned).collect())
}

/// Removes the lists of all packages but these.
pub(crate) fn keep(
    layout: &Layout,
    name: &ContainerName,
    packages: &[StorePath],
) -> Result<(), ClosureError> {
    let folder = layout.closures(name);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let kept = |package: &StorePath| path.file_name().is_some_and(|file| file == base_name(package));
        if !packages.iter().any(kept)
            && let Err(source) = std::fs::remove_file(&path)
            && source.kind() != io::ErrorKind::NotFound
        {
            return Err(FileError::new("remove", &path, source).into());
        }
    }
    Ok(())
}

/// Removes all of a container's.
pub(crate) fn forget(layout: &Layout, name: &ContainerName) -> Result<(), ClosureError> {
    Ok(remove::tree(&layout.closures(name))?)
}
