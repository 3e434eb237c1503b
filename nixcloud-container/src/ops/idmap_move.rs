//! A container that changes from shared ids to ids of its own, or back: claim, move its files, give back.
//!
//! ```text
//!  ids A                     claim_other: B                           complete: files A -> B
//!  moving none  ---------->  moving B, not begun  ---------------->  moving B, begun
//!      ^   ids A, give B back  |   ^                                    |        | files B -> A
//!      +-----------------------+   +------- (a rollback meanwhile) -----|--------+
//!      +--- give A back ---  ids B, moving A, not begun  <--------------+ all files have B
//! ```
//!
//! The generation decides: each keeps its kind. Whoever is killed leaves one of these lines, and the next start, update
//! or destroy goes on from it.

use crate::error::Error;
use crate::fs;
use crate::fs::owner::Moved;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::idmap::{IdMap, IdMapKind};
use crate::model::name::ContainerName;
use crate::model::note::FilesNote;
use crate::ops::claim;
use crate::ops::durable;
use crate::store::record::{Moving, Record};
use crate::store::rootfs;

/// Moves the files to the ids of this kind, where they do not have them, and gives the others back. Nothing of the
/// container runs.
pub(crate) fn complete(context: &mut Context<'_>, record: &mut Record, kind: IdMapKind) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    if record.idmap != kind {
        claim::ids::claim_other(host, record, kind, &claim::others(host)?, cancel)?;
    }
    let (Some(ids), Some(moving)) = (record.ids, record.moving) else { return Ok(()) };
    if record.idmap != kind {
        if !moving.begun {
            record.moving = Some(Moving { begun: true, ..moving });
            record.save(&host.layout)?;
        }
        move_files(context, &record.name, ids, moving.ids)?;
        durable::files(host, &record.name)?;
        let old = Moving { ids, idmap: record.idmap, begun: false };
        (record.ids, record.idmap, record.moving) = (Some(moving.ids), moving.idmap, Some(old));
        record.save(&host.layout)?;
    } else if moving.begun {
        move_files(context, &record.name, moving.ids, ids)?;
        durable::files(host, &record.name)?;
        record.moving = Some(Moving { begun: false, ..moving });
        record.save(&host.layout)?;
    }
    forget(host, record, kind)
}

/// Gives back the ids that no file has and that a generation of this kind does not need. The record is saved last:
/// until then it names them, and giving back twice does no harm.
pub(crate) fn forget(host: &Host, record: &mut Record, kind: IdMapKind) -> Result<(), Error> {
    let Some(moving) = record.moving.filter(|moving| moving.idmap != kind && !moving.begun) else {
        return Ok(());
    };
    claim::ids::give_back(host, &record.name, moving.ids, moving.idmap)?;
    record.moving = None;
    Ok(record.save(&host.layout)?)
}

fn move_files(context: &mut Context<'_>, name: &ContainerName, from: IdMap, to: IdMap) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    context.tell(FilesNote::OwnersMove { name: name.clone(), from: from.base(), to: to.base() });
    let moved = rootfs::move_ids(&host.layout, name, from, to, &|| cancel.is_cancelled());
    let Moved { strange, example, mounted, .. } = moved.map_err(|error| match error {
        rootfs::RootfsError::Move(fs::owner::Error::Cancelled) => Error::Cancelled,
        other => other.into(),
    })?;
    if let Some(example) = example {
        context.tell(FilesNote::OfNobody { count: strange, example });
    }
    for place in mounted {
        context.tell(FilesNote::Mounted { path: place });
    }
    Ok(())
}
