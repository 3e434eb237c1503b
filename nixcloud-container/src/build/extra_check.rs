//! What liblxc makes of the lines of a container file: asked in a worker, before anything is changed.

use std::time::Duration;

use crate::error::Error;
use crate::fs::error::FileError;
use crate::model::config::HostConfig;
use crate::model::log_level::Level;
use crate::model::observe::Cancel;
use crate::model::spec::ContainerSpec;
use crate::render;
use crate::worker::{Answer, Client, LogFile, LogRequest, Request, Stdio, WorkerError};

/// How long liblxc may take to look at a few lines.
const CHECK: Duration = Duration::from_secs(20);

/// Lets liblxc look at the lines of the container file, and at the items beside it.
pub(crate) fn require(
    worker: &Client,
    items: &[(String, String)],
    log: &LogRequest,
    cancel: &Cancel,
) -> Result<(), Error> {
    match refused(worker, items, log, cancel)? {
        Some((key, value, why)) => Err(Error::ExtraRefused { key, value, why }),
        None => Ok(()),
    }
}

/// The one check of what a container file says for LXC, and of the items beside it, by our rules and by liblxc, where there is
/// no container yet.
pub(crate) fn of_file(
    worker: &Client,
    config: &HostConfig,
    spec: &ContainerSpec,
    items: &[(String, String)],
    cancel: &Cancel,
) -> Result<(), Error> {
    let lines = render::check_extra(spec, items, config)?;
    require(worker, &lines, &LogRequest::default(), cancel)
}

/// The first item that liblxc would not take, and why.
pub(crate) fn refused(
    worker: &Client,
    items: &[(String, String)],
    log: &LogRequest,
    cancel: &Cancel,
) -> Result<Option<(String, String, String)>, Error> {
    if items.is_empty() && log.file.is_none() {
        return Ok(None);
    }
    let log = match &log.file {
        Some(path) => Some(LogFile {
            // The worker has another current directory.
            path: std::path::absolute(path).map_err(FileError::at("resolve", path))?,
            level: log.level.unwrap_or(Level::Warn),
            anew: false,
        }),
        None => None,
    };
    let request = Request::Check { items: items.to_vec(), log };
    match worker.call(&request, Stdio::Null, Some(CHECK), cancel)? {
        Answer::Checked { refused } => Ok(refused.into_iter().next()),
        other => Err(Error::Worker(WorkerError::NoAnswer { status: format!("it said {other:?}") })),
    }
}
