//! What holds with the machine's Nix holds with a newer one, down to the derivations; flake and VM test on both.

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Failed, Trial};
use serde_json::json;

use super::matrix;
use super::tools::{Folder, Nix, RELEASES, root, succeeded};

/// The newest release that is played: what flakes and VM tests are for.
const NEWEST: &str = RELEASES[RELEASES.len() - 1];

pub fn trials(folder: &Folder, ours: &Nix, newer: &Result<Nix, String>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (label, nix) in [("this", Ok(ours)), ("newer", newer.as_ref())] {
        trials.push(trial(format!("nix_flake_with_{label}_nix"), nix, folder, flake));
        trials.push(trial(format!("nix_example_flake_with_{label}_nix"), nix, folder, example));
        trials.push(trial(format!("nix_vm_test_with_{label}_nix"), nix, folder, vm_test));
    }
    trials.push(trial("nix_expression_with_newer_nix".to_owned(), newer.as_ref(), folder, expression));
    let same = {
        let ours = ours.clone();
        move |folder: &Folder, newer: &Nix| same_derivations(folder, &ours, newer)
    };
    trials.push(trial("nix_derivations_are_the_same".to_owned(), newer.as_ref(), folder, same));
    trials
}

/// A test with one Nix; ignored, with the reason, where that cannot be had.
fn trial(
    name: String,
    nix: Result<&Nix, &String>,
    folder: &Folder,
    body: impl Fn(&Folder, &Nix) + Send + 'static,
) -> Trial {
    match nix {
        Ok(nix) => {
            let (folder, nix) = (folder.clone(), nix.clone());
            Trial::test(name, move || {
                body(&folder, &nix);
                Ok::<(), Failed>(())
            })
        }
        Err(why) => Trial::test(name, || Ok(())).with_kind(why.clone()).with_ignored_flag(true),
    }
}

fn same_derivations(folder: &Folder, ours: &Nix, newer: &Nix) {
    for release in RELEASES {
        let [a, b] = [ours, newer].map(|nix| matrix::evaluate(folder, nix, release));
        assert_eq!(a["drvs"], b["drvs"], "{release}");
        assert_eq!(a, b, "{release}");
    }
}

/// `tests/nix/expression.sh` with this Nix.
fn expression(_: &Folder, nix: &Nix) {
    let mut command = Command::new("sh");
    nix.environment(command.arg(root().join("tests/nix/expression.sh")));
    let said = succeeded("expression.sh", &command.output().unwrap());
    let held: u32 = said.trim_end().strip_prefix("ok ").and_then(|held| held.parse().ok()).unwrap_or(0);
    assert!(held >= 110, "{held} checks only: {said}");
}

/// What is committed, without what a build left here: a flake in a folder is copied to the store whole.
fn committed(folder: &Folder, name: &str, from: &Path) -> std::path::PathBuf {
    let copy = folder.path(name);
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(&copy).unwrap();
    let script = "git -C \"$1\" ls-files -z -c -o --exclude-standard . | tar -C \"$1\" --null -T - -cf - | tar -C \"$2\" -xf -";
    let output = Command::new("sh").args(["-c", script, "sh"]).arg(from).arg(&copy).output().unwrap();
    succeeded("a copy of the repository", &output);
    copy
}

fn flakes(nix: &Nix) -> Command {
    let mut command = nix.command("nix");
    command.args(["--extra-experimental-features", "nix-command flakes", "--offline"]);
    command
}

/// `nix flake check`: package, overlay, module, shell and checks, with the stand-in as nixpkgs.
fn flake(folder: &Folder, nix: &Nix) {
    let copy = committed(folder, &unique("flake"), &root());
    let output = flakes(nix)
        .args(["flake", "check", "--no-build", "--no-write-lock-file", "--override-input", "nixpkgs"])
        .arg(format!("path:{}", folder.standin(NEWEST).display()))
        .arg(format!("path:{}", copy.display()))
        .output()
        .unwrap();
    succeeded("nix flake check", &output);
}

