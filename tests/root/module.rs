//! Containers that a NixOS configuration declares: what `nix/module.nix` writes, built and applied for real.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nixcloud_container::{RunRequest, State};

use crate::harness::command::program;
use crate::harness::runner::STANDIN;
use crate::harness::{Kind, Lab, Must, Told, scenarios};

scenarios! {
    once: [
        root_what_the_module_declares_is_applied,
        root_a_guest_reboots_with_the_program_of_the_upgraded_host,
        root_the_modules_units_follow_a_switch,
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
    nc(&["apply", "--prune", "--yes", "--built", manifest.to_str().unwrap()]).done();
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
    symlink(version(2), lab.path("/files/new")).unwrap();
    std::fs::rename(lab.path("/files/new"), &link).unwrap();
    std::fs::remove_file(&first).unwrap();
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    assert!(web.pings());
    // Without the link there is none: what the link is for.
    std::fs::remove_file(&link).unwrap();
    assert_eq!(web.reboots(), State::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}

/// The units that the module writes, under a real systemd, in the order in which NixOS's switch-to-configuration asks for things:
/// what is reloaded, what is restarted, then what is started of all that it stopped before.
fn root_the_modules_units_follow_a_switch(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.boot();
    let put = |path: &str, text: &str| {
        let request = RunRequest::new(["/bin/sh", "-c", &format!("cat >{path}")]);
        assert!(web.try_run(request, text.as_bytes()).must("run").exit.success());
    };
    put("/run/says", "#!/bin/sh\necho \"$*\" >>/run/said\n");
    let units = "/run/systemd/system";
    // Of the program only what it is asked.
    for name in ["network", "apply"] {
        let text = std::fs::read_to_string(written(lab, name)).unwrap();
        let package = text.split_once("ExecStart=").unwrap().1.split_once(' ').unwrap().0.to_owned();
        assert!(package.ends_with("/bin/nixcloud-container"), "{package}");
        put(&format!("{units}/nixcloud-container-{name}.service"), &text.replace(&package, "/run/says ours"));
    }
    for name in ["firewall", "systemd-sysctl"] {
        let does = |what: &str| format!("/run/says {name} {what}");
        let text = format!(
            "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={}\nExecReload={}\nExecStop={}\n",
            does("load"),
            does("reload"),
            does("flush")
        );
        // Wins over the guest's own unit of that name.
        web.shell("mkdir -p /run/systemd/system.control");
        put(&format!("/run/systemd/system.control/{name}.service"), &text);
        // As NixOS links what has `wantedBy`.
        web.shell(&format!(
            "mkdir {units}/{name}.service.wants; \
             ln -s ../nixcloud-container-network.service {units}/{name}.service.wants/"
        ));
    }
    web.shell("chmod 755 /run/says; systemctl daemon-reload; systemctl stop systemd-sysctl");
    // What a unit only wants, systemctl does not wait for.
    let wait = "until systemctl list-jobs | grep -q '^No jobs'; do sleep 0.05; done";
    let said = |commands: &[&str]| {
        let commands: Vec<String> =
            commands.iter().map(|command| format!("systemctl {command}; {wait}")).collect();
        web.shell(&format!("rm -f /run/said; {}; cat /run/said", commands.join("; ")))
    };
    let apply = "ours apply --built /etc/nixcloud-container/declared.json";
    let boot = said(&["start firewall systemd-sysctl nixcloud-container-network nixcloud-container-apply"]);
    assert_eq!(boot.lines().skip(2).collect::<Vec<_>>(), ["ours host up", apply], "{boot}");
    assert_eq!(said(&["reload firewall"]), "firewall reload\nours host up");
    // Other settings of the kernel, then also another config.toml, then also other containers.
    let settings = "systemd-sysctl flush\nsystemd-sysctl load\nours host up";
    assert_eq!(said(&["stop systemd-sysctl", "start systemd-sysctl"]), settings);
    let network = "systemd-sysctl nixcloud-container-network";
    assert_eq!(said(&[&format!("stop {network}"), &format!("start {network}")]), settings);
    assert_eq!(
        said(&[&format!("stop {network}"), "restart nixcloud-container-apply", &format!("start {network}")]),
        format!("{settings}\n{apply}")
    );
    // Containers alone leave the networks as they are.
    assert_eq!(said(&["restart nixcloud-container-apply"]), apply);
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}
