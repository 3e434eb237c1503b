//! Apply: a whole set of containers becomes what it is declared to be; and update of all that there are.
//!
//! ```text
//!  wanted --survey--> items --evaluate (one run of Nix)--> planned --build (one run)--> changed one by one
//!  (set, manifest, records)    new ones: locked, leased       |
//!                                                             +--> dry run: told, and nothing else
//! ```

mod changes;
mod foresee;
pub(crate) mod foresight;
mod item;
mod plan;
mod wanted;

use std::path::PathBuf;

use crate::build::batch::SharedWork;
use crate::build::evaluator;
use crate::build::instantiate::Instantiator;
use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::note::GenerationNote;
use crate::model::observe::{Cancel, Data, Observer, Planned};
use crate::model::setters::setters;
use crate::model::state::{Action, Permission, State};
use crate::ops::create::Created;
use crate::ops::switch::Switched;
use crate::ops::update::UpdateRequest;
use crate::store::history::Generations;
use crate::store::presence;
use item::{Hold, Item};
use wanted::{By, Set, Wanted};

/// A set of containers that is to be applied, and how.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ApplyRequest {
    /// The containers.
    pub source: ApplySource,
    /// Arguments for Nix, already split.
    pub nix_args: Vec<String>,
    /// Whether containers go, with their files, that the same source declared before, and declares no more.
    pub prune: bool,
    /// Whether containers of the source that exist and were declared by another one, or made by hand, are this one's from
    /// now on: the set was moved, or is another copy.
    pub take_over: bool,
    /// Whether it is only planned. Nothing of the host changes then; derivations may be written to the store.
    pub dry_run: bool,
}

setters!(ApplyRequest {
    with_nix_args => nix_args: Vec<String>,
    with_prune => prune: bool,
    with_take_over => take_over: bool,
    with_dry_run => dry_run: bool,
});

/// Where containers are declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ApplySource {
    /// A file that holds a set NAME = container file, a folder of `NAME.nix` and `NAME/default.nix`, or a flake: its
    /// output `nixcloudContainers`, or the attribute that is named (`.#shop`).
    Set(PathBuf),
    /// A manifest of containers that are built already: what NixOS's host configuration declares.
    Built(PathBuf),
}

impl ApplyRequest {
    /// For a set, without pruning or taking over, and for real.
    #[must_use]
    pub fn new(source: ApplySource) -> Self {
        Self { source, nix_args: Vec::new(), prune: false, take_over: false, dry_run: false }
    }
}

/// How all containers are updated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdateAllRequest {
    /// Arguments for Nix, already split; those last used for each when not given.
    pub nix_args: Option<Vec<String>>,
    /// Whether it is only planned.
    pub dry_run: bool,
}

setters!(UpdateAllRequest: "All of them, with the arguments that each was last made with." {
    with_nix_args => nix_args: Option<Vec<String>>,
    with_dry_run => dry_run: bool,
});

/// The containers that an apply is about to destroy with their files, since they are declared no more and it was asked to prune.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Removal {
    /// Their names, each with what the container keeps.
    pub containers: Vec<(ContainerName, Data)>,
    /// Whether nothing that the source declares is left then.
    pub all: bool,
}

setters!(Removal: "Of these containers." (containers: Vec<(ContainerName, Data)>) {
    with_all => all: bool,
});

/// Asked before a removal; a `false` undoes what was prepared.
type Confirm<'a> = &'a mut dyn FnMut(&Removal) -> bool;

/// What an apply came to.
#[derive(Debug, Default, serde::Serialize)]
#[non_exhaustive]
pub struct Applied {
    /// What declares the containers; `None` where all that there are were updated.
    pub source: Option<String>,
    /// The containers by name.
    pub containers: Vec<AppliedContainer>,
}

setters!(Applied: "Of no container." {
    with_source => source: Option<String>,
    with_containers => containers: Vec<AppliedContainer>,
});

/// What became of one container.
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct AppliedContainer {
    /// Its name, which may be one that no container can have.
    pub name: String,
    /// What was to become of it.
    pub planned: Planned,
    /// What became of it.
    pub outcome: Outcome,
}

setters!(AppliedContainer: "What became of a container." (name: String, planned: Planned, outcome: Outcome) {});

/// What became of a container.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing: the apply was a dry run.
    Planned,
    /// The container was created.
    Created(Created),
    /// The container has a new generation.
    Updated(Switched),
    /// The container was what it should be.
    Unchanged,
    /// The container was destroyed.
    Removed,
    /// It is declared no more, or its generation is pinned, and it was kept as it is.
    Kept,
    /// It failed, or something stands in the way.
    Failed(Error),
}

impl Applied {
    /// The containers that failed, each by its name with its error.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &Error)> {
        self.containers.iter().filter_map(|one| match &one.outcome {
            Outcome::Failed(error) => Some((one.name.as_str(), error)),
            _ => None,
        })
    }
}

/// How containers are applied.
#[derive(Clone, Copy)]
struct Way<'a> {
    host: &'a Host,
    prune: bool,
    /// Whether others' containers become the source's.
    take_over: bool,
    dry_run: bool,
    /// Whether one that nobody declares is made where there is none.
    creates: bool,
    /// LXC configuration items instead of those that a container has.
    items: Option<&'a [(String, String)]>,
    cancel: &'a Cancel,
}

