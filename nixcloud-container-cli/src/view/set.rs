//! set.

use nixcloud_container::Status;
use serde::Serialize;

use super::View;
use super::usage::UsageView;
use crate::cli::SetArgs;
use crate::screen::printer::Printer;

/// Limits that were set by hand.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SetView {
    /// The container.
    name: String,
    /// What was set.
    set: Vec<SetLimit>,
    /// Whether it outlives the generation.
    keep: bool,
    /// What the running guest uses and may use; null where none runs.
    usage: Option<UsageView>,
}

/// A limit.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SetLimit {
    /// The key, below `resources`.
    key: String,
    /// Its value as it was typed.
    value: String,
}

impl SetView {
    pub(crate) fn of(args: &SetArgs, status: &Status) -> Self {
        let limit = |(key, value): &(String, String)| SetLimit { key: key.clone(), value: value.clone() };
        Self {
            name: args.name.to_string(),
            set: args.limits.iter().map(limit).collect(),
            keep: args.keep,
            usage: status.usage.as_ref().map(UsageView::from),
        }
    }
}

impl View for SetView {
    fn tell(&self, printer: &Printer) {
        let until = if self.keep { "for good" } else { "until the next generation" };
        let when = if self.usage.is_some() { "now" } else { "from the next start on" };
        if self.set.is_empty() {
            return printer.result(format!("{} has the limits of its generation {when}", self.name));
        }
        for SetLimit { key, value } in &self.set {
            let text = if value == "none" { format!("no limit of {key}") } else { format!("{key} {value}") };
            printer.result(format!("{} has {text} {when}, {until}", self.name));
        }
    }
}
