//! liblxc: the only module that may be unsafe, and the traps of the C library that end here.
//!
//! # Who may call what
//!
//! liblxc was written for short-lived programs. `start` moves its caller into the container's monitor cgroup for ever,
//! `attach` hands its caller's signals and open files to the guest, a bad configuration prints, a stopped monitor hangs
//! the call, the log is one per process. So:
//!
//! | where | what |
//! |---|---|
//! | any process, any thread | [`command`]: state, init's pid and presence over the command socket, with a deadline, in safe code; [`version`] |
//! | a [`Worker`]: re-executed, clean, short-lived, with a deadline kept by its parent | [`Handle`] and all it does, [`scratch`], [`log::Log`] |
//!
//! What is for a worker takes the worker, which is neither `Send` nor `Sync` and of which a process has one: so liblxc is called
//! by one thread, its log tells of one call at a time, and a program that calls it elsewhere does not compile.
//! [`Handle::start`] and [`Handle::attach`] also refuse a worker whose job has made threads, or ignores signals.
//!
//! # Errors
//!
//! liblxc returns `false`; what went wrong is in its log alone. [`log::Log`] therefore always writes to a file (in memory
//! unless told otherwise), nothing of it reaches standard error, and each [`Error`] that comes from liblxc carries the
//! records of its call ([`log::Reason`]).
#![cfg_attr(
    any(test, feature = "liblxc"),
    expect(
        unsafe_code,
        reason = "the one door to liblxc and to what of the kernel the nix crate leaves unsafe"
    )
)]

mod address;
pub mod command;
mod state;

// What calls liblxc. Without it programs ask an installed worker, and know of LXC what is told over the command socket.
#[cfg(feature = "liblxc")]
mod attach;
#[cfg(feature = "liblxc")]
mod begin;
#[cfg(feature = "liblxc")]
mod error;
#[cfg(feature = "liblxc")]
mod handle;
#[cfg(feature = "liblxc")]
pub mod log;
#[cfg(feature = "liblxc")]
pub mod pty;
#[cfg(feature = "liblxc")]
pub mod scratch;
#[cfg(feature = "liblxc")]
mod seccomp;
#[cfg(feature = "liblxc")]
mod start;
#[cfg(feature = "liblxc")]
mod token;
#[cfg(feature = "liblxc")]
pub mod version;
#[cfg(feature = "liblxc")]
pub mod worker;

pub use address::{Address, InvalidAddress};
#[cfg(feature = "liblxc")]
pub use attach::{Attach, Attached, Exit, LxcStreams};
#[cfg(feature = "liblxc")]
pub use error::{Error, ExecFailure, LxcAction};
#[cfg(feature = "liblxc")]
pub use handle::Handle;
#[cfg(feature = "liblxc")]
pub use start::StartOptions;
pub use state::LxcState;
#[cfg(feature = "liblxc")]
pub use token::{Unfit, Worker};
#[cfg(feature = "liblxc")]
pub use version::Version;
