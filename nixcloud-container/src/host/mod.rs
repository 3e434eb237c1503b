//! One host: its configuration and the drivers that every operation uses.

pub mod context;
pub mod grants;
mod held;
pub mod lxcfs;
pub mod name_files;
pub mod parts;

use std::time::Duration;

use crate::error::Error;
use crate::fs::lock::{self, Lock, Place};
use crate::model::config::HostConfig;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Operation;
use crate::net::sysctl::Sysctl;
use crate::nix::{Nix, Program};
use crate::render::HostFacts;
use crate::store::host_facts;
use crate::store::legacy;
use crate::store::record::Record;
use crate::store::rootfs;
use crate::store::salvage;
use crate::worker::Client;

pub(crate) use held::Held;

/// What operations stand on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) config: HostConfig,
    pub(crate) layout: Layout,
    pub(crate) worker: Client,
    /// How long others may hold a lock.
    pub(crate) lock_timeout: Duration,
}

impl Host {
    pub(crate) fn open(config: HostConfig) -> Result<Self, Error> {
        if !::nix::unistd::geteuid().is_root() {
            return Err(Error::NeedsRoot);
        }
        let layout = Layout::new(&config)?;
        let worker = Client::new(config.worker.as_deref());
        tracing::debug!(root = %config.root.display(), lxc = %config.paths.lxc.display(), "host opened");
        let lock_timeout = config.timeouts.lock();
        Ok(Self { config, layout, worker, lock_timeout })
    }

