//! Nix, driven by its own programs: typed requests in, typed results, events and errors out.
//!
//! ```text
//! UserArgs ──┐                                ┌─> Event (to the observer)
//! paths  ────┴─> argv::Invocation ─> runner ──┤
//!                 (a pure value)   (spawns)   └─> log::Log ─> Error
//! ```
//!
//! [`Nix`] has one method for each thing that is asked of Nix: [`Nix::evaluate`],
//! [`Nix::realise`], [`Nix::set_profile`] and so on. What it passes on the command line is built
//! by [`argv`] alone. What a process prints is read as Nix's own `--log-format internal-json` and
//! becomes [`Event`](crate::model::observe::Event)s.
//!
//! What needs no Nix process is read natively: [`profile`] reads and removes the generations of
//! a profile, [`roots`] makes and removes roots of the garbage collector.

pub mod argv;
mod error;
mod excerpt;
mod hint;
mod log;
mod position;
pub mod profile;
pub mod roots;
mod runner;
mod store_path;
mod text;
mod tool;
mod tree;
mod user_args;
mod version;

pub use argv::{Invocation, Mode, Program, SearchPath};
pub use error::Error;
pub use excerpt::{Step, Trace};
pub use position::Position;
pub use profile::{Profile, ProfileGeneration};
pub use store_path::{STORE_DIR, StorePath, StorePathError};
pub use tool::{Nix, Output};
pub use user_args::{ArgumentError, UserArgs, absolute_includes};
pub use version::{Version, VersionError};
