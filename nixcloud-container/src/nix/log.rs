//! Nix's `--log-format internal-json`, read line by line into events and into what an error needs.
//!
//! A line is `@nix {"action": ...}` (`start` and `stop` of an activity, a `result` of one, a
//! `msg`) or, seldom, plain text. The numbers of activities and results are those of Nix's
//! `logging.hh`, unchanged from 2.8 on.

use std::collections::{HashMap, VecDeque};

use serde::Deserialize;
use serde_json::Value;

use super::StorePath;
use super::excerpt::Step;
use super::position::Position;
use super::text;
use crate::model::observe::{Event, Observer};

/// Lines of Nix's own output that are kept for an error.
const KEPT_LINES: usize = 200;
/// Lines of a build's log that are kept for an error.
const KEPT_LOG_LINES: usize = 20;
/// Finished builds whose log is still kept: the error about one may come after its end.
const KEPT_BUILDS: usize = 64;
/// Errors that are kept; with `--keep-going` there may be many.
const KEPT_ERRORS: usize = 50;
/// Names of fetched things are short; a URL need not be.
const NAME_CHARS: usize = 120;
/// A kept line is cut after so many bytes.
const KEPT_BYTES: usize = 4096;

mod activity {
    pub(super) const COPY_PATH: u64 = 100;
    pub(super) const FILE_TRANSFER: u64 = 101;
    pub(super) const BUILDS: u64 = 104;
    pub(super) const BUILD: u64 = 105;
}

mod result {
    pub(super) const BUILD_LOG_LINE: u64 = 101;
    pub(super) const PROGRESS: u64 = 105;
    pub(super) const SET_EXPECTED: u64 = 106;
    pub(super) const POST_BUILD_LOG_LINE: u64 = 107;
}

mod level {
    pub(super) const ERROR: u64 = 0;
    pub(super) const WARN: u64 = 1;
    pub(super) const INFO: u64 = 3;
}

#[derive(Deserialize)]
struct Line {
    action: String,
    #[serde(default)]
    id: u64,
    #[serde(default, rename = "type")]
    kind: u64,
    #[serde(default)]
    fields: Vec<Value>,
    #[serde(default)]
    level: u64,
    #[serde(default)]
    msg: String,
    raw_msg: Option<String>,
    #[serde(flatten)]
    place: Place,
    #[serde(default)]
    trace: Vec<Traced>,
}

#[derive(Deserialize)]
struct Place {
    file: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
}

#[derive(Deserialize)]
struct Traced {
    #[serde(default)]
    raw_msg: String,
    #[serde(flatten)]
    place: Place,
}

impl Place {
    fn position(&self) -> Option<Position> {
        let (file, line) = (self.file.as_deref()?, self.line?);
        // Nix 2.26 says where a syntax error is in the file's name, too.
        let again = self.column.map(|column| format!(":{line}:{column}"));
        let file = again.and_then(|again| file.strip_suffix(&again)).unwrap_or(file);
        Position::at(file, line, self.column)
    }
}

/// An error that Nix reported.
#[derive(Debug, Clone)]
pub(super) struct Reported {
    /// What is wrong.
    pub(super) message: String,
    /// The same as Nix prints it, with its trace.
    pub(super) text: String,
    pub(super) positions: Vec<Position>,
    /// Its trace, innermost first.
    pub(super) steps: Vec<Step>,
}

/// A build that failed.
#[derive(Debug)]
pub(super) struct FailedBuild {
    pub(super) derivation: StorePath,
    pub(super) message: String,
    pub(super) log_tail: Vec<String>,
}

#[derive(Debug)]
struct Build {
    derivation: StorePath,
    name: String,
    tail: VecDeque<String>,
}

/// A kind of transfer, as Nix's own progress bar counts it.
#[derive(Debug, Default)]
struct Transfer {
    running: HashMap<u64, (u64, u64)>,
    done: u64,
    announced: HashMap<u64, u64>,
}

impl Transfer {
    fn stop(&mut self, id: u64) {
        if let Some((done, _)) = self.running.remove(&id) {
            self.done = self.done.saturating_add(done);
        }
        self.announced.remove(&id);
    }

    fn count(&self) -> (u64, u64) {
        let sum = |start: u64, values: &mut dyn Iterator<Item = u64>| values.fold(start, u64::saturating_add);
        let done = sum(self.done, &mut self.running.values().map(|(done, _)| *done));
        let running = sum(self.done, &mut self.running.values().map(|(_, expected)| *expected));
        let announced = sum(0, &mut self.announced.values().copied());
        (done, done.max(running).max(announced))
    }
}

/// What is known from the lines read so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    kinds: HashMap<u64, u64>,
    builds: HashMap<u64, Build>,
    ended: VecDeque<Build>,
    downloads: Transfer,
    copies: Transfer,
    /// What is being fetched, by activity.
    fetching: HashMap<u64, String>,
    build_count: (u64, u64),
    download_count: (u64, u64),
    errors: Vec<Reported>,
    lines: VecDeque<String>,
}

