//! Update: a new generation, activated in place where the guest runs.

use std::path::PathBuf;

use crate::build::source::Source;
use crate::build::{self, Order, Realised};
use crate::error::Error;
use crate::host::context::Context;
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::note::{DeclarationNote, GenerationNote};
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::ops::claim;
use crate::ops::create::{self, Created};
use crate::ops::idmap_move;
use crate::ops::limits::{self, Below};
use crate::ops::locked;
use crate::ops::lxc_config::{self, GivenItems};
use crate::ops::needs;
use crate::ops::recover;
use crate::ops::shown;
use crate::ops::switch::{self, Step, Switched};
use crate::store::claims::Foreign;
use crate::store::history::Generations;
use crate::store::record::{Record, RecordPhase};
use crate::worker::LogRequest;

/// How a container is to be updated: what is not given is as it was last.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct UpdateRequest {
    /// The container file, see [`CreateRequest`](crate::CreateRequest::file); the one last used when not given.
    pub file: Option<PathBuf>,
    /// Arguments for Nix, already split; those last used when not given.
    pub nix_args: Option<Vec<String>>,
    /// LXC configuration items beside those of the file, see [`CreateRequest`](crate::CreateRequest::lxc_items); those of
    /// the current generation when not given. They belong to the generation: a rollback brings back those it had.
    pub lxc_items: Option<Vec<(String, String)>>,
    /// Where liblxc logs, and how much, while it looks at such items and at `lxcExtraConfig`.
    pub log: LogRequest,
    /// Whether a running guest that uses more memory than the new generation gives it is switched all the same: on cgroup v2
    /// the kernel then ends processes of it, on v1 it refuses by itself.
    pub force_limits: bool,
}

setters!(UpdateRequest {
    with_file => file: Option<PathBuf>,
    with_nix_args => nix_args: Option<Vec<String>>,
    with_lxc_items => lxc_items: Option<Vec<(String, String)>>,
    with_log => log: LogRequest,
    with_force_limits => force_limits: bool,
});

impl UpdateRequest {
    /// From a container file, and all else as it was last.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: Some(file.into()), ..Self::default() }
    }
}

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Updated {
    /// There was no such container: it was created.
    Created(Created),
    /// It has a new generation, or the one it had, if nothing changed.
    Switched(Switched),
}

pub(crate) fn update(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &UpdateRequest,
) -> Result<Updated, Error> {
    let source = |file: &PathBuf, args: &[String]| {
        Source::container(file, request.nix_args.as_deref().unwrap_or(args))
    };
    // A mistyped file, or name, is told before anything is locked.
    match &request.file {
        Some(file) => drop(source(file, &[])?),
        None => locked::require(context.host, name)?,
    }
    let (_lock, record) = locked::take_name(context, name, Operation::Update)?;
    let Some(record) = record else {
        let Some(file) = &request.file else { return Err(Error::NotFound { name: name.clone() }) };
        let source = source(file, &[])?;
        let given = given_items(request, &[]);
        return create::create_locked(context, name, &Order::of(&source), &given).map(Updated::Created);
    };
    if request.file.is_none()
        && let Some(declared) = record.declared.as_ref().filter(|declared| declared.built)
    {
        return Err(Error::DeclaredByHost { name: name.clone(), by: declared.source.clone() });
    }
    let file = request.file.as_ref().unwrap_or(&record.file);
    if file.as_os_str().is_empty() {
        return Err(Error::NoFile { name: name.clone() });
    }
    let source = source(file, &record.nix_args)?;
    if let Some(declared) = record.declared.as_ref().filter(|_| source.reference.text != record.file) {
        let by = declared.source.clone();
        context.tell(DeclarationNote::ChangedBack { name: name.clone(), by });
    }
    update_locked(context, record, &Order::of(&source), request).map(Updated::Switched)
}

fn given_items(request: &UpdateRequest, items: &[(String, String)]) -> GivenItems {
    let items = request.lxc_items.as_deref().unwrap_or(items).to_vec();
    GivenItems { items, log: request.log.clone() }
}

