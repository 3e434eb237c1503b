//! What says of a container, whose record is lost or damaged, that it is one of ours, and what it has: its claims, the
//! links of its profile, its folder, and what of the record can still be read.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::fs::atomic;
use crate::model::config::HostConfig;
use crate::model::forward::HostPort;
use crate::model::idmap::{IdMap, IdMapKind, RANGE};
use crate::model::interface::InterfaceId;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::spec::ContainerSpec;
use crate::store::claims::{Leases, SHARED};
use crate::store::history::Generations;
use crate::store::record::{Record, RecordPhase, Run};
use crate::sys::proc;

/// So many interface identities of a container are asked who has them: with 10,000 containers the second is needed by one
/// of a thousand hosts.
const IDENTITIES: u32 = 3;

/// More than any record has: each is a try.
const MOST_LINES: usize = 500;

/// What is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Claimed {
    Address(IpAddr),
    Ids(IdMap),
    Interface(InterfaceId),
    HostPort(HostPort),
}

impl Claimed {
    /// Its file.
    pub(crate) fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Address(address) => layout.address(address),
            Self::Ids(ids) => layout.id_range(ids.base()),
            Self::Interface(id) => layout.interface(id),
            Self::HostPort(port) => layout.host_port(port),
        }
    }

    /// What it is, in words.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Address(address) => format!("address {address}"),
            Self::Ids(ids) => format!("the ids from {}", ids.base()),
            Self::Interface(id) => format!("the interface names with {id}"),
            Self::HostPort(port) => port.words(),
        }
    }

    /// All that a record speaks of.
    pub(crate) fn of(record: &Record, layout: &Layout) -> Vec<Self> {
        let four =
            record.lease.iter().chain(&record.fixed).chain(&record.internet).copied().map(IpAddr::from);
        let six = record.fixed6.iter().copied().map(IpAddr::from);
        let ids = record.ids.into_iter().chain(record.moving.map(|moving| moving.ids)).map(Self::Ids);
        let mut all: Vec<Self> = four.chain(six).map(Self::Address).collect();
        all.extend(ids);
        all.push(Self::Interface(record.interface_id(layout)));
        all.extend(record.host_ports.iter().copied().map(Self::HostPort));
        all
    }
}

/// Whom a claim of what a record speaks of names: the container, or all that have the shared ids.
pub(crate) fn claimant(record: &Record, what: Claimed) -> &str {
    let mut kinds = record
        .ids
        .map(|ids| (ids, record.idmap))
        .into_iter()
        .chain(record.moving.map(|moving| (moving.ids, moving.idmap)));
    let shared = kinds.any(|(ids, kind)| what == Claimed::Ids(ids) && kind == IdMapKind::Shared);
    if shared { SHARED } else { record.name.as_str() }
}

/// A claim, and who it says has what it is named after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) what: Claimed,
    /// What is in it, which need not be a name.
    pub(crate) owner: String,
}

impl Held {
    pub(crate) fn owner(&self) -> Option<ContainerName> {
        self.owner.parse().ok()
    }
}

/// All claims. What cannot be read says nothing, as an empty one does.
pub(crate) fn claims(layout: &Layout) -> io::Result<Vec<Held>> {
    let mut all = Vec::new();
    claims_in(&layout.addresses(), &mut all, |name| name.parse().ok().map(Claimed::Address))?;
    claims_in(&layout.ids(), &mut all, |name| IdMap::new(name.parse().ok()?).ok().map(Claimed::Ids))?;
    claims_in(&layout.interfaces(), &mut all, |name| name.parse().ok().map(Claimed::Interface))?;
    claims_in(&layout.host_ports(), &mut all, |name| name.parse().ok().map(Claimed::HostPort))?;
    Ok(all)
}

fn claims_in(folder: &Path, all: &mut Vec<Held>, of: fn(&str) -> Option<Claimed>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if atomic::is_temporary(&name) {
            continue;
        }
        if let Some(what) = name.to_str().and_then(of) {
            let owner = fs::read_to_string(entry.path()).unwrap_or_default().trim().to_owned();
            all.push(Held { what, owner });
        }
    }
    Ok(())
}

