//! Create: lease, evaluate once, build, install. What fails or is interrupted is removed again.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use crate::build::extra_check;
use crate::build::source::Source;
use crate::build::{self, Order};
use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::host::name_files;
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::note::FilesNote;
use crate::model::observe::Phase;
use crate::model::occurrence::Operation;
use crate::model::setters::setters;
use crate::model::state::Action;
use crate::ops::claim;
use crate::ops::destroy;
use crate::ops::devices;
use crate::ops::durable;
use crate::ops::limits;
use crate::ops::lxc_config::{self, GivenItems};
use crate::ops::needs;
use crate::ops::shown;
use crate::store::journal::{self, Note};
use crate::store::legacy;
use crate::store::presence;
use crate::store::record::{Record, RecordPhase};
use crate::store::rootfs;
use crate::store::salvage;
use crate::worker::LogRequest;

/// A container that is to be created: of which file, and with what.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CreateRequest {
    /// The container file: a path (of a folder, its `default.nix`), an attribute of a file's set (`all.nix#web`) or of a
    /// flake (`.#web`, `github:me/shop#web`).
    pub file: PathBuf,
    /// Arguments for Nix, already split: `["-I", "nixpkgs=/nixpkgs"]`.
    pub nix_args: Vec<String>,
    /// Further LXC configuration items, of those that `lxcExtraConfig` may hold; they come after its own.
    pub lxc_items: Vec<(String, String)>,
    /// Where liblxc logs, and how much, while it looks at such items and at `lxcExtraConfig`.
    pub log: LogRequest,
}

setters!(CreateRequest {
    with_nix_args => nix_args: Vec<String>,
    with_lxc_items => lxc_items: Vec<(String, String)>,
    with_log => log: LogRequest,
});

impl CreateRequest {
    /// From a container file, with nothing beside it.
    #[must_use]
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }
}

/// A container that was created.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Created {
    /// The container.
    pub name: ContainerName,
    /// The container's first generation.
    pub generation: GenerationId,
    /// The container's address; none where its bridge gives it one.
    pub address: Option<Ipv4Addr>,
}

setters!(Created: "Without an address." (name: ContainerName, generation: GenerationId) {
    with_address => address: Option<Ipv4Addr>,
});

pub(crate) fn create(
    context: &mut Context<'_>,
    name: &ContainerName,
    request: &CreateRequest,
) -> Result<Created, Error> {
    let source = Source::container(&request.file, &request.nix_args)?;
    let given = GivenItems { items: request.lxc_items.clone(), log: request.log.clone() };
    let _lock = context.lock(name, Operation::Create)?;
    create_locked(context, name, &Order::of(&source), &given)
}

/// With the container's lock held.
pub(crate) fn create_locked(
    context: &mut Context<'_>,
    name: &ContainerName,
    order: &Order<'_>,
    given: &GivenItems,
) -> Result<Created, Error> {
    let record = begin(context, name, order, given)?;
    complete(context, record, order, &given.log)
}

/// From here on the name is taken; what there is of the container can be removed by its record.
pub(crate) fn begin(
    context: &mut Context<'_>,
    name: &ContainerName,
    order: &Order<'_>,
    given: &GivenItems,
) -> Result<Record, Error> {
    let host = context.host;
    match Record::load(&host.layout, name)? {
        Some(record) if record.phase.is_unfinished() => {
            // One that somebody else made to run meanwhile is not removed.
            let here = presence::look(&host.layout, &record)?;
            if here.state.is_live() {
                return Err(Error::State { name: name.clone(), state: here.state, action: Action::Destroy });
            }
            context.tell(FilesNote::Remains { name: name.clone() });
            destroy::remains(host, record)?;
        }
        Some(_) => return Err(Error::Exists { name: name.clone() }),
        None => refuse_new(host, name)?,
    }
    let mut record = order.record(name);
    record.lxc_items.clone_from(&given.items);
    record.save(&host.layout)?;
    Ok(record)
}

