//! What can go wrong between us and liblxc. Each that comes from liblxc carries liblxc's own words as its source.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use ::nix::errno::Errno;

use super::address::InvalidAddress;
use super::log::{self, Reason};
use super::state::LxcState;
use super::token::Unfit;
use super::version;
use crate::model::exit;
use crate::sys::process;

/// A call of liblxc that did not do what it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The liblxc that runs is too old.
    #[error("liblxc cannot be used")]
    Version(#[from] version::Error),
    /// Its log could not be set up, and without that no error has a text.
    #[error("the log of liblxc cannot be set up")]
    Log(#[from] log::Error),
    /// The path or name would name another container.
    #[error("no such container can be named")]
    Address(#[from] InvalidAddress),
    /// This process would hand its own state to the guest.
    #[error("this process is not fit to start or enter a container")]
    Unclean(#[from] process::Unclean),
    /// liblxc cannot run in this process.
    #[error("this process cannot be a worker")]
    Unfit(#[from] Unfit),
    /// This program has not said what its workers do.
    #[error("this program has no workers: it does not call `lxc::worker::init`")]
    NotInitialised,
    /// Two commands at a time cannot be told apart in liblxc's log.
    #[error("a command is attached that nobody has waited for")]
    Busy,
    /// A text for liblxc has a NUL in it.
    #[error("{what} has a NUL byte in it")]
    Nul {
        /// What it is of.
        what: &'static str,
    },
    /// The directory holds LXC's mark of a creation that did not end. liblxc would destroy such a container.
    #[error("{} marks a creation that did not end", path.display())]
    HalfMade {
        /// The mark.
        path: PathBuf,
    },
    /// liblxc refused.
    #[error("container {name}: {action} failed")]
    Failed {
        /// What it was asked for.
        action: LxcAction,
        /// The container.
        name: String,
        /// What it logged.
        #[source]
        reason: Reason,
    },
    /// A monitor already answers to this name.
    #[error("container {name} is already running, or still on its way down")]
    AlreadyRunning {
        /// The container.
        name: String,
        /// What liblxc logged.
        #[source]
        reason: Reason,
    },
    /// The container does not run.
    #[error("container {name} is not running")]
    NotRunning {
        /// The container.
        name: String,
    },
    /// The monitor does not take commands of this user. liblxc's own answer is then STOPPED.
    #[error("permission denied by the monitor of container {name}")]
    PermissionDenied {
        /// The container.
        name: String,
    },
    /// liblxc named a state that is none, or none at all.
    #[error("container {name} is in no known state ({text:?})")]
    UnknownState {
        /// The container.
        name: String,
        /// What liblxc said.
        text: String,
    },
    /// The container did not reach the state that a call had promised.
    #[error("container {name} is {found}, not {wanted}")]
    WrongState {
        /// The container.
        name: String,
        /// The state that was promised.
        wanted: LxcState,
        /// The state that is.
        found: LxcState,
    },
    /// The library that runs has not this function.
    #[error("this liblxc has no `{member}`")]
    Missing {
        /// The function.
        member: &'static str,
    },
    /// A value of the configuration is not UTF-8.
    #[error("the value of {key} is not UTF-8")]
    NotUtf8 {
        /// Its key.
        key: String,
    },
    /// An environment variable's name is empty or has `=` in it.
    #[error("{name:?} cannot name an environment variable")]
    Environment {
        /// The name.
        name: String,
    },
    /// A program was not named.
    #[error("no program to run")]
    NoProgram,
    /// A terminal of the host would be handed to the guest, which could type into it.
    #[error("{stream} is a terminal of the host: ask for one of the guest's own")]
    HostTerminal {
        /// Which of the three it is.
        stream: &'static str,
    },
    /// A folder of the host would be handed to the guest, which could open from there what is around it.
    #[error("{stream} is a folder of the host")]
    HostFolder {
        /// Which of the three it is.
        stream: &'static str,
    },
    /// The host's `fs.suid_dumpable` is 1, which lets guest root take over a process that enters the guest.
    #[error(
        "no guest can be entered safely while the host's setting fs.suid_dumpable is 1 (set it to 0 or 2): it opens \
         processes to others in the middle of giving their privileges up"
    )]
    Unshielded,
    /// The guest was entered but the command could not be set up: an id that is not mapped, a limit, a profile.
    #[error("container {name}: the command could not be set up")]
    Setup {
        /// The container.
        name: String,
        /// What liblxc logged.
        #[source]
        reason: Reason,
    },
    /// The directory that the command was to start in is not there, or its user may not enter it.
    #[error("container {name}: the command cannot start in {}", directory.display())]
    Directory {
        /// The container.
        name: String,
        /// The directory.
        directory: PathBuf,
        /// The error that this one follows from.
        #[source]
        source: Errno,
    },
    /// The program could not be executed in the guest.
    #[error("container {name}: {} {failure}", program.display())]
    Exec {
        /// The container.
        name: String,
        /// The program, as asked for.
        program: OsString,
        /// In which way it cannot.
        failure: ExecFailure,
        /// What the kernel said.
        #[source]
        source: Errno,
    },
    /// No terminal could be made for a command.
    #[error("a terminal could not be made")]
    Terminal {
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A call of the kernel failed.
    #[error("{what} failed")]
    System {
        /// The call.
        what: &'static str,
        /// Its error.
        #[source]
        source: Errno,
    },
}

impl Error {
    /// The exit code that a shell gives for a program that cannot be run: 127 not found, 126 not executable. None for
    /// every other error.
    #[must_use]
    pub const fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Exec { failure, .. } => Some(failure.exit_code()),
            _ => None,
        }
    }
}

/// What liblxc was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LxcAction {
    /// Making the handle, which reads the configuration.
    Open,
    /// Reading another configuration file.
    LoadConfig(PathBuf),
    /// Reading the value of a key.
    ReadConfig(String),
    /// Setting a key to a value.
    SetConfig(String, String),
    /// Choosing between monitor in the background and in this process.
    Daemonize,
    /// Start.
    Start,
    /// Stop, by force.
    Stop,
    /// Asking init to end.
    Shutdown,
    /// Freeze.
    Freeze,
    /// Unfreeze.
    Unfreeze,
    /// Reading a file of the container's cgroup.
    ReadCgroup(String),
    /// Writing a file of the container's cgroup.
    SetCgroup(String, String),
    /// Entering the guest.
    Attach,
}

