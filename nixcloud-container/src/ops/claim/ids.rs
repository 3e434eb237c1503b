//! Ids of a container: its own, or those that it shares with others; and the other ones while its files are moved.

use crate::error::Error;
use crate::host::Host;
use crate::model::idmap::{IdMap, IdMapKind};
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::store::claims::{Foreign, Leases};
use crate::store::record::{Moving, Record};

/// Claims ids for a new container. With the host lock where they are shared: their last user is found by the records.
pub(crate) fn claim(
    host: &Host,
    record: &mut Record,
    kind: IdMapKind,
    foreign: &Foreign,
    cancel: &Cancel,
) -> Result<IdMap, Error> {
    let _lock = if kind == IdMapKind::Shared { Some(host.lock_pools(cancel)?) } else { None };
    let owner = record.name.clone();
    Leases::new(&host.layout, &host.config).claim_ids(&owner, kind, foreign, &mut |ids| {
        record.ids = Some(ids);
        record.idmap = kind;
        record.save(&host.layout).map_err(Error::from)
    })
}

/// Claims the ids that a generation of this kind has, where the container has those of the other kind. Nothing is given back
/// and no file is touched.
pub(crate) fn claim_other(
    host: &Host,
    record: &mut Record,
    kind: IdMapKind,
    foreign: &Foreign,
    cancel: &Cancel,
) -> Result<(), Error> {
    if record.idmap == kind || record.ids.is_none() {
        return Ok(());
    }
    let leases = Leases::new(&host.layout, &host.config);
    let _lock = if kind == IdMapKind::Shared { Some(host.lock_pools(cancel)?) } else { None };
    if let Some(moving) = record.moving {
        // Noted, but whoever did may have been killed before the claim; then another may have it by now.
        if moving.begun || leases.hold_ids(&record.name, kind, moving.ids)?.is_none() {
            return Ok(());
        }
    }
    let owner = record.name.clone();
    leases.claim_ids(&owner, kind, foreign, &mut |ids| {
        record.moving = Some(Moving { ids, idmap: kind, begun: false });
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// Gives ids back; shared ones when no other container has them.
pub(crate) fn give_back(host: &Host, name: &ContainerName, ids: IdMap, kind: IdMapKind) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    if kind == IdMapKind::Isolated {
        return Ok(leases.free_ids(name, ids)?);
    }
    let _lock = host.lock_pools(&Cancel::new())?;
    for other in Record::names(&host.layout)? {
        if other == *name {
            continue;
        }
        // One that cannot be read may well use the shared ids.
        match Record::load(&host.layout, &other) {
            Ok(Some(other)) if !other.claims(ids) => {}
            Ok(None) => {}
            _ => return Ok(()),
        }
    }
    Ok(leases.free_shared_ids(ids)?)
}
