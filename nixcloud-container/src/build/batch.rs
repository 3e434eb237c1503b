//! The work of several containers at once, or of a plan, and what a killed process left of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::lock::Lock;
use crate::host::Host;
use crate::model::layout::NIX_STATE;
use crate::nix::roots;
use crate::store::history::GenerationsError;
use crate::store::rootfs;

/// What the names of folders and locks of several containers' work begin with. The dot keeps them apart from names.
const SHARED: &str = ".apply-";

/// A folder for the work of several containers: the request to Nix, and the roots of what is built in one go. It is
/// removed when this is dropped, or by the next operation if this process is killed.
#[derive(Debug)]
pub(crate) struct SharedWork {
    path: PathBuf,
    _lock: Lock,
}

impl SharedWork {
    /// Makes it. The state's folders must exist.
    pub(crate) fn new(host: &Host) -> Result<Self, Error> {
        sweep(host)?;
        let base = format!("{SHARED}{}", std::process::id());
        let mut number = 0_u32;
        loop {
            let name = format!("{base}-{number}");
            let lock =
                Lock::try_acquire(&*host.layout.state().join("locks").join(&name)).map_err(Error::Lock)?;
            if let Some(lock) = lock {
                let path = host.layout.state().join("work").join(name);
                rootfs::make_dirs(&path, 0o700)?;
                return Ok(Self { path, _lock: lock });
            }
            // Another thread of this program is at it.
            number += 1;
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SharedWork {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "left to the next operation");
        }
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            roots::remove(&entry.path(), Path::new(NIX_STATE)).map_err(GenerationsError::Roots)?;
        }
    }
    Ok(crate::fs::remove::tree(path)?)
}

/// As [`sweep`], where there is such a folder at all: for whoever makes none, and comes by often.
pub(crate) fn sweep_left(host: &Host) -> Result<(), Error> {
    let work = host.layout.state().join("work");
    let is_shared = |name: OsString| name.to_str().is_some_and(|name| name.starts_with(SHARED));
    match std::fs::read_dir(work).into_iter().flatten().flatten().any(|entry| is_shared(entry.file_name())) {
        true => sweep(host),
        false => Ok(()),
    }
}

/// Removes such folders of processes that were killed.
pub(crate) fn sweep(host: &Host) -> Result<(), Error> {
    let (locks, work) = (host.layout.state().join("locks"), host.layout.state().join("work"));
    for entry in [&locks, &work].into_iter().flat_map(std::fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(SHARED))
            && let Some(_lock) = Lock::try_acquire(&*locks.join(&name)).map_err(Error::Lock)?
        {
            remove(&work.join(&name))?;
        }
    }
    Ok(())
}
