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
//! A program that starts or enters containers calls [`worker::init`] first in `main`.
//!
//! # Floors
//!
//! A file imports its own floor's neighbours to the left and lower floors only; a test proves it.
//!
//! | floor | owns |
//! |---|---|
//! | roof | [`Container`], [`Manager`] |
//! | operations | salvage, host, durable, freeing, names, expression, source, evaluation, extra_check, eval, hostnet, shared_work, build, install, moving, release, adopt, recover, cut_off, power, booting, foreground, boot, guest_units, activation, destroy, create, switch, update, addresses, inspect, apply, session, repair, autostart |
//! | error | [`Error`]: the errors of all floors below |
//! | stores | reference, manifest, record, lease, original, generations, forwards, rootfs, facts, foreign, presence |
//! | drivers | `fs`, `proc`, `lxc`, reporter, sysctl, subid, subid_notes, `tool`, `nft`, `cgroup`, `net`, `nix`, [`worker`], resolver |
//! | contracts | [`config`], doubts, `layout`, `render`, `ruleset`, dnsmasq |
//! | vocabulary | [`name`], [`idmap`], [`generation`], [`state`], [`namespace`], [`user`], [`network`], [`interface`], signal, port, hint, part, [`spec`], [`observe`] |

pub mod config;
pub mod generation;
pub mod idmap;
pub mod interface;
pub mod name;
pub mod namespace;
pub mod network;
pub mod observe;
pub mod spec;
pub mod state;
pub mod user;
pub mod worker;

// The drivers are seen by this repository's own tests, which look at a host from outside. They promise nothing.
#[doc(hidden)]
pub mod cgroup;
#[doc(hidden)]
pub mod lxc;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod nix;
#[doc(hidden)]
pub mod proc;

mod activation;
mod addresses;
mod adopt;
mod apply;
mod autostart;
mod boot;
mod booting;
mod build;
mod container;
mod create;
mod cut_off;
mod destroy;
mod dnsmasq;
mod doubts;
mod durable;
mod error;
mod eval;
mod evaluation;
mod expression;
mod extra_check;
mod facts;
mod foreground;
mod foreign;
mod forwards;
mod freeing;
mod fs;
mod generations;
mod guest_units;
mod hint;
mod host;
mod hostnet;
mod inspect;
mod install;
mod layout;
mod lease;
mod manager;
mod manifest;
mod moving;
mod names;
mod nft;
mod original;
mod part;
mod port;
mod power;
mod presence;
mod record;
mod recover;
mod reference;
mod release;
mod render;
mod repair;
mod reporter;
mod resolver;
mod rootfs;
mod ruleset;
mod salvage;
mod session;
mod shared_work;
mod signal;
mod source;
mod subid;
mod subid_notes;
mod switch;
mod sysctl;
mod tool;
mod update;

pub use addresses::{Address, Origin};
pub use apply::{Applied, AppliedContainer, ApplyRequest, ApplySource, Outcome, Removal, UpdateAllRequest};
pub use autostart::{
    AfterError, AutostartOutcome, AutostartRequest, Autostarted, AutostopOutcome, AutostopRequest,
    Autostopped,
};
pub use boot::{StartOutcome, StartRequest};
pub use config::HostConfig;
pub use container::Container;
pub use create::{CreateRequest, Created};
pub use destroy::DestroyRequest;
pub use error::{Error, ErrorKind, FailedActivation};
pub use eval::{EvalRequest, Evaluation, Evaluator};
pub use facts::FactsError;
pub use foreground::Screen;
pub use foreign::ForeignError;
pub use forwards::ForwardError;
pub use generation::{Generation, GenerationId, Selection};
pub use generations::GenerationsError;
pub use hint::{Hint, Remedy};
pub use idmap::IdMap;
pub use inspect::{Listed, Status};
pub use layout::LayoutError;
pub use lease::LeaseError;
pub use lxc::log::{Level as LogLevel, UnknownLevel};
pub use manager::Manager;
pub use manifest::ManifestError;
pub use name::{ContainerName, InterfaceName};
pub use namespace::{Elevated, Namespace};
pub use nix::{ArgumentError, UserArgs};
pub use observe::{
    Cancel, ContainerChange, Data, Event, Observer, PassedSignals, Phase, Planned, UnitChange,
};
pub use original::OriginalError;
pub use part::{Change, Finding, HostChange, Part, Verdict};
pub use power::{StopOutcome, StopRequest};
pub use presence::PresenceError;
pub use record::RecordError;
pub use reference::ReferenceError;
pub use render::{ExtraError, ItemError, PendingRestart};
pub use repair::{Repair, RepairOutcome, RepairRequest};
pub use resolver::ResolverError;
pub use rootfs::RootfsError;
pub use session::{Environment, RunRequest, Streams};
pub use signal::{Signal, SignalError};
pub use spec::ContainerSpec;
pub use state::{Action, State};
pub use subid::SubidError;
pub use switch::Switched;
pub use sysctl::SysctlError;
pub use update::{UpdateRequest, Updated};
pub use user::{Account, User, UserError};
pub use worker::{Exit, LogRequest, NoAccount, WorkerError};

/// Compiles the program that the README shows.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
