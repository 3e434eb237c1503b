//! A container: a name on a host, and what can be asked of it.

mod command;

use std::ffi::OsString;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::fleet::apply::{self, Applied, foresight};
use crate::host::Host;
use crate::host::context::Context;
use crate::model::generation::{Generation, GenerationId, Selection};
use crate::model::name::ContainerName;
use crate::model::observe::{Cancel, Data, Observer};
use crate::model::ready::Readiness;
use crate::model::signal::Signal;
use crate::model::state::State;
use crate::ops::addresses::{self, Address};
use crate::ops::create::{self, CreateRequest, Created};
use crate::ops::destroy::{self, DestroyRequest};
use crate::ops::ended;
use crate::ops::exec::{self, RunRequest, Streams};
use crate::ops::generations;
use crate::ops::inspect::{self, Status};
use crate::ops::plan::{Plan, PlanRequest};
use crate::ops::power::{self, StopOutcome, StopRequest};
use crate::ops::ready::{self, WaitRequest};
use crate::ops::restart::{self, RestartRequest, Restarted};
use crate::ops::set::{self, SetRequest};
use crate::ops::start::{self, StartOutcome, StartRequest};
use crate::ops::switch::{self, Switched};
use crate::ops::switch_request::SwitchRequest;
use crate::ops::update::{self, UpdateRequest, Updated};
use crate::worker::Exit;

pub use command::{Captured, Child, Command, Input, Output};

/// One container of a [`Manager`](crate::Manager)'s host.
///
/// ```text
///            create                start
///  (nothing) -----> stopped ------------------> running --- update, switch: in place
///      ^               |  ^                       |  | ^
///      |    destroy    |  |   stop, terminate     |  | |    freeze, unfreeze
///      +---------------+  +-----------------------+  +-+--- frozen
/// ```
///
/// Operations that change it take its lock and wait for others that hold it. Each blocks its thread until it is done.
///
/// It is a handle of its own, cheap to clone: it can go into a thread and outlive its manager.
///
/// ```no_run
/// # fn main() -> Result<(), nixcloud_container::Error> {
/// use std::time::Duration;
/// use nixcloud_container::{Cancel, HostConfig, Manager};
///
/// let manager = Manager::open(HostConfig::default())?;
/// let cancel = Cancel::new();
/// let web = manager
///     .container("web".parse()?)
///     .with_cancel(cancel.clone())
///     .with_lock_timeout(Duration::from_secs(5));
/// let started = std::thread::spawn(move || web.start(&mut ()));
/// // Stops this one operation, and nothing else of the manager's.
/// cancel.cancel();
/// let _ = started.join();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Container {
    host: Arc<Host>,
    cancel: Cancel,
    name: ContainerName,
}

impl Container {
    pub(crate) fn new(host: Arc<Host>, cancel: Cancel, name: ContainerName) -> Self {
        Self { host, cancel, name }
    }

    fn context<'a>(&'a self, observer: &'a mut dyn Observer) -> Context<'a> {
        Context::new(&self.host, observer, &self.cancel)
    }

