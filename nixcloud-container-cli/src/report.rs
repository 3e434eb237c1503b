//! How a failure is told: what, why, what Nix said about it, and how to go on.

use std::error::Error;

use crate::commands::Failure;
use crate::exit::Status;
use crate::printer::{Printer, Tone, clean};

/// Prints a failure; what it means for the exit code.
pub(crate) fn failure(failure: &Failure, printer: &Printer) -> Status {
    if let Failure::Usage(error) = failure {
        return printer.clap(error);
    }
    let report = Report::of(failure);
    printer.labelled(Tone::Error, "error", &report.what);
    for cause in &report.causes {
        printer.error_line(format!("  caused by: {}", clean(cause)));
    }
    for line in &report.details {
        printer.error_line(format!("  {}", clean(line)));
    }
    if let Some(note) = &report.note {
        printer.labelled(Tone::Warning, "note", note);
    }
    if let Some(hint) = &report.hint {
        printer.labelled(Tone::Hint, "hint", hint);
    }
    failure.status()
}

/// A warning about something that did not stop the command, as a failure is told but without its details.
pub(crate) fn trouble(what: &str, error: &nixcloud_container::Error, printer: &Printer) {
    let lines = chain(error);
    printer.labelled(Tone::Error, "error", &format!("{what}: {}", lines[0]));
    for cause in &lines[1..] {
        printer.error_line(format!("  caused by: {}", clean(cause)));
    }
}

/// A failure, in the order in which it is told.
#[derive(Debug, Default, PartialEq, Eq)]
struct Report {
    what: String,
    causes: Vec<String>,
    details: Vec<String>,
    note: Option<String>,
    hint: Option<String>,
}

impl Report {
    fn of(failure: &Failure) -> Self {
        let mut lines = chain(failure).into_iter();
        let mut report = Self { what: lines.next().unwrap_or_default(), ..Self::default() };
        report.causes = lines.collect();
        report.hint = failure.hint();
        if let Failure::Library(error) = failure {
            report.details = error
                .details()
                .map(|text| text.trim_end().lines().map(str::to_owned).collect())
                .unwrap_or_default();
            report.note = restored(error);
        }
        report
    }
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
        let report = Report::of(&Failure::Library(error));
        assert_eq!(report.what, "cannot destroy container `web`: it is running");
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
        };
        let report = Report::of(&Failure::Library(error));
        assert!(report.what.contains("generation 3 of `web`"), "{}", report.what);
        assert_eq!(report.note.unwrap(), "generation 1 was put back and activated again");
    }
}
