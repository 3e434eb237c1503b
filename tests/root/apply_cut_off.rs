//! Sets of containers whose application is killed or cancelled, or meets another.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nixcloud_container::{Error, Event, State};

use crate::apply::{apply, expect, prune, request, set};
use crate::harness::{File, Guest, Lab, Must, scenarios};

scenarios! {
    once: [
        root_apply_killed_at_any_moment,
        root_two_applies_at_once,
        root_apply_cancelled_undoes_what_is_not_done,
    ],
    both: [],
}

/// How many moments an apply is killed at.
const MOMENTS: u32 = 10;

fn root_apply_killed_at_any_moment(lab: &Lab) {
    let (web, db, mail) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("mail"));
    let of = |version: &str| {
        let file = |guest: &Guest<'_>| guest.file().version(version);
        set(lab, &[(&web, file(&web)), (&db, file(&db)), (&mail, file(&mail))])
    };
    let command = |path: &Path| {
        let mut command = lab.command(["apply", "-q", "--prune", "--yes", path.to_str().unwrap()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begin = Instant::now();
    assert!(command(&of("0")).status().unwrap().success());
    let usual = begin.elapsed();
    for at in 0..MOMENTS {
        // Half of the times they are new, half of the times one is updated while it runs.
        if at % 2 == 0 {
            prune(lab, &set(lab, &[]));
            lab.assert_nothing_left();
        } else {
            web.start();
        }
        let all = of(&format!("{}", at + 1));
        let mut child = command(&all).spawn().unwrap();
        std::thread::sleep(usual * at / MOMENTS);
        let _ = child.kill();
        child.wait().unwrap();
        let applied = apply(lab, &all);
        assert_eq!(applied.failures().count(), 0, "moment {at}: {applied:?}");
        // An update that was killed between its switch and its end is undone first, so the guest is told again.
        let wanted = format!("{}", at + 1);
        for guest in [&web, &db, &mail] {
            if guest.state() == State::Stopped {
                guest.start();
            }
            assert_eq!(guest.version(), Some(wanted.clone()), "moment {at}: {}", guest.name());
            guest.terminate();
        }
        let work = fs::read_dir(lab.path("/var/lib/nixcloud/container/work")).unwrap().count();
        assert_eq!(work, 0, "moment {at}: work is left");
    }
    prune(lab, &set(lab, &[]));
    lab.assert_nothing_left();
}

fn root_two_applies_at_once(lab: &Lab) {
    let guests = ["a", "b", "c"].map(|name| lab.busybox(name));
    let files: Vec<(&Guest<'_>, File)> = guests.iter().map(|guest| (guest, guest.file())).collect();
    let all = set(lab, &files);
    let spawn =
        || lab.command(["apply", "--json", all.to_str().unwrap()]).stdout(Stdio::piped()).spawn().unwrap();
    let outputs = [spawn(), spawn()].map(|child| child.wait_with_output().unwrap());
    let said: String =
        outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{said}");
    assert_eq!(said.matches("\"outcome\":\"created\"").count(), 3, "{said}");
    assert_eq!(said.matches("\"outcome\":\"unchanged\"").count(), 3, "{said}");
    prune(lab, &set(lab, &[]));
    lab.assert_nothing_left();
}

fn root_apply_cancelled_undoes_what_is_not_done(lab: &Lab) {
    let (a, b) = (lab.busybox("a"), lab.busybox("b"));
    let all = set(lab, &[(&a, a.file()), (&b, b.file().module("standin.buildSeconds = 60;"))]);
    let cancel = nixcloud_container::Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let begin = Instant::now();
    let mut observer = |event: Event| {
        if matches!(event, Event::BuildStarted { .. }) {
            cancel.cancel();
        }
    };
    let applied = manager.apply(&request(&all), &mut observer).must("apply");
    assert!(begin.elapsed() < Duration::from_secs(20));
    expect(lab, &applied, &[("a", "failed"), ("b", "failed")]);
    assert!(applied.failures().all(|(_, error)| matches!(error, Error::Cancelled)), "{applied:?}");
    lab.assert_nothing_left();
}
