//! The manager: one host, opened.

use std::path::Path;
use std::sync::Arc;

use crate::build::evaluator::{EvalRequest, Evaluation, Evaluator};
use crate::container::Container;
use crate::error::{self, Error};
use crate::fleet::apply::{self, Applied, ApplyRequest, Removal, UpdateAllRequest, foresight};
use crate::fleet::autostart::{self, AutostartRequest, Autostarted, AutostopRequest, Autostopped};
use crate::fleet::gc::{self, Collected, GcRequest};
use crate::host::Host;
use crate::host::context::Context;
use crate::host::parts;
use crate::model::config::HostConfig;
use crate::model::host_report::{Finding, HostChange, Part};
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Observer};
use crate::ops::destroy::DestroyRequest;
use crate::ops::inspect::{self, Listed};
use crate::ops::repair::{self, Repair, RepairRequest};
use crate::ops::watch::{self, Watch, WatchRequest};

/// One host and its containers.
///
/// It holds no connection and no lock: any number of managers, in any number of processes, may work at once. A clone is cheap
/// and shares what the manager has.
///
/// ```no_run
/// use nixcloud_container::{CreateRequest, HostConfig, Manager, RunRequest, Streams};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     nixcloud_container::worker::init(); // first: this program is its own worker
///     let manager = Manager::open(HostConfig::load(None)?)?;
///     manager.host_up()?;
///     let web = manager.container("web".parse()?);
///     web.create(&CreateRequest::new("web.nix"), &mut ())?;
///     web.start(&mut ())?;
///     let exit = web.run(RunRequest::new(["systemctl", "is-system-running"]), Streams::Inherit)?;
///     assert!(exit.success());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Manager {
    host: Arc<Host>,
    cancel: Cancel,
}

impl Manager {
    /// Opens this host.
    ///
    /// # Errors
    /// When the caller is not root, or a folder of the configuration cannot be resolved.
    pub fn open(config: HostConfig) -> Result<Self, Error> {
        Ok(Self { host: Arc::new(Host::open(config)?), cancel: Cancel::new() })
    }

    fn context<'a>(&'a self, observer: &'a mut dyn Observer) -> Context<'a> {
        Context::new(&self.host, observer, &self.cancel)
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

    /// Where the containers are, each in a folder of its name: the configured LXC path below the configured root.
    #[must_use]
    pub fn lxc_path(&self) -> &Path {
        self.host.layout.lxc_path()
    }

    /// A container by its name, which need not exist yet. The handle does not borrow the manager.
    #[must_use]
    pub fn container(&self, name: ContainerName) -> Container {
        Container::new(Arc::clone(&self.host), self.cancel.clone(), name)
    }

    /// Evaluates a container file, see [`Evaluator::eval`].
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn eval(&self, request: &EvalRequest, observer: &mut dyn Observer) -> Result<Evaluation, Error> {
        Evaluator::new(self.host.config.clone()).with_cancel(self.cancel.clone()).eval(request, observer)
    }

    /// Makes a set of containers what it is declared to be: creates, updates in place, and removes where it is to. What
    /// happens to each is in the outcome; one that fails stops no other.
    ///
    /// # Errors
    /// When the set itself cannot be read, or nothing can be evaluated.
    pub fn apply(&self, request: &ApplyRequest, observer: &mut dyn Observer) -> Result<Applied, Error> {
        let _span = tracing::debug_span!("apply").entered();
        apply::apply(&mut self.context(observer), request, &mut |_| true)
    }

    /// As [`apply`](Self::apply), and asks before containers are destroyed because of [`prune`](ApplyRequest::prune): after the
    /// plan, and before anything is changed.
    ///
    /// # Errors
    /// As [`apply`](Self::apply); [`Error::Unconfirmed`] where the answer is no.
    pub fn apply_confirmed(
        &self,
        request: &ApplyRequest,
        observer: &mut dyn Observer,
        confirm: &mut dyn FnMut(&Removal) -> bool,
    ) -> Result<Applied, Error> {
        let _span = tracing::debug_span!("apply").entered();
        apply::apply(&mut self.context(observer), request, confirm)
    }

    /// Updates all containers, each with its last file, but those that the host configuration declares.
    ///
    /// # Errors
    /// When nothing can be evaluated. What happens to each is in the outcome.
    pub fn update_all(
        &self,
        request: &UpdateAllRequest,
        observer: &mut dyn Observer,
    ) -> Result<Applied, Error> {
        let _span = tracing::debug_span!("update_all").entered();
        apply::update_all(&mut self.context(observer), request)
    }

    /// What [`Container::destroy`] would come to for each of these: what they keep, and what it would be refused for. Nothing is changed.
    #[must_use]
    pub fn plan_destroy(&self, names: &[ContainerName], request: DestroyRequest) -> Applied {
        foresight::plan_destroy(&self.context(&mut ()), names, request)
    }

    /// All containers of the LXC path, ours and others, sorted by name.
    ///
    /// # Errors
    /// When the folders cannot be read. A container that cannot be read is in the list as such.
    pub fn list(&self) -> Result<Vec<Listed>, Error> {
        inspect::list(&self.host)
    }

    /// The names of our containers, sorted, and of those that the shell original made. Folders are read, no container:
    /// 10,000 names take milliseconds.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn names(&self) -> Result<Vec<ContainerName>, Error> {
        self.host.names()
    }

