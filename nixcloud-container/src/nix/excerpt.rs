//! What of Nix's words its reader needs: the message in one line and what follows it, the lines of the user's own file,
//! and the options that were looked at. The rest of a trace leads through nixpkgs.

use std::path::{Path, PathBuf};

use super::position::Position;
use super::text::one_line;

use crate::model::setters::setters;

/// Lines of a message that are shown below its first.
const MESSAGE_LINES: usize = 12;
/// Steps of a trace that are shown.
const STEPS: usize = 3;

/// A step of Nix's trace, as Nix says it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// What was evaluated.
    pub text: String,
    /// Where that is, if Nix says so.
    pub position: Option<Position>,
}

setters!(Step: "A step without a place." (text: String) {
    with_position => position: Option<Position>,
});

/// Where an evaluation failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// All that Nix says about it, as Nix prints it.
    pub text: String,
    /// Nix's trace step by step, innermost first.
    pub steps: Vec<Step>,
    /// The places that it names: those in the user's own files first.
    pub positions: Vec<Position>,
    /// The place in the user's own files, if the trace leads there.
    pub place: Option<Position>,
    /// Options, definitions and callers around it, innermost first.
    pub context: Vec<String>,
}

setters!(Trace: "Nothing." {
    with_text => text: String,
    with_steps => steps: Vec<Step>,
    with_positions => positions: Vec<Position>,
    with_place => place: Option<Position>,
    with_context => context: Vec<String>,
});

impl Trace {
    /// Finds what is the user's own: not in the store, nor in `known` folders.
    pub(super) fn look_at(&mut self, message: &str, known: &[PathBuf]) {
        self.positions.sort_by_key(|position| !is_users(&position.file, known));
        self.place = self.positions.first().filter(|first| is_users(&first.file, known)).cloned();
        self.context = steps(&self.steps, self.place.as_ref(), known);
        self.context.retain(|step| !repeats(step, message));
    }
}

/// A message as a headline of one line, and the lines that follow it.
pub(super) fn headline(message: &str) -> (String, Vec<String>) {
    let mut lines = message.trim().lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let rest: Vec<&str> = lines.collect();
    // NixOS: "The option `x' does not exist. Definition values:", "Failed assertions:", and a list.
    let (head, colon) = first.strip_suffix(':').map_or((first, false), |head| (head, true));
    let head = head.strip_suffix(". Definition values").unwrap_or(head);
    match rest[..] {
        [] => (one_line(first), Vec::new()),
        [only] if colon && head.len() == first.len() - 1 => {
            (one_line(&format!("{first} {}", only.trim_start_matches("- "))), Vec::new())
        }
        _ => {
            let mut body: Vec<String> =
                rest.iter().take(MESSAGE_LINES).map(|line| (*line).to_owned()).collect();
            if rest.len() > MESSAGE_LINES {
                body.push(format!("... {} more lines", rest.len() - MESSAGE_LINES));
            }
            (one_line(head), body)
        }
    }
}

/// The lines of source that Nix shows below a place, moved to the left.
pub(super) fn source(trace: &str, place: &Position) -> Vec<String> {
    let place = format!("at {place}:");
    let is_source = |line: &&str| {
        let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with('|')
    };
    let below = trace.lines().skip_while(|line| line.trim() != place).skip(1);
    let lines: Vec<&str> = below.skip_while(|line| line.trim().is_empty()).take_while(is_source).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let least = lines.iter().map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line[least..].trim_end().to_owned()).collect()
}

/// What is the user's own: not in the store, nor in `known` folders (nixpkgs, our expression). A flake's files are in
/// the store, and the user's all the same.
fn is_users(file: &Path, known: &[PathBuf]) -> bool {
    let of_store =
        file.starts_with(super::STORE_DIR) && flake_of(file).is_none_or(|flake| is_nixpkgs(&flake));
    !of_store && !known.iter().any(|dir| file.starts_with(dir))
}

/// The flake in the store that a file is of.
fn flake_of(file: &Path) -> Option<PathBuf> {
    let top = file.strip_prefix(super::STORE_DIR).ok()?.components().next()?.as_os_str();
    let flake = Path::new(super::STORE_DIR).join(top);
    (top.to_str()?.ends_with("-source") && flake.join("flake.nix").exists()).then_some(flake)
}

/// Whether a flake is where NixOS comes from.
fn is_nixpkgs(flake: &Path) -> bool {
    flake.join("nixos/lib/eval-config.nix").exists()
}

