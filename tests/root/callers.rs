//! Programs that start guests, in whatever shape: one that has moved since, one that does not learn how its children end, one
//! that has threads too early.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nixcloud_container::State;

use crate::harness::command::program;
use crate::harness::{CONFIG, Lab, Must, NO_WORKER, THREADED, config, scenarios};

scenarios! {
    once: [
        root_a_guest_reboots_though_its_program_has_moved,
        root_a_program_of_the_store_lasts_as_long_as_its_guest,
        root_a_caller_that_loses_its_childrens_ends_is_served,
        root_a_caller_that_takes_orphans_keeps_no_zombies,
        root_init_with_threads_says_so,
    ],
    both: [],
}

fn root_a_guest_reboots_though_its_program_has_moved(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let folder = lab.path("/files/version1");
    fs::create_dir(&folder).unwrap();
    let old = folder.join("nixcloud-container");
    fs::copy(program(), &old).unwrap();
    let mut start = Command::new(&old);
    start.args(["start", web.name().as_str()]).env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file());
    Lab::told(&mut start).done();
    web.await_version();
    // Replaced by one that is none, then gone with its folder.
    fs::rename(&old, folder.join("older")).unwrap();
    fs::write(&old, "#!/bin/sh\nexit 1\n").unwrap();
    assert_eq!(web.reboots(), State::Running);
    fs::remove_dir_all(&folder).unwrap();
    web.await_version();
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    assert!(web.pings());
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

/// Without its libraries it would be of no use, and those are kept with it.
fn root_a_program_of_the_store_lasts_as_long_as_its_guest(lab: &Lab) {
    // A name of its own, since the worker itself may be in the store, and of two labs.
    let folder = lab.path("/files/worker");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("of"), lab.root().to_str().unwrap()).unwrap();
    fs::copy(program().with_file_name("nixcloud-container-worker"), folder.join("worker")).unwrap();
    let stored = PathBuf::from(Lab::told(Command::new("nix-store").arg("--add").arg(&folder)).done());
    let manager = lab.manager_with(|config| config.worker = Some(stored.join("worker")));
    let web = lab.busybox("web");
    web.create();
    web.start_by(&manager);
    let root = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str()).join("program");
    assert_eq!(fs::read_link(&root).unwrap(), stored);
    // A collection of this path alone, which is refused as long as there is a root.
    let collect = || Lab::told(Command::new("nix-store").arg("--delete").arg(&stored));
    let told = collect();
    assert!(told.code != 0 && stored.exists(), "{told:?}");
    assert_eq!(web.reboots(), State::Running);
    manager.container(web.name().clone()).stop(None).must("stop");
    assert!(fs::symlink_metadata(&root).is_err());
    collect().done();
    web.destroy();
    lab.assert_nothing_left();
}

/// A whole round by a process of that kind: `ignoring`, `reaping` or `adopting`.
fn round(lab: &Lab, kind: &str) {
    let web = lab.busybox("web");
    let files = ["one", "two"].map(|version| {
        let forwards = "network.forwards = [ { hostPort = 8080; containerPort = 80; } ];";
        lab.file(version, &web.file().version(version).keys(forwards))
    });
    let mut command = odd(&lab.actor(false, "round", &web), kind);
    command.arg(&files[0]);
    let told = Lab::told(&mut command);
    assert_eq!((told.code, told.stdout.as_str()), (0, "2 left: []\n"), "{kind}: {told:?}");
    lab.assert_nothing_left();
}

fn root_a_caller_that_loses_its_childrens_ends_is_served(lab: &Lab) {
    round(lab, "ignoring");
    round(lab, "reaping");
    // What is not there is told as it is, whoever waits for it.
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file());
    let mut settings = config(lab.root());
    settings.nix.bin = Some("/nowhere".into());
    let path = lab.path("/files/no-nix.toml");
    fs::write(&path, toml::to_string(&settings).unwrap()).unwrap();
    for kind in ["ignoring", "reaping"] {
        let mut command = odd(&lab.actor(false, "create", &web), kind);
        command.arg(&file).env(CONFIG, &path);
        let told = Lab::told(&mut command);
        assert!(told.code == 1 && told.stderr.contains("Missing"), "{kind}: {told:?}");
    }
}

/// The actor, as a process of that kind.
fn odd(actor: &Command, kind: &str) -> Command {
    let mut words: Vec<_> = actor.get_args().map(ToOwned::to_owned).collect();
    words.insert(1, kind.into());
    let here = std::env::current_exe().unwrap();
    let mut command = if kind == "ignoring" {
        // It goes through exec; `init`, which would see to it, is not called.
        let mut env = Command::new("env");
        env.arg("--ignore-signal=CHLD").arg(here).env(NO_WORKER, "1");
        env
    } else {
        Command::new(here)
    };
    command.args(words).stdin(Stdio::null());
    command
}

fn root_a_caller_that_takes_orphans_keeps_no_zombies(lab: &Lab) {
    round(lab, "adopting");
}

fn root_init_with_threads_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let output = lab.actor(false, "start", &web).env(THREADED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Worker(Threads { threads: 2 })"), "{output:?}");
    assert_eq!(web.state(), State::Stopped);
    let output = lab.actor(false, "state", &web).env(THREADED, "1").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Stopped\n", "{output:?}");
}
