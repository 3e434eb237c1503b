//! How much of the store a guest sees: what it may need, and nothing else, whatever becomes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nixcloud_container::{Event, Exit, RunRequest, Selection, State, Streams};

use crate::crash;
use crate::harness::guest::id;
use crate::harness::{File, Guest, Kind, Lab, Must, chain, eventually, scenarios};

scenarios! {
    once: [
        root_what_a_guest_has_in_use_of_the_store_stays_until_it_has_not,
        root_a_failed_update_shows_of_the_store_what_it_did_before,
        root_an_update_that_needs_a_restart_shows_its_part_of_the_store,
        root_no_kill_hides_a_path_of_the_store_or_leaves_one,
        root_run_says_why_a_path_of_the_store_is_not_there,
        root_a_list_of_paths_of_the_store_that_is_lost_is_made_anew,
        root_a_guest_with_a_nix_of_its_own_is_told_of_the_store,
        root_a_guest_that_reboots_while_it_is_updated_finds_its_part_of_the_store,
        root_a_lost_note_of_a_guest_hides_nothing_of_the_store,
    ],
    both: [
        root_a_guest_sees_what_it_needs_of_the_store_and_keeps_seeing_it,
    ],
}

/// The names of what a package needs.
fn closure(package: &Path) -> BTreeSet<String> {
    let told = Command::new("nix-store").args(["--query", "--requisites"]).arg(package).output().unwrap();
    assert!(told.status.success(), "{told:?}");
    let text = String::from_utf8(told.stdout).unwrap();
    text.lines().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect()
}

/// What generations of a guest need together.
fn closures(guest: &Guest<'_>, generations: &[u64]) -> BTreeSet<String> {
    generations.iter().flat_map(|id| closure(&guest.generation_path(*id))).collect()
}

/// What the guest lists of its store. Each name that it lists is there, and has in it what it has on the host.
#[track_caller]
fn listed(guest: &Guest<'_>) -> BTreeSet<String> {
    let script = "cd /nix/store && for path in $(ls -A); do if [ -d $path ]; then set -- $(ls -A $path); \
                  echo $path $#; elif [ -L $path ] || cat $path >/dev/null; then echo $path file; else echo $path GONE; fi; done";
    let lines = guest.shell(script);
    let one = |line: &str| {
        let (name, inside) = line.split_once(' ').unwrap();
        let path = Path::new("/nix/store").join(name);
        if path.is_dir() && !path.is_symlink() {
            assert_eq!(inside, fs::read_dir(&path).unwrap().count().to_string(), "{name}");
        } else {
            assert_eq!(inside, "file", "{name}");
        }
        name.to_owned()
    };
    lines.lines().map(one).collect()
}

#[track_caller]
pub fn assert_shown(guest: &Guest<'_>, generations: &[u64]) {
    let (seen, needed) = (listed(guest), closures(guest, generations));
    let more: Vec<_> = seen.difference(&needed).map(|name| (name, holders(name))).collect();
    let less: Vec<_> = needed.difference(&seen).collect();
    assert!(more.is_empty() && less.is_empty(), "of {generations:?}: more {more:?}, missing {less:?}");
}

/// The processes of this machine that have something of a path of the store open, run or mapped, with what.
fn holders(name: &str) -> Vec<String> {
    let part = format!("/nix/store/{name}");
    let mut found = Vec::new();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()) {
        let files =
            fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
        let links = ["exe", "cwd", "root"].map(|link| process.join(link)).into_iter().chain(files);
        let led = links.filter(|link| fs::read_link(link).is_ok_and(|to| to.starts_with(&part)));
        let maps = process.join("maps");
        let mapped = fs::read_to_string(&maps).is_ok_and(|text| text.contains(&part)).then_some(maps);
        let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " ");
        found.extend(led.chain(mapped).map(|what| format!("{} ({command})", what.display())));
    }
    found
}

/// A container file whose guest sees a part of the store. Its closure differs from that of every other version.
pub fn file(guest: &Guest<'_>, version: &str) -> File {
    guest.file().version(version).keys("store = \"closure\";")
}

