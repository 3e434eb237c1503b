//! What a killed operation left, seen by the next one that holds the container's lock.

use crate::error::Error;
use crate::generations::Generations;
use crate::host::Host;
use crate::install;
use crate::observe::{Cancel, Event, Observer};
use crate::record::{Phase, Record};

/// Ends a switch that was cut off: the generation that was current before is made so again, since the other one
/// has not proved itself. The guest, if it runs, is left to the next update.
pub(crate) fn interrupted_switch(
    host: &Host,
    record: &mut Record,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<(), Error> {
    let Phase::Switching { from } = record.phase else { return Ok(()) };
    observer.event(Event::Note(format!("generation {from} of `{}` is put back", record.name)));
    let generations = Generations::new(&host.layout, &record.name);
    if generations.current()? != from {
        host.nix().switch_generation(&host.layout.profile(&record.name), from.get(), cancel)?;
    }
    let spec = generations.spec(from)?;
    let foreign = install::others(host)?;
    install::claim_addresses(host, record, &spec, &foreign)?;
    crate::build::clear_work(host, &record.name)?;
    if let Some(ids) = record.ids {
        let rendered = install::rendered(host, record, &spec, ids)?;
        install::write_config(host, record, &rendered, &mut ())?;
    }
    install::release_addresses(host, record, &spec)?;
    record.phase = Phase::Ready;
    record.save(&host.layout)?;
    Ok(())
}
