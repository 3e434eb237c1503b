//! What all guests together may use: the host keeps the rest for itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::hierarchies;
use super::naming::GUESTS;
use super::write_there;

/// The share of what guests may have from which on they are slowed down, where the kernel can: so many sixteenths.
const HIGH: u64 = 15;

/// The folder of all guests where memory is counted; `None` where nobody counts it.
fn folder() -> Option<PathBuf> {
    let mut found = hierarchies().filter(|(controllers, place)| {
        let v1 = controllers.split(',').any(|controller| controller == "memory");
        let v2 = || fs::read_to_string(place.join("cgroup.controllers")).unwrap_or_default();
        v1 || controllers.is_empty() && v2().split_whitespace().any(|controller| controller == "memory")
    });
    found.next().map(|(_, place)| place.join(GUESTS))
}

/// Holds all guests together to so much memory, in bytes; `None` takes such a limit away. LXC makes the cgroup where it is not
/// there: this is done before it does. Nothing is done where nobody counts memory.
///
/// # Errors
/// The kernel's refusal. On v1 it refuses less than guests use, and they keep what they had.
pub fn hold_together(most: Option<u64>) -> io::Result<()> {
    let Some(folder) = folder() else { return Ok(()) };
    if !folder.is_dir() {
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    let text =
        |bytes: Option<u64>, none: &str| bytes.map_or_else(|| none.to_owned(), |bytes| bytes.to_string());
    let v1 = folder.join("memory.limit_in_bytes");
    if v1.exists() {
        return set(&v1, &text(most, "-1"));
    }
    let v2 = folder.join("memory.max");
    if !v2.exists() {
        // The controller is not handed on to cgroups of this place yet.
        let place = folder.parent().unwrap_or(&folder);
        write_there(&place.join("cgroup.subtree_control"), "+memory")?;
    }
    set(&folder.join("memory.high"), &text(most.map(|most| most / 16 * HIGH), "max"))?;
    set(&v2, &text(most, "max"))
}

/// Writes a limit where it is another.
fn set(file: &Path, value: &str) -> io::Result<()> {
    if fs::read_to_string(file)?.trim() == value {
        return Ok(());
    }
    write_there(file, value)
}

/// Takes the cgroup of all guests away, on all hierarchies, if none is left. Says whether there was one.
pub fn forget_together() -> bool {
    let folders: Vec<PathBuf> = hierarchies().map(|(_, place)| place.join(GUESTS)).collect();
    // The kernel refuses where a guest is in it.
    folders.into_iter().filter(|folder| fs::remove_dir(folder).is_ok()).count() > 0
}

/// The memory, in bytes, that all guests together may have by now.
#[must_use]
pub fn held_together() -> Option<u64> {
    let folder = folder()?;
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok()?.trim().parse::<u64>().ok();
    read("memory.max").or_else(|| read("memory.limit_in_bytes")).filter(|most| *most < 1 << 62)
}

/// The memory of this host, in bytes.
#[must_use]
pub fn memory_of_host() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}
