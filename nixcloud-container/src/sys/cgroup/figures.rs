//! What the files of a guest's cgroups say, and what is written into them once it has them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::naming::{PAYLOAD, is_payload};
use super::{Membership, memberships};

/// Keeps a guest, whose init this is, from making cgroups without end. On cgroup v2 it may make `most`, nested `depth` deep:
/// LXC itself sets such limits only where there is no v1 beside. Below controllers of v1, which have no such limit and whose
/// numbers all guests share (65,535 for memory), it makes none: LXC has given them to the guest's root by its group. What is
/// the guest's own is the unified hierarchy and `name=systemd`, which has no controller.
///
/// # Errors
/// When it cannot be done.
pub fn keep_controllers(init: i32, most: u32, depth: u32) -> io::Result<()> {
    for Membership { controllers, mount, path } in memberships(&init.to_string())? {
        // Whatever LXC did not move it from is the host's.
        let ours =
            path.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(PAYLOAD.as_bytes()));
        if controllers.starts_with("name=") || !ours {
            continue;
        }
        let folder = mount.join(path);
        if controllers.is_empty() {
            fs::write(folder.join("cgroup.max.descendants"), most.to_string())?;
            fs::write(folder.join("cgroup.max.depth"), depth.to_string())?;
            continue;
        }
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

/// The memory, in bytes, that the payload among `cgroups` needs: what it is charged with, without the page cache that has
/// not been used for a while. That is the working set as other tools count it; the kernel takes the rest back as soon as
/// anybody needs it. `None` where no controller counts memory.
#[must_use]
pub fn memory_of(cgroups: &[PathBuf]) -> Option<u64> {
    payloads_among(cgroups).find_map(|cgroup| {
        let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok();
        // On cgroup v1, of which a hybrid host has the controllers, the plain names in memory.stat are of the cgroup
        // itself; those of a tree begin with `total_`. On v2 all are of the tree.
        let (usage, inactive) = match read("memory.current") {
            Some(usage) => (usage, "inactive_file"),
            None => (read("memory.usage_in_bytes")?, "total_inactive_file"),
        };
        let cache = read("memory.stat").and_then(|stat| stat_line(&stat, inactive));
        // The two files are not read at one instant.
        Some(usage.trim().parse::<u64>().ok()?.saturating_sub(cache.unwrap_or(0)))
    })
}

/// A line of memory.stat.
fn stat_line(stat: &str, name: &str) -> Option<u64> {
    let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

/// The swap space, in bytes, likewise.
#[must_use]
pub fn swap_of(cgroups: &[PathBuf]) -> Option<u64> {
    payloads_among(cgroups).find_map(|cgroup| {
        // v1 has it as a line among others; the difference of its two counters can be negative.
        let v2 = || fs::read_to_string(cgroup.join("memory.swap.current")).ok();
        let v1 = || {
            let stat = fs::read_to_string(cgroup.join("memory.stat")).ok()?;
            stat.lines().find_map(|line| line.strip_prefix("swap ").map(str::to_owned))
        };
        v2().or_else(v1)?.trim().parse().ok()
    })
}

pub(super) fn payloads_among(cgroups: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    cgroups.iter().filter(|cgroup| is_payload(cgroup))
}

/// The memory, in bytes, that a guest's cgroups are charged with, page cache included: what a limit counts.
#[must_use]
pub fn charged(cgroups: &[PathBuf]) -> Option<u64> {
    payloads_among(cgroups).find_map(|cgroup| {
        let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok();
        read("memory.current").or_else(|| read("memory.usage_in_bytes"))?.trim().parse().ok()
    })
}

/// Asks so many bytes of memory back from a guest. The kernel gives what it can (from 5.19 on).
pub fn reclaim(cgroups: &[PathBuf], bytes: u64) {
    for cgroup in payloads_among(cgroups) {
        // Whether it was enough is seen by what is charged then.
        let _ = super::write_there(&cgroup.join("memory.reclaim"), &bytes.to_string());
    }
}
