//! Putting a generation in place on LXC's side: its addresses, its rendered configuration.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::error::Error;
use crate::fs::atomic::{self, Durability};
use crate::host::Host;
use crate::host::parts::{self as hostnet, Reloaded};
use crate::model::fingerprint::fingerprint;
use crate::model::forward::{Forward, HostPort};
use crate::model::idmap::{IdMap, IdMapKind};
use crate::model::interface::InterfaceId;
use crate::model::name::InterfaceName;
use crate::model::observe::{Cancel, Event, Observer};
use crate::model::spec::ContainerSpec;
use crate::net::Netlink;
use crate::render::warnings as doubts;
use crate::render::{self, Input, Rendered};
use crate::store::claims::{Foreign, LeaseError, Leases};
use crate::store::generations::Generations;
use crate::store::host_ports as forwards;
use crate::store::others as foreign;
use crate::store::record::{Phase, Record, Run};
use crate::sys::proc;
use crate::worker::{Answer, LogRequest};

/// What others of the host have.
pub(crate) fn others(host: &Host) -> Result<Foreign, Error> {
    Ok(foreign::scan(&host.layout)?)
}

/// Claims the addresses that `spec` asks for. Nothing is given back: until the generation has proved itself, the one
/// before it must be able to come back. An address that the record names is claimed again all the same: one of us may
/// have been killed between noting and claiming it, or a leased one may have been given back since its generation was
/// built.
pub(crate) fn claim_addresses(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    foreign: &Foreign,
) -> Result<(), Error> {
    if let Some(address) = spec.effective.ip {
        let leased = record.lease == Some(address);
        claim_fixed(host, record, address, leased, foreign, |record| &mut record.fixed)?;
    }
    if let Some(address) = spec.network.ip6 {
        claim_fixed(host, record, address, false, foreign, |record| &mut record.fixed6)?;
    }
    if spec.network.enable_nat {
        claim_internet(host, record, foreign)?;
    }
    Ok(())
}

/// Claims a fixed address, noted in the record before.
fn claim_fixed<A: Copy + PartialEq + Into<IpAddr>>(
    host: &Host,
    record: &mut Record,
    address: A,
    noted: bool,
    foreign: &Foreign,
    list: fn(&mut Record) -> &mut Vec<A>,
) -> Result<(), Error> {
    let new = !noted && !list(record).contains(&address);
    if new {
        list(record).push(address);
        record.save(&host.layout)?;
    }
    let claimed = Leases::new(&host.layout, &host.config).fix_address(&record.name, address.into(), foreign);
    if claimed.is_err() && new {
        list(record).retain(|theirs| *theirs != address);
        record.save(&host.layout)?;
    }
    Ok(claimed?)
}

