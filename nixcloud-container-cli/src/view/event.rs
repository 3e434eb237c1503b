//! events: what happened to a container, a line each.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use nixcloud_container::GenerationId;
use nixcloud_container::watch::{Busy, Occurred, Occurrence, Operation};
use serde::Serialize;

use super::View;
use crate::screen::printer::Printer;

/// Something that happened to a container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EventView {
    /// When: of what an operation noted, the time of the note; of what was found by looking, the time of the look.
    #[cfg_attr(test, schemars(with = "String"))]
    at: Timestamp,
    /// The container.
    name: String,
    /// What happened: `found` (how it is as the watch begins), `created`, `started`, `booting`, `ready`, `ended`, `frozen`,
    /// `unfrozen`, `switched`, `busy`, `idle`, `destroyed` or `unreadable`. There may be more.
    event: &'static str,
    /// Of `found`: its state, as `list` has it.
    state: Option<String>,
    /// Of `found`: whether it runs and has not finished booting.
    booting: Option<bool>,
    /// Of `found` and `created` the generation that boots at the next start, of `started` the one that was booted, of `switched` the
    /// one that counts now.
    generation: Option<u64>,
    /// Of `switched`: the generation before.
    from: Option<u64>,
    /// Of `found`, `started` and `ended`: the guest's init, in the host's pid namespace.
    init_pid: Option<i32>,
    /// Of `ended`: `by_itself`, `rebooted`, `stopped`, `killed` or `unknown`.
    how: Option<&'static str>,
    /// Of `ended`: the code that init ended with, where that is known.
    exit_code: Option<i32>,
    /// Of `ended`: the signal that ended init, where that is known.
    signal: Option<i32>,
    /// Of `busy`: the operation that changes the container: `create`, `plan`, `update`, `switch`, `delete_generations`, `set`, `start`,
    /// `stop`, `terminate`, `freeze`, `unfreeze`, `repair` or `destroy`; null where it is not known.
    operation: Option<&'static str>,
    /// Of `busy`: the process that does it.
    pid: Option<u32>,
    /// Of `busy`: since when.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    since: Option<Timestamp>,
    /// Of `unreadable`: why it cannot be read.
    why: Option<String>,
    /// The same in words.
    text: String,
}

impl EventView {
    /// `None` of what this program has no word for.
    pub(crate) fn of(occurrence: &Occurrence) -> Option<Self> {
        let mut view = Self {
            at: occurrence.at,
            name: occurrence.name.to_string(),
            event: "",
            state: None,
            booting: None,
            generation: None,
            from: None,
            init_pid: None,
            how: None,
            exit_code: None,
            signal: None,
            operation: None,
            pid: None,
            since: None,
            why: None,
            text: String::new(),
        };
        (view.event, view.text) = match &occurrence.what {
            Occurred::Found { state, booting, generation, init, .. } => {
                view.state = Some(state.to_string());
                view.booting = Some(*booting);
                view.generation = generation.map(GenerationId::get);
                view.init_pid = *init;
                let state = if *booting { "booting".to_owned() } else { state.to_string() };
                ("found", format!("is {state}{}", at_generation(view.generation)))
            }
            Occurred::Unreadable { why, .. } => {
                view.why = Some(why.clone());
                ("unreadable", format!("cannot be read: {why}"))
            }
            Occurred::Created { generation, .. } => {
                view.generation = generation.map(GenerationId::get);
                ("created", format!("created{}", at_generation(view.generation)))
            }
            Occurred::Started { init, generation, .. } => {
                view.init_pid = Some(*init);
                view.generation = generation.map(GenerationId::get);
                ("started", format!("started{}, init {init}", at_generation(view.generation)))
            }
            Occurred::Booting => ("booting", "boots".to_owned()),
            Occurred::Ready => ("ready", "has booted".to_owned()),
            Occurred::Ended { init, how, code, signal, .. } => {
                (view.init_pid, view.how) = (Some(*init), Some(how.as_str()));
                (view.exit_code, view.signal) = (*code, *signal);
                let with = match (code, signal) {
                    (_, Some(signal)) => format!(" (signal {signal})"),
                    (Some(code), None) => format!(" (code {code})"),
                    (None, None) => String::new(),
                };
                ("ended", format!("ended: {}{with}", how.words()))
            }
            Occurred::Frozen => ("frozen", "frozen".to_owned()),
            Occurred::Unfrozen => ("unfrozen", "goes on".to_owned()),
            Occurred::Switched { from, to, .. } => {
                (view.from, view.generation) = (Some(from.get()), Some(to.get()));
                ("switched", format!("switched from generation {from} to {to}"))
            }
            Occurred::Busy(busy) => {
                view.operation = busy.operation.map(Operation::as_str);
                (view.pid, view.since) = (busy.pid, Some(busy.since));
                ("busy", busy_text(busy))
            }
            Occurred::Idle => ("idle", "free again".to_owned()),
            Occurred::Destroyed => ("destroyed", "destroyed".to_owned()),
            _ => return None,
        };
        Some(view)
    }

    /// A line, with the time as it is in `zone`.
    pub(super) fn line(&self, zone: &TimeZone) -> String {
        let at = self.at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S");
        format!("{at}  {}  {}", self.name, self.text)
    }
}

fn at_generation(generation: Option<u64>) -> String {
    generation.map(|generation| format!(", generation {generation}")).unwrap_or_default()
}

fn busy_text(busy: &Busy) -> String {
    let what = busy.operation.map_or("an operation", Operation::words);
    let who = busy.pid.map(|pid| format!(" by process {pid}")).unwrap_or_default();
    format!("busy: {what}{who}")
}

impl View for EventView {
    fn tell(&self, printer: &Printer) {
        printer.answer(self.line(&TimeZone::system()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_line_tells_when_who_and_what() {
        let line = |what: serde_json::Value| {
            let occurrence = json!({ "name": "web", "at": "2026-11-30T06:40:05.123Z", "what": what });
            EventView::of(&from_value(occurrence).unwrap()).unwrap().line(&TimeZone::UTC)
        };
        let process = json!({ "operation": "delete_generations", "pid": 7, "since": "2026-11-30T06:40:05Z" });
        let lines = [
            json!({ "found": { "state": "running", "booting": true, "generation": 3, "init": 9 } }),
            json!({ "created": { "generation": 1 } }),
            json!({ "started": { "init": 9, "generation": 1 } }),
            json!({ "ended": { "init": 9, "how": "by_itself", "code": 0, "signal": null } }),
            json!({ "ended": { "init": 9, "how": "killed", "code": null, "signal": 9 } }),
            json!({ "ended": { "init": 9, "how": "unknown", "code": null, "signal": null } }),
            json!({ "switched": { "from": 1, "to": 2 } }),
            json!({ "busy": process }),
            json!("idle"),
        ];
        assert_eq!(
            lines.map(line),
            [
                "2026-11-30 06:40:05  web  is booting, generation 3",
                "2026-11-30 06:40:05  web  created, generation 1",
                "2026-11-30 06:40:05  web  started, generation 1, init 9",
                "2026-11-30 06:40:05  web  ended: by itself (code 0)",
                "2026-11-30 06:40:05  web  ended: killed (signal 9)",
                "2026-11-30 06:40:05  web  ended: unknown",
                "2026-11-30 06:40:05  web  switched from generation 1 to 2",
                "2026-11-30 06:40:05  web  busy: delete-generations by process 7",
                "2026-11-30 06:40:05  web  free again",
            ]
        );
    }
}
