//! The plan of one change of one container. What refuses it is what the plan of many is refused for; and it is built, and asked of
//! the guest, which the plan of many is not.
//!
//! ```text
//!  look only:  evaluated, checked --------------------------> told
//!  else:       evaluated, checked, built --lock, ask guest--> told     no generation is made of it
//! ```
//!
//! What is built is rooted by a folder of this process's. A killed one leaves it to the next operation on any container.

use super::item::{Hold, Item, What};
use super::wanted::Wanted;
use super::{Applied, AppliedContainer, Outcome, Way};
use crate::build::batch::SharedWork;
use crate::build::evaluator;
use crate::build::extra_check;
use crate::build::instantiate::Instantiator;
use crate::error::Error;
use crate::host::Held;
use crate::host::context::Context;
use crate::model::foresight::PlanVerdict;
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::observe::{Event, Observer, Phase, Planned};
use crate::model::occurrence::Operation;
use crate::model::spec::ContainerSpec;
use crate::nix::StorePath;
use crate::ops::create::{self, CreateRequest};
use crate::ops::destroy::{self, DestroyRequest};
use crate::ops::inspect;
use crate::ops::locked;
use crate::ops::plan::{self, Candidate, Plan, PlanRequest, PlanTarget};
use crate::ops::recover;
use crate::ops::switch;
use crate::ops::switch_request::SwitchRequest;
use crate::ops::update::UpdateRequest;
use crate::store::history::Generations;
use crate::store::manifest::Package;
use crate::store::presence::{self, Presence};
use crate::store::record::Record;

/// Plans a change. What would refuse it is the error.
pub(crate) fn plan(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &PlanRequest,
) -> Result<Plan, Error> {
    match &request.target {
        PlanTarget::Update(update) => plan_update(context, name, update, request.look_only),
        PlanTarget::Create(CreateRequest { file, nix_args, lxc_items, log, .. }) => {
            create::refuse(context.host, name)?;
            if context.host.record(name).is_ok_and(|record| !record.phase.is_unfinished()) {
                return Err(Error::Exists { name: name.clone() });
            }
            let update = UpdateRequest::new(file.clone())
                .with_nix_args(nix_args.clone())
                .with_lxc_items(lxc_items.clone())
                .with_log(log.clone());
            plan_update(context, name, &update, request.look_only)
        }
        PlanTarget::Switch(switch) => plan_switch(context, name, *switch, request.look_only),
    }
}

/// What would go with these containers, and what would refuse it. Nothing is changed.
pub(crate) fn plan_destroy(
    context: &Context<'_>,
    names: &[ContainerName],
    request: DestroyRequest,
) -> Applied {
    let (host, cancel) = (context.host, context.cancel);
    let one = |name: &ContainerName| match destroy::foreseen(host, name, request) {
        Ok(()) => {
            let data = inspect::data_of(host, name, cancel);
            AppliedContainer::new(name.to_string(), Planned::Remove { data }, Outcome::Planned)
        }
        Err(error) => AppliedContainer::new(name.to_string(), Planned::Blocked, Outcome::Failed(error)),
    };
    Applied::new().with_containers(names.iter().map(one).collect::<Vec<_>>())
}

fn plan_update(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &UpdateRequest,
    look_only: bool,
) -> Result<Plan, Error> {
    let Context { host, cancel, .. } = *context;
    let (record, remains) = match host.record(name) {
        Ok(record) if record.phase.is_unfinished() => (None, true),
        Ok(record) => (Some(record), false),
        Err(Error::NotFound { .. }) => (None, false),
        Err(error) => return Err(error),
    };
    let wanted = Wanted::one(name, record.as_ref(), request)?;
    let way = Way {
        creates: record.is_none(),
        items: request.lxc_items.as_deref(),
        ..Way::new(host, true, cancel)
    };
    let scratch;
    let work;
    let instantiator = if look_only {
        work = None;
        scratch = evaluator::scratch()?;
        Instantiator::apart(&host.config, scratch.path(), false)?
    } else {
        host.prepare()?;
        let folder = SharedWork::new(host)?;
        let instantiator = Instantiator::apart(&host.config, folder.path(), false)?;
        work = Some(folder);
        instantiator
    };
    let mut quiet = Quiet(context.observer);
    let (items, _) = way.plan(wanted, &instantiator, &mut quiet)?;
    let item = the_one(items)?;
    let (Some(evaluated), Some((_, source))) = (&item.evaluated, item.source()) else {
        return Err(Error::NotFound { name: name.clone() });
    };
    if let Some(work) = &work {
        context.phase(Phase::Build, |context| {
            let root = work.path().join("result");
            host.nix().realise(&evaluated.drv, &root, &source.user, context.observer, context.cancel)
        })?;
    }
    let had = record.as_ref().map(|record| record.lxc_items.clone()).unwrap_or_default();
    let items = request.lxc_items.clone().unwrap_or(had);
    let candidate = Candidate {
        spec: &evaluated.spec,
        items: &items,
        package: &evaluated.out,
        // It may be there already.
        built: work.is_some() || evaluated.out.as_path().exists(),
        to: None,
    };
    match record {
        None => {
            let verdict = if remains { PlanVerdict::Recreate } else { PlanVerdict::Create };
            plan::of_new(host, name, &candidate, verdict, cancel)
        }
        Some(record) if look_only => {
            let here = look(context, &record, false)?;
            plan::of_known(context, &mut record.clone(), &here, &candidate, false)
        }
        Some(_) => {
            // Another one may have changed it meanwhile.
            let (_lock, mut record, _) = take(context, name)?;
            let here = look(context, &record, true)?;
            plan::of_known(context, &mut record, &here, &candidate, true)
        }
    }
}

