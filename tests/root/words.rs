//! What the command says: enough to go on with, not more, and nothing that misleads.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use nixcloud_container::DestroyRequest;

use crate::harness::{File, Lab, Must, Pty, scenarios};

scenarios! {
    once: [
        root_pending_restart_tells_what_changed,
        root_a_misspelt_container_is_guessed,
        root_what_a_start_will_miss_is_said_before,
        root_an_update_that_its_set_changes_back_says_so,
        root_a_dry_run_with_nothing_to_do_says_so,
        root_a_stop_that_kills_and_one_that_does_not_say_so,
        root_memory_is_what_the_guest_needs,
        root_a_narrow_terminal_breaks_no_words,
    ],
    both: [],
}

fn root_pending_restart_tells_what_changed(lab: &Lab) {
    let web = lab.busybox("web");
    let mount =
        |target: &str| format!("lxc.mount.entry = /etc/hostname {target} none bind,ro,create=file 0 0");
    web.create_from(&web.file().extra(&mount("srv/a")));
    web.start();
    let entry = |target: &str| {
        let locked = web.folder().join("locked/extra-1");
        format!("{} {target} none bind,ro,create=file 0 0", locked.display())
    };
    let update = |file: &File| {
        lab.file(web.name().as_str(), file);
        lab.line("update @web").done()
    };

    // One entry of many: the ten that stay are not told.
    let told = update(&web.file().extra(&mount("srv/b")));
    let line = told.lines().find(|line| line.starts_with("pending restart:")).unwrap();
    assert_eq!(line, format!("pending restart: lxc.mount.entry: {} -> {}", entry("srv/a"), entry("srv/b")));
    assert_eq!(told.matches("pending restart").count(), 1, "{told}");

    let told = update(&web.file());
    assert!(told.contains(&format!("pending restart: lxc.mount.entry loses {}", entry("srv/a"))), "{told}");

    let json = lab.line("--json state @web").done();
    let state: serde_json::Value = serde_json::from_str(&json).unwrap();
    let pending = &state["pending_restart"][0];
    assert_eq!(pending["removed"], serde_json::json!([entry("srv/a")]), "{json}");
    assert_eq!(pending["added"], serde_json::json!([]), "{json}");
    let count = |key: &str| pending[key].as_array().unwrap().len();
    assert_eq!(count("running"), count("next") + 1, "{json}");
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_misspelt_container_is_guessed(lab: &Lab) {
    let web = lab.busybox("database");
    web.create();
    let name = web.name().as_str();
    let wrong = name.replacen("database", "databse", 1);
    let told = lab.cli(["start", &wrong]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains(&format!("hint: did you mean `{name}`?")), "{told:?}");
    let told = lab.cli(["--json", "state", &wrong]);
    assert!(told.stdout.contains(&format!("did you mean `{name}`?")), "{told:?}");
    assert!(told.stdout.contains("\"kind\":\"not-found\""), "{told:?}");
    // What is no slip is not guessed.
    let told = lab.line("start @mail");
    assert!(told.stderr.contains("`nixcloud-container list` shows those that exist"), "{told:?}");
    web.destroy();
}

fn root_what_a_start_will_miss_is_said_before(lab: &Lab) {
    let web = lab.busybox("web");
    let (there, missing) = (lab.path("/there"), lab.path("/missing"));
    fs::create_dir(&there).unwrap();
    let mount = |source: &str, options: &str| format!("lxc.mount.entry = {source} srv none {options} 0 0");
    let create = |file: &File| {
        lab.file(web.name().as_str(), file);
        let path = lab.path(&format!("/files/{}.nix", web.name()));
        let told = lab.cli(["create", web.name().as_str(), path.to_str().unwrap()]);
        assert_eq!(told.code, 0, "{told:?}");
        told.stderr
    };
    let missed = format!("note: the container does not start without {}", missing.display());

    for options in ["bind,create=dir", "rbind,ro,create=dir"] {
        let told = create(&web.file().extra(&mount(missing.to_str().unwrap(), options)));
        assert!(told.contains(&missed), "{told}");
        let started = lab.line("start @web");
        assert_eq!(started.code, 1, "{started:?}");
        let error = format!("error: cannot mount {} in container `{}`", missing.display(), web.name());
        assert!(started.stderr.contains(&error), "{started:?}");
        assert!(started.stderr.contains("No such file"), "{started:?}");
        // Once it is there it starts.
        fs::create_dir(&missing).unwrap();
        web.start();
        web.terminate();
        fs::remove_dir(&missing).unwrap();
        web.destroy();
    }
    for (source, options) in [(&there, "bind,create=dir"), (&missing, "bind,optional,create=dir")] {
        let told = create(&web.file().extra(&mount(source.to_str().unwrap(), options)));
        assert!(!told.contains("does not start without"), "{told}");
        web.start();
        web.terminate();
        web.destroy();
    }
    let told = create(&web.file().keys("network.bridge = \"br7\"; network.ip = \"10.9.0.2\";"));
    assert!(
        told.contains("note: the container does not start without the bridge br7, which does not exist"),
        "{told}"
    );
    let started = lab.line("start @web");
    assert!(started.stderr.contains("bridge br7 does not exist"), "{started:?}");
    web.destroy();
    lab.assert_nothing_left();
}

fn root_an_update_that_its_set_changes_back_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    let set = crate::apply::set(lab, &[(&web, web.file())]);
    crate::apply::apply(lab, &set);
    let other = lab.file("other", &web.file().version("2"));
    let note =
        format!("note: `{}` declares {}, and the next time that it is applied", set.display(), web.name());
    let told = lab.cli(["update", web.name().as_str(), other.to_str().unwrap()]);
    assert!(told.code == 0 && told.stderr.contains(&note), "{told:?}");
    // True: it is the set's again. What is not the set's alone is told, and that is not.
    assert!(lab.cli(["apply", set.to_str().unwrap()]).done().contains("1 updated"));
    let told = lab.line("update @web");
    assert!(told.code == 0 && !told.stderr.contains("declares"), "{told:?}");
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

fn root_a_dry_run_with_nothing_to_do_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    let set = crate::apply::set(lab, &[(&web, web.file())]);
    crate::apply::apply(lab, &set);
    let told = lab.cli(["apply", set.to_str().unwrap(), "--prune", "--dry-run"]).done();
    assert_eq!(told, "there is nothing to do: 1 unchanged");
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    let none = lab.write("none", "{ }\n");
    let told = lab.cli(["apply", none.to_str().unwrap(), "--prune", "--dry-run"]).done();
    assert_eq!(told, "there is nothing to do");
}

