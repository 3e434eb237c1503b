//! An operation that was killed at any instant leaves what the next one understands.
//!
//! The killed process is not asked where it is: it is killed after 0, 1, 2 ... steps of time until it gets through, so
//! that every part of the operation is hit, in runs on any machine.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nixcloud_container::{Error, Finding, Part, StartOutcome, State, Verdict};

use crate::harness::space::run;
use crate::harness::{File, Guest, Lab, Must, scenarios};
use crate::{adoption, moving};

scenarios! {
    once: [
        root_create_killed_at_any_moment,
        root_start_killed_at_any_moment,
        root_update_killed_at_any_moment,
        root_an_update_cut_off_at_its_very_end_is_ended_by_the_next,
        root_a_start_tells_the_packet_filter_what_a_kill_left_out,
        root_update_of_a_running_guest_killed_at_any_moment,
        root_a_change_of_ids_killed_at_any_moment,
        root_an_adoption_killed_at_any_moment,
        root_terminate_killed_at_any_moment,
        root_destroy_killed_at_any_moment,
    ],
    both: [],
}

/// How many moments an operation is killed at.
pub const MOMENTS: u32 = 12;

/// Lets another process call `verb` on `web`, and kills it at moment `at` of `MOMENTS`, if the call takes `usual`.
pub fn kill(lab: &Lab, verb: &str, web: &Guest<'_>, file: Option<&PathBuf>, at: u32, usual: Duration) {
    let mut command = lab.actor(false, verb, web);
    command.args(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(usual * at / MOMENTS);
    let _ = child.kill();
    child.wait().unwrap();
}

/// How long the call takes when nobody kills it.
pub fn usual(lab: &Lab, verb: &str, web: &Guest<'_>, file: Option<&PathBuf>) -> Duration {
    let begin = Instant::now();
    let output = lab.actor(false, verb, web).args(file).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{verb}: {output:?}");
    begin.elapsed()
}

/// A container file with a port of the host, so that the packet filter is changed on the way.
fn with_port(web: &Guest<'_>) -> File {
    web.file().keys("network.forwards = [ { hostPort = 8080; } ];")
}

/// The rules of the packet filter are those of the containers that there are.
#[track_caller]
fn assert_rules(lab: &Lab, leads: bool) {
    let wrong = |finding: &Finding| finding.part == Part::Filter && finding.verdict != Verdict::Good;
    let findings = lab.manager().host_check();
    assert!(!findings.iter().any(wrong), "{findings:?}");
    assert_eq!(run("nft", "list ruleset").contains("8080"), leads);
}

fn root_create_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file(web.name().as_str(), &with_port(&web));
    let usual = usual(lab, "create", &web, Some(&file));
    web.destroy();
    lab.assert_nothing_left();
    for at in 0..MOMENTS {
        kill(lab, "create", &web, Some(&file), at, usual);
        // Half of the times the next is a create, half of the times a destroy.
        if at % 2 == 0 {
            match web.try_create(&with_port(&web)) {
                Ok(_) => {}
                Err(Error::Exists { .. }) => assert_eq!(web.state(), State::Stopped),
                Err(error) => panic!("moment {at}: {}", crate::harness::chain(&error)),
            }
            assert_eq!(web.address().octets(), [10, 101, 0, 2], "moment {at}");
            assert_eq!(web.container().status().must("status").ids.unwrap().base(), 100_000, "moment {at}");
            assert_rules(lab, true);
            web.start();
            web.terminate();
        }
        // Killed before its record was there, it made no container: the next one of the name tidies up what it began to write.
        if !web.container().exists().must("exists") {
            web.create();
        }
        web.destroy();
        assert_rules(lab, false);
        lab.assert_nothing_left();
    }
}