fn plan_switch(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: SwitchRequest,
    look_only: bool,
) -> Result<Plan, Error> {
    let Context { host, cancel, .. } = *context;
    let generations = Generations::new(&host.layout, name);
    let (lock, mut record, cut_off) = if look_only {
        (None, host.record(name)?, None)
    } else {
        let (lock, record, cut_off) = take(context, name)?;
        (Some(lock), record, cut_off)
    };
    // One that was cut off is left for the generation before it by whoever takes the lock: then a rollback is done.
    let to = match (request.to, generations.counting(&record)?) {
        (None, (Some(counts), Some(_))) => counts,
        _ => request.choose(&generations, &record, cut_off, context)?,
    };
    let (spec, package) = (generations.spec(to)?, generations.package(to)?);
    let items = record.items_of(to);
    let way = Way { items: Some(&items), ..Way::new(host, true, cancel) };
    refuse(way, &record, &spec, &package, to)?;
    extra_check::of_file(&host.worker, &host.config, &spec, &items, cancel)?;
    let candidate = Candidate { spec: &spec, items: &items, package: &package, built: true, to: Some(to) };
    let here = look(context, &record, lock.is_some())?;
    plan::of_known(context, &mut record, &here, &candidate, lock.is_some())
}

/// Refuses what the plan of many would refuse of a generation that is there.
fn refuse(
    way: Way<'_>,
    record: &Record,
    spec: &ContainerSpec,
    package: &StorePath,
    from: GenerationId,
) -> Result<(), Error> {
    let what = What::Package {
        package: Box::new(Package { out: package.clone(), spec: spec.clone(), ephemeral: false }),
        manifest: record.file.clone(),
    };
    let wanted = Some((record.name.clone(), what));
    let mut item = Item::new(record.name.to_string(), wanted, Planned::Update { from });
    item.hold = Hold::Known(Box::new(record.clone()));
    let mut items = vec![item];
    way.foresee(&mut items, &mut ())?;
    the_one(items).map(drop)
}

/// The item of a plan that has only one, or what it is refused for.
fn the_one(mut items: Vec<Item>) -> Result<Item, Error> {
    let Some(item) = items.pop() else { return Err(Error::Cancelled) };
    match item.outcome {
        Outcome::Failed(error) => Err(error),
        _ => Ok(item),
    }
}

/// Takes a container's lock, and ends what a killed operation left of it. Nothing is adopted.
fn take(
    context: &mut Context<'_>,
    name: &ContainerName,
) -> Result<(Held, Record, Option<GenerationId>), Error> {
    locked::require(context.host, name)?;
    let lock = context.lock(name, Operation::Plan)?;
    let mut record = context.host.record(name)?;
    let cut_off = recover::interrupted_switch(context, &mut record)?;
    Ok((lock, record, cut_off))
}

/// What it does. With its lock one that passes to another state is waited for, and one that allows no change refuses the plan.
fn look(context: &Context<'_>, record: &Record, is_locked: bool) -> Result<Presence, Error> {
    match is_locked {
        true => switch::allowed(context.host, record, context.cancel),
        false => Ok(presence::look(&context.host.layout, record)?),
    }
}

/// The plan is what is answered: nobody is told of it beside.
struct Quiet<'a>(&'a mut dyn Observer);

impl Observer for Quiet<'_> {
    fn event(&mut self, event: Event) {
        if !matches!(event, Event::Planned(_)) {
            self.0.event(event);
        }
    }
}
