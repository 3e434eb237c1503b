//! After a failure: takes away what a scenario left, so that one broken scenario does not spoil the others.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leaks;

/// Ends the guests whose names carry `mark` and removes their cgroups, the folder `root`, and what points there. The
/// scenario has ended, or it is the caller itself.
pub fn sweep(root: &Path, mark: &str) {
    for _ in 0..20 {
        let cgroups = leaks::cgroups(mark);
        if cgroups.is_empty() {
            break;
        }
        for cgroup in &cgroups {
            // A v1 freezer holds even SIGKILL back.
            let _ = fs::write(cgroup.join("freezer.state"), "THAWED");
            let pids = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|pid| pid.parse().ok()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        for cgroup in cgroups.iter().rev() {
            remove(cgroup);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = fs::remove_dir_all(root);
    let locks = leaks::lxc_locks_of(root);
    let _ = fs::remove_dir_all(&locks);
    // `/run/lxc/lock/tmp`, if it held nothing else.
    let _ = locks.parent().map(fs::remove_dir);
    for link in leaks::gc_roots(root) {
        let _ = fs::remove_file(link);
    }
}

fn remove(cgroup: &Path) {
    for below in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    let _ = fs::remove_dir(cgroup);
}
