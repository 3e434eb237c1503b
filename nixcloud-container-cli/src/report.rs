//! How a failure is told: what, why, what Nix said about it, and how to go on.

use std::error::Error;

use nixcloud_container::ErrorKind;
use serde::Serialize;

use crate::commands::Failure;
use crate::exit::Status;
use crate::screen::printer::{Printer, Tone, clean};
use crate::view::{ActivationView, FailureView, HostView, Pending};

/// The hint where there is no better one, and Nix said more than is shown.
const MORE: &str = "`-v` shows all that Nix says about it";

/// Prints a failure, in words on stderr and for `--json` as an object on stdout too; what it means for the exit code.
pub(crate) fn failure(failure: &Failure, printer: &Printer) -> Status {
    #[derive(Serialize)]
    struct Answer<'a> {
        error: &'a FailureView,
    }

    let report = of(failure);
    if printer.json() {
        printer.object(&Answer { error: &report });
    }
    if let Failure::Usage(error) = failure {
        return printer.clap(error);
    }
    let all = if printer.verbose() { all_details(failure) } else { Vec::new() };
    tell(&report.message, &report, &all, printer);
    failure.status()
}

/// The failure of one container of several, as any failure is told; `all` is what Nix printed.
pub(crate) fn one(name: &str, report: &FailureView, all: &[String], printer: &Printer) {
    let all = if printer.verbose() { all } else { &[] };
    tell(&format!("{name}: {}", report.message), report, all, printer);
}

fn tell(message: &str, report: &FailureView, all: &[String], printer: &Printer) {
    printer.labelled(Tone::Error, "error", message);
    for cause in &report.causes {
        printer.cause(cause);
    }
    let title = (!all.is_empty()).then(|| "in Nix's own words:".to_owned());
    for line in report.details.iter().chain(&title).chain(all) {
        printer.error_line(clean(format!("  {line}").trim_end()));
    }
    if let Some(note) = &report.note {
        printer.labelled(Tone::Warning, "note", note);
    }
    let pending = report.activation.as_ref().map(|activation| Pending::words(&activation.pending_restart));
    for line in pending.unwrap_or_default() {
        printer.labelled(Tone::Warning, "note", &line);
    }
    if let Some(hint) = report.hint.as_ref().filter(|hint| all.is_empty() || *hint != MORE) {
        printer.labelled(Tone::Hint, "hint", hint);
    }
}

/// An error about something that did not stop the command, as a failure is told.
pub(crate) fn trouble(what: &str, error: &FailureView, printer: &Printer) {
    printer.labelled(Tone::Error, "error", &format!("{what}: {}", error.message));
    for cause in &error.causes {
        printer.cause(cause);
    }
    if let Some(hint) = &error.hint {
        printer.labelled(Tone::Hint, "hint", hint);
    }
}

fn of(failure: &Failure) -> FailureView {
    match failure {
        Failure::Library(error) => of_error(error),
        Failure::Misspelt { error, .. } => FailureView { hint: failure.hint(), ..of_error(error) },
        // What clap makes of it has the usage of the command below.
        Failure::Usage(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let report = view("usage", failure, None);
            FailureView { message: first.trim_start_matches("error: ").to_owned(), ..report }
        }
        Failure::Unasked { .. } => view("refused", failure, failure.hint()),
        Failure::NoMatch { .. } => view("not-found", failure, failure.hint()),
        other => view("system", other, other.hint()),
    }
}

/// A hint of the library, whose operations are commands here.
pub(crate) fn spelled(hint: &nixcloud_container::Hint) -> String {
    hint.spelled(|remedy| format!("`nixcloud-container {remedy}`"))
}

/// An error of the library, in the order in which it is told.
pub(crate) fn of_error(error: &nixcloud_container::Error) -> FailureView {
    let mut report = view(error.kind().as_str(), error, error.hint().as_ref().map(spelled));
    report.details = error.excerpt();
    if report.hint.is_none() && error.kind() == ErrorKind::Input && has_more(error) {
        report.hint = Some(MORE.to_owned());
    }
    report.note = restored(error);
    report.activation = ActivationView::of(error).map(Box::new);
    if let nixcloud_container::Error::HostParts { done, .. } = error {
        report.host = Some(HostView::of(done));
    }
    report
}

/// Why a container cannot come after others.
pub(crate) fn of_after(error: &nixcloud_container::AfterError) -> FailureView {
    view("input", error, Some("`autostart.after` of its container file says so".to_owned()))
}

fn view(kind: &'static str, error: &dyn Error, hint: Option<String>) -> FailureView {
    let mut lines = chain(error).into_iter();
    let message = lines.next().unwrap_or_default();
    FailureView {
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

/// Whether Nix said more than is shown.
fn has_more(error: &nixcloud_container::Error) -> bool {
    let said = error.details().map_or(0, |text| text.lines().count());
    said > error.excerpt().len() + 1
}

/// All that Nix printed, for who wants everything.
fn all_details(failure: &Failure) -> Vec<String> {
    let Failure::Library(error) = failure else { return Vec::new() };
    all_of(error)
}

/// The same of an error.
pub(crate) fn all_of(error: &nixcloud_container::Error) -> Vec<String> {
    error.details().unwrap_or_default().trim_end().lines().map(str::to_owned).collect()
}

/// What a container runs after an activation that failed.
fn restored(error: &nixcloud_container::Error) -> Option<String> {
    match error {
        nixcloud_container::Error::Activation { restored: Some(id), .. } => {
            Some(format!("generation {id} was put back and activated again"))
        }
        _ => None,
    }
}

/// An error and what it came from, outermost first. What a line says already is not said again below it.
fn chain(error: &dyn Error) -> Vec<String> {
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

fn indented(error: &dyn Error) -> String {
    error.to_string().trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use nixcloud_container::{Action, State};

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl std::fmt::Display for Layer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as &dyn Error)
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

    #[test]
    fn a_usage_error_is_one_line() {
        let report = of(&Failure::usage("stop", "in `-l`, no"));
        assert_eq!((report.kind, report.message.as_str(), report.causes.len()), ("usage", "in `-l`, no", 0));
    }

    #[test]
    fn a_refusal_says_what_and_how_to_go_on() {
        let name: nixcloud_container::ContainerName = "web".parse().unwrap();
        let error = nixcloud_container::Error::State { name, state: State::Running, action: Action::Destroy };
        let report = of(&Failure::Library(error));
        assert_eq!(report.message, "cannot destroy container `web`: it is running");
        assert_eq!(report.causes, [""; 0]);
        assert!(report.hint.unwrap().contains("nixcloud-container stop web"));
    }

    #[test]
    fn what_was_put_back_is_said() {
        let id = |number| nixcloud_container::GenerationId::new(number).unwrap();
        let error = nixcloud_container::Error::Activation {
            name: "web".parse().unwrap(),
            generation: id(3),
            outcome: nixcloud_container::FailedActivation::Failed { code: 2 },
            restored: Some(id(1)),
            pending_restart: Vec::new(),
        };
        let report = of(&Failure::Library(error));
        assert!(report.message.contains("generation 3 of `web`"), "{}", report.message);
        assert_eq!(report.note.unwrap(), "generation 1 was put back and activated again");
    }
}