/// With the lock of a container that exists.
pub(crate) fn update_locked(
    context: &mut Context<'_>,
    mut record: Record,
    order: &Order<'_>,
    request: &UpdateRequest,
) -> Result<Switched, Error> {
    let host = context.host;
    if Generations::new(&host.layout, &record.name).are_lost() {
        return first(context, record, order, request);
    }
    recover::interrupted_switch(context, &mut record)?;
    switch::allowed(host, &record, context.cancel)?;
    let had_lease = record.lease.is_some();
    // After the recovery, which may have put others back.
    let given = given_items(request, &record.lxc_items);
    let below = if request.force_limits { Below::Force } else { Below::Refuse };
    let outcome = build_and_switch(context, &mut record, order, given, below);
    if !had_lease {
        // The evaluation needed an address to offer; whether it is used is known only now.
        let spec = Generations::new(&host.layout, &record.name);
        let spec = spec.current().and_then(|current| spec.spec(current));
        if let Ok(spec) = spec {
            let dropped = claim::addresses::drop_unused_lease(host, &mut record, &spec);
            return match outcome {
                Ok(switched) => {
                    let to = switched.to;
                    dropped.map(|()| switched).map_err(|source| switch::unsettled(&record.name, to, source))
                }
                Err(failure) => Err(failure.undone(dropped)),
            };
        }
    }
    outcome
}

/// The first generation of a container that has lost its profile, and with it all that it had. Its files stay. A guest that
/// runs is not switched: it does not see the new profile before it boots.
fn first(
    context: &mut Context<'_>,
    mut record: Record,
    order: &Order<'_>,
    request: &UpdateRequest,
) -> Result<Switched, Error> {
    let Context { host, cancel, .. } = *context;
    let name = record.name.clone();
    let record = &mut record;
    let here = switch::allowed(host, record, cancel)?;
    let given = given_items(request, &record.lxc_items);
    let foreign = claim::others(host)?;
    record.phase = RecordPhase::Ready;
    record.pinned = false;
    record.generations.clear();
    let (spec, built) = checked_and_built(context, record, order, &foreign, &given)?;
    order.note(record);
    record.lxc_items = given.items;
    let to = build::set_profile(host, record, &built, cancel)?;
    let installed = (|| {
        if here.state.is_live() {
            context.tell(GenerationNote::NextStart { name: name.clone() });
        } else {
            idmap_move::complete(context, record, spec.idmap)?;
            let rendered = lxc_config::rendered(host, record, &spec)?;
            lxc_config::write(context, record, &rendered)?;
        }
        switch::prove(host, record)?;
        switch::follow(context, record, to)
    })();
    installed.map_err(|source| switch::unsettled(&name, to, source))?;
    Ok(Switched {
        name,
        from: to,
        to,
        activated: false,
        pending_restart: Vec::new(),
        failed_before: Vec::new(),
    })
}

/// Builds a generation, once all that can refuse it has been asked.
fn checked_and_built(
    context: &mut Context<'_>,
    record: &mut Record,
    order: &Order<'_>,
    foreign: &Foreign,
    given: &GivenItems,
) -> Result<(ContainerSpec, Realised), Error> {
    let ready = build::ready(context, record, order, foreign)?;
    let spec = ready.spec.clone();
    limits::refuse_above(context.host, &record.name, &spec, limits::overrides(record, true))?;
    let rendered = switch::prepare(context, record, &spec, given)?;
    needs::tell(context, &spec, &rendered)?;
    let built = build::realise(context, record, order, ready)?;
    Ok((spec, built))
}

fn build_and_switch(
    context: &mut Context<'_>,
    record: &mut Record,
    order: &Order<'_>,
    given: GivenItems,
    below: Below,
) -> Result<Switched, Error> {
    let Context { host, cancel, .. } = *context;
    let generations = Generations::new(&host.layout, &record.name);
    let from = generations.current()?;
    let foreign = claim::others(host)?;
    let built = (|| {
        let (spec, built) = checked_and_built(context, record, order, &foreign, &given)?;
        shown::prepare(host, &record.name, &spec, built.package(), cancel)?;
        switch::begin(host, record, from, given.items)?;
        // A guest that reboots from inside boots it as soon as the profile leads there.
        shown::add(host, record, built.package(), cancel)?;
        build::set_profile(host, record, &built, cancel).map(|to| (spec, to))
    })();
    let (spec, to) = match built {
        Ok(built) => built,
        Err(failure) if matches!(record.phase, RecordPhase::Switching { .. }) => {
            return Err(switch::put_back(context, record, failure));
        }
        Err(failure) => return Err(failure.undone(forget_build(context, record, from))),
    };
    // A build may take long: whether the guest runs is asked now.
    let here = match switch::allowed(host, record, cancel) {
        Ok(here) => here,
        Err(failure) => return Err(switch::put_back(context, record, failure)),
    };
    order.note(record);
    switch::settle(context, record, &spec, &here, Step { from, to, pinned: false, below })
}

/// A build that came to nothing: its request and root, and the address that it asked for.
fn forget_build(context: &mut Context<'_>, record: &mut Record, current: GenerationId) -> Result<(), Error> {
    let host = context.host;
    build::clear_work(host, &record.name)?;
    let spec = Generations::new(&host.layout, &record.name).spec(current)?;
    context.untold(|context| switch::release(context, record, &spec))
}
