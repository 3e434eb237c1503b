//! Giving things back: each step is done whatever became of the one before, and what stays behind is told at the end.

use crate::error::Error;
use crate::model::name::ContainerName;

/// What became of the steps.
#[derive(Debug)]
pub(crate) struct Freeing {
    name: ContainerName,
    failures: Vec<Error>,
}

impl Freeing {
    pub(crate) fn of(name: &ContainerName) -> Self {
        Self { name: name.clone(), failures: Vec::new() }
    }

    /// Notes what became of a step; says whether it succeeded.
    pub(crate) fn step<E: Into<Error>>(&mut self, result: Result<(), E>) -> bool {
        result.map_err(|error| self.failures.push(error.into())).is_ok()
    }

    /// Whether all steps succeeded.
    pub(crate) fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    /// All steps have been tried.
    pub(crate) fn end(mut self) -> Result<(), Error> {
        match self.failures.len() {
            0 => Ok(()),
            1 => Err(self.failures.swap_remove(0)),
            _ => Err(Error::Remains { name: self.name, failures: self.failures }),
        }
    }
}
