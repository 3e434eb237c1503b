//! `tests/scenario.sh` on a guest with systemd: what the NixOS VM test plays, exercised here.

use std::path::Path;
use std::process::Command;

use crate::harness::command::program;
use crate::harness::{Lab, scenarios};

scenarios! {
    once: [
        root_scenario_basics,
        root_scenario_update,
        root_scenario_fixed_address,
        root_scenario_autostart,
    ],
    both: [],
}

/// Plays one part; at least `least` of its checks must have held.
#[track_caller]
fn play(lab: &Lab, part: &str, least: u32) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenario.sh");
    // The script makes its names itself; said here, the lab knows of them, too.
    for name in ["a", "b"] {
        lab.name(name);
    }
    let program = program();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(script);
    command
        .arg(part)
        .env("PATH", path)
        .env("MARK", lab.mark())
        .env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file());
    let told = Lab::told(&mut command);
    assert_eq!(told.code, 0, "{part}: {told:?}");
    // It counts what held; a script that ended early is no success.
    let held: u32 =
        told.stdout.trim_end().strip_prefix("ok ").and_then(|held| held.parse().ok()).unwrap_or(0);
    assert!(held >= least, "{part}: {held} checks only: {told:?}");
    lab.assert_nothing_left();
}

fn root_scenario_basics(lab: &Lab) {
    play(lab, "basics", 35);
}

fn root_scenario_update(lab: &Lab) {
    play(lab, "update", 21);
}

fn root_scenario_fixed_address(lab: &Lab) {
    play(lab, "fixed", 7);
}

fn root_scenario_autostart(lab: &Lab) {
    play(lab, "autostart", 10);
}
