//! Records: what we know of a container that nothing else does. One TOML file each, written whole.

mod file;
mod run;

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::fs::atomic::Durability;
use crate::fs::error::FileError;
use crate::fs::{durable, room};
use crate::model::forward::HostPort;
use crate::model::generation::{GenerationId, Health};
use crate::model::idmap::{IdMap, IdMapKind};
use crate::model::interface::InterfaceId;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::overrides::Overrides;

pub use file::RecordError;
use file::{CONDEMNED, Text, read, remove, write};
pub use run::{GuestDevices, Run, Signals};

/// The schema of records that this version writes.
pub const SCHEMA: u32 = 1;

/// What is kept of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// The schema that it was written in.
    pub schema: u32,
    /// The container.
    pub name: ContainerName,
    /// When it was created.
    pub created: Timestamp,
    /// The operation under way; what a killed one left is known by it.
    pub phase: RecordPhase,
    /// Whether something may be left to do that follows from the current generation: its names told, the packet filter
    /// loaded, what the others held given back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
    /// The container file last used.
    pub file: PathBuf,
    /// Arguments for Nix that go with the file.
    #[serde(default)]
    pub nix_args: Vec<String>,
    /// LXC configuration items beside those of the file: the current generation's, or during a switch the next one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lxc_items: Vec<(String, String)>,
    /// The address leased from the pool, kept for the container's life.
    pub lease: Option<Ipv4Addr>,
    /// The fixed addresses that it holds: that of the current generation, and during a switch the next one's too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<Ipv4Addr>,
    /// As `fixed`, for IPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed6: Vec<Ipv6Addr>,
    /// Its address on the bridge that leads out, kept for as long as a generation of it may want one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internet: Option<Ipv4Addr>,
    /// What its interface names and MAC addresses are made of, where it is not what follows from its name: another
    /// container had that already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<InterfaceId>,
    /// The ports of the host that lead to it: those of the current generation, and during a switch the next one's too.
    #[serde(default, rename = "ports", skip_serializing_if = "Vec::is_empty")]
    pub host_ports: Vec<HostPort>,
    /// Its ids.
    pub ids: Option<IdMap>,
    /// Whether those are its own.
    #[serde(default)]
    pub idmap: IdMapKind,
    /// The ids that its files are to have instead, or that some of them have already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moving: Option<Moving>,
    /// Whether the shell original made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
    /// Hashes of the LXC configuration as we wrote it; two while it is being replaced.
    #[serde(default)]
    pub config_hashes: Vec<String>,
    /// Who declared it; `None` where it was created by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
    /// Whether somebody chose the current generation, by a rollback or a switch: an update of all containers leaves it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Limits that somebody set, in place of those of the generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Overrides>,
    /// What is known of generations beside what is in the store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generations: Vec<GenerationNote>,
}

/// A change of ids that is not complete. Both ranges are claimed; the container does not run while its files are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moving {
    /// The other ids.
    pub ids: IdMap,
    /// Whether those are its own.
    pub idmap: IdMapKind,
    /// Whether files may have them. If not, they are only claimed.
    pub begun: bool,
}

/// How far the adoption of a container of the shell original has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Adopted {
    /// It has a record; what that names may not be claimed yet.
    Begun,
    /// It is one of ours, but for the original's state files, which go when it is destroyed.
    Done,
}

/// Who declared a container: it is updated and removed as that says, and by nobody else's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The set of containers, or the manifest.
    pub source: String,
    /// Whether it comes built, by a manifest: then the host configuration declares it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built: bool,
    /// Whether it goes when it is declared no more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ephemeral: bool,
}

impl Declared {
    /// Who, for a message.
    pub(crate) fn words(&self) -> String {
        let what = if self.built { "the host's configuration" } else { "the set" };
        format!("{what} {}", self.source)
    }
}