fn root_start_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let usual = usual(lab, "start", &web, None);
    web.terminate();
    for at in 0..MOMENTS {
        kill(lab, "start", &web, None, at, usual);
        // What the killed one began may go on; either way there is one guest in the end.
        let outcome = web.container().start(&mut ()).must("start");
        web.await_version();
        let init = web.init();
        if let StartOutcome::Started { init_pid, .. } = outcome {
            assert_eq!(init_pid, init, "moment {at}");
        }
        let payloads = nixcloud_container::cgroup::payloads(web.name().as_str());
        let names: BTreeSet<_> = payloads.iter().filter_map(|cgroup| cgroup.file_name()).collect();
        assert_eq!(names.len(), 1, "moment {at}: {names:?}");
        assert!(web.pings(), "moment {at}");
        if at % 2 == 0 { web.stop() } else { web.terminate() }
    }
    web.destroy();
    lab.assert_nothing_left();
}

fn root_update_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    // The port is another one each time, or none.
    let next = |version: u32| {
        let port = format!("network.forwards = [ {{ hostPort = {}; }} ];", 8000 + version / 3);
        let file = if version.is_multiple_of(3) { web.file() } else { web.file().keys(&port) };
        lab.file(web.name().as_str(), &file.version(&version.to_string()))
    };
    let usual = usual(lab, "update", &web, Some(&next(100)));
    for at in 0..MOMENTS {
        kill(lab, "update", &web, Some(&next(101 + at)), at, usual);
        // It boots, from one of the two.
        web.start();
        let version: u32 = web.version().unwrap().parse().unwrap();
        assert!((100..=101 + at).contains(&version), "moment {at}: version {version}");
        web.terminate();
        // The start has put back what was cut off.
        let wrong = |finding: &Finding| finding.part == Part::Filter && finding.verdict != Verdict::Good;
        let findings = lab.manager().host_check();
        assert!(!findings.iter().any(wrong), "moment {at}: {findings:?}");
    }
    web.update(&web.file().version("last"));
    web.start();
    assert_eq!(web.version().as_deref(), Some("last"));
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

/// The generation counts already, and nobody has been told.
fn root_an_update_cut_off_at_its_very_end_is_ended_by_the_next(lab: &Lab) {
    let web = lab.busybox("web");
    let with = |port: u16| web.file().keys(&format!("network.forwards = [ {{ hostPort = {port}; }} ];"));
    web.create_from(&with(8080));
    // As it would be killed there.
    let broken = lab.manager_with(|config| config.tools.nft = "/bin/false".into());
    let file = Some(lab.file(web.name().as_str(), &with(8081).version("2")));
    let request = nixcloud_container::UpdateRequest::default().with_file(file);
    broken.container(web.name().clone()).update(&request, &mut ()).unwrap_err();
    assert_eq!(web.generation(), 2);
    web.start();
    assert_rules(lab, false);
    assert!(run("nft", "list ruleset").contains("8081"));
    // What it held is anybody's.
    let next = lab.busybox("next");
    next.create_from(&with(8080));
    assert_rules(lab, true);
    web.terminate();
}

fn root_a_start_tells_the_packet_filter_what_a_kill_left_out(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let before = run("nft", "list table inet nixcloud-container");
    web.update(&with_port(&web).version("2"));
    assert_rules(lab, true);
    // As one who is killed between the record and the rules leaves them.
    run("nft", "delete table inet nixcloud-container");
    let rules = lab.write("rules", &before);
    run("nft", &format!("-f {}", rules.display()));
    assert!(!run("nft", "list ruleset").contains("8080"));
    web.start();
    assert_rules(lab, true);
    web.stop();
}

