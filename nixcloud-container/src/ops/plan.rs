//! What a change of a container's generation would come to: what differs, and how it would take effect. The checks that refuse it are
//! those of the plan of many containers, and its units are asked of the guest.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::model::closure::ClosureChange;
use crate::model::foresight::{KeyChange, PlanVerdict, PlannedUnits};
use crate::model::generation::GenerationId;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::resources::{Bytes, CpuTime};
use crate::model::setters::setters;
use crate::model::spec::ContainerSpec;
use crate::model::state::State;
use crate::nix::{Nix, StorePath};
use crate::ops::create::CreateRequest;
use crate::ops::devices;
use crate::ops::dry_activate;
use crate::ops::lxc_config;
use crate::ops::switch_request::SwitchRequest;
use crate::ops::update::UpdateRequest;
use crate::render::PendingRestart;
use crate::store::closures;
use crate::store::history::Generations;
use crate::store::presence::Presence;
use crate::store::record::Record;

/// Which change is planned, and how closely is looked.
///
/// ```
/// use nixcloud_container::{PlanRequest, PlanTarget, SwitchRequest, UpdateRequest};
///
/// let update = PlanRequest::new(PlanTarget::Update(UpdateRequest::new("web.nix")));
/// let back = PlanRequest::new(PlanTarget::Switch(SwitchRequest::new())).with_look_only(true);
/// assert!(!update.look_only && back.look_only);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlanRequest {
    /// The change.
    pub target: PlanTarget,
    /// Whether it is only looked at, from outside: nothing is built, so that packages are known only where they are there
    /// already; the guest is not entered, so that nothing is known of its units; no lock is taken.
    pub look_only: bool,
}

setters!(PlanRequest: "To be built, and asked of the guest." (target: PlanTarget) {
    with_look_only => look_only: bool,
});

/// A change that can be planned.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PlanTarget {
    /// An update, or a creation where there is no such container.
    Update(UpdateRequest),
    /// A creation, which is refused where there is such a container.
    Create(CreateRequest),
    /// A switch to a generation that is there, or a rollback.
    Switch(SwitchRequest),
}

/// What a change of a container's generation would come to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// The container.
    pub name: ContainerName,
    /// How the change takes effect.
    pub verdict: PlanVerdict,
    /// The state of the container; `None` where there is none.
    pub state: Option<State>,
    /// The generation that is current before.
    pub from: Option<GenerationId>,
    /// The generation that is switched to, where it is there already; `None` for one that is to be made.
    pub to: Option<GenerationId>,
    /// The store path that the generation is; not there yet where it was only looked at.
    pub package: PathBuf,
    /// What becomes of packages; `None` where the generation is not built.
    pub packages: Option<ClosureChange>,
    /// What becomes of the guest's units.
    pub units: PlannedUnits,
    /// The keys of the container file, beside its NixOS configuration, that have another value, by their names, and LXC configuration
    /// items that are given beside the file.
    pub changes: Vec<KeyChange>,
    /// What of LXC's side of a running guest waits for a restart, as the change itself would say it.
    pub pending_restart: Vec<PendingRestart>,
}

setters!(Plan: "Of a container that is to be created." (name: ContainerName, verdict: PlanVerdict, package: PathBuf) {
    with_state => state: Option<State>,
    with_from => from: Option<GenerationId>,
    with_to => to: Option<GenerationId>,
    with_packages => packages: Option<ClosureChange>,
    with_units => units: PlannedUnits,
    with_changes => changes: Vec<KeyChange>,
    with_pending_restart => pending_restart: Vec<PendingRestart>,
});

/// What a container is to become.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) spec: &'a ContainerSpec,
    /// LXC configuration items that it has beside those of the file.
    pub(crate) items: &'a [(String, String)],
    pub(crate) package: &'a StorePath,
    /// Whether the package is in the store, and rooted.
    pub(crate) built: bool,
    /// Its generation, where it is one already.
    pub(crate) to: Option<GenerationId>,
}

/// Of a container that is to be made.
pub(crate) fn of_new(
    host: &Host,
    name: &ContainerName,
    candidate: &Candidate<'_>,
    verdict: PlanVerdict,
    cancel: &Cancel,
) -> Result<Plan, Error> {
    let package = candidate.package;
    let packages = if candidate.built { Some(packages(&host.nix(), None, package, cancel)?) } else { None };
    Ok(Plan::new(name.clone(), verdict, package.as_path())
        .with_packages(packages)
        .with_changes(changes(None, candidate)))
}

