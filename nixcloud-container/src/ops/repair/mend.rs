//! What mends a fault. The container's lock is held.

use std::io;
use std::path::Path;

use super::faults::Mend;
use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;
use crate::fs::owner::Shift;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::idmap::RANGE;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::ops::durable;
use crate::ops::lxc_config;
use crate::ops::recover;
use crate::store::history::Generations;
use crate::store::presence;
use crate::store::record::Record;
use crate::store::rootfs;
use crate::store::salvage::Held;

pub(super) fn mend(context: &mut Context<'_>, name: &ContainerName, mend: &Mend) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    let layout = &host.layout;
    match mend {
        Mend::Nothing => Ok(()),
        Mend::Lock => folder_away(&layout.container_lock(name)),
        Mend::Record(record) => put_record(layout, record),
        Mend::Claim(what, owner) => {
            Ok(atomic::write(&what.path(layout), owner.as_bytes(), 0o600, Durability::Synced)?)
        }
        Mend::Free(held) => free(layout, held),
        Mend::Profile(to) => {
            host.nix().switch_generation(&layout.profile(name), to.get(), cancel)?;
            durable::profile(host, name)
        }
        Mend::Generation(id) => {
            host.nix().delete_generations(&layout.profile(name), &[id.get()], cancel)?;
            durable::profile(host, name)
        }
        Mend::Folder => folder(host, name),
        Mend::Owners => owners(host, name, cancel),
        Mend::Config => config(context, name),
        Mend::Settle => {
            let mut record = host.record(name)?;
            recover::interrupted_switch(context, &mut record).map(drop)
        }
    }
}

/// A damaged record is kept beside the new one.
fn put_record(layout: &Layout, record: &Record) -> Result<(), Error> {
    let (path, kept) = (layout.record(&record.name), layout.damaged_record(&record.name));
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        folder_away(&path)?;
    } else if path.symlink_metadata().is_ok() {
        std::fs::rename(&path, &kept).map_err(FileError::at("move away", &path))?;
    }
    Ok(record.save(layout)?)
}

/// Removes a folder that is in the place of a file, where nothing is in it.
pub(super) fn folder_away(path: &Path) -> Result<(), Error> {
    match std::fs::remove_dir(path) {
        // Somebody else has, and may have put there what is to be there: a lock that is held by now.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(())
        }
        gone => Ok(gone.map_err(FileError::at("remove", path))?),
    }
}

/// Gives a claim back, if it still says what it said.
pub(super) fn free(layout: &Layout, held: &Held) -> Result<(), Error> {
    let path = held.what.path(layout);
    match std::fs::read_to_string(&path) {
        Ok(owner) if owner.trim() != held.owner => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        _ => {}
    }
    std::fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
    path.parent().map_or(Ok(()), durable::entries)
}

fn folder(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let record = host.record(name)?;
    let Some(ids) = record.ids else { return Err(Error::Incomplete { name: name.clone(), what: "ids" }) };
    if host.layout.rootfs(name).symlink_metadata().is_ok() {
        return Ok(rootfs::adopt(&host.layout, name, ids)?);
    }
    Ok(rootfs::create(&host.layout, name, ids)?)
}

fn owners(host: &Host, name: &ContainerName, cancel: &Cancel) -> Result<(), Error> {
    let record = host.record(name)?;
    let Some(ids) = record.ids else { return Err(Error::Incomplete { name: name.clone(), what: "ids" }) };
    let shift = Shift { from: 0, to: ids.base(), count: RANGE };
    rootfs::shift(&host.layout, name, shift, &|| cancel.is_cancelled())?;
    durable::files(host, name)
}

fn config(context: &mut Context<'_>, name: &ContainerName) -> Result<(), Error> {
    let host = context.host;
    let mut record = host.record(name)?;
    let generations = Generations::new(&host.layout, name);
    let spec = generations.spec(generations.current()?)?;
    let live = presence::look(&host.layout, &record)?.state.is_live();
    let rendered = if live {
        lxc_config::rendered_running(host, &record, &spec)?
    } else {
        lxc_config::rendered(host, &record, &spec)?
    };
    lxc_config::write(context, &mut record, &rendered)
}
