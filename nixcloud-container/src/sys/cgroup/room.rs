//! Room in a guest's memory, made by ending what takes most of it. The kernel makes it, too, when a limit is written: it may end
//! the guest's init, and with it the guest.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::figures::payloads_among;
use super::{charged, processes_in, reclaim};
use crate::sys::pidfd::PidFd;
use crate::sys::proc::Process;

/// How many processes are ended at most: a guest may make them as fast.
const MOST_ENDED: u32 = 1_000;

/// How long the memory of one that was ended may take to be given back.
const GIVEN_BACK: Duration = Duration::from_secs(2);

/// Ends processes of the guest with this init, whoever has most memory first and never the init, until the guest uses no more
/// than `most` bytes. Says whether it does: nothing is ended where that could not be enough, as where the memory is that of
/// files.
#[must_use]
pub fn make_room(cgroups: &[PathBuf], init: Process, most: u64) -> bool {
    let used = || charged(cgroups).unwrap_or(0);
    for _ in 0..MOST_ENDED {
        if used() > most {
            reclaim(cgroups, used().saturating_sub(most));
        }
        let over = used().saturating_sub(most);
        if over == 0 {
            return true;
        }
        let processes = payloads_among(cgroups).flat_map(|cgroup| processes_in(cgroup));
        let sizes = processes.filter(|process| *process != init).map(|process| (memory(process), process));
        let sizes: Vec<(u64, Process)> = sizes.collect();
        let Some((_, largest)) = enough(&sizes, over) else { return false };
        if let Ok(Some(pidfd)) = PidFd::open(largest)
            && pidfd.signal(libc::SIGKILL).is_ok()
        {
            // Its memory is given back before its end is told.
            let _ = pidfd.wait(GIVEN_BACK, &|| false);
        }
    }
    used() <= most
}

/// The one that has most, if all together have so much.
fn enough(sizes: &[(u64, Process)], over: u64) -> Option<(u64, Process)> {
    let all: u64 = sizes.iter().map(|(size, _)| size).sum();
    sizes.iter().copied().max_by_key(|(size, _)| *size).filter(|_| all >= over)
}

/// What is given back when the process ends, in bytes.
fn memory(process: Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap_or_default();
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    let own = |line: &&str| ["RssAnon:", "RssShmem:"].iter().any(|key| line.starts_with(key));
    status.lines().filter(own).filter_map(kib).sum::<u64>() * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_goes_where_that_can_be_enough() {
        let me = Process::now(std::process::id().cast_signed()).unwrap();
        assert!(memory(me) > 100_000, "{}", memory(me));
        let other = Process { pid: 1, ..me };
        let sizes = [(5, me), (9, other), (7, me)];
        assert_eq!(enough(&sizes, 21), Some((9, other)));
        assert_eq!(enough(&sizes, 22), None, "the rest is no process's");
        assert_eq!(enough(&[], 0), None);
    }
}
