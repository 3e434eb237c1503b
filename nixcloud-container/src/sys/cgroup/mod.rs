//! Cgroups of guests and of their monitors: where they are, what they are called, who is in them, and how they go.
//!
//! LXC removes what it made when a guest ends. Where it could not, since a process of its own was killed or a call
//! failed, what is left is found here: by names that we chose ([`Owner`]) or, where LXC chose, by who lives there.

mod controllers;
mod figures;
mod leaf;
mod naming;
pub mod noted;
mod room;
mod together;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::model::idmap::IdMap;
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{FileId, Process};

pub use controllers::{controllers, hold};
pub use figures::{charged, keep_controllers, memory_of, reclaim, swap_of};
pub use leaf::Leaf;
use naming::{MONITOR, PAYLOAD};
pub use naming::{Owner, Pair, Search, all_payloads_once, is_payload, may_be, payloads};
pub use room::make_room;
pub use together::{forget_together, held_together, hold_together, memory_of_host};
pub use usage::usage;

/// How often a cgroup is looked at whose processes are on their way out.
const TICK: Duration = Duration::from_millis(2);

/// How long LXC takes at most from making a cgroup to entering it.
const ENTERED: Duration = Duration::from_millis(500);

/// A process on one hierarchy.
struct Membership {
    /// The controllers of the hierarchy, as `/proc` names them; none on v2.
    controllers: String,
    /// Where the hierarchy is mounted.
    mount: PathBuf,
    /// The cgroup that the process is in, from there.
    path: PathBuf,
}

/// What `/proc/PID/cgroup` says.
fn memberships(pid: &str) -> io::Result<Vec<Membership>> {
    let top = Path::new("/sys/fs/cgroup");
    let pure = top.join("cgroup.procs").exists();
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let found = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let mount = match controllers {
            "" if pure => top.to_owned(),
            "" => top.join("unified"),
            controllers => top.join(controllers.strip_prefix("name=").unwrap_or(controllers)),
        };
        let path = PathBuf::from(path.trim_start_matches('/'));
        Some(Membership { controllers: controllers.to_owned(), mount, path })
    });
    Ok(found.collect())
}

/// The folders in which LXC makes cgroups, one a mounted hierarchy.
fn places() -> Vec<PathBuf> {
    hierarchies().map(|(_, place)| place).collect()
}

/// The mounted hierarchies: the controllers of each, as `/proc` names them, and where LXC makes cgroups there, which for root
/// is where the host's init is.
fn hierarchies() -> impl Iterator<Item = (String, PathBuf)> {
    let places = memberships("1").unwrap_or_default().into_iter().map(|init| {
        let path = if init.path.ends_with("init.scope") {
            init.path.parent().map(Path::to_owned).unwrap_or_default()
        } else {
            init.path
        };
        (init.controllers, init.mount.join(path))
    });
    places.filter(|(_, place)| place.is_dir())
}

/// A place on a hierarchy that every guest is on; all, where none is known to be.
fn one_place() -> Vec<PathBuf> {
    let places = places();
    let top = Path::new("/sys/fs/cgroup");
    let on_all = |place: &&PathBuf| {
        places.len() == 1 || ["unified", "systemd"].iter().any(|name| place.starts_with(top.join(name)))
    };
    places.iter().find(on_all).cloned().map_or_else(|| places.clone(), |one| vec![one])
}

/// The places where LXC begins and ends to make cgroups for a guest: it goes through the hierarchies in the order of `/proc`,
/// so that what it began and did not undo is in one of them.
fn first_and_last_place() -> Vec<PathBuf> {
    let mut places = places();
    if places.len() > 2 {
        places.drain(1..places.len() - 1);
    }
    places
}

/// The cgroups that LXC made for a guest and its monitor, on all hierarchies, as the kernel names them.
#[must_use]
pub fn of(processes: &[Process]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for process in processes {
        for Membership { mount, path, .. } in memberships(&process.pid.to_string()).unwrap_or_default() {
            // systemd in the guest moves itself into a cgroup below.
            let mut own = PathBuf::new();
            for part in path.components() {
                own.push(part);
                let name = part.as_os_str().as_encoded_bytes();
                if [PAYLOAD, MONITOR].iter().any(|kind| name.starts_with(kind.as_bytes())) {
                    found.push(mount.join(own));
                    break;
                }
            }
        }
    }
    found
}

/// What a process of a container is known by: its namespaces do not matter, nor that it may have changed its root.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// The container's root directory.
    pub root: Option<FileId>,
    /// Its ids, where they are its own.
    pub ids: Option<IdMap>,
}

