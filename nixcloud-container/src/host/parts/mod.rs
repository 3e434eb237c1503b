//! `host up`, `host down` and `host check`: the networks of this host, and what many containers need of it. Only what is ours is touched.
//!
//! Each part of the host has a file with what it does for `up`, `down` and `check`; here is their order.

mod bridges;
mod filter;
mod firewall;
mod forwarding;
mod ids;
mod limits;
mod lxc;
mod ports;
mod resolver;
mod shares;
mod xtables;

pub(crate) use bridges::require_own;
pub(crate) use filter::{Reloaded, absent, reload, shadowed};

use crate::error::{self, Error};
use crate::host::Host;
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};

/// What a part does for `up` or `down`.
type Step = (Part, fn(&Host) -> Result<Vec<HostChange>, Error>);

/// Lower ones first: what is above stands on them.
const UP: &[Step] = &[
    (Part::Limit, limits::up),
    (Part::Ids, ids::up),
    (Part::Bridge, bridges::up),
    (Part::Port, ports::up),
    // Before anything is forwarded, or the firewalls of others let anything through.
    (Part::Filter, filter::up),
    (Part::Sysctl, forwarding::up),
    (Part::Firewall, firewall::up),
    (Part::Resolver, resolver::up),
];

/// What is not done where our table could not be loaded: without it this host would forward for everybody.
const BEHIND_THE_FILTER: [Part; 2] = [Part::Sysctl, Part::Firewall];

const DOWN: &[Step] = &[
    (Part::Resolver, resolver::down),
    (Part::Firewall, firewall::down),
    // Nothing is forwarded from here on, so that the table is not missed.
    (Part::Sysctl, forwarding::down),
    (Part::Filter, filter::down),
    (Part::Bridge, bridges::down),
    (Part::Ids, ids::down),
    (Part::Limit, limits::down),
];

/// What a part does for `check`.
type Look = (Part, fn(&Host) -> Result<Vec<Finding>, Error>);

const CHECK: &[Look] = &[
    (Part::Lxc, lxc::check),
    (Part::Bridge, bridges::check),
    (Part::Port, ports::check),
    (Part::Sysctl, forwarding::check),
    (Part::Filter, filter::check),
    (Part::Firewall, firewall::check),
    (Part::Ids, ids::check),
    (Part::Limit, limits::check),
    (Part::Share, shares::check),
    (Part::Resolver, resolver::check),
];

pub(crate) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let _lock = host.lock_network()?;
    bridges::require_sole(host)?;
    let mut done = all(host, UP)?;
    // Right after a boot connections are followed, and have a limit, only since our filter is there.
    let late = limits::up(host)?;
    done.extend(late.into_iter().filter(|limit| matches!(limit.change, Change::Made | Change::Mended)));
    Ok(done)
}

pub(crate) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    let _lock = host.lock_network()?;
    bridges::require_sole(host)?;
    // Before anything is taken away from them.
    bridges::require_free(host)?;
    all(host, DOWN)
}

/// Every part does what it can, whatever becomes of the others: but nothing is opened before it is guarded.
fn all(host: &Host, steps: &[Step]) -> Result<Vec<HostChange>, Error> {
    let (mut done, mut failures) = (Vec::new(), Vec::<(Part, Error)>::new());
    for (part, step) in steps {
        if BEHIND_THE_FILTER.contains(part) && failures.iter().any(|(failed, _)| *failed == Part::Filter) {
            continue;
        }
        match step(host) {
            Ok(changes) => done.extend(changes),
            // A part of several things has done some of them.
            Err(Error::HostParts { done: some, failures: others }) => {
                done.extend(some);
                failures.extend(others);
            }
            Err(error) => failures.push((*part, error)),
        }
    }
    if failures.is_empty() { Ok(done) } else { Err(Error::HostParts { done, failures }) }
}

/// A part that cannot be looked at hides no other one.
pub(crate) fn check(host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (part, look) in CHECK {
        match look(host) {
            Ok(found) => findings.extend(found),
            Err(error) => findings.push(Finding {
                part: *part,
                name: "all".to_owned(),
                verdict: Verdict::Wrong,
                what: format!("it cannot be looked at: {}", error::chain(&error)),
                mend: error.hint(),
            }),
        }
    }
    findings
}
