//! What fork and exec hand on beside files and signals: limits, priorities, and where a process may run. A guest's init and a
//! command in a guest begin with what is written here, whoever typed the command or whichever unit it is.
//!
//! docs/support.md has it as a table. What cannot be taken back (no_new_privs, a seccomp filter, memory-deny-write-execute)
//! stays; LXC gives each guest a session keyring and a user namespace, which begins with securebits of its own.

use std::fs;

use ::nix::sched::{CpuSet, sched_setaffinity};
use ::nix::sys::prctl::set_timerslack;
use ::nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use ::nix::unistd::Pid;

/// The limits: soft and hard.
const LIMITS: [(Resource, rlim_t, rlim_t); 16] = [
    (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
    (Resource::RLIMIT_CORE, 0, RLIM_INFINITY),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY),
    // The guest's cgroup has the limit that counts.
    (Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY),
    // As systemd has it: a guest cannot raise it, and more costs programs that close all that they might have.
    (Resource::RLIMIT_NOFILE, 1024, 524_288),
    (Resource::RLIMIT_MEMLOCK, 8 << 20, 8 << 20),
    (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_LOCKS, RLIM_INFINITY, RLIM_INFINITY),
    // Each is memory of the kernel's, counted for the guest as a whole.
    (Resource::RLIMIT_SIGPENDING, 16_384, 16_384),
    (Resource::RLIMIT_MSGQUEUE, 819_200, 819_200),
    (Resource::RLIMIT_NICE, 0, 0),
    (Resource::RLIMIT_RTPRIO, 0, 0),
    (Resource::RLIMIT_RTTIME, RLIM_INFINITY, RLIM_INFINITY),
];

/// The preference with which the kernel ends a guest's processes before the host's, where memory is short: who has it from the
/// host's root cannot take less.
pub const GUEST_OOM: &str = "200";

/// The kernel's own default, in nanoseconds.
const TIMER_SLACK: u64 = 50_000;

/// Puts this process into the documented state, as far as the kernel lets it: a host that is a container itself may have
/// taken some of it away, and its guests are to start all the same.
pub fn reset(oom: &str) {
    for (resource, soft, hard) in LIMITS {
        limit(resource, soft, hard);
    }
    let mut all = CpuSet::new();
    // The kernel takes those that there are and that this process's cpuset has.
    let _ = (0..CpuSet::count()).try_for_each(|cpu| all.set(cpu));
    let _ = sched_setaffinity(Pid::from_raw(0), &all);
    let _ = set_timerslack(TIMER_SLACK);
    for (file, value) in [("oom_score_adj", oom), ("coredump_filter", "0x33")] {
        let _ = fs::write(format!("/proc/self/{file}"), value);
    }
    let normal = libc::sched_param { sched_priority: 0 };
    // SAFETY: changes this process's policy; what is pointed to lives through the call.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const normal) };
    // SAFETY: changes a number of this process.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 0) };
    // SAFETY: as above: IOPRIO_WHO_PROCESS, this one, no class, so that it follows the nice value.
    unsafe { libc::syscall(libc::SYS_ioprio_set, 1, 0, 0) };
    let nodes = std::ptr::null::<libc::c_ulong>();
    // SAFETY: the default policy has no nodes (NULL).
    unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_DEFAULT, nodes, 0) };
    // SAFETY: changes a number of this process.
    unsafe { libc::personality(0) };
    // SAFETY: as above.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
}

/// Sets a limit, or the nearest one that the kernel lets this process have.
fn limit(resource: Resource, soft: rlim_t, hard: rlim_t) {
    let set = |most: rlim_t| setrlimit(resource, soft.min(most), hard.min(most)).is_ok();
    // The kernel's own bound for open files may be lower; and without CAP_SYS_RESOURCE no limit is raised.
    let bound = || {
        let text = fs::read_to_string("/proc/sys/fs/nr_open").ok()?;
        text.trim().parse().ok()
    };
    let there = || getrlimit(resource).ok().map(|(_, hard)| hard);
    let files = resource == Resource::RLIMIT_NOFILE;
    let _ = set(hard) || (files && bound().is_some_and(set)) || there().is_some_and(set);
}
