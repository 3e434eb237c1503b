//! What a container is doing, and the one table that says which action each state allows.

use serde::{Deserialize, Serialize};

use crate::model::words::words;

/// What a container is doing, as far as the whole host knows: command socket, record, and cgroup together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// Nothing of the container runs.
    Stopped,
    /// LXC is setting the container up.
    Starting,
    /// The container's init runs.
    Running,
    /// The container's processes are frozen.
    Frozen,
    /// Its init is gone or going; LXC has not finished yet, so it cannot be started yet.
    Stopping,
    /// Its init runs, but it cannot be reached from here: it was started in another network namespace,
    /// or its monitor does not answer.
    Unreachable,
    /// Another process is making the container.
    Creating,
    /// Another process is removing the container.
    Destroying,
    /// A create or destroy of it was cut off, and nobody is at it; the next create or destroy tidies it up.
    Incomplete,
}

/// What a user can ask of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// Boot it.
    Start,
    /// Shut it down cleanly.
    Stop,
    /// End it at once.
    Terminate,
    /// Run a command or a shell in it.
    Enter,
    /// Send its init a signal.
    Signal,
    /// Wait until it is ready.
    Await,
    /// Remove it.
    Destroy,
    /// Make a new generation, or go to another.
    Update,
    /// Freeze its processes.
    Freeze,
    /// Thaw them.
    Unfreeze,
}

/// What the table says of an action in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// The action goes ahead.
    Allowed,
    /// There is nothing to do: the container is so already.
    Already,
    /// The action goes ahead once a passing state is over.
    Wait,
    /// The action is refused.
    Refused,
}

impl State {
    /// Whether an init process of it may be alive.
    #[must_use]
    pub fn is_live(self) -> bool {
        !matches!(self, Self::Stopped | Self::Creating | Self::Destroying | Self::Incomplete)
    }

    /// Whether there is no whole container: it is being made or removed, or that was cut off.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Creating | Self::Destroying | Self::Incomplete)
    }

    /// What this state says to an action. Every operation asks here and nowhere else.
    #[must_use]
    pub fn permits(self, action: Action) -> Permission {
        use Permission::{Allowed, Already, Refused, Wait};
        match (action, self) {
            (Action::Start, Self::Stopped) => Allowed,
            (Action::Start, Self::Running) => Already,
            (Action::Start, Self::Starting | Self::Stopping) => Wait,
            (Action::Start, _) => Refused,

            (Action::Stop | Action::Terminate, Self::Stopped) => Already,
            (Action::Stop | Action::Terminate, Self::Stopping | Self::Starting) => Wait,
            (Action::Stop, Self::Running) => Allowed,
            // A frozen init cannot shut itself down, an unreachable one cannot be asked.
            (Action::Stop, Self::Frozen | Self::Unreachable) => Refused,
            (Action::Terminate, Self::Running | Self::Frozen | Self::Unreachable) => Allowed,
            (Action::Stop | Action::Terminate, Self::Creating | Self::Destroying | Self::Incomplete) => {
                Already
            }

            // Who waits may have to ask inside.
            (Action::Enter | Action::Await, Self::Running) => Allowed,
            (Action::Enter | Action::Await, Self::Starting) => Wait,
            (Action::Enter | Action::Await, _) => Refused,

            // The kernel gives it to init; a frozen one takes it when it is thawed.
            (Action::Signal, Self::Running | Self::Frozen | Self::Unreachable) => Allowed,
            (Action::Signal, Self::Starting) => Wait,
            (Action::Signal, _) => Refused,

            (Action::Destroy, Self::Stopped | Self::Incomplete) => Allowed,
            (Action::Destroy, Self::Stopping) => Wait,
            (Action::Destroy, _) => Refused,

            (Action::Update, Self::Stopped | Self::Running) => Allowed,
            (Action::Update, Self::Starting | Self::Stopping) => Wait,
            (Action::Update, _) => Refused,

            (Action::Freeze, Self::Running) | (Action::Unfreeze, Self::Frozen) => Allowed,
            (Action::Freeze, Self::Frozen) | (Action::Unfreeze, Self::Running) => Already,
            (Action::Freeze | Action::Unfreeze, Self::Starting) => Wait,
            (Action::Freeze | Action::Unfreeze, _) => Refused,
        }
    }
}

words!(State {
    Stopped => "stopped",
    Starting => "starting",
    Running => "running",
    Frozen => "frozen",
    Stopping => "stopping",
    Unreachable => "unreachable",
    Creating => "creating",
    Destroying => "destroying",
    Incomplete => "incomplete",
});

impl State {
    /// As a sentence has it: it is ...
    pub(crate) fn words(self) -> String {
        match self {
            Self::Creating => "just being created".to_owned(),
            Self::Destroying => "just being destroyed".to_owned(),
            other => other.to_string(),
        }
    }
}

words!(Action {
    Start => "start",
    Stop => "stop",
    Terminate => "terminate",
    Enter => "enter",
    Signal => "signal",
    Await => "await",
    Destroy => "destroy",
    Update => "update",
    Freeze => "freeze",
    Unfreeze => "unfreeze",
});

impl Action {
    /// As a sentence has it before the container: cannot ...
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Signal => "send a signal to",
            Self::Await => "wait for",
            other => other.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_makes_or_removes_is_left_alone() {
        for state in [State::Creating, State::Destroying] {
            assert!(!state.is_live() && state.is_unfinished());
            for action in [Action::Start, Action::Enter, Action::Destroy, Action::Update, Action::Freeze] {
                assert_eq!(state.permits(action), Permission::Refused, "{state} {action}");
            }
        }
    }

    #[test]
    fn nothing_live_is_ever_destroyed_or_started_twice() {
        for state in [State::Starting, State::Running, State::Frozen, State::Stopping, State::Unreachable] {
            assert!(state.is_live());
            assert_ne!(state.permits(Action::Destroy), Permission::Allowed, "{state}");
            assert_ne!(state.permits(Action::Start), Permission::Allowed, "{state}");
        }
    }
}
