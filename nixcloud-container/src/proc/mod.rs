//! What the kernel tells of processes, by `/proc`: who still is who, and where it lives.
//!
//! A pid alone names nobody: it is given out again. A pid with its start time, within one boot, is one process.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::idmap::IdMap;

mod ids;
pub use ids::{ids_in_use, with_ids};

/// In how many parts a second is told in `/proc/PID/stat`: the kernel's constant on all machines that we run on.
const TICKS: u64 = 100;

/// One process of this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its pid in the host's pid namespace.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// A file by device and inode, which say "the same" through any mount and any namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// The device.
    pub dev: u64,
    /// The inode.
    pub ino: u64,
}

impl FileId {
    /// The file at `path`, symlinks followed.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self { dev: meta.dev(), ino: meta.ino() })
    }
}

/// What `/proc/PID/stat` tells of a process.
struct Stat {
    state: char,
    parent: i32,
    session: i32,
    start: u64,
    /// It is on its way out, or a SIGKILL that it has not taken yet will send it there.
    ending: bool,
}

/// The kernel's flag of a process that is exiting, in field 9.
const PF_EXITING: u64 = 0x4;

/// SIGKILL among the pending signals, field 31.
const SIGKILL_PENDING: u64 = 1 << 8;

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Field 2, the command, may itself hold blanks and brackets; field 3 is the first one here.
    let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start: number(22)?,
        ending: number(9)? & PF_EXITING != 0 || number(31)? & SIGKILL_PENDING != 0,
    })
}

impl Process {
    /// The process that has this pid now.
    #[must_use]
    pub fn now(pid: i32) -> Option<Self> {
        stat(pid).map(|stat| Self { pid, start: stat.start })
    }

    /// The parent that it has now.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        let Stat { parent, start, .. } = stat(self.pid)?;
        if start == self.start && parent > 0 { Self::now(parent) } else { None }
    }

    /// Whether it still runs. A zombie does not: it holds no file and no mount any more.
    #[must_use]
    pub fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.start == self.start && !matches!(stat.state, 'Z' | 'X'))
    }

    /// Whether it still runs and will go on. One that was killed a moment ago is alive until it has taken the signal,
    /// and the init of a pid namespace until it has seen all others out.
    #[must_use]
    pub fn is_staying(self) -> bool {
        self.is_alive() && stat(self.pid).is_some_and(|stat| stat.start == self.start && !stat.ending)
    }

    /// Takes note of its end where nobody else would: the parent of what began in the background is whoever takes orphans, as this
    /// process does where it is a subreaper. Of another's child, or of one that runs, nothing is done.
    pub fn reap(self) {
        let ours = stat(self.pid).is_some_and(|stat| {
            stat.start == self.start && stat.state == 'Z' && stat.parent.unsigned_abs() == std::process::id()
        });
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid).filter(|_| ours) {
            // As a zombie it keeps its number until this.
            let _others = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
    }

    /// How long ago it started.
    #[must_use]
    pub fn age(self) -> Duration {
        let now = clock_gettime(ClockId::Boottime);
        let now = Duration::from_secs(now.tv_sec.unsigned_abs());
        now.saturating_sub(Duration::from_secs(self.start / TICKS))
    }

    /// What it calls itself.
    #[must_use]
    pub fn command(self) -> String {
        fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default().trim_end().to_owned()
    }

    /// The user whose rights it has, in the host's ids.
    #[must_use]
    pub fn user(self) -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        // Real, effective, saved, file system.
        status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?.parse().ok()
    }

    /// The root directory that it sees.
    #[must_use]
    pub fn root(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/root/.", self.pid))).ok()
    }

    /// The words that it was started with, its own name first; none of a process that has ended.
    #[must_use]
    pub fn arguments(self) -> Vec<OsString> {
        let text = fs::read(format!("/proc/{}/cmdline", self.pid)).unwrap_or_default();
        let words = text.strip_suffix(b"\0").unwrap_or(&text).split(|byte| *byte == 0);
        words.map(|word| OsStr::from_bytes(word).to_owned()).collect()
    }

    /// Its network namespace.
    #[must_use]
    pub fn network_namespace(self) -> Option<FileId> {
        FileId::of(Path::new(&format!("/proc/{}/ns/net", self.pid))).ok()
    }
}

/// All processes that this mount of `/proc` shows.
pub fn all() -> impl Iterator<Item = Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::now(entry.file_name().to_str()?.parse().ok()?))
}

/// The network namespace of this thread: `/proc/self` would be that of the thread group's leader.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn own_network_namespace() -> io::Result<FileId> {
    FileId::of(Path::new("/proc/thread-self/ns/net"))
}

