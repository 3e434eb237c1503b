//! lxcfs, a program of the host's that shows each guest its own size. It is asked from afar: where it hangs, whoever looks at one
//! of its files does.

use std::time::Duration;

use crate::error::Error;
use crate::fs::mounts;
use crate::host::Host;
use crate::model::observe::Cancel;
use crate::worker::{Answer, Request, Stdio, WorkerError};

/// How long it may take to say what it offers.
const LIMIT: Duration = Duration::from_secs(2);

/// What there is of it.
#[derive(Debug)]
pub(crate) enum Lxcfs {
    /// It is not mounted.
    Absent,
    /// It answers, and these paths of it stand for the same ones below a guest's root.
    Offers(Vec<String>),
    /// It is mounted and no good: it hangs, or has ended.
    Fails(String),
}

/// Looks at the table of mounts, and asks only who is there.
pub(crate) fn look(host: &Host, cancel: &Cancel) -> Result<Lxcfs, Error> {
    let place = &host.config.paths.lxcfs;
    if !mounts::has_fuse(place) {
        return Ok(Lxcfs::Absent);
    }
    let place = place.clone();
    let shown = place.display().to_string();
    match host.worker.call(&Request::Lxcfs { place }, Stdio::Null, Some(LIMIT), cancel) {
        Ok(Answer::Lxcfs { paths }) => Ok(Lxcfs::Offers(paths)),
        Ok(other) => Err(other.unexpected().into()),
        Err(WorkerError::Deadline { limit }) => {
            Ok(Lxcfs::Fails(format!("lxcfs at {shown} does not answer within {} s", limit.as_secs())))
        }
        Err(WorkerError::Lxc { what, .. }) => Ok(Lxcfs::Fails(format!("lxcfs at {shown} fails: {what}"))),
        Err(failure) => Err(failure.into()),
    }
}