impl Log {
    /// Reads one line, without its end.
    pub(super) fn line(&mut self, line: &[u8], observer: &mut dyn Observer) {
        let json = line.strip_prefix(b"@nix ").and_then(|json| serde_json::from_slice::<Line>(json).ok());
        match json {
            Some(line) => match line.action.as_str() {
                "start" => self.start(&line, observer),
                "stop" => self.stop(&line, observer),
                "result" => self.result(&line, observer),
                "msg" => self.message(&line, observer),
                _ => {}
            },
            None => self.plain(&text::plain(&String::from_utf8_lossy(line)), observer),
        }
    }

    fn start(&mut self, line: &Line, observer: &mut dyn Observer) {
        self.kinds.insert(line.id, line.kind);
        let path = line.fields.first().and_then(Value::as_str);
        let fetched = match line.kind {
            activity::COPY_PATH => path.and_then(copied),
            activity::FILE_TRANSFER => path.and_then(transferred),
            _ => None,
        };
        if let Some(name) = fetched {
            observer.event(Event::DownloadStarted { name: name.clone() });
            self.fetching.insert(line.id, name);
        }
        if line.kind != activity::BUILD {
            return;
        }
        if let Some(derivation) = path.and_then(|path| path.parse::<StorePath>().ok()) {
            let name = build_name(&derivation);
            observer.event(Event::BuildStarted { name: name.clone() });
            self.builds.insert(line.id, Build { derivation, name, tail: VecDeque::new() });
        }
    }

    fn stop(&mut self, line: &Line, observer: &mut dyn Observer) {
        self.kinds.remove(&line.id);
        self.downloads.stop(line.id);
        self.copies.stop(line.id);
        if let Some(name) = self.fetching.remove(&line.id) {
            observer.event(Event::DownloadFinished { name });
        }
        if let Some(build) = self.builds.remove(&line.id) {
            observer.event(Event::BuildFinished { name: build.name.clone() });
            keep(&mut self.ended, build, KEPT_BUILDS);
        }
    }

    fn result(&mut self, line: &Line, observer: &mut dyn Observer) {
        let number = |at: usize| line.fields.get(at).and_then(Value::as_u64);
        match line.kind {
            result::BUILD_LOG_LINE | result::POST_BUILD_LOG_LINE => {
                let text = line.fields.first().and_then(Value::as_str).map(text::plain);
                if let (Some(build), Some(text)) = (self.builds.get_mut(&line.id), text) {
                    keep(&mut build.tail, cut(&text), KEPT_LOG_LINES);
                    observer.event(Event::BuildLog { name: build.name.clone(), line: text });
                }
            }
            result::PROGRESS => {
                let (Some(done), Some(expected)) = (number(0), number(1)) else { return };
                match self.kinds.get(&line.id) {
                    Some(&activity::BUILDS) if self.build_count != (done, expected) => {
                        self.build_count = (done, expected);
                        observer.event(Event::BuildCount { done, expected });
                    }
                    Some(&activity::FILE_TRANSFER) => {
                        self.downloads.running.insert(line.id, (done, expected));
                        self.transfer(observer);
                    }
                    Some(&activity::COPY_PATH) => {
                        self.copies.running.insert(line.id, (done, expected));
                        self.transfer(observer);
                    }
                    _ => {}
                }
            }
            result::SET_EXPECTED => {
                let (Some(kind), Some(expected)) = (number(0), number(1)) else { return };
                let transfer = match kind {
                    activity::FILE_TRANSFER => &mut self.downloads,
                    activity::COPY_PATH => &mut self.copies,
                    _ => return,
                };
                transfer.announced.insert(line.id, expected);
                self.transfer(observer);
            }
            _ => {}
        }
    }

    /// Reports the bytes of downloads, or of copies where nothing is downloaded.
    fn transfer(&mut self, observer: &mut dyn Observer) {
        let downloads = self.downloads.count();
        let count = if downloads.1 > 0 { downloads } else { self.copies.count() };
        if count != self.download_count {
            self.download_count = count;
            observer.event(Event::DownloadCount { done: count.0, expected: count.1 });
        }
    }

    fn message(&mut self, line: &Line, observer: &mut dyn Observer) {
        let text = without_answer(&text::plain(&line.msg)).into_owned();
        self.keep_lines(&text);
        match &line.raw_msg {
            Some(raw) if line.level == level::ERROR => {
                let step = |traced: &Traced| Step {
                    text: text::plain(&traced.raw_msg),
                    position: traced.place.position(),
                };
                let steps: Vec<Step> = line.trace.iter().map(step).collect();
                let traced = steps.iter().filter_map(|step| step.position.clone());
                let positions = line.place.position().into_iter().chain(traced).collect();
                let message = without_answer(&text::plain(raw)).into_owned();
                self.report(Reported { message, text, positions, steps });
            }
            // What Nix says at this level, the counts and the names of builds say too.
            _ if line.level == level::INFO => {}
            _ => {
                let warning = (line.level == level::WARN || is_warning(&text)) && !is_passing(&text);
                observer.event(Event::NixMessage { warning, text });
            }
        }
    }

