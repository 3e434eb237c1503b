//! An operation that failed, and what undoing it came to.

use super::Error;

impl Error {
    /// Keeps both failures where undoing failed too.
    pub(crate) fn undone(self, undo: Result<(), Self>) -> Self {
        match undo {
            Ok(()) => self,
            Err(undo) => Self::Undo { failure: Box::new(self), undo: Box::new(undo) },
        }
    }
}
