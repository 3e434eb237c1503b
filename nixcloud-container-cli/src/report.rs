//! How a failure is told: what, why, what Nix said about it, and how to go on.

use std::error::Error;

use serde::Serialize;

use crate::commands::Failure;
use crate::exit::Status;
use crate::printer::{Printer, Tone, clean};
use crate::view::{ActivationView, FailureView, kind};

/// How many lines of Nix's words are shown unless all are wanted: its trace may have thousands.
const SHOWN: usize = 24;

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
    printer.labelled(Tone::Error, "error", &report.message);
    for cause in &report.causes {
        printer.error_line(format!("  caused by: {}", clean(cause)));
    }
    let shown = if printer.verbose() { report.details.len() } else { shown(report.details.len()) };
    for line in &report.details[..shown] {
        printer.error_line(clean(format!("  {line}").trim_end()));
    }
    if shown < report.details.len() {
        let rest = report.details.len() - shown;
        printer.error_line(format!("  ... {rest} more lines of Nix: shown with `-v`"));
    }
    if let Some(note) = &report.note {
        printer.labelled(Tone::Warning, "note", note);
    }
    for pending in report.activation.iter().flat_map(|activation| &activation.pending_restart) {
        printer.labelled(Tone::Warning, "note", &pending.words());
    }
    if let Some(hint) = &report.hint {
        printer.labelled(Tone::Hint, "hint", hint);
    }
    failure.status()
}

/// An error about something that did not stop the command, as a failure is told but without its details.
pub(crate) fn trouble(what: &str, error: &FailureView, printer: &Printer) {
    printer.labelled(Tone::Error, "error", &format!("{what}: {}", error.message));
    for cause in &error.causes {
        printer.error_line(format!("  caused by: {}", clean(cause)));
    }
}

fn of(failure: &Failure) -> FailureView {
    match failure {
        Failure::Library(error) => of_error(error),
        other => {
            let kind = if matches!(other, Failure::Usage(_)) { "usage" } else { "system" };
            view(kind, other, other.hint())
        }
    }
}

/// An error of the library, in the order in which it is told.
pub(crate) fn of_error(error: &nixcloud_container::Error) -> FailureView {
    let mut report = view(kind(error.kind()), error, error.hint());
    let place = match error {
        nixcloud_container::Error::Nix(error) => error.position().map(ToString::to_string),
        _ => None,
    };
    // Without details the message says it all, with its place.
    if let Some(text) = error.details() {
        report.details = details(&text, place, &report.message);
    }
    report.note = restored(error);
    report.activation = ActivationView::of(error).map(Box::new);
    report
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
    }
}

/// Nix's own words, without the line that `what` says already; first of all the place in the user's files, where Nix
/// does not begin with it.
fn details(text: &str, place: Option<String>, what: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.trim_end().lines().map(str::to_owned).collect();
    if lines.first().is_some_and(|line| what.ends_with(line.trim_start_matches("error: "))) {
        lines.remove(0);
    }
    let blank = lines.iter().take_while(|line| line.trim().is_empty()).count();
    lines.drain(..blank);
    if let Some(place) = place
        && !lines.iter().take(SHOWN).any(|line| line.contains(&place))
    {
        lines.insert(0, format!("at {place}"));
    }
    lines
}

/// How many of so many lines are shown: all, where hardly any would be left out.
fn shown(lines: usize) -> usize {
    if lines <= SHOWN + SHOWN / 2 { lines } else { SHOWN }
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
    fn a_refusal_says_what_and_how_to_go_on() {
        let name: nixcloud_container::ContainerName = "web".parse().unwrap();
        let error = nixcloud_container::Error::State { name, state: State::Running, action: Action::Destroy };
        let report = of(&Failure::Library(error));
        assert_eq!(report.message, "cannot destroy container `web`: it is running");
        assert_eq!(report.causes, [""; 0]);
        assert!(report.hint.unwrap().contains("nixcloud-container stop web"));
    }

    #[test]
    fn nix_is_quoted_once_with_the_users_place_first() {
        let trace = format!("error: attribute 'a' missing\n\n{}", "  at /lib.nix:1:1:\n".repeat(40));
        let what = "evaluation failed: attribute 'a' missing";
        let lines = details(&trace, Some("/web.nix:1:9".to_owned()), what);
        assert_eq!(lines[..2], ["at /web.nix:1:9", "  at /lib.nix:1:1:"]);
        assert_eq!(lines.len(), 41);
        assert_eq!(details(&trace, Some("/lib.nix:1:1".to_owned()), what).len(), 40);
    }

    #[test]
    fn long_traces_are_cut_but_not_for_a_few_lines() {
        assert_eq!([0, SHOWN, SHOWN + 1, 1000].map(shown), [0, SHOWN, SHOWN + 1, SHOWN]);
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