    /// Lets `cancel` stop the operations of this handle and of its clones, in place of the manager's.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// How long operations of this handle wait for another process or thread to release a lock, in place of
    /// [`timeouts.lock`](crate::config::Timeouts::lock) of the host configuration. Zero is not to wait at all.
    #[must_use]
    pub fn with_lock_timeout(mut self, limit: Duration) -> Self {
        Arc::make_mut(&mut self.host).lock_timeout = limit;
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &ContainerName {
        &self.name
    }

    /// Creates it: leases an address and ids, evaluates, builds, installs. It does not start.
    ///
    /// # Errors
    /// When it exists, or a step fails; then nothing of it is left.
    pub fn create(&self, request: &CreateRequest, observer: &mut dyn Observer) -> Result<Created, Error> {
        let _span = tracing::debug_span!("create", name = %self.name).entered();
        create::create(&mut self.context(observer), &self.name, request)
    }

    /// Makes a new generation, and activates it in place if the container runs. Creates the container if there is none.
    ///
    /// # Errors
    /// When it does not build, or its activation fails; then the previous generation is put back and activated again
    /// ([`Error::Activation`] says so).
    pub fn update(&self, request: &UpdateRequest, observer: &mut dyn Observer) -> Result<Updated, Error> {
        let _span = tracing::debug_span!("update", name = %self.name).entered();
        update::update(&mut self.context(observer), &self.name, request)
    }

    /// What [`update`](Self::update) would come to with this request, as far as it is known before a build: all that is checked
    /// of container file, items and state is checked here. Nothing of the host changes; derivations may be written to the
    /// store.
    ///
    /// # Errors
    /// When it cannot be planned. What would be refused is in the answer.
    pub fn plan_update(
        &self,
        request: &UpdateRequest,
        observer: &mut dyn Observer,
    ) -> Result<Applied, Error> {
        let _span = tracing::debug_span!("plan_update", name = %self.name).entered();
        apply::plan_update(&mut self.context(observer), &self.name, request)
    }

    /// What a change of its generation would come to: the packages that come and go, what its units would do, what takes effect in the
    /// running guest and what at its next start. It is built, and a guest that runs is asked, by `dry-activate` of the system that it
    /// would be switched to; no generation is made of it, and nothing is left of it afterwards. A request that only looks does neither.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use nixcloud_container::{HostConfig, Manager, PlanRequest, PlanTarget, PlanVerdict, UpdateRequest};
    ///
    /// let web = Manager::open(HostConfig::default())?.container("web".parse()?);
    /// let update = UpdateRequest::new("web.nix");
    /// let plan = web.plan(&PlanRequest::new(PlanTarget::Update(update.clone())), &mut ())?;
    /// if plan.verdict == PlanVerdict::Live {
    ///     web.update(&update, &mut ())?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those that the change itself would be refused with before it begins; and when it does not build.
    pub fn plan(&self, request: &PlanRequest, observer: &mut dyn Observer) -> Result<Plan, Error> {
        let _span = tracing::debug_span!("plan", name = %self.name).entered();
        foresight::plan(&mut self.context(observer), &self.name, request)
    }

    /// Which generations [`delete_generations`](Self::delete_generations) would remove. Nothing is changed.
    ///
    /// # Errors
    /// Those of the removal itself.
    pub fn plan_delete_generations(&self, selection: &Selection) -> Result<Vec<GenerationId>, Error> {
        generations::foreseen_deletion(&self.host, &self.name, selection)
    }

    /// Sets limits by hand: in the running guest at once, and for its next starts. A new generation begins with its own, unless they
    /// are kept.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use nixcloud_container::{HostConfig, Manager, SetRequest};
    ///
    /// let manager = Manager::open(HostConfig::default())?;
    /// let web = manager.container("web".parse()?);
    /// web.set(&SetRequest::new().limit("memory", "2G"), &mut ())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// For a key or value that is none, a limit that this host cannot hold, and memory that the guest does not give back.
    pub fn set(&self, request: &SetRequest, observer: &mut dyn Observer) -> Result<(), Error> {
        let _span = tracing::debug_span!("set", name = %self.name).entered();
        set::set(&mut self.context(observer), &self.name, request)
    }

    /// Goes to the newest generation older than the current one that has worked: activated without a fault, or booted and
    /// run. Where none is known to have, to the newest of which nothing is known; never to one that failed. It is pinned
    /// there, see [`switch_generation`](Self::switch_generation).
    ///
    /// # Errors
    /// When there is none, another container holds its fixed address now, or its activation fails.
    pub fn rollback(&self, observer: &mut dyn Observer) -> Result<Switched, Error> {
        self.switch(SwitchRequest::new(), observer)
    }

    /// Goes to a generation, and pins the container there: an update of all containers leaves it, until it is updated by its
    /// name or applied.
    ///
    /// # Errors
    /// When it does not exist, another container holds its fixed address now, or its activation fails.
    pub fn switch_generation(
        &self,
        id: GenerationId,
        observer: &mut dyn Observer,
    ) -> Result<Switched, Error> {
        self.switch(SwitchRequest::new().with_to(id), observer)
    }

    /// Goes to a generation as [`rollback`](Self::rollback) and [`switch_generation`](Self::switch_generation) do, with what they
    /// leave as it is.
    ///
    /// # Errors
    /// Theirs.
    pub fn switch(&self, request: SwitchRequest, observer: &mut dyn Observer) -> Result<Switched, Error> {
        let _span = tracing::debug_span!("switch", name = %self.name, ?request).entered();
        switch::switch(&mut self.context(observer), &self.name, request)
    }

    /// Its generations, oldest first.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub fn generations(&self) -> Result<Vec<Generation>, Error> {
        inspect::generations(&self.host, &self.name)
    }

