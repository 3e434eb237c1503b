//! repair.

use std::path::PathBuf;

use nixcloud_container::{Repair, RepairOutcome};
use serde::Serialize;

use super::{FailureView, View, spelled};
use crate::cli::RepairArgs;
use crate::screen::printer::{Printer, Tone};

/// What was wrong with containers, and what became of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RepairView {
    /// The container that was asked for; null where it was all of them.
    name: Option<String>,
    /// Whether it was only to be said.
    dry_run: bool,
    /// What was wrong, in the order in which it was seen to.
    repairs: Vec<RepairedView>,
}

/// Something that was wrong.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RepairedView {
    /// The container; null of a claim that names none.
    name: Option<String>,
    /// The file or folder.
    path: PathBuf,
    /// What is wrong with it.
    what: String,
    /// What mends it.
    mend: String,
    /// `mended`, `planned` (it was only to be said), `left` (it is for the user to do) or `failed`.
    outcome: &'static str,
    /// Why it could not be mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<FailureView>,
}

impl RepairView {
    pub(crate) fn of(args: &RepairArgs, repairs: &[Repair]) -> Self {
        let view = |repair: &Repair| {
            let (outcome, error) = match &repair.outcome {
                RepairOutcome::Mended => ("mended", None),
                RepairOutcome::Planned => ("planned", None),
                RepairOutcome::Left => ("left", None),
                RepairOutcome::Failed(error) => ("failed", Some(FailureView::of_error(error))),
                _ => ("unknown", None),
            };
            RepairedView {
                name: repair.name.as_ref().map(ToString::to_string),
                path: repair.path.clone(),
                what: repair.what.clone(),
                mend: spelled(&repair.mend),
                outcome,
                error,
            }
        };
        Self {
            name: args.name.as_ref().map(ToString::to_string),
            dry_run: args.dry_run,
            repairs: repairs.iter().map(view).collect(),
        }
    }

    /// Whether nothing is left to do but what was only to be said.
    pub(crate) fn is_good(&self) -> bool {
        self.repairs.iter().all(|repair| matches!(repair.outcome, "mended" | "planned"))
    }
}

impl View for RepairView {
    fn tell(&self, printer: &Printer) {
        for repair in &self.repairs {
            let path = repair.path.display();
            let fault = format!("{path} {}", repair.what);
            match (repair.outcome, &repair.error) {
                (_, Some(error)) => error.tell_trouble(&fault, printer),
                ("left", None) => {
                    printer.labelled(Tone::Error, "error", &fault);
                    printer.labelled(Tone::Hint, "hint", &repair.mend);
                }
                ("planned", None) => printer.result(format!("to mend: {fault}: {}", repair.mend)),
                _ => printer.result(format!("mended: {fault}: {}", repair.mend)),
            }
        }
        if self.repairs.is_empty() {
            printer.result(match &self.name {
                Some(name) => format!("nothing is wrong with what is kept of {name}"),
                None => "nothing is wrong with what is kept of containers".to_owned(),
            });
        }
    }
}
