//! destroy.

use nixcloud_container::{ContainerName, Error};
use serde::Serialize;

use super::{FailureView, View};
use crate::screen::printer::Printer;

/// A container that is no more.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Destroyed {
    /// The name it had.
    pub(crate) name: String,
    /// Always true: it is gone, with all its generations.
    pub(crate) destroyed: bool,
}

impl View for Destroyed {
    fn tell(&self, printer: &Printer) {
        printer.result(format!("destroyed {}", self.name));
    }
}

/// What became of several containers that were to be destroyed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DestroyedAll {
    /// How many are not gone.
    failed: usize,
    /// The containers by name.
    containers: Vec<OneDestroyed>,
}

/// What became of one of them.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OneDestroyed {
    /// Its name.
    name: String,
    /// Whether it is gone, with all its generations and files.
    destroyed: bool,
    /// Why it is not.
    error: Option<FailureView>,
}

impl DestroyedAll {
    pub(crate) fn of(all: &[(ContainerName, Result<(), Error>)]) -> Self {
        let one = |(name, outcome): &(ContainerName, Result<(), Error>)| OneDestroyed {
            name: name.to_string(),
            destroyed: outcome.is_ok(),
            error: outcome.as_ref().err().map(FailureView::of_error),
        };
        let failed = all.iter().filter(|(_, outcome)| outcome.is_err()).count();
        Self { failed, containers: all.iter().map(one).collect() }
    }

    /// Whether all are gone.
    pub(crate) fn is_good(&self) -> bool {
        self.failed == 0
    }
}

impl View for DestroyedAll {
    fn tell(&self, printer: &Printer) {
        for one in &self.containers {
            match &one.error {
                None => printer.result(format!("destroyed {}", one.name)),
                Some(error) => error.tell_of(&one.name, &[], printer),
            }
        }
        let gone = self.containers.len() - self.failed;
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        printer.result(format!("{gone} destroyed{failed}"));
    }
}
