//! The ports of running containers: whether what they were booted with still holds, and how it is put back. Nothing here
//! sets a port for the first time: LXC has that done at each boot of the guest.

use crate::error::Error;
use crate::host::Host;
use crate::model::bridge_port::BridgePort;
use crate::model::hint::{Hint, Remedy};
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};
use crate::model::name::ContainerName;
use crate::net::Netlink;
use crate::net::bridge_port::{self, Fault};
use crate::store::record::{Record, Run};
use crate::sys::proc;

/// The containers that run in this network namespace, each with the ports that it was booted with.
fn running(host: &Host) -> Result<Vec<(ContainerName, Vec<BridgePort>)>, Error> {
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    let here = proc::own_network_namespace().map_err(proc::unreadable)?;
    let mut running = Vec::new();
    for name in Record::names(&host.layout)? {
        let Some(run) = Run::load(&host.layout, &name, &boot)? else { continue };
        if run.lives() && run.netns == here {
            running.push((name, run.notes.bridge_ports));
        }
    }
    Ok(running)
}

/// What is wrong with a port; nothing where it is gone, with its guest.
fn faults(netlink: &mut Netlink, port: &BridgePort) -> Result<Vec<Fault>, Error> {
    match bridge_port::faults(netlink, &port.interface, &port.policy) {
        Err(bridge_port::Error::Missing { .. }) => Ok(Vec::new()),
        other => Ok(other?),
    }
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let mut netlink = Netlink::open()?;
    let mut changes = Vec::new();
    for port in running(host)?.into_iter().flat_map(|(_, ports)| ports) {
        let faults = faults(&mut netlink, &port)?;
        // Whoever took it from its bridge has a reason, and there it reaches nobody.
        if faults.is_empty() || faults.contains(&Fault::NoPort) {
            continue;
        }
        bridge_port::set(&mut netlink, &port.interface, &port.policy)?;
        changes.push(HostChange { part: Part::BridgePort, name: port.interface, change: Change::Mended });
    }
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let finding = |name: String, verdict, what: String, mend: Option<Hint>| Finding {
        part: Part::BridgePort,
        name,
        verdict,
        what,
        mend,
    };
    if !host.config.network.isolation {
        let what = "containers are not kept from each other (`network.isolation = false`)".to_owned();
        return Ok(vec![finding("all".to_owned(), Verdict::Off, what, None)]);
    }
    let mut netlink = Netlink::open()?;
    let mut findings = Vec::new();
    for (name, ports) in running(host)? {
        if ports.is_empty() {
            let what = format!("container `{name}` was booted without isolation");
            let mend = Remedy::Restart { name: name.clone() }.into();
            findings.push(finding(name.to_string(), Verdict::Wrong, what, Some(mend)));
        }
        for port in ports {
            let wrong = faults(&mut netlink, &port)?;
            let (verdict, what) = if !wrong.is_empty() {
                let words: Vec<&str> = wrong.iter().map(|fault| fault.as_str()).collect();
                (Verdict::Wrong, format!("of container `{name}`: {}", words.join("; ")))
            } else if port.policy.v4.is_none() {
                let what =
                    "the addresses of its bridge are not ours: it may send from any, by its own MAC address";
                (Verdict::Off, format!("of container `{name}`: {what}"))
            } else {
                let how = if port.policy.isolated { "isolated, and " } else { "" };
                (Verdict::Good, format!("of container `{name}`: {how}kept to its own addresses"))
            };
            let mend = match verdict {
                Verdict::Wrong if wrong.contains(&Fault::NoPort) => {
                    Some(Remedy::Restart { name: name.clone() }.into())
                }
                Verdict::Wrong => Some(Remedy::HostUp.into()),
                _ => None,
            };
            findings.push(finding(port.interface, verdict, what, mend));
        }
    }
    Ok(findings)
}
