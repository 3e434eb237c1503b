//! What is wrong with a container, as far as its files say. Nothing is changed here.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::generation::{GenerationId, Health};
use crate::model::hint::{Hint, Remedy};
use crate::model::idmap::IdMapKind;
use crate::model::name::ContainerName;
use crate::store::history::Generations;
use crate::store::presence;
use crate::store::record::{Adopted, Record, RecordError, RecordPhase};
use crate::store::salvage::{self, Claimed, Held};

/// Something that is wrong.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) name: Option<ContainerName>,
    pub(super) path: PathBuf,
    pub(super) what: String,
    /// What mends it, in words.
    pub(super) how: Hint,
    pub(super) mend: Mend,
}

/// What mends it.
#[derive(Debug)]
pub(super) enum Mend {
    /// Nobody but the user.
    Nothing,
    /// Takes away what is in the place of a lock.
    Lock,
    /// Writes a record that was put together.
    Record(Box<Record>),
    /// Lets a claim name the container.
    Claim(Claimed, String),
    /// Gives back what the container does not have.
    Free(Held),
    /// Points the profile to this generation.
    Profile(GenerationId),
    /// Takes away the link of a generation that is not in the store.
    Generation(GenerationId),
    /// Makes what is missing of the folder.
    Folder,
    /// Gives files that have ids of the host the ids of the container.
    Owners,
    /// Renders the configuration.
    Config,
    /// Ends what was cut off.
    Settle,
}

/// What is wrong with one container, in the order in which it is mended. What depends on a thing that is wrong is found
/// when that is mended.
pub(super) fn of(host: &Host, name: &ContainerName, claims: &[Held]) -> Result<Vec<Fault>, Error> {
    let fault = |path: PathBuf, what: &str, how: Hint, mend| Fault {
        name: Some(name.clone()),
        path,
        what: what.to_owned(),
        how,
        mend,
    };
    if let Some(fault) = of_lock(host, name) {
        return Ok(vec![fault]);
    }
    let record = match host.record(name) {
        Ok(record) => record,
        Err(Error::Record(RecordError::Newer { path, .. })) => {
            let how = "update nixcloud-container: a newer version of it wrote the record".into();
            return Ok(vec![fault(path, "is of a newer version", how, Mend::Nothing)]);
        }
        Err(error @ (Error::Record(_) | Error::Lost { .. })) => {
            return Ok(vec![lost_record(host, name, &error)]);
        }
        // Nothing of it is left but what it claimed.
        Err(Error::NotFound { .. } | Error::Foreign { .. }) => {
            return orphans(host, name, None, claims);
        }
        Err(error) => return Err(error),
    };
    if record.phase.is_unfinished() {
        let destroy = Remedy::Destroy { name: name.clone(), force: false };
        let how = Hint::from(destroy).words(" removes what there is");
        let what = "says that the container was being made or removed when that was cut off";
        return Ok(vec![fault(host.layout.record(name), what, how, Mend::Nothing)]);
    }
    // What the shell original has is not ours to judge before it is adopted.
    if record.adopted == Some(Adopted::Begun) {
        return Ok(Vec::new());
    }
    let mut faults = of_claims(host, &record, claims);
    faults.extend(orphans(host, name, Some(&record), claims)?);
    faults.extend(of_profile(host, &record)?);
    faults.extend(of_folder(host, &record)?);
    if faults.is_empty() && (record.unsettled || matches!(record.phase, RecordPhase::Switching { .. })) {
        let (what, how) = match record.phase {
            RecordPhase::Switching { from } => (
                format!("says that a switch away from generation {from} was cut off"),
                format!("generation {from} is put back"),
            ),
            _ => ("says that a change was not brought to its end".to_owned(), "it is ended".to_owned()),
        };
        faults.push(fault(host.layout.record(name), &what, how.into(), Mend::Settle));
    }
    Ok(faults)
}

/// Something in the place of the lock that cannot be one.
pub(super) fn of_lock(host: &Host, name: &ContainerName) -> Option<Fault> {
    let path = host.layout.container_lock(name);
    let found = path.symlink_metadata().ok()?;
    (!found.is_file()).then(|| Fault {
        name: Some(name.clone()),
        path,
        what: "is no file, so that the container cannot be locked".to_owned(),
        how: "it is taken away".into(),
        mend: Mend::Lock,
    })
}

