//! `host up`, `host down` and `host check`: the networks of this host, and what many containers need of it. Only what is ours is touched.
//!
//! Each part of the host has a file with what it does for `up`, `down` and `check`; here is their order.

mod bridge_ports;
mod bridges;
mod filter;
mod firewall;
mod forwarding;
mod ids;
mod limits;
mod lxc;
mod resolver;
mod shares;
mod store_view;
mod xtables;

pub(crate) use bridges::require_own;
pub(crate) use filter::{Reloaded, absent, reload, shadowed};

use crate::error::{self, Error};
use crate::host::{Host, grants};
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};
use crate::model::observe::Cancel;

/// What a part does for `up` or `down`.
type Step = (Part, fn(&Host, &Cancel) -> Result<Vec<HostChange>, Error>);

/// Lower ones first: what is above stands on them.
const UP: &[Step] = &[
    (Part::Limit, |host, _| limits::up(host)),
    (Part::Ids, |host, _| ids::up(host)),
    (Part::Bridge, |host, _| bridges::up(host)),
    (Part::BridgePort, |host, _| bridge_ports::up(host)),
    // Before anything is forwarded, or the firewalls of others let anything through.
    (Part::Filter, filter::up),
    (Part::Sysctl, |host, _| forwarding::up(host)),
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
    (Part::Bridge, |host, _| bridges::down(host)),
    (Part::Ids, |host, _| ids::down(host)),
    (Part::Limit, |host, _| limits::down(host)),
];

/// What a part does for `check`.
type Look = (Part, fn(&Host, &Cancel) -> Result<Vec<Finding>, Error>);

const CHECK: &[Look] = &[
    (Part::Lxc, lxc::check),
    (Part::Lxc, store_view::check),
    (Part::Bridge, |host, _| bridges::check(host)),
    (Part::BridgePort, |host, _| bridge_ports::check(host)),
    (Part::Sysctl, |host, _| forwarding::check(host)),
    (Part::Filter, filter::check),
    (Part::Firewall, firewall::check),
    (Part::Ids, |host, _| ids::check(host)),
    (Part::Limit, |host, _| limits::check(host)),
    (Part::Limit, |host, _| grants::check(host)),
    (Part::Share, |host, _| shares::check(host)),
    (Part::Resolver, resolver::check),
];

pub(crate) fn up(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let _lock = host.lock_network(cancel)?;
    bridges::require_sole(host)?;
    let mut done = all(host, UP, cancel)?;
    // Right after a boot connections are followed, and have a limit, only since our filter is there.
    let late = limits::up(host)?;
    done.extend(late.into_iter().filter(|limit| matches!(limit.change, Change::Made | Change::Mended)));
    Ok(done)
}

pub(crate) fn down(host: &Host, cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let _lock = host.lock_network(cancel)?;
    bridges::require_sole(host)?;
    // Before anything is taken away from them.
    bridges::require_free(host)?;
    all(host, DOWN, cancel)
}

/// Every part does what it can, whatever becomes of the others: but nothing is opened before it is guarded.
fn all(host: &Host, steps: &[Step], cancel: &Cancel) -> Result<Vec<HostChange>, Error> {
    let (mut done, mut failures) = (Vec::new(), Vec::<(Part, Error)>::new());
    for (part, step) in steps {
        if BEHIND_THE_FILTER.contains(part) && failures.iter().any(|(failed, _)| *failed == Part::Filter) {
            continue;
        }
        if cancel.is_cancelled() {
            failures.push((*part, Error::Cancelled));
            break;
        }
        match step(host, cancel) {
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
pub(crate) fn check(host: &Host, cancel: &Cancel) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (part, look) in CHECK {
        match look(host, cancel) {
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
