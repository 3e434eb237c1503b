//! Switch and rollback; and the step that they share with update: making a generation the one
//! that counts, in the profile, on LXC's side and in the running guest.

use crate::error::{self, Error, FailedActivation};
use crate::host::Host;
use crate::host::context::Context;
use crate::model::generation::{GenerationId, Health};
use crate::model::name::ContainerName;
use crate::model::note::{DeclarationNote, GenerationNote};
use crate::model::observe::{Cancel, Event, Phase};
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::model::state::{Action, State};
use crate::ops::activate;
use crate::ops::adopt;
use crate::ops::booting;
use crate::ops::claim;
use crate::ops::cut_off;
use crate::ops::devices;
use crate::ops::durable;
use crate::ops::idmap_move;
use crate::ops::limits::{self, Below};
use crate::ops::locked::{self, Locked};
use crate::ops::lxc_config::{self, GivenItems};
use crate::ops::recover;
use crate::ops::shown;
use crate::ops::switch_request::SwitchRequest;
use crate::render::{PendingRestart, Rendered};
use crate::store::history::Generations;
use crate::store::journal::{self, Note};
use crate::store::presence::Presence;
use crate::store::record::{Record, RecordPhase, Run};

/// What an update, switch or rollback came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Switched {
    /// The container.
    pub name: ContainerName,
    /// The generation that was current before.
    pub from: GenerationId,
    /// The one that is current now.
    pub to: GenerationId,
    /// Whether the running guest was switched to it; otherwise it boots at the next start.
    pub activated: bool,
    /// What of LXC's side (network, limits, mounts) waits for a restart.
    pub pending_restart: Vec<PendingRestart>,
    /// Units of the guest that had failed before and fail still: no fault of the generation.
    pub failed_before: Vec<String>,
}

setters!(Switched: "Of a guest that does not run: from one generation to another." (name: ContainerName, from: GenerationId, to: GenerationId) {
    with_activated => activated: bool,
    with_pending_restart => pending_restart: Vec<PendingRestart>,
    with_failed_before => failed_before: Vec<String>,
});

pub(crate) fn switch(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: SwitchRequest,
) -> Result<Switched, Error> {
    let Context { host, cancel, .. } = *context;
    let Locked { lock: _lock, mut record, cut_off } =
        locked::take_whole_observed(context, name, Operation::Switch)?;
    allowed(host, &record, cancel)?;
    let generations = Generations::new(&host.layout, name);
    let (from, to) = (generations.current()?, request.choose(&generations, &record, cut_off, context)?);
    let spec = generations.spec(to)?;
    if spec.original {
        adopt::tell(context, &spec.lxc_extra_config);
    }
    let given = GivenItems { items: record.items_of(to), ..GivenItems::default() };
    if let Err(failure) = prepare(context, &mut record, &spec, &given) {
        let current = generations.spec(from)?;
        return Err(failure.undone(context.untold(|context| release(context, &mut record, &current))));
    }
    let package = generations.package(to)?;
    let moved = begin(host, &mut record, from, given.items).and_then(|()| {
        let nix = host.nix();
        shown::prepare(host, name, &spec, &package, cancel)?;
        // A guest that reboots from inside boots it as soon as the profile leads there.
        shown::add(host, &record, &package, cancel)?;
        if to == from {
            Ok(())
        } else {
            Ok(nix.switch_generation(&host.layout.profile(name), to.get(), cancel)?)
        }
    });
    if let Err(failure) = moved {
        return Err(put_back(context, &mut record, failure));
    }
    // What is noted of the guest has changed.
    let here = match allowed(host, &record, cancel) {
        Ok(here) => here,
        Err(failure) => return Err(put_back(context, &mut record, failure)),
    };
    let step = Step { from, to, pinned: true, below: request.below() };
    let switched = settle(context, &mut record, &spec, &here, step)?;
    if let Some(declared) = &record.declared {
        let by = declared.source.clone();
        context.tell(DeclarationNote::ChangedBack { name: name.clone(), by });
    }
    Ok(Switched { from: cut_off.unwrap_or(from), ..switched })
}

/// Whether the container's state lets its generation change.
pub(crate) fn allowed(host: &Host, record: &Record, cancel: &Cancel) -> Result<Presence, Error> {
    cut_off::settle(host, record)?;
    Ok(locked::permitted(host, record, Action::Update, cancel)?.here)
}

