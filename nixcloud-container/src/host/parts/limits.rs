//! Limits of the kernel that all guests share: too low by default for many of them.
//!
//! Only what is lower is raised. What `host up` raised, `host down` puts back, unless somebody changed it since.

use std::io;

use crate::error::Error;
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::hint::Remedy;
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};
use crate::net::sysctl::{Changed, Sysctl, SysctlError};
use crate::sys::cgroup;

/// A limit, the least that 10,000 guests want of it, and what ends where it is lower.
struct Limit {
    key: &'static str,
    least: u64,
    why: &'static str,
}

const fn limit(key: &'static str, least: u64, why: &'static str) -> Limit {
    Limit { key, least, why }
}

/// Those that are for all guests together. None takes memory before it is used. Left out is what each process or each
/// queue has of its own (`vm.max_map_count`, `fs.inotify.max_queued_events`), however many guests there are.
const LIMITS: [Limit; 14] = [
    // A guest has as many as a user of the host. Where LXC makes its user namespace, all guests and root have them together.
    limit("fs/inotify/max_user_instances", 1 << 13, "programs in guests run out of inotify instances"),
    limit("fs/inotify/max_user_watches", 1 << 20, "programs in guests cannot watch files"),
    // Of all that are not mounted in the host's own mount namespace, and those have `kernel.pty.reserve` beside.
    limit("kernel/pty/max", 1 << 14, "guests run out of terminals"),
    limit("net/netfilter/nf_conntrack_max", 1 << 18, "connections of guests are dropped"),
    // A user's keys. With `idmap = "shared"` the roots of all guests are one user; systemd makes a key a service.
    limit("kernel/keys/maxkeys", 20_000, "services in guests with shared ids do not start"),
    limit("kernel/keys/maxbytes", 2_000_000, "services in guests with shared ids do not start"),
    // One table for all network namespaces: the host and the guest know each other, on each bridge.
    limit("net/ipv4/neigh/default/gc_thresh1", 1 << 13, "neighbours of guests are forgotten too early"),
    limit("net/ipv4/neigh/default/gc_thresh2", 1 << 15, "neighbours of guests are forgotten too early"),
    limit(
        "net/ipv4/neigh/default/gc_thresh3",
        1 << 16,
        "guests lose their network: neighbour table overflow",
    ),
    limit("net/ipv6/neigh/default/gc_thresh1", 1 << 13, "neighbours of guests are forgotten too early"),
    limit("net/ipv6/neigh/default/gc_thresh2", 1 << 15, "neighbours of guests are forgotten too early"),
    limit(
        "net/ipv6/neigh/default/gc_thresh3",
        1 << 16,
        "guests lose their network: neighbour table overflow",
    ),
    // What systemd sets on 64-bit hosts.
    limit("kernel/pid_max", 1 << 22, "the processes of all guests have too few numbers"),
    limit("fs/aio-max-nr", 1 << 20, "databases in guests do not start"),
];

/// As `sysctl` spells it.
pub(super) fn shown(key: &str) -> String {
    key.replace('/', ".")
}

fn changed(limit: &Limit, change: Change) -> HostChange {
    HostChange { part: Part::Limit, name: shown(limit.key), change }
}

/// Whether the kernel keeps a setting to itself: below a read-only `/proc/sys` (a host that is itself a container), or
/// where it knows of no such value.
fn keeps_it(error: &SysctlError) -> bool {
    let SysctlError::Io(FileError { source, .. }) = error else { return false };
    matches!(source.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::EINVAL))
        || source.kind() == io::ErrorKind::ReadOnlyFilesystem
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    // The kernel is not a try-out's own.
    if host.is_whole() { Ok(raise(&host.sysctl())?) } else { Ok(Vec::new()) }
}

