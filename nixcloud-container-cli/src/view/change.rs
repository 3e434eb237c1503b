//! create, update, switch-generation, rollback.

use std::net::Ipv4Addr;

use nixcloud_container::{Created, Switched};
use serde::Serialize;

use super::{Pending, View};
use crate::screen::printer::{Printer, Tone};

/// What became of a container's generation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangeView {
    /// The container.
    name: String,
    /// What was done.
    action: Action,
    /// The generation that was current before; null for one that was created.
    from: Option<u64>,
    /// The generation that is current now.
    generation: u64,
    /// Whether the running guest was switched to it; otherwise it boots at the next start.
    activated: bool,
    /// Whether it stays there when all containers are updated: somebody chose it.
    pinned: bool,
    /// The address of one that was created; null otherwise, and where its bridge gives it one.
    address: Option<Ipv4Addr>,
    /// What of LXC's side (network, limits, mounts) waits for a restart.
    pending_restart: Vec<Pending>,
    /// Units of the guest that had failed before and fail still: no fault of the generation.
    failed_before: Vec<String>,
    /// `update` made it, since it did not exist.
    #[serde(skip)]
    unasked: bool,
}

/// What was done to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// It is new.
    Created,
    /// It has a new generation.
    Updated,
    /// It was switched to a generation that was there.
    Switched,
    /// It was switched to the generation before.
    RolledBack,
}

impl Action {
    fn verb(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Switched => "switched",
            Self::RolledBack => "rolled back",
        }
    }
}

impl ChangeView {
    /// `unasked` when `update` created it.
    pub(crate) fn created(created: &Created, unasked: bool) -> Self {
        Self {
            name: created.name.to_string(),
            action: Action::Created,
            from: None,
            generation: created.generation.get(),
            activated: false,
            pinned: false,
            address: created.address,
            pending_restart: Vec::new(),
            failed_before: Vec::new(),
            unasked,
        }
    }

    pub(crate) fn updated(switched: &Switched) -> Self {
        Self::of(switched, Action::Updated)
    }

    pub(crate) fn switched(switched: &Switched) -> Self {
        Self::of(switched, Action::Switched)
    }

    pub(crate) fn rolled_back(switched: &Switched) -> Self {
        Self::of(switched, Action::RolledBack)
    }

    fn of(switched: &Switched, action: Action) -> Self {
        Self {
            name: switched.name.to_string(),
            action,
            from: Some(switched.from.get()),
            generation: switched.to.get(),
            activated: switched.activated,
            pinned: matches!(action, Action::Switched | Action::RolledBack),
            address: None,
            pending_restart: switched.pending_restart.iter().map(Pending::from).collect(),
            failed_before: switched.failed_before.clone(),
            unasked: false,
        }
    }

    fn words(&self) -> String {
        let Self { name, action, generation: to, activated, .. } = self;
        let verb = action.verb();
        let Some(from) = self.from else {
            let unasked = if self.unasked { format!("{name} did not exist: ") } else { String::new() };
            return match self.address {
                Some(address) => format!("{unasked}created {name} (generation {to}, {address})"),
                None => format!("{unasked}created {name} (generation {to})"),
            };
        };
        match (from == *to, activated) {
            (true, true) => format!("{name} stays at generation {to}, activated again"),
            (true, false) => format!("{name} stays at generation {to}"),
            (false, true) => format!("{verb} {name} in place: generation {from} -> {to}"),
            (false, false) => format!("{verb} {name}: generation {from} -> {to}, booted at the next start"),
        }
    }
}

impl View for ChangeView {
    fn tell(&self, printer: &Printer) {
        printer.result(self.words());
        for line in Pending::words(&self.pending_restart) {
            printer.result(line);
        }
        if self.pinned {
            let text = format!("`update --all` leaves it there, until `update {}`", self.name);
            printer.note(Tone::Hint, "note", &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_switch_tells_when_it_takes_effect() {
        let done = |from: u64, to: u64, activated: bool| -> Switched {
            from_value(json!({
                "name": "web", "from": from, "to": to, "activated": activated, "pending_restart": [], "failed_before": [],
            }))
            .unwrap()
        };
        let words = ChangeView::updated(&done(1, 2, true)).words();
        assert_eq!(words, "updated web in place: generation 1 -> 2");
        let words = ChangeView::rolled_back(&done(2, 1, false)).words();
        assert_eq!(words, "rolled back web: generation 2 -> 1, booted at the next start");
        assert_eq!(ChangeView::updated(&done(2, 2, false)).words(), "web stays at generation 2");
    }
}
