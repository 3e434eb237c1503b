//! From a container file to a generation: one evaluation, one build, one profile change.

pub mod batch;
pub mod evaluator;
pub mod expression;
pub mod extra_check;
pub mod instantiate;
pub mod source;

use std::path::{Path, PathBuf};

use crate::build::instantiate::{Asked, Evaluated, Instantiator};
use crate::build::source::Source;
use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::generation::GenerationId;
use crate::model::layout::NIX_STATE;
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Phase};
use crate::model::spec::ContainerSpec;
use crate::nix::{self, StorePath, roots};
use crate::store::claims::{Foreign, LeaseError, Leases};
use crate::store::history::Generations;
use crate::store::manifest::Package;
use crate::store::record::{Declared, Record};
use crate::store::rootfs;

/// What a generation is to be made of, and what the record says of it then.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) stage: Stage<'a>,
    /// Who declares the container; `None` leaves that as it is.
    pub(crate) declared: Option<Declared>,
}

/// How far a generation has come.
#[derive(Debug)]
pub(crate) enum Stage<'a> {
    /// It is to be evaluated and built.
    Source(&'a Source),
    /// It was evaluated together with others; again, if it has an address that is not the container's. What is `held`
    /// is built, and rooted by the caller.
    Evaluated { source: &'a Source, evaluated: &'a Evaluated, held: bool },
    /// Somebody else built it, and roots it.
    Package { package: &'a Package, manifest: &'a Path },
}

impl<'a> Order<'a> {
    /// A container file, on the command line.
    pub(crate) fn of(source: &'a Source) -> Self {
        Self { stage: Stage::Source(source), declared: None }
    }

    fn source(&self) -> Option<&'a Source> {
        match &self.stage {
            Stage::Source(source) | Stage::Evaluated { source, .. } => Some(source),
            Stage::Package { .. } => None,
        }
    }

    fn file(&self) -> PathBuf {
        match &self.stage {
            Stage::Source(source) | Stage::Evaluated { source, .. } => source.reference.text.clone(),
            Stage::Package { manifest, .. } => manifest.to_path_buf(),
        }
    }

    /// A record for a container that is to be created.
    pub(crate) fn record(&self, name: &ContainerName) -> Record {
        let mut record = Record::new(name.clone(), self.file(), Vec::new());
        self.note(&mut record);
        record
    }

    /// Notes in the record what the container is made of.
    pub(crate) fn note(&self, record: &mut Record) {
        record.file = self.file();
        record.nix_args = self.source().map(|source| source.nix_args.clone()).unwrap_or_default();
        if let Some(declared) = &self.declared {
            record.declared = Some(declared.clone());
        }
    }
}

/// A generation that is evaluated, or more.
#[derive(Debug)]
pub(crate) struct Ready {
    drv: Option<StorePath>,
    out: StorePath,
    pub(crate) spec: ContainerSpec,
}

impl Ready {
    fn of(evaluated: &Evaluated, held: bool) -> Self {
        let drv = (!held).then(|| evaluated.drv.clone());
        Self { drv, out: evaluated.out.clone(), spec: evaluated.spec.clone() }
    }
}

