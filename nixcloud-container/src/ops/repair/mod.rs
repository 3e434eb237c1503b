//! Repair: record, claims, profile and folders of a container, each made anew of the others.
//!
//! ```text
//!  looked at: lock, record, profile, claims, folders --> faults, each with its mend --dry run--> told
//!                  ^                                                 |
//!                  +------------- looked at again <---- mended <-----+
//! ```
//!
//! Nothing is thrown away but what names nobody and what leads nowhere: a record that cannot be read is kept beside the new
//! one.

mod faults;
mod mend;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::{self, Error};
use crate::fs::error::FileError;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{Finding, Part};
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::store::presence;
use crate::store::salvage::{self, Held};
use faults::{Fault, Mend};

/// Which containers are to be repaired, and whether for real.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairRequest {
    /// The container; all of them, and claims that name none, when not given.
    pub name: Option<ContainerName>,
    /// Only say what would be done.
    pub dry_run: bool,
}

setters!(RepairRequest: "All containers." {
    with_name => name: Option<ContainerName>,
    with_dry_run => dry_run: bool,
});

impl RepairRequest {
    /// One container.
    #[must_use]
    pub fn of(name: ContainerName) -> Self {
        Self { name: Some(name), dry_run: false }
    }
}

/// Something that was found wrong, and what became of it.
#[derive(Debug, serde::Serialize)]
#[non_exhaustive]
pub struct Repair {
    /// The container; `None` of a claim that names none.
    pub name: Option<ContainerName>,
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it, in a sentence without full stop.
    pub what: String,
    /// What mends it: what was done, would be done, or is for the user to do.
    pub mend: Hint,
    /// What became of the mending.
    pub outcome: RepairOutcome,
}

setters!(Repair: "Of the host, not of one container." (path: PathBuf, what: String, mend: Hint, outcome: RepairOutcome) {
    with_name => name: Option<ContainerName>,
});

/// What became of something that was found wrong.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RepairOutcome {
    /// The thing is mended.
    Mended,
    /// It would be: only that was asked.
    Planned,
    /// It is not for a repair to mend: `mend` says what to do.
    Left,
    /// The thing could not be mended.
    Failed(Error),
}

/// A round of mends may bring more to light: a record that was made anew has claims.
const ROUNDS: usize = 5;

pub(crate) fn repair(context: &mut Context<'_>, request: &RepairRequest) -> Result<Vec<Repair>, Error> {
    let host = context.host;
    if !request.dry_run {
        host.prepare()?;
    }
    let claims = claims(host)?;
    let names = match &request.name {
        Some(name) => {
            // One that there is no trace of is a mistyped name.
            if let Err(error @ (Error::NotFound { .. } | Error::Foreign { .. })) = host.record(name)
                && !claims.iter().any(|held| held.owner == name.as_str())
            {
                return Err(error);
            }
            BTreeSet::from([name.clone()])
        }
        None => known(host, &claims)?,
    };
    let mut repairs = Vec::new();
    for name in names {
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        // Whoever has nothing wrong is not locked.
        if faults::of(host, &name, &claims)?.is_empty() {
            continue;
        }
        // One that is being made may take an hour: it keeps no other from being repaired.
        if request.name.is_none() && presence::is_held(&host.layout, &name) {
            continue;
        }
        if request.dry_run {
            repairs.extend(planned(host, &name, &claims)?);
        } else {
            one(context, &name, &mut repairs)?;
        }
    }
    if request.name.is_none() {
        for (fault, held) in faults::of_nobody(host, &claims)? {
            repairs.push(finish(fault, request.dry_run, |_| mend::free(&host.layout, &held)));
        }
    }
    Ok(repairs)
}