    /// Watches containers: tells what happens to them, as it happens, without asking again and again, and without a daemon or a
    /// thread. Any number of watches may go on at once; each holds an open file a running guest, and three more.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use nixcloud_container::watch::{End, Occurred, WatchRequest};
    /// use nixcloud_container::{HostConfig, Manager};
    ///
    /// let manager = Manager::open(HostConfig::default())?;
    /// for occurrence in manager.watch(WatchRequest::new())? {
    ///     let occurrence = occurrence?;
    ///     match occurrence.what {
    ///         Occurred::Found { state, .. } => println!("{} is {state}", occurrence.name),
    ///         Occurred::Ready => println!("{} has booted", occurrence.name),
    ///         Occurred::Ended { how: End::Killed | End::ByItself, .. } => {
    ///             manager.container(occurrence.name).start(&mut ())?;
    ///         }
    ///         // There may be more of them some day.
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// In an event loop: the watch has a file descriptor ([`AsFd`](std::os::fd::AsFd)), readable when there may be something to
    /// tell, to be given to `poll` or `epoll`; then [`Watch::try_next`] is called until it says `None`. With tokio, in
    /// `AsyncFd::with_interest(watch, Interest::READABLE)`: await `readable_mut()`, call `try_next` of `get_inner_mut()` until it says
    /// `None`, then `clear_ready()`.
    ///
    /// **What is told.** Each container as it is ([`Found`](crate::watch::Occurred::Found)), unless the request has a time
    /// [`since`](WatchRequest::since); from then on each change. What operations of this library did is told in their order and none is
    /// left out, however late the watch reads. Of what happens without one (a guest that shuts itself down, is killed, reboots) what
    /// it led to is told: a guest that came and went between two reads may be missed, a state never is. When the kernel drops
    /// notices (an overflow), everything is looked at again. A container that cannot be read is told once and harms no other.
    ///
    /// **What can only be asked.** LXC tells nobody when it is done with starting or ending a guest: while it is at that, and only
    /// then, it is asked again, first after 10 ms and then ever more rarely. On cgroup v1 a freeze by another tool (`lxc-freeze`) is
    /// seen when something else of that container changes; so is a guest started by another tool, on any host. How a guest ended
    /// that no operation asked to is known from Linux 6.15 on, see [`End`](crate::watch::End).
    ///
    /// Nothing that a guest writes is read. It can be quick to boot and to end, and wake whoever watches by it.
    ///
    /// # Errors
    /// When the host allows this user no further inotify instance (`fs.inotify.max_user_instances`), watch or open file.
    pub fn watch(&self, request: WatchRequest) -> Result<Watch, Error> {
        watch::watch(Arc::clone(&self.host), request, self.cancel.clone())
    }

