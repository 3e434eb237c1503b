//! What operations return when they fail: the errors of the floors below, and the refusals that are their own.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::ser::SerializeStruct;

use crate::fs::{atomic, lock, remove, room};
use crate::model::config::ConfigError;
use crate::model::generation::GenerationId;
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{HostChange, Part};
use crate::model::layout::LayoutError;
use crate::model::name::{ContainerName, InterfaceName, NameError};
use crate::model::resources::{Bytes, Limit, Unheld};
use crate::model::spec::SpecError;
use crate::model::state::{Action, State};
use crate::model::words::words;
use crate::net::nft;
use crate::net::sysctl::SysctlError;
use crate::net::{self, bridge};
use crate::nix;
use crate::render::{ExtraError, ItemError, PendingRestart};
use crate::store::claims::LeaseError;
use crate::store::generations::GenerationsError;
use crate::store::host_facts::FactsError;
use crate::store::host_ports::ForwardError;
use crate::store::legacy::OriginalError;
use crate::store::manifest::ManifestError;
use crate::store::others::ForeignError;
use crate::store::presence::PresenceError;
use crate::store::record::RecordError;
use crate::store::reference::ReferenceError;
use crate::store::rootfs::RootfsError;
use crate::store::subid::SubidError;
use crate::sys::tool;
use crate::worker::resolver::{self, ResolverError};
use crate::worker::{NoAccount, WorkerError};

