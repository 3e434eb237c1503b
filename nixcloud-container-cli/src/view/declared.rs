//! eval, apply, update of all.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use nixcloud_container::{Applied, AppliedContainer, Created, Data, Evaluation, Outcome, Planned, Switched};
use serde::Serialize;
use serde_json::Value;

use super::change::ChangeView;
use super::{FailureView, Pending, Table, View, all_details, size};
use crate::screen::printer::Printer;

/// What a container file comes to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EvalView {
    /// The name that it was evaluated with.
    name: String,
    /// The container file.
    file: PathBuf,
    /// What the file says beside its NixOS configuration, as it is in the `spec.json` of a generation.
    spec: Value,
    /// Whether `spec.effective.ip` stands for an address that is leased when the container is created.
    leased: bool,
    /// The generation's derivation.
    derivation: PathBuf,
    /// What the generation would be.
    out: PathBuf,
}

impl EvalView {
    pub(crate) fn of(evaluation: &Evaluation) -> Self {
        Self {
            name: evaluation.name.to_string(),
            file: evaluation.file.clone(),
            spec: serde_json::to_value(&evaluation.spec).unwrap_or_default(),
            leased: evaluation.leased,
            derivation: evaluation.derivation.clone(),
            out: evaluation.out.clone(),
        }
    }

    fn lines(&self) -> Vec<String> {
        let mut rows = Vec::new();
        leaves("", &self.spec, &mut rows);
        rows.retain(|(key, _)| key != "schema");
        for (_, value) in rows.iter_mut().filter(|(key, _)| self.leased && key == "effective.ip") {
            value.push_str(" (another one is leased when it is created)");
        }
        rows.push(("derivation".to_owned(), self.derivation.display().to_string()));
        let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or_default();
        let head = format!("{}: {} is right", self.name, self.file.display());
        let rows = rows.iter().map(|(key, value)| format!("  {key:width$}  {value}"));
        std::iter::once(head).chain(rows).collect()
    }
}

/// What is set: null, false, and what is empty are left out.
fn leaves(path: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let text = match value {
        Value::Null | Value::Bool(false) => return,
        Value::Object(map) => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                leaves(&path, value, rows);
            }
            return;
        }
        Value::Array(list) if list.is_empty() => return,
        Value::Number(number) if number.as_i64() == Some(0) => return,
        Value::String(text) => text.trim_end().lines().collect::<Vec<_>>().join("; "),
        Value::Array(list) if list.iter().all(Value::is_string) => {
            list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    if !text.is_empty() {
        rows.push((path.to_owned(), text));
    }
}

impl View for EvalView {
    fn tell(&self, printer: &Printer) {
        for line in self.lines() {
            printer.result(line);
        }
    }
}

/// What an apply, or an update of all containers, came to.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ApplyView {
    /// What declares the containers; null for an update of all.
    source: Option<String>,
    /// Whether it was only planned.
    dry_run: bool,
    /// How many failed, or cannot be done.
    failed: usize,
    /// The containers by name.
    containers: Vec<AppliedView>,
}

/// What became of a container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AppliedView {
    /// Its name.
    name: String,
    /// What was to become of it: `create`, `update`, `unchanged`, `pinned` (it stays at a generation that somebody chose),
    /// `remove`, `orphaned` (it is declared no more, and stays) or `blocked`.
    planned: &'static str,
    /// What did: `planned` (nothing, in a dry run), `created`, `updated`, `unchanged`, `removed`, `kept` or `failed`.
    outcome: &'static str,
    /// The generation that was current before; null where there was none.
    from: Option<u64>,
    /// The generation that is current now; null where nothing changed.
    generation: Option<u64>,
    /// Of one that goes, how many files go with it; null for others.
    files: Option<u64>,
    /// The bytes that those take.
    bytes: Option<u64>,
    /// Whether a running guest was switched to it.
    activated: bool,
    /// The address of one that was created.
    address: Option<Ipv4Addr>,
    /// What of LXC's side waits for a restart.
    pending_restart: Vec<Pending>,
    /// Why it failed, or cannot be done.
    error: Option<FailureView>,
    /// All that Nix printed about it.
    #[serde(skip)]
    said: Vec<String>,
    /// The plan.
    #[serde(skip)]
    step: Planned,
    /// What was done, in words.
    #[serde(skip)]
    change: Option<ChangeView>,
}

