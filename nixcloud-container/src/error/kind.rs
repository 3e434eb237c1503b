//! Errors by what a program would do about them.

use std::io;

use super::Error;
use crate::model::devices::DeviceFault;
use crate::model::ready::Unready;
use crate::model::run_error::RunError;
use crate::model::words::words;
use crate::net::sysctl::SysctlError;
use crate::nix;
use crate::store::claims::LeaseError;
use crate::store::claims::host_ports::ForwardError;
use crate::store::closures::ClosureError;
use crate::store::history::GenerationsError;
use crate::store::reference::ReferenceError;
use crate::worker::WorkerError;

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
            | Self::NoPolicy
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
            | Self::Set(_)
            | Self::LimitAbove { .. }
            | Self::Spec(_) => ErrorKind::Input,
            Self::Command { source, .. } => of_command(source),
            Self::Activation { .. } => ErrorKind::Activation,
            Self::Device { why: DeviceFault::Missing | DeviceFault::NoNodes, .. } => ErrorKind::Host,
            Self::Device { .. } => ErrorKind::Input,
            Self::NoBridge { .. }
            | Self::MountSource { .. }
            | Self::LimitUnheld { .. }
            | Self::LimitRefused { .. }
            | Self::LimitAtBoot { .. }
            | Self::LimitBelowUse { .. }
            | Self::Nft(_)
            | Self::Tool(_)
            | Self::Resolver(_)
            | Self::Isolation { .. }
            | Self::Facts(_) => ErrorKind::Host,
            Self::StopTimeout { .. } | Self::RebootTimeout { .. } | Self::StillThere { .. } => {
                ErrorKind::Timeout
            }
            Self::NotReady { why, .. } => match why {
                Unready::Late { .. } => ErrorKind::Timeout,
                Unready::Ended { .. } => ErrorKind::Lxc,
                Unready::Cancelled => ErrorKind::Cancelled,
            },
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Reference(error) => of_reference(error),
            Self::Generations(error) => of_generations(error),
            Self::Forward(error) => of_forward(error),
            Self::Lease(error) => of_lease(error),
            Self::Closure(ClosureError::Nix { source, .. }) => of_nix(source),
            Self::Closure(_) => ErrorKind::System,
            Self::Nix(error) => of_nix(error),
            Self::Sysctl(error) => of_sysctl(error),
            Self::Worker(error) => of_worker(error),
            Self::InitEnded { .. } => ErrorKind::Lxc,
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
            | Self::BridgePort(_)
            | Self::Netns(_)
            | Self::Presence(_)
            | Self::Write(_)
            | Self::Remove(_)
            | Self::Io { .. } => ErrorKind::System,
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

fn of_command(error: &RunError) -> ErrorKind {
    match error {
        RunError::Folder { source, .. } => match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ErrorKind::NotFound,
            _ => ErrorKind::Refused,
        },
        RunError::NoProgram | RunError::Variable { .. } | RunError::Nul { .. } => ErrorKind::Input,
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
        nix::Error::Paths { .. }
        | nix::Error::Spawn { .. }
        | nix::Error::Pipe { .. }
        | nix::Error::NotInStore { .. }
        | nix::Error::Failed { .. }
        | nix::Error::Killed { .. }
        | nix::Error::Unreadable { .. }
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
        WorkerError::None | WorkerError::Threads { .. } | WorkerError::Store { .. } => ErrorKind::Host,
        WorkerError::Lxc { .. } | WorkerError::NoAnswer { .. } => ErrorKind::Lxc,
        WorkerError::Deadline { .. } => ErrorKind::Timeout,
        WorkerError::Cancelled => ErrorKind::Cancelled,
        WorkerError::Spawn { .. } | WorkerError::Channel(_) => ErrorKind::System,
    }
}
