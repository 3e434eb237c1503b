//! What operations return when they fail: the errors of the floors below, and the refusals that are their own.
//!
//! Long: one enum, each error with its fields and words.

mod activation;
mod cancelled;
mod details;
mod hint;
mod kind;
mod sent;
mod undo;
mod words;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::fs::error::FileError;
use crate::fs::{atomic, lock, remove};
use crate::model::config::{Above, ConfigError};
use crate::model::devices::DeviceFault;
use crate::model::generation::GenerationId;
use crate::model::host_report::{HostChange, Part};
use crate::model::layout::LayoutError;
use crate::model::name::{ContainerName, InterfaceName, NameError};
use crate::model::overrides::SetError;
use crate::model::ready::{Missing, Ready, Unready};
use crate::model::resources::{Bytes, Limit, Unheld};
use crate::model::run_error::RunError;
use crate::model::spec::SpecError;
use crate::model::state::{Action, State};
use crate::net::{self, bridge, nft, sysctl::SysctlError};
use crate::nix;
use crate::render::{ExtraError, ItemError, PendingRestart};
use crate::store::claims::LeaseError;
use crate::store::claims::host_ports::ForwardError;
use crate::store::closures::ClosureError;
use crate::store::history::GenerationsError;
use crate::store::host_facts::FactsError;
use crate::store::legacy::OriginalError;
use crate::store::manifest::ManifestError;
use crate::store::others::ForeignError;
use crate::store::presence::PresenceError;
use crate::store::record::RecordError;
use crate::store::reference::ReferenceError;
use crate::store::rootfs::RootfsError;
use crate::store::subid::SubidError;
use crate::sys::tool;
use crate::worker::{NoAccount, WorkerError, resolver::ResolverError};

pub use activation::FailedActivation;
pub use kind::ErrorKind;
pub(crate) use words::chain;
use words::{holder, list, list_above, list_unheld, parts, unready};