    /// Makes the folders of our own state. Only operations that write call it.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        if self.layout.state_dirs().iter().all(|dir| dir.is_dir()) {
            return Ok(());
        }
        // Records name files and arguments of root: nobody else's business. dnsmasq, which runs as nobody, passes through.
        rootfs::make_lasting_dirs(self.layout.state(), 0o711)?;
        for dir in self.layout.state_dirs() {
            rootfs::make_lasting_dirs(&dir, 0o700)?;
        }
        Ok(())
    }

    /// Takes the lock of a container, unless somebody has it.
    pub(crate) fn try_lock(&self, name: &ContainerName, operation: Operation) -> Result<Option<Held>, Error> {
        self.prepare()?;
        let (path, folder) = (self.layout.container_lock(name), self.layout.container_dir(name));
        // An empty folder of that name is nobody's lock, and would be in the way of everything, an end too.
        let _ = std::fs::remove_dir(&path);
        let lock = Lock::try_acquire(Place { file: &path, folder: Some(&folder) }).map_err(Error::Lock)?;
        Ok(lock.map(|lock| Held::by(&self.layout, name, operation, lock)))
    }

    /// Takes the lock of a container; it is held while the container is changed.
    pub(crate) fn lock(
        &self,
        name: &ContainerName,
        operation: Operation,
        cancel: &Cancel,
    ) -> Result<Held, Error> {
        self.prepare()?;
        let (path, folder) = (self.layout.container_lock(name), self.layout.container_dir(name));
        // An empty folder of that name is nobody's lock, and would be in the way of everything, an end too.
        let _ = std::fs::remove_dir(&path);
        match self.acquire(Place { file: &path, folder: Some(&folder) }, cancel) {
            Ok(lock) => Ok(Held::by(&self.layout, name, operation, lock)),
            Err(lock::Error::Cancelled { .. }) => Err(Error::Cancelled),
            Err(lock::Error::Held { pid, waited, .. }) => {
                Err(Error::Busy { name: name.clone(), pid, waited })
            }
            Err(source) => Err(Error::Lock(source)),
        }
    }

    /// Takes the lock of the pools, for a moment.
    pub(crate) fn lock_pools(&self, cancel: &Cancel) -> Result<Lock, Error> {
        match self
            .acquire(Place { file: &self.layout.host_lock(), folder: Some(&self.layout.records()) }, cancel)
        {
            Err(lock::Error::Cancelled { .. }) => Err(Error::Cancelled),
            other => other.map_err(|error| held("the shared ids of this host", error)),
        }
    }

    /// Takes the lock of the host's networks. Whoever holds a container's lock may take it, never the other way round.
    /// A free one is got by an operation that was cancelled, too: what is left to do takes milliseconds.
    pub(crate) fn lock_network(&self, cancel: &Cancel) -> Result<Lock, Error> {
        self.prepare()?;
        let (file, folder) = (self.layout.network_lock(), self.layout.runs());
        let place = || Place { file: &file, folder: Some(&folder) };
        if let Some(lock) = Lock::try_acquire(place()).map_err(Error::Lock)? {
            return Ok(lock);
        }
        match self.acquire(place(), cancel) {
            Err(lock::Error::Cancelled { .. }) => Err(Error::Cancelled),
            other => other.map_err(|error| held("the networks of this host", error)),
        }
    }

    fn acquire(&self, place: Place<'_>, cancel: &Cancel) -> Result<Lock, lock::Error> {
        Lock::acquire(place, self.lock_timeout, &|| cancel.is_cancelled())
    }

    pub(crate) fn facts(&self) -> Result<HostFacts, Error> {
        Ok(host_facts::probe(&self.config, &self.layout)?)
    }

    /// The settings of the kernel.
    pub(crate) fn sysctl(&self) -> Sysctl {
        Sysctl::new(self.layout.sysctl())
    }

    /// Whether this is a host of its own and not a try-out below a folder, which shares kernel, users and firewall with
    /// another one: then what belongs to all is looked at and left alone.
    pub(crate) fn is_whole(&self) -> bool {
        self.config.root.parent().is_none()
    }

    pub(crate) fn nix(&self) -> Nix {
        nix(&self.config)
    }

    /// The names of all containers of ours, and of those that the shell original made, sorted.
    pub(crate) fn names(&self) -> Result<Vec<ContainerName>, Error> {
        // In this order: one that is adopted meanwhile is found twice, and not missed.
        let mut names = legacy::names(&self.layout);
        names.extend(Record::names(&self.layout)?);
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// The record of a container of ours, or one put together of what the shell original made.
    pub(crate) fn record(&self, name: &ContainerName) -> Result<Record, Error> {
        match Record::load(&self.layout, name)? {
            Some(record) => Ok(record),
            None if self.layout.lxc_config(name).exists() => match legacy::record(&self.layout, name)? {
                Some(record) => Ok(record),
                None if salvage::is_ours(&self.layout, name) => Err(self.lost_record(name)),
                None => Err(Error::Foreign { name: name.clone() }),
            },
            None if salvage::is_ours(&self.layout, name) => Err(self.lost_record(name)),
            None => Err(Error::NotFound { name: name.clone() }),
        }
    }

    pub(crate) fn lost_record(&self, name: &ContainerName) -> Error {
        Error::Lost { name: name.clone(), path: self.layout.record(name) }
    }

    /// The record of a container that is to end or to go: where it is lost or damaged, what there is of the container says
    /// what is to end or to go.
    pub(crate) fn record_or_rest(&self, name: &ContainerName) -> Result<Record, Error> {
        match self.record(name) {
            Err(Error::Record(_) | Error::Lost { .. }) => {
                tracing::debug!(%name, "the record is lost or damaged: put together of what there is");
                Ok(salvage::record(&self.layout, &self.config, name))
            }
            other => other,
        }
    }
}

/// A lock of what all containers share was not got.
fn held(what: &'static str, error: lock::Error) -> Error {
    match error {
        lock::Error::Held { pid, waited, .. } => Error::HostBusy { what, pid, waited },
        error => Error::Lock(error),
    }
}

/// Nix as the host configuration has it.
pub(crate) fn nix(config: &HostConfig) -> Nix {
    let Some(bin) = &config.nix.bin else { return Nix::new() };
    [Program::NixInstantiate, Program::NixStore, Program::NixEnv]
        .into_iter()
        .fold(Nix::new(), |nix, program| nix.with_program(program, bin.join(program.name())))
}
