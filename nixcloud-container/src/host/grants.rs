//! What a container has of what it asks for: within what this host's configuration gives to each.

use crate::error::Error;
use crate::host::Host;
use crate::model::config::{Above, Granted, Share};
use crate::model::host_report::{Finding, Part, Verdict};
use crate::model::overrides::Overrides;
use crate::model::spec::ContainerSpec;
use crate::render;
use crate::store::history::Generations;
use crate::store::record::Record;
use crate::sys::cgroup;

/// The memory that all guests together may have; all there is where they leave nothing.
pub(crate) fn together(host: &Host) -> Option<u64> {
    cgroup::memory_of_host().map(|all| host.config.limits.reserve.leaves(all).unwrap_or(all))
}

/// What it has, with what somebody set in place of its own.
pub(crate) fn granted(
    host: &Host,
    spec: &ContainerSpec,
    overrides: Option<&Overrides>,
) -> Result<Granted, Error> {
    let facts = host.facts()?;
    let share = Share::new()
        .with_processes(render::pids_share(facts.processes))
        // Where nobody counts memory there is no default of it either: it could not be held.
        .with_together(facts.controllers.memory.and_then(|_| together(host)));
    let limits = &host.config.limits;
    let Some(overrides) = overrides else {
        return Ok(limits.grant(&spec.resources, &|_| false, share));
    };
    let changed = ContainerSpec { resources: overrides.onto(&spec.resources)?, ..spec.clone() };
    changed.check()?;
    Ok(limits.grant(&changed.resources, &|key| overrides.lifts(key), share))
}

/// The containers that ask for more than there is for one: a ceiling was lowered since.
pub(crate) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for name in Record::names(&host.layout)? {
        let generations = Generations::new(&host.layout, &name);
        // What is damaged or half made is told by others.
        let Ok(Some(record)) = Record::load(&host.layout, &name) else { continue };
        let Ok(spec) = generations.current().and_then(|current| generations.spec(current)) else { continue };
        for Above { key, asked, most } in granted(host, &spec, record.limits.as_ref())?.above {
            findings.push(Finding {
                part: Part::Limit,
                name: name.to_string(),
                verdict: Verdict::Off,
                what: format!(
                    "it asks for `resources.{key}` {asked}, at most {most}: from its next start on it is held to that"
                ),
                mend: Some("ask for less in its container file, or raise `limits.ceilings` (`limits.pids`)".to_owned().into()),
            });
        }
    }
    Ok(findings)
}