/// Whether something says that there is, or was, a container of ours of this name: its interface identity, which each of
/// them has, a note of its start, or a generation that we built.
pub(crate) fn is_ours(layout: &Layout, name: &ContainerName) -> bool {
    let identity = |attempt| {
        let id = InterfaceId::of(layout.lxc_path(), name, attempt);
        fs::read_to_string(layout.interface(id)).is_ok_and(|owner| owner.trim() == name.as_str())
    };
    (0..IDENTITIES).any(identity)
        || proc::boot_id().is_ok_and(|boot| matches!(Run::load(layout, name, &boot), Ok(Some(_))))
        || layout.profile(name).join("spec.json").exists()
}

/// A record put together of what there is. It is not written, and it says of the container that it goes, so that nothing
/// that ends or removes it writes it either: whoever keeps the container says what it is.
pub(crate) fn record(layout: &Layout, config: &HostConfig, name: &ContainerName) -> Record {
    let mut record = remembered(layout, name);
    let claims = claims(layout).unwrap_or_default();
    let own = claims.iter().filter(|held| held.owner == name.as_str()).map(|held| held.what);
    let spec = current_spec(layout, &record);
    let leases = Leases::new(layout, config);
    let (first, last) = config.network.internet.range();
    let mut ids = Vec::new();
    for what in own {
        if Claimed::of(&record, layout).contains(&what) {
            continue;
        }
        match what {
            Claimed::Address(IpAddr::V6(address)) => record.fixed6.push(address),
            Claimed::Address(IpAddr::V4(address)) => {
                if spec.as_ref().is_some_and(|spec| spec.network.ip == Some(address)) {
                    record.fixed.push(address);
                } else if (first..=last).contains(&address) && record.internet.is_none() {
                    record.internet = Some(address);
                } else if record.lease.is_none() && config.network.hostonly.address.contains(address) {
                    record.lease = Some(address);
                } else {
                    record.fixed.push(address);
                }
            }
            Claimed::Interface(id) => record.interface = Some(id),
            Claimed::HostPort(port) => record.host_ports.push(port),
            Claimed::Ids(claimed) => ids.push(claimed),
        }
    }
    if record.ids.is_none() {
        // The files have one of them; where there is none, they may be those that all shared containers have.
        let has =
            fs::symlink_metadata(layout.rootfs(name)).ok().and_then(|found| IdMap::new(found.uid()).ok());
        record.ids =
            ids.iter().copied().find(|ids| has == Some(*ids)).or_else(|| ids.first().copied()).or(has);
        let kind = record.ids.and_then(|ids| leases.owner_of_ids(ids).ok()?);
        record.idmap = match kind {
            Some(owner) if owner == SHARED => IdMapKind::Shared,
            _ => IdMapKind::Isolated,
        };
    }
    record.phase = RecordPhase::Destroying;
    record
}