/// `examples/flake`: its host evaluates, with the container that it declares.
fn example(folder: &Folder, nix: &Nix) {
    let name = unique("example");
    let copy = committed(folder, &name, &root().join("examples/flake"));
    // The stand-in has to be told that a host is no guest.
    std::fs::write(copy.join("hardware.nix"), "{ standin.host = true; }\n").unwrap();
    let ours = committed(folder, &format!("{name}-ours"), &root());
    let host = "nixosConfigurations.host.config.nixcloud.container.declared.reserved.web";
    let output = flakes(nix)
        .args(["eval", "--raw", "--no-write-lock-file"])
        .args(["--override-input", "nixpkgs", &format!("path:{}", folder.standin(NEWEST).display())])
        .args(["--override-input", "nixcloud-container", &format!("path:{}", ours.display())])
        .arg(format!("path:{}#{host}", copy.display()))
        .output()
        .unwrap();
    let address = succeeded("nix eval", &output);
    assert!(address.starts_with("10.101."), "{address}");
}

/// `nix/tests`: both hosts evaluate whole, and the script is Python.
fn vm_test(folder: &Folder, nix: &Nix) {
    let (standin, test) = (folder.standin(NEWEST), root().join("nix/tests"));
    for firewall in ["nftables", "iptables"] {
        let output = nix
            .command("nix-instantiate")
            .args(["--argstr", "firewall", firewall, "-I", &format!("nixpkgs={}", standin.display())])
            .arg(&test)
            .output()
            .unwrap();
        assert!(succeeded("the VM test", &output).trim().ends_with(".drv"));
        let script = nix.json(&standin, &test, &["--argstr", "firewall", firewall, "-A", "testScript"]);
        let file = folder.path(&unique("script.py"));
        std::fs::write(&file, script.as_str().unwrap()).unwrap();
        let code = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
        let output = Command::new("python3").args(["-c", code]).arg(&file).output().unwrap();
        succeeded("the VM test's script", &output);
    }
    prebuilt(folder, nix);
}

/// What the program will ask for in the VM, which has nothing to build with, is what the VM has.
fn prebuilt(folder: &Folder, nix: &Nix) {
    let (standin, test) = (folder.standin(NEWEST), root().join("nix/tests"));
    let had = nix.json(&standin, &test, &["-A", "nodes.host.virtualisation.additionalPaths"]);
    let had = had.as_array().unwrap();
    let containers = std::fs::read_dir(test.join("containers")).unwrap();
    let mut asked = 0;
    for file in containers.map(|entry| entry.unwrap().path()) {
        let stem = file.file_stem().unwrap().to_str().unwrap().to_owned();
        // The part that the others have in common.
        if stem == "service" {
            continue;
        }
        for (name, ip) in [("a", "10.101.0.2"), ("b", "10.101.0.3")] {
            // The second is there for what it meets.
            if name == "b" && ["autostart", "internet"].contains(&stem.as_str()) {
                continue;
            }
            let entry = json!({
                "file": file, "label": file, "ip": ip, "prefixLength": 16, "idmap": "isolated", "nameserver": "10.101.0.1",
            });
            let request = json!({
                "schema": 1, "system": "x86_64-linux", "want": "build", "bridges": {}, "containers": { name: entry },
            });
            let path = folder.path(&unique("request.json"));
            std::fs::write(&path, request.to_string()).unwrap();
            let expression = root().join("nix/containers.nix");
            let answer = nix.json(&standin, &expression, &["--argstr", "request", path.to_str().unwrap()]);
            let out = &answer["containers"][name]["out"];
            assert!(out.is_string() && had.contains(out), "{name}, {stem}: {out} is not in {had:?}");
            asked += 1;
        }
    }
    assert!(asked >= 8, "{asked} only");
}

/// Tests run at the same time.
fn unique(name: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    format!("{}-{name}", COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
}