/// CAP_SYS_RESOURCE among the capabilities of a process.
const SYS_RESOURCE: u64 = 1 << 24;

/// Whether this process may raise limits of processes that are another's.
#[must_use]
pub fn may_raise_limits() -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_none_or(|mask| mask & SYS_RESOURCE != 0)
}

/// The random id of this boot.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn boot_id() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned())
}

/// The folders of the mounted cgroup hierarchies: v1 and hybrid have one each, v2 the top alone.
fn hierarchies() -> Vec<PathBuf> {
    let top = PathBuf::from("/sys/fs/cgroup");
    if top.join("cgroup.procs").exists() {
        return vec![top];
    }
    fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

/// The cgroup folders that LXC may have given to the payload of `name`, on any hierarchy. Those of other containers
/// may be among them: LXC appends `-1`, `-2` ... where a name is taken, and `web-1` is a name too.
#[must_use]
pub fn payload_cgroups(name: &str) -> Vec<PathBuf> {
    payloads(&hierarchies(), name)
}

/// The same on one hierarchy: a guest is on all of them, so to find one this is enough.
#[must_use]
pub fn payload_cgroups_once(name: &str) -> Vec<PathBuf> {
    payloads(&one_hierarchy(), name)
}

/// What payload cgroups are called, before the container's name.
const PAYLOAD: &str = "lxc.payload.";

/// The names of all containers that have a payload cgroup on that hierarchy, as LXC wrote them: with `-1`, `-2` ... where
/// a name was taken.
#[must_use]
pub fn all_payloads_once() -> BTreeSet<String> {
    let entries = one_hierarchy().into_iter().flat_map(fs::read_dir).flatten().flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(PAYLOAD)?.to_owned())).collect()
}

/// A hierarchy that every guest is on; all, where none is known to be.
fn one_hierarchy() -> Vec<PathBuf> {
    let one = hierarchies().into_iter().find(|hierarchy| {
        hierarchy.file_name().is_some_and(|name| name == "unified" || name == "systemd" || name == "cgroup")
    });
    one.map_or_else(hierarchies, |one| vec![one])
}

fn payloads(hierarchies: &[PathBuf], name: &str) -> Vec<PathBuf> {
    let payload = format!("{PAYLOAD}{name}");
    hierarchies.iter().flat_map(|hierarchy| named(hierarchy, &payload)).collect()
}

/// Whether a cgroup may be that of `name`: LXC appends `-1`, `-2` ... where that is taken.
#[must_use]
pub fn is_named(cgroup: &str, name: &str) -> bool {
    match cgroup.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|n| n.parse::<u32>().is_ok()),
        None => false,
    }
}

/// The cgroups of a hierarchy that are called `name`, or `name-1`, `name-2` ...
fn named(hierarchy: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(hierarchy).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_str().is_some_and(|found| is_named(found, name)))
        .map(|entry| entry.path())
        .collect()
}

/// The cgroups that LXC makes first for a guest of this name and its monitor, as far as they are there.
#[must_use]
pub fn named_cgroups(name: &str) -> Vec<PathBuf> {
    let names = [format!("lxc.payload.{name}"), format!("lxc.monitor.{name}")];
    let all =
        hierarchies().into_iter().flat_map(|hierarchy| names.each_ref().map(|name| hierarchy.join(name)));
    all.filter(|cgroup| cgroup.is_dir()).collect()
}

/// The processes in LXC's cgroups for `name` (those for a monitor, too) that `arguments` were given to and whose session
/// has lost its leader. The kernel does not give the leader's pid out again while they live.
#[must_use]
pub fn abandoned(name: &str, arguments: &[&str]) -> Vec<Process> {
    let arguments: Vec<u8> = arguments.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    let is_abandoned = |pid: i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == arguments)
            && stat(pid)
                .is_some_and(|process| Process::now(process.session).is_none_or(|leader| !leader.is_alive()))
    };
    let mut found = Vec::new();
    for cgroup in one_hierarchy().iter().flat_map(|hierarchy| {
        ["monitor", "payload"].into_iter().flat_map(|kind| named(hierarchy, &format!("lxc.{kind}.{name}")))
    }) {
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        let pids = pids.lines().filter_map(|pid| pid.parse().ok());
        found.extend(pids.filter(|pid| is_abandoned(*pid)).filter_map(Process::now));
    }
    found
}

