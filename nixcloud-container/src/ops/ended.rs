//! Waiting for a guest's end, by the kernel's word alone: nobody looks again and again, and no lock is taken.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::End;
use crate::ops::power::StopOutcome;
use crate::ops::waiting;
use crate::ops::watch;
use crate::store::journal::{self, Note};
use crate::store::presence;
use crate::sys::pidfd::{PidFd, Told};
use crate::sys::proc::{self, Process};

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

/// How a guest ended whose init was held: what operations noted that they asked it for, and what the kernel tells of it.
pub(crate) fn how(host: &Host, name: &ContainerName, init: Process, held: Option<&PidFd>) -> End {
    let told = held.map(PidFd::told).and_then(|told| match told {
        Told::Exit(ended) => Some(ended),
        _ => None,
    });
    let (lines, _) = journal::Reader::new(&host.layout).read();
    let asked = lines.into_iter().rev().find_map(|line| match line.note {
        Note::Asked { init: asked, wish } if line.name == *name && asked == init => Some(wish),
        _ => None,
    });
    watch::judged(asked, told, false)
}