/// What `host check` says of it. What is being changed just now is looked at by whoever changes it.
pub(crate) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let request = RepairRequest::new().with_dry_run(true);
    let repairs = repair(&mut Context::new(host, &mut (), &Cancel::new()), &request)?;
    if repairs.is_empty() {
        let count = host.names()?.len();
        let what = format!("records, claims, profiles and folders of {count} agree");
        return Ok(vec![Finding::good(Part::Container, "all", what)]);
    }
    let finding = |repair: Repair| {
        let (name, word) = match &repair.name {
            Some(name) => (name.to_string(), Remedy::Repair { name: Some(name.clone()) }),
            None => ("nobody's".to_owned(), Remedy::Repair { name: None }),
        };
        let mend = match repair.outcome {
            RepairOutcome::Left => repair.mend,
            _ => word.into(),
        };
        Finding::wrong(Part::Container, name, format!("{} {}", repair.path.display(), repair.what), mend)
    };
    Ok(repairs.into_iter().map(finding).collect())
}

fn claims(host: &Host) -> Result<Vec<Held>, Error> {
    let failed = FileError::at("read the claims in", host.layout.state());
    Ok(salvage::claims(&host.layout).map_err(failed)?)
}

/// All containers of ours that anything speaks of.
fn known(host: &Host, claims: &[Held]) -> Result<BTreeSet<ContainerName>, Error> {
    let mut names: BTreeSet<ContainerName> = host.names()?.into_iter().collect();
    names.extend(claims.iter().filter_map(Held::owner));
    let folders = [host.layout.lxc_path(), &host.layout.runs()].map(std::fs::read_dir);
    let entries = folders.into_iter().flatten().flatten().flatten();
    let there = entries.filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?;
        name.strip_suffix(".toml").unwrap_or(name).parse().ok()
    });
    names.extend(there.filter(|name| salvage::is_ours(&host.layout, name)));
    Ok(names)
}

/// What would be done. A container that somebody is changing has no faults, only unfinished work.
fn planned(host: &Host, name: &ContainerName, claims: &[Held]) -> Result<Vec<Repair>, Error> {
    if presence::is_held(&host.layout, name) {
        return Ok(Vec::new());
    }
    let faults = faults::of(host, name, claims)?;
    Ok(faults.into_iter().map(|fault| finish(fault, true, |_| Ok(()))).collect())
}

/// Whether somebody is at a container. The lock is asked for and not taken: that would write.
/// Mends one container.
fn one(context: &mut Context<'_>, name: &ContainerName, repairs: &mut Vec<Repair>) -> Result<(), Error> {
    let host = context.host;
    // Before it can be taken.
    if let Some(fault) = faults::of_lock(host, name) {
        repairs.push(finish(fault, false, |fault| mend::folder_away(&fault.path)));
    }
    let _lock = context.lock(name, Operation::Repair)?;
    for _ in 0..ROUNDS {
        let faults = faults::of(host, name, &claims(host)?)?;
        let mut mended = false;
        for fault in faults {
            let again = |repair: &Repair| repair.path == fault.path && repair.what == fault.what;
            if repairs.iter().any(again) {
                continue;
            }
            let repair = finish(fault, false, |fault| mend::mend(context, name, &fault.mend));
            mended |= matches!(repair.outcome, RepairOutcome::Mended);
            repairs.push(repair);
        }
        if !mended {
            break;
        }
    }
    Ok(())
}

fn finish(fault: Fault, dry_run: bool, mend: impl FnOnce(&Fault) -> Result<(), Error>) -> Repair {
    let outcome = match fault.mend {
        Mend::Nothing => RepairOutcome::Left,
        _ if dry_run => RepairOutcome::Planned,
        _ => match mend(&fault) {
            Ok(()) => RepairOutcome::Mended,
            Err(error) => {
                tracing::debug!(path = %fault.path.display(), error = %error::chain(&error), "not mended");
                RepairOutcome::Failed(error)
            }
        },
    };
    let Fault { name, path, what, how, .. } = fault;
    Repair { name, path, what, mend: how, outcome }
}
