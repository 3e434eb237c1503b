//! `tests/scenario.sh` on a guest with systemd: what the NixOS VM test plays, exercised here.

use std::path::Path;
use std::process::Command;

use nixcloud_container::config::Ipv6Config;

use crate::harness::command::program;
use crate::harness::space::{Space, ip};
use crate::harness::{Lab, Must, scenarios};

scenarios! {
    once: [
        root_scenario_basics,
        root_scenario_update,
        root_scenario_fixed_address,
        root_scenario_autostart,
        root_scenario_internet,
        root_scenario_isolation,
    ],
    both: [],
}

/// Plays one part; at least `least` of its checks must have held.
#[track_caller]
fn play(lab: &Lab, part: &str, least: u32) {
    play_with(lab, part, least, &[]);
    lab.assert_nothing_left();
}

#[track_caller]
fn play_with(lab: &Lab, part: &str, least: u32, variables: &[(&str, &str)]) {
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
        .env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file())
        .envs(variables.iter().copied());
    let told = Lab::told(&mut command);
    assert_eq!(told.code, 0, "{part}: {told:?}");
    // It counts what held; a script that ended early is no success.
    let held: u32 =
        told.stdout.trim_end().strip_prefix("ok ").and_then(|held| held.parse().ok()).unwrap_or(0);
    assert!(held >= least, "{part}: {held} checks only: {told:?}");
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

fn root_scenario_internet(lab: &Lab) {
    // The machine beyond the host, as in the VM test: it knows the way to the prefix of IPv6 and to nothing else.
    let outside = Space::new("up0", "in0");
    ip("addr add 192.0.2.2/24 dev up0");
    ip("addr add 2001:db8:9::2/64 dev up0 nodad");
    outside.ip("addr add 192.0.2.1/24 dev in0");
    outside.ip("addr add 2001:db8:9::1/64 dev in0 nodad");
    outside.ip("route add 2001:db8:1::/64 via 2001:db8:9::2");
    let manager = lab.manager_with(|config| {
        let address = "2001:db8:1::1/64".parse().unwrap();
        config.network.internet.ipv6 = Some(Ipv6Config::new(address));
    });
    manager.host_up().must("host up");
    std::fs::write(lab.config_file(), toml::to_string(manager.config()).unwrap()).unwrap();
    play_with(lab, "internet", 8, &[("OUTSIDE", "192.0.2.1"), ("OUTSIDE6", "2001:db8:9::1")]);
    ip("link del up0");
    lab.assert_nothing_left();
}

fn root_scenario_isolation(lab: &Lab) {
    play(lab, "isolation", 10);
}
