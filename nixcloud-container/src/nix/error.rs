//! Why Nix did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use super::argv::Program;
use super::excerpt::{self, Trace};
use super::log::Log;
use super::position::Position;
use super::text;
use super::{ArgumentError, StorePath, StorePathError, VersionError};

/// A failure of Nix or of running it. [`Error::details`] has what Nix printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program is not installed, or not on `PATH`.
    #[error("cannot find `{}`", path.display())]
    #[non_exhaustive]
    Missing {
        /// Which program.
        program: Program,
        /// The name or path under which it was looked for.
        path: PathBuf,
    },
    /// The program could not be started.
    #[error("cannot start `{}`", path.display())]
    #[non_exhaustive]
    Spawn {
        /// Its path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Reading what the program printed, or waiting for it, failed. The program was killed.
    #[error("lost touch with {program}")]
    #[non_exhaustive]
    Pipe {
        /// Which program.
        program: Program,
        /// What the system said.
        source: io::Error,
    },
    /// An argument of the user that cannot be passed on, or a path that Nix would misread.
    #[error(transparent)]
    Argument(#[from] ArgumentError),
    /// The expression cannot be evaluated.
    #[error("evaluation failed: {}", excerpt::headline(message).0)]
    #[non_exhaustive]
    Evaluation {
        /// What is wrong, without trace.
        message: String,
        /// Where it is.
        trace: Box<Trace>,
    },
    /// A derivation cannot be built.
    #[error("cannot build {name}: {}", excerpt::build_reason(message, derivation.as_str()))]
    #[non_exhaustive]
    Build {
        /// The derivation's name without hash and `.drv`.
        name: String,
        /// The derivation, for `nix-store --read-log`.
        derivation: StorePath,
        /// Nix's reason.
        message: String,
        /// The last lines of that build's log; empty when it never ran.
        log_tail: Vec<String>,
        /// All the errors that Nix reported, in order.
        errors: Vec<String>,
    },
    /// A path that should be in the store is not there (any more): nothing roots a derivation
    /// between evaluation and build. Evaluating again brings it back.
    #[error("{path} is not in the store")]
    #[non_exhaustive]
    NotInStore {
        /// The path.
        path: StorePath,
    },
    /// The program failed in a way that has no name here.
    #[error("{program} failed with {status}{}", after_colon(stderr))]
    #[non_exhaustive]
    Failed {
        /// Which program.
        program: Program,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it printed.
        stderr: Vec<String>,
    },
    /// A signal that did not come from here ended the program: out of memory, a stack overflow,
    /// somebody's `kill`.
    #[error("{program} was killed by signal {signal}{}", after_colon(stderr))]
    #[non_exhaustive]
    Killed {
        /// Which program.
        program: Program,
        /// The signal's number.
        signal: i32,
        /// The last lines it printed.
        stderr: Vec<String>,
    },
    /// It was cancelled. Whether the work had been done already must be looked up.
    #[error("cancelled")]
    Cancelled,
    /// The result is not the JSON that was expected.
    #[error("{program} gave an unexpected answer")]
    #[non_exhaustive]
    Unreadable {
        /// Which program.
        program: Program,
        /// What does not fit.
        source: serde_json::Error,
    },
    /// Nix printed no version.
    #[error("{program} does not say its version")]
    #[non_exhaustive]
    Version {
        /// Which program.
        program: Program,
        /// What it printed instead.
        source: VersionError,
    },
    /// Nix printed something else than store paths.
    #[error("{program} prints what is no store path")]
    #[non_exhaustive]
    Paths {
        /// Which program.
        program: Program,
        /// What it printed.
        source: StorePathError,
    },
    /// The build succeeded, but its root is not a link to a store path.
    #[error("`{}` does not lead to a store path", link.display())]
    #[non_exhaustive]
    Root {
        /// The link that Nix was told to make.
        link: PathBuf,
        /// Why it cannot be read or what it holds.
        source: io::Error,
    },
}

/// Lines of a program's last words in an excerpt.
const LAST_LINES: usize = 10;

/// The line that says why: the last one that Nix calls an error, else the last of all. What follows an error of Nix's may
/// be the address of a page.
fn reason(stderr: &[String]) -> Option<usize> {
    let error = stderr.iter().rposition(|line| line.trim_start().starts_with("error: "));
    error.or_else(|| stderr.iter().rposition(|line| !line.trim().is_empty()))
}

fn after_colon(stderr: &[String]) -> String {
    let line = reason(stderr).map(|at| text::one_line(&stderr[at]));
    line.map_or_else(String::new, |line| format!(": {}", line.trim_start().trim_start_matches("error: ")))
}

impl Error {
    /// What Nix itself says, in full: the trace of an evaluation, the errors and the end of the
    /// log of a build, the last lines of anything else. To be shown once.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        let text = match self {
            Self::Evaluation { trace, .. } => trace.text.clone(),
            Self::Build { errors, log_tail, name, .. } => {
                let mut lines = errors.clone();
                if !log_tail.is_empty() {
                    lines.push(format!("the last {} lines of the log of {name}:", log_tail.len()));
                    lines.extend(log_tail.iter().map(|line| format!("> {line}")));
                }
                lines.join("\n")
            }
            Self::Failed { stderr, .. } | Self::Killed { stderr, .. } => stderr.join("\n"),
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }

    /// What of [`details`](Self::details) helps most, in a few lines: the lines of the user's file and the options around
    /// them, or the end of the log of a build. What `Display` says is not in it.
    #[must_use]
    pub fn excerpt(&self) -> Vec<String> {
        match self {
            Self::Evaluation { message, trace } => {
                let mut lines = excerpt::headline(message).1;
                if let Some(place) = &trace.place {
                    lines.push(format!("at {place}:"));
                    lines.extend(excerpt::source(&trace.text, place).iter().map(|line| format!("  {line}")));
                }
                lines.extend_from_slice(&trace.context);
                lines
            }
            Self::Build { log_tail, .. } if !log_tail.is_empty() => {
                let title = match log_tail.len() {
                    1 => "the last line of its log:".to_owned(),
                    count => format!("the last {count} lines of its log:"),
                };
                std::iter::once(title).chain(log_tail.iter().map(|line| format!("> {line}"))).collect()
            }
            Self::Failed { stderr, .. } | Self::Killed { stderr, .. } => {
                // One of them is in the message.
                let in_message = reason(stderr);
                let rest = stderr.iter().enumerate().filter(|(at, _)| Some(*at) != in_message);
                let said: Vec<&String> =
                    rest.map(|(_, line)| line).filter(|line| !line.trim().is_empty()).collect();
                said[said.len().saturating_sub(LAST_LINES)..].iter().map(|line| (*line).clone()).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Finds what is the user's own: not in the store, nor in `known` folders.
    pub(super) fn look_at(&mut self, known: &[std::path::PathBuf]) {
        if let Self::Evaluation { message, trace } = self {
            trace.look_at(message, known);
        }
    }

    /// The place of an evaluation error: in the user's own files if the trace leads there.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Evaluation { trace, .. } => trace.positions.first(),
            _ => None,
        }
    }

    /// What the user could do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some(
                "install Nix (Debian: nix-bin), put its programs on PATH or name them in the host configuration"
                    .to_owned(),
            ),
            Self::Argument(error) => error.hint(),
            Self::Build { derivation, log_tail, .. } if !log_tail.is_empty() => {
                Some(format!("`nix-store --read-log {derivation}` shows the whole log"))
            }
            Self::Build { message, .. } if message.contains("builder") => {
                Some("it printed nothing; `-n --keep-failed` keeps the folder that it was built in".to_owned())
            }
            Self::Evaluation { message, .. } => super::hint::of(message),
            Self::Failed { stderr, program, .. } => stderr
                .iter()
                .find_map(|line| super::hint::of(line))
                .or_else(|| (*program == Program::NixStore).then(|| super::hint::of_a_hook(stderr)).flatten()),
            _ => None,
        }
    }

    /// Turns a failed run into the error that says most about it.
    pub(super) fn of_run(program: Program, status: ExitStatus, log: Log) -> Self {
        use std::os::unix::process::ExitStatusExt as _;

        if let Some(signal) = status.signal() {
            return Self::Killed { program, signal, stderr: log.into_lines() };
        }
        // While evaluating it is a mistake in an expression.
        if let Some(path) = log.missing_path().filter(|_| program != Program::NixInstantiate) {
            return Self::NotInStore { path };
        }
        if let Some(failed) = log.failed_build() {
            let name = super::log::build_name(&failed.derivation);
            let errors = log.errors().iter().map(|error| error.text.clone()).collect();
            return Self::Build {
                name,
                derivation: failed.derivation,
                message: failed.message,
                log_tail: failed.log_tail,
                errors,
            };
        }
        match (program, log.errors()) {
            (Program::NixInstantiate, [first, rest @ ..]) => {
                let mut positions = first.positions.clone();
                for position in text::positions(&first.text) {
                    if !positions.contains(&position) {
                        positions.push(position);
                    }
                }
                let mut text = first.text.clone();
                for error in rest {
                    text.push('\n');
                    text.push_str(&error.text);
                }
                let steps = first.steps.clone();
                let trace = Trace { text, positions, steps, ..Trace::default() };
                Self::Evaluation { message: first.message.clone(), trace: Box::new(trace) }
            }
            _ => Self::Failed { program, status, stderr: log.into_lines() },
        }
    }
}
