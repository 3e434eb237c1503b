//! Unprivileged NixOS containers on LXC that share the host's `/nix/store`, each with its own generations: created,
//! updated in place and rolled back alone.
//!
//! # How it goes
//!
//! ```text
//!  container file --nix-instantiate--> spec + derivation --nix-store--> generation N of the container's Nix profile
//!      (Nix)                             (JSON, typed)                     |  /init in the guest
//!                                            |                            v
//!  record (TOML), leases ------------> LXC configuration ----worker----> unprivileged guest
//!   address, ids, phase                 (rendered, golden-tested)         idmapped, locked read-only store
//! ```
//!
//! [`Manager`] opens a host, [`Container`] is what it hands out; operations are methods with request and outcome types.
//! Progress is typed events ([`observe`]), errors carry a [`kind`](Error::kind) and a [`hint`](Error::hint). The
//! library prints nothing, exits nowhere and blocks for ever on nothing.
//!
//! A program that starts or enters containers calls [`worker::init`] first in `main`, or is built without the feature `liblxc`
//! and runs an installed worker.
//!
//! ```no_run
//! use nixcloud_container::{CreateRequest, HostConfig, Manager};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     # #[cfg(feature = "liblxc")]
//!     nixcloud_container::worker::init(); // first in main: the program is its own worker
//!     let manager = Manager::open(HostConfig::load(None)?)?;
//!     let web = manager.container("web".parse()?);
//!     web.create(&CreateRequest::new("web.nix"), &mut ())?;
//!     web.start(&mut ())?;
//!     let said = web.command("hostname").output()?;
//!     println!("{}", String::from_utf8_lossy(&said.stdout));
//!     Ok(())
//! }
//! ```
//!
//! Programs to start from are in `examples`: a web service with a container for each tenant, a runner of jobs, a change that
//! one container proves before the others get it.
//!
//! # Rooms
//!
//! A room is named by what it owns. It imports only rooms below it, and inside a room there is no circle: a test proves it and
//! draws the rooms, with who imports whom, in `docs/architecture.md`.
//!
//! | room | owns |
//! |---|---|
//! | `manager` | [`Manager`]: one host, opened |
//! | `container` | [`Container`]: a name on a host, and what can be asked of it |
//! | `fleet` | many containers: what a set declares, what starts with the host |
//! | `ops` | one container: a verb a file, and the steps that verbs share |
//! | `build` | from a container file to a generation: evaluation, checks, build |
//! | `host` | this host: `host up`, `down` and `check` part by part, names for its resolvers |
//! | `error` | [`Error`]: kinds and hints of the errors of everything below |
//! | `store` | what is on the disk: records, claims, generations, root file systems, what others have there |
//! | `worker` | [`worker`]: the re-executed process, and our dnsmasqs that it watches |
//! | `render` | pure functions from spec and configuration to texts: LXC, nftables, dnsmasq, warnings |
//! | `nix` | Nix, by its programs |
//! | `net` | networks: netlink, nft, filters of ports, kernel settings |
//! | `lxc` | liblxc alone: the first door to what is unsafe |
//! | `sys` | the kernel: processes, cgroups, pidfds, user namespaces, programs that are run: the second door |
//! | `model` | words without input and output: configuration, specs, names, ids, states, events |
//! | `fs` | files that survive kills and hostile trees |

// What docs/api-guidelines.md says of them is held here.
#![deny(missing_debug_implementations)]
#![deny(clippy::missing_errors_doc, clippy::missing_panics_doc)]

// Words that programs need by their module.
pub use model::{
    config, devices, features, forward as network, generation, idmap, interface, name, namespace, observe,
    resources, spec, state, store_view, user,
};

pub mod worker;

/// Watching containers: see [`Manager::watch`].
pub mod watch {
    pub use crate::model::occurrence::{Busy, End, Occurred, Occurrence, Operation};
    pub use crate::ops::watch::{Watch, WatchRequest};
}

// The drivers are seen by this repository's own tests, which look at a host from outside. They promise nothing.
#[doc(hidden)]
pub mod lxc;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod nix;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub use sys::{cgroup, proc};

mod build;
mod container;
mod error;
mod fleet;
mod fs;
mod host;
mod manager;
mod model;
mod ops;
mod render;
mod store;

