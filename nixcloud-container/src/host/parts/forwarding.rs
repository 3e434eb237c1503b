//! Settings of the kernel: that this host forwards, and what our bridges take from guests.
//!
//! Those of the whole host are put back by `down`; those of a bridge of ours go with it.

use super::{bridges, firewall};
use crate::error::Error;
use crate::host::Host;
use crate::model::hint::Remedy;
use crate::model::host_report::{Change, Finding, HostChange, Part};
use crate::model::observe::Cancel;
use crate::net::sysctl::Changed;

const FORWARD4: &str = "net/ipv4/ip_forward";
const FORWARD6: &str = "net/ipv6/conf/all/forwarding";
/// The kernel sets it whenever [`FORWARD4`] changes: 0 for a router, else 1.
const REDIRECTS: &str = "net/ipv4/conf/all/accept_redirects";
const ROUTES6: &str = "/proc/thread-self/net/ipv6_route";
/// The flag of a route that a router advertisement made.
const BY_ADVERTISEMENT: u32 = 0x0004_0000;

/// What a bridge of ours has: no other source than its own networks, and no advice from guests.
const OF_A_BRIDGE: &[(&str, &str, &str)] = &[
    ("ipv4", "rp_filter", "1"),
    ("ipv4", "accept_redirects", "0"),
    ("ipv4", "send_redirects", "0"),
    ("ipv4", "accept_source_route", "0"),
    ("ipv6", "accept_ra", "0"),
    ("ipv6", "accept_redirects", "0"),
];

fn changed(name: impl Into<String>, change: Change) -> HostChange {
    HostChange { part: Part::Sysctl, name: name.into(), change }
}

/// As people write it.
fn dotted(key: &str) -> String {
    key.replace('/', ".")
}

fn of_bridge((family, name, _): &(&str, &str, &str), bridge: &str) -> String {
    format!("net/{family}/conf/{bridge}/{name}")
}

fn has_ipv6(host: &Host) -> bool {
    host.config.network.internet.ipv6.is_some()
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let sysctl = host.sysctl();
    let mut changes = Vec::new();
    let mut forward = |key: &str| -> Result<(), Error> {
        let change = match sysctl.change(key, "1")? {
            Changed::Changed => Change::Made,
            Changed::Kept => Change::Kept,
        };
        changes.push(changed(dotted(key), change));
        Ok(())
    };
    if sysctl.get(FORWARD4)?.as_deref() == Some("0") {
        // So that a note says whether it was 1.
        sysctl.change(REDIRECTS, "0")?;
    }
    forward(FORWARD4)?;
    if has_ipv6(host) {
        // A router takes no advertisements, unless it is told to: then it would lose its own way out.
        for interface in advertised_to() {
            let key = format!("net/ipv6/conf/{interface}/accept_ra");
            if sysctl.get(&key)?.as_deref() == Some("1") {
                sysctl.change(&key, "2")?;
            }
        }
        forward(FORWARD6)?;
    }
    for bridge in bridges::ours(host)? {
        let mut change = Change::Kept;
        for setting in OF_A_BRIDGE {
            let key = of_bridge(setting, &bridge);
            // A kernel without IPv6 has none of its settings.
            if sysctl.get(&key)?.is_some_and(|value| value != setting.2) {
                sysctl.set(&key, setting.2)?;
                change = Change::Made;
            }
        }
        changes.push(changed(bridge, change));
    }
    Ok(changes)
}

/// The interfaces that have a route by an advertisement.
fn advertised_to() -> Vec<String> {
    let text = std::fs::read_to_string(ROUTES6).unwrap_or_default();
    let mut interfaces: Vec<String> = text.lines().filter_map(advertised_route).collect();
    interfaces.sort();
    interfaces.dedup();
    interfaces
}

/// The interface of one line of the routes: the last field, behind the flags.
fn advertised_route(line: &str) -> Option<String> {
    let mut fields = line.split_whitespace().rev();
    let (interface, flags) = (fields.next()?, fields.next()?);
    let flags = u32::from_str_radix(flags, 16).ok()?;
    (flags & BY_ADVERTISEMENT != 0 && interface != "lo").then(|| interface.to_owned())
}

pub(super) fn down(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let sysctl = host.sysctl();
    let mut changes = Vec::new();
    // Whoever translates addresses here forwards too, and may have counted on what we set.
    let needed = firewall::others_translate(host, cancel)?;
    for key in [FORWARD6, FORWARD4] {
        if !sysctl.is_noted(key) {
            continue;
        }
        let change = if needed {
            sysctl.forget(key)?;
            Change::Foreign
        } else {
            let restored = sysctl.restore(key)?;
            if restored && key == FORWARD4 && !sysctl.is_noted(REDIRECTS) {
                sysctl.set(REDIRECTS, "0")?;
            }
            if restored { Change::Removed } else { Change::Foreign }
        };
        changes.push(changed(dotted(key), change));
    }
    for key in sysctl.noted()? {
        let is_ours = key == REDIRECTS || (key.starts_with("net/ipv6/conf/") && key.ends_with("/accept_ra"));
        if is_ours && !needed {
            sysctl.restore(&key)?;
        } else if is_ours {
            sysctl.forget(&key)?;
        }
    }
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let sysctl = host.sysctl();
    let mut findings = Vec::new();
    for key in std::iter::once(FORWARD4).chain(has_ipv6(host).then_some(FORWARD6)) {
        findings.push(if sysctl.get(key)?.as_deref() == Some("1") {
            Finding::good(Part::Sysctl, dotted(key), "it is 1: this host forwards")
        } else {
            Finding::wrong(
                Part::Sysctl,
                dotted(key),
                "it is not 1: containers cannot reach the internet",
                Remedy::HostUp,
            )
        });
    }
    for bridge in bridges::ours(host)? {
        for setting in OF_A_BRIDGE {
            let key = of_bridge(setting, &bridge);
            if let Some(value) = sysctl.get(&key)?
                && value != setting.2
            {
                let what = format!("it is {value} and not {}", setting.2);
                findings.push(Finding::wrong(Part::Sysctl, dotted(&key), what, Remedy::HostUp));
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_routes_by_advertisement_count() {
        let line = |flags: &str, interface: &str| {
            let zero = "0".repeat(32);
            format!(
                "{zero} 00 {zero} 00 fe80{} 00000400 00000001 00000000 {flags}     {interface}",
                "0".repeat(28)
            )
        };
        assert_eq!(advertised_route(&line("00450003", "eth0")).as_deref(), Some("eth0"));
        assert_eq!(advertised_route(&line("00000003", "eth0")), None);
        assert_eq!(advertised_route(&line("00450003", "lo")), None);
        assert_eq!(advertised_route(""), None);
    }
}
