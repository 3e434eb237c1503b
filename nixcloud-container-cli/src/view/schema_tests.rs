//! `docs/json/*.schema.json` are what the views are. `UPDATE_DOCS=1 cargo test -p nixcloud-container-cli` writes them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use super::*;
use crate::cli::Cli;

/// What is printed where a command fails.
#[derive(Serialize, JsonSchema)]
struct Failed {
    /// The failure.
    error: FailureView,
}

/// The answers by name, with the commands that give them.
fn answers() -> Vec<(&'static str, &'static [&'static str], Schema)> {
    vec![
        ("change", &["create", "update", "switch-generation", "rollback"], schema_for!(ChangeView)),
        ("plan", &["plan"], schema_for!(PlanView)),
        ("apply", &["apply"], schema_for!(ApplyView)),
        ("eval", &["eval"], schema_for!(EvalView)),
        ("destroyed", &["destroy"], schema_for!(Destroyed)),
        ("repair", &["repair"], schema_for!(RepairView)),
        ("set", &["set"], schema_for!(SetView)),
        ("destroyed-all", &["destroy"], schema_for!(DestroyedAll)),
        ("generations", &["list-generations"], schema_for!(GenerationsView)),
        ("deleted", &["delete-generations"], schema_for!(Deleted)),
        ("gc", &["gc"], schema_for!(GcView)),
        ("power", &["start", "stop", "restart", "terminate", "freeze", "unfreeze"], schema_for!(PowerView)),
        ("kill", &["kill"], schema_for!(KillView)),
        ("autostart", &["autostart"], schema_for!(AutostartView)),
        ("autostop", &["autostop"], schema_for!(AutostopView)),
        ("run", &["run", "login"], schema_for!(RunView)),
        ("list", &["list"], schema_for!(ListView)),
        ("event", &["events"], schema_for!(EventView)),
        ("state", &["state"], schema_for!(ContainerView)),
        ("exists", &["exists"], schema_for!(Exists)),
        ("addresses", &["show-ip"], schema_for!(Addresses)),
        ("host", &["host"], schema_for!(HostView)),
        ("check", &["host"], schema_for!(CheckView)),
        ("error", &[], schema_for!(Failed)),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/json")
}

#[test]
fn the_schemas_are_as_documented() {
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let mut expected = Vec::new();
    for (name, _, schema) in answers() {
        let path = folder().join(format!("{name}.schema.json"));
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if update {
            fs::create_dir_all(folder()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let documented = fs::read_to_string(&path).unwrap_or_default();
        assert!(documented == text, "{} differs: UPDATE_DOCS=1 writes it", path.display());
        expected.push(format!("{name}.schema.json"));
    }
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.ends_with(".json") || expected.contains(&name), "{name} is no answer's");
    }
}

#[test]
fn every_command_answers_in_json_and_the_docs_say_how() {
    let docs = fs::read_to_string(folder().join("README.md")).unwrap();
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        // These print what they are asked for, in a form of its own.
        if ["help", "completions", "man"].contains(&name) {
            continue;
        }
        let answer = answers().into_iter().find(|(_, commands, _)| commands.contains(&name));
        let (answer, ..) = answer.unwrap_or_else(|| panic!("`{name} --json` has no schema"));
        let row = docs.lines().find(|line| line.contains(&format!("`{name}`")));
        let row = row.unwrap_or_else(|| panic!("`{name}` is not in docs/json/README.md"));
        assert!(row.contains(&format!("[{answer}]({answer}.schema.json)")), "{row}");
    }
}
