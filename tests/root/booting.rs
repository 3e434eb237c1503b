//! A guest that LXC calls running and whose NixOS still activates its system.

use std::time::{Duration, Instant};

use nixcloud_container::{AutostartRequest, ContainerChange, Event, RunRequest, Streams};

use crate::harness::{File, Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_after_waits_until_the_other_has_booted,
        root_a_guest_that_never_activates_hangs_nobody,
        root_a_guest_without_the_links_costs_a_moment,
        root_an_update_waits_for_units_that_start,
        root_a_guest_that_nobody_entered_is_known_to_have_booted,
    ],
    both: [
        root_run_waits_until_the_guest_has_booted,
        root_update_waits_until_the_guest_has_booted,
    ],
}

/// How long its activation takes.
const SLOW: Duration = Duration::from_secs(3);

fn slow(guest: &Guest<'_>) -> File {
    guest.file().module("system.activationScripts.slow = \"sleep 3\";")
}

fn root_run_waits_until_the_guest_has_booted(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&slow(&web));
    let name = web.name().as_str();
    let waiting = format!("waiting for `{name}` to finish booting");
    web.start_only();
    // It is known to boot, and "runs" for whoever waits for that.
    let booting = || {
        let list: serde_json::Value = serde_json::from_str(&lab.cli(["list", "--json"]).done()).unwrap();
        (list["containers"][0]["state"].clone(), list["containers"][0]["booting"].clone())
    };
    assert_eq!(booting(), ("running".into(), true.into()));
    assert_eq!(lab.cli(["state", name]).done(), "running");
    let told = lab.cli(["run", name, "ls", "/run/booted-system/init"]);
    assert_eq!((told.code, told.stdout.as_str()), (0, "/run/booted-system/init\n"), "{told:?}");
    assert!(told.stderr.contains(&waiting), "{told:?}");
    assert_eq!(booting(), ("running".into(), false.into()));
    // By its name, too: the guest has its users from the activation.
    web.terminate();
    web.start_only();
    let told = lab.cli(["run", "-u", "nobody", name, "readlink", "/run/current-system"]);
    assert!(told.code == 0 && told.stdout.starts_with("/nix/store/"), "{told:?}");
    // And nothing is said of one that has booted.
    let told = lab.cli(["run", name, "true"]);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
}

fn root_update_waits_until_the_guest_has_booted(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&slow(&web));
    web.start_only();
    let switched = web.update(&slow(&web).version("2"));
    assert!(switched.activated, "{switched:?}");
    // Which of its services were up by then is left to systemd; the guest is whole and has the new system.
    let system = web.generation_path(2).join("container");
    let system = std::fs::canonicalize(system).unwrap();
    assert_eq!(web.shell("readlink -f /run/current-system"), system.to_str().unwrap());
    if kind == Kind::Busybox {
        assert_eq!(web.version().as_deref(), Some("2"));
    }
}

fn root_after_waits_until_the_other_has_booted(lab: &Lab) {
    let (db, web) = (lab.busybox("db"), lab.busybox("web"));
    db.create_from(&slow(&db).keys("autostart = true;"));
    let after = format!("autostart = {{ after = [ \"{}\" ]; }};", db.name());
    web.create_from(&web.file().keys(&after));
    let begin = Instant::now();
    let mut began = None;
    let all = lab.manager().autostart(&AutostartRequest::default(), &mut |event| {
        if matches!(&event, Event::ContainerChanged { name, change: ContainerChange::Starting, .. } if name == web.name()) {
            began = Some(begin.elapsed());
        }
    });
    assert!(all.must("autostart").iter().all(|one| one.outcome.runs()));
    assert!(began.is_some_and(|began| began >= SLOW), "{began:?}");
}

/// What the guest says to a command, what was told meanwhile, and how long it took.
fn entered(web: &Guest<'_>, lab: &Lab, boot: u32) -> (bool, Vec<String>, Duration) {
    let manager = lab.manager_with(|config| config.timeouts.boot = boot);
    let mut notes = Vec::new();
    let begin = Instant::now();
    let request = RunRequest::new(["/bin/sh", "-c", "exit 0"]);
    let exit = manager.container(web.name().clone()).run_observed(request, Streams::Null, &mut |event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    });
    (exit.must("run").success(), notes, begin.elapsed())
}

fn root_a_guest_that_never_activates_hangs_nobody(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("system.activationScripts.never = \"sleep 100000\";"));
    web.start_only();
    let (good, notes, took) = entered(&web, lab, 4);
    assert!(good && took >= Duration::from_secs(2), "{notes:?} {took:?}");
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].contains("waiting for") && notes[1].contains("has not finished booting"), "{notes:?}");
    // The time counts from the start of its init: who comes later is not kept.
    let (good, notes, took) = entered(&web, lab, 4);
    assert!(good && notes.len() == 1 && took < Duration::from_secs(3), "{notes:?} {took:?}");
    // It is mended by an update, which says that it takes a restart.
    let fixed = lab.manager_with(|config| config.timeouts.boot = 1);
    let file = Some(lab.file(web.name().as_str(), &web.file().version("2")));
    let request = nixcloud_container::UpdateRequest::default().with_file(file);
    let error = fixed.container(web.name().clone()).update(&request, &mut ()).unwrap_err();
    assert!(error.to_string().contains("restart"), "{error}");
    web.terminate();
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_a_guest_without_the_links_costs_a_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let (good, notes, _) = entered(&web, lab, 60);
    assert!(good && notes.is_empty(), "{notes:?}");
    // Guest root may well do that, or mount something over it.
    web.shell("rm /run/current-system /run/booted-system");
    std::thread::sleep(Duration::from_secs(2));
    let (good, notes, took) = entered(&web, lab, 1);
    assert!(good && notes.len() == 1 && took < Duration::from_secs(3), "{notes:?} {took:?}");
}

/// A unit that fails while the guest boots blames no update.
fn root_an_update_waits_for_units_that_start(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let late = |version: &str| {
        web.file().version(version).module(
            "systemd.services.late = { wantedBy = [ \"multi-user.target\" ]; serviceConfig.Type = \"oneshot\"; \
             script = \"sleep 2; exit 9\"; };",
        )
    };
    web.create_from(&late("1"));
    web.start_only();
    let file = Some(lab.file(web.name().as_str(), &late("2")));
    let request = nixcloud_container::UpdateRequest::default().with_file(file);
    let mut notes = Vec::new();
    let updated = web.container().update(&request, &mut |event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    });
    updated.must("update");
    assert!(notes.iter().any(|note| note.contains("to start its units")), "{notes:?}");
    assert_eq!(web.shell("systemctl is-active late || :"), "failed");
    assert_eq!(web.version().as_deref(), Some("2"));
}

/// It is looked at without a look into its file systems, whatever of them the kernel remembers.
fn root_a_guest_that_nobody_entered_is_known_to_have_booted(lab: &Lab) {
    let web = lab.busybox("web");
    // A system that nobody has looked into yet.
    web.create_from(&web.file().module(&format!("environment.etc.fresh.text = \"{}\";", lab.mark())));
    web.start_only();
    eventually("it has booted", Duration::from_secs(20), || !web.container().status().must("status").booting);
}