/// Claims the address on the bridge that leads out. Once it has one a container keeps it for its life: a rollback to a
/// generation with `enableNat` finds it again, and the IPv6 address that follows from it stays the same.
fn claim_internet(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let owner = record.name.clone();
    let old = record.internet;
    if let Some(address) = old {
        let (first, last) = host.config.network.internet.range();
        // The range may be another one by now.
        if (first..=last).contains(&address) {
            match leases.fix_address(&owner, address.into(), foreign) {
                Err(LeaseError::AddressTaken { .. } | LeaseError::HostAddress { .. }) => {}
                other => return Ok(other?),
            }
        }
    }
    // While the record still names it, so that it is never lost.
    if let Some(address) = old {
        leases.free_address(&owner, address.into())?;
    }
    leases.lease_internet(&owner, foreign, &mut |address| {
        record.internet = Some(address);
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// Claims what a container's interface names and MAC addresses are made of. Claiming one's own again is no error.
pub(crate) fn claim_interface(host: &Host, record: &mut Record, foreign: &Foreign) -> Result<(), Error> {
    let owner = record.name.clone();
    let plain = InterfaceId::of(host.layout.lxc_path(), &owner, 0);
    Leases::new(&host.layout, &host.config).claim_interface(&owner, foreign, &mut |id| {
        let noted = (id != plain).then_some(id);
        if record.interface == noted {
            return Ok(());
        }
        record.interface = noted;
        record.save(&host.layout).map_err(Error::from)
    })?;
    Ok(())
}

/// Claims ids for a new container. With the host lock where they are shared: their last user is found by the records.
pub(crate) fn claim_ids(
    host: &Host,
    record: &mut Record,
    kind: IdMapKind,
    foreign: &Foreign,
    cancel: &Cancel,
) -> Result<IdMap, Error> {
    let _lock = if kind == IdMapKind::Shared { Some(host.lock_pools(cancel)?) } else { None };
    let owner = record.name.clone();
    Leases::new(&host.layout, &host.config).claim_ids(&owner, kind, foreign, &mut |ids| {
        record.ids = Some(ids);
        record.idmap = kind;
        record.save(&host.layout).map_err(Error::from)
    })
}

/// Gives back the fixed addresses that neither `spec` nor a running guest uses. The record is saved last: until then it
/// names them, and giving back twice does no harm.
pub(crate) fn release_addresses(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    if record.fixed.is_empty() && record.fixed6.is_empty() {
        return Ok(());
    }
    let leases = Leases::new(&host.layout, &host.config);
    let booted = booted_with(host, record)?;
    let (kept, unused): (Vec<_>, Vec<_>) = record
        .fixed
        .iter()
        .partition(|address| spec.effective.ip == Some(**address) || booted.contains(&IpAddr::V4(**address)));
    let (kept6, unused6): (Vec<_>, Vec<_>) = record
        .fixed6
        .iter()
        .partition(|address| spec.network.ip6 == Some(**address) || booted.contains(&IpAddr::V6(**address)));
    if unused.is_empty() && unused6.is_empty() {
        return Ok(());
    }
    for address in unused.into_iter().map(IpAddr::from).chain(unused6.into_iter().map(IpAddr::from)) {
        // A lease has a life of its own.
        if record.lease.map(IpAddr::from) != Some(address) {
            leases.free_address(&record.name, address)?;
        }
    }
    (record.fixed, record.fixed6) = (kept, kept6);
    Ok(record.save(&host.layout)?)
}

/// The addresses in what a running guest was booted with. It has them, and its port lets it send from them, until it ends:
/// also after a reboot from inside, whatever its current generation says.
fn booted_with(host: &Host, record: &Record) -> Result<HashSet<IpAddr>, Error> {
    let failed = |source| Error::Io { action: "read", path: "/proc".into(), source };
    let boot = proc::boot_id().map_err(failed)?;
    let run = Run::load(&host.layout, &record.name, &boot)?;
    // Without a note of its init it is just being started.
    let run = run.filter(|run| run.init.is_none() || run.lives());
    let Some(Run { addresses, config, .. }) = run else { return Ok(HashSet::new()) };
    if let Some(addresses) = addresses {
        return Ok(addresses.into_iter().collect());
    }
    // A note of an older version: those that LXC was told of.
    let words = config.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == ':'));
    Ok(words.filter_map(|word| word.parse().ok()).collect())
}

/// Gives back what a guest that has ended was booted with, and its current generation does not use.
pub(crate) fn release_booted(host: &Host, record: &Record) -> Result<(), Error> {
    if record.phase != Phase::Ready {
        return Ok(());
    }
    let generations = Generations::new(&host.layout, &record.name);
    let Ok(spec) = generations.current().and_then(|current| generations.spec(current)) else { return Ok(()) };
    release_addresses(host, &mut record.clone(), &spec)
}

/// Claims the ports of the host that `spec` asks for, as [`claim_addresses`] does, and after it: where they lead follows
/// from the addresses. All of them, or none but those that the record had.
pub(crate) fn claim_ports(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    forwards::require_address(&host.config, record, spec)?;
    let before = record.ports.clone();
    let wanted = spec.network.forwards.iter().map(Forward::host);
    let new: Vec<HostPort> = wanted.clone().filter(|port| !before.contains(port)).collect();
    if !new.is_empty() {
        record.ports.extend(&new);
        record.save(&host.layout)?;
    }
    let claimed = wanted.clone().try_for_each(|port| forwards::claim(&host.layout, &record.name, port));
    let claimed = claimed.and_then(|()| forwards::require_sole(&host.layout, &record.name, wanted.clone()));
    if claimed.is_err() && !new.is_empty() {
        for port in new {
            forwards::free(&host.layout, &record.name, port)?;
        }
        record.ports = before;
        record.save(&host.layout)?;
    }
    Ok(claimed?)
}

/// Tells what of the container's network is seldom meant.
pub(crate) fn tell_doubts(
    host: &Host,
    spec: &ContainerSpec,
    rendered: &Rendered,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    for doubt in doubts::of(&host.config, spec) {
        observer.event(Event::Note(doubt));
    }
    // Not refused: a host is prepared, and its disks are mounted, before or after the container is made.
    for bridge in missing_bridges(host, spec)? {
        let whose = if is_ours(host, &bridge) {
            "the host is not prepared for containers".to_owned()
        } else {
            "`network.bridge` names it".to_owned()
        };
        observer.event(Event::Note(format!(
            "the container does not start without the bridge {bridge}, which does not exist ({whose})"
        )));
    }
    for path in rendered.needed.iter().filter(|path| path.metadata().is_err()) {
        observer.event(Event::Note(format!(
            "the container does not start without {}, which it mounts and which does not exist",
            path.display()
        )));
    }
    Ok(())
}

/// Whether preparing the host makes a bridge.
pub(crate) fn is_ours(host: &Host, bridge: &InterfaceName) -> bool {
    let network = &host.config.network;
    *bridge == network.hostonly.bridge || *bridge == network.internet.bridge
}

/// The bridges that a container is on.
pub(crate) fn bridges<'a>(host: &'a Host, spec: &'a ContainerSpec) -> Vec<&'a InterfaceName> {
    let second = spec.network.enable_nat.then_some(&host.config.network.internet.bridge);
    std::iter::once(render::bridge(spec, &host.config)).chain(second).collect()
}

/// The bridges that a container needs and that are not there.
pub(crate) fn missing_bridges(host: &Host, spec: &ContainerSpec) -> Result<Vec<InterfaceName>, Error> {
    let mut netlink = Netlink::open()?;
    let mut missing = Vec::new();
    for bridge in bridges(host, spec) {
        if netlink.link(bridge.as_str())?.is_none() {
            missing.push(bridge.clone());
        }
    }
    Ok(missing)
}

/// Gives back the ports of the host that `spec` does not use, after the packet filter has been told: the container that
/// claims one next must not find a rule for it.
pub(crate) fn release_ports(
    host: &Host,
    record: &mut Record,
    spec: &ContainerSpec,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    open_ports(host, record, observer)?;
    let wanted: Vec<HostPort> = spec.network.forwards.iter().map(Forward::host).collect();
    let (kept, unused): (Vec<_>, Vec<_>) = record.ports.iter().partition(|port| wanted.contains(port));
    if unused.is_empty() {
        return Ok(());
    }
    for port in unused {
        forwards::free(&host.layout, &record.name, port)?;
    }
    record.ports = kept;
    Ok(record.save(&host.layout)?)
}

/// Gives back all ports of a container that is being destroyed, as [`release_ports`] does.
pub(crate) fn drop_ports(host: &Host, record: &Record) -> Result<(), Error> {
    if !record.ports.is_empty() {
        hostnet::reload(host)?;
    }
    for port in &record.ports {
        forwards::free(&host.layout, &record.name, *port)?;
    }
    Ok(())
}

/// Lets the ports of the host lead to a container as it is now, and tells of what stands in their way.
pub(crate) fn open_ports(host: &Host, record: &Record, observer: &mut dyn Observer) -> Result<(), Error> {
    if record.ports.is_empty() {
        return Ok(());
    }
    if hostnet::reload(host)? == Reloaded::NotUp {
        let ports: Vec<String> = record.ports.iter().map(|port| port.words()).collect();
        observer.event(Event::Note(format!(
            "the networks of this host are not up: {} will lead to `{}` when they are",
            ports.join(", "),
            record.name
        )));
    }
    for port in hostnet::absent(&record.ports)? {
        observer.event(Event::Note(format!(
            "{} will lead to `{}` when the host has that address, which it has not now",
            port.words(),
            record.name
        )));
    }
    for port in hostnet::shadowed(&record.ports) {
        observer.event(Event::Note(format!(
            "a program of the host listens on {}, which leads to `{}`: that program is reached by the loopback \
             addresses alone",
            port.words(),
            record.name
        )));
    }
    Ok(())
}

/// Gives back a lease that was taken for an evaluation and is not used.
pub(crate) fn drop_unused_lease(host: &Host, record: &mut Record, spec: &ContainerSpec) -> Result<(), Error> {
    if let Some(lease) = record.lease
        && spec.effective.ip != Some(lease)
    {
        Leases::new(&host.layout, &host.config).free_address(&record.name, lease.into())?;
        record.lease = None;
        record.save(&host.layout)?;
    }
    Ok(())
}

/// Renders the configuration of `record` with `spec`, and with the items that it has.
pub(crate) fn rendered(host: &Host, record: &Record, spec: &ContainerSpec) -> Result<Rendered, Error> {
    rendered_with(host, record, spec, &record.lxc_items)
}

/// As [`rendered`], for the configuration file of a running guest: with the ids that it has. LXC enters the guest's
/// cgroups by those of the file, and others are refused.
pub(crate) fn rendered_running(
    host: &Host,
    record: &Record,
    spec: &ContainerSpec,
) -> Result<Rendered, Error> {
    render_for(host, record, spec, &record.lxc_items, record.ids)
}

/// As [`rendered`], with other items.
pub(crate) fn rendered_with(
    host: &Host,
    record: &Record,
    spec: &ContainerSpec,
    items: &[(String, String)],
) -> Result<Rendered, Error> {
    render_for(host, record, spec, items, record.ids_for(spec.idmap))
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

/// What is given beside a container file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside {
    /// LXC configuration items.
    pub(crate) items: Vec<(String, String)>,
    /// Where liblxc logs what it makes of them.
    pub(crate) log: LogRequest,
}

/// Writes the configuration where it differs. A file that somebody edited by hand is kept beside it, and said so.
pub(crate) fn write_config(
    host: &Host,
    record: &mut Record,
    rendered: &Rendered,
    observer: &mut dyn Observer,
) -> Result<(), Error> {
    let folder = host.layout.container_dir(&record.name);
    if !folder.is_dir() {
        return Err(Error::Lost { name: record.name.clone(), path: folder });
    }
    // First, since the configuration names it.
    let seccomp = host.layout.seccomp(&record.name);
    atomic::write_if_changed(&seccomp, render::SECCOMP_PROFILE.as_bytes(), 0o640, Durability::Synced)?;
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
        observer.event(Event::Note(format!(
            "{} was edited by hand: the edited file is kept as {}; `lxcExtraConfig` takes lines that stay",
            path.display(),
            kept.display()
        )));
    }
    // Both the old and the new text are ours until the new one is in place: a kill in between is no edit by hand.
    let hash = fingerprint(&rendered.text);
    record.config_hashes.push(hash.clone());
    record.save(&host.layout)?;
    atomic::write(&path, rendered.text.as_bytes(), 0o640, Durability::Synced)?;
    record.config_hashes = vec![hash];
    Ok(record.save(&host.layout)?)
}

/// The worker and its client are of one version; another answer is a fault of ours.
pub(crate) fn unexpected(answer: &Answer) -> Error {
    Error::Worker(crate::worker::WorkerError::NoAnswer { status: format!("it said {answer:?}") })
}