/// What is known of one generation: what came of its activation, and what it was given beside its container file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GenerationNote {
    /// The generation.
    pub id: GenerationId,
    /// What came of it.
    pub health: Health,
    /// Its LXC configuration items.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lxc_items: Vec<(String, String)>,
    /// The units that failed when it was activated, as far as they were named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
}

/// The operation under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "is", deny_unknown_fields)]
pub enum RecordPhase {
    /// None.
    Ready,
    /// Create: everything there is can be removed.
    Creating,
    /// A switch to another generation: until it has proved itself, `from` is the one to boot.
    Switching {
        /// The generation that was current before.
        from: GenerationId,
    },
    /// Destroy: what is left is to be removed.
    Destroying,
}

impl RecordPhase {
    /// Whether there is no whole container: it was being made or removed.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Creating | Self::Destroying)
    }
}

impl Record {
    /// The record of a container that is about to be created.
    #[must_use]
    pub fn new(name: ContainerName, file: PathBuf, nix_args: Vec<String>) -> Self {
        Self {
            schema: SCHEMA,
            name,
            created: Timestamp::now(),
            phase: RecordPhase::Creating,
            unsettled: false,
            file,
            nix_args,
            lxc_items: Vec::new(),
            lease: None,
            fixed: Vec::new(),
            fixed6: Vec::new(),
            internet: None,
            interface: None,
            host_ports: Vec::new(),
            ids: None,
            idmap: IdMapKind::default(),
            moving: None,
            adopted: None,
            config_hashes: Vec::new(),
            declared: None,
            pinned: false,
            limits: None,
            generations: Vec::new(),
        }
    }

    /// Reads the record of a container; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or a newer version wrote it.
    pub fn load(layout: &Layout, name: &ContainerName) -> Result<Option<Self>, RecordError> {
        #[derive(Deserialize)]
        struct Probe {
            schema: u32,
        }
        let path = layout.record(name);
        let Some(Text { text, condemned }) = read(&path)? else { return Ok(None) };
        let damaged = |source| RecordError::Damaged { path: path.clone(), source };
        let read = toml::from_str::<Self>(&text);
        // The number alone where it cannot be read: a newer record has fields that this version calls unknown.
        let schema = match &read {
            Ok(record) => record.schema,
            Err(_) => toml::from_str::<Probe>(&text).map_err(damaged)?.schema,
        };
        if schema > SCHEMA {
            return Err(RecordError::Newer { path, found: schema });
        }
        let mut record = read.map_err(damaged)?;
        if record.name != *name {
            return Err(RecordError::Misplaced { path, found: record.name });
        }
        if condemned {
            record.phase = RecordPhase::Destroying;
        }
        Ok(Some(record))
    }

    /// Writes the record, whole and durable.
    ///
    /// # Errors
    /// When it cannot be written; the old one is then still there.
    pub fn save(&self, layout: &Layout) -> Result<(), RecordError> {
        write(&layout.record(&self.name), self, Durability::Synced)
    }

    /// Notes that the container is being destroyed, durably, where there is no room to write the record anew: the file is
    /// marked by its mode.
    ///
    /// # Errors
    /// When it cannot be marked.
    pub fn condemn(layout: &Layout, name: &ContainerName) -> Result<(), RecordError> {
        let path = layout.record(name);
        let mark = || {
            let file = File::open(&path)?;
            file.set_permissions(PermissionsExt::from_mode(0o600 | CONDEMNED))?;
            file.sync_all()
        };
        mark().map_err(|source| RecordError::Read(FileError::new("read", &path, source)))
    }

