//! kill.

use nixcloud_container::{ContainerName, Signal};
use serde::Serialize;

use super::View;
use crate::screen::printer::Printer;

/// A signal that was sent.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct KillView {
    /// The container.
    name: String,
    /// The signal's name, as `SIGTERM` or `SIGRTMIN+3`.
    signal: String,
    /// Its number.
    number: i32,
    /// The init that it was sent to, in the host's pid namespace.
    init_pid: i32,
}

impl KillView {
    pub(crate) fn new(name: &ContainerName, signal: Signal, init_pid: i32) -> Self {
        Self { name: name.to_string(), signal: signal.to_string(), number: signal.number(), init_pid }
    }
}

impl View for KillView {
    fn tell(&self, printer: &Printer) {
        printer.result(format!("sent {} to {}", self.signal, self.name));
    }
}
