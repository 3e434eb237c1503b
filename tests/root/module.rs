//! Containers that a NixOS configuration declares: what `nix/module.nix` writes, built and applied for real.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::command::program;
use crate::harness::runner::STANDIN;
use crate::harness::{Lab, Told, scenarios};

scenarios! {
    once: [root_what_the_module_declares_is_applied],
    both: [],
}

/// One of the files that the module writes, built with all that it names.
fn written(lab: &Lab, attribute: &str) -> PathBuf {
    let nixpkgs = std::env::var(STANDIN).unwrap();
    let mut command = Command::new("nix-build");
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("nix/declared.nix"))
        .args(["-I", &format!("nixpkgs={nixpkgs}"), "-A", attribute, "--argstr", "root"])
        .arg(lab.root())
        .arg("--no-out-link");
    PathBuf::from(Lab::told(&mut command).done())
}

fn root_what_the_module_declares_is_applied(lab: &Lab) {
    let config = written(lab, "config");
    // The place that the unit names; each switch of the host writes it anew.
    let manifest = lab.root().join("declared.json");
    let nc = |words: &[&str]| -> Told {
        Lab::told(
            Command::new(program())
                .arg("--config")
                .arg(&config)
                .args(words)
                .stdin(std::process::Stdio::null()),
        )
    };
    let apply = |time: &str| {
        std::fs::copy(written(lab, time), &manifest).unwrap();
        nc(&["apply", "--built", manifest.to_str().unwrap()])
    };
    apply("first").done();
    assert_eq!(nc(&["list"]).done(), "lasting\npassing\nweb");
    // A fixed address, and one that the host configuration derived from the name and reserved.
    assert_eq!(nc(&["show-ip", "passing"]).done(), "10.101.3.3");
    let address = nc(&["show-ip", "web"]).done();
    assert_eq!(address, "10.101.129.4");
    nc(&["start", "web"]).done();
    // Of the same set nothing is done; of a changed one what changed, in place.
    assert_eq!(apply("first").done(), "3 unchanged");
    apply("second").done();
    assert_eq!(nc(&["run", "web", "cat", "/etc/version"]).done(), "2");
    // What is declared no more stays, unless it was ephemeral.
    apply("third").done();
    assert_eq!(nc(&["list"]).done(), "lasting\nweb");
    assert_eq!(nc(&["state", "web"]).done(), "running");
    assert_eq!(nc(&["show-ip", "web"]).done(), address);
    nc(&["apply", "--prune", "--built", manifest.to_str().unwrap()]).done();
    assert_eq!(nc(&["list"]).done(), "web");
    nc(&["destroy", "--force", "web"]).done();
    lab.assert_nothing_left();
}