/// What of a record can still be read: each key that is whole.
fn remembered(layout: &Layout, name: &ContainerName) -> Record {
    let bytes = fs::read(layout.record(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let mut record = Record::new(name.clone(), PathBuf::new(), Vec::new());
    record.created = made(layout, name);
    let Ok(mut whole) = toml::Table::try_from(&record) else { return record };
    for (key, value) in longest(&text) {
        if matches!(key.as_str(), "schema" | "name") {
            continue;
        }
        let before = whole.insert(key.clone(), value);
        match whole.clone().try_into::<Record>() {
            Ok(read) => record = read,
            Err(_) => {
                whole.remove(&key);
                whole.extend(before.map(|before| (key, before)));
            }
        }
    }
    record
}

/// The longest part of a text from its beginning, in lines, that is TOML.
fn longest(text: &str) -> toml::Table {
    let lines = text.rmatch_indices('\n').map(|(at, _)| at + 1);
    std::iter::once(text.len())
        .chain(lines.take(MOST_LINES))
        .find_map(|end| text[..end].parse().ok())
        .unwrap_or_default()
}

/// When it was made, as far as its first generation or its folder tells.
fn made(layout: &Layout, name: &ContainerName) -> Timestamp {
    let generations = Generations::new(layout, name).made().unwrap_or_default();
    let folder = || {
        let found = fs::symlink_metadata(layout.container_dir(name)).ok()?;
        Timestamp::from_second(found.mtime()).ok()
    };
    generations.first().copied().or_else(folder).unwrap_or_else(Timestamp::now)
}

fn current_spec(layout: &Layout, record: &Record) -> Option<ContainerSpec> {
    let generations = Generations::new(layout, &record.name);
    generations.spec(generations.current().ok()?).ok()
}

/// Whether the files of a container belong to ids that no container has: those of the host, as after a backup that was
/// unpacked without moving them.
pub(crate) fn belongs_to_the_host(layout: &Layout, name: &ContainerName) -> bool {
    fs::symlink_metadata(layout.rootfs(name)).is_ok_and(|found| found.uid() < RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> (tempfile::TempDir, Layout, HostConfig, ContainerName) {
        let root = tempfile::tempdir().unwrap();
        let config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let layout = Layout::new(&config).unwrap();
        for folder in layout.state_dirs() {
            fs::create_dir_all(folder).unwrap();
        }
        (root, layout, config, "web".parse().unwrap())
    }

    #[test]
    fn what_is_whole_of_a_record_is_kept() {
        let (_root, layout, config, name) = lab();
        let mut whole = Record::new(name.clone(), "/etc/web.nix".into(), vec!["-I".into(), "a=b".into()]);
        whole.lease = Some([10, 101, 0, 9].into());
        whole.save(&layout).unwrap();
        let text = fs::read_to_string(layout.record(&name)).unwrap();
        let spoilt = [
            format!("hello = 1\n{text}"),
            text.replace("schema = 1", "schema = 99"),
            text.replace("name = \"web\"", "name = \"other\""),
            text.replace("created = \"", "created = \"x"),
            format!("{text}\n[generations"),
        ];
        for text in spoilt {
            fs::write(layout.record(&name), &text).unwrap();
            let read = record(&layout, &config, &name);
            assert_eq!((&read.file, read.lease), (&whole.file, whole.lease), "{text}");
            assert_eq!((&read.name, read.schema, read.phase), (&name, whole.schema, RecordPhase::Destroying));
        }
        for nothing in [&b""[..], &[0; 400], b"\xff\xfe garbage"] {
            fs::write(layout.record(&name), nothing).unwrap();
            assert_eq!(record(&layout, &config, &name).file, PathBuf::new());
        }
    }

    #[test]
    fn claims_say_what_a_container_has() {
        let (_root, layout, config, name) = lab();
        let write = |what: Claimed, owner: &str| fs::write(what.path(&layout), owner).unwrap();
        let ids = IdMap::new(165_536).unwrap();
        let port: HostPort = "tcp-80".parse().unwrap();
        let [lease, internet] = [[10, 101, 0, 2], [10, 202, 0, 10]].map(IpAddr::from);
        write(Claimed::Address(lease), "web");
        write(Claimed::Address(internet), "web");
        write(Claimed::Address([10, 101, 0, 3].into()), "other");
        write(Claimed::Address([10, 101, 0, 4].into()), "");
        write(Claimed::Ids(ids), "web");
        write(Claimed::HostPort(port), "web");
        assert!(!is_ours(&layout, &name));
        write(Claimed::Interface(InterfaceId::of(layout.lxc_path(), &name, 0)), "web");
        assert!(is_ours(&layout, &name) && !is_ours(&layout, &"other".parse().unwrap()));
        let record = record(&layout, &config, &name);
        assert_eq!(
            (record.lease.map(IpAddr::from), record.internet.map(IpAddr::from)),
            (Some(lease), Some(internet))
        );
        assert_eq!((record.ids, record.idmap, record.interface), (Some(ids), IdMapKind::Isolated, None));
        assert_eq!((record.host_ports, record.fixed), (vec![port], vec![]));
        assert_eq!(claims(&layout).unwrap().len(), 7);
    }
}