/// What is planned, by its name.
pub(crate) fn planned(planned: Planned) -> &'static str {
    match planned {
        Planned::Create => "create",
        Planned::Update { .. } => "update",
        Planned::Unchanged => "unchanged",
        Planned::Remove { .. } => "remove",
        Planned::Orphaned => "orphaned",
        Planned::Pinned { .. } => "pinned",
        _ => "blocked",
    }
}

/// A plan as a table: all that changes, and how many do not.
pub(crate) fn plan<'a>(steps: impl Iterator<Item = (&'a str, Planned)>) -> Vec<String> {
    let mut table = Table::new(&["PLAN", "CONTAINER", ""]);
    let (mut rows, mut unchanged) = (0_usize, 0_usize);
    for (name, step) in steps {
        let note = match step {
            Planned::Unchanged => {
                unchanged += 1;
                continue;
            }
            Planned::Update { from, .. } => format!("from generation {from}"),
            Planned::Orphaned => "declared no more; --prune destroys it".to_owned(),
            Planned::Pinned { at, .. } => format!("at generation {at}"),
            Planned::Remove { data: Data { files, bytes, .. }, .. } => {
                format!("with its files: {files}, {}", size(bytes))
            }
            _ => String::new(),
        };
        table.row([planned(step).to_owned(), name.to_owned(), note]);
        rows += 1;
    }
    let mut lines = if rows > 0 { table.lines() } else { Vec::new() };
    match (rows, unchanged) {
        (0, count) => lines.push(nothing_to_do(count)),
        (_, 0) => {}
        (_, count) => lines.push(format!("{count} unchanged")),
    }
    lines
}

/// That nothing changes, of so many containers.
fn nothing_to_do(unchanged: usize) -> String {
    match unchanged {
        0 => "there is nothing to do".to_owned(),
        count => format!("there is nothing to do: {count} unchanged"),
    }
}

impl AppliedView {
    fn of(one: &AppliedContainer) -> Self {
        let mut view = Self {
            name: one.name.clone(),
            planned: planned(one.planned),
            outcome: "planned",
            from: None,
            generation: None,
            files: None,
            bytes: None,
            activated: false,
            address: None,
            pending_restart: Vec::new(),
            error: None,
            said: Vec::new(),
            step: one.planned,
            change: None,
        };
        if let Planned::Update { from, .. } = one.planned {
            view.from = Some(from.get());
        }
        if let Planned::Remove { data, .. } = one.planned {
            (view.files, view.bytes) = (Some(data.files), Some(data.bytes));
        }
        match &one.outcome {
            Outcome::Created(created) => view.created(created),
            Outcome::Updated(switched) => view.updated(switched),
            Outcome::Unchanged => view.outcome = "unchanged",
            Outcome::Removed => view.outcome = "removed",
            Outcome::Kept => view.outcome = "kept",
            Outcome::Failed(error) => {
                view.outcome = "failed";
                view.error = Some(FailureView::of_error(error));
                view.said = all_details(error);
            }
            _ => {}
        }
        view
    }

    /// Why nothing was done.
    fn kept(&self) -> String {
        let name = &self.name;
        match self.step {
            Planned::Pinned { at, .. } => {
                format!("kept {name} at generation {at}, where it is pinned: `update {name}` lets it go on")
            }
            _ => format!("kept {name}: it is declared no more, --prune destroys it"),
        }
    }

    fn created(&mut self, created: &Created) {
        self.outcome = "created";
        self.generation = Some(created.generation.get());
        self.address = created.address;
        self.change = Some(ChangeView::created(created, false));
    }

