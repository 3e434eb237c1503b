//! A failure, in the order in which it is told: what, why, what Nix or LXC said about it, and how to go on.

use nixcloud_container::{Error, FailedActivation};
use serde::Serialize;

use super::HostView;
use super::container::Pending;
use crate::report;

/// What is printed, on stdout, where a command fails with `--json`: `{"error": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureView {
    /// What a program would do about it: `permission`, `not-found`, `exists`, `refused`, `busy`, `input`, `build`,
    /// `activation`, `host`, `lxc`, `timeout`, `cancelled`, `usage` or `system`.
    pub(crate) kind: &'static str,
    /// What failed.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// Nix's or LXC's own words, line by line.
    pub(crate) details: Vec<String>,
    /// What was put back.
    pub(crate) note: Option<String>,
    /// How to go on.
    pub(crate) hint: Option<String>,
    /// What became of a generation that did not work out in the running guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activation: Option<Box<ActivationView>>,
    /// What of the host was changed all the same, where some of its parts could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<HostView>,
}

/// An activation that did not work out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ActivationView {
    /// The generation that was to be activated.
    generation: u64,
    /// `failed`, `units-failed`, `needs-restart` or `killed`.
    outcome: &'static str,
    /// The exit code of `switch-to-configuration`.
    code: Option<i32>,
    /// The units that failed.
    units: Vec<String>,
    /// The generation that was put back and activated again; null where the new one stays.
    restored: Option<u64>,
    /// What of LXC's side waits for a restart, where the new generation stays.
    pub(crate) pending_restart: Vec<Pending>,
}

impl ActivationView {
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Error::Activation { generation, outcome, restored, pending_restart, .. } = error else {
            return None;
        };
        let (outcome, code, units) = match outcome {
            FailedActivation::Failed { code } => ("failed", Some(*code), Vec::new()),
            FailedActivation::UnitsFailed { units } => ("units-failed", Some(4), units.clone()),
            FailedActivation::NeedsRestart => ("needs-restart", Some(100), Vec::new()),
            _ => ("killed", None, Vec::new()),
        };
        Some(Self {
            generation: generation.get(),
            outcome,
            code,
            units,
            restored: restored.map(nixcloud_container::GenerationId::get),
            pending_restart: pending_restart.iter().map(Pending::from).collect(),
        })
    }
}

impl FailureView {
    /// Of an error of the library.
    pub(crate) fn of_error(error: &Error) -> Self {
        report::of_error(error)
    }
}
