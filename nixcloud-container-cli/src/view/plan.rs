//! plan, and a switch or rollback in a dry run.

use std::path::PathBuf;

use nixcloud_container::{
    ClosureChange, GenerationId, KeyChange, PackageChange, Plan, PlanVerdict, PlannedUnits, UnitPlan,
};
use serde::Serialize;

use super::{NOTHING, Pending, Table, View, or_nothing, size};
use crate::screen::printer::{Printer, clean};

/// What a change of a container would come to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PlanView {
    /// The container.
    name: String,
    /// How the change takes effect: `nothing` (there is nothing to do), `create`, `recreate` (only remains of the container are
    /// there), `next_start` (it does not run), `live` (in the running guest), `restart` (at least a part of it waits for that) or
    /// `refused` (the guest refuses to be switched).
    verdict: &'static str,
    /// The state of the container; null where there is none.
    state: Option<String>,
    /// The generation that is current before; null where there is none.
    from: Option<u64>,
    /// The generation that is switched to; null for one that is to be made.
    generation: Option<u64>,
    /// The store path that the generation is.
    package: PathBuf,
    /// What becomes of packages; null where the generation is not built.
    packages: Option<PackagesView>,
    /// What becomes of the guest's units.
    units: UnitsView,
    /// Keys of the container file, beside its NixOS configuration, that have another value; and LXC configuration items that are given
    /// beside it.
    changes: Vec<ChangedKey>,
    /// What of LXC's side of a running guest would wait for a restart.
    pending_restart: Vec<Pending>,
    /// The command that does it.
    #[serde(skip)]
    call: String,
    #[serde(skip)]
    what: PlanVerdict,
}

/// What becomes of the packages in the closure.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PackagesView {
    /// The packages that come, go or change, by name.
    changes: Vec<PackageView>,
    /// How many more have other store paths, and neither another version nor a size that differs by 8 KiB.
    rebuilt: usize,
    /// The store paths of the closure before.
    paths_before: usize,
    /// The store paths of the closure then.
    paths_after: usize,
    /// The bytes of the closure before.
    bytes_before: u64,
    /// The bytes of the closure then.
    bytes_after: u64,
}

/// A package that comes, goes or changes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct PackageView {
    /// Its name, without version and output.
    name: String,
    /// `added`, `removed` or `changed`.
    fate: &'static str,
    /// Its versions before; an empty text stands for a store path without one.
    before: Vec<String>,
    /// Its versions then.
    after: Vec<String>,
    /// Its bytes before.
    bytes_before: u64,
    /// Its bytes then.
    bytes_after: u64,
}

/// What becomes of units, in the guest's own words.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct UnitsView {
    /// Whether they are known: `told` by the guest; `unasked`; `needs_restart` (its init cannot be switched), `refused` (by a check
    /// before the switch) or `unknown` (it gave no answer).
    known: &'static str,
    /// Why it refuses, or gave no answer; in part the guest's words.
    why: Option<String>,
    /// Units that are stopped.
    stop: Vec<String>,
    /// Units that are started.
    start: Vec<String>,
    /// Units that are restarted.
    restart: Vec<String>,
    /// Units that are reloaded.
    reload: Vec<String>,
    /// Units that changed and ask to be left alone.
    keep: Vec<String>,
}

/// A key that has another value.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ChangedKey {
    /// The key.
    key: String,
    /// Its value before; null where it had none.
    from: Option<String>,
    /// Its value then.
    to: Option<String>,
}

impl From<&ClosureChange> for PackagesView {
    fn from(change: &ClosureChange) -> Self {
        let package = |one: &PackageChange| PackageView {
            name: one.name.clone(),
            fate: one.fate.as_str(),
            before: one.before.clone(),
            after: one.after.clone(),
            bytes_before: one.bytes_before,
            bytes_after: one.bytes_after,
        };
        Self {
            changes: change.packages.iter().map(package).collect(),
            rebuilt: change.rebuilt,
            paths_before: change.paths_before,
            paths_after: change.paths_after,
            bytes_before: change.bytes_before,
            bytes_after: change.bytes_after,
        }
    }
}

