//! What happens to containers, as a watch tells it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::setters::setters;
use crate::model::state::State;
use crate::model::words::words;

/// Something that happened to one container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Occurrence {
    /// The container.
    pub name: ContainerName,
    /// When: of what an operation noted, the time of the note; of what was found by looking, the time of the look.
    pub at: Timestamp,
    /// What happened.
    pub what: Occurred,
}

setters!(Occurrence: "That this happened to a container at that time." (name: ContainerName, at: Timestamp, what: Occurred) {});

/// What can happen to a container. More may come: a program passes over what it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Occurred {
    /// There is such a container: told of each at the beginning of a watch that was not asked for changes alone.
    #[non_exhaustive]
    Found {
        /// What it does.
        state: State,
        /// Whether it runs and has not finished booting.
        booting: bool,
        /// The generation that boots at its next start.
        generation: Option<GenerationId>,
        /// The init of its guest, in the host's pid namespace.
        init: Option<i32>,
    },
    /// It cannot be read: its record is damaged, for instance. Told once for each reason.
    #[non_exhaustive]
    Unreadable {
        /// Why.
        why: String,
    },
    /// It was created, or is there again.
    #[non_exhaustive]
    Created {
        /// Its generation.
        generation: Option<GenerationId>,
    },
    /// A guest of it has begun: its init was executed.
    #[non_exhaustive]
    Started {
        /// That init, in the host's pid namespace.
        init: i32,
        /// The generation that the guest was booted from, where that is known.
        generation: Option<GenerationId>,
    },
    /// The guest boots: its activation has not ended. Told behind each `Started`.
    Booting,
    /// The guest has booted: its activation has ended, and it can be entered and switched.
    Ready,
    /// The guest has ended.
    #[non_exhaustive]
    Ended {
        /// That init.
        init: i32,
        /// How, and by whom.
        how: End,
        /// The code that init ended with, where the kernel tells (Linux 6.15 and newer) and it was not a signal.
        code: Option<i32>,
        /// The signal that ended init, likewise. One that shuts down or reboots by `reboot(2)` is ended by the kernel: with
        /// SIGINT or SIGHUP, or code 0.
        signal: Option<i32>,
    },
    /// Its processes were frozen.
    Frozen,
    /// Its processes go on.
    Unfrozen,
    /// Another generation counts.
    #[non_exhaustive]
    Switched {
        /// The one before.
        from: GenerationId,
        /// The one that counts now.
        to: GenerationId,
    },
    /// An operation has begun that changes it; others wait until [`Idle`](Self::Idle).
    Busy(Busy),
    /// That operation is over, however it came out.
    Idle,
    /// It was destroyed.
    Destroyed,
}

/// Who changes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Busy {
    /// What is being done; `None` where that was not noted.
    pub operation: Option<Operation>,
    /// The process that does it, in its own pid namespace.
    pub pid: Option<u32>,
    /// Since when.
    pub since: Timestamp,
}

setters!(Busy: "Nobody knows by whom." (since: Timestamp) {
    with_operation => operation: Option<Operation>,
    with_pid => pid: Option<u32>,
});

/// How a guest ended, and by whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum End {
    /// By itself: it was shut down from inside, or its init ended.
    ByItself,
    /// It boots again, by itself or as it was asked to: a new guest of the same container follows.
    Rebooted,
    /// An operation asked it to shut down, and it did.
    Stopped,
    /// Its init was killed: by an operation, by somebody on the host, for want of memory. The kernel says the same where a
    /// process of the guest other than its init shuts it down by `reboot(2)`, and LXC was quicker than the watch.
    Killed,
    /// Nobody saw it, and no operation was about it; or the kernel does not say (before Linux 6.15).
    Unknown,
}

words!(End {
    ByItself => "by_itself",
    Rebooted => "rebooted",
    Stopped => "stopped",
    Killed => "killed",
    Unknown => "unknown",
});

impl End {
    /// As people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::ByItself => "by itself",
            Self::Rebooted => "to boot again",
            other => other.as_str(),
        }
    }
}

/// An operation that changes a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Operation {
    /// It is being created.
    Create,
    /// It is found out what an update would come to; nothing changes.
    Plan,
    /// It gets another generation, by an update or an apply.
    Update,
    /// It goes to another generation that it has.
    Switch,
    /// Generations of it are deleted.
    DeleteGenerations,
    /// Its limits are set.
    Set,
    /// It is being started.
    Start,
    /// It is being shut down, or asked to reboot.
    Stop,
    /// It is being shut down and booted again.
    Restart,
    /// It is being ended at once.
    Terminate,
    /// It is being frozen.
    Freeze,
    /// It is being thawed.
    Unfreeze,
    /// It is being repaired.
    Repair,
    /// It is being destroyed.
    Destroy,
}

words!(Operation {
    Create => "create",
    Plan => "plan",
    Update => "update",
    Switch => "switch",
    DeleteGenerations => "delete_generations",
    Set => "set",
    Start => "start",
    Stop => "stop",
    Restart => "restart",
    Terminate => "terminate",
    Freeze => "freeze",
    Unfreeze => "unfreeze",
    Repair => "repair",
    Destroy => "destroy",
});

impl Operation {
    /// As people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::DeleteGenerations => "delete-generations",
            other => other.as_str(),
        }
    }
}
