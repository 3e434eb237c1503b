//! What a change of a container would come to, in words: the verdict, what changes of its file, what becomes of its units.

use crate::model::setters::setters;
use crate::model::words::words;

/// How a planned change takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlanVerdict {
    /// There is nothing to do.
    Nothing,
    /// There is no such container: it is created.
    Create,
    /// Only remains of the container are there, of a creation or removal that was cut off: it is made anew.
    Recreate,
    /// The container does not run: it boots the generation at its next start.
    NextStart,
    /// All of it takes effect in the running guest.
    Live,
    /// A part of it, or all, takes effect when the guest is started again.
    Restart,
    /// The guest refuses to be switched, so that the generation before would be put back.
    Refused,
}

words!(PlanVerdict {
    Nothing => "nothing",
    Create => "create",
    Recreate => "recreate",
    NextStart => "next_start",
    Live => "live",
    Restart => "restart",
    Refused => "refused",
});

/// A key of the container file, beside its NixOS configuration, that has another value; or an LXC configuration item that is
/// given beside the file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct KeyChange {
    /// The key: `resources.memory`, `lxc.uts.name`.
    pub key: String,
    /// Its value before; `None` where it had none.
    pub from: Option<String>,
    /// Its value then.
    pub to: Option<String>,
}

setters!(KeyChange: "A key that has no value." (key: String) {
    with_from => from: Option<String>,
    with_to => to: Option<String>,
});

/// What a switch would do to the units of a running guest, in the guest's own words: nothing holds it to them. Each list has 4096
/// names at most, which are names that systemd allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct UnitPlan {
    /// Units that are stopped and not started again.
    pub stop: Vec<String>,
    /// Units that are started.
    pub start: Vec<String>,
    /// Units that are restarted, or stopped before the activation and started after it.
    pub restart: Vec<String>,
    /// Units that are reloaded.
    pub reload: Vec<String>,
    /// Units that changed and ask to be left alone.
    pub keep: Vec<String>,
}

setters!(UnitPlan: "No unit is touched." {
    with_stop => stop: Vec<String>,
    with_start => start: Vec<String>,
    with_restart => restart: Vec<String>,
    with_reload => reload: Vec<String>,
    with_keep => keep: Vec<String>,
});

impl UnitPlan {
    /// Whether no unit is touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { stop, start, restart, reload, keep } = self;
        [stop, start, restart, reload, keep].iter().all(|units| units.is_empty())
    }
}

/// What is known of the units of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PlannedUnits {
    /// The guest was not asked: it does not run, or the plan was to look from outside alone.
    #[default]
    Unasked,
    /// What the guest says.
    Told(UnitPlan),
    /// The guest says that its init cannot be switched to that system: it has to boot it.
    NeedsRestart,
    /// A check of the system that comes before a switch refuses it.
    #[non_exhaustive]
    Refused {
        /// What the guest says of it, at most 256 characters.
        line: String,
    },
    /// The guest gave no answer that could be understood.
    #[non_exhaustive]
    Unknown {
        /// Why, at most 256 characters of it the guest's.
        why: String,
    },
}
