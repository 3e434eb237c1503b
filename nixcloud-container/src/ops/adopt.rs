//! Adoption: a container that the shell original made becomes one of ours, at the first operation that changes it.
//!
//! Its address and ids stay its own, its generations keep what they were built with. The record says from the first how
//! far it has got, so that one of us who is killed on the way leaves a container that the next one goes on with.

use crate::error::Error;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Event, Observer};
use crate::ops::claim;
use crate::render;
use crate::store::generations::Generations;
use crate::store::legacy;
use crate::store::presence;
use crate::store::record::{Adopted, Record};
use crate::store::rootfs;

/// The record of a container that is about to be changed, whose lock the caller holds.
pub(crate) fn record(
    host: &Host,
    name: &ContainerName,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Record, Error> {
    let mut record = host.record(name)?;
    if record.adopted == Some(Adopted::Begun) && !record.phase.is_unfinished() {
        adopt(host, &mut record, observer, cancel)?;
    }
    Ok(record)
}

fn adopt(
    host: &Host,
    record: &mut Record,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<(), Error> {
    let name = record.name.clone();
    observer.event(Event::Note(format!("`{name}` was made by the shell original: it is adopted")));
    let generations = Generations::new(&host.layout, &name);
    let spec = generations.spec(generations.current()?)?;
    keep_lines(host, record, &generations, observer)?;
    tell(host, &spec.lxc_extra_config, observer);
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
        observer.event(Event::Note(format!(
            "`{name}` keeps what the original started it with until it is restarted: until then nothing but its ids keeps \
             it from writing to the store"
        )));
    }
    Ok(())
}

/// Lines that somebody added by hand are kept beside every generation, as far as they keep the protection; those of the
/// generations themselves are judged whenever they are rendered. What is left out is told.
fn keep_lines(
    host: &Host,
    record: &mut Record,
    generations: &Generations,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    // Once our own configuration is written, the other one is gone.
    if record.config_hashes.is_empty() {
        let (kept, refused) = render::keep(&legacy::added(&host.layout, &record.name)?, &host.config);
        left_out(&refused, observer);
        record.lxc_items = kept;
    }
    for generation in generations.list(record, None)? {
        record.note_items(generation.id);
    }
    Ok(())
}

/// Tells which lines of a generation of the original are left out.
pub(crate) fn tell(host: &Host, lines: &str, observer: &mut dyn Observer) {
    left_out(&render::keep(lines, &host.config).1, observer);
}

fn left_out(refused: &[render::ExtraError], observer: &mut dyn Observer) {
    for error in refused {
        observer.event(Event::Note(format!("`{}` is left out: {}", error.line, error.why)));
    }
}
