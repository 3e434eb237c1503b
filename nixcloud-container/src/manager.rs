//! The manager: one host, opened.

use crate::config::HostConfig;
use crate::container::Container;
use crate::error::Error;
use crate::host::Host;
use crate::hostnet;
use crate::inspect::{self, Listed};
use crate::name::ContainerName;
use crate::observe::Cancel;
use crate::part::{Finding, HostChange};

/// One host and its containers.
///
/// It holds no connection and no lock: any number of managers, in any number of processes, may work at once.
///
/// ```no_run
/// use nixcloud_container::{CreateRequest, HostConfig, Manager, RunRequest, Streams};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     nixcloud_container::worker::init(); // first: this program is its own worker
///     let manager = Manager::open(HostConfig::load(None)?)?;
///     manager.host_up()?;
///     let web = manager.container("web".parse()?);
///     web.create(&CreateRequest { file: "web.nix".into(), ..Default::default() }, &mut ())?;
///     web.start(&mut ())?;
///     let exit = web.run(RunRequest::new(["systemctl", "is-system-running"]), Streams::Inherit)?;
///     assert!(exit.success());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Manager {
    host: Host,
    cancel: Cancel,
}

impl Manager {
    /// Opens this host.
    ///
    /// # Errors
    /// When the caller is not root, or a folder of the configuration cannot be resolved.
    pub fn open(config: HostConfig) -> Result<Self, Error> {
        Ok(Self { host: Host::open(config)?, cancel: Cancel::new() })
    }

    /// Lets `cancel` stop the operations of this manager and of the containers that it hands out.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// The host configuration.
    #[must_use]
    pub fn config(&self) -> &HostConfig {
        &self.host.config
    }

    /// A container by its name, which need not exist yet.
    #[must_use]
    pub fn container(&self, name: ContainerName) -> Container<'_> {
        Container::new(&self.host, &self.cancel, name)
    }

    /// All containers of the LXC path, ours and others, sorted by name.
    ///
    /// # Errors
    /// When the folders cannot be read. A container that cannot be read is in the list as such.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        inspect::list(&self.host)
    }

    /// The names of our containers, sorted. One folder is read, no container: 10,000 names take milliseconds.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<ContainerName>, Error> {
        inspect::names(&self.host)
    }

    /// Makes what containers need of this host: the bridges and all that belongs to them. Idempotent.
    ///
    /// # Errors
    /// [`Error::HostParts`] where some parts could not be made, as when an interface of that name is no bridge, or `nft` is
    /// not installed; it has what was done all the same.
    pub fn host_up(&self) -> Result<Vec<HostChange>, Error> {
        hostnet::up(&self.host)
    }

    /// Removes what [`host_up`](Self::host_up) made.
    ///
    /// # Errors
    /// When containers are attached to a bridge: then nothing is removed. [`Error::HostParts`] as for
    /// [`host_up`](Self::host_up).
    pub fn host_down(&self) -> Result<Vec<HostChange>, Error> {
        hostnet::down(&self.host)
    }

    /// Looks at what [`host_up`](Self::host_up) makes, and says what is missing and how to mend it. Nothing is changed.
    ///
    /// # Errors
    /// None: a part that cannot be looked at is a finding.
    pub fn host_check(&self) -> Result<Vec<Finding>, Error> {
        Ok(hostnet::check(&self.host))
    }
}
