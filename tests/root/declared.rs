//! Containers that come from elsewhere: from a flake, or built by a host configuration.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nixcloud_container::{
    Applied, ApplyRequest, ApplySource, CreateRequest, Error, ErrorKind, Outcome, State, UpdateRequest,
};
use serde_json::json;

use crate::apply::{apply, expect, failure};
use crate::harness::{File, Guest, Lab, Must, chain, runner, scenarios};

scenarios! {
    once: [
        root_a_flake_makes_containers,
        root_a_flake_brings_its_own_nixpkgs,
        root_a_flake_that_is_wrong_is_told,
        root_apply_of_a_flake,
        root_apply_of_what_is_built,
        root_built_containers_that_are_declared_no_more,
    ],
    both: [],
}

/// Writes a flake whose input `nixpkgs` is the stand-in, and locks it.
fn flake(lab: &Lab, name: &str, outputs: &str) -> PathBuf {
    let folder = lab.root().join("files").join(name);
    fs::create_dir_all(&folder).unwrap();
    let standin = std::env::var(runner::STANDIN).unwrap();
    let text = format!(
        "{{\n  inputs.nixpkgs = {{ url = \"path:{standin}\"; flake = false; }};\n  \
         outputs = {{ self, nixpkgs }}: {{\n{outputs}  }};\n}}\n"
    );
    fs::write(folder.join("flake.nix"), text).unwrap();
    lock(&folder);
    folder
}