fn lost_record(host: &Host, name: &ContainerName, error: &Error) -> Fault {
    let mut record = salvage::record(&host.layout, &host.config, name);
    record.phase = RecordPhase::Ready;
    record.unsettled = true;
    let path = host.layout.record(name);
    let what = match error {
        Error::Lost { .. } => "is lost".to_owned(),
        Error::Record(error) => reason(error),
        _ => "cannot be read".to_owned(),
    };
    let mut knows = Vec::new();
    knows.extend(record.ids.map(|ids| format!("ids from {}", ids.base())));
    knows.extend(record.lease.iter().chain(&record.fixed).map(|address| format!("address {address}")));
    if record.file.as_os_str().is_empty() {
        knows.push("no container file: the next `update` has to name it".to_owned());
    } else {
        knows.push(format!("container file {}", record.file.display()));
    }
    let kept = if path.symlink_metadata().is_ok() {
        format!("; the damaged one is kept as {}", host.layout.damaged_record(name).display())
    } else {
        String::new()
    };
    let how = format!("it is made anew of what there is: {}{kept}", knows.join(", ")).into();
    Fault { name: Some(name.clone()), path, what, how, mend: Mend::Record(Box::new(record)) }
}

fn reason(error: &RecordError) -> String {
    match error {
        RecordError::Damaged { .. } => "is damaged".to_owned(),
        RecordError::Misplaced { found, .. } => format!("is the record of `{found}`"),
        RecordError::Read(FileError { source, .. }) => format!("cannot be read: {source}"),
        _ => "cannot be read".to_owned(),
    }
}

/// What the record speaks of and nobody, or another, has claimed.
fn of_claims(host: &Host, record: &Record, claims: &[Held]) -> Vec<Fault> {
    let wanted = Claimed::of(record, &host.layout).into_iter().filter_map(|what| {
        let held = claims.iter().find(|held| held.what == what);
        let claimant = salvage::claimant(record, what);
        let claim = || Mend::Claim(what, claimant.to_owned());
        let (says, how, mend) = match held {
            Some(held) if held.owner == claimant => return None,
            None => ("is missing".to_owned(), claims_it(what), claim()),
            Some(held) => match held.owner() {
                None => ("names no container".to_owned(), claims_it(what), claim()),
                Some(other) if has(host, &other, what) => (
                    format!("says that `{other}` has {}, which `{}` has, too", what.words(), record.name),
                    format!("destroy one of them, or update `{}` to another", record.name),
                    Mend::Nothing,
                ),
                Some(other) => (format!("names `{other}`, which does not have it"), claims_it(what), claim()),
            },
        };
        Some(Fault {
            name: Some(record.name.clone()),
            path: what.path(&host.layout),
            what: says,
            how: how.into(),
            mend,
        })
    });
    wanted.collect()
}

fn claims_it(what: Claimed) -> String {
    format!("the container claims {} again", what.words())
}

/// Whether a container's record speaks of something. One that cannot be read may.
fn has(host: &Host, name: &ContainerName, what: Claimed) -> bool {
    match host.record(name) {
        Ok(record) => Claimed::of(&record, &host.layout).contains(&what),
        Err(Error::NotFound { .. } | Error::Foreign { .. }) => false,
        Err(_) => true,
    }
}

/// What is claimed for a container that does not have it, and no other has either.
fn orphans(
    host: &Host,
    name: &ContainerName,
    record: Option<&Record>,
    claims: &[Held],
) -> Result<Vec<Fault>, Error> {
    let has = record.map(|record| Claimed::of(record, &host.layout)).unwrap_or_default();
    // Ids that changed their kind stay claimed under the name until they are given back.
    let shared = record.is_some_and(|record| record.idmap == IdMapKind::Shared);
    let its = claims.iter().filter(|held| held.owner == name.as_str() && !has.contains(&held.what));
    let its: Vec<&Held> = its.filter(|held| !(shared && matches!(held.what, Claimed::Ids(_)))).collect();
    let its = of_no_record(host, its)?;
    Ok(its
        .into_iter()
        .map(|held| Fault {
            name: Some(name.clone()),
            path: held.what.path(&host.layout),
            what: format!("says that `{name}` has {}, which it has not", held.what.words()),
            how: "it is given back".into(),
            mend: Mend::Free(held.clone()),
        })
        .collect())
}

/// Claims that name nobody, and that nobody's record speaks of.
pub(super) fn of_nobody(host: &Host, claims: &[Held]) -> Result<Vec<(Fault, Held)>, Error> {
    let strange = claims.iter().filter(|held| held.owner().is_none() && !held.owner.starts_with('.'));
    let nobody = of_no_record(host, strange.collect())?;
    let fault = |held: &Held| Fault {
        name: None,
        path: held.what.path(&host.layout),
        what: format!("names no container, and none has {}", held.what.words()),
        how: "it is given back".into(),
        mend: Mend::Free(held.clone()),
    };
    Ok(nobody.into_iter().map(|held| (fault(held), held.clone())).collect())
}