impl PackagesView {
    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.changes.is_empty() {
            let mut table = Table::new(&["", "PACKAGE", "BEFORE", "AFTER", "SIZE"]).right(4);
            for one in &self.changes {
                let mark = match one.fate {
                    "added" => "+",
                    "removed" => "-",
                    _ => "",
                };
                table.row([
                    mark.to_owned(),
                    one.name.clone(),
                    versions(&one.before, mark == "+"),
                    versions(&one.after, mark == "-"),
                    difference(one.bytes_before, one.bytes_after),
                ]);
            }
            lines.extend(table.lines());
        }
        if self.rebuilt > 0 {
            let more = if self.changes.is_empty() { "" } else { " more" };
            let (packages, are) = if self.rebuilt == 1 { ("package", "is") } else { ("packages", "are") };
            lines.push(format!("{} {packages}{more} {are} built anew", self.rebuilt));
        }
        lines.push(format!(
            "closure: {} -> {} ({}), {} -> {} paths",
            size(self.bytes_before),
            size(self.bytes_after),
            difference(self.bytes_before, self.bytes_after),
            self.paths_before,
            self.paths_after,
        ));
        lines
    }
}

/// Versions in a cell; those of paths without one are left out.
fn versions(versions: &[String], absent: bool) -> String {
    let named: Vec<&str> =
        versions.iter().map(String::as_str).filter(|version| !version.is_empty()).collect();
    if absent || named.is_empty() { NOTHING.to_owned() } else { named.join(", ") }
}

/// By how much something grows or shrinks.
fn difference(before: u64, after: u64) -> String {
    let sign = if after < before { "-" } else { "+" };
    format!("{sign}{}", size(before.abs_diff(after)))
}

impl From<&PlannedUnits> for UnitsView {
    fn from(units: &PlannedUnits) -> Self {
        let (known, why, plan) = match units {
            PlannedUnits::Unasked => ("unasked", None, UnitPlan::default()),
            PlannedUnits::Told(plan) => ("told", None, plan.clone()),
            PlannedUnits::NeedsRestart => ("needs_restart", None, UnitPlan::default()),
            PlannedUnits::Refused { line, .. } => ("refused", Some(line.clone()), UnitPlan::default()),
            PlannedUnits::Unknown { why, .. } => ("unknown", Some(why.clone()), UnitPlan::default()),
            _ => ("unknown", None, UnitPlan::default()),
        };
        let UnitPlan { stop, start, restart, reload, keep, .. } = plan;
        Self { known, why, stop, start, restart, reload, keep }
    }
}

impl UnitsView {
    fn lines(&self) -> Vec<String> {
        let why = || clean(self.why.as_deref().unwrap_or_default());
        match self.known {
            "told" => {}
            "needs_restart" => return vec!["units: the guest's init cannot be switched to it".to_owned()],
            "refused" => return vec![format!("units: the guest refuses, in its own words: {}", why())],
            "unknown" => return vec![format!("units: the guest does not say: {}", why())],
            _ => return Vec::new(),
        }
        let all = [
            ("stop", &self.stop),
            ("restart", &self.restart),
            ("reload", &self.reload),
            ("start", &self.start),
            ("leave", &self.keep),
        ];
        let told = all.into_iter().filter(|(_, units)| !units.is_empty());
        let mut lines: Vec<String> =
            told.map(|(what, units)| format!("  {what:<7}  {}", units.join(", "))).collect();
        lines.insert(
            0,
            if lines.is_empty() { "units: none" } else { "units, in the guest's own words:" }.to_owned(),
        );
        lines
    }
}

