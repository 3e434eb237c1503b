//! Addresses of a container: those of the host-only network that its file fixes or that are leased, and the one on the bridge
//! that leads out.

use std::collections::HashSet;
use std::net::IpAddr;

use crate::error::Error;
use crate::host::Host;
use crate::model::spec::ContainerSpec;
use crate::store::claims::{Foreign, LeaseError, Leases};
use crate::store::history::Generations;
use crate::store::record::{Record, RecordPhase, Run};
use crate::sys::proc;

/// Claims the addresses that `spec` asks for. Nothing is given back: until the generation has proved itself, the one
/// before it must be able to come back. An address that the record names is claimed again all the same: one of us may
/// have been killed between noting and claiming it, or a leased one may have been given back since its generation was
/// built.
pub(crate) fn claim(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    foreign: &Foreign,
) -> Result<(), Error> {
    if let Some(address) = spec.effective.ip {
        let leased = record.lease == Some(address);
        claim_fixed(host, record, address, leased, foreign, |record| &mut record.fixed)?;
    }
    if let Some(address) = spec.network.ip6 {
        claim_fixed(host, record, address, false, foreign, |record| &mut record.fixed6)?;
    }
    if spec.network.enable_nat {
        claim_internet(host, record, foreign)?;
    }
    Ok(())
}

/// Claims a fixed address, noted in the record before.
fn claim_fixed<A: Copy + PartialEq + Into<IpAddr>>(
    host: &Host,
    record: &mut Record,
    address: A,
    noted: bool,
    foreign: &Foreign,
    list: fn(&mut Record) -> &mut Vec<A>,
) -> Result<(), Error> {
    let new = !noted && !list(record).contains(&address);
    if new {
        list(record).push(address);
        record.save(&host.layout)?;
    }
    let claimed = Leases::new(&host.layout, &host.config).fix_address(&record.name, address.into(), foreign);
    if claimed.is_err() && new {
        list(record).retain(|theirs| *theirs != address);
        record.save(&host.layout)?;
    }
    Ok(claimed?)
}

/// Claims the address on the bridge that leads out. Once it has one a container keeps it for its life: a rollback to a
/// generation with `enableNat` finds it again, and the IPv6 address that follows from it stays the same.
fn claim_internet(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let owner = record.name.clone();
    let old = record.internet;
    if let Some(address) = old {
        let (first, last) = host.config.network.internet.range();
        // The range may be another one by now.
        if (first..=last).contains(&address) {
            match leases.fix_address(&owner, address.into(), foreign) {
                Err(LeaseError::AddressTaken { .. } | LeaseError::HostAddress { .. }) => {}
                other => return Ok(other?),
            }
        }
    }
    // While the record still names it, so that it is never lost.
    if let Some(address) = old {
        leases.free_address(&owner, address.into())?;
    }
    leases.lease_internet(&owner, foreign, &mut |address| {
        record.internet = Some(address);
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// Gives back the fixed addresses that neither `spec` nor a running guest uses. The record is saved last: until then it
/// names them, and giving back twice does no harm.
pub(crate) fn release(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    if record.fixed.is_empty() && record.fixed6.is_empty() {
        return Ok(());
    }
    let leases = Leases::new(&host.layout, &host.config);
    let booted = booted_with(host, record)?;
    let (kept, unused): (Vec<_>, Vec<_>) = record
        .fixed
        .iter()
        .partition(|address| spec.effective.ip == Some(**address) || booted.contains(&IpAddr::V4(**address)));
    let (kept6, unused6): (Vec<_>, Vec<_>) = record
        .fixed6
        .iter()
        .partition(|address| spec.network.ip6 == Some(**address) || booted.contains(&IpAddr::V6(**address)));
    if unused.is_empty() && unused6.is_empty() {
        return Ok(());
    }
    for address in unused.into_iter().map(IpAddr::from).chain(unused6.into_iter().map(IpAddr::from)) {
        // A lease has a life of its own.
        if record.lease.map(IpAddr::from) != Some(address) {
            leases.free_address(&record.name, address)?;
        }
    }
    (record.fixed, record.fixed6) = (kept, kept6);
    Ok(record.save(&host.layout)?)
}

/// The addresses in what a running guest was booted with. It has them, and its port lets it send from them, until it ends:
/// also after a reboot from inside, whatever its current generation says.
fn booted_with(host: &Host, record: &Record) -> Result<HashSet<IpAddr>, Error> {
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    let run = Run::load(&host.layout, &record.name, &boot)?;
    // Without a note of its init it is just being started.
    let run = run.filter(|run| run.init.is_none() || run.lives());
    Ok(run.into_iter().flat_map(|run| run.notes.addresses).collect())
}

/// Gives back what a guest that has ended was booted with, and its current generation does not use.
pub(crate) fn release_booted(host: &Host, record: &mut Record) -> Result<(), Error> {
    if record.phase != RecordPhase::Ready {
        return Ok(());
    }
    let generations = Generations::new(&host.layout, &record.name);
    let Ok(spec) = generations.current().and_then(|current| generations.spec(current)) else { return Ok(()) };
    release(host, record, &spec)
}

/// Gives back a lease that was taken for an evaluation and is not used.
pub(crate) fn drop_unused_lease(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    if let Some(lease) = record.lease
        && spec.effective.ip != Some(lease)
    {
        Leases::new(&host.layout, &host.config).free_address(&record.name, lease.into())?;
        record.lease = None;
        record.save(&host.layout)?;
    }
    Ok(())
}
