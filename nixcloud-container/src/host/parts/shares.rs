//! What one hostile guest can take of the kernel's tables that all guests and the host share, in figures.

use super::limits::shown;
use crate::error::Error;
use crate::host::{Host, grants};
use crate::model::host_report::{Finding, Part, Verdict};
use crate::model::resources::Reserve;
use crate::net::GROUPS;
use crate::render::{self, CGROUPS};
use crate::sys::cgroup;

/// Of how many guests like that the tables must have enough.
const HOSTILE: u64 = 4;

/// The first kernel that limits the multicast groups of a port.
const GROUPS_SINCE: (u32, u32) = (6, 3);

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let sysctl = host.sysctl();
    let number = |key: &str| sysctl.number(key);
    let mut findings = Vec::new();
    let mut tell = |name: &str, good: bool, what: String| {
        let verdict = if good { Verdict::Good } else { Verdict::Off };
        findings.push(Finding { part: Part::Share, name: name.to_owned(), verdict, what, mend: None });
    };
    for key in ["fs/inotify/max_user_instances", "fs/inotify/max_user_watches"] {
        if let Some(each) = number(key)? {
            tell(&shown(key), true, format!("one guest can hold {each}, which are counted for it alone"));
        }
    }
    if let (Some(all), Some(kept)) = (number("kernel/pty/max")?, number("kernel/pty/reserve")?) {
        let guests = all.saturating_sub(kept);
        let what = format!(
            "one guest can hold all {guests} terminals that guests have together; {kept} are the host's alone"
        );
        tell("ptys", kept > 0, what);
    }
    let facts = host.facts()?;
    let pids = host.config.limits.pids;
    let all = facts.processes;
    if pids == 0 {
        tell("processes", false, format!("one guest can have all {all}: `limits.pids` sets no limit"));
    } else {
        let one = pids.min(render::pids_share(all));
        tell("processes", true, format!("one guest can have {one} processes and threads of {all}"));
    }
    if let Some(all) = cgroup::memory_of_host() {
        let (good, what) = memory(all, host.config.limits.reserve, facts.controllers.memory.is_some());
        tell("memory", good, what);
        if let Some(together) = grants::together(host).filter(|_| facts.controllers.memory.is_some()) {
            let shown = |bytes: u64| bytes >> 20;
            match host.config.limits.memory_of_one(together) {
                Some(one) => tell(
                    "memory of one",
                    true,
                    format!(
                        "one guest that says nothing of it can have {} MiB of the {} that all have together",
                        shown(one),
                        shown(together)
                    ),
                ),
                None => tell(
                    "memory of one",
                    false,
                    "one guest can have all that they have together: `limits.share` sets no limit".to_owned(),
                ),
            }
        }
    }
    let cgroups = if facts.controllers.unified {
        format!("one guest can make {CGROUPS} cgroups")
    } else {
        "one guest can make any number of cgroups without controllers: there is no cgroup v2".to_owned()
    };
    tell("cgroups", facts.controllers.unified, cgroups);
    if let Some(all) = number("net/netfilter/nf_conntrack_max")? {
        let one = u64::from(host.config.limits.connections);
        let what = if one == 0 {
            format!(
                "one guest can begin all {all} connections that the host follows: `limits.connections` sets no limit"
            )
        } else {
            format!("one address of a guest can begin {one} connections of {all} that the host follows")
        };
        tell("connections", one > 0 && one.saturating_mul(HOSTILE) <= all, what);
    }
    let release = sysctl.get("kernel/osrelease")?;
    let limited = release.as_deref().and_then(version).is_none_or(|kernel| kernel >= GROUPS_SINCE);
    let groups = if limited && host.config.network.isolation {
        format!("one interface of a guest can take {GROUPS} multicast groups of its bridge")
    } else if limited {
        "one guest can take all multicast groups of its bridge: `network.isolation` is off".to_owned()
    } else {
        "one guest can take all multicast groups of its bridge: kernels before 6.3 have no limit a port"
            .to_owned()
    };
    tell("multicast groups", limited && host.config.network.isolation, groups);
    Ok(findings)
}

/// Major and minor number of a kernel.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What guests leave of the host's memory.
fn memory(all: u64, reserve: Reserve, counted: bool) -> (bool, String) {
    let shown = |bytes: u64| format!("{} MiB", bytes >> 20);
    match reserve.leaves(all) {
        _ if !counted => {
            (false, format!("guests can have all {}: this kernel has no controller of memory", shown(all)))
        }
        None => (false, format!("guests can have all {}: `limits.reserve` keeps nothing", shown(all))),
        // Each start writes it; on cgroup v1 the kernel refuses less than guests have by then.
        Some(most) => match cgroup::held_together() {
            Some(held) if held > most => {
                let (held, most) = (shown(held), shown(most));
                (
                    false,
                    format!(
                        "all guests together can have {held}, and are to have {most}: the next start holds them to that"
                    ),
                )
            }
            _ => (true, format!("all guests together can have {} of {}", shown(most), shown(all))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_has_numbers() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("6.18.44"), Some((6, 18)));
        assert_eq!(version(""), None);
    }
}