/// The name in the store of a generation.
pub fn package(guest: &Guest<'_>, generation: u64) -> String {
    guest.generation_path(generation).file_name().unwrap().to_str().unwrap().to_owned()
}

/// The packages that are rooted since the guest sees them.
pub fn rooted(lab: &Lab, guest: &Guest<'_>) -> BTreeSet<String> {
    let profile = lab.path("/nix/var/nix/profiles/nixcloud-container").join(guest.name().as_str());
    let links = fs::read_dir(profile).unwrap().map(|entry| entry.unwrap().path());
    let ours = links.filter(|link| {
        let name = link.file_name().unwrap().to_str().unwrap();
        name == "booted" || name.starts_with("shown-")
    });
    let target =
        |link: PathBuf| fs::read_link(link).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    ours.map(target).collect()
}

fn set(names: &[String]) -> BTreeSet<String> {
    names.iter().cloned().collect()
}

fn root_a_guest_sees_what_it_needs_of_the_store_and_keeps_seeing_it(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&file(&web, "1"));
    let init = web.start();
    assert_shown(&web, &[1]);
    assert_eq!(
        web.shell("stat -c %u:%g /nix/store/*").lines().collect::<BTreeSet<_>>(),
        BTreeSet::from(["0:0"])
    );
    // A service with mounts of its own, before anything changes.
    web.shell("unshare -m sh -c 'echo $$ >/run/own; exec sleep 100000' >/dev/null 2>&1 & sleep 0.2");
    web.update(&file(&web, "2"));
    assert_shown(&web, &[1, 2]);
    assert_eq!(web.version().as_deref(), Some("2"));
    let two = package(&web, 2);
    web.shell(&format!("test -e /proc/$(cat /run/own)/root/nix/store/{two}/init"));
    assert_eq!(rooted(lab, &web), set(&[package(&web, 1), two.clone()]));

    // The third takes the place of the second, which nothing runs.
    web.update(&file(&web, "3"));
    assert_shown(&web, &[1, 3]);
    assert!(!web.sh(&format!("test -e /nix/store/{two}")).exit.success());
    assert_eq!(rooted(lab, &web), set(&[package(&web, 1), package(&web, 3)]));
    // Back to what the guest has just looked for in vain.
    web.container().switch_generation(id(2), &mut ()).must("switch");
    assert_shown(&web, &[1, 2]);
    assert_eq!(web.version().as_deref(), Some("2"));
    web.container().rollback(&mut ()).must("rollback");
    assert_shown(&web, &[1]);
    assert_eq!((web.version().as_deref(), web.init()), (Some("1"), init));

    web.container().delete_generations(&Selection::Ids(vec![id(2)]), &mut ()).must("delete");
    assert_shown(&web, &[1]);
    web.update(&file(&web, "4"));
    assert_shown(&web, &[1, 4]);
    // From inside it boots what is current, and needs the other no more.
    if kind == Kind::Busybox {
        assert_eq!(web.reboots(), State::Running);
    } else {
        web.sh("systemctl reboot");
        eventually("it rebooted", Duration::from_secs(60), || web.init() != init);
    }
    web.await_version();
    assert_eq!(web.version().as_deref(), Some("4"));
    web.update(&file(&web, "5"));
    assert_shown(&web, &[4, 5]);
    web.stop();
    assert_eq!(rooted(lab, &web), BTreeSet::new());
    web.start();
    assert_shown(&web, &[5]);
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_what_a_guest_has_in_use_of_the_store_stays_until_it_has_not(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    web.update(&file(&web, "2"));
    let two = package(&web, 2);
    web.shell(&format!(
        "exec sleep 100000 </nix/store/{two}/spec.json >/dev/null 2>&1 & echo $! >/run/holder"
    ));
    web.update(&file(&web, "3"));
    // It can be reached by what holds it, so it is there by its name, too, and is kept for it.
    assert_eq!(
        web.shell(&format!("cat /nix/store/{two}/spec.json")),
        fs::read_to_string(web.generation_path(2).join("spec.json")).unwrap().trim_end()
    );
    assert!(rooted(lab, &web).contains(&two));
    // Who has a part of it in use may want the rest.
    assert_shown(&web, &[1, 2, 3]);
    web.container().delete_generations(&Selection::Ids(vec![id(2)]), &mut ()).must("delete");
    assert!(rooted(lab, &web).contains(&two));
    web.shell("kill $(cat /run/holder); sleep 0.1");
    web.container().delete_generations(&Selection::Old, &mut ()).must("delete");
    web.update(&file(&web, "4"));
    assert_shown(&web, &[1, 4]);
    assert_eq!(rooted(lab, &web), set(&[package(&web, 1), package(&web, 4)]));
}