fn lock(folder: &Path) {
    let mut command = Command::new("nix");
    command.args(["--extra-experimental-features", "nix-command flakes", "flake", "lock"]);
    let output = command.arg(format!("path:{}", folder.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn at(folder: &Path, attribute: &str) -> PathBuf {
    format!("{}#{attribute}", folder.display()).into()
}

fn root_a_flake_makes_containers(lab: &Lab) {
    let web = lab.busybox("web");
    let outputs =
        |version: &str| format!("nixcloudContainers.web = {};\n", web.file().version(version).text());
    let folder = flake(lab, "shop", &outputs("1"));
    let request = CreateRequest::new(at(&folder, "web"));
    web.container().create(&request, &mut ()).must("create");
    let init = web.start();
    assert_eq!(web.version().as_deref(), Some("1"));
    assert_eq!(web.container().status().must("status").file, at(&folder, "web"));
    // In place, from the reference that was kept.
    flake(lab, "shop", &outputs("2"));
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    assert_eq!((web.version().as_deref(), web.init()), (Some("2"), init));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(web.version().as_deref(), Some("1"));
    // A relative reference, in a repository whose tree is dirty: what Git does not know is not there.
    let git = |words: &[&str]| {
        let status = Command::new("git").arg("-C").arg(&folder).args(words).status().unwrap();
        assert!(status.success());
    };
    git(&["init", "-q"]);
    git(&["add", "flake.nix", "flake.lock"]);
    git(&["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]);
    flake(lab, "shop", &outputs("3"));
    let told = Lab::told(
        lab.command(["update", web.name().as_str(), ".#nixcloudContainers.web"]).current_dir(&folder),
    );
    assert!(told.stderr.contains("is dirty"), "{told:?}");
    told.done();
    assert_eq!(web.version().as_deref(), Some("3"));
    assert_eq!(web.container().status().must("status").file, at(&folder, "nixcloudContainers.web"));
    // The folder of a module beside the flake, by a path of the flake's own.
    fs::write(folder.join("web.nix"), web.file().version("4").text()).unwrap();
    flake(lab, "shop", "web = ./web.nix;\n");
    git(&["add", "-A"]);
    let request = UpdateRequest::new(at(&folder, "web"));
    web.container().update(&request, &mut ()).must("update");
    assert_eq!(web.version().as_deref(), Some("4"));
}

fn root_a_flake_brings_its_own_nixpkgs(lab: &Lab) {
    let web = lab.busybox("web");
    let folder = flake(lab, "shop", &format!("web = {};\n", web.file().text()));
    // The host has none.
    let manager = lab.manager_with(|config| config.nix.nixpkgs = Some("/nowhere".to_owned()));
    let container = manager.container(web.name().clone());
    let request = |file: PathBuf| CreateRequest::new(file);
    let error = container.create(&request(lab.file("plain", &web.file())), &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error:?}");
    container.create(&request(at(&folder, "web")), &mut ()).must("create");
    web.start();
}

fn root_a_flake_that_is_wrong_is_told(lab: &Lab) {
    let web = lab.busybox("web");
    let outputs = format!("nixcloudContainers.web = {};\nlib = {{ }};\n", web.file().text());
    let folder = flake(lab, "shop", &outputs);
    let create = |file: PathBuf| web.container().create(&CreateRequest::new(file), &mut ()).unwrap_err();
    let error = chain(&create(at(&folder, "wbe")));
    assert!(error.contains("no attribute `wbe'; it has: lib, nixcloudContainers, web"), "{error}");
    let error = chain(&create(at(&folder, "lib.x")));
    assert!(error.contains("`lib' of the flake has no attribute `x'; it has none"), "{error}");
    let error = create(at(&lab.root().join("files"), "web"));
    assert!(chain(&error).contains("it has no flake.nix"), "{error}");
    let error = create("path:/nowhere".into());
    assert_eq!(
        (error.kind(), error.hint().unwrap()),
        (ErrorKind::Input, "`path:/nowhere#NAME` names one".into())
    );
    // The line of a flake's own file.
    flake(
        lab,
        "shop",
        &format!("web = {};\n", web.file().module("networking.firewall.enable = 1 + { };").text()),
    );
    let error = create(at(&folder, "web"));
    let said = error.excerpt().join("\n");
    assert!(said.contains("-source/flake.nix:") && said.contains("enable = 1 + { };"), "{said}");
    fs::remove_file(folder.join("flake.lock")).unwrap();
    let error = create(at(&folder, "web"));
    assert!(error.hint().is_some_and(|hint| hint.contains("flake lock")), "{error:?}");
    assert!(!web.container().exists().must("exists"));
    lab.assert_nothing_left();
    // An attribute of a plain file.
    let all = lab.write("all", &format!("{{ web = {}; }}", web.file().text()));
    let error = chain(&create(at(&all, "wbe")));
    assert!(error.contains("the file has no attribute `wbe'; it has: web"), "{error}");
    web.container().create(&CreateRequest::new(at(&all, "web")), &mut ()).must("create");
    // A path that exists is that path.
    let odd = lab.write("all.nix#web", &web.file().version("9").text());
    let odd = odd.with_file_name("all.nix#web.nix");
    assert!(odd.exists());
    let request = UpdateRequest::new(odd);
    web.container().update(&request, &mut ()).must("update");
    web.start();
    assert_eq!(web.version().as_deref(), Some("9"));
}

fn root_apply_of_a_flake(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let entry = |guest: &Guest<'_>, version: &str| {
        format!("\"{}\" = {};\n", guest.name(), guest.file().version(version).text())
    };
    let set = |version: &str| format!("{{ {}{} }}", entry(&web, version), entry(&db, "1"));
    let folder = flake(lab, "shop", &format!("nixcloudContainers = {};\n", set("1")));
    expect(lab, &apply(lab, &folder), &[("web", "created"), ("db", "created")]);
    flake(lab, "shop", &format!("nixcloudContainers = {};\n", set("2")));
    expect(lab, &apply(lab, &folder), &[("web", "updated"), ("db", "unchanged")]);
    // Each alone.
    web.start();
    flake(lab, "shop", &format!("nixcloudContainers = {};\n", set("3")));
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    assert_eq!(web.version().as_deref(), Some("3"));
    // The attribute is another source.
    let applied = apply(lab, &at(&folder, "nixcloudContainers"));
    expect(lab, &applied, &[("web", "failed"), ("db", "failed")]);
    let other = flake(lab, "other", "lib = { };\n");
    let error = lab.manager().apply(&ApplyRequest::new(ApplySource::Set(other)), &mut ()).unwrap_err();
    assert!(chain(&error).contains("no output `nixcloudContainers'; it has: lib"), "{}", chain(&error));
}

/// Builds a container as NixOS does for its host configuration: the expression alone, with an address that is known.
fn built(lab: &Lab, guest: &Guest<'_>, file: &File, ip: &str) -> PathBuf {
    let file = lab.file(&format!("{}-built", guest.name()), file);
    let entry = json!({ "file": file, "ip": ip, "prefixLength": 16 });
    let request = json!({
        "schema": 1, "system": "x86_64-linux", "want": "build", "containers": { guest.name().as_str(): entry }
    });
    let path = lab.root().join("files/built.json");
    fs::write(&path, request.to_string()).unwrap();
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program).args(words).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let expression = concat!(env!("CARGO_MANIFEST_DIR"), "/../nix/containers.nix");
    let nixpkgs = format!("nixpkgs={}", std::env::var(runner::STANDIN).unwrap());
    let answer = run(
        "nix-instantiate",
        &[
            "--eval",
            "--strict",
            "--json",
            "--read-write-mode",
            "-I",
            &nixpkgs,
            expression,
            "--argstr",
            "request",
            path.to_str().unwrap(),
        ],
    );
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let drv = answer["containers"][guest.name().as_str()]["drv"].as_str().unwrap();
    run("nix-store", &["--realise", drv]).trim().into()
}

fn manifest(lab: &Lab, containers: &[(&Guest<'_>, &Path, bool)]) -> PathBuf {
    let entry = |(guest, out, ephemeral): &(&Guest<'_>, &Path, bool)| {
        (guest.name().to_string(), json!({ "out": out, "ephemeral": ephemeral }))
    };
    let entries: serde_json::Map<String, serde_json::Value> = containers.iter().map(entry).collect();
    let path = lab.root().join("files/manifest.json");
    fs::write(&path, json!({ "schema": 1, "containers": entries }).to_string()).unwrap();
    path
}

#[track_caller]
fn apply_built(lab: &Lab, path: &Path, prune: bool) -> Applied {
    let request = ApplyRequest::new(ApplySource::Built(path.to_owned())).with_prune(prune);
    lab.manager().apply(&request, &mut ()).must("apply")
}

fn root_apply_of_what_is_built(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let one = built(lab, &web, &web.file(), "10.101.5.5");
    let fixed = built(lab, &db, &db.file().keys("network.ip = \"10.101.6.6\";"), "10.101.5.6");
    let path = manifest(lab, &[(&web, &one, false), (&db, &fixed, false)]);
    // Nix evaluates and builds nothing: there is none to do so.
    let manager = lab.manager_with(|config| config.nix.nixpkgs = Some("/nowhere".to_owned()));
    let request = ApplyRequest::new(ApplySource::Built(path.clone()));
    let applied = manager.apply(&request, &mut ()).must("apply");
    expect(lab, &applied, &[("web", "created"), ("db", "created")]);
    assert_eq!(web.generation_path(1), one);
    assert_eq!([web.address().octets()[2..].to_vec(), db.address().octets()[2..].to_vec()], [[5, 5], [6, 6]]);
    let init = web.start();
    assert!(web.pings());
    expect(lab, &apply_built(lab, &path, false), &[("web", "unchanged"), ("db", "unchanged")]);

    let two = built(lab, &web, &web.file().version("2"), "10.101.5.5");
    let path = manifest(lab, &[(&web, &two, false), (&db, &fixed, false)]);
    expect(lab, &apply_built(lab, &path, false), &[("web", "in place"), ("db", "unchanged")]);
    assert_eq!((web.version().as_deref(), web.init(), web.generations()), (Some("2"), init, vec![1, 2]));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(web.version().as_deref(), Some("1"));

    // The host configuration says what it is; a file of one's own lasts until it says so again.
    let error = web.container().update(&UpdateRequest::default(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::DeclaredByHost { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("rebuild the host"), "{:?}", error.hint());
    let mut notes = Vec::new();
    let mut observer = |event| {
        if let nixcloud_container::Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    let applied = lab.manager().update_all(&Default::default(), &mut observer).must("update");
    assert_eq!((applied.containers.len(), notes.len()), (0, 2), "{notes:?}");
    web.update(&web.file().version("3"));
    assert_eq!(web.version().as_deref(), Some("3"));
    expect(lab, &apply_built(lab, &path, false), &[("web", "in place"), ("db", "unchanged")]);
    assert_eq!(web.version().as_deref(), Some("2"));

    // What is no package, and an address that another has.
    let hand = lab.busybox("hand");
    hand.create_from(&hand.file().keys("network.ip = \"10.101.8.8\";"));
    let third = lab.busybox("third");
    let taken = built(lab, &third, &third.file(), "10.101.8.8");
    let system = fs::canonicalize(one.join("container")).unwrap();
    let path = manifest(lab, &[(&web, &system, false), (&db, &fixed, false), (&third, &taken, false)]);
    let applied = apply_built(lab, &path, false);
    expect(lab, &applied, &[("web", "failed"), ("db", "unchanged"), ("third", "failed")]);
    assert!(failure(lab, &applied, "web").to_string().contains("no built container"), "{applied:?}");
    assert!(failure(lab, &applied, "third").to_string().contains(hand.name().as_str()), "{applied:?}");
    assert!(!third.container().exists().must("exists"));
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_built_containers_that_are_declared_no_more(lab: &Lab) {
    let (web, db, hand) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("hand"));
    hand.create();
    let web_out = built(lab, &web, &web.file(), "10.101.5.5");
    let db_out = built(lab, &db, &db.file(), "10.101.5.6");
    apply_built(lab, &manifest(lab, &[(&web, &web_out, true), (&db, &db_out, false)]), false);
    web.start();
    db.start();
    let path = manifest(lab, &[]);
    let applied = apply_built(lab, &path, false);
    expect(lab, &applied, &[("web", "removed"), ("db", "kept")]);
    assert_eq!((db.state(), hand.state()), (State::Running, State::Stopped));
    assert!(matches!(applied.containers[0].outcome, Outcome::Kept), "{applied:?}");
    let told = lab.cli(["apply", "--built", path.to_str().unwrap()]).done();
    assert!(told.contains("declared no more, --prune destroys it"), "{told}");
    // It is declared again: what it is has not changed, what is to become of it has.
    let path = manifest(lab, &[(&db, &db_out, true)]);
    expect(lab, &apply_built(lab, &path, false), &[("db", "unchanged")]);
    expect(lab, &apply_built(lab, &manifest(lab, &[]), false), &[("db", "removed")]);
    // Or asked for.
    apply_built(lab, &manifest(lab, &[(&web, &web_out, false)]), false);
    expect(lab, &apply_built(lab, &manifest(lab, &[]), true), &[("web", "removed")]);
    hand.destroy();
    lab.assert_nothing_left();
}
