//! How the failure of a command is told, and what it means for the exit code.

use serde::Serialize;

use crate::commands::Failure;
use crate::exit::ExitStatus;
use crate::screen::printer::Printer;
use crate::view::{FailureView, all_details};

/// Prints a failure, in words on stderr and for `--json` as an object on stdout too; what it means for the exit code.
pub(crate) fn failure(failure: &Failure, printer: &Printer) -> ExitStatus {
    #[derive(Serialize)]
    struct ErrorObject<'a> {
        error: &'a FailureView,
    }

    let view = of(failure);
    if printer.json() {
        printer.object(&ErrorObject { error: &view });
    }
    if let Failure::Usage(error) = failure {
        return printer.clap(error);
    }
    let all = match failure {
        Failure::Library(error) => all_details(error),
        _ => Vec::new(),
    };
    view.tell(&all, printer);
    failure.status()
}

fn of(failure: &Failure) -> FailureView {
    match failure {
        Failure::Library(error) => FailureView::of_error(error),
        Failure::Misspelt { error, .. } => {
            FailureView { hint: failure.hint(), ..FailureView::of_error(error) }
        }
        // What clap makes of it has the usage of the command below.
        Failure::Usage(error) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            let view = FailureView::new("usage", failure, None);
            FailureView { message: first.trim_start_matches("error: ").to_owned(), ..view }
        }
        Failure::Unasked { .. } => FailureView::new("refused", failure, failure.hint()),
        Failure::NoMatch { .. } => FailureView::new("not-found", failure, failure.hint()),
        other => FailureView::new("system", other, other.hint()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usage_error_is_one_line() {
        let report = of(&Failure::usage("stop", "in `-l`, no"));
        assert_eq!((report.kind, report.message.as_str(), report.causes.len()), ("usage", "in `-l`, no", 0));
    }
}
