//! Ports of the host that lead to a container.

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::host::parts::{self, Reloaded};
use crate::model::forward::{Forward, HostPort};
use crate::model::note::NetworkNote;
use crate::model::observe::Cancel;
use crate::model::spec::ContainerSpec;
use crate::store::claims::host_ports;
use crate::store::record::Record;
use crate::store::routes;

/// Claims the ports of the host that `spec` asks for, as [`claim`](super::addresses::claim) does, and after it: where they lead follows
/// from the addresses. All of them, or none but those that the record had.
pub(crate) fn claim(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    routes::require_address(&host.config, record, spec)?;
    let before = record.host_ports.clone();
    let wanted = spec.network.forwards.iter().map(Forward::host);
    let new: Vec<HostPort> = wanted.clone().filter(|port| !before.contains(port)).collect();
    if !new.is_empty() {
        record.host_ports.extend(&new);
        record.save(&host.layout)?;
    }
    let claimed = wanted.clone().try_for_each(|port| host_ports::claim(&host.layout, &record.name, port));
    let claimed = claimed.and_then(|()| host_ports::require_sole(&host.layout, &record.name, wanted.clone()));
    if claimed.is_err() && !new.is_empty() {
        for port in new {
            host_ports::free(&host.layout, &record.name, port)?;
        }
        record.host_ports = before;
        record.save(&host.layout)?;
    }
    Ok(claimed?)
}

/// Gives back the ports of the host that `spec` does not use, after the packet filter has been told: the container that
/// claims one next must not find a rule for it.
pub(crate) fn release(
    context: &mut Context<'_>,
    record: &mut Record,
    spec: &ContainerSpec,
) -> Result<(), Error> {
    open(context, record)?;
    let host = context.host;
    let wanted: Vec<HostPort> = spec.network.forwards.iter().map(Forward::host).collect();
    let (kept, unused): (Vec<_>, Vec<_>) = record.host_ports.iter().partition(|port| wanted.contains(port));
    if unused.is_empty() {
        return Ok(());
    }
    for port in unused {
        host_ports::free(&host.layout, &record.name, port)?;
    }
    record.host_ports = kept;
    Ok(record.save(&host.layout)?)
}

/// Gives back all ports of a container that is being destroyed, as [`release`] does, whoever has cancelled what goes
/// before it.
pub(crate) fn release_all(host: &Host, record: &Record) -> Result<(), Error> {
    if !record.host_ports.is_empty() {
        parts::reload(host, &Cancel::new())?;
    }
    for port in &record.host_ports {
        host_ports::free(&host.layout, &record.name, *port)?;
    }
    Ok(())
}

/// Lets the ports of the host lead to a container as it is now, and tells of what stands in their way.
pub(crate) fn open(context: &mut Context<'_>, record: &Record) -> Result<(), Error> {
    if record.host_ports.is_empty() {
        return Ok(());
    }
    if parts::reload(context.host, context.cancel)? == Reloaded::NotUp {
        let (name, ports) = (record.name.clone(), record.host_ports.clone());
        context.tell(NetworkNote::NotUp { name, ports });
    }
    for port in parts::absent(&record.host_ports)? {
        context.tell(NetworkNote::AddressAbsent { name: record.name.clone(), port });
    }
    for port in parts::shadowed(&record.host_ports) {
        context.tell(NetworkNote::PortInUse { name: record.name.clone(), port });
    }
    Ok(())
}
