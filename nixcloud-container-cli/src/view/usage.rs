//! What a running guest uses, and what it is held to.

use nixcloud_container::resources::{Measured, Usage};
use serde::Serialize;

/// What the running guest uses beside what it is held to; what the kernel does not count is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct UsageView {
    /// Memory, in bytes: used without the page cache that has not been used for a while.
    memory: MeasuredView,
    /// Swap space, in bytes.
    swap: MeasuredView,
    /// Processes and threads.
    pids: MeasuredView,
    /// Processor time since it was started, in microseconds.
    cpu_microseconds: Option<u64>,
    /// The processor time that it may have, in thousandths of a processor.
    cpus: Option<u64>,
    /// Bytes read from block devices.
    read_bytes: Option<u64>,
    /// Bytes written to block devices.
    written_bytes: Option<u64>,
    /// The share of the last ten seconds in which something in it waited, in percent, where the kernel says.
    pressure: Option<PressureView>,
}

/// A figure and its limit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MeasuredView {
    /// What is used.
    used: Option<u64>,
    /// What may be used; null where there is no limit.
    most: Option<u64>,
}

/// Waiting for what is short.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PressureView {
    /// For a processor.
    cpu: f64,
    /// For memory.
    memory: f64,
    /// For block devices.
    io: f64,
}

impl From<&Usage> for UsageView {
    fn from(usage: &Usage) -> Self {
        let measured = |Measured { used, most, .. }: Measured| MeasuredView { used, most };
        Self {
            memory: measured(usage.memory),
            swap: measured(usage.swap),
            pids: measured(usage.pids),
            cpu_microseconds: usage.cpu_microseconds,
            cpus: usage.cpus,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            pressure: usage.pressure.map(|pressure| PressureView {
                cpu: pressure.cpu,
                memory: pressure.memory,
                io: pressure.io,
            }),
        }
    }
}