fn root_a_stop_that_kills_and_one_that_does_not_say_so(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    web.start();
    let told = lab.line("stop @web -t 1");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("did not shut down within 1 s"), "{told:?}");
    assert!(told.stderr.contains("hint: it still runs: `nixcloud-container terminate"), "{told:?}");
    assert_eq!(lab.line("state @web").done(), "running");
    let told = lab.cli(["stop", web.name().as_str(), "-l", "-t 1"]).done();
    assert!(told.starts_with("killed ") && told.contains("`-l \"-t SECONDS\"` kills it then"), "{told}");
    assert_eq!(lab.line("state @web").done(), "stopped");
    web.destroy();
}

/// What a guest has written to its disk is the page cache's, which the kernel takes back: a guest is not taken for one that
/// needs it all.
fn root_memory_is_what_the_guest_needs(lab: &Lab) {
    const WRITTEN: u64 = 96 << 20;
    let web = lab.busybox("web");
    web.boot();
    let needs = || {
        let json: serde_json::Value = serde_json::from_str(&lab.line("--json state @web").done()).unwrap();
        json["memory"].as_u64().unwrap()
    };
    let before = needs();
    web.shell("dd if=/dev/zero of=/root-file bs=1M count=96 2>/dev/null && sync");
    let cached = needs();
    assert!(cached < before + WRITTEN / 4, "{before} before, {cached} after {WRITTEN} bytes were written");
    // A file in memory is nobody's cache.
    web.shell("dd if=/dev/zero of=/run/file bs=1M count=96 2>/dev/null");
    let held = needs();
    assert!(held > before + WRITTEN * 3 / 4, "{before} before, {held} with {WRITTEN} bytes in memory");
    web.terminate();
    web.destroy();
}

/// The whole of what a command shows on a terminal of so many columns, line by line.
fn shown(mut command: Command, columns: u16) -> Vec<String> {
    command.env("TERM", "dumb").env("NO_COLOR", "1");
    let mut pty = Pty::spawn(&command, 200, columns);
    pty.exit();
    pty.seen().lines().map(|line| line.trim_end().to_owned()).collect()
}

fn root_a_narrow_terminal_breaks_no_words(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("autostart = true;"));
    let command =
        |words: &[&str]| lab.command(words.iter().map(|word| word.replace("@web", web.name().as_str())));
    let calls: &[&[&str]] = &[
        &["list"],
        &["list-generations", "@web"],
        &["show-ip", "@web", "--all"],
        &["rollback", "@web"],
        &["run", "@web", "true"],
        &["start", "nobody-of-that-name"],
        &["host", "check"],
        &["start"],
        &[],
        &["stop", "--help"],
        &["help"],
    ];
    for call in calls {
        let (narrow, wide) = (shown(command(call), 40), shown(command(call), 200));
        for line in &narrow {
            // A word may be wider than the terminal: a path.
            let word = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
            assert!(line.chars().count() <= 40 || word > 25, "{call:?}: {line:?} of {narrow:#?}");
        }
        let words = |lines: &[String]| -> BTreeSet<String> {
            lines.iter().flat_map(|line| line.split_whitespace()).map(str::to_lowercase).collect()
        };
        // A row that does not fit is a block, which has no heading for the column of names.
        let broken: Vec<_> = words(&narrow).difference(&words(&wide)).cloned().collect();
        assert!(broken.is_empty(), "{call:?}: {broken:?} of {narrow:#?}");
        assert!(!narrow.is_empty(), "{call:?}");
    }
    web.destroy();
}