/// Those of which no record speaks. What a record that cannot be read has is not known before that is mended: then none.
fn of_no_record<'a>(host: &Host, mut claims: Vec<&'a Held>) -> Result<Vec<&'a Held>, Error> {
    if claims.is_empty() {
        return Ok(claims);
    }
    for name in host.names()? {
        match host.record(&name) {
            Ok(record) => {
                let has = Claimed::of(&record, &host.layout);
                claims.retain(|held| !has.contains(&held.what));
            }
            Err(Error::Record(_) | Error::Lost { .. }) => return Ok(Vec::new()),
            Err(_) => {}
        }
    }
    Ok(claims)
}

fn of_profile(host: &Host, record: &Record) -> Result<Vec<Fault>, Error> {
    let name = &record.name;
    let generations = Generations::new(&host.layout, name);
    let profile = host.layout.profile(name);
    let fault = |path: &Path, what: String, how: Hint, mend| Fault {
        name: Some(name.clone()),
        path: path.to_owned(),
        what,
        how,
        mend,
    };
    let mut lost = Vec::new();
    let mut there: Vec<GenerationId> = Vec::new();
    for (id, link, is_there) in generations.links()? {
        if is_there { there.push(id) } else { lost.push((id, link)) }
    }
    let Some(newest) = there.last().copied() else {
        let what = if lost.is_empty() {
            "has no generations any more"
        } else {
            "has no generation that is in the store"
        };
        let name = Some(name.clone());
        let unknown = record.file.as_os_str().is_empty();
        let build = if unknown { Remedy::Update { name } } else { Remedy::Rebuild { name } };
        let how = Hint::from(build).words(" builds one; the container's files are kept");
        return Ok(vec![fault(&profile, what.to_owned(), how, Mend::Nothing)]);
    };
    let current = generations.current().ok();
    let mut faults = Vec::new();
    if current.is_none_or(|current| !there.contains(&current)) {
        let from = match record.phase {
            RecordPhase::Switching { from } if there.contains(&from) => Some(from),
            _ => None,
        };
        let newest_of = |health| there.iter().rev().copied().find(|id| record.health(*id) == health);
        let good = newest_of(Health::Good).or_else(|| newest_of(Health::Untried));
        let to = from.or(good).unwrap_or(newest);
        let what = match current {
            Some(current) => format!("leads to generation {current}, which is not in the store"),
            None => "leads to no generation".to_owned(),
        };
        faults.push(fault(
            &profile,
            what,
            format!("it is pointed to generation {to}").into(),
            Mend::Profile(to),
        ));
    }
    for (id, link) in lost {
        // The current one goes when the profile leads elsewhere.
        if current != Some(id) {
            let what = "leads to nothing in the store".to_owned();
            faults.push(fault(&link, what, "it is removed".into(), Mend::Generation(id)));
        }
    }
    Ok(faults)
}

fn of_folder(host: &Host, record: &Record) -> Result<Vec<Fault>, Error> {
    let (layout, name) = (&host.layout, &record.name);
    let fault = |path: PathBuf, what: &str, how: &str, mend| Fault {
        name: Some(name.clone()),
        path,
        what: what.to_owned(),
        how: how.into(),
        mend,
    };
    let rootfs = layout.rootfs(name);
    match rootfs.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let how = "it is made anew, empty: the container's own files are gone";
            return Ok(vec![fault(rootfs, "is lost", how, Mend::Folder)]);
        }
        _ => {}
    }
    let live = presence::look(layout, record)?.state.is_live();
    let mut faults = Vec::new();
    if !live && record.ids.is_some() && salvage::belongs_to_the_host(layout, name) {
        let how = "its files get the ids of the container in place of those of the host";
        faults.push(fault(rootfs, "belongs to a user of the host", how, Mend::Owners));
    }
    let locked = layout.locked(name);
    if !locked.is_dir() {
        faults.push(fault(locked, "is lost", "it is made anew", Mend::Folder));
    }
    let has_generation = Generations::new(layout, name).current().is_ok();
    if has_generation
        && let Some(path) =
            [layout.lxc_config(name), layout.seccomp(name)].into_iter().find(|path| !path.is_file())
    {
        faults.push(fault(path, "is lost", "it is rendered anew", Mend::Config));
    }
    Ok(faults)
}