fn root_update_of_a_running_guest_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let next = |version: u32| lab.file(web.name().as_str(), &web.file().version(&version.to_string()));
    let usual = usual(lab, "update", &web, Some(&next(200)));
    for at in 0..MOMENTS {
        kill(lab, "update", &web, Some(&next(201 + at)), at, usual);
        // The next update gets through, whatever the guest was left with.
        let version = format!("after-{at}");
        web.update(&web.file().version(&version));
        assert_eq!((web.version(), web.init()), (Some(version), init), "moment {at}");
    }
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_change_of_ids_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&moving::shared(&web, "shared"));
    web.start();
    // Enough to be hit on the way; one with a bit that a change of owner takes.
    web.shell(
        "mkdir -p /srv/many && cd /srv/many && i=0 && while [ $i -lt 3000 ]; do : >f$i; i=$((i+1)); done",
    );
    web.shell("echo x >/srv/many/tool && chmod 4711 /srv/many/tool");
    web.stop();
    let file = lab.file(web.name().as_str(), &web.file().version("own"));
    let usual = usual(lab, "update", &web, Some(&file));
    let tool = || web.rootfs().join("srv/many/tool").metadata().unwrap().mode() & 0o7777;
    for at in 0..MOMENTS {
        web.update(&moving::shared(&web, "shared"));
        moving::assert_owned(&web, 100_000);
        kill(lab, "update", &web, Some(&file), at, usual);
        // What was cut off is put back or has got through: the files have the ids that the guest then has.
        if at % 3 == 0 {
            kill(lab, "start", &web, None, at, usual / 2);
        }
        web.container().start(&mut ()).must("start");
        web.await_version();
        let base = moving::ids(&web);
        let kind = if web.version().as_deref() == Some("own") { 165_536 } else { 100_000 };
        assert_eq!(base, kind, "moment {at}");
        web.terminate();
        moving::assert_owned(&web, base);
        assert_eq!(tool(), 0o4711, "moment {at}");
        assert_eq!(moving::claims(lab).keys().copied().collect::<Vec<_>>(), [base], "moment {at}");
    }
    // Destroyed right after a kill, it leaves nothing either.
    for at in [4, 8, 11] {
        let web = lab.busybox("other");
        web.create_from(&moving::shared(&web, "shared"));
        kill(lab, "update", &web, Some(&file), at, usual);
        web.destroy();
    }
    web.destroy();
    lab.assert_nothing_left();
}

fn root_an_adoption_killed_at_any_moment(lab: &Lab) {
    let web = adoption::made(lab, "web");
    let file = lab.file(web.name().as_str(), &web.file().version("2"));
    let usual = usual(lab, "update", &web, Some(&file));
    web.destroy();
    lab.assert_nothing_left();
    let (mut shown, mut ids) = (0, 0);
    for at in 0..MOMENTS {
        let web = adoption::made(lab, "web");
        // Most of them early: the adoption comes first.
        let verb = ["update", "start", "destroy"][at as usize % 3];
        let file = (verb == "update").then_some(&file);
        kill(lab, verb, &web, file, at, usual / 3);
        if !web.container().exists().must("exists") {
            // It got through, or all but the end.
            assert_eq!(verb, "destroy");
            continue;
        }
        shown += 1;
        if verb == "destroy" && web.container().state().must("state") == State::Incomplete {
            web.destroy();
            lab.assert_nothing_left();
            continue;
        }
        assert_eq!(web.address().octets(), [10, 101, 0, 2], "moment {at}");
        web.container().start(&mut ()).must("start");
        web.await_version();
        ids = moving::ids(&web);
        assert!(web.pings(), "moment {at}");
        web.update(&web.file().version("3"));
        assert_eq!(web.version().as_deref(), Some("3"), "moment {at}");
        web.terminate();
        web.destroy();
        lab.assert_nothing_left();
    }
    assert!(shown > 3 && ids == 100_000, "{shown} {ids}");
}

fn root_terminate_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let usual = usual(lab, "terminate", &web, None);
    for at in 0..MOMENTS {
        web.container().start(&mut ()).must("start");
        kill(lab, "terminate", &web, None, at, usual);
        web.container().start(&mut ()).must("start");
        web.await_version();
        assert_eq!(web.state(), State::Running, "moment {at}");
    }
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_destroy_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let other = lab.busybox("other");
    web.start();
    web.stop();
    let usual = usual(lab, "destroy", &web, None);
    for at in 0..MOMENTS {
        web.create_from(&with_port(&web));
        web.update(&with_port(&web).version("2"));
        kill(lab, "destroy", &web, None, at, usual);
        // At the very end only its lock is left, which the next destroy of whichever container finds.
        let next = if web.container().exists().must("exists") { &web } else { &other };
        if next.name() == other.name() {
            other.create();
        }
        next.destroy();
        assert_rules(lab, false);
        lab.assert_nothing_left();
    }
}