/// Those that were raised; fourteen lines of what was good already would tell nobody anything.
fn raise(sysctl: &Sysctl) -> Result<Vec<HostChange>, SysctlError> {
    let mut changes = Vec::new();
    for limit in &LIMITS {
        match sysctl.raise(limit.key, limit.least) {
            Ok(Changed::Changed) => changes.push(changed(limit, Change::Mended)),
            Ok(Changed::Kept) | Err(SysctlError::Unknown { .. }) => {}
            // `check` tells of it.
            Err(error) if keeps_it(&error) => changes.push(changed(limit, Change::Foreign)),
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

pub(super) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut changes = restore(&host.sysctl())?;
    // One below a folder shares it with another: guests of that one may be about to start in it.
    if host.is_whole() && cgroup::forget_together() {
        changes.push(HostChange { part: Part::Limit, name: "memory".to_owned(), change: Change::Removed });
    }
    Ok(changes)
}

fn restore(sysctl: &Sysctl) -> Result<Vec<HostChange>, SysctlError> {
    let mut changes = Vec::new();
    for limit in &LIMITS {
        if sysctl.restore(limit.key)? {
            changes.push(changed(limit, Change::Removed));
        }
    }
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    Ok(look(&host.sysctl(), host.is_whole())?)
}

fn look(sysctl: &Sysctl, whole: bool) -> Result<Vec<Finding>, SysctlError> {
    let mut findings = Vec::new();
    for Limit { key, least, why } in &LIMITS {
        let Some(value) = sysctl.number(key)?.filter(|value| value < least) else { continue };
        let name = shown(key);
        findings.push(Finding {
            part: Part::Limit,
            // Some guests always boot.
            verdict: if whole { Verdict::Wrong } else { Verdict::Off },
            what: format!("it is {value}: with many guests, {why}"),
            mend: Some(if whole {
                Remedy::HostUp.into()
            } else {
                format!("`sysctl -w {name}={least}`").into()
            }),
            name,
        });
    }
    if findings.is_empty() {
        findings.push(Finding {
            part: Part::Limit,
            name: "kernel".to_owned(),
            verdict: Verdict::Good,
            what: "no limit of the kernel stops many guests".to_owned(),
            mend: None,
        });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel with all limits at `value`, but for those of IPv6, which it lacks.
    fn kernel(value: u64) -> (tempfile::TempDir, Sysctl) {
        let temp = tempfile::tempdir().unwrap();
        for limit in LIMITS.iter().filter(|limit| !limit.key.contains("ipv6")) {
            let file = temp.path().join("sys").join(limit.key);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, format!("{value}\n")).unwrap();
        }
        let sysctl = Sysctl::at(temp.path().join("sys"), temp.path().join("notes"));
        (temp, sysctl)
    }

    #[test]
    fn low_limits_are_raised_once_and_put_back() {
        let (temp, sysctl) = kernel(128);
        assert_eq!(look(&sysctl, true).unwrap().len(), 11);
        assert_eq!(raise(&sysctl).unwrap().len(), 11);
        assert_eq!(raise(&sysctl).unwrap(), []);
        assert_eq!(sysctl.number("fs/inotify/max_user_instances").unwrap(), Some(1 << 13));
        let good = look(&sysctl, true).unwrap();
        assert_eq!((good.len(), good[0].verdict), (1, Verdict::Good));
        // Somebody has raised one further.
        std::fs::write(temp.path().join("sys/kernel/pid_max"), "5000000\n").unwrap();
        assert_eq!(restore(&sysctl).unwrap().len(), 10);
        assert_eq!(restore(&sysctl).unwrap(), []);
        assert_eq!(sysctl.number("fs/inotify/max_user_instances").unwrap(), Some(128));
        assert_eq!(sysctl.number("kernel/pid_max").unwrap(), Some(5_000_000));
    }

    #[test]
    fn high_limits_are_left_alone_and_a_try_out_only_tells() {
        let (_temp, sysctl) = kernel(1 << 32);
        assert_eq!(raise(&sysctl).unwrap(), []);
        assert_eq!(look(&sysctl, true).unwrap()[0].verdict, Verdict::Good);
        let (_temp, sysctl) = kernel(1);
        let findings = look(&sysctl, false).unwrap();
        assert!(findings.iter().all(|finding| finding.verdict == Verdict::Off));
        assert_eq!(findings[0].mend, Some("`sysctl -w fs.inotify.max_user_instances=8192`".into()));
    }

    /// What they are called is the kernel's.
    #[test]
    fn root_this_kernel_has_them_all() {
        let sysctl = Sysctl::new("/nonexistent".into());
        let known = |limit: &&Limit| sysctl.number(limit.key).unwrap().is_some();
        // The neighbour tables are the first network namespace's, and there is a kernel without IPv6.
        let (network, others): (Vec<_>, Vec<_>) =
            LIMITS.iter().partition(|limit| limit.key.starts_with("net/"));
        assert!(others.iter().all(known));
        let neighbours = network.iter().filter(|limit| limit.key.contains("neigh") && known(limit)).count();
        assert!([0, 3, 6].contains(&neighbours));
    }
}