    fn updated(&mut self, switched: &Switched) {
        self.outcome = "updated";
        (self.from, self.generation) = (Some(switched.from.get()), Some(switched.to.get()));
        self.activated = switched.activated;
        self.pending_restart = switched.pending_restart.iter().map(Pending::from).collect();
        self.change = Some(ChangeView::updated(switched));
    }
}

impl ApplyView {
    pub(crate) fn of(applied: &Applied, dry_run: bool) -> Self {
        Self {
            source: applied.source.clone(),
            dry_run,
            failed: applied.failures().count(),
            containers: applied.containers.iter().map(AppliedView::of).collect(),
        }
    }

    /// Whether the plan is to leave all as they are.
    fn changes_nothing(&self) -> bool {
        self.containers.iter().all(|one| matches!(one.step, Planned::Unchanged | Planned::Pinned { .. }))
    }

    /// `2 created, 1 failed`.
    fn summary(&self) -> String {
        let words = ["created", "updated", "unchanged", "removed", "kept", "failed"];
        let count = |word: &str| self.containers.iter().filter(|one| one.outcome == word).count();
        let told: Vec<String> = words
            .iter()
            .map(|word| (count(word), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        if told.is_empty() { "there is nothing to do".to_owned() } else { told.join(", ") }
    }
}

impl View for ApplyView {
    fn tell(&self, printer: &Printer) {
        if self.dry_run && printer.for_people() {
            for line in plan(self.containers.iter().map(|one| (one.name.as_str(), one.step))) {
                printer.result(line);
            }
        }
        for one in &self.containers {
            match (one.outcome, &one.change) {
                (_, Some(change)) => change.tell(printer),
                ("removed", _) => printer.result(format!("destroyed {}", one.name)),
                ("kept", _) => printer.result(one.kept()),
                ("planned", _) if !printer.for_people() && one.planned != "unchanged" => {
                    printer.result(format!("{} {}", one.planned, one.name));
                }
                _ => {}
            }
        }
        for one in &self.containers {
            if let Some(error) = &one.error {
                error.tell_of(&one.name, &one.said, printer);
            }
        }
        if !self.dry_run {
            printer.result(self.summary());
        } else if !printer.for_people() && self.changes_nothing() {
            // The plan of a terminal has said it.
            printer.result(nothing_to_do(self.containers.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_shows_what_changes() {
        let update = serde_json::from_value(serde_json::json!({ "update": { "from": 3 } })).unwrap();
        let steps = [
            ("db", Planned::Unchanged),
            ("mail", update),
            ("old", Planned::Orphaned),
            ("web", Planned::Create),
        ];
        assert_eq!(
            plan(steps.into_iter()),
            [
                "PLAN      CONTAINER",
                "update    mail       from generation 3",
                "orphaned  old        declared no more; --prune destroys it",
                "create    web",
                "1 unchanged"
            ]
        );
        assert_eq!(plan([("db", Planned::Unchanged)].into_iter()), ["there is nothing to do: 1 unchanged"]);
        assert_eq!(plan(std::iter::empty()), ["there is nothing to do"]);
    }

    #[test]
    fn an_evaluation_is_told_by_what_is_set() {
        let view = EvalView {
            name: "web".into(),
            file: "/srv/web.nix".into(),
            spec: serde_json::json!({
                "schema": 1, "name": null, "autostart": {"enable": true, "order": 0, "after": ["db", "mail"]},
                "effective": {"ip": "10.101.255.254"}, "lxcExtraConfig": "a = b\nc = d\n"
            }),
            leased: true,
            derivation: "/nix/store/x.drv".into(),
            out: "/nix/store/x".into(),
        };
        assert_eq!(
            view.lines(),
            [
                "web: /srv/web.nix is right",
                "  autostart.after   db, mail",
                "  autostart.enable  true",
                "  effective.ip      10.101.255.254 (another one is leased when it is created)",
                "  lxcExtraConfig    a = b; c = d",
                "  derivation        /nix/store/x.drv"
            ]
        );
    }
}