fn root_a_failed_update_shows_of_the_store_what_it_did_before(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let error = web.try_update(&file(&web, "2").module("standin.switchExit = 1;")).unwrap_err();
    assert!(chain(&error).contains("put back") || !chain(&error).is_empty());
    assert_eq!((web.generation(), web.version().as_deref()), (1, Some("1")));
    assert_shown(&web, &[1]);
    assert_eq!(rooted(lab, &web), set(&[package(&web, 1)]));
}

fn root_an_update_that_needs_a_restart_shows_its_part_of_the_store(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    web.try_update(&file(&web, "2").module("standin.switchExit = 100;")).unwrap_err();
    assert_eq!((web.generation(), web.version().as_deref()), (2, Some("1")));
    assert_shown(&web, &[1, 2]);
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    assert_eq!(web.version().as_deref(), Some("2"));
    // What it was booted from before is not needed any more.
    web.update(&file(&web, "3"));
    assert_shown(&web, &[2, 3]);
}

fn root_no_kill_hides_a_path_of_the_store_or_leaves_one(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    let init = web.start();
    let next = |version: &str| lab.file(web.name().as_str(), &file(&web, version));
    let usual = crash::usual(lab, "update", &web, Some(&next("0")));
    for at in 0..crash::MOMENTS {
        let version = format!("killed-{at}");
        crash::kill(lab, "update", &web, Some(&next(&version)), at, usual);
        // Whatever it boots or runs now is there.
        let seen = listed(&web);
        let current = web.generation();
        assert!(closures(&web, &[1, current]).is_subset(&seen), "moment {at}");
        assert!(web.version().is_some(), "moment {at}");
        if at % 4 == 3 {
            assert_eq!(web.reboots(), State::Running, "moment {at}");
            web.await_version();
            web.terminate();
            web.container().start(&mut ()).must("start");
            web.await_version();
            assert_shown(&web, &[web.generation()]);
            web.container().switch_generation(id(1), &mut ()).must("switch");
            web.terminate();
            web.start();
        }
        // The next one gets through, and nothing stays of the one that did not.
        let mut after = format!("after-{at}");
        web.update(&file(&web, &after));
        // Unless a process that was killed with it is slow to end.
        if let Some(held) = listed(&web).difference(&closures(&web, &[1, web.generation()])).next() {
            println!("moment {at}: {held}, held by {:?}", holders(held));
            after.push_str("-again");
            web.update(&file(&web, &after));
        }
        assert_eq!(web.version(), Some(after), "moment {at}");
        assert_shown(&web, &[1, web.generation()]);
        assert_eq!(
            rooted(lab, &web),
            set(&[package(&web, 1), package(&web, web.generation())]),
            "moment {at}"
        );
    }
    assert_ne!(web.init(), init);
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_run_says_why_a_path_of_the_store_is_not_there(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create_from(&file(&web, "1"));
    db.create();
    web.start();
    let hidden = db.generation_path(1).join("init");
    let gone = "/nix/store/00000000000000000000000000000000-gone/bin/x".to_owned();
    let there = format!("{}/nothing", web.generation_path(1).display());
    let notes = |program: &str| {
        let mut notes = Vec::new();
        let mut observer = |event| {
            if let Event::Note(note) = event {
                notes.push(note.to_string());
            }
        };
        let exit = web.container().run_observed(RunRequest::new([program]), Streams::Null, &mut observer);
        assert_eq!(exit.must("run"), Exit::NotFound, "{program}");
        notes.concat()
    };
    let told = notes(hidden.to_str().unwrap());
    assert!(told.contains("store = \"full\"") && told.contains(web.name().as_str()), "{told}");
    assert!(notes(&gone).contains("host does not have it either"));
    assert_eq!(notes(&there), "");
    assert_eq!(notes("no-such-program"), "");
    // On the command line, too.
    let told = lab.line(&format!("run @web {}", hidden.display()));
    assert_eq!(told.code, 127, "{told:?}");
    assert!(told.stderr.contains("store = \"full\""), "{told:?}");
}

fn root_a_list_of_paths_of_the_store_that_is_lost_is_made_anew(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    let list =
        lab.path("/var/lib/nixcloud/container/closures").join(web.name().as_str()).join(package(&web, 1));
    let text = fs::read_to_string(&list).unwrap();
    for damaged in [None, Some(""), Some(&text[..text.len() / 2]), Some("../../etc\n.\n")] {
        match damaged {
            Some(damaged) => fs::write(&list, damaged).unwrap(),
            None => fs::remove_file(&list).unwrap(),
        }
        web.start();
        assert_shown(&web, &[1]);
        assert_eq!(fs::read_to_string(&list).unwrap(), text);
        web.terminate();
    }
}

fn root_a_guest_with_a_nix_of_its_own_is_told_of_the_store(lab: &Lab) {
    let web = lab.busybox("web");
    let told = |file: File| {
        let mut told = Vec::new();
        let mut observer = |event: Event| {
            if let Event::NixMessage { warning: true, text, .. } = event {
                told.push(text);
            }
        };
        web.container().create(&web.request(&file), &mut observer).must("create");
        web.destroy();
        told.concat()
    };
    assert!(told(file(&web, "1").module("nix.enable = true;")).contains("Build on the host"));
    assert!(!told(file(&web, "1")).contains("Build on the host"));
    let full = web.file().keys("store = \"full\";").module("nix.enable = true;");
    assert!(!told(full).contains("Build on the host"));
}

fn root_a_guest_that_reboots_while_it_is_updated_finds_its_part_of_the_store(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let begin = Instant::now();
    web.update(&file(&web, "2"));
    let usual = begin.elapsed();
    for at in 0..10 {
        let version = format!("reboot-{at}");
        let later = (usual * at / 9).as_secs_f32();
        web.shell(&format!("(sleep {later}; rm -f /run/greeting; kill -INT 1) >/dev/null 2>&1 &"));
        // It may be cut off by the reboot, and then says so.
        let _ = web.try_update(&file(&web, &version));
        std::thread::sleep(usual / 4);
        // Whichever it boots is there: a guest that misses what it boots ends.
        eventually("it has booted", Duration::from_secs(30), || web.version().is_some());
        assert_eq!(web.state(), State::Running, "moment {at}");
        assert!(closures(&web, &[web.generation()]).is_subset(&listed(&web)), "moment {at}");
    }
    // From then on all is known again.
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    web.update(&file(&web, "last"));
    assert_eq!(web.version().as_deref(), Some("last"));
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    web.update(&file(&web, "very-last"));
    let last = web.generation();
    assert_shown(&web, &[last - 1, last]);
    assert_eq!(rooted(lab, &web), set(&[package(&web, last - 1), package(&web, last)]));
}

fn root_a_lost_note_of_a_guest_hides_nothing_of_the_store(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    let init = web.start();
    web.update(&file(&web, "2"));
    fs::remove_file(lab.path("/var/lib/nixcloud/container/running").join(format!("{}.toml", web.name())))
        .unwrap();
    web.update(&file(&web, "3"));
    assert_eq!((web.version().as_deref(), web.init()), (Some("3"), init));
    assert_shown(&web, &[1, 2, 3]);
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    assert_eq!(web.version().as_deref(), Some("3"));
    web.stop();
    web.start();
    assert_shown(&web, &[3]);
}