impl fmt::Display for LxcAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("reading its configuration"),
            Self::LoadConfig(path) => write!(f, "reading the configuration {}", path.display()),
            Self::ReadConfig(key) => write!(f, "reading {key}"),
            Self::SetConfig(key, value) => write!(f, "setting {key} to {value:?}"),
            Self::Daemonize => f.write_str("choosing where the monitor runs"),
            Self::Start => f.write_str("start"),
            Self::Stop => f.write_str("stop"),
            Self::Shutdown => f.write_str("asking init to shut down"),
            Self::Freeze => f.write_str("freeze"),
            Self::Unfreeze => f.write_str("unfreeze"),
            Self::ReadCgroup(key) => write!(f, "reading {key} of its cgroup"),
            Self::SetCgroup(key, value) => write!(f, "setting {key} of its cgroup to {value:?}"),
            Self::Attach => f.write_str("entering it"),
        }
    }
}

/// In which way a program cannot be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecFailure {
    /// It, or the interpreter that it names, is not there.
    NotFound,
    /// It is there and cannot be executed.
    NotExecutable,
}

impl ExecFailure {
    /// What a shell exits with.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::NotFound => exit::NOT_FOUND,
            Self::NotExecutable => exit::NOT_EXECUTABLE,
        }
    }
}

impl fmt::Display for ExecFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "was not found",
            Self::NotExecutable => "cannot be executed",
        })
    }
}
