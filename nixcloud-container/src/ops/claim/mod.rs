//! What a container has claimed of its host, and gives back: addresses, ids, interface names, ports of the host.
//!
//! The record names it before it is claimed, and until it is given back: whoever is killed in between leaves a record that the
//! next of us gives back by.

pub mod addresses;
pub mod host_ports;
pub mod ids;

use std::net::IpAddr;

use crate::error::Error;
use crate::host::Host;
use crate::model::interface::InterfaceId;
use crate::model::observe::Cancel;
use crate::model::spec::ContainerSpec;
use crate::store::claims::{Foreign, LeaseError, Leases};
use crate::store::others;
use crate::store::record::Record;

/// What others of the host have.
pub(crate) fn others(host: &Host) -> Result<Foreign, Error> {
    Ok(others::scan(&host.layout)?)
}

/// Claims what a container's interface names and MAC addresses are made of. Claiming one's own again is no error.
pub(crate) fn interface(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let owner = record.name.clone();
    let plain = InterfaceId::of(host.layout.lxc_path(), &owner, 0);
    Leases::new(&host.layout, &host.config).claim_interface(&owner, foreign, &mut |id| {
        let noted = (id != plain).then_some(id);
        if record.interface == noted {
            return Ok(());
        }
        record.interface = noted;
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// Claims what a container of the shell original has already. Its record is saved first, so that what is claimed always has
/// somebody who would give it back.
pub(crate) fn adopted(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    cancel: &Cancel,
) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let name = record.name.clone();
    let mut foreign = others(host)?;
    foreign.addresses.retain(|(_, owner)| *owner != name.as_str());
    {
        // Whoever gives the shared ids back must see that there is one more container that has them.
        let _lock = host.lock_pools(cancel)?;
        record.save(&host.layout)?;
        if let Some(ids) = record.ids
            && let Some(owner) = leases.hold_ids(&name, record.idmap, ids)?
        {
            return Err(LeaseError::IdsTaken { base: ids.base(), owner }.into());
        }
    }
    for address in record.lease.iter().chain(&record.fixed) {
        leases.fix_address(&name, (*address).into(), &foreign)?;
    }
    addresses::claim(host, record, spec, &foreign)?;
    interface(host, record, &foreign)
}

/// Gives back all that a container has claimed, but for its ports. Only its own; a second time does no harm.
pub(crate) fn release_all(host: &Host, record: &Record) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let four = record.lease.iter().chain(&record.fixed).chain(&record.internet).copied().map(IpAddr::from);
    let six = record.fixed6.iter().copied().map(IpAddr::from);
    for address in four.chain(six) {
        leases.free_address(&record.name, address)?;
    }
    // Also the first one that it may have tried before the one it has.
    for id in [record.interface_id(&host.layout), InterfaceId::of(host.layout.lxc_path(), &record.name, 0)] {
        leases.free_interface(&record.name, id)?;
    }
    for (ids, kind) in record
        .ids
        .map(|ids| (ids, record.idmap))
        .into_iter()
        .chain(record.moving.map(|moving| (moving.ids, moving.idmap)))
    {
        ids::give_back(host, &record.name, ids, kind)?;
    }
    Ok(())
}