impl PlanView {
    /// `call` is the command that does what is planned.
    pub(crate) fn of(plan: &Plan, call: &str) -> Self {
        let key =
            |one: &KeyChange| ChangedKey { key: one.key.clone(), from: one.from.clone(), to: one.to.clone() };
        Self {
            name: plan.name.to_string(),
            verdict: plan.verdict.as_str(),
            state: plan.state.map(|state| state.to_string()),
            from: plan.from.map(GenerationId::get),
            generation: plan.to.map(GenerationId::get),
            package: plan.package.clone(),
            packages: plan.packages.as_ref().map(PackagesView::from),
            units: UnitsView::from(&plan.units),
            changes: plan.changes.iter().map(key).collect(),
            pending_restart: plan.pending_restart.iter().map(Pending::from).collect(),
            call: call.to_owned(),
            what: plan.verdict,
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.packages.as_ref().map(PackagesView::lines).unwrap_or_default();
        lines.extend(self.units.lines());
        for one in &self.changes {
            let value = |value: &Option<String>| or_nothing(value.as_deref());
            lines.push(clean(&format!("{}: {} -> {}", one.key, value(&one.from), value(&one.to))));
        }
        lines.extend(Pending::words(&self.pending_restart));
        lines.push(self.last());
        lines
    }

    /// The verdict, with what to call.
    fn last(&self) -> String {
        let Self { name, call, .. } = self;
        match self.what {
            PlanVerdict::Nothing => format!("nothing to do: {name} is what it should be"),
            PlanVerdict::Create => format!("create: `{call}` makes {name}"),
            PlanVerdict::Recreate => {
                format!("recreate: only remains of {name} are there, `{call}` makes it anew")
            }
            PlanVerdict::NextStart => {
                format!("next start: {name} does not run; `{call}` makes it boot that at its next start")
            }
            PlanVerdict::Live => format!("live: `{call}` does all of it in the running guest"),
            PlanVerdict::Restart if self.units.known == "needs_restart" => {
                format!(
                    "restart: after `{call}` it is booted by `restart {name}`, and nothing changes before"
                )
            }
            PlanVerdict::Restart => {
                format!("restart: `{call}` does what it can in the running guest, `restart {name}` the rest")
            }
            PlanVerdict::Refused => format!("refused: `{call}` would fail, and put back what there is"),
            _ => self.verdict.to_owned(),
        }
    }
}

impl View for PlanView {
    fn tell(&self, printer: &Printer) {
        for line in self.lines() {
            printer.result(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn plan(verdict: &str, units: &Value) -> Vec<String> {
        let plan: Plan = from_value(json!({
            "name": "web", "verdict": verdict, "state": "running", "from": 3, "to": null, "package": "/nix/store/x",
            "packages": {
                "packages": [
                    {"name": "glibc", "fate": "changed", "before": ["2.37"], "after": ["2.37", "2.38"], "bytes_before": 1024, "bytes_after": 4096},
                    {"name": "gone", "fate": "removed", "before": ["1"], "after": [], "bytes_before": 2048, "bytes_after": 0},
                    {"name": "new", "fate": "added", "before": [], "after": [""], "bytes_before": 0, "bytes_after": 512},
                ],
                "rebuilt": 3, "paths_before": 40, "paths_after": 41, "bytes_before": 10240, "bytes_after": 11776,
            },
            "units": units,
            "changes": [
                {"key": "resources.memory", "from": null, "to": "256M"},
                {"key": "lxcExtraConfig", "from": "lxc.a = \u{1b}[2Jx", "to": null},
            ],
            "pending_restart": [{"key": "lxc.environment", "running": [], "next": ["A=b"]}],
        }))
        .unwrap();
        PlanView::of(&plan, "update web web.nix").lines()
    }

    #[test]
    fn a_plan_is_told_in_groups_and_ends_with_its_verdict() {
        let units = json!({"told": {"stop": ["a.service"], "start": [], "restart": ["b.service", "c.service"], "reload": [], "keep": []}});
        assert_eq!(
            plan("restart", &units),
            [
                "   PACKAGE  BEFORE  AFTER           SIZE",
                "   glibc    2.37    2.37, 2.38  +3.0 KiB",
                "-  gone     1       -           -2.0 KiB",
                "+  new      -       -             +512 B",
                "3 packages more are built anew",
                "closure: 10.0 KiB -> 11.5 KiB (+1.5 KiB), 40 -> 41 paths",
                "units, in the guest's own words:",
                "  stop     a.service",
                "  restart  b.service, c.service",
                "resources.memory: - -> 256M",
                "lxcExtraConfig: lxc.a = [2Jx -> -",
                "pending restart: lxc.environment gets A=b",
                "restart: `update web web.nix` does what it can in the running guest, `restart web` the rest",
            ]
        );
    }

    #[test]
    fn what_a_guest_says_steers_no_terminal() {
        let lines = plan("live", &json!({"unknown": {"why": "it ends with 7: \u{1b}[2Jno"}}));
        assert!(
            lines.contains(&"units: the guest does not say: it ends with 7: [2Jno".to_owned()),
            "{lines:?}"
        );
        assert_eq!(lines.last().unwrap(), "live: `update web web.nix` does all of it in the running guest");
        let lines = plan("refused", &json!({"refused": {"line": "Pre-switch check 'x' failed"}}));
        assert!(lines.concat().contains("in its own words: Pre-switch check 'x' failed"), "{lines:?}");
        assert!(plan("nothing", &json!("unasked")).last().unwrap().starts_with("nothing to do"));
    }
}
