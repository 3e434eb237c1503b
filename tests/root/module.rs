//! Containers that a NixOS configuration declares: what `nix/module.nix` writes, built and applied for real.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nixcloud_container::State;

use crate::harness::command::program;
use crate::harness::runner::STANDIN;
use crate::harness::{Lab, Must, Told, eventually, scenarios};

scenarios! {
    once: [
        root_what_the_module_declares_is_applied,
        root_a_guest_reboots_with_the_program_of_the_upgraded_host,
    ],
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

/// The module names the worker by a link in /etc. A guest that was started before an upgrade boots with what is there then, also
/// when a collection of garbage has taken what it was started with.
fn root_a_guest_reboots_with_the_program_of_the_upgraded_host(lab: &Lab) {
    let worker = program().with_file_name("nixcloud-container-worker");
    let version = |number: u32| {
        let path = lab.path(&format!("/files/version{number}"));
        std::fs::copy(&worker, &path).unwrap();
        path
    };
    let (link, first) = (lab.path("/files/worker"), version(1));
    symlink(&first, &link).unwrap();
    let manager = lab.manager_with(|config| config.worker = Some(link.clone()));
    let web = lab.busybox("web");
    manager.container(web.name().clone()).create(&web.request(&web.file()), &mut ()).must("create");
    web.start_by(&manager);
    assert!(web.config().contains(link.to_str().unwrap()), "{}", web.config());
    let reboots = || {
        let init = web.init();
        web.shell("rm /run/greeting; kill -INT 1");
        eventually("it rebooted", Duration::from_secs(20), || {
            let status = web.container().status().must("status");
            status.state == State::Stopped || status.init_pid.is_some_and(|now| now != init)
        });
        web.state()
    };
    symlink(version(2), lab.path("/files/new")).unwrap();
    std::fs::rename(lab.path("/files/new"), &link).unwrap();
    std::fs::remove_file(&first).unwrap();
    assert_eq!(reboots(), State::Running);
    web.await_version();
    assert!(web.pings());
    // Without the link there is none: what the link is for.
    std::fs::remove_file(&link).unwrap();
    assert_eq!(reboots(), State::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}
