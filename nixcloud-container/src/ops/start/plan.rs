//! A request, judged before anything is changed.

use std::io;
use std::path::{Path, PathBuf};

use super::StartRequest;
use crate::build::extra_check;
use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::log_level::Level;
use crate::model::name::ContainerName;
use crate::model::namespace::Namespace;
use crate::model::observe::Cancel;
use crate::render::{self, ItemError, LockedSource};
use crate::store::presence;
use crate::sys::proc::FileId;
use crate::worker::{LogFile, LogRequest};

/// The item that says what the guest's console is shown on.
const CONSOLE: &str = "lxc.console.path";

/// How large a console log may grow; there can be one more, `.1`.
const CONSOLE_LOG: &str = "4MB";

/// What a request comes to, with its paths made absolute: the worker has another current directory.
pub(super) struct BootPlan {
    pub(super) items: Vec<(String, String)>,
    pub(super) sources: Vec<LockedSource>,
    pub(super) pidfile: Option<PathBuf>,
    pub(super) log: LogFile,
}

impl BootPlan {
    /// Judges a request. Nothing has been changed yet.
    pub(super) fn new(
        host: &Host,
        name: &ContainerName,
        request: &StartRequest,
        cancel: &Cancel,
    ) -> Result<Self, Error> {
        let mut sources = Vec::new();
        let items = render::items(&request.items, &host.config, &host.layout.locked(name), &mut sources)?;
        check_items(host, &items, cancel)?;
        let mut plan = Self {
            items,
            sources,
            pidfile: request.pidfile.as_deref().map(absolute).transpose()?,
            log: LogFile {
                path: request.log.file.as_deref().map_or_else(|| Ok(host.layout.lxc_log(name)), absolute)?,
                level: request.log.level.unwrap_or(Level::Warn),
                anew: request.log.file.is_none(),
            },
        };
        plan.console(request)?;
        for (namespace, with) in &request.share {
            plan.items.push(share(host, name, *namespace, with)?);
        }
        if let Some(folder) = plan.pidfile.as_deref().and_then(Path::parent)
            && !folder.is_dir()
        {
            let source: std::io::Error = std::io::ErrorKind::NotFound.into();
            return Err(FileError::new("find the pidfile's folder", folder, source).into());
        }
        Ok(plan)
    }

    fn console(&mut self, request: &StartRequest) -> Result<(), Error> {
        let mut item = |key: &str, value: &str| self.items.push((key.to_owned(), value.to_owned()));
        if let Some(console) = &request.console {
            let path = if console == Path::new("none") { console.clone() } else { absolute(console)? };
            let value = text(&path)?;
            if request.foreground {
                let why = "in the foreground the console is shown here".to_owned();
                return Err(ItemError { key: CONSOLE.to_owned(), value, why }.into());
            }
            item(CONSOLE, &value);
        }
        if let Some(log) = &request.console_log {
            item("lxc.console.logfile", &text(&absolute(log)?)?);
            // The guest decides what is in it, and how much: then it is turned over, once.
            item("lxc.console.size", CONSOLE_LOG);
            item("lxc.console.rotate", "1");
        }
        Ok(())
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    Ok(std::path::absolute(path).map_err(FileError::at("resolve", path))?)
}

fn text(path: &Path) -> Result<String, Error> {
    let not_text = || FileError::new("tell LXC of", path, std::io::Error::other("it is not UTF-8"));
    Ok(path.to_str().map(str::to_owned).ok_or_else(not_text)?)
}

/// Lets liblxc look at the items.
fn check_items(host: &Host, items: &[(String, String)], cancel: &Cancel) -> Result<(), Error> {
    match extra_check::refused(&host.worker, items, &LogRequest::default(), cancel)? {
        Some((key, value, why)) => Err(ItemError { key, value, why }.into()),
        None => Ok(()),
    }
}

/// The item for a shared namespace, by the pid of a process that has it.
fn share(
    host: &Host,
    name: &ContainerName,
    namespace: Namespace,
    with: &str,
) -> Result<(String, String), Error> {
    let refuse = |why: String| Error::Share { namespace: namespace.as_str(), with: with.to_owned(), why };
    let why = match namespace {
        Namespace::Ipc | Namespace::Uts => None,
        Namespace::Net => Some("the guest has ids of its own, and with them no right to mount /sys there"),
        Namespace::Pid => Some("the guest has ids of its own, and with them no right to mount /proc there"),
        Namespace::Mount | Namespace::User | Namespace::Cgroup => {
            Some("it is what makes a container of the guest")
        }
    };
    if let Some(why) = why {
        return Err(refuse(format!("{why}; `ipc` and `uts` can be shared")));
    }
    let pid = match with.parse::<i32>() {
        Ok(pid) => pid,
        Err(_) => {
            let other: ContainerName = with.parse().map_err(|error| refuse(format!("{error}")))?;
            if other == *name {
                return Err(refuse("it is this container itself".to_owned()));
            }
            let here = presence::look(&host.layout, &host.record(&other)?)?;
            let init = here.init.filter(|_| here.state.is_live());
            init.ok_or_else(|| refuse(format!("the container is {}", here.state)))?.pid
        }
    };
    let of = |pid: &str| FileId::of(Path::new(&format!("/proc/{pid}/ns/{}", namespace.as_str())));
    let theirs = of(&pid.to_string()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse("there is no such process".to_owned()),
        _ => refuse(format!("the kernel does not show it: {error}")),
    })?;
    let key = format!("lxc.namespace.share.{}", namespace.as_str());
    if of("thread-self").is_ok_and(|ours| ours == theirs) && !render::allows(&host.config, &key) {
        let why =
            format!("it is the host's own; the host configuration can allow it (`allow_lxc_keys`: `{key}`)");
        return Err(refuse(why));
    }
    Ok((key, pid.to_string()))
}
