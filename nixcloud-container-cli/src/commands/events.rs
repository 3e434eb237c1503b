//! `events`: what happens to containers, a line each.

use std::time::Duration;

use nixcloud_container::watch::WatchRequest;
use rustix::process::{Resource, Rlimit};

use super::{Context, Failure};
use crate::cli::EventsArgs;
use crate::exit::ExitStatus;
use crate::view::EventView;

/// How soon a reader that has gone is noticed.
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(context: &Context<'_>, args: &EventsArgs) -> Result<ExitStatus, Failure> {
    // A watch holds a file for each guest that runs; what this process may have is its own matter.
    let files = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    let request =
        WatchRequest::new().with_names(args.names.clone()).with_since(args.since.map(|since| since.0));
    let mut watch = context.manager.watch(request)?;
    while !context.cancel.is_cancelled() {
        if context.printer.reader_is_gone() {
            return Ok(ExitStatus::Done);
        }
        match watch.next_within(if args.no_follow { Duration::ZERO } else { TICK })? {
            Some(occurrence) => {
                if let Some(view) = EventView::of(&occurrence) {
                    context.reply(&view);
                }
            }
            None if args.no_follow => return Ok(ExitStatus::Done),
            None => {}
        }
    }
    Ok(ExitStatus::Cancelled)
}