/// Everything that can refuse a generation, before the profile changes: its addresses, its ids, its extra lines.
pub(crate) fn prepare(
    context: &mut Context<'_>,
    record: &mut Record,
    spec: &ContainerSpec,
    given: &GivenItems,
) -> Result<Rendered, Error> {
    let Context { host, cancel, .. } = *context;
    limits::require(context, &record.name, spec, limits::overrides(record, true))?;
    devices::require(context, &record.name, spec)?;
    let rendered = lxc_config::checked(host, record, spec, given, cancel)?;
    let foreign = claim::others(host)?;
    claim::addresses::claim(host, record, spec, &foreign)?;
    claim::host_ports::claim(host, record, spec)?;
    claim::ids::claim_other(host, record, spec.idmap, &foreign, cancel)?;
    Ok(rendered)
}

/// Gives back what `spec`, which is that of the current generation, does not use.
pub(crate) fn release(
    context: &mut Context<'_>,
    record: &mut Record,
    spec: &ContainerSpec,
) -> Result<(), Error> {
    let host = context.host;
    // What was cancelled is undone all the same.
    context.uncancelled(|context| claim::host_ports::release(context, record, spec))?;
    claim::addresses::release(host, record, spec)?;
    idmap_move::forget(host, record, spec.idmap)
}

/// From here to [`settle`], a killed operation is undone by the next one. `items` are those of the generation that is
/// to come; what `from` has is noted, also where both turn out to be the same generation.
pub(crate) fn begin(
    host: &Host,
    record: &mut Record,
    from: GenerationId,
    items: Vec<(String, String)>,
) -> Result<(), Error> {
    record.note_items(from);
    record.lxc_items = items;
    record.phase = RecordPhase::Switching { from };
    record.save(&host.layout)?;
    Ok(())
}

/// From one generation to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) from: GenerationId,
    pub(crate) to: GenerationId,
    /// Whether somebody chose `to`: then it stays until it is this container that is updated.
    pub(crate) pinned: bool,
    /// Whether the running guest may get limits that it is beyond already.
    pub(crate) below: Below,
}