impl<'a> Way<'a> {
    fn new(host: &'a Host, dry_run: bool, cancel: &'a Cancel) -> Self {
        Self { host, prune: false, take_over: false, dry_run, creates: false, items: None, cancel }
    }

    fn context<'b>(self, observer: &'b mut dyn Observer) -> Context<'b>
    where
        'a: 'b,
    {
        Context::new(self.host, observer, self.cancel)
    }
}

pub(crate) fn apply(
    context: &mut Context<'_>,
    request: &ApplyRequest,
    confirm: Confirm<'_>,
) -> Result<Applied, Error> {
    let Context { host, cancel, .. } = *context;
    let observer = &mut *context.observer;
    let ApplyRequest { prune, take_over, dry_run, .. } = *request;
    let way = Way { prune, take_over, ..Way::new(host, dry_run, cancel) };
    match &request.source {
        ApplySource::Set(path) => {
            let set = Set::find(path, &request.nix_args)?;
            way.go(|instantiator, observer| set.wanted(instantiator, observer, cancel), observer, confirm)
        }
        ApplySource::Built(path) => {
            let wanted = Wanted::built(path)?;
            way.go(|_, _| Ok(wanted), observer, confirm)
        }
    }
}

pub(crate) fn update_all(context: &mut Context<'_>, request: &UpdateAllRequest) -> Result<Applied, Error> {
    let Context { host, cancel, .. } = *context;
    let wanted = Wanted::recorded(host, request.nix_args.as_deref(), context.observer)?;
    Way::new(host, request.dry_run, cancel).go(|_, _| Ok(wanted), context.observer, &mut |_| true)
}

/// What an update of one container would come to. Nothing of the host changes.
pub(crate) fn plan_update(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &UpdateRequest,
) -> Result<Applied, Error> {
    let Context { host, cancel, .. } = *context;
    let record = match host.record(name) {
        Ok(record) if !record.phase.is_unfinished() => Some(record),
        Ok(_) | Err(Error::NotFound { .. }) => None,
        Err(error) => return Err(error),
    };
    let wanted = Wanted::one(name, record.as_ref(), request)?;
    let items = request.lxc_items.as_deref();
    let way = Way { creates: record.is_none(), items, ..Way::new(host, true, cancel) };
    let mut applied = way.go(|_, _| Ok(wanted), context.observer, &mut |_| true)?;
    let same = applied.containers.iter_mut().find(|one| one.planned == Planned::Unchanged);
    if let (Some(one), Some(record)) = (same, &record) {
        // As an update does: the same system is activated again.
        let (state, action) = (presence::look(&host.layout, record)?.state, Action::Update);
        let from = Generations::new(&host.layout, name).current()?;
        match state.permits(action) {
            Permission::Refused => {
                let refused = Error::State { name: name.clone(), state, action };
                (one.planned, one.outcome) = (Planned::Blocked, Outcome::Failed(refused));
            }
            _ if state == State::Running => {
                one.planned = Planned::Update { from };
                context.tell(GenerationNote::ActivatedAgain { name: name.clone(), generation: from });
            }
            _ => {}
        }
    }
    Ok(applied)
}

impl Way<'_> {
    fn go(
        self,
        wanted: impl FnOnce(&Instantiator<'_>, &mut dyn Observer) -> Result<Wanted, Error>,
        observer: &mut dyn Observer,
        confirm: Confirm<'_>,
    ) -> Result<Applied, Error> {
        if self.dry_run {
            let folder = evaluator::scratch()?;
            let instantiator = Instantiator::apart(&self.host.config, folder.path(), false)?;
            let wanted = wanted(&instantiator, observer)?;
            let (items, by) = self.plan(wanted, &instantiator, observer)?;
            return Ok(applied(by, items));
        }
        self.host.prepare()?;
        let work = SharedWork::new(self.host)?;
        let instantiator = Instantiator::of(self.host, work.path().to_owned())?;
        let wanted = wanted(&instantiator, observer)?;
        let (mut items, by) = self.plan(wanted, &instantiator, observer)?;
        if let Some(removal) = self.removal(&items)
            && !confirm(&removal)
        {
            self.give_back(&mut items, |_| true);
            return Err(if self.cancel.is_cancelled() { Error::Cancelled } else { Error::Unconfirmed });
        }
        self.change(by.as_ref(), &mut items, work.path(), observer);
        Ok(applied(by, items))
    }
}

impl Way<'_> {
    /// What is to be confirmed. An `ephemeral` container says itself that it goes.
    fn removal(self, items: &[Item]) -> Option<Removal> {
        let containers: Vec<(ContainerName, Data)> = items
            .iter()
            .filter_map(|item| match (&item.hold, item.planned) {
                (Hold::Known(record), Planned::Remove { data }) => {
                    let ephemeral = record.declared.as_ref().is_some_and(|declared| declared.ephemeral);
                    (self.prune && !ephemeral).then(|| (record.name.clone(), data))
                }
                _ => None,
            })
            .collect();
        let all = items.iter().all(Item::goes);
        (!containers.is_empty()).then_some(Removal { containers, all })
    }
}

fn applied(by: Option<By>, items: Vec<Item>) -> Applied {
    Applied {
        source: by.map(|by| by.source),
        containers: items.into_iter().map(Item::into_applied).collect(),
    }
}