impl Marks {
    /// Whether a process has one of them.
    #[must_use]
    pub fn are_of(&self, process: Process) -> bool {
        let user = process.user().map(u64::from);
        self.root.is_some() && process.root() == self.root
            || self.ids.zip(user).is_some_and(|(ids, user)| ids.overlaps(user, 1))
    }
}

/// A live process with these marks in one of `cgroups`.
#[must_use]
pub fn lives_in(cgroups: &[PathBuf], marks: &Marks) -> Option<Process> {
    cgroups.iter().flat_map(|cgroup| processes_in(cgroup)).find(|process| marks.are_of(*process))
}

/// The live processes in a cgroup and below it.
#[must_use]
pub fn processes_in(cgroup: &Path) -> Vec<Process> {
    let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let here = pids.lines().filter_map(|pid| Process::now(pid.parse().ok()?));
    let mut found: Vec<Process> = here.filter(|process| process.is_alive()).collect();
    for below in folders_in(cgroup) {
        found.extend(processes_in(&below));
    }
    found
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// Whether no process is in any of them.
#[must_use]
pub fn are_vacant(cgroups: &[PathBuf]) -> bool {
    cgroups.iter().all(|cgroup| processes_in(cgroup).is_empty())
}

/// Ends all that is in these cgroups, and removes them. Who is on the way out gets `grace` for it; what cannot be ended
/// within `limit` after that stays, with its cgroups.
pub fn end(cgroups: &[PathBuf], grace: Duration, limit: Duration) {
    let begin = Instant::now();
    let mut left = cgroups.to_vec();
    let mut killed: Vec<Process> = Vec::new();
    loop {
        killed.iter().copied().for_each(Process::reap);
        left.iter().for_each(|cgroup| remove_empty(cgroup));
        left.retain(|cgroup| cgroup.is_dir());
        let elapsed = begin.elapsed();
        if left.is_empty() || elapsed >= grace + limit {
            return;
        }
        if elapsed >= grace {
            killed.extend(left.iter().flat_map(|cgroup| kill(cgroup)));
        }
        std::thread::sleep(TICK);
    }
}

/// Sends SIGKILL to all that is in a cgroup, also where it is frozen.
fn kill(cgroup: &Path) -> Vec<Process> {
    let processes = processes_in(cgroup);
    if processes.is_empty() {
        return processes;
    }
    // A frozen process of v1 takes its signal only when it is thawed. Where there is no such file, it is not frozen.
    let _ = write_there(&cgroup.join("freezer.state"), "THAWED");
    let _ = write_there(&cgroup.join("cgroup.freeze"), "0");
    for process in &processes {
        // What cannot be ended is there at the next look, until whoever waits gives up.
        if process.pid.cast_unsigned() != std::process::id()
            && let Ok(Some(pidfd)) = PidFd::open(*process)
        {
            let _ = pidfd.signal(libc::SIGKILL);
        }
    }
    processes
}

/// Writes into a file of the kernel's, which is not made.
fn write_there(path: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Removes a cgroup and those below it, if no process is in any of them. Zombies, which v1 names too, hold nothing.
pub fn remove_empty(cgroup: &Path) {
    fn remove(cgroup: &Path) {
        for below in folders_in(cgroup) {
            remove(&below);
        }
        // The kernel refuses where a process came meanwhile.
        let _ = fs::remove_dir(cgroup);
    }
    if cgroup.is_dir() && processes_in(cgroup).is_empty() {
        remove(cgroup);
    }
}

/// Takes away what an earlier start left in cgroups whose names LXC chose, which say nothing of whose they are: where every
/// process has the container's marks, and where there is none. Nothing of the container is to run any more.
///
/// `others` says whether somebody else listens on its name, as LXC does before it makes cgroups: then one that is empty may be
/// about to be entered.
pub fn end_left(cgroups: &[PathBuf], marks: &Marks, others: bool, limit: Duration) {
    let (vacant, inhabited): (Vec<_>, Vec<_>) =
        cgroups.iter().cloned().partition(|cgroup| processes_in(cgroup).is_empty());
    let is_ours = |cgroup: &PathBuf| processes_in(cgroup).iter().all(|process| marks.are_of(*process));
    let (ours, theirs): (Vec<_>, Vec<_>) = inhabited.into_iter().partition(is_ours);
    end(&ours, Duration::ZERO, limit);
    if !vacant.is_empty() && (others || !theirs.is_empty()) {
        std::thread::sleep(ENTERED);
    }
    vacant.iter().for_each(|cgroup| remove_empty(cgroup));
}
