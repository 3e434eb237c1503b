//! Apply: a whole set of containers becomes what it is declared to be; and update of all that there are.
//!
//! ```text
//!  wanted --survey--> items --evaluate (one run of Nix)--> planned --build (one run)--> changed one by one
//!  (set, manifest, records)    new ones: locked, leased       |
//!                                                             +--> dry run: told, and nothing else
//! ```

mod changes;
mod item;
mod plan;
mod wanted;

use std::path::PathBuf;

use crate::create::Created;
use crate::error::Error;
use crate::eval;
use crate::evaluation::Workshop;
use crate::host::Host;
use crate::observe::{Cancel, Observer, Planned};
use crate::shared_work::SharedWork;
use crate::switch::Switched;
use item::Item;
use wanted::{By, Set, Wanted};

/// What is to be applied.
#[derive(Debug, Clone)]
pub struct ApplyRequest {
    /// The containers.
    pub source: ApplySource,
    /// Arguments for Nix, already split.
    pub nix_args: Vec<String>,
    /// Whether containers go that the same source declared before, and declares no more.
    pub prune: bool,
    /// Whether it is only planned. Nothing of the host changes then; derivations may be written to the store.
    pub dry_run: bool,
}

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
    /// For a set, without pruning and for real.
    #[must_use]
    pub fn new(source: ApplySource) -> Self {
        Self { source, nix_args: Vec::new(), prune: false, dry_run: false }
    }
}

/// How all containers are updated.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpdateAllRequest {
    /// Arguments for Nix, already split; those last used for each when not given.
    pub nix_args: Option<Vec<String>>,
    /// Whether it is only planned.
    pub dry_run: bool,
}

/// What an apply came to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// What declares the containers; `None` where all that there are were updated.
    pub source: Option<String>,
    /// The containers by name.
    pub containers: Vec<AppliedContainer>,
}

/// What became of one container.
#[derive(Debug)]
#[non_exhaustive]
pub struct AppliedContainer {
    /// Its name, which may be one that no container can have.
    pub name: String,
    /// What was to become of it.
    pub planned: Planned,
    /// What did.
    pub outcome: Outcome,
}

/// What became of a container.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing: it was only planned.
    Planned,
    /// It was created.
    Created(Created),
    /// It has a new generation.
    Updated(Switched),
    /// It was what it should be.
    Unchanged,
    /// It is gone.
    Removed,
    /// It is declared no more, or its generation is pinned, and it was kept as it is.
    Kept,
    /// It failed, or something stands in the way.
    Failed(Error),
}

impl Applied {
    /// Those that failed, with why.
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
    dry_run: bool,
    cancel: &'a Cancel,
}

pub(crate) fn apply(
    host: &Host,
    request: &ApplyRequest,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    let way = Way { host, prune: request.prune, dry_run: request.dry_run, cancel };
    match &request.source {
        ApplySource::Set(path) => {
            let set = Set::find(path, &request.nix_args)?;
            way.go(|workshop, observer| set.wanted(workshop, observer, cancel), observer)
        }
        ApplySource::Built(path) => {
            let wanted = Wanted::built(path)?;
            way.go(|_, _| Ok(wanted), observer)
        }
    }
}

pub(crate) fn update_all(
    host: &Host,
    request: &UpdateAllRequest,
    observer: &mut dyn Observer,
    cancel: &Cancel,
) -> Result<Applied, Error> {
    let wanted = Wanted::recorded(host, request.nix_args.as_deref(), observer)?;
    let way = Way { host, prune: false, dry_run: request.dry_run, cancel };
    way.go(|_, _| Ok(wanted), observer)
}

impl Way<'_> {
    fn go(
        self,
        wanted: impl FnOnce(&Workshop<'_>, &mut dyn Observer) -> Result<Wanted, Error>,
        observer: &mut dyn Observer,
    ) -> Result<Applied, Error> {
        if self.dry_run {
            let folder = eval::scratch()?;
            let workshop = Workshop::apart(&self.host.config, folder.path(), false)?;
            let wanted = wanted(&workshop, observer)?;
            let (items, by) = self.plan(wanted, &workshop, observer)?;
            return Ok(applied(by, items));
        }
        self.host.prepare()?;
        let work = SharedWork::new(self.host)?;
        let workshop = Workshop::of(self.host, work.path().to_owned())?;
        let wanted = wanted(&workshop, observer)?;
        let (mut items, by) = self.plan(wanted, &workshop, observer)?;
        self.change(by.as_ref(), &mut items, work.path(), observer);
        Ok(applied(by, items))
    }
}

fn applied(by: Option<By>, items: Vec<Item>) -> Applied {
    Applied { source: by.map(|by| by.source), containers: items.into_iter().map(Item::told).collect() }
}