/// Takes the lease before the evaluation, which needs it; one that turns out unused is given back.
pub(crate) fn lease_for_evaluation(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let owner = record.name.clone();
    if let Some(lease) = record.lease {
        let reserved = leases.reserved(&owner).is_some_and(|reserved| reserved != lease)
            || leases.reserved_for_another(&owner, lease.into()).is_some();
        // It is ours already, unless one of us was killed between noting it and claiming it.
        match leases.fix_address(&owner, lease.into(), foreign) {
            Ok(()) if !reserved => return Ok(()),
            // The host configuration says now who is to have which. The old one stays until the new generation has
            // proved itself, as a fixed one does.
            Ok(()) => record.fixed.push(lease),
            Err(LeaseError::AddressTaken { .. } | LeaseError::HostAddress { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    leases.lease_address(&owner, foreign, &mut |address| {
        record.lease = Some(address);
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// The evaluation of a create or update, if it is not done yet.
pub(crate) fn ready(
    context: &mut Context<'_>,
    record: &mut Record,
    order: &Order<'_>,
    foreign: &Foreign,
) -> Result<Ready, Error> {
    let source = match &order.stage {
        Stage::Package { package, .. } => {
            return Ok(Ready { drv: None, out: package.out.clone(), spec: package.spec.clone() });
        }
        Stage::Evaluated { evaluated, held, .. } if !evaluated.takes_offer() => {
            return Ok(Ready::of(evaluated, *held));
        }
        Stage::Evaluated { source, .. } | Stage::Source(source) => source,
    };
    lease_for_evaluation(context.host, record, foreign)?;
    match &order.stage {
        Stage::Evaluated { evaluated, held, .. } if evaluated.offered == record.lease => {
            Ok(Ready::of(evaluated, *held))
        }
        _ => Ok(Ready::of(&evaluate(context, record, source)?, false)),
    }
}

fn evaluate(context: &mut Context<'_>, record: &Record, source: &Source) -> Result<Evaluated, Error> {
    context.phase(Phase::Evaluate, |context| {
        let work = context.host.layout.work(&record.name);
        rootfs::make_dirs(&work, 0o700)?;
        let instantiator = Instantiator::of(context.host, work)?;
        let evaluated =
            instantiator.container(Asked::of(record, source), context.observer, context.cancel)?;
        instantiate::note_name(&record.name, &evaluated.spec, context.observer);
        Ok(evaluated)
    })
}

/// A build that is done, and rooted by `work/result` until its container's profile has it.
#[derive(Debug)]
pub(crate) struct Realised(StorePath);

impl Realised {
    /// What was built.
    pub(crate) fn package(&self) -> &StorePath {
        &self.0
    }
}

/// Builds. The profile is not touched.
pub(crate) fn realise(
    context: &mut Context<'_>,
    record: &Record,
    order: &Order<'_>,
    ready: Ready,
) -> Result<Realised, Error> {
    let (Some(drv), Some(source)) = (&ready.drv, order.source()) else { return Ok(Realised(ready.out)) };
    let work = context.host.layout.work(&record.name);
    rootfs::make_dirs(&work, 0o700)?;
    let root = work.join("result");
    let build = |drv: &StorePath, context: &mut Context<'_>| {
        context.phase(Phase::Build, |context| {
            let nix = context.host.nix();
            nix.realise(drv, &root, &source.user, context.observer, context.cancel)
        })
    };
    match build(drv, context) {
        // Nothing roots a derivation between the two calls: a garbage collection may come between.
        Err(nix::Error::NotInStore { .. }) => {
            tracing::debug!(%drv, "gone since it was evaluated");
            let evaluated = evaluate(context, record, source)?;
            build(&evaluated.drv, context)?;
            Ok(Realised(evaluated.out))
        }
        other => {
            other?;
            Ok(Realised(ready.out))
        }
    }
}

/// Makes a build the profile's newest and current generation.
pub(crate) fn set_profile(
    host: &Host,
    record: &Record,
    built: &Realised,
    cancel: &Cancel,
) -> Result<GenerationId, Error> {
    rootfs::make_lasting_dirs(&host.layout.profile_dir(&record.name), 0o755)?;
    host.nix().set_profile(&host.layout.profile(&record.name), &built.0, cancel)?;
    clear_work(host, &record.name)?;
    Ok(Generations::new(&host.layout, &record.name).current()?)
}

/// Removes the request and the build's root: the profile is the root now.
pub(crate) fn clear_work(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let work = host.layout.work(name);
    let root = work.join("result");
    roots::remove(&root, Path::new(NIX_STATE)).map_err(crate::store::history::GenerationsError::Roots)?;
    crate::fs::remove::tree(&work)?;
    Ok(())
}
