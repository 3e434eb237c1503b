//! A failure, in the order in which it is told: what, why, what Nix or LXC said about it, and how to go on.

use nixcloud_container::{Error, ErrorKind};
use serde::Serialize;

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
}

impl FailureView {
    /// Of an error of the library.
    pub(crate) fn of_error(error: &Error) -> Self {
        report::of_error(error)
    }
}

/// The kinds by name.
pub(crate) fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Permission => "permission",
        ErrorKind::NotFound => "not-found",
        ErrorKind::Exists => "exists",
        ErrorKind::Refused => "refused",
        ErrorKind::Busy => "busy",
        ErrorKind::Input => "input",
        ErrorKind::Build => "build",
        ErrorKind::Activation => "activation",
        ErrorKind::Host => "host",
        ErrorKind::Lxc => "lxc",
        ErrorKind::Timeout => "timeout",
        ErrorKind::Cancelled => "cancelled",
        _ => "system",
    }
}
