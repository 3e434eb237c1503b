//! What the library shows to other programs, beside `nixcloud-container/api.txt`: whoever changes it sees it, and says so by that
//! file in the same commit. What is hidden from the documentation is no part of it.
//!
//! `UPDATE_DOCS=1 cargo test --locked -p nixcloud-container-tests --test api` writes the file anew.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: it fails by panics and reports by printing"
)]

mod growth;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use public_api::Builder;

/// The format of rustdoc's JSON that the public-api crate reads in the version that is asked for.
const FORMAT: u64 = 57;

/// When set, what the library shows now is written down.
const ACCEPT: &str = "UPDATE_DOCS";

/// How items of the library begin where they are named.
const OURS: &str = "nixcloud_container";

/// The library's drivers, which are hidden from its documentation and promise nothing. rustdoc is asked for them all the same, since
/// it leaves out what is handed out of them under another name, too.
const HIDDEN: [&str; 6] = ["cgroup", "lxc", "net", "nix", "proc", "sys"];

/// The crates whose types the library hands out: a new major version of one of these is one of the library's.
const OTHERS: [&str; 9] =
    ["core", "alloc", "std", "serde", "serde_core", "serde_json", "toml", "jiff", "ipnetwork"];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let api = if arguments.list { Ok(Err(String::new())) } else { look() };
    match api {
        Ok(Ok(api)) => {
            let api = Arc::new(api);
            let trials = TRIALS.map(|(name, holds)| {
                let api = Arc::clone(&api);
                Trial::test(name, move || holds(&api))
            });
            libtest_mimic::run(&arguments, trials.into()).exit_code()
        }
        Ok(Err(why)) => {
            let trials = TRIALS
                .map(|(name, _)| Trial::test(name, || Ok(())).with_kind(why.clone()).with_ignored_flag(true));
            // Asking for them does not make them possible either.
            let arguments = Arguments { ignored: false, include_ignored: false, ..arguments };
            libtest_mimic::run(&arguments, trials.into()).exit_code()
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// What the library shows.
struct Shown {
    /// Its public items, one a line.
    lines: Vec<String>,
    /// The items of drivers that have a public name beside their own, which is how rustdoc calls them.
    renamed: BTreeSet<String>,
}

type Holds = fn(&Shown) -> Result<(), Failed>;

const TRIALS: [(&str, Holds); 4] = [
    ("what_is_shown_is_written_down", written_down),
    ("what_is_shown_can_be_named", can_be_named),
    ("what_is_shown_can_grow", growth::can_grow),
    ("what_cannot_grow_is_seen", growth::what_cannot_grow_is_seen),
];

/// What the library shows, or why that cannot be told here.
fn look() -> Result<Result<Shown, String>, String> {
    let place = document()?;
    let text = fs::read_to_string(&place).map_err(|error| format!("{}: {error}", place.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let format = json["format_version"].as_u64().unwrap_or_default();
    if format != FORMAT {
        return Ok(Err(format!("needs a rustdoc that writes format {FORMAT}, not {format}")));
    }
    let lines = |derived: bool| {
        // Blanket implementations and those of auto traits are nobody's decision.
        let builder = Builder::from_rustdoc_json(&place).omit_blanket_impls(true).omit_auto_trait_impls(true);
        let api = builder.omit_auto_derived_impls(!derived).build().map_err(|error| error.to_string())?;
        Ok::<Vec<String>, String>(
            api.items()
                .map(ToString::to_string)
                .filter(|line| !is_hidden(line) && !is_internal(line))
                .collect(),
        )
    };
    let written: BTreeSet<String> = lines(false)?.into_iter().collect();
    let mut seen = BTreeSet::new();
    // What is derived is told by one line, without the functions that each trait has. An item of two types is told once.
    let shown = lines(true)?.into_iter().filter(|line| line.starts_with("impl") || written.contains(line));
    let lines = shown.filter(|line| seen.insert(line.clone())).collect();
    Ok(Ok(Shown { lines, renamed: renamed(&json) }))
}

/// The items that the library's root hands on, by the place where they are.
fn renamed(json: &serde_json::Value) -> BTreeSet<String> {
    let item = |id: &serde_json::Value| &json["index"][id.to_string()]["inner"];
    let items = item(&json["root"])["module"]["items"].as_array().into_iter().flatten();
    let places = items.map(|id| &json["paths"][item(id)["use"]["id"].to_string()]["path"]);
    places
        .filter_map(|place| {
            Some(place.as_array()?.iter().filter_map(|word| word.as_str()).collect::<Vec<_>>().join("::"))
        })
        .collect()
}

/// What the compiler notes for itself beside a derived trait.
fn is_internal(line: &str) -> bool {
    ["core::marker::StructuralPartialEq", "core::clone::TrivialClone"]
        .iter()
        .any(|noted| line.contains(noted))
}

/// Whether the item of this line is one of a driver.
fn is_hidden(line: &str) -> bool {
    let of = if line.starts_with("impl") { line.rsplit(" for ").next().unwrap_or(line) } else { line };
    let of = paths(of).next().unwrap_or_default();
    let room = of
        .strip_prefix(OURS)
        .and_then(|rest| rest.strip_prefix("::"))
        .and_then(|rest| rest.split("::").next());
    room.is_some_and(|room| HIDDEN.contains(&room))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// What rustdoc writes of the library, not of the command, which has the same name. The selection is that of `make lint`: nothing but
/// the pages is made anew.
fn document() -> Result<PathBuf, String> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["doc", "--quiet", "--workspace", "--lib", "--no-deps", "--locked", "--target-dir"])
        .arg(target)
        .env("RUSTDOC", root().join("tests/api/rustdoc.sh"))
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json --document-hidden-items")
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(target.join("doc/nixcloud_container.json"))
}

fn written_down(Shown { lines, .. }: &Shown) -> Result<(), Failed> {
    let place = root().join("nixcloud-container/api.txt");
    let now: String = lines.iter().map(|line| format!("{line}\n")).collect();
    if std::env::var_os(ACCEPT).is_some() {
        fs::write(&place, now)?;
        return Ok(());
    }
    let before = fs::read_to_string(&place)?;
    if now == before {
        return Ok(());
    }
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), now.lines().collect());
    let gone = old.difference(&new).map(|line| format!("- {line}\n"));
    let come = new.difference(&old).map(|line| format!("+ {line}\n"));
    let changes: String = gone.chain(come).collect();
    Err(format!(
        "the library shows something else than `nixcloud-container/api.txt` says:\n{changes}\
         If that is wanted, {ACCEPT}=1 writes it down, and CHANGELOG.md tells what programs must change."
    )
    .into())
}

/// A type that is handed out but has no public path is one that nobody can keep in a struct of theirs or take by a function.
fn can_be_named(Shown { lines, renamed }: &Shown) -> Result<(), Failed> {
    let defined = lines.iter().filter_map(|line| definition(line));
    let named: BTreeSet<&str> = defined.chain(renamed.iter().map(String::as_str)).collect();
    let modules: BTreeSet<&str> = lines.iter().filter_map(|line| line.strip_prefix("pub mod ")).collect();
    // An item is a type, or of one: a variant, a field, a method. A module is no answer: below it is what has no public path, too.
    let known = |path: &str| {
        let ends = path.match_indices("::").map(|(end, _)| &path[..end]);
        named.contains(path) || ends.filter(|of| !modules.contains(of)).any(|of| named.contains(of))
    };
    let mut lost = Vec::new();
    for line in lines {
        for path in paths(line) {
            let of = path.split("::").next().unwrap_or_default();
            if !known(path) && !OTHERS.contains(&of) {
                lost.push(format!("{path}, in: {line}"));
            }
        }
    }
    if lost.is_empty() {
        Ok(())
    } else {
        Err(format!("these cannot be named from outside:\n{}", lost.join("\n")).into())
    }
}

/// What this line is the definition of, if it is of a type, a function or a module.
fn definition(line: &str) -> Option<&str> {
    let words = ["struct", "enum", "trait", "type", "mod", "fn", "const"];
    let rest = words.iter().find_map(|word| {
        line.trim_start_matches("#[non_exhaustive] ").strip_prefix(&format!("pub {word} "))
    })?;
    paths(rest).next()
}

/// The paths in a line, as rustdoc knows them: one that it has no page of begins as the source has it.
fn paths(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
        .map(|path| path.trim_matches(':'))
        .filter(|path| path.contains("::") && !path.starts_with("Self::"))
}
