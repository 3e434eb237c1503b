//! Adoption: a container that the shell original made becomes one of ours, at the first operation that changes it.
//!
//! Its address and ids stay its own, its generations keep what they were built with. The record says from the first how
//! far it has got, so that one of us who is killed on the way leaves a container that the next one goes on with.

use crate::error::Error;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::note::AdoptionNote;
use crate::ops::claim;
use crate::render;
use crate::store::history::Generations;
use crate::store::legacy;
use crate::store::presence;
use crate::store::record::{Adopted, Record};
use crate::store::rootfs;

/// The record of a container that is about to be changed, whose lock the caller holds.
pub(crate) fn record(context: &mut Context<'_>, name: &ContainerName) -> Result<Record, Error> {
    let mut record = context.host.record(name)?;
    if record.adopted == Some(Adopted::Begun) && !record.phase.is_unfinished() {
        adopt(context, &mut record)?;
    }
    Ok(record)
}

fn adopt(context: &mut Context<'_>, record: &mut Record) -> Result<(), Error> {
    let Context { host, cancel, .. } = *context;
    let name = record.name.clone();
    context.tell(AdoptionNote::Adopted { name: name.clone() });
    let generations = Generations::new(&host.layout, &name);
    let spec = generations.spec(generations.current()?)?;
    keep_lines(context, record, &generations)?;
    tell(context, &spec.lxc_extra_config);
    if let Err(failure) = claim::adopted(host, record, &spec, cancel) {
        // Nothing but claims was made: it is the original's as before.
        let undo = claim::release_all(host, record).and_then(|()| Ok(Record::delete(&host.layout, &name)?));
        return Err(failure.undone(undo));
    }
    let Some(ids) = record.ids else { return Err(Error::Incomplete { name, what: "ids" }) };
    rootfs::adopt(&host.layout, &name, ids)?;
    record.adopted = Some(Adopted::Done);
    record.save(&host.layout)?;
    if presence::look(&host.layout, record)?.state.is_live() {
        context.tell(AdoptionNote::RunsAsBefore { name });
    }
    Ok(())
}

/// Lines that somebody added by hand are kept beside every generation, as far as they keep the protection; those of the
/// generations themselves are judged whenever they are rendered. What is left out is told.
fn keep_lines(
    context: &mut Context<'_>,
    record: &mut Record,
    generations: &Generations,
) -> Result<(), Error> {
    let host = context.host;
    // Once our own configuration is written, the other one is gone.
    if record.config_hashes.is_empty() {
        let (kept, refused) = render::keep(&legacy::added(&host.layout, &record.name)?, &host.config);
        left_out(context, &refused);
        record.lxc_items = kept;
    }
    for generation in generations.list(record, None)? {
        record.note_items(generation.id);
    }
    Ok(())
}

/// Tells which lines of a generation of the original are left out.
pub(crate) fn tell(context: &mut Context<'_>, lines: &str) {
    left_out(context, &render::keep(lines, &context.host.config).1);
}

fn left_out(context: &mut Context<'_>, refused: &[render::ExtraError]) {
    for error in refused {
        context.tell(AdoptionNote::LineLeftOut { line: error.line.clone(), why: error.why.clone() });
    }
}