/// Of a container that is there. With `ask` the guest is asked, and the container's lock is held.
pub(crate) fn of_known(
    context: &mut Context<'_>,
    record: &mut Record,
    here: &Presence,
    candidate: &Candidate<'_>,
    ask: bool,
) -> Result<Plan, Error> {
    let (host, cancel) = (context.host, context.cancel);
    let Candidate { spec, package, built, .. } = *candidate;
    let generations = Generations::new(&host.layout, &record.name);
    let (from, _) = generations.counting(record)?;
    let before = from.and_then(|from| Some((generations.spec(from).ok()?, generations.package(from).ok()?)));
    let (old_spec, old_package) = before.unzip();
    let packages =
        if built { Some(packages(&host.nix(), old_package.as_ref(), package, cancel)?) } else { None };
    let running = here.state == State::Running;
    let units = match running && ask && built {
        true => dry_activate::ask(context, record, here, package)?,
        false => PlannedUnits::Unasked,
    };
    let pending_restart = if running { pending(host, record, candidate)? } else { Vec::new() };
    let had = old_spec.as_ref().map(|spec| (spec, &record.lxc_items[..]));
    let changes = changes(had, candidate);
    let is_same = old_package.as_ref() == Some(package) && changes.is_empty();
    let moves = record.idmap != spec.idmap;
    let verdict = match &units {
        _ if !running && is_same => PlanVerdict::Nothing,
        _ if !running => PlanVerdict::NextStart,
        PlannedUnits::Refused { .. } => PlanVerdict::Refused,
        PlannedUnits::NeedsRestart => PlanVerdict::Restart,
        _ if built && !is_same && needs_boot(host, record, package) => PlanVerdict::Restart,
        _ if moves || !pending_restart.is_empty() => PlanVerdict::Restart,
        PlannedUnits::Told(units) if is_same && units.is_empty() => PlanVerdict::Nothing,
        PlannedUnits::Unasked if is_same => PlanVerdict::Nothing,
        _ => PlanVerdict::Live,
    };
    Ok(Plan {
        name: record.name.clone(),
        verdict,
        state: Some(here.state),
        from,
        to: candidate.to,
        package: package.as_path().to_owned(),
        packages,
        units,
        changes,
        pending_restart,
    })
}

/// What differs between the closures.
fn packages(
    nix: &Nix,
    before: Option<&StorePath>,
    after: &StorePath,
    cancel: &Cancel,
) -> Result<ClosureChange, Error> {
    let after = nix.closure(after, cancel)?;
    let before = before.map(|before| nix.closure(before, cancel)).transpose()?.unwrap_or_default();
    let mut all: Vec<StorePath> = before.iter().chain(&after).cloned().collect();
    all.sort();
    all.dedup();
    let sizes = nix.sizes(&all, cancel)?;
    let sizes: BTreeMap<&StorePath, u64> = all.iter().zip(sizes).collect();
    let [before, after] = [&before, &after].map(|closure| {
        let sized = |path| (closures::base_name(path), sizes.get(path).copied().unwrap_or_default());
        closure.iter().map(sized).collect::<BTreeMap<&str, u64>>()
    });
    Ok(ClosureChange::between(&before, &after))
}

/// What would wait for a restart, once all that can be claimed and given is.
fn pending(host: &Host, record: &Record, candidate: &Candidate<'_>) -> Result<Vec<PendingRestart>, Error> {
    let Some(run) = devices::noted_run(host, &record.name)? else { return Ok(Vec::new()) };
    let spec = candidate.spec;
    let mut then = Record { lxc_items: candidate.items.to_vec(), ..record.clone() };
    if spec.network.enable_nat && then.internet.is_none() {
        // Which one it will be is known when it is leased.
        then.internet = Some(host.config.network.internet.range().0);
    }
    let rendered = lxc_config::rendered(host, &then, spec)?;
    Ok(devices::foreseen_pending(host, &run, &rendered, spec))
}

/// Whether the init of the guest cannot be switched to that system, by what NixOS compares: the guest says so, too, if it is asked.
fn needs_boot(host: &Host, record: &Record, package: &StorePath) -> bool {
    let version = |package: PathBuf| std::fs::read(package.join("container/init-interface-version")).ok();
    let booted = version(host.layout.booted(&record.name));
    booted.is_some() && booted != version(package.as_path().to_owned())
}

