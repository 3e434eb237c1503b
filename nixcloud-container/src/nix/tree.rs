//! Kills a process with everything below it.
//!
//! A process group is not enough: Nix puts each builder into a session of its own, and a builder
//! survives a killed `nix-store` (tried with Nix 2.8). What is below is found by parents in
//! `/proc`, stopped first so that nothing new appears meanwhile, then killed.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use ::nix::sys::prctl::get_child_subreaper;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

/// Rounds of stop and look again. Each one goes a generation deeper at least.
const ROUNDS: usize = 64;

/// How long a killed process may take to be gone.
const KILLED: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

struct Process {
    parent: i32,
    /// In clock ticks since boot: with the pid it names a process for good.
    started: u64,
}

/// Kills `root`, which must not have been reaped yet, and its descendants.
pub(super) fn kill(root: Pid) {
    let Ok(root_fd) = pidfd_open(root, PidfdFlags::empty()) else { return };
    // A failure to signal means that the process is gone already.
    let _gone = pidfd_send_signal(&root_fd, Signal::STOP);
    let mut stopped: HashMap<i32, OwnedFd> = HashMap::from([(root.as_raw_nonzero().get(), root_fd)]);
    for _ in 0..ROUNDS {
        let processes = processes();
        let fresh: Vec<_> = processes
            .iter()
            .filter(|(pid, process)| !stopped.contains_key(*pid) && stopped.contains_key(&process.parent))
            .collect();
        if fresh.is_empty() {
            break;
        }
        for (pid, process) in fresh {
            if let Some(fd) = open(*pid, process.started) {
                let _gone = pidfd_send_signal(&fd, Signal::STOP);
                stopped.insert(*pid, fd);
            }
        }
    }
    for fd in stopped.values() {
        let _gone = pidfd_send_signal(fd, Signal::KILL);
    }
    if adopts_orphans() {
        stopped.remove(&root.as_raw_nonzero().get());
        stopped.values().for_each(reap);
    }
}

/// Whether what is left of a process that ended becomes this process's child.
fn adopts_orphans() -> bool {
    get_child_subreaper().unwrap_or(false) || std::process::id() == 1
}

/// Waits for one that was killed, if it has become this process's child: nobody else would.
fn reap(fd: &OwnedFd) {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let _ended = poll(&mut fds, Some(&KILLED));
    let _others = waitid(WaitId::PidFd(fd.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
}

/// A handle of the process that had this pid when it was seen.
fn open(pid: i32, started: u64) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    (read(pid)?.started == started).then_some(fd)
}

fn processes() -> HashMap<i32, Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, read(pid)?))
        })
        .collect()
}

/// `/proc/PID/stat` (proc_pid_stat(5)). The command name in it may hold blanks and parentheses,
/// so fields are counted after the last one. A zombie has nothing left to kill, but its children
/// have another parent then, so it can be left out.
fn read(pid: i32) -> Option<Process> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields: Vec<_> = std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let [state, parent, ..] = fields.as_slice() else { return None };
    if *state == "Z" {
        return None;
    }
    Some(Process { parent: parent.parse().ok()?, started: fields.get(19)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    /// Processes that have `mark` among their arguments.
    fn alive(mark: &str) -> usize {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .filter(|line| line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes()))
            .count()
    }

    #[test]
    fn what_has_a_session_of_its_own_dies_too() {
        let mark = format!("30{:07}", std::process::id());
        let script = format!("setsid sh -c 'sleep {mark} & sleep {mark}; :' & sleep {mark}; :");
        let mut child = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap();
        let late = Instant::now() + Duration::from_secs(5);
        while alive(&mark) < 3 && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(alive(&mark), 3);
        kill(Pid::from_child(&child));
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        while alive(&mark) > 0 && Instant::now() < late {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(alive(&mark), 0);
    }
}