    fn plain(&mut self, text: &str, observer: &mut dyn Observer) {
        let text = &*without_answer(text);
        self.keep_lines(text);
        if let Some(message) = text.strip_prefix("error: ") {
            self.report(Reported {
                message: message.to_owned(),
                text: text.to_owned(),
                positions: Vec::new(),
                steps: Vec::new(),
            });
        } else if !text.trim().is_empty() {
            observer.event(Event::NixMessage { warning: is_warning(text), text: text.to_owned() });
        }
    }

    fn report(&mut self, error: Reported) {
        if self.errors.len() < KEPT_ERRORS {
            self.errors.push(error);
        }
    }

    fn keep_lines(&mut self, text: &str) {
        for line in text.lines() {
            keep(&mut self.lines, cut(line), KEPT_LINES);
        }
    }

    /// The errors that Nix reported, in order.
    pub(super) fn errors(&self) -> &[Reported] {
        &self.errors
    }

    /// The last lines that Nix printed.
    pub(super) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }

    /// The build that failed first: the derivation that the first error about any names.
    pub(super) fn failed_build(&self) -> Option<FailedBuild> {
        let named = |error: &Reported| {
            text::quoted_store_path(&error.message)
                .filter(StorePath::is_derivation)
                .map(|derivation| (derivation, without_log(&error.message)))
        };
        let failures: Vec<_> = self.errors.iter().filter_map(named).collect();
        let ran = |derivation: &StorePath| {
            self.builds.values().chain(&self.ended).find(|build| build.derivation == *derivation)
        };
        // One that ran tells more than one that was given up for another's sake.
        let at = failures.iter().position(|(derivation, _)| ran(derivation).is_some()).unwrap_or(0);
        let (derivation, message) = failures.into_iter().nth(at)?;
        let log_tail = ran(&derivation).map(|build| build.tail.iter().cloned().collect()).unwrap_or_default();
        Some(FailedBuild { derivation, message, log_tail })
    }

    /// The path that Nix says is not in the store.
    pub(super) fn missing_path(&self) -> Option<StorePath> {
        let missing = ["cannot build missing derivation", "is not valid", "does not exist in the store"];
        self.errors
            .iter()
            .filter(|error| missing.iter().any(|words| error.message.contains(words)))
            .find_map(|error| text::quoted_store_path(&error.message))
    }
}

/// A derivation's name as people say it.
pub(super) fn build_name(derivation: &StorePath) -> String {
    let name = derivation.name();
    name.strip_suffix(".drv").unwrap_or(name).to_owned()
}

/// The name of a store path that is copied.
fn copied(path: &str) -> Option<String> {
    path.parse::<StorePath>().ok().map(|path| path.name().to_owned())
}

/// The name of a file that is fetched. What a binary cache is asked for on the way to a path has none: the path has one.
fn transferred(url: &str) -> Option<String> {
    let url = url.split(['?', '#']).next()?;
    let (_, name) = url.trim_end_matches('/').rsplit_once('/')?;
    // `x.narinfo`, `x.nar.xz`.
    let of_a_cache = name.contains(".nar") || name == "nix-cache-info";
    let name: String = text::plain(name).chars().take(NAME_CHARS).collect();
    (!of_a_cache && !name.is_empty()).then_some(name)
}

/// Later versions of Nix put the end of the log and how to get the rest into the message.
fn without_log(message: &str) -> String {
    let ends = [";\nlast ", "\nOutput paths:", "\nLast ", "\nFor full logs"];
    let end = ends.iter().filter_map(|end| message.find(end)).min().unwrap_or(message.len());
    message[..end].to_owned()
}

/// Nix says so while it waits for another Nix, and then goes on.
fn is_passing(text: &str) -> bool {
    text.contains("SQLite database") && text.contains("is busy")
}

fn is_warning(text: &str) -> bool {
    ["warning:", "trace: warning:", "evaluation warning:"].iter().any(|start| text.starts_with(start))
}

fn keep<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

fn cut(line: &str) -> String {
    let end = (0..=KEPT_BYTES.min(line.len())).rev().find(|at| line.is_char_boundary(*at));
    line[..end.unwrap_or(0)].to_owned()
}

/// Where Nix cannot start a program, the child that was to become it prints what its parent had not printed yet: the
/// beginning of the answer, in front of its error. It is cut out, wherever the error is quoted.
fn without_answer(text: &str) -> std::borrow::Cow<'_, str> {
    const BEGIN: &str = "{\"containers\":";
    let Some(from) = text.find(BEGIN) else { return text.into() };
    match text[from..].find("error: ") {
        Some(length) => format!("{}{}", &text[..from], &text[from + length + "error: ".len()..]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
