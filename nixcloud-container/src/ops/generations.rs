//! Generations that go: which ones, and that they do.

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::generation::{GenerationId, Selection};
use crate::model::name::ContainerName;
use crate::model::occurrence::Operation;
use crate::ops::locked::{self, Locked};
use crate::ops::switch;
use crate::store::history::{Generations, GenerationsError};
use crate::store::presence::{self, Presence};
use crate::store::record::Record;

pub(crate) fn delete(
    context: &mut Context<'_>,
    name: &ContainerName,
    selection: &Selection,
) -> Result<Vec<GenerationId>, Error> {
    let Context { host, cancel, .. } = *context;
    let Locked { lock: _lock, mut record, .. } =
        locked::take_whole_observed(context, name, Operation::DeleteGenerations)?;
    let here = presence::look(&host.layout, &record)?;
    let generations = Generations::new(&host.layout, name);
    let chosen = chosen(&generations, &record, &here, selection)?;
    if !chosen.is_empty() {
        let ids: Vec<u64> = chosen.iter().map(|id| id.get()).collect();
        host.nix().delete_generations(&host.layout.profile(name), &ids, cancel)?;
        // They are gone, whether that can be noted or not: notes of those that are gone say nothing.
        let current = generations.current()?;
        if let Err(failure) = switch::prove(host, &mut record) {
            return Err(switch::unsettled(name, current, failure));
        }
        switch::follow(context, &mut record, current)?;
    }
    Ok(chosen)
}

/// Those that would be deleted, as far as that is known without waiting for whoever changes the container.
pub(crate) fn foreseen_deletion(
    host: &Host,
    name: &ContainerName,
    selection: &Selection,
) -> Result<Vec<GenerationId>, Error> {
    let record = host.record(name)?;
    let here = presence::look(&host.layout, &record)?;
    Ok(chosen(&Generations::new(&host.layout, name), &record, &here, selection)?)
}

fn chosen(
    generations: &Generations,
    record: &Record,
    here: &Presence,
    selection: &Selection,
) -> Result<Vec<GenerationId>, GenerationsError> {
    generations.select(selection, &maybe_booted(record, here), &|id| record.health(id))
}

/// The generations that the running guest may have been booted from. After a reboot from inside that is not known:
/// then each that was ever activated, and the one that it was started with.
fn maybe_booted(record: &Record, here: &Presence) -> Vec<GenerationId> {
    if !here.state.is_live() {
        return Vec::new();
    }
    if let Some(booted) = here.booted() {
        return vec![booted];
    }
    let started = here.run.as_ref().and_then(|run| run.generation);
    record.generations.iter().map(|note| note.id).chain(started).collect()
}