/// The profile points to `to`: writes the configuration, switches a running guest, and either ends the operation or
/// puts `from` back.
pub(crate) fn settle(
    context: &mut Context<'_>,
    record: &mut Record,
    spec: &ContainerSpec,
    here: &Presence,
    step: Step,
) -> Result<Switched, Error> {
    let Context { host, cancel, .. } = *context;
    let Step { from, to, below, .. } = step;
    tracing::debug!(%from, %to, state = %here.state, "the profile is switched");
    // Those of a running guest are moved at its next start.
    let live = here.state.is_live();
    if !live && let Err(failure) = idmap_move::complete(context, record, spec.idmap) {
        return Err(put_back(context, record, failure));
    }
    let written = lxc_config::rendered(host, record, spec).and_then(|rendered| {
        let file = if live { lxc_config::rendered_running(host, record, spec)? } else { rendered.clone() };
        lxc_config::write(context, record, &file).map(|()| rendered)
    });
    let rendered = match written {
        Ok(rendered) => rendered,
        Err(failure) => return Err(put_back(context, record, failure)),
    };
    let name = record.name.clone();
    let running = here.state == State::Running;
    let (mut pending_restart, mut failed_before) = (Vec::new(), Vec::new());
    let mut left = None;
    if let Some(init) = here.init.filter(|_| live) {
        let held = limits::of(host, spec, limits::overrides(record, to != from)).map(|(held, _)| held);
        if let Err(failure) = held.and_then(|held| limits::change(host, &name, init, &held, below)) {
            return Err(put_back(context, record, failure));
        }
    }
    if running {
        // Its switch compares with what stage 2 writes at its end, and runs the activation that stage 2 may be running.
        if let Some(init) = here.init
            && let Err(failure) =
                booting::wait(context, &name, init).and_then(|()| activate::await_units(context, &name, init))
        {
            return Err(put_back(context, record, failure));
        }
        // What is left now, and may be what a rollback is to come back to.
        here.note_run(&host.layout, record);
        if let Some(run) = &here.run
            && let Err(failure) = (Run { switched: true, ..run.clone() }).save(&host.layout, &name)
        {
            return Err(put_back(context, record, failure.into()));
        }
        if let Err(failure) = devices::add(context, record, spec) {
            return Err(put_back(context, record, failure));
        }
        let package = Generations::new(&host.layout, &name).package(to).map_err(Error::from);
        if let Err(failure) = package.and_then(|package| shown::begin(host, record, &package)) {
            return Err(put_back(context, record, failure));
        }
        let before = activate::failed_units(host, &name, cancel);
        let before = before.as_deref();
        let outcome = match activate::switch(context, &name, before) {
            Ok(outcome) => {
                let outcome = still_blamed(host, record, to, outcome, cancel);
                failed_before = outcome.still;
                outcome.failed
            }
            // It was cut off, or the guest could not be entered: that says nothing of the generation.
            Err(failure) => return Err(put_back_and_activate(context, record, before, failure)),
        };
        let health = match &outcome {
            None => Health::Good,
            // It activated nothing: what was known of the generation is all that is.
            Some(FailedActivation::NeedsRestart) if record.health(to) == Health::Undone => Health::Untried,
            Some(FailedActivation::NeedsRestart) => record.health(to),
            Some(_) => Health::Bad,
        };
        record.note_health(to, health);
        match &outcome {
            Some(FailedActivation::UnitsFailed { units }) => record.note_failed(to, units),
            Some(FailedActivation::NeedsRestart) => {}
            _ => record.note_failed(to, &[]),
        }
        context.tell(Event::Health { generation: to, health });
        match outcome {
            None => tell_failed_before(context, &name, &failed_before),
            Some(outcome @ (FailedActivation::UnitsFailed { .. } | FailedActivation::NeedsRestart)) => {
                left = Some(outcome);
            }
            Some(outcome) => {
                let failure = Error::Activation {
                    name,
                    generation: to,
                    outcome,
                    restored: Some(from),
                    pending_restart: Vec::new(),
                };
                return Err(put_back_and_activate(context, record, before, failure));
            }
        }
        let package = Generations::new(&host.layout, &name).package(to).map_err(Error::from);
        let noted = package.and_then(|package| match left {
            Some(FailedActivation::NeedsRestart) => shown::not_begun(host, record, &package),
            _ => shown::end(host, record, &package),
        });
        if let Err(failure) = noted {
            return Err(put_back_and_activate(context, record, before, failure));
        }
        // From here on the guest has it, and nobody knows that it is the one that counts.
        if let Err(failure) = prove_as(host, record, step) {
            return Err(put_back_and_activate(context, record, before, failure));
        }
    } else {
        if record.health(to) == Health::Undone {
            // Now it is the one to boot, as if it were new.
            record.note_health(to, Health::Untried);
        }
        if let Err(failure) = prove_as(host, record, step) {
            return Err(put_back(context, record, failure));
        }
    }
    let followed = follow(context, record, to);
    // What could be changed has been by now.
    if running && let Ok(Some(run)) = devices::noted_run(host, &name) {
        pending_restart = devices::all_pending(host, &run, &rendered, spec);
    }
    let Some(outcome) = left else {
        return followed.map(|()| Switched {
            name,
            from,
            to,
            activated: running,
            pending_restart,
            failed_before,
        });
    };
    // What became of the generation is the news.
    if let Err(failure) = followed {
        let (name, why) = (name.clone(), error::chain(&failure));
        context.tell(GenerationNote::Unsettled { name, generation: to, why });
    }
    Err(Error::Activation { name, generation: to, outcome, restored: None, pending_restart })
}

/// A switch that is repeated succeeds as far as NixOS is concerned: the unit which the generation was blamed for had failed
/// before. It is the generation's fault as much as it was then.
fn still_blamed(
    host: &Host,
    record: &Record,
    to: GenerationId,
    outcome: activate::Activated,
    cancel: &Cancel,
) -> activate::Activated {
    let blamed = record.failed_units(to);
    if outcome.failed.is_some() || blamed.is_empty() {
        return outcome;
    }
    let mut failed = outcome.still;
    if failed.is_empty() {
        // It speaks of those alone that it has looked at.
        failed = activate::failed_units(host, &record.name, cancel).unwrap_or_default();
        failed.retain(|unit| blamed.contains(unit));
    }
    let (ours, still): (Vec<String>, Vec<String>) =
        failed.into_iter().partition(|unit| blamed.contains(unit));
    if ours.is_empty() {
        return activate::Activated { failed: None, still };
    }
    activate::Activated { failed: Some(FailedActivation::UnitsFailed { units: ours }), still }
}

