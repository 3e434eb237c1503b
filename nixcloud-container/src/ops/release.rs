//! Giving back all that a container has claimed.

use std::net::IpAddr;

use crate::error::Error;
use crate::host::Host;
use crate::model::interface::InterfaceId;
use crate::ops::idmap_move as moving;
use crate::store::claims::Leases;
use crate::store::record::Record;

/// Gives it back. Only its own; a second time does no harm.
pub(crate) fn claims(host: &Host, record: &Record) -> Result<(), Error> {
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
        moving::give_back(host, &record.name, ids, kind)?;
    }
    Ok(())
}
