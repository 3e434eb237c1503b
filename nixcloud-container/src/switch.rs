//! Switch, rollback and delete-generations; and the step that they share with update: making a generation the one
//! that counts, in the profile, on LXC's side and in the running guest.

use crate::activation;
use crate::adopt;
use crate::booting;
use crate::error::{Error, FailedActivation};
use crate::extra_check;
use crate::generation::{GenerationId, Health, Selection};
use crate::generations::Generations;
use crate::host::Host;
use crate::install::{self, Beside};
use crate::moving;
use crate::name::ContainerName;
use crate::observe::{self, Cancel, Event, Observer, Phase as Progress};
use crate::power;
use crate::presence::{self, Presence};
use crate::record::{Phase, Record, Run};
use crate::recover;
use crate::render::{self, PendingRestart, Rendered};
use crate::spec::ContainerSpec;
use crate::state::{Action, Permission, State};

/// What an update, switch or rollback came to.
#[derive(Debug, Clone, PartialEq, Eq)]
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

pub(crate) fn switch(
    host: &Host,
    name: &ContainerName,
    choose: &dyn Fn(&Generations) -> Result<GenerationId, crate::generations::GenerationsError>,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Switched, Error> {
    host.record(name)?;
    let _lock = host.lock_observed(name, observer, cancel)?;
    let mut record = adopt::record(host, name, observer, cancel)?;
    recover::interrupted_switch(host, &mut record, observer, cancel)?;
    let here = allowed(host, &record, cancel)?;
    let generations = Generations::new(&host.layout, name);
    let (from, to) = (generations.current()?, choose(&generations)?);
    let spec = generations.spec(to)?;
    if spec.original {
        adopt::tell(host, &spec.lxc_extra_config, observer);
    }
    let beside = Beside { items: record.items_of(to), ..Beside::default() };
    if let Err(failure) = prepare(host, &mut record, &spec, &beside, cancel) {
        return Err(failure.undone(release(host, &mut record, &generations.spec(from)?, &mut ())));
    }
    begin(host, &mut record, from, beside.items)?;
    if to != from
        && let Err(failure) = host.nix().switch_generation(&host.layout.profile(name), to.get(), cancel)
    {
        return Err(put_back(host, &mut record, observer, Error::from(failure)));
    }
    settle(host, &mut record, &spec, &here, Step { from, to }, observer, cancel)
}

/// Whether the container's state lets its generation change.
pub(crate) fn allowed(host: &Host, record: &Record, cancel: &Cancel) -> Result<Presence, Error> {
    let limit = host.config.timeouts.start();
    let here = power::wait_while_passing(host, record, Action::Update, limit, cancel)?;
    match here.state.permits(Action::Update) {
        Permission::Allowed => Ok(here),
        _ => Err(Error::State { name: record.name.clone(), state: here.state, action: Action::Update }),
    }
}

/// Everything that can refuse a generation, before the profile changes: its addresses, its ids, its extra lines.
pub(crate) fn prepare(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    beside: &Beside,
    cancel: &Cancel,
) -> Result<Rendered, Error> {
    let rendered = install::rendered_with(host, record, spec, &beside.items)?;
    extra_check::require(&host.worker, &rendered.extra, &beside.log, cancel)?;
    let foreign = install::others(host)?;
    install::claim_addresses(host, record, spec, &foreign)?;
    install::claim_ports(host, record, spec)?;
    moving::prepare(host, record, spec.idmap, &foreign, cancel)?;
    Ok(rendered)
}

/// Gives back what `spec`, which is that of the current generation, does not use.
pub(crate) fn release(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    install::release_ports(host, record, spec, observer)?;
    install::release_addresses(host, record, spec)?;
    moving::forget(host, record, spec.idmap)
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
    record.phase = Phase::Switching { from };
    record.save(&host.layout)?;
    Ok(())
}

/// From one generation to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) from: GenerationId,
    pub(crate) to: GenerationId,
}