/// Why an operation failed. `Display` says what, `source()` says why, [`hint`](Error::hint) how to go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller is not root.
    #[error("containers are managed as root")]
    NeedsRoot,
    /// There is no such container.
    #[error("container `{name}` does not exist")]
    #[non_exhaustive]
    NotFound {
        /// The name.
        name: ContainerName,
    },
    /// Another container's name differs from it in nothing that counts in DNS.
    #[error(
        "`{name}` and the container `{other}` would answer for each other: names differ in more than case and `_`"
    )]
    #[non_exhaustive]
    Alike {
        /// The name that was asked for.
        name: ContainerName,
        /// The container that there is.
        other: ContainerName,
    },
    /// It is a name of the host's.
    #[error("`{name}` is a name of the host: guests know it as `host.containers`")]
    #[non_exhaustive]
    HostName {
        /// The name that was asked for.
        name: ContainerName,
    },
    /// There is one already.
    #[error("container `{name}` exists already")]
    #[non_exhaustive]
    Exists {
        /// The name.
        name: ContainerName,
    },
    /// An LXC container of that name is not ours.
    #[error("`{name}` is an LXC container that nixcloud-container did not make")]
    #[non_exhaustive]
    Foreign {
        /// The name.
        name: ContainerName,
    },
    /// A file or folder of a container is not there any more.
    #[error("{} of container `{name}` is lost", .path.display())]
    #[non_exhaustive]
    Lost {
        /// The container.
        name: ContainerName,
        /// The file or folder.
        path: PathBuf,
    },
    /// It is not known any more which container file a container is made of.
    #[error("it is not known which container file `{name}` is made of")]
    #[non_exhaustive]
    NoFile {
        /// The container.
        name: ContainerName,
    },
    /// A record or an answer lacks something that it must have.
    #[error("what is known of container `{name}` is incomplete: its {what} are missing")]
    #[non_exhaustive]
    Incomplete {
        /// The container.
        name: ContainerName,
        /// The parts of the record or answer that are missing, in the plural.
        what: &'static str,
    },
    /// Its state does not allow what was asked.
    #[error("cannot {} container `{name}`: it is {}", .action.words(), .state.words())]
    #[non_exhaustive]
    State {
        /// The container.
        name: ContainerName,
        /// The state that the container is in.
        state: State,
        /// The action that was asked for.
        action: Action,
    },
    /// Another process changes the container.
    #[error("container `{name}` is being changed by {}; waited {} s", holder(*.pid), .waited.as_secs())]
    #[non_exhaustive]
    Busy {
        /// The container.
        name: ContainerName,
        /// The process that holds the lock, where it has said so.
        pid: Option<u32>,
        /// How long was waited.
        waited: Duration,
    },
    /// Another process changes what all containers of the host share.
    #[error("{what} are being changed by {}; waited {} s", holder(*.pid), .waited.as_secs())]
    #[non_exhaustive]
    HostBusy {
        /// The part of the host that is being changed, in the plural.
        what: &'static str,
        /// The process that holds the lock, where it has said so.
        pid: Option<u32>,
        /// How long was waited.
        waited: Duration,
    },
    /// The host configuration declares the container.
    #[error("container `{name}` is declared by the host configuration ({by})")]
    #[non_exhaustive]
    DeclaredByHost {
        /// The container.
        name: ContainerName,
        /// The manifest that declares it.
        by: String,
    },
    /// A container that is to be applied exists, and was not declared by the same source.
    #[error("container `{name}` exists already, and {} declared it", .by.as_deref().map_or("nobody".to_owned(), |by| format!("`{by}`")))]
    #[non_exhaustive]
    NotDeclared {
        /// The container.
        name: ContainerName,
        /// The source that declared the container; none where it was made by hand.
        by: Option<String>,
    },
    /// What is to be a container's name cannot be one.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A bridge that the container needs is not there.
    #[error("bridge {bridge} does not exist")]
    #[non_exhaustive]
    NoBridge {
        /// The bridge.
        bridge: InterfaceName,
        /// Whether `host up` makes it.
        ours: bool,
    },
    /// A host path that the container file mounts is not there, or cannot be looked at.
    #[error("cannot mount {} in container `{name}`", .path.display())]
    #[non_exhaustive]
    MountSource {
        /// The container.
        name: ContainerName,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The container file asks for limits that this host cannot hold.
    #[error("this host cannot hold {} of container `{name}`", list_unheld(unheld))]
    #[non_exhaustive]
    LimitUnheld {
        /// The container.
        name: ContainerName,
        /// Each limit that is not held, and why.
        unheld: Vec<Unheld>,
    },
    /// The container file asks for a device that this host does not have, or does not give.
    #[error("container `{name}` cannot have the device `{device}`: {why}")]
    #[non_exhaustive]
    Device {
        /// The container.
        name: ContainerName,
        /// The key of the container file, below `devices`.
        device: String,
        /// Why not.
        why: DeviceFault,
    },
    /// More is asked for than this host's configuration gives to anyone.
    #[error("container `{name}` asks for more than this host gives: {}", list_above(above))]
    #[non_exhaustive]
    LimitAbove {
        /// The container.
        name: ContainerName,
        /// Each limit that is above what the host gives.
        above: Vec<Above>,
    },
    /// A limit could not be held at its boot, and the container was not started.
    #[error("container `{name}` cannot be held to its limits")]
    #[non_exhaustive]
    LimitAtBoot {
        /// The container.
        name: ContainerName,
        /// The worker's error.
        source: WorkerError,
    },
    /// See [`ClosureError`].
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A limit that cannot be set by hand.
    #[error(transparent)]
    Set(#[from] SetError),
    /// The running guest uses more memory than it is to have.
    #[error("container `{name}` uses {} MiB of memory, page cache included, and is to have {} MiB", .used.0 >> 20, .most.0 >> 20)]
    #[non_exhaustive]
    LimitBelowUse {
        /// The container.
        name: ContainerName,
        /// The memory that the guest is to have at most, in bytes.
        most: Bytes,
        /// The memory that the guest uses, page cache included, in bytes.
        used: Bytes,
    },
    /// The kernel refuses a limit of a running guest; it has those that it had.
    #[error("the kernel refuses `resources.{}` of container `{name}` ({} in {})", .limit.key, .limit.value, .limit.file)]
    #[non_exhaustive]
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
    #[non_exhaustive]
    Isolation {
        /// The container.
        name: ContainerName,
        /// The step that failed.
        why: &'static str,
        /// LXC's error, with its own words.
        source: WorkerError,
    },
    /// A process that is none of the container's has its ids.
    #[error("container `{name}` cannot start: process {pid} (`{program}`) has ids of it, from {base} up")]
    #[non_exhaustive]
    IdsInUse {
        /// The container.
        name: ContainerName,
        /// The first of its ids.
        base: u32,
        /// The process.
        pid: i32,
        /// The name that the process gives itself.
        program: String,
    },
    /// Another user's process has the name of the socket by which LXC is asked about a container.
    #[error(
        "container `{name}` cannot start: process {pid} (`{program}`) of user {uid} holds the name of its LXC socket"
    )]
    #[non_exhaustive]
    NameHeld {
        /// The container.
        name: ContainerName,
        /// The process.
        pid: i32,
        /// Whose it is.
        uid: u32,
        /// The name that the process gives itself.
        program: String,
    },
    /// The first process of a guest ended before it was the guest's init, or right then.
    #[error("container `{name}` did not boot: its init ended at once")]
    #[non_exhaustive]
    InitEnded {
        /// The container.
        name: ContainerName,
    },
    /// Something is mounted in the root of a container that is to be destroyed.
    #[error("{} is mounted in the root of container `{name}`", .mount.display())]
    #[non_exhaustive]
    Mounted {
        /// The container.
        name: ContainerName,
        /// The mount point, on the host.
        mount: PathBuf,
    },
    /// A set, or the host's configuration, declares a container that is to be destroyed.
    #[error("container `{name}` is declared by {by}")]
    #[non_exhaustive]
    Declared {
        /// The container.
        name: ContainerName,
        /// The set or the manifest that declares the container.
        by: String,
    },
    /// liblxc does not take a line of `lxcExtraConfig`, or an item that was given beside it.
    #[error("LXC refuses `{key} = {value}`: {why}")]
    #[non_exhaustive]
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
    #[non_exhaustive]
    Share {
        /// The kernel's name of the namespace.
        namespace: &'static str,
        /// Whose it is to be: a container's name or a process id.
        with: String,
        /// Why not.
        why: String,
    },
    /// A guest did not come as far as it was waited for. It is left as it is: what was started goes on.
    #[error("{}", unready(.name, .wanted, .missing, *.why))]
    #[non_exhaustive]
    NotReady {
        /// The container.
        name: ContainerName,
        /// The level that was waited for.
        wanted: Box<Ready>,
        /// The level that the guest had reached; none of one that had not activated its system.
        reached: Option<Ready>,
        /// The part of `wanted` that the guest lacked when it was last looked at.
        missing: Missing,
        /// Why it was not waited for any longer.
        why: Unready,
    },
    /// A container did not reboot in time.
    #[error("container `{name}` did not reboot within {} s", .limit.as_secs())]
    #[non_exhaustive]
    RebootTimeout {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Duration,
    },
    /// A container did not shut down in time.
    #[error("container `{name}` did not shut down within {} s", .limit.as_secs())]
    #[non_exhaustive]
    StopTimeout {
        /// The container.
        name: ContainerName,
        /// The limit.
        limit: Duration,
    },
    /// LXC did not let go of a container.
    #[error("container `{name}` is still {state} after {} s", .limit.as_secs())]
    #[non_exhaustive]
    StillThere {
        /// The container.
        name: ContainerName,
        /// The state that LXC still sees.
        state: State,
        /// The limit.
        limit: Duration,
    },
    /// The new generation did not work out in the running guest.
    #[error("generation {generation} of `{name}` {outcome}")]
    #[non_exhaustive]
    Activation {
        /// The container.
        name: ContainerName,
        /// The generation.
        generation: GenerationId,
        /// The way in which the activation failed.
        outcome: FailedActivation,
        /// The generation that was put back, if one was.
        restored: Option<GenerationId>,
        /// What of LXC's side waits for a restart, where the new generation stays.
        pending_restart: Vec<PendingRestart>,
    },
    /// The guest does not have the user or group that a command was to run as.
    #[error("container `{container}` has no {} `{}`", if .missing.group { "group" } else { "user" }, .missing.wanted)]
    #[non_exhaustive]
    NoAccount {
        /// The container.
        container: ContainerName,
        /// The user or group that the guest does not have.
        missing: NoAccount,
    },
    /// A command that cannot be run as it was asked for.
    #[error("cannot run a command in container `{name}`")]
    #[non_exhaustive]
    Command {
        /// The container.
        name: ContainerName,
        /// What is wrong with it.
        source: RunError,
    },
    /// A way into a container that would hand the guest something of the host's, or that there is none.
    #[error("cannot enter container `{name}` {what}: {why}")]
    #[non_exhaustive]
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
    #[non_exhaustive]
    HostParts {
        /// What was done to the other parts.
        done: Vec<HostChange>,
        /// What was not, and why; one at least.
        failures: Vec<(Part, Error)>,
    },
    /// What could not be given back of a container; the rest was.
    #[error("what stays of container `{name}`: {}", list(.failures))]
    #[non_exhaustive]
    Remains {
        /// The container.
        name: ContainerName,
        /// One error for each thing that stays.
        failures: Vec<Self>,
    },
    /// An operation failed, and so did undoing it.
    #[error("{failure}; and undoing it failed too: {}", chain(.undo))]
    #[non_exhaustive]
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
    #[non_exhaustive]
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
    /// Generations were to go, and nothing says which are kept.
    #[error("nothing says which generations are kept")]
    NoPolicy,
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
    BridgePort(#[from] net::bridge_port::Error),
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
    #[error(transparent)]
    Io(#[from] FileError),
}
