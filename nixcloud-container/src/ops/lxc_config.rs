//! The LXC configuration of a container: rendered with what it has claimed, checked, written.

use std::path::PathBuf;

use crate::build::extra_check;
use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::host::Host;
use crate::host::context::Context;
use crate::model::fingerprint::fingerprint;
use crate::model::idmap::IdMap;
use crate::model::note::FilesNote;
use crate::model::observe::Cancel;
use crate::model::spec::ContainerSpec;
use crate::render::{self, Input, Rendered};
use crate::store::record::Record;
use crate::worker::LogRequest;

/// What is given beside a container file.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenItems {
    /// LXC configuration items.
    pub(crate) items: Vec<(String, String)>,
    /// Where liblxc logs what it makes of them.
    pub(crate) log: LogRequest,
}

/// Renders the configuration of `record` with `spec`, and with the items that it has.
pub(crate) fn rendered(host: &Host, record: &Record, spec: &ContainerSpec) -> Result<Rendered, Error> {
    render_for(host, record, spec, &record.lxc_items, record.ids_for(spec.idmap))
}

/// As [`rendered`], for the configuration file of a running guest: with the ids that it has. LXC enters the guest's
/// cgroups by those of the file, and others are refused. Which system calls it gets was decided when it was booted, also
/// for its reboots from inside and for whoever enters it: that file stays, unless it is lost.
pub(crate) fn rendered_running(
    host: &Host,
    record: &Record,
    spec: &ContainerSpec,
) -> Result<Rendered, Error> {
    let mut rendered = render_for(host, record, spec, &record.lxc_items, record.ids)?;
    if host.layout.seccomp(&record.name).is_file() {
        rendered.seccomp = None;
    }
    Ok(rendered)
}

/// As [`rendered`], with other items; liblxc has looked at them and at the lines of the container file.
pub(crate) fn checked(
    host: &Host,
    record: &Record,
    spec: &ContainerSpec,
    given: &GivenItems,
    cancel: &Cancel,
) -> Result<Rendered, Error> {
    let rendered = render_for(host, record, spec, &given.items, record.ids_for(spec.idmap))?;
    extra_check::require(&host.worker, &rendered.extra, &given.log, cancel)?;
    Ok(rendered)
}

fn render_for(
    host: &Host,
    record: &Record,
    spec: &ContainerSpec,
    items: &[(String, String)],
    ids: Option<IdMap>,
) -> Result<Rendered, Error> {
    let Some(ids) = ids else {
        return Err(Error::Incomplete { name: record.name.clone(), what: "ids" });
    };
    let (facts, hook) = (host.facts()?, host.worker.hook(&host.layout, &record.name));
    let input = Input {
        name: &record.name,
        spec,
        items,
        ids,
        interface: record.interface_id(&host.layout),
        internet: record.internet,
        hook: &hook,
        layout: &host.layout,
        config: &host.config,
        facts: &facts,
    };
    Ok(render::render(&input)?)
}

/// Writes the configuration where it differs. A file that somebody edited by hand is kept beside it, and said so.
pub(crate) fn write(
    context: &mut Context<'_>,
    record: &mut Record,
    rendered: &Rendered,
) -> Result<(), Error> {
    let host = context.host;
    let folder = host.layout.container_dir(&record.name);
    if !folder.is_dir() {
        return Err(Error::Lost { name: record.name.clone(), path: folder });
    }
    // First, since the configuration names it.
    if let Some(text) = &rendered.seccomp {
        let path = host.layout.seccomp(&record.name);
        atomic::write_if_changed(&path, text.as_bytes(), 0o640, Durability::Synced)?;
    }
    let path = host.layout.lxc_config(&record.name);
    let there = std::fs::read_to_string(&path).ok();
    tracing::debug!(path = %path.display(), changes = there.as_deref() != Some(&rendered.text), "configuration rendered");
    if there.as_deref() == Some(&rendered.text) {
        return Ok(());
    }
    if let Some(text) = there
        && !record.config_hashes.is_empty()
        && !record.config_hashes.contains(&fingerprint(&text))
    {
        let kept: PathBuf = path.with_extension("edited");
        atomic::write(&kept, text.as_bytes(), 0o640, Durability::Synced)?;
        context.tell(FilesNote::EditedByHand { path: path.clone(), kept });
    }
    // Both the old and the new text are ours until the new one is in place: a kill in between is no edit by hand.
    let hash = fingerprint(&rendered.text);
    record.config_hashes.push(hash.clone());
    record.save(&host.layout)?;
    atomic::write(&path, rendered.text.as_bytes(), 0o640, Durability::Synced)?;
    record.config_hashes = vec![hash];
    Ok(record.save(&host.layout)?)
}
