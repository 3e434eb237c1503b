//! The lock of a container, held by an operation that the journal tells of.

use crate::fs::lock::Lock;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::occurrence::Operation;
use crate::store::journal::{self, Note};

/// A container's lock. It is freed when this is dropped, and the journal says before that it is.
#[derive(Debug)]
#[must_use = "the lock is freed when this is dropped"]
pub(crate) struct Held {
    layout: Layout,
    name: ContainerName,
    /// Freed behind the note.
    _lock: Lock,
}

impl Held {
    /// Notes who has it.
    pub(super) fn by(layout: &Layout, name: &ContainerName, operation: Operation, lock: Lock) -> Self {
        journal::note(layout, name, Note::Begun { operation, pid: std::process::id() });
        Self { layout: layout.clone(), name: name.clone(), _lock: lock }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        journal::note(&self.layout, &self.name, Note::Done);
    }
}