/// What of a container file has another value, beside its NixOS configuration.
fn changes(
    before: Option<(&ContainerSpec, &[(String, String)])>,
    candidate: &Candidate<'_>,
) -> Vec<KeyChange> {
    let values = |(spec, items): (&ContainerSpec, &[(String, String)])| {
        let mut values = BTreeMap::new();
        if let Ok(json) = serde_json::to_value(spec) {
            leaves(String::new(), &json, &mut values);
        }
        // The first is ours, the others follow from the network's keys.
        values.retain(|key, _| key != "schema" && !key.starts_with("effective."));
        for (key, value) in items {
            let all: &mut String = values.entry(key.clone()).or_default();
            *all = if all.is_empty() { value.clone() } else { format!("{all}, {value}") };
        }
        values
    };
    let mut old = before.map_or_else(|| values((&ContainerSpec::new(), &[])), values);
    let mut changes = Vec::new();
    for (key, to) in values((candidate.spec, candidate.items)) {
        let from = old.remove(&key);
        if from.as_ref() != Some(&to) {
            changes.push(KeyChange { key, from, to: Some(to) });
        }
    }
    changes.extend(old.into_iter().map(|(key, from)| KeyChange { key, from: Some(from), to: None }));
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

/// The values of a spec by their keys; what is null or an empty list has none.
fn leaves(path: String, value: &Value, values: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Null => return,
        Value::Array(list) if list.is_empty() => return,
        Value::Object(map) => {
            for (key, value) in map {
                // A device's key is a path.
                let key = if key.contains(['.', '/']) { format!("{key:?}") } else { key.clone() };
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                leaves(path, value, values);
            }
            return;
        }
        Value::String(text) if text.is_empty() => return,
        Value::String(text) => text.trim_end().lines().collect::<Vec<_>>().join("; "),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) => match (path.strip_prefix("resources."), number.as_u64()) {
            (Some(resource), Some(number)) => limit(resource, number),
            _ => number.to_string(),
        },
        other => other.to_string(),
    };
    values.insert(path, text);
}

/// A limit as it is written in a container file.
fn limit(resource: &str, number: u64) -> String {
    const BYTES: [&str; 5] = ["memory", "memoryHigh", "swap", "readBytes", "writeBytes"];
    let is_bytes = resource.starts_with("hugepages.")
        || resource.rsplit('.').next().is_some_and(|last| BYTES.contains(&last));
    match u32::try_from(number) {
        _ if is_bytes => Bytes(number).to_string(),
        Ok(thousandths) if resource == "cpus" => CpuTime(thousandths).to_string(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(before: Option<Value>, after: Value, items: &[(&str, &str)]) -> Vec<String> {
        let spec = |json: Value| {
            let mut all = serde_json::to_value(ContainerSpec::new()).unwrap();
            for (key, value) in json.as_object().unwrap() {
                for (inner, value) in value.as_object().unwrap() {
                    all[key][inner] = value.clone();
                }
            }
            serde_json::from_value::<ContainerSpec>(all).unwrap()
        };
        let items: Vec<(String, String)> =
            items.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let package = format!("/nix/store/{}-x", "0".repeat(32)).parse().unwrap();
        let (before, after) = (before.map(spec), spec(after));
        let candidate = Candidate { spec: &after, items: &items, package: &package, built: false, to: None };
        changes(before.as_ref().map(|spec| (spec, &[][..])), &candidate)
            .into_iter()
            .map(|KeyChange { key, from, to }| format!("{key}: {from:?} -> {to:?}"))
            .collect()
    }

    #[test]
    fn what_changes_of_a_file_is_told_by_its_keys() {
        use serde_json::json;
        let one = json!({ "autostart": { "enable": true, "after": ["db"] } });
        assert_eq!(changed(Some(one.clone()), one.clone(), &[]), [] as [&str; 0]);
        assert_eq!(
            changed(Some(json!({})), one.clone(), &[]),
            ["autostart.after: None -> Some(\"db\")", "autostart.enable: Some(\"false\") -> Some(\"true\")"]
        );
        assert_eq!(
            changed(
                Some(one),
                json!({ "effective": { "ip": "10.0.0.1" } }),
                &[("lxc.a", "x"), ("lxc.a", "y")]
            ),
            [
                "autostart.after: Some(\"db\") -> None",
                "autostart.enable: Some(\"true\") -> Some(\"false\")",
                "lxc.a: None -> Some(\"x, y\")"
            ]
        );
        let limits = json!({ "resources": { "memory": 256 << 20, "cpus": 1500, "pids": 300 } });
        assert_eq!(
            changed(Some(json!({})), limits, &[]),
            [
                "resources.cpus: None -> Some(\"1.5\")",
                "resources.memory: None -> Some(\"256M\")",
                "resources.pids: None -> Some(\"300\")"
            ]
        );
        assert_eq!(
            changed(None, json!({ "autostart": { "order": 3 } }), &[]),
            ["autostart.order: Some(\"0\") -> Some(\"3\")"]
        );
    }
}