fn tell_failed_before(context: &mut Context<'_>, name: &ContainerName, units: &[String]) {
    if !units.is_empty() {
        context.tell(GenerationNote::FailedBefore { name: name.clone(), units: units.to_vec() });
    }
}

/// Notes, on the disk, that the current generation is the one that counts.
pub(crate) fn prove(host: &Host, record: &mut Record) -> Result<(), Error> {
    let generations = Generations::new(&host.layout, &record.name);
    let current = generations.current()?;
    record.note_items(current);
    // Notes of generations that are gone.
    if let Ok(list) = generations.list(record, None) {
        record.generations.retain(|note| list.iter().any(|generation| generation.id == note.id));
    }
    durable::generation(host, &record.name, current)?;
    recover::ready(host, record)
}

/// As [`prove`], of a generation that somebody chose, or nobody.
fn prove_as(host: &Host, record: &mut Record, Step { from, to, pinned, .. }: Step) -> Result<(), Error> {
    let limits = limits::overrides(record, to != from).cloned();
    let before =
        (std::mem::replace(&mut record.pinned, pinned), std::mem::replace(&mut record.limits, limits));
    prove(host, record).inspect_err(|_| (record.pinned, record.limits) = before)?;
    if from != to {
        journal::note(&host.layout, &record.name, Note::Switched { from, to });
    }
    Ok(())
}

/// What follows from a generation that counts, after that is on disk, so that a kill in between undoes nothing that has
/// proved itself: others are told, and what the other generations held is given back.
pub(crate) fn follow(
    context: &mut Context<'_>,
    record: &mut Record,
    current: GenerationId,
) -> Result<(), Error> {
    let spec = Generations::new(&context.host.layout, &record.name).spec(current);
    let settled = spec.map_err(Error::from).and_then(|spec| recover::settle(context, record, &spec));
    settled.map_err(|source| unsettled(&record.name, current, source))
}

/// A failure after the generation has begun to count.
pub(crate) fn unsettled(name: &ContainerName, generation: GenerationId, failure: Error) -> Error {
    match failure {
        failure @ Error::Unsettled { .. } => failure,
        failure => Error::Unsettled { name: name.clone(), generation, source: Box::new(failure) },
    }
}

/// A failure before the guest was touched.
pub(crate) fn put_back(context: &mut Context<'_>, record: &mut Record, failure: Error) -> Error {
    // The failure of an activation says itself what was put back.
    let says = matches!(failure, Error::Activation { .. });
    // The user's Ctrl-C does not cut the undoing off.
    let undo = context.phase(Phase::Undo, |context| {
        context.uncancelled(|context| {
            let mut back = |context: &mut Context<'_>| recover::interrupted_switch(context, record).map(drop);
            if says { context.untold(back) } else { back(context) }
        })
    });
    failure.undone(undo)
}

/// A failure that may have left the guest half switched: the old generation is activated again, as long as it is the one
/// that the guest sees.
fn put_back_and_activate(
    context: &mut Context<'_>,
    record: &mut Record,
    before: Option<&[String]>,
    failure: Error,
) -> Error {
    let name = record.name.clone();
    let from = if let RecordPhase::Switching { from } = record.phase { Some(from) } else { None };
    let failure = put_back(context, record, failure);
    let current = Generations::new(&context.host.layout, &name).current();
    let generation = match current {
        Ok(current) if from.is_none_or(|from| from == current) => current,
        // The undoing failed, and has told why.
        _ => return failure,
    };
    let activated = context.uncancelled(|context| activate::switch(context, &name, before));
    let undo = match activated.map(|switched| switched.failed) {
        Ok(None) => {
            // It runs the old one again: what was shown for the other can go.
            let host = context.host;
            let old = Generations::new(&host.layout, &name).package(generation).map_err(Error::from);
            old.and_then(|old| shown::end(host, record, &old)).and_then(|()| shown::settle(host, record))
        }
        Ok(Some(outcome)) => {
            Err(Error::Activation { name, generation, outcome, restored: None, pending_restart: Vec::new() })
        }
        Err(error) => Err(error),
    };
    failure.undone(undo)
}