    /// Removes the record of a container, durably.
    ///
    /// # Errors
    /// When it cannot be removed; a missing one is no error.
    pub fn delete(layout: &Layout, name: &ContainerName) -> Result<(), RecordError> {
        let path = layout.record(name);
        let gone = |source| RecordError::Remove(FileError::new("remove", &path, source));
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            // Somebody put a folder there; what is in it is no record.
            std::fs::remove_dir_all(&path).map_err(gone)?;
        }
        remove(&path)?;
        remove(&layout.damaged_record(name))?;
        match durable::entries(&layout.records()) {
            // It is gone; on a disk without room that is as much as there is to be had.
            Err(source) if !room::lacked(&source) => Err(gone(source)),
            _ => Ok(()),
        }
    }

    /// The names of all records, sorted. Files that are no record are passed over.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(layout: &Layout) -> Result<Vec<ContainerName>, RecordError> {
        let path = layout.records();
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RecordError::Read(FileError::new("read", &path, source))),
        };
        let mut names: Vec<ContainerName> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".toml")?.parse().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The generation that boots at the next start, where the profile's current one is `current`; and that one, where it
    /// has not proved itself: an operation that makes it so is under way, or was cut off.
    #[must_use]
    pub fn counting(&self, current: Option<GenerationId>) -> (Option<GenerationId>, Option<GenerationId>) {
        match self.phase {
            RecordPhase::Switching { from } if current.is_some_and(|current| current != from) => {
                (Some(from), current)
            }
            _ => (current, None),
        }
    }

    /// The ids that it has when it next boots as `kind`, as far as they are claimed.
    #[must_use]
    pub fn ids_for(&self, kind: IdMapKind) -> Option<IdMap> {
        self.moving.filter(|moving| moving.idmap == kind).map(|moving| moving.ids).or(self.ids)
    }

    /// Whether it claims these ids.
    #[must_use]
    pub fn claims(&self, ids: IdMap) -> bool {
        self.ids == Some(ids) || self.moving.is_some_and(|moving| moving.ids == ids)
    }

    /// What its interface names and MAC addresses are made of.
    #[must_use]
    pub fn interface_id(&self, layout: &Layout) -> InterfaceId {
        self.interface.unwrap_or_else(|| InterfaceId::of(layout.lxc_path(), &self.name, 0))
    }

    /// What is noted of a generation.
    #[must_use]
    pub fn health(&self, id: GenerationId) -> Health {
        self.generations.iter().find(|note| note.id == id).map(|note| note.health).unwrap_or_default()
    }

    /// Notes what came of a generation.
    pub fn note_health(&mut self, id: GenerationId, health: Health) {
        self.note(id).health = health;
    }

    /// Notes the units that failed when a generation was activated.
    pub fn note_failed(&mut self, id: GenerationId, units: &[String]) {
        self.note(id).failed = units.to_vec();
    }

    /// Those units.
    #[must_use]
    pub fn failed_units(&self, id: GenerationId) -> &[String] {
        let note = self.generations.iter().find(|note| note.id == id);
        note.map(|note| &note.failed[..]).unwrap_or_default()
    }

    /// Notes that a generation was left again before it was activated, where nothing else is known of it.
    pub fn note_undone(&mut self, id: GenerationId) {
        if self.health(id) == Health::Untried {
            self.note_health(id, Health::Undone);
        }
    }

    /// The LXC configuration items of a generation.
    #[must_use]
    pub fn items_of(&self, id: GenerationId) -> Vec<(String, String)> {
        let note = self.generations.iter().find(|note| note.id == id);
        note.map(|note| note.lxc_items.clone()).unwrap_or_default()
    }

    /// Notes that [`Record::lxc_items`] are those of a generation.
    pub fn note_items(&mut self, id: GenerationId) {
        let items = self.lxc_items.clone();
        if items != self.items_of(id) {
            self.note(id).lxc_items = items;
        }
    }

    fn note(&mut self, id: GenerationId) -> &mut GenerationNote {
        let at = self.generations.iter().position(|note| note.id == id).unwrap_or_else(|| {
            self.generations.push(GenerationNote {
                id,
                health: Health::default(),
                lxc_items: Vec::new(),
                failed: Vec::new(),
            });
            self.generations.len() - 1
        });
        &mut self.generations[at]
    }
}

#[cfg(test)]
mod tests;