    /// Starts all containers whose current generation says that they start with the host: by their `after`, then by
    /// their order, so many at once as configured. A container is started when all those that it comes after run and
    /// their delay has passed, and all of a lower order have been tried. The answer names each of them.
    ///
    /// # Errors
    /// When the containers cannot be listed, or it is cancelled: what was started by then goes on. A container that
    /// fails is no error: it is in the answer as such, and only those that come after it are left out.
    pub fn autostart(
        &self,
        request: &AutostartRequest,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Autostarted>, Error> {
        autostart::start_all(&mut self.context(observer), request)
    }

    /// Shuts down all containers of ours that run: first those that no order holds, then those that start with the host
    /// in reverse order. The answer names each that ran.
    ///
    /// # Errors
    /// When the containers cannot be listed, or it is cancelled: what has not ended by then still runs. A container
    /// that does not end is no error: it is in the answer as such.
    pub fn autostop(
        &self,
        request: &AutostopRequest,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Autostopped>, Error> {
        autostart::stop_all(&mut self.context(observer), request)
    }

    /// Deletes old generations, of one container after the other. The answer names each, with what went.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use nixcloud_container::{GcRequest, HostConfig, Keep, Manager};
    ///
    /// let manager = Manager::open(HostConfig::load(None)?)?;
    /// let keep = Keep::new().with_newest(5_u32).with_days(30_u32).with_good(2_u32);
    /// for container in manager.gc(&GcRequest::new().with_keep(keep), &mut ())? {
    ///     println!("{}: {} went", container.name, container.outcome?.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NoPolicy`] where nothing says what is kept, or when containers cannot be listed, or it is cancelled: what went by then
    /// is gone. A container that fails is no error: it is in the answer as such.
    pub fn gc(&self, request: &GcRequest, observer: &mut dyn Observer) -> Result<Vec<Collected>, Error> {
        gc::collect(&mut self.context(observer), request)
    }

    /// Makes what containers need of this host: the bridges and all that belongs to them. Idempotent.
    ///
    /// # Errors
    /// [`Error::HostParts`] where some parts could not be made, as when an interface of that name is no bridge, or `nft` is
    /// not installed; it has what was done all the same.
    pub fn host_up(&self) -> Result<Vec<HostChange>, Error> {
        parts::up(&self.host, &self.cancel)
    }

    /// Removes what [`host_up`](Self::host_up) made.
    ///
    /// # Errors
    /// When containers are attached to a bridge: then nothing is removed. [`Error::HostParts`] as for
    /// [`host_up`](Self::host_up).
    pub fn host_down(&self) -> Result<Vec<HostChange>, Error> {
        parts::down(&self.host, &self.cancel)
    }

    /// Looks at what [`host_up`](Self::host_up) makes, and says what is missing and how to mend it. Nothing is changed. A part
    /// that cannot be looked at is a finding.
    #[must_use]
    pub fn host_check(&self) -> Vec<Finding> {
        let mut findings = parts::check(&self.host, &self.cancel);
        findings.extend(match repair::check(&self.host) {
            Ok(found) => found,
            Err(error) => {
                let what = format!("they cannot be looked at: {}", error::chain(&error));
                vec![Finding::wrong(Part::Container, "all", what, error.hint().unwrap_or_default())]
            }
        });
        findings
    }

    /// Makes what is damaged or lost of containers anew, each thing of the others: record, claims, profile, folders. What
    /// was done about each is in the answer; nothing is removed but what names nobody and what leads nowhere.
    ///
    /// # Errors
    /// When there is no such container, or it cannot be looked at. What cannot be mended is no error: it is in the answer.
    pub fn repair(&self, request: &RepairRequest, observer: &mut dyn Observer) -> Result<Vec<Repair>, Error> {
        let _span = tracing::debug_span!("repair").entered();
        repair::repair(&mut self.context(observer), request)
    }
}