/// The rest. What fails or is cut off is removed.
pub(crate) fn complete(
    context: &mut Context<'_>,
    mut record: Record,
    order: &Order<'_>,
    log: &LogRequest,
) -> Result<Created, Error> {
    match build_and_install(context, &mut record, order, log) {
        Ok(created) => Ok(created),
        Err(failure) => {
            let undo = context.phase(Phase::Undo, |context| destroy::remains(context.host, record));
            Err(failure.undone(undo))
        }
    }
}

/// What stands in the way of a new container by its name alone.
pub(crate) fn refuse(host: &Host, name: &ContainerName) -> Result<(), Error> {
    if Record::load(&host.layout, name)?.is_none() {
        refuse_new(host, name)?;
    }
    Ok(())
}

/// The same where there is no record.
fn refuse_new(host: &Host, name: &ContainerName) -> Result<(), Error> {
    refuse_strangers(host, name)?;
    refuse_confusion(host, name)
}

/// A name by which the new container and another one, or the host, would answer for each other.
fn refuse_confusion(host: &Host, name: &ContainerName) -> Result<(), Error> {
    if name.is_the_hosts() {
        return Err(Error::HostName { name: name.clone() });
    }
    match host.names()?.into_iter().find(|other| other != name && other.is_alike(name)) {
        Some(other) => Err(Error::Alike { name: name.clone(), other }),
        None => Ok(()),
    }
}

/// A folder or profile without a record is somebody else's.
fn refuse_strangers(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    if legacy::made(&host.layout, name) {
        return Err(Error::Exists { name: name.clone() });
    }
    let there = exists(&host.layout.container_dir(name)) || exists(&host.layout.profile(name));
    if there && salvage::is_ours(&host.layout, name) {
        return Err(host.lost_record(name));
    }
    if there {
        return Err(Error::Foreign { name: name.clone() });
    }
    Ok(())
}

fn build_and_install(
    context: &mut Context<'_>,
    record: &mut Record,
    order: &Order<'_>,
    log: &LogRequest,
) -> Result<Created, Error> {
    let Context { host, cancel, .. } = *context;
    let foreign = claim::others(host)?;
    order.note(record);
    claim::interface(host, record, &foreign)?;
    let ready = build::ready(context, record, order, &foreign)?;
    let spec = ready.spec.clone();
    claim::addresses::claim(host, record, &spec, &foreign)?;
    claim::host_ports::claim(host, record, &spec)?;
    claim::addresses::drop_unused_lease(host, record, &spec)?;
    let ids = claim::ids::claim(host, record, spec.idmap, &foreign, cancel)?;
    // Before the build, which may take an hour: a refused line is known now.
    limits::refuse_above(host, &record.name, &spec, None)?;
    limits::require(context, &record.name, &spec, None)?;
    devices::require(context, &record.name, &spec)?;
    let rendered = lxc_config::rendered(host, record, &spec)?;
    extra_check::require(&host.worker, &rendered.extra, log, cancel)?;
    needs::tell(context, &spec, &rendered)?;
    let built = build::realise(context, record, order, ready)?;
    shown::prepare(host, &record.name, &spec, built.package(), cancel)?;
    let generation = build::set_profile(host, record, &built, cancel)?;

    context.phase(Phase::Install, |context| {
        rootfs::create(&host.layout, &record.name, ids)?;
        lxc_config::write(context, record, &rendered)?;
        claim::host_ports::open(context, record)?;
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        durable::generation(host, &record.name, generation)?;
        (record.phase, record.unsettled) = (RecordPhase::Ready, true);
        record.note_items(generation);
        record.save(&host.layout)?;
        name_files::publish(host, record, cancel)?;
        record.unsettled = false;
        record.save(&host.layout)?;
        journal::note(&host.layout, &record.name, Note::Created { generation });
        Ok(())
    })?;
    Ok(Created { name: record.name.clone(), generation, address: spec.effective.ip })
}