/// A live process in one of `cgroups` that is a container's: its root directory is `root`, or its user is of `ids`.
/// Its namespaces do not matter, nor that it may have changed its root.
#[must_use]
pub fn lives_in(cgroups: &[PathBuf], root: Option<FileId>, ids: Option<IdMap>) -> Option<Process> {
    let theirs = |process: Process| {
        let user = process.user().map(u64::from);
        root.is_some() && process.root() == root
            || ids.zip(user).is_some_and(|(ids, user)| ids.overlaps(user, 1))
    };
    let mut pending: Vec<PathBuf> = cgroups.to_vec();
    while let Some(cgroup) = pending.pop() {
        let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
        for process in pids.lines().filter_map(|pid| Process::now(pid.parse().ok()?)) {
            if process.is_alive() && theirs(process) {
                return Some(process);
            }
        }
        pending.extend(folders_in(&cgroup));
    }
    None
}

fn folders_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// The cgroups that LXC made for a guest and its monitor, on all hierarchies, as the kernel names them.
#[must_use]
pub fn lxc_cgroups(processes: &[Process]) -> Vec<PathBuf> {
    let mounted = hierarchies();
    let mut found = Vec::new();
    for process in processes {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", process.pid)).unwrap_or_default();
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let folder = match controllers {
                "" if mounted.len() == 1 => None,
                "" => Some("unified"),
                controllers => Some(controllers.strip_prefix("name=").unwrap_or(controllers)),
            };
            let hierarchy = Path::new("/sys/fs/cgroup").join(folder.unwrap_or(""));
            // systemd in the guest moves itself into a cgroup below.
            let mut own = PathBuf::new();
            for part in Path::new(path.trim_start_matches('/')).components() {
                own.push(part);
                let name = part.as_os_str().as_encoded_bytes();
                if name.starts_with(b"lxc.payload.") || name.starts_with(b"lxc.monitor.") {
                    found.push(hierarchy.join(own));
                    break;
                }
            }
        }
    }
    found
}

/// Keeps a guest, whose init this is, from making cgroups without end. On cgroup v2 it may make `most`, nested `depth` deep:
/// LXC itself sets such limits only where there is no v1 beside. Below controllers of v1, which have no such limit and whose
/// numbers all guests share (65,535 for memory), it makes none: LXC has given them to the guest's root by its group. What is
/// the guest's own is the unified hierarchy and `name=systemd`, which has no controller.
///
/// # Errors
/// When it cannot be done.
pub fn keep_controllers(init: i32, most: u32, depth: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let pure = hierarchies().len() == 1;
    for line in fs::read_to_string(format!("/proc/{init}/cgroup"))?.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        // Whatever LXC did not move it from is the host's.
        let ours = path.split('/').any(|part| part.starts_with("lxc.payload."));
        if controllers.starts_with("name=") || !ours {
            continue;
        }
        let hierarchy = if controllers.is_empty() && !pure { "unified" } else { controllers };
        let folder = Path::new("/sys/fs/cgroup").join(hierarchy).join(path.trim_start_matches('/'));
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

fn payloads_among(cgroups: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    cgroups.iter().filter(|cgroup| {
        cgroup.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"lxc.payload."))
    })
}

/// Removes a cgroup and those below it, if no process is in any of them: a killed monitor leaves them.
pub fn remove_empty_cgroup(cgroup: &Path) {
    fn is_empty(cgroup: &Path) -> bool {
        fs::read_to_string(cgroup.join("cgroup.procs")).is_ok_and(|pids| pids.is_empty())
            && folders_in(cgroup).all(|below| is_empty(&below))
    }
    fn remove(cgroup: &Path) {
        for below in folders_in(cgroup) {
            remove(&below);
        }
        // The kernel refuses where a process came meanwhile.
        let _ = fs::remove_dir(cgroup);
    }
    if is_empty(cgroup) {
        remove(cgroup);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert!(me.is_alive());
        assert!(!Process { start: me.start + 1, ..me }.is_alive());
        assert!(me.parent().is_some());
        assert_eq!(me.root(), Some(FileId::of(Path::new("/")).unwrap()));
        assert!(Process::now(-1).is_none());
    }

    #[test]
    fn a_process_that_was_killed_does_not_stay() {
        for _ in 0..20 {
            let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
            let process = Process::now(child.id().cast_signed()).unwrap();
            assert!(process.is_staying());
            child.kill().unwrap();
            assert!(!process.is_staying());
            child.wait().unwrap();
            assert!(!process.is_staying());
        }
    }

    #[test]
    fn root_a_thread_that_left_is_in_another_network() {
        let here = own_network_namespace().unwrap();
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert_eq!(me.network_namespace(), Some(here));
        std::thread::spawn(move || {
            ::nix::sched::unshare(::nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            assert_ne!(own_network_namespace().unwrap(), here);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::now(child.id().cast_signed()).unwrap();
        for _ in 0..1000 {
            if !process.is_alive() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(!process.is_alive());
        child.wait().unwrap();
    }
}
