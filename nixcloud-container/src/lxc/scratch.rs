//! Asking liblxc whether it would take configuration lines, without a container.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::handle::Handle;
use super::token::Worker;

/// Setting this key opens (and makes) the file that it names, at once.
const OPENS_A_FILE: &str = "lxc.log.file";

/// The name of the container that there is not.
const NAME: &str = "check";

/// A line that liblxc would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// Why: liblxc's own words where it has some.
    pub why: String,
}

/// Sets each line, in order, on a handle of no container, and gives back those that liblxc refuses. No file is
/// left. What liblxc takes may still be unwise: it has no objection to an empty `lxc.idmap`.
///
/// `lxc.include` is read, from this process's current directory if relative. `lxc.log.file` is only looked at, as liblxc
/// would make the file.
///
/// # Errors
/// When no handle can be had.
pub fn check<K: AsRef<str>, V: AsRef<str>>(
    worker: &Worker,
    lines: &[(K, V)],
) -> Result<Vec<Rejected>, Error> {
    // Held from before liblxc makes it until after the handle is gone.
    let lock = LockDirectory::new();
    let mut handle = Handle::open(worker, &lock.lxc_path, NAME)?;
    let mut rejected = Vec::new();
    for (key, value) in lines {
        let (key, value) = (key.as_ref(), value.as_ref());
        if let Some(why) = try_line(&mut handle, key, value) {
            rejected.push(Rejected { key: key.to_owned(), value: value.to_owned(), why });
        }
    }
    drop(handle);
    drop(lock);
    Ok(rejected)
}

fn try_line(handle: &mut Handle<'_>, key: &str, value: &str) -> Option<String> {
    // Through the API they would pass; in the file they would end the line.
    if value.contains(['\n', '\r', '\0']) {
        return Some("the value does not fit on one line".to_owned());
    }
    let Ok(c_key) = CString::new(key) else { return Some("the key has a NUL byte in it".to_owned()) };
    if key == OPENS_A_FILE {
        return (!Path::new(value).is_absolute()).then(|| "the path is not absolute".to_owned());
    }
    match handle.set_config_item(key, value) {
        Ok(()) => None,
        Err(Error::Failed { reason, .. }) if !reason.records().is_empty() => Some(reason.to_string()),
        Err(_) if is_unknown(handle, &c_key) => Some(format!("this liblxc has no key {key:?}")),
        Err(_) => Some("liblxc does not take this value".to_owned()),
    }
}

/// Keys that go on with a number or a name of the kernel's: liblxc says of all of them that it does not support them,
/// and takes them.
const OPEN_ENDED: &[&str] =
    &["lxc.net.", "lxc.cgroup.", "lxc.cgroup2.", "lxc.prlimit.", "lxc.sysctl.", "lxc.proc."];

fn is_unknown(handle: &Handle<'_>, key: &CStr) -> bool {
    !handle.supports(key) && !OPEN_ENDED.iter().any(|start| key.to_bytes().starts_with(start.as_bytes()))
}

/// An LXC path that is nowhere. liblxc makes a directory for its lock all the same, which goes with this value.
///
/// The directories above (`/run/lxc/lock`) stay: another process may be making its own below them just now.
struct LockDirectory {
    lxc_path: PathBuf,
    lock: PathBuf,
}

impl LockDirectory {
    fn new() -> Self {
        let name = format!("nixcloud-container-check-{}", std::process::id());
        Self { lxc_path: Path::new("/").join(&name), lock: Path::new("/run/lxc/lock").join(name) }
    }
}

impl Drop for LockDirectory {
    fn drop(&mut self) {
        // Best effort: an empty directory that stays harms nobody.
        drop(fs::remove_file(self.lock.join(format!(".{NAME}"))));
        drop(fs::remove_dir(&self.lock));
    }
}