    /// Its generations as [`generations`](Self::generations) has them, without asking the guest: `booted` is what was
    /// noted at its last start. For hints that must be there at once.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub fn noted_generations(&self) -> Result<Vec<Generation>, Error> {
        inspect::noted_generations(&self.host, &self.name)
    }

    /// Deletes generations, never the current nor the booted one; nothing is activated. Returns those deleted.
    ///
    /// # Errors
    /// When one that is named does not exist, or is current or booted.
    pub fn delete_generations(
        &self,
        selection: &Selection,
        observer: &mut dyn Observer,
    ) -> Result<Vec<GenerationId>, Error> {
        let _span = tracing::debug_span!("delete_generations", name = %self.name).entered();
        generations::delete(&mut self.context(observer), &self.name, selection)
    }

    /// What it keeps: the files that go with it when it is destroyed. They are counted one by one.
    ///
    /// # Errors
    /// When it does not exist.
    pub fn data(&self) -> Result<Data, Error> {
        inspect::data(&self.host, &self.name, &self.cancel)
    }

    /// Removes it with all that is its own, its files among it: see [`data`](Self::data).
    ///
    /// # Errors
    /// When it runs and `force` is not set, or something is mounted in its folder.
    pub fn destroy(&self, request: DestroyRequest) -> Result<(), Error> {
        let _span = tracing::debug_span!("destroy", name = %self.name).entered();
        destroy::destroy(&self.host, &self.name, request, &self.cancel)
    }

    /// Boots it; waits for one that is just ending.
    ///
    /// # Errors
    /// When a bridge is missing or LXC fails, with LXC's own words.
    pub fn start(&self, observer: &mut dyn Observer) -> Result<StartOutcome, Error> {
        self.start_with(&StartRequest::default(), observer)
    }

    /// Boots it as `request` says. In the foreground, returns when the guest has ended: by itself, by somebody's stop,
    /// or because the caller cancelled, which shuts it down within the configured time.
    ///
    /// # Errors
    /// As [`Container::start`]; and when an item is refused, before anything is changed.
    pub fn start_with(
        &self,
        request: &StartRequest,
        observer: &mut dyn Observer,
    ) -> Result<StartOutcome, Error> {
        let _span = tracing::debug_span!("start", name = %self.name).entered();
        start::start(&mut self.context(observer), &self.name, request)
    }

    /// Waits until it is ready. It is left as it is whatever comes of that.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use std::time::Duration;
    /// use nixcloud_container::{HostConfig, Manager, Ready, SystemState, WaitRequest};
    ///
    /// let manager = Manager::open(HostConfig::default())?;
    /// let web = manager.container("web".parse()?);
    /// let request = WaitRequest::new(Ready::SystemRunning).with_limit(Duration::from_secs(90));
    /// let ready = web.wait_ready(&request, &mut ())?;
    /// if let Some(SystemState::Degraded { units, .. }) = ready.system {
    ///     eprintln!("web runs, but for {}", units.join(", "));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::NotReady`] when the time is over, the guest ends or it is cancelled; it has how far the guest came and what was
    /// missing. [`Error::State`] when it does not run.
    pub fn wait_ready(&self, request: &WaitRequest, observer: &mut dyn Observer) -> Result<Readiness, Error> {
        let _span = tracing::debug_span!("wait_ready", name = %self.name).entered();
        ready::wait_observed(&mut self.context(observer), &self.name, request, None)
    }

    /// Waits until nothing of it runs, and does nothing about it: [`StopOutcome::Stopped`], or at once
    /// [`StopOutcome::NotRunning`]. A reboot from inside is no end. The kernel wakes the caller; no lock is taken, and any number
    /// may wait.
    ///
    /// # Errors
    /// When `limit` is over, it is cancelled, or the container does not exist.
    pub fn wait_stopped(&self, limit: Option<Duration>) -> Result<StopOutcome, Error> {
        let _span = tracing::debug_span!("wait_stopped", name = %self.name).entered();
        ended::wait_stopped(&self.host, &self.name, limit, &self.cancel)
    }

    /// Shuts it down cleanly, within `limit` or the configured time.
    ///
    /// # Errors
    /// When it does not end in time; it then still runs.
    pub fn stop(&self, limit: Option<Duration>) -> Result<StopOutcome, Error> {
        self.stop_with(&StopRequest { timeout: limit, ..StopRequest::default() })
    }

    /// Shuts it down, or lets it reboot, as `request` says.
    ///
    /// # Errors
    /// When it does not end, or run again, in time; it then still runs, unless it was to be killed.
    pub fn stop_with(&self, request: &StopRequest) -> Result<StopOutcome, Error> {
        let _span = tracing::debug_span!("stop", name = %self.name).entered();
        power::stop(&self.host, &self.name, request, &self.cancel)
    }

    /// Shuts it down and boots it again, as one operation: no other comes between, and what a start refuses is found before the
    /// guest ends. One that does not run is started.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use nixcloud_container::{HostConfig, Manager, RestartRequest};
    ///
    /// let web = Manager::open(HostConfig::default())?.container("web".parse()?);
    /// web.restart(&RestartRequest::new(), &mut ())?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of a stop, after which it still runs, and those of a start, after which it does not.
    pub fn restart(&self, request: &RestartRequest, observer: &mut dyn Observer) -> Result<Restarted, Error> {
        let _span = tracing::debug_span!("restart", name = %self.name).entered();
        restart::restart(&mut self.context(observer), &self.name, request)
    }

    /// Ends it at once; returns when its name can be used again.
    ///
    /// # Errors
    /// When it does not exist or the kernel refuses.
    pub fn terminate(&self) -> Result<StopOutcome, Error> {
        let _span = tracing::debug_span!("terminate", name = %self.name).entered();
        power::terminate(&self.host, &self.name, &self.cancel)
    }

    /// Sends its init a signal, as the kernel does: all but `SIGKILL` and `SIGSTOP` reach only an init that has a handler
    /// for them, and a frozen one when it is thawed. Nothing is waited for. Returns the pid of the init, in the host's pid
    /// namespace.
    ///
    /// # Errors
    /// When it does not run.
    pub fn kill(&self, signal: Signal) -> Result<i32, Error> {
        let _span = tracing::debug_span!("kill", name = %self.name, %signal).entered();
        power::kill(&self.host, &self.name, signal, &self.cancel)
    }

    /// Freezes all its processes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<(), Error> {
        let _span = tracing::debug_span!("freeze", name = %self.name).entered();
        power::freeze(&self.host, &self.name, true, &self.cancel)
    }

    /// Thaws them.
    ///
    /// # Errors
    /// When it does not run.
    pub fn unfreeze(&self) -> Result<(), Error> {
        let _span = tracing::debug_span!("unfreeze", name = %self.name).entered();
        power::freeze(&self.host, &self.name, false, &self.cancel)
    }

    /// A command to be run in it. It is ended with all that descends from it where it takes too long or is cancelled, and has
    /// 10 s for that.
    pub fn command(&self, program: impl Into<OsString>) -> Command {
        self.command_of(RunRequest::new([program.into()]).with_kill_after(exec::KILL_AFTER))
    }

    /// A command of which the request says more than [`Command`] can: of namespaces, a terminal, the environment.
    pub fn command_of(&self, request: RunRequest) -> Command {
        Command::new(self.clone(), request)
    }

    /// Runs a command in it and waits for its end. Without a terminal, a cancelled token is a Ctrl-C to the command.
    ///
    /// # Errors
    /// When it does not run or cannot be entered. A command that fails is no error: see [`Exit`].
    pub fn run(&self, request: RunRequest, streams: Streams) -> Result<Exit, Error> {
        self.run_observed(request, streams, &mut ())
    }

    /// As [`run`](Self::run), and says what it waits for: a guest that has not finished booting.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_observed(
        &self,
        request: RunRequest,
        streams: Streams,
        observer: &mut dyn Observer,
    ) -> Result<Exit, Error> {
        let _span = tracing::debug_span!("run", name = %self.name).entered();
        exec::run(&mut self.context(observer), &self.name, request, streams)
    }

    /// What it does.
    ///
    /// # Errors
    /// When it does not exist or that cannot be found out.
    pub fn state(&self) -> Result<State, Error> {
        inspect::state(&self.host, &self.name)
    }

    /// Whether it runs, as far as was noted at its last start: nobody is asked, so this is a hint and not its
    /// [`state`](Self::state).
    #[must_use]
    pub fn seems_to_run(&self) -> bool {
        inspect::seems_to_run(&self.host, &self.name)
    }

    /// All that is known of it.
    ///
    /// # Errors
    /// When it does not exist or cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        inspect::status(&self.host, &self.name)
    }

    /// Whether it exists.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub fn exists(&self) -> Result<bool, Error> {
        inspect::exists(&self.host, &self.name)
    }

    /// Its address; where its bridge gives it one, those that the running guest has.
    ///
    /// # Errors
    /// When it does not exist, or the kernel does not show the guest's network.
    pub fn addresses(&self) -> Result<Vec<IpAddr>, Error> {
        inspect::addresses(&self.host, &self.name)
    }

    /// All its addresses: those that it is to have, whether it runs or not, and those beside that the running guest has.
    ///
    /// # Errors
    /// When it does not exist, or the kernel does not show the guest's network.
    pub fn all_addresses(&self) -> Result<Vec<Address>, Error> {
        addresses::all(&self.host, &self.name)
    }

    /// The addresses that the running guest has, each with the name that its interface has in the guest; none where it
    /// does not run.
    ///
    /// # Errors
    /// When it does not exist, or the kernel does not show the guest's network.
    pub fn interfaces(&self) -> Result<Vec<(String, IpAddr)>, Error> {
        inspect::interfaces(&self.host, &self.name)
    }
}
