//! Waiting for a guest's end, by the kernel's word alone: nobody looks again and again, and no lock is taken.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::fs::lock::{self, Place};
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::ready::GuestEnd;
use crate::ops::power::StopOutcome;
use crate::ops::waiting;
use crate::store::presence;
use crate::store::record::{Record, Run};
use crate::sys::pidfd::PidFd;
use crate::sys::proc;

/// Waits until nothing of a container runs. A guest that reboots from inside has not ended.
pub(crate) fn wait_stopped(
    host: &Host,
    name: &ContainerName,
    limit: Option<Duration>,
    cancel: &Cancel,
) -> Result<StopOutcome, Error> {
    let record = host.record(name)?;
    let begin = Instant::now();
    let limit = limit.unwrap_or(Duration::MAX);
    let mut here = presence::look_on(&host.layout, &record)?;
    if !here.state.is_live() {
        return Ok(StopOutcome::NotRunning);
    }
    loop {
        // LXC's monitor outlives a reboot, and is the last to go. Where it was killed, its guest lives on.
        let last = here.monitor.or(here.init).map(PidFd::open).transpose().map_err(proc::unreadable)?;
        match last.flatten() {
            Some(pidfd) => {
                let left = limit.saturating_sub(begin.elapsed());
                if !pidfd.wait(left, &|| cancel.is_cancelled()).map_err(proc::unreadable)? {
                    waiting::within(&record.name, here.state, begin, limit, cancel)?;
                }
            }
            // It starts, or its last process has ended just now.
            None => waiting::pause(&record.name, here.state, begin, limit, cancel)?,
        }
        here = presence::look_on(&host.layout, &record)?;
        if !here.state.is_live() {
            return Ok(StopOutcome::Stopped);
        }
    }
}

/// How a guest ended that was waited for until just now: whoever ends one holds its lock, and forgets its boot before giving it
/// back. The note of the boot of one that ended by itself stays until the next operation.
pub(crate) fn how(host: &Host, record: &Record) -> GuestEnd {
    if is_operated(host, record) {
        return GuestEnd::Operation;
    }
    let run =
        proc::boot_id().ok().and_then(|boot| Run::load(&host.layout, &record.name, &boot).ok()).flatten();
    if run.is_some() { GuestEnd::Itself } else { GuestEnd::Unknown }
}

/// Whether an operation is at it.
pub(crate) fn is_operated(host: &Host, record: &Record) -> bool {
    let (file, folder) = (host.layout.container_lock(&record.name), host.layout.container_dir(&record.name));
    lock::is_held(Place { file: &file, folder: Some(&folder) })
}