/// The profile points to `to`: writes the configuration, switches a running guest, and either ends the operation or
/// puts `from` back.
pub(crate) fn settle(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    here: &Presence,
    step: Step,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Switched, Error> {
    let Step { from, to } = step;
    tracing::debug!(%from, %to, state = %here.state, "the profile is switched");
    // Those of a running guest are moved at its next start.
    let live = here.state.is_live();
    if !live && let Err(failure) = moving::complete(host, record, spec.idmap, observer, cancel) {
        return Err(put_back(host, record, observer, failure));
    }
    let rendered = match install::rendered(host, record, spec) {
        Ok(rendered) => rendered,
        Err(failure) => return Err(put_back(host, record, observer, failure)),
    };
    let file = if live { install::rendered_running(host, record, spec) } else { Ok(rendered.clone()) };
    if let Err(failure) = file.and_then(|file| install::write_config(host, record, &file, observer)) {
        return Err(put_back(host, record, observer, failure));
    }
    let name = record.name.clone();
    let running = here.state == State::Running;
    let (mut pending_restart, mut failed_before) = (Vec::new(), Vec::new());
    if running {
        // Its switch compares with what stage 2 writes at its end, and runs the activation that stage 2 may be running.
        if let Some(init) = here.init
            && let Err(failure) = booting::wait(host, &name, init, observer, cancel)
                .and_then(|()| activation::await_units(host, &name, init, observer, cancel))
        {
            return Err(put_back(host, record, observer, failure));
        }
        if let Some(run) = &here.run {
            pending_restart = render::compare(&run.config, &rendered.text);
            Run { switched: true, ..run.clone() }.save(&host.layout, &name)?;
        }
        let before = activation::failed_units(host, &name, cancel);
        let before = before.as_deref();
        let outcome = match activation::switch(host, &name, before, observer, cancel) {
            Ok(activation::Outcome { failed, still }) => {
                failed_before = still;
                failed
            }
            // It was cut off, or the guest could not be entered: that says nothing of the generation.
            Err(failure) => return Err(put_back_and_activate(host, record, before, observer, failure)),
        };
        let health = match outcome {
            None => Health::Good,
            // It activated nothing, so nothing about the generation is known to be bad.
            Some(FailedActivation::NeedsRestart) => Health::Untried,
            Some(_) => Health::Bad,
        };
        record.note_health(to, health);
        observer.event(Event::Health { generation: to, health });
        match outcome {
            None => tell_failed_before(&name, &failed_before, observer),
            Some(outcome @ (FailedActivation::UnitsFailed { .. } | FailedActivation::NeedsRestart)) => {
                finish(host, record, observer)?;
                return Err(Error::Activation {
                    name,
                    generation: to,
                    outcome,
                    restored: None,
                    pending_restart,
                });
            }
            Some(outcome) => {
                let failure = Error::Activation {
                    name,
                    generation: to,
                    outcome,
                    restored: Some(from),
                    pending_restart: Vec::new(),
                };
                return Err(put_back_and_activate(host, record, before, observer, failure));
            }
        }
    }
    finish(host, record, observer)?;
    Ok(Switched { name, from, to, activated: running, pending_restart, failed_before })
}

fn tell_failed_before(name: &ContainerName, units: &[String], observer: &mut dyn Observer) {
    if !units.is_empty() {
        let units = units.join(", ");
        observer.event(Event::Note(format!(
            "units of `{name}` that had failed before this change still do: {units}"
        )));
    }
}

/// Ends the operation: the current generation is the one that counts. What the others held is given back after that
/// is on disk, so that a kill in between undoes nothing that has proved itself.
fn finish(host: &Host, record: &mut Record, observer: &mut dyn Observer) -> Result<(), Error> {
    let generations = Generations::new(&host.layout, &record.name);
    let current = generations.current()?;
    let spec = generations.spec(current)?;
    (record.phase, record.unsettled) = (Phase::Ready, true);
    record.note_items(current);
    // Notes of generations that are gone.
    if let Ok(list) = generations.list(record, None) {
        record.generations.retain(|note| list.iter().any(|generation| generation.id == note.id));
    }
    record.save(&host.layout)?;
    recover::settle(host, record, &spec, observer)
}

/// A failure before the guest was touched.
pub(crate) fn put_back(
    host: &Host,
    record: &mut Record,
    observer: &mut dyn Observer,
    failure: Error,
) -> Error {
    // The user's Ctrl-C does not cut the undoing off.
    let undo = observe::phase(Progress::Undo, observer, |_| {
        recover::interrupted_switch(host, record, &mut (), &Cancel::new())
    });
    failure.undone(undo)
}

/// A failure that may have left the guest half switched: the old generation is activated again.
fn put_back_and_activate(
    host: &Host,
    record: &mut Record,
    before: Option<&[String]>,
    observer: &mut dyn Observer,
    failure: Error,
) -> Error {
    let name = record.name.clone();
    let failure = put_back(host, record, observer, failure);
    if matches!(failure, Error::Undo { .. }) {
        return failure;
    }
    let undo = match activation::switch(host, &name, before, observer, &Cancel::new())
        .map(|switched| switched.failed)
    {
        Ok(None) => Ok(()),
        Ok(Some(outcome)) => match Generations::new(&host.layout, &name).current() {
            Ok(generation) => Err(Error::Activation {
                name,
                generation,
                outcome,
                restored: None,
                pending_restart: Vec::new(),
            }),
            Err(error) => Err(error.into()),
        },
        Err(error) => Err(error),
    };
    failure.undone(undo)
}

pub(crate) fn delete_generations(
    host: &Host,
    name: &ContainerName,
    selection: &Selection,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Vec<GenerationId>, Error> {
    host.record(name)?;
    let _lock = host.lock_observed(name, observer, cancel)?;
    let mut record = adopt::record(host, name, observer, cancel)?;
    recover::interrupted_switch(host, &mut record, observer, cancel)?;
    let here = presence::look(&host.layout, &record)?;
    let generations = Generations::new(&host.layout, name);
    let chosen = generations.select(selection, &maybe_booted(&record, &here))?;
    if !chosen.is_empty() {
        let ids: Vec<u64> = chosen.iter().map(|id| id.get()).collect();
        host.nix().delete_generations(&host.layout.profile(name), &ids, cancel)?;
        finish(host, &mut record, observer)?;
    }
    Ok(chosen)
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
