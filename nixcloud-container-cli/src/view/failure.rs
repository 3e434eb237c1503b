//! A failure, in the order in which it is told: what, why, what Nix or LXC said about it, and how to go on.

use nixcloud_container::{AfterError, Error, ErrorKind, FailedActivation};
use serde::Serialize;

use super::{HostView, Pending, spelled};
use crate::screen::printer::{Printer, Tone, clean};

/// The hint where there is no better one, and Nix said more than is shown.
const MORE: &str = "`-v` shows all that Nix says about it";

/// What is printed, on stdout, where a command fails with `--json`: `{"error": ...}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct FailureView {
    /// What a program would do about it: `permission`, `not-found`, `exists`, `refused`, `busy`, `input`, `build`,
    /// `activation`, `host`, `lxc`, `timeout`, `cancelled`, `usage` or `system`.
    pub(crate) kind: &'static str,
    /// What failed.
    pub(crate) message: String,
    /// Why, outermost first.
    pub(crate) causes: Vec<String>,
    /// Nix's or LXC's own words, line by line.
    pub(crate) details: Vec<String>,
    /// What was put back.
    pub(crate) note: Option<String>,
    /// How to go on.
    pub(crate) hint: Option<String>,
    /// What became of a generation that did not work out in the running guest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) activation: Option<Box<ActivationView>>,
    /// What of the host was changed all the same, where some of its parts could not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<HostView>,
}

/// An activation that did not work out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ActivationView {
    /// The generation that was to be activated.
    generation: u64,
    /// `failed`, `units-failed`, `needs-restart` or `killed`.
    outcome: &'static str,
    /// The exit code of `switch-to-configuration`.
    code: Option<i32>,
    /// The units that failed.
    units: Vec<String>,
    /// The generation that was put back and activated again; null where the new one stays.
    restored: Option<u64>,
    /// What of LXC's side waits for a restart, where the new generation stays.
    pub(crate) pending_restart: Vec<Pending>,
}

impl ActivationView {
    pub(crate) fn of(error: &Error) -> Option<Self> {
        let Error::Activation { generation, outcome, restored, pending_restart, .. } = error else {
            return None;
        };
        let (outcome, code, units) = match outcome {
            FailedActivation::Failed { code, .. } => ("failed", Some(*code), Vec::new()),
            FailedActivation::UnitsFailed { units, .. } => ("units-failed", Some(4), units.clone()),
            FailedActivation::NeedsRestart => ("needs-restart", Some(100), Vec::new()),
            _ => ("killed", None, Vec::new()),
        };
        Some(Self {
            generation: generation.get(),
            outcome,
            code,
            units,
            restored: restored.map(nixcloud_container::GenerationId::get),
            pending_restart: pending_restart.iter().map(Pending::from).collect(),
        })
    }
}

impl FailureView {
    /// Of an error and what it came from.
    pub(crate) fn new(kind: &'static str, error: &dyn std::error::Error, hint: Option<String>) -> Self {
        let mut lines = chain(error).into_iter();
        let message = lines.next().unwrap_or_default();
        Self {
            kind,
            message,
            causes: lines.collect(),
            details: Vec::new(),
            note: None,
            hint,
            activation: None,
            host: None,
        }
    }

    /// Of an error of the library.
    pub(crate) fn of_error(error: &Error) -> Self {
        let mut view = Self::new(error.kind().as_str(), error, error.hint().as_ref().map(spelled));
        view.details = error.excerpt();
        if view.hint.is_none() && error.kind() == ErrorKind::Input && has_more(error) {
            view.hint = Some(MORE.to_owned());
        }
        view.note = restored(error);
        view.activation = ActivationView::of(error).map(Box::new);
        if let Error::HostParts { done, .. } = error {
            view.host = Some(HostView::of(done));
        }
        view
    }

    /// Why a container cannot come after others.
    pub(crate) fn of_after(error: &AfterError) -> Self {
        Self::new("input", error, Some("`autostart.after` of its container file says so".to_owned()))
    }

    /// Tells the failure of a command; `all` is what Nix printed.
    pub(crate) fn tell(&self, all: &[String], printer: &Printer) {
        self.tell_as(&self.message, all, printer);
    }

    /// Tells the failure of one container of several, as any failure is told.
    pub(crate) fn tell_of(&self, name: &str, all: &[String], printer: &Printer) {
        self.tell_as(&format!("{name}: {}", self.message), all, printer);
    }

    fn tell_as(&self, message: &str, all: &[String], printer: &Printer) {
        let all = if printer.verbose() { all } else { &[] };
        printer.labelled(Tone::Error, "error", message);
        for cause in &self.causes {
            printer.cause(cause);
        }
        let title = (!all.is_empty()).then(|| "in Nix's own words:".to_owned());
        for line in self.details.iter().chain(&title).chain(all) {
            printer.error_line(clean(format!("  {line}").trim_end()));
        }
        if let Some(note) = &self.note {
            printer.labelled(Tone::Warning, "note", note);
        }
        let pending = self.activation.as_ref().map(|activation| Pending::words(&activation.pending_restart));
        for line in pending.unwrap_or_default() {
            printer.labelled(Tone::Warning, "note", &line);
        }
        if let Some(hint) = self.hint.as_ref().filter(|hint| all.is_empty() || *hint != MORE) {
            printer.labelled(Tone::Hint, "hint", hint);
        }
    }

    /// Tells an error about something that did not stop the command, as a failure is told.
    pub(crate) fn tell_trouble(&self, what: &str, printer: &Printer) {
        printer.labelled(Tone::Error, "error", &format!("{what}: {}", self.message));
        for cause in &self.causes {
            printer.cause(cause);
        }
        if let Some(hint) = &self.hint {
            printer.labelled(Tone::Hint, "hint", hint);
        }
    }
}

/// All that Nix printed, for who wants everything.
pub(crate) fn all_details(error: &Error) -> Vec<String> {
    error.details().unwrap_or_default().trim_end().lines().map(str::to_owned).collect()
}

/// Whether Nix said more than is shown.
fn has_more(error: &Error) -> bool {
    let said = error.details().map_or(0, |text| text.lines().count());
    said > error.excerpt().len() + 1
}

/// What a container runs after an activation that failed.
fn restored(error: &Error) -> Option<String> {
    match error {
        Error::Activation { restored: Some(id), .. } => {
            Some(format!("generation {id} was put back and activated again"))
        }
        _ => None,
    }
}

/// An error and what it came from, outermost first. What a line says already is not said again below it.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let mut lines = vec![indented(error)];
    let mut next = error.source();
    while let Some(source) = next {
        let line = indented(source);
        if !line.is_empty() && lines.last().is_none_or(|above| !above.contains(&line)) {
            lines.push(line);
        }
        next = source.source();
    }
    lines
}

fn indented(error: &dyn std::error::Error) -> String {
    error.to_string().trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|layer| layer as &dyn std::error::Error)
        }
    }

    fn layers(lines: &[&'static str]) -> Layer {
        let mut lines = lines.iter().rev();
        let last = Layer(lines.next().unwrap(), None);
        lines.fold(last, |below, line| Layer(line, Some(Box::new(below))))
    }

    #[test]
    fn each_cause_is_told_once() {
        let error = layers(&["cannot start: no bridge", "no bridge", "not root", ""]);
        assert_eq!(chain(&error), ["cannot start: no bridge", "not root"]);
    }

    #[test]
    fn more_lines_are_indented() {
        assert_eq!(chain(&layers(&["a", "b\nlxc: c\n"])), ["a", "b\n    lxc: c"]);
    }
}
