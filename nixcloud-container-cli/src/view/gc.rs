//! gc.

use nixcloud_container::Collected;
use serde::Serialize;

use super::{FailureView, View};
use crate::screen::printer::{Printer, Tone};

/// The generations that went, container by container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct GcView {
    /// Whether it is only told what would go.
    dry_run: bool,
    /// The containers that were looked at.
    containers: Vec<CollectedView>,
    /// Those of which nothing could go, and why.
    failed: Vec<UncollectedView>,
}

/// The generations of a container that went.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CollectedView {
    /// The container.
    name: String,
    /// Their numbers.
    deleted: Vec<u64>,
}

/// A container for which it did not work out.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UncollectedView {
    /// The container.
    name: String,
    /// Why.
    error: FailureView,
}

impl GcView {
    pub(crate) fn of(all: &[Collected], dry_run: bool) -> Self {
        let mut view = Self { dry_run, containers: Vec::new(), failed: Vec::new() };
        for Collected { name, outcome, .. } in all {
            let name = name.to_string();
            match outcome {
                Ok(deleted) => {
                    let deleted = deleted.iter().map(|id| id.get()).collect();
                    view.containers.push(CollectedView { name, deleted });
                }
                Err(error) => view.failed.push(UncollectedView { name, error: FailureView::of_error(error) }),
            }
        }
        view
    }

    /// Whether nothing failed.
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_empty()
    }
}

impl View for GcView {
    fn tell(&self, printer: &Printer) {
        let would = if self.dry_run { "would delete" } else { "deleted" };
        for CollectedView { name, deleted } in &self.containers {
            let ids: Vec<String> = deleted.iter().map(ToString::to_string).collect();
            match ids.as_slice() {
                [] => {}
                [id] => printer.result(format!("{would} generation {id} of {name}")),
                ids => printer.result(format!("{would} generations {} of {name}", ids.join(", "))),
            }
        }
        for UncollectedView { name, error } in &self.failed {
            error.tell_trouble(name, printer);
            if let Some(hint) = &error.hint {
                printer.labelled(Tone::Hint, "hint", hint);
            }
        }
        if self.failed.is_empty() && self.containers.iter().all(|of| of.deleted.is_empty()) {
            printer.result("all generations are worth keeping");
        }
    }
}
