//! `list --watch`: on a terminal the table, drawn anew; in a pipe a line for each container that changes. Both follow what happens;
//! the interval bounds how old the figures are of which nobody tells, memory for one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use nixcloud_container::watch::{Watch, WatchRequest};

use super::{Context, Failure, inspect};
use crate::exit::ExitStatus;
use crate::lxc_args::Ls;
use crate::screen::alternate::AlternateScreen;
use crate::screen::printer::Printer;
use crate::view::ListView;

/// How soon Ctrl-C, and a reader that has gone, are noticed.
const TICK: Duration = Duration::from_millis(50);

pub(super) fn list(context: &Context<'_>, interval: Duration, asked: &Ls) -> Result<ExitStatus, Failure> {
    let printer = context.printer;
    let screen = (printer.for_people() && !context.globals.json).then(|| AlternateScreen::enter(printer));
    let mut changes = Changes::default();
    // Before the first look, so that nothing falls between. Where the host allows no further watch the interval is all there is.
    let mut watch = context.manager.watch(WatchRequest::new().with_since(Timestamp::now())).ok();
    while !context.cancel.is_cancelled() {
        let view = ListView::of(&inspect::chosen(context, asked)?);
        match &screen {
            Some(screen) => screen.draw(&view.table()),
            None => changes.tell(&view, printer),
        }
        let next = Instant::now() + interval;
        while Instant::now() < next && !context.cancel.is_cancelled() {
            if printer.reader_is_gone() {
                return Ok(ExitStatus::Done);
            }
            if something_happens(&mut watch) {
                break;
            }
        }
    }
    Ok(ExitStatus::Cancelled)
}

/// Waits a moment, and says whether something has happened.
fn something_happens(watch: &mut Option<Watch>) -> bool {
    let Some(watching) = watch else {
        std::thread::sleep(TICK);
        return false;
    };
    match watching.next_within(TICK) {
        // What happened with it is in the next look, too.
        Ok(Some(_)) => {
            while let Ok(Some(_)) = watching.try_next() {}
            true
        }
        Ok(None) => false,
        Err(_) => {
            *watch = None;
            false
        }
    }
}

/// What was told of each container last.
#[derive(Debug, Default)]
struct Changes(BTreeMap<String, String>);

impl Changes {
    fn tell(&mut self, view: &ListView, printer: &Printer) {
        // The memory, in the last column, changes all the time.
        let now: BTreeMap<String, String> = (view.containers.iter())
            .map(|row| {
                (
                    row.name().to_owned(),
                    row.cells().split_last().map(|(_, rest)| rest.join("\t")).unwrap_or_default(),
                )
            })
            .collect();
        if now == self.0 && !now.is_empty() {
            return;
        }
        if printer.json() {
            printer.object(view);
        } else {
            for line in self.lines(&now) {
                printer.answer(line);
            }
        }
        self.0 = now;
    }

    fn lines(&self, now: &BTreeMap<String, String>) -> Vec<String> {
        let gone = self.0.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name}\tgone"));
        let changed =
            now.iter().filter(|(name, row)| self.0.get(*name) != Some(row)).map(|(_, row)| row.clone());
        gone.chain(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_is_told() {
        let rows = |rows: &[(&str, &str)]| {
            rows.iter().map(|(name, row)| ((*name).to_owned(), (*row).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let before = Changes(rows(&[("db", "db\trunning"), ("web", "web\trunning"), ("x", "x\tstopped")]));
        let now = rows(&[("db", "db\trunning"), ("web", "web\tstopped"), ("y", "y\tstopped")]);
        assert_eq!(before.lines(&now), ["x\tgone", "web\tstopped", "y\tstopped"]);
    }
}