pub use build::evaluator::{EvalRequest, Evaluation, Evaluator};
pub use container::{Captured, Child, Command, Container, Input, Output};
pub use error::{Error, ErrorKind, FailedActivation};
pub use fleet::apply::{
    Applied, AppliedContainer, ApplyRequest, ApplySource, Outcome, Removal, UpdateAllRequest,
};
pub use fleet::autostart::{
    AfterError, AutostartOutcome, AutostartRequest, Autostarted, AutostopOutcome, AutostopRequest,
    Autostopped,
};
pub use fleet::gc::{Collected, GcRequest};
pub use fs::atomic::Error as WriteError;
pub use fs::beneath::Error as BeneathError;
pub use fs::claim::Error as ClaimError;
pub use fs::error::FileError;
pub use fs::lock::Error as LockError;
pub use fs::remove::Error as WalkError;
pub use manager::Manager;
pub use model::closure::{ClosureChange, PackageChange, PackageFate};
pub use model::config::HostConfig;
pub use model::foresight::{KeyChange, PlanVerdict, PlannedUnits, UnitPlan};
pub use model::generation::{Generation, GenerationId, Selection};
pub use model::hint::{Hint, Remedy};
pub use model::host_report::{Change, Finding, HostChange, Part, Verdict};
pub use model::idmap::IdMap;
pub use model::keep::Keep;
pub use model::layout::LayoutError;
pub use model::log_level::{Level as LogLevel, UnknownLevel};
pub use model::name::{ContainerName, InterfaceName};
pub use model::namespace::{Elevated, Namespace};
pub use model::note::{
    AdoptionNote, DeclarationNote, FilesNote, GenerationNote, GuestNote, NetworkNote, Note,
};
pub use model::observe::{
    Cancel, ContainerChange, Data, Event, Observer, PassedSignals, Phase, Planned, UnitChange,
};
pub use model::overrides::SetError;
pub use model::ready::{Missing, Readiness, Ready, ReadyError, SystemState, Unready};
pub use model::run_error::RunError;
pub use model::signal::{Signal, SignalError};
pub use model::spec::ContainerSpec;
pub use model::state::{Action, State};
pub use model::user::{Account, User, UserError};
pub use model::words::UnknownWord;
pub use ops::addresses::{Address, Origin};
pub use ops::create::{CreateRequest, Created};
pub use ops::destroy::DestroyRequest;
pub use ops::exec::{Environment, RunRequest, Streams};
pub use ops::foreground::Screen;
pub use ops::inspect::{Listed, Status};
pub use ops::plan::{Plan, PlanRequest, PlanTarget};
pub use ops::power::{StopOutcome, StopRequest};
pub use ops::ready::WaitRequest;
pub use ops::repair::{Repair, RepairOutcome, RepairRequest};
pub use ops::restart::{RestartRequest, Restarted};
pub use ops::set::SetRequest;
pub use ops::start::{StartOutcome, StartRequest};
pub use ops::switch::Switched;
pub use ops::switch_request::SwitchRequest;
pub use ops::update::{UpdateRequest, Updated};
pub use render::{ExtraError, ItemError, PendingRestart};
pub use store::claims::LeaseError;
pub use store::claims::host_ports::ForwardError;
pub use store::closures::ClosureError;
pub use store::history::GenerationsError;
pub use store::host_facts::FactsError;
pub use store::legacy::{BashError, OriginalError};

pub use store::manifest::ManifestError;
pub use store::others::ForeignError;
pub use store::presence::PresenceError;
pub use store::record::RecordError;
pub use store::reference::ReferenceError;
pub use store::rootfs::RootfsError;
pub use store::subid::SubidError;
pub use worker::resolver::ResolverError;
pub use worker::{Exit, LogRequest, LxcWords, NoAccount, WorkerError};

// Of the drivers, what programs meet in errors, requests and answers.
#[doc(inline)]
pub use lxc::{InvalidAddress, command::Error as CommandError};
#[doc(inline)]
pub use net::{
    Error as NetError, bridge::Error as BridgeError, bridge_port::Error as BridgePortError,
    netns::Error as NetnsError, nft::Error as NftError, sysctl::SysctlError,
};
#[doc(inline)]
pub use nix::{
    ArgumentError, Error as NixError, Position, Program as NixProgram, Step, StorePath, StorePathError,
    Trace, UserArgs, VersionError as NixVersionError, profile::Error as ProfileError,
    roots::Error as RootsError,
};
#[doc(inline)]
pub use sys::tool::Error as ToolError;

/// Compiles the programs that the READMEs show.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct OwnReadme;
