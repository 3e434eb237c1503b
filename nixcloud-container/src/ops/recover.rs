//! What a killed operation left, seen by the next one that holds the container's lock.

use crate::build::batch;
use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::host::name_files;
use crate::model::generation::GenerationId;
use crate::model::note::GenerationNote;
use crate::model::spec::ContainerSpec;
use crate::ops::claim;
use crate::ops::devices;
use crate::ops::durable;
use crate::ops::idmap_move;
use crate::ops::limits;
use crate::ops::shown;
use crate::store::history::{Generations, GenerationsError};
use crate::store::record::{Record, RecordPhase};

/// Lets everybody know of a current generation that counts by now, `spec` is its own, and gives back what the others
/// held. The record on disk says that this is to be done, so that the next of us ends it where a kill cuts it off.
pub(crate) fn settle(
    context: &mut Context<'_>,
    record: &mut Record,
    spec: &ContainerSpec,
) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    name_files::publish(host, record, cancel)?;
    claim::host_ports::release(context, record, spec)?;
    claim::addresses::release(host, record, spec)?;
    // Files that were moved already are moved back at the next start.
    idmap_move::forget(host, record, spec.idmap)?;
    shown::settle(host, record)?;
    devices::settle(context, record, spec)?;
    record.unsettled = false;
    Ok(record.save(&host.layout)?)
}

/// Notes that the current generation is the one that counts. Where that cannot be written, the record in memory is the one
/// that is on disk, too: whoever goes on sees the switch that was under way.
pub(crate) fn ready(host: &Host, record: &mut Record) -> Result<(), Error> {
    let before = (record.phase, record.unsettled);
    (record.phase, record.unsettled) = (RecordPhase::Ready, true);
    record.save(&host.layout).inspect_err(|_| (record.phase, record.unsettled) = before)?;
    Ok(())
}

/// Ends a switch that was cut off: the generation that was current before is made so again, since the other one
/// has not proved itself, unless that was on disk already. The guest, if it runs, is left to the next update. Returns the
/// generation that was cut off, where there is one that was current.
pub(crate) fn interrupted_switch(
    context: &mut Context<'_>,
    record: &mut Record,
) -> Result<Option<GenerationId>, Error> {
    let Context { host, cancel, .. } = *context;
    batch::sweep_left(host)?;
    let generations = Generations::new(&host.layout, &record.name);
    let from = match record.phase {
        RecordPhase::Switching { from } => from,
        RecordPhase::Ready if record.unsettled => {
            let spec = generations.spec(generations.current()?)?;
            return settle(context, record, &spec).map(|()| None);
        }
        _ => return Ok(None),
    };
    let mut cut_off = None;
    tracing::debug!(name = %record.name, %from, "a switch was cut off: put back");
    match generations.spec(from) {
        Ok(spec) => {
            context.tell(GenerationNote::PutBack { name: record.name.clone(), generation: from });
            // Without any the profile is put back, too.
            let current = generations.current().ok();
            if current != Some(from) {
                cut_off = current;
                if let Some(left) = current {
                    record.note_undone(left);
                }
                host.nix().switch_generation(&host.layout.profile(&record.name), from.get(), cancel)?;
            }
            record.lxc_items = record.items_of(from);
            claim::addresses::claim(host, record, &spec, &claim::others(host)?)?;
            claim::host_ports::claim(host, record, &spec)?;
            limits::restore(host, record, &spec)?;
        }
        // Somebody deleted it by other means: then the current one is all there is.
        Err(GenerationsError::Missing { .. }) => {
            context.tell(GenerationNote::Gone { name: record.name.clone(), generation: from });
        }
        Err(error) => return Err(error.into()),
    }
    crate::build::clear_work(host, &record.name)?;
    durable::generation(host, &record.name, generations.current()?)?;
    // The configuration is not rendered here: the next start does that, and what refuses it (a key that is no longer
    // allowed) must not stand in the way of going back.
    ready(host, record)?;
    let spec = generations.spec(generations.current()?)?;
    settle(context, record, &spec)?;
    Ok(cut_off)
}