/// The steps that say where in the user's configuration the fault is, innermost first: the user's files other than
/// `place`, the options and the files that define them.
fn steps(trace: &[Step], place: Option<&Position>, known: &[PathBuf]) -> Vec<String> {
    let mut lines = Vec::new();
    for step in trace {
        let text = one_line(step.text.trim().trim_end_matches(':'));
        let line = match &step.position {
            Some(position) if Some(position) == place || !is_users(&position.file, known) => continue,
            Some(position) if text.is_empty() || text == "from call site" => format!("from {position}"),
            Some(position) => format!("{text}, at {position}"),
            None => {
                if let Some(file) = text.strip_prefix("while evaluating definitions from `") {
                    let file = Path::new(file.trim_end_matches('\''));
                    if place.is_some_and(|place| place.file == file) || !is_users(file, known) {
                        continue;
                    }
                } else if !text.starts_with("while evaluating the option `")
                    || text.starts_with("while evaluating the option `system.build")
                {
                    continue;
                }
                text
            }
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
        if lines.len() == STEPS {
            break;
        }
    }
    if lines.is_empty() && place.is_none() {
        // Our expression's own words, which name the container file.
        let ours = trace
            .iter()
            .map(|step| step.text.trim())
            .find(|text| text.starts_with("while evaluating container '"));
        lines.extend(ours.map(one_line));
    }
    lines
}

/// Whether a step names no more than the container file, and the message does so, too.
fn repeats(step: &str, message: &str) -> bool {
    let file = step.strip_prefix("while evaluating container '").and_then(|rest| rest.split_once(" ("));
    file.is_some_and(|(_, file)| message.contains(file.trim_end_matches(')')))
}

/// Why a build failed, without the name of its derivation and without its log.
pub(super) fn build_reason(message: &str, derivation: &str) -> String {
    // Since Nix 2.30: "Cannot build '...'.\nReason: builder failed with exit code 1."
    let reason = match message.split_once("Reason: ") {
        Some((_, reason)) => reason.trim_end().trim_end_matches('.'),
        None => message,
    };
    let reason = reason.replace(&format!("builder for '{derivation}' failed"), "builder failed");
    one_line(&reason.replace(&format!(" to build '{derivation}'"), " to build it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_is_one_line_and_the_rest_follows() {
        assert_eq!(headline("undefined variable 'pkgs'"), ("undefined variable 'pkgs'".into(), vec![]));
        assert_eq!(
            headline("The option `a' does not exist. Definition values:\n- In `/x.nix': 1"),
            ("The option `a' does not exist".into(), vec!["- In `/x.nix': 1".to_owned()])
        );
        assert_eq!(
            headline("\nFailed assertions:\n- no certificate"),
            ("Failed assertions: no certificate".into(), vec![])
        );
        let (head, rest) = headline("\nFailed assertions:\n- one\n- two\n");
        assert_eq!(
            (head.as_str(), rest),
            ("Failed assertions", vec!["- one".to_owned(), "- two".to_owned()])
        );
        let (_, rest) = headline(&"x\n".repeat(100));
        assert_eq!(rest.last().unwrap(), "... 87 more lines");
    }

    #[test]
    fn source_lines_of_both_layouts() {
        let place = Position::at("/c/a.nix", 3, Some(5)).unwrap();
        let source_lines = ["  2| {", "  3|   x = y;", "   |     ^", "  4| }"];
        let dedented = ["2| {", "3|   x = y;", " |     ^", "4| }"];
        let old = format!(
            "error: no\n\n       at /c/a.nix:3:5:\n\n       {}\n\n       … more\n",
            source_lines.join("\n       ")
        );
        assert_eq!(source(&old, &place), dedented);
        let new = format!("error:\n       at /c/a.nix:3:5:\n       {}\n", source_lines.join("\n       "));
        assert_eq!(source(&new, &place), dedented);
        assert!(source("error: no", &place).is_empty());
    }

    #[test]
    fn steps_name_the_users_files_and_options_alone() {
        let at = |file, line| Position::at(file, line, Some(1));
        let step = |text: &str, position| Step { text: text.into(), position };
        let trace = [
            step("while evaluating definitions from `/c/a.nix':", None),
            step("while evaluating 'isType'", at("/nixpkgs/lib/modules.nix", 12)),
            step("from call site", None),
            step("while evaluating the option `networking.hostName':", None),
            step("while evaluating definitions from `/nixpkgs/nixos/x.nix':", None),
            step("from call site", at("/c/b.nix", 7)),
            step("while evaluating the option `system.build.toplevel':", None),
            step("while evaluating container 'm' (/c/a.nix)", None),
        ];
        let (place, known) = (at("/c/a.nix", 3), [PathBuf::from("/nixpkgs")]);
        assert_eq!(
            steps(&trace, place.as_ref(), &known),
            ["while evaluating the option `networking.hostName'", "from /c/b.nix:7:1"]
        );
        assert_eq!(steps(&trace, None, &known)[0], "while evaluating definitions from `/c/a.nix'");
        assert_eq!(steps(&trace[6..], None, &known), ["while evaluating container 'm' (/c/a.nix)"]);
    }

    #[test]
    fn the_container_file_is_named_once() {
        let step = "while evaluating container 'm' (/c/a.nix)";
        assert!(repeats(step, "no such option:\n- In `/c/a.nix': 1"));
        assert!(!repeats(step, "no such option"));
        assert!(!repeats("while evaluating the option `x'", "x"));
    }

    #[test]
    fn reasons_of_builds() {
        let drv = "/nix/store/x.drv";
        assert_eq!(
            build_reason(&format!("builder for '{drv}' failed with exit code 2"), drv),
            "builder failed with exit code 2"
        );
        assert_eq!(
            build_reason(&format!("Cannot build '{drv}'.\nReason: builder failed with exit code 2."), drv),
            "builder failed with exit code 2"
        );
        assert_eq!(
            build_reason(
                &format!("a 'x' with features {{}} is required to build '{drv}', but I am a 'y'"),
                drv
            ),
            "a 'x' with features {} is required to build it, but I am a 'y'"
        );
    }
}
