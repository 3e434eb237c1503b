//! What a record speaks of is on the disk before the record is. Nix syncs neither the links of a profile nor, by default,
//! what it puts in the store.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::error::Error;
use crate::fs::durable;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::generation::GenerationId;
use crate::model::layout::{NIX_STATE, NIX_STORE};
use crate::model::name::ContainerName;
use crate::store::history::Generations;

/// The kernel has written what is older: after 30 seconds by default, and btrfs within 300 at most.
const YOUNG: Duration = Duration::from_secs(600);

/// The beginning of 2020: a clock that says less has not been set.
const CLOCK_SET: Duration = Duration::from_secs(1_577_836_800);

/// A generation that is about to count: its closure, and the links of the profile.
///
/// The store's file system is synced where the generation was built or fetched just now, by whomever: what it refers to was
/// in the store before it, so that of an old one all is on the disk.
pub(crate) fn generation(host: &Host, name: &ContainerName, id: GenerationId) -> Result<(), Error> {
    let target = Generations::new(&host.layout, name).target(id)?;
    if target.symlink_metadata().is_ok_and(|found| is_young(&found)) {
        tracing::debug!(path = %target.display(), "new in the store, whose file system is synced");
        let store = Path::new(NIX_STORE);
        durable::file_system(store).map_err(FileError::at("sync", store))?;
    }
    profile(host, name)
}

/// The links of a profile, and what makes them roots where the profile lies outside of Nix's own folders.
pub(crate) fn profile(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let folder = host.layout.profile_dir(name);
    entries(&folder)?;
    roots(&folder)
}

/// What made the links in a folder roots, where Nix does not look into that by itself.
fn roots(folder: &Path) -> Result<(), Error> {
    if folder.starts_with(NIX_STATE) { Ok(()) } else { entries(&Path::new(NIX_STATE).join("gcroots/auto")) }
}

/// What was removed of a container. A disk without room has no more to give than that it is gone.
pub(crate) fn removal(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let folder = host.layout.profile_dir(name);
    let all = [entries(host.layout.lxc_path()), folder.parent().map_or(Ok(()), entries), roots(&folder)];
    all.into_iter().find(|synced| synced.as_ref().is_err_and(|error| !error.lacks_room())).unwrap_or(Ok(()))
}

/// The owners of a container's files, which are all on one file system.
pub(crate) fn files(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let folder = host.layout.container_dir(name);
    Ok(durable::file_system(&folder).map_err(FileError::at("sync", &folder))?)
}

/// The names in a folder.
pub(crate) fn entries(folder: &Path) -> Result<(), Error> {
    Ok(durable::entries(folder).map_err(FileError::at("sync", folder))?)
}

fn is_young(found: &Metadata) -> bool {
    let since = Duration::from_secs(found.ctime().try_into().unwrap_or(0));
    // Written before the clock was set, as on a machine without one: it may be of a minute ago.
    if since < CLOCK_SET {
        return true;
    }
    // A clock that was set back makes it come from the future.
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since).map_or(true, |age| age < YOUNG)
}