/// Why an operation failed. `Display` says what, `source()` says why, [`hint`](Error::hint) how to go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller is not root.
    #[error("containers are managed as root")]
    NeedsRoot,
    /// There is no such container.
    #[error("container `{name}` does not exist")]
    NotFound {
        /// The name.
        name: ContainerName,
    },
    /// Another container's name differs from it in nothing that counts in DNS.
    #[error(
        "`{name}` and the container `{other}` would answer for each other: names differ in more than case and `_`"
    )]
    Alike {
        /// The name that was asked for.
        name: ContainerName,
        /// The container that there is.
        other: ContainerName,
    },
    /// It is a name of the host's.
    #[error("`{name}` is a name of the host: guests know it as `host.containers`")]
    HostName {
        /// The name that was asked for.
        name: ContainerName,
    },
    /// There is one already.
    #[error("container `{name}` exists already")]
    Exists {
        /// The name.
        name: ContainerName,
    },
    /// An LXC container of that name is not ours.
    #[error("`{name}` is an LXC container that nixcloud-container did not make")]
    Foreign {
        /// The name.
        name: ContainerName,
    },
    /// A file or folder of a container is not there any more.
    #[error("{} of container `{name}` is lost", .path.display())]
    Lost {
        /// The container.
        name: ContainerName,
        /// The file or folder.
        path: PathBuf,
    },
    /// It is not known any more which container file a container is made of.
    #[error("it is not known which container file `{name}` is made of")]
    NoFile {
        /// The container.
        name: ContainerName,
    },
    /// A record or an answer lacks something that it must have.
    #[error("what is known of container `{name}` is incomplete: its {what} are missing")]
    Incomplete {
        /// The container.
        name: ContainerName,
        /// What is missing.
        what: &'static str,
    },
    /// Its state does not allow what was asked.
    #[error("cannot {action} container `{name}`: it is {}", .state.words())]
    State {
        /// The container.
        name: ContainerName,
        /// Its state.
        state: State,
        /// What was asked.
        action: Action,
    },
    /// Another process changes the container.
    #[error("container `{name}` is being changed by {}; waited {} s", holder(*.pid), .waited.as_secs())]
    Busy {
        /// The container.
        name: ContainerName,
        /// Who holds it.
        pid: Option<u32>,
        /// How long was waited.
        waited: Duration,
    },
    /// Another process changes what all containers of the host share.
    #[error("{what} are being changed by {}; waited {} s", holder(*.pid), .waited.as_secs())]
    HostBusy {
        /// What of the host.
        what: &'static str,
        /// Who holds it.
        pid: Option<u32>,
        /// How long was waited.
        waited: Duration,
    },
    /// The host configuration declares the container.
    #[error("container `{name}` is declared by the host configuration ({by})")]
    DeclaredByHost {
        /// The container.
        name: ContainerName,
        /// Its manifest.
        by: String,
    },
    /// A container that is to be applied exists, and was not declared by the same source.
    #[error("container `{name}` exists already, and {} declared it", .by.as_deref().map_or("nobody".to_owned(), |by| format!("`{by}`")))]
    NotDeclared {
        /// The container.
        name: ContainerName,
        /// Who declared it.
        by: Option<String>,
    },
    /// What is to be a container's name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bridge that the container needs is not there.
    #[error("bridge {bridge} does not exist")]
    NoBridge {
        /// The bridge.
        bridge: InterfaceName,
        /// Whether `host up` makes it.
        ours: bool,
    },
    /// A host path that the container file mounts is not there, or cannot be looked at.
    #[error("cannot mount {} in container `{name}`", .path.display())]
    MountSource {
        /// The container.
        name: ContainerName,
        /// The path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The container file asks for limits that this host cannot hold.
    #[error("this host cannot hold {} of container `{name}`", list_unheld(unheld))]
    LimitUnheld {
        /// The container.
        name: ContainerName,
        /// Which, and why not.
        unheld: Vec<Unheld>,
    },
    /// The running guest uses more memory than it is to have.
    #[error("container `{name}` uses {used} of memory, page cache included, and is to have {most}")]
    LimitBelowUse {
        /// The container.
        name: ContainerName,
        /// What it is to have.
        most: Bytes,
        /// What it uses.
        used: Bytes,
    },
    /// The kernel refuses a limit of a running guest; it has those that it had.
    #[error("the kernel refuses `resources.{}` of container `{name}` ({} in {})", .limit.key, .limit.value, .limit.file)]
    LimitRefused {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Limit,
        /// What the kernel said.
        source: io::Error,
    },
    /// A container could not be kept from others at its bridges, and was not started.
    #[error("cannot isolate container `{name}` at its bridges: {why}")]
    Isolation {
        /// The container.
        name: ContainerName,
        /// What went wrong.
        why: &'static str,
        /// What LXC said.
        source: WorkerError,
    },
    /// A process that is none of the container's has its ids.
    #[error("container `{name}` cannot start: process {pid} (`{program}`) has ids of it, from {base} up")]
    IdsInUse {
        /// The container.
        name: ContainerName,
        /// The first of its ids.
        base: u32,
        /// The process.
        pid: i32,
        /// What it calls itself.
        program: String,
    },
    /// Another user's process has the name of the socket by which LXC is asked about a container.
    #[error(
        "container `{name}` cannot start: process {pid} (`{program}`) of user {uid} holds the name of its LXC socket"
    )]
    NameHeld {
        /// The container.
        name: ContainerName,
        /// The process.
        pid: i32,
        /// Whose it is.
        uid: u32,
        /// What it calls itself.
        program: String,
    },
    /// Something is mounted in the root of a container that is to be destroyed.
    #[error("{} is mounted in the root of container `{name}`", .mount.display())]
    Mounted {
        /// The container.
        name: ContainerName,
        /// Where.
        mount: PathBuf,
    },
    /// A set, or the host's configuration, declares a container that is to be destroyed.
    #[error("container `{name}` is declared by {by}")]
    Declared {
        /// The container.
        name: ContainerName,
        /// What declares it.
        by: String,
    },
    /// liblxc does not take a line of `lxcExtraConfig`, or an item that was given beside it.
    #[error("LXC refuses `{key} = {value}`: {why}")]
    ExtraRefused {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// LXC's words.
        why: String,
    },
    /// A namespace cannot be shared.
    #[error("the {namespace} namespace of `{with}` cannot be shared: {why}")]
    Share {
        /// The kernel's name of the namespace.
        namespace: &'static str,
        /// Whose it is to be: a container's name or a process id.
        with: String,
        /// Why not.
        why: String,
    },
    /// A container did not reboot in time.
    #[error("container `{name}` did not reboot within {} s", .limit.as_secs())]
    RebootTimeout {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Duration,
    },
    /// A container did not shut down in time.
    #[error("container `{name}` did not shut down within {} s", .limit.as_secs())]
    StopTimeout {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Duration,
    },
    /// LXC did not let go of a container.
    #[error("container `{name}` is still {state} after {} s", .limit.as_secs())]
    StillThere {
        /// The container.
        name: ContainerName,
        /// What it does.
        state: State,
        /// The limit.
        limit: Duration,
    },
    /// The new generation did not work out in the running guest.
    #[error("generation {generation} of `{name}` {outcome}")]
    Activation {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
        /// What happened.
        outcome: FailedActivation,
        /// The generation that was put back, if one was.
        restored: Option<GenerationId>,
        /// What of LXC's side waits for a restart, where the new generation stays.
        pending_restart: Vec<PendingRestart>,
    },
    /// The guest does not have the user or group that a command was to run as.
    #[error("container `{container}` has no {} `{}`", if .missing.group { "group" } else { "user" }, .missing.wanted)]
    NoAccount {
        /// The container.
        container: ContainerName,
        /// What it does not have.
        missing: NoAccount,
    },
    /// A way into a container that would hand the guest something of the host's, or that there is none.
    #[error("cannot enter container `{name}` {what}: {why}")]
    Entry {
        /// The container.
        name: ContainerName,
        /// The way.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// Some parts of the host's network could not be brought up or taken down. The others were.
    #[error("{}", parts(.failures))]
    HostParts {
        /// What was done.
        done: Vec<HostChange>,
        /// What was not, and why; one at least.
        failures: Vec<(Part, Error)>,
    },
    /// What could not be given back of a container; the rest was.
    #[error("what stays of container `{name}`: {}", list(.failures))]
    Remains {
        /// The container.
        name: ContainerName,
        /// Why each of it stays.
        failures: Vec<Self>,
    },
    /// An operation failed, and so did undoing it.
    #[error("{failure}; and undoing it failed too: {}", chain(.undo))]
    Undo {
        /// The first failure.
        #[source]
        failure: Box<Error>,
        /// Why it could not be undone.
        undo: Box<Error>,
    },
    /// The new generation is the one that counts, but something that follows from it could not be done: others are not told
    /// of it, or what the one before held is not given back.
    #[error("generation {generation} of `{name}` is current now, but not all that follows from it is done")]
    Unsettled {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
        /// What is not done, and why.
        #[source]
        source: Box<Error>,
    },
    /// Containers were to be destroyed, and it was not confirmed. Nothing was changed.
    #[error("nothing was changed: it was not confirmed")]
    Unconfirmed,
    /// The caller cancelled. What had been done was undone.
    #[error("cancelled")]
    Cancelled,
    /// The host configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folders of the layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// LXC's share folder.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// Other LXC containers and the host's addresses.
    #[error(transparent)]
    ForeignScan(#[from] ForeignError),
    /// A lock file.
    #[error("cannot take a lock")]
    Lock(#[source] lock::Error),
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What names a container file.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A manifest of built containers.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An address or id range.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A container that the shell original made.
    #[error(transparent)]
    Original(#[from] OriginalError),
    /// A port of the host.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// The packet filter.
    #[error(transparent)]
    Nft(nft::Error),
    /// A program of the host.
    #[error(transparent)]
    Tool(tool::Error),
    /// Generations.
    #[error(transparent)]
    Generations(#[from] GenerationsError),
    /// The root file system.
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    /// `lxcExtraConfig`.
    #[error(transparent)]
    Extra(#[from] ExtraError),
    /// An item for one boot.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A dnsmasq of ours.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// The spec.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// Nix.
    #[error(transparent)]
    Nix(nix::Error),
    /// The ids of other users.
    #[error(transparent)]
    Subids(#[from] SubidError),
    /// A setting of the kernel.
    #[error(transparent)]
    Sysctl(#[from] SysctlError),
    /// The network.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// A port of a bridge cannot be looked at or set.
    #[error("cannot see to a port of a bridge")]
    Port(#[from] net::port::Error),
    /// A guest's network.
    #[error(transparent)]
    Netns(#[from] net::netns::Error),
    /// A bridge of ours.
    #[error(transparent)]
    Bridge(#[from] bridge::Error),
    /// The worker, or LXC in it.
    #[error(transparent)]
    Worker(WorkerError),
    /// Whether the container runs cannot be found out.
    #[error(transparent)]
    Presence(#[from] PresenceError),
    /// A file of ours.
    #[error(transparent)]
    Write(#[from] atomic::Error),
    /// A folder of ours.
    #[error(transparent)]
    Remove(#[from] remove::Error),
    /// Anything else of the file system.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What went wrong with an activation: the exit code of `switch-to-configuration`, by its meaning.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailedActivation {
    /// Exit 1, 2, 3 or another: the switch did not succeed.
    Failed {
        /// The exit code.
        code: i32,
    },
    /// Exit 4: switched, but units failed.
    UnitsFailed {
        /// The units, as far as they were named.
        units: Vec<String>,
    },
    /// Exit 100: nothing was activated, the guest's init is too old or too new for it.
    NeedsRestart,
    /// A signal ended it.
    Killed {
        /// The signal.
        signal: i32,
    },
}

impl std::fmt::Display for FailedActivation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed { code } => {
                let meaning = match code {
                    1 => "a check before the switch failed, or the switch itself",
                    2 => "its activation script failed",
                    3 => "systemd could not be reloaded",
                    126 => "switch-to-configuration is not executable",
                    127 => "switch-to-configuration is missing",
                    _ => "unexpected",
                };
                write!(f, "could not be activated: exit code {code}, {meaning}")
            }
            Self::UnitsFailed { units } if units.is_empty() => f.write_str("is active, but units failed"),
            Self::UnitsFailed { units } => write!(f, "is active, but units failed: {}", units.join(", ")),
            Self::NeedsRestart => f.write_str("cannot be activated in the running guest: it needs a restart"),
            Self::Killed { signal } => write!(f, "could not be activated: signal {signal} ended it"),
        }
    }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

fn parts(failures: &[(Part, Error)]) -> String {
    let all: Vec<String> = failures.iter().map(|(part, error)| format!("{part}: {}", chain(error))).collect();
    format!("not all of the host's network could be changed: {}", all.join("; "))
}

/// An error and all that it came from, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// An error as it is told: `kind`, `message`, the `causes` below it, and the `hint`.
impl serde::Serialize for Error {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        let mut told = to.serialize_struct("Error", 4)?;
        told.serialize_field("kind", &self.kind())?;
        told.serialize_field("message", &self.to_string())?;
        told.serialize_field("causes", &causes)?;
        told.serialize_field("hint", &self.hint())?;
        told.end()
    }
}

/// Errors by what a program would do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller lacks rights.
    Permission,
    /// There is no such container, generation or file.
    NotFound,
    /// There is one already.
    Exists,
    /// The state of the container, or who owns it, does not allow it.
    Refused,
    /// Somebody else is at it; later it may work.
    Busy,
    /// What the user wrote is wrong: a container file, a name, a configuration.
    Input,
    /// The system does not build.
    Build,
    /// The new system does not run.
    Activation,
    /// The host lacks something: a bridge, Nix, LXC, ids.
    Host,
    /// LXC failed.
    Lxc,
    /// It took too long.
    Timeout,
    /// The caller cancelled.
    Cancelled,
    /// Files, the kernel, anything else.
    System,
}

words!(ErrorKind {
    Permission => "permission",
    NotFound => "not-found",
    Exists => "exists",
    Refused => "refused",
    Busy => "busy",
    Input => "input",
    Build => "build",
    Activation => "activation",
    Host => "host",
    Lxc => "lxc",
    Timeout => "timeout",
    Cancelled => "cancelled",
    System => "system",
});

impl From<nix::Error> for Error {
    fn from(error: nix::Error) -> Self {
        match error {
            nix::Error::Cancelled => Self::Cancelled,
            error => Self::Nix(error),
        }
    }
}

impl From<nft::Error> for Error {
    fn from(error: nft::Error) -> Self {
        match error {
            nft::Error::Tool { source: tool::Error::Cancelled { .. }, .. } => Self::Cancelled,
            error => Self::Nft(error),
        }
    }
}

impl From<tool::Error> for Error {
    fn from(error: tool::Error) -> Self {
        match error {
            tool::Error::Cancelled { .. } => Self::Cancelled,
            error => Self::Tool(error),
        }
    }
}

impl From<WorkerError> for Error {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Cancelled => Self::Cancelled,
            error => Self::Worker(error),
        }
    }
}

impl Error {
    /// What a program would do about it. Each error is named, so that a new one has to say what it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NeedsRoot => ErrorKind::Permission,
            Self::NotFound { .. } | Self::NoAccount { .. } => ErrorKind::NotFound,
            Self::Exists { .. } | Self::Alike { .. } | Self::NotDeclared { .. } => ErrorKind::Exists,
            Self::Foreign { .. }
            | Self::State { .. }
            | Self::NameHeld { .. }
            | Self::IdsInUse { .. }
            | Self::Mounted { .. }
            | Self::Unconfirmed
            | Self::Declared { .. }
            | Self::DeclaredByHost { .. }
            | Self::Bridge(_)
            | Self::Entry { .. } => ErrorKind::Refused,
            Self::Busy { .. } | Self::HostBusy { .. } => ErrorKind::Busy,
            Self::Config(_)
            | Self::HostName { .. }
            | Self::Name(_)
            | Self::Manifest(_)
            | Self::Extra(_)
            | Self::Item(_)
            | Self::Share { .. }
            | Self::ExtraRefused { .. }
            | Self::Spec(_) => ErrorKind::Input,
            Self::Activation { .. } => ErrorKind::Activation,
            Self::NoBridge { .. }
            | Self::MountSource { .. }
            | Self::LimitUnheld { .. }
            | Self::LimitRefused { .. }
            | Self::LimitBelowUse { .. }
            | Self::Nft(_)
            | Self::Tool(_)
            | Self::Resolver(_)
            | Self::Isolation { .. }
            | Self::Facts(_) => ErrorKind::Host,
            Self::StopTimeout { .. } | Self::RebootTimeout { .. } | Self::StillThere { .. } => {
                ErrorKind::Timeout
            }
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Reference(error) => of_reference(error),
            Self::Generations(error) => of_generations(error),
            Self::Forward(error) => of_forward(error),
            Self::Lease(error) => of_lease(error),
            Self::Nix(error) => of_nix(error),
            Self::Sysctl(error) => of_sysctl(error),
            Self::Worker(error) => of_worker(error),
            Self::Undo { failure, .. } => failure.kind(),
            Self::Unsettled { source, .. } => source.kind(),
            Self::HostParts { failures, .. } => {
                failures.first().map_or(ErrorKind::System, |(_, error)| error.kind())
            }
            Self::Remains { failures, .. } => failures.first().map_or(ErrorKind::System, Self::kind),
            Self::Lost { .. }
            | Self::NoFile { .. }
            | Self::Incomplete { .. }
            | Self::Layout(_)
            | Self::ForeignScan(_)
            | Self::Lock(_)
            | Self::Record(_)
            | Self::Original(_)
            | Self::Rootfs(_)
            | Self::Subids(_)
            | Self::Net(_)
            | Self::Port(_)
            | Self::Netns(_)
            | Self::Presence(_)
            | Self::Write(_)
            | Self::Remove(_)
            | Self::Io { .. } => ErrorKind::System,
        }
    }

    /// How to go on, where there is a way.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        self.remedy().or_else(|| self.advice().map(Hint::from))
    }

    /// How to go on by operations of this library.
    fn remedy(&self) -> Option<Hint> {
        let by = |remedy: Remedy, words: &str| Hint::from(remedy).words(words);
        Some(match self {
            Self::NotFound { .. } => by(Remedy::List, " shows those that exist"),
            Self::Exists { name } => {
                by(Remedy::Update { name: Some(name.clone()) }, " makes a new generation of it")
            }
            Self::Declared { name, .. } => Hint::from("take it out there, then ")
                .remedy(Remedy::ApplyAndPrune)
                .words(" removes it; ")
                .remedy(Remedy::Destroy { name: name.clone(), force: true })
                .words(" does it now, and the next apply makes it again"),
            Self::State { name, state, action } => state_hint(name, *state, *action)?,
            Self::NoBridge { ours: true, .. } => by(Remedy::HostUp, " makes it"),
            Self::StopTimeout { name, .. } => Hint::from("it still runs: ")
                .remedy(Remedy::Terminate { name: name.clone() })
                .words(" ends it at once"),
            Self::RebootTimeout { name, .. } => {
                by(Remedy::Restart { name: name.clone() }, " shuts it down and boots it again")
            }
            Self::Activation { name, outcome, .. } => activation_hint(name, outcome)?,
            Self::Undo { failure, .. } => failure.hint()?,
            Self::Remains { failures, .. } => failures.iter().find_map(Self::hint)?,
            Self::HostParts { failures, .. } => failures.iter().find_map(|(_, error)| error.hint())?,
            Self::Bridge(bridge::Error::AnotherRoot { .. }) => {
                Hint::from("one network namespace has the networks of one root: give them up there first (")
                    .remedy(Remedy::HostDown)
                    .words(
                        ", as that root is configured), or run this one in a network namespace of its own; containers with a \
                         `network.bridge` of yours need none",
                    )
            }
            Self::Bridge(bridge::Error::InUse { .. }) => by(Remedy::Stop { name: None }, " shuts one down, ")
                .remedy(Remedy::Autostop)
                .words(" all that run"),
            Self::Reference(error) => error.hint()?,
            Self::DeclaredByHost { name, .. } => Hint::from("change it there and rebuild the host; ")
                .remedy(Remedy::Update { name: Some(name.clone()) })
                .words(" lasts until then"),
            Self::NotDeclared { name, by: None } => {
                Hint::from("it was created by hand: leave it out of the set, make it the set's by ")
                    .remedy(Remedy::ApplyAndTakeOver)
                    .words(", or ")
                    .remedy(Remedy::Destroy { name: name.clone(), force: false })
            }
            Self::NotDeclared { .. } => Hint::from(
                "a container is declared in one place: leave it out of one of them; where the set was moved or copied, ",
            )
            .remedy(Remedy::ApplyAndTakeOver)
            .words(" makes it this one's"),
            Self::NoFile { name } => {
                Hint::from("name it: ").remedy(Remedy::Update { name: Some(name.clone()) })
            }
            Self::Lost { name, path } => {
                let repair = Hint::from(Remedy::Repair { name: Some(name.clone()) });
                if path.extension().is_some_and(|end| end == "toml") {
                    repair
                        .words(" makes it anew of what there is; ")
                        .remedy(Remedy::Destroy { name: name.clone(), force: true })
                        .words(" removes the container")
                } else {
                    repair.words(" makes it anew, empty")
                }
            }
            Self::Record(error) => record_hint(error)?,
            Self::Generations(GenerationsError::NoCurrent { profile }) => {
                let name = container_of(profile.parent());
                Hint::from(Remedy::Repair { name: name.clone() })
                    .words(" points it to a generation that there is; where there is none, ")
                    .remedy(Remedy::Rebuild { name })
                    .words(" builds one")
            }
            Self::Generations(GenerationsError::NoneWorked { older, .. }) => {
                let another = by(Remedy::Update { name: None }, " builds another one");
                match older.first() {
                    Some((id, _)) => another
                        .words("; ")
                        .remedy(Remedy::SwitchGeneration { id: *id })
                        .words(" goes there all the same"),
                    None => another,
                }
            }
            Self::Generations(GenerationsError::Read { path, .. }) if path.ends_with("spec.json") => {
                let name = container_of(path.ancestors().nth(2));
                by(Remedy::Repair { name }, " goes to a generation that is in the store")
            }
            Self::Lease(LeaseError::Damaged { .. }) | Self::Forward(ForwardError::Damaged { .. }) => {
                by(Remedy::Repair { name: None }, " finds out whose it is")
            }
            Self::Unsettled { source, .. } => source
                .hint()
                .unwrap_or_else(|| Hint::from("the next change or start of it goes on with that")),
            _ => return None,
        })
    }

    /// How to go on by other means.
    fn advice(&self) -> Option<String> {
        Some(match self {
            Self::NeedsRoot => "run it with sudo".to_owned(),
            Self::Alike { .. } | Self::HostName { .. } => "choose another name".to_owned(),
            Self::Foreign { name } => format!("choose another name, or see to it with `lxc-info -n {name}`"),
            Self::NameHeld { pid, uid, .. } => format!(
                "any user of this host can take such a name: `kill {pid}`, and ask user {uid}; docs/security.md says more"
            ),
            Self::IdsInUse { name, .. } => format!(
                "it is of another root of this machine, of a user or of another program's container, and could write each \
                 other's files: an update of `{name}` with `idmap = \"shared\"`, and one without, gives it other ids while \
                 that runs; `ids.skip_running = false` in the host configuration lets both run"
            ),
            Self::Mounted { mount, .. } => {
                format!("nothing was changed; `umount {}` first, what is mounted there stays", mount.display())
            }
            Self::LimitUnheld { .. } => {
                "`resources.required = false` in the container file lets it run without them, and tells of each".to_owned()
            }
            Self::LimitBelowUse { .. } => "nothing was changed: end something in the guest first, or let the kernel end it \
                 (an update with force)".to_owned(),
            Self::LimitRefused { source, .. } if source.kind() == io::ErrorKind::ResourceBusy => {
                "the guest uses more than that, and the kernel could not take it back: end something in the guest first"
                    .to_owned()
            }
            Self::NoBridge { bridge, .. } => {
                format!("`network.bridge` names it: `ip link add {bridge} type bridge`")
            }
            Self::MountSource { .. } => {
                "make or mount it on the host; with `optional` among its options the container starts without it"
                    .to_owned()
            }
            Self::Isolation { .. } => {
                "`network.isolation = false` in the host configuration starts containers that are not kept from each other"
                    .to_owned()
            }
            Self::NoAccount { missing, .. } if !missing.known.is_empty() => {
                format!("there are: {}", missing.known.join(", "))
            }
            Self::NoAccount { missing, .. } => {
                let ids = if missing.group { "`UID:GID`" } else { "`UID`" };
                format!("its own files name none; {ids} in numbers works all the same")
            }
            Self::Nft(error) if error.is_missing() => {
                "install nftables, or name its `nft` in the host configuration (`tools.nft`)".to_owned()
            }
            Self::Tool(tool::Error::Missing { program }) => {
                format!("install it, or say where `{}` is in the host configuration (`[tools]`)", program.display())
            }
            Self::Forward(ForwardError::NoAddress { .. }) => {
                "`network.ip` gives it a fixed one, `network.enableNat` one on the bridge that leads out".to_owned()
            }
            Self::Forward(ForwardError::NoAddressOf { .. }) => {
                "`network.ip` and `network.ip6` give it fixed ones; `listen` in `network.forwards` is of the same family"
                    .to_owned()
            }
            Self::Bridge(bridge::Error::AddressConflict { .. } | bridge::Error::RouteConflict { .. }) => {
                "take that away, or choose another network for the containers in the host configuration \
                 (`network.hostonly.address`, `network.internet.address`)"
                    .to_owned()
            }
            Self::Bridge(bridge::Error::NotABridge { .. }) => {
                "choose another name in the host configuration (`network.hostonly.bridge`, `network.internet.bridge`)"
                    .to_owned()
            }
            Self::Facts(_) => {
                "install LXC, or name its share folder in the host configuration (`paths.lxc_share`)"
                    .to_owned()
            }
            Self::Generations(GenerationsError::Missing { have, .. }) if !have.is_empty() => {
                let have: Vec<String> = have.iter().map(ToString::to_string).collect();
                format!("there are: {}", have.join(", "))
            }
            Self::Lease(LeaseError::RoutedPrefix { .. }) => {
                "leave `network.ip6` out: with `network.enableNat` the container has an address of that prefix".to_owned()
            }
            Self::Lease(LeaseError::AddressReserved { .. }) => {
                "`network.reserved` of the host configuration says so".to_owned()
            }
            Self::Lease(LeaseError::IdsExhausted { .. }) => {
                "`ids.ranges` of the host configuration names more, such as `[524288, 1879048191]` where neither systemd-nspawn nor \
                 Incus gives ids to containers; `ids.foreign` says where those of users are".to_owned()
            }
            Self::Lease(LeaseError::IdsTaken { owner, .. }) if owner.parse::<ContainerName>().is_ok() => {
                format!(
                    "an update of `{owner}` with `idmap = \"shared\"`, and one without, gives it other ids"
                )
            }
            Self::Original(OriginalError::List { path, .. } | OriginalError::Address { path, .. }) => {
                format!(
                    "it is read as data and never run: put {} right, or back from a backup",
                    path.display()
                )
            }
            Self::Resolver(ResolverError::Missing { .. }) => {
                "install dnsmasq (Debian: dnsmasq-base), or name it in the host configuration (`tools.dnsmasq`)".to_owned()
            }
            Self::Resolver(ResolverError::Start { words, .. }) => resolver::in_the_way(words)?.to_owned(),
            Self::Nix(error) => error.hint()?,
            Self::Worker(WorkerError::None) if cfg!(not(feature = "liblxc")) => {
                "it is built without liblxc: install nixcloud-container-worker, or name it in the host configuration (`worker`)"
                    .to_owned()
            }
            Self::Worker(WorkerError::None) => {
                "call `nixcloud_container::worker::init()` first in `main`, or name an installed \
                 nixcloud-container-worker in the host configuration (`worker`)"
                    .to_owned()
            }
            Self::Worker(WorkerError::Threads { .. }) => {
                "call it first in `main`, before a runtime or a logger makes threads (with tokio: build the runtime in `main` after \
                 it, in place of `#[tokio::main]`); or leave it out and name an installed nixcloud-container-worker in the \
                 host configuration (`worker`)"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// What Nix itself printed, in full, where there is any. To be shown once.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        match self {
            // The words of our own expression: they name container, file and key, and its trace leads to itself.
            Self::Nix(nix::Error::Evaluation { message, .. }) if message.starts_with("container '") => None,
            Self::Nix(error) => error.details(),
            Self::Undo { failure, .. } => failure.details(),
            _ => None,
        }
    }

    /// What of [`details`](Self::details) helps most, in a few lines: the lines of the user's file that are wrong, the end
    /// of the log of a build. To be shown once, below the message.
    #[must_use]
    pub fn excerpt(&self) -> Vec<String> {
        match self {
            Self::Nix(error) if self.details().is_some() => error.excerpt(),
            Self::Undo { failure, .. } => failure.excerpt(),
            _ => Vec::new(),
        }
    }

    /// Whether a file system had no room for something new: it is full, out of inodes, over a quota or read-only.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if error.downcast_ref::<io::Error>().is_some_and(room::lacked) {
                return true;
            }
            next = error.source();
        }
        false
    }

    /// Keeps both failures where undoing failed too.
    pub(crate) fn undone(self, undo: Result<(), Self>) -> Self {
        match undo {
            Ok(()) => self,
            Err(undo) => Self::Undo { failure: Box::new(self), undo: Box::new(undo) },
        }
    }
}

fn of_reference(error: &ReferenceError) -> ErrorKind {
    match error {
        ReferenceError::Missing { .. } | ReferenceError::NoFlake { .. } => ErrorKind::NotFound,
        ReferenceError::NotKnown
        | ReferenceError::NoAttribute { .. }
        | ReferenceError::Twice { .. }
        | ReferenceError::Attribute { .. }
        | ReferenceError::Path { .. } => ErrorKind::Input,
    }
}

fn of_generations(error: &GenerationsError) -> ErrorKind {
    match error {
        GenerationsError::Missing { .. } | GenerationsError::NoOlder { .. } => ErrorKind::NotFound,
        GenerationsError::Protected { .. } | GenerationsError::NoneWorked { .. } => ErrorKind::Refused,
        GenerationsError::Profile(_)
        | GenerationsError::Roots(_)
        | GenerationsError::Read { .. }
        | GenerationsError::Original(_)
        | GenerationsError::Spec { .. }
        | GenerationsError::NoCurrent { .. } => ErrorKind::System,
    }
}

fn of_forward(error: &ForwardError) -> ErrorKind {
    match error {
        ForwardError::Taken { .. } => ErrorKind::Refused,
        ForwardError::NoAddress { .. } | ForwardError::NoAddressOf { .. } => ErrorKind::Input,
        ForwardError::Damaged { .. }
        | ForwardError::Read { .. }
        | ForwardError::Claim { .. }
        | ForwardError::Record(_)
        | ForwardError::Generations(_) => ErrorKind::System,
    }
}

fn of_lease(error: &LeaseError) -> ErrorKind {
    match error {
        LeaseError::AddressTaken { .. }
        | LeaseError::AddressReserved { .. }
        | LeaseError::HostAddress { .. }
        | LeaseError::NetworkAddress { .. }
        | LeaseError::RoutedPrefix { .. }
        | LeaseError::IdsTaken { .. } => ErrorKind::Refused,
        LeaseError::AddressesExhausted { .. }
        | LeaseError::IdsExhausted { .. }
        | LeaseError::InterfacesExhausted => ErrorKind::Host,
        LeaseError::Damaged { .. }
        | LeaseError::Read { .. }
        | LeaseError::Subids(_)
        | LeaseError::Claim { .. } => ErrorKind::System,
    }
}

fn of_nix(error: &nix::Error) -> ErrorKind {
    match error {
        nix::Error::Evaluation { .. } | nix::Error::Argument(_) => ErrorKind::Input,
        nix::Error::Build { .. } => ErrorKind::Build,
        nix::Error::Missing { .. } => ErrorKind::Host,
        nix::Error::Cancelled => ErrorKind::Cancelled,
        nix::Error::Spawn { .. }
        | nix::Error::Pipe { .. }
        | nix::Error::NotInStore { .. }
        | nix::Error::Failed { .. }
        | nix::Error::Killed { .. }
        | nix::Error::Answer { .. }
        | nix::Error::Version { .. }
        | nix::Error::Root { .. } => ErrorKind::System,
    }
}

fn of_sysctl(error: &SysctlError) -> ErrorKind {
    match error {
        SysctlError::Unknown { .. } => ErrorKind::Host,
        SysctlError::Io { .. } | SysctlError::Note { .. } => ErrorKind::System,
    }
}

fn of_worker(error: &WorkerError) -> ErrorKind {
    match error {
        WorkerError::None | WorkerError::Threads { .. } => ErrorKind::Host,
        WorkerError::Lxc { .. } | WorkerError::NoAnswer { .. } => ErrorKind::Lxc,
        WorkerError::Deadline { .. } => ErrorKind::Timeout,
        WorkerError::Cancelled => ErrorKind::Cancelled,
        WorkerError::Spawn { .. } | WorkerError::Channel(_) => ErrorKind::System,
    }
}

/// Errors, each with all that it came from.
fn list(failures: &[Error]) -> String {
    failures.iter().map(|error| chain(error)).collect::<Vec<_>>().join("; ")
}

/// The container that a folder is named after.
fn container_of(folder: Option<&std::path::Path>) -> Option<ContainerName> {
    folder?.file_name()?.to_str()?.parse().ok()
}

/// By the name of the file, which is all that is known of a record that cannot be read.
fn record_hint(error: &RecordError) -> Option<Hint> {
    let (RecordError::Read { path, .. }
    | RecordError::Damaged { path, .. }
    | RecordError::Misplaced { path, .. }) = error
    else {
        return None;
    };
    let name: ContainerName = path.file_stem()?.to_str()?.parse().ok()?;
    Some(
        Hint::from(Remedy::Repair { name: Some(name.clone()) })
            .words(" makes it anew of what there is; ")
            .remedy(Remedy::Terminate { name: name.clone() })
            .words(" and ")
            .remedy(Remedy::Destroy { name, force: true })
            .words(" work without"),
    )
}

fn activation_hint(name: &ContainerName, outcome: &FailedActivation) -> Option<Hint> {
    let name = name.clone();
    let run = |words: &[&str]| {
        let command = words.iter().map(|word| (*word).to_owned()).collect();
        Hint::from(Remedy::Run { name: name.clone(), command })
    };
    Some(match outcome {
        FailedActivation::NeedsRestart => Hint::from("restart it: ").remedy(Remedy::Restart { name }),
        FailedActivation::UnitsFailed { units } => match units.first() {
            Some(unit) => run(&["systemctl", "status", unit]).words(" shows why"),
            None => run(&["systemctl", "--failed"]).words(" names them"),
        },
        _ => return None,
    })
}

fn state_hint(name: &ContainerName, state: State, action: Action) -> Option<Hint> {
    let name = || name.clone();
    let destroy = |force| Remedy::Destroy { name: name(), force };
    let terminate = || Remedy::Terminate { name: name() };
    Some(match (action, state) {
        (Action::Destroy, State::Creating) => Hint::from("wait for the process that makes it; ")
            .remedy(destroy(true))
            .words(" waits, and destroys it then"),
        (_, State::Creating) => "wait for the process that makes it".into(),
        (_, State::Destroying) => "wait for the process that removes it".into(),
        (_, State::Incomplete) => Hint::from(destroy(false)).words(" tidies it up"),
        // Only a running one can be asked to shut down.
        (Action::Destroy, State::Running | State::Frozen | State::Unreachable) => {
            let end = if state == State::Running { Remedy::Stop { name: Some(name()) } } else { terminate() };
            Hint::from(end).words(" first, or ").remedy(destroy(true))
        }
        (_, State::Unreachable) => {
            Hint::from("it was started in another network namespace, or its LXC monitor hangs; ")
                .remedy(terminate())
                .words(" ends it")
        }
        (Action::Enter | Action::Freeze | Action::Signal, State::Stopped) => {
            Hint::from(Remedy::Start { name: name() }).words(" boots it")
        }
        (_, State::Frozen) => Hint::from(Remedy::Unfreeze { name: name() }).words(" first"),
        _ => return None,
    })
}

fn list_unheld(unheld: &[Unheld]) -> String {
    let each = unheld.iter().map(|Unheld { key, why }| format!("`resources.{key}` ({why})"));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_sent_with_its_kind_its_causes_and_its_hint() {
        let name: ContainerName = "web".parse().unwrap();
        let source = io::Error::from_raw_os_error(2);
        let mount = Error::MountSource { name: name.clone(), path: "/srv".into(), source };
        let told = serde_json::to_value(&mount).unwrap();
        assert_eq!(told["kind"], "host");
        assert_eq!(told["message"], "cannot mount /srv in container `web`");
        assert_eq!(told["causes"][0], "No such file or directory (os error 2)");
        let hint: Hint = serde_json::from_value(told["hint"].clone()).unwrap();
        assert_eq!(Some(hint), mount.hint());
        let told = serde_json::to_value(Error::Exists { name: name.clone() }).unwrap();
        assert_eq!(told["hint"][0]["remedy"]["update"]["name"], "web");
        assert_eq!(Error::from("..".parse::<ContainerName>().unwrap_err()).kind(), ErrorKind::Input);
    }
}
