//! Waiting: until a guest is ready, until it has ended.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::{
    Cancel, Container, Error, ErrorKind, Missing, Readiness, Ready, StartOutcome, StartRequest, State,
    StopOutcome, StopRequest, SystemState, Unready, WaitRequest,
};

use nixcloud_container::watch::End;

use crate::harness::{File, Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_a_guest_that_never_activates_is_not_ready,
        root_a_cancelled_wait_leaves_the_guest,
        root_a_unit_that_fails_makes_a_degraded_guest,
    ],
    both: [
        root_a_start_waits_for_its_level,
        root_a_wait_that_is_over_says_what_was_missing,
        root_a_guest_that_ends_is_not_waited_for,
        root_a_guest_that_reboots_is_waited_for,
        root_who_waits_for_the_end_is_woken,
        root_start_wait_on_the_command_line,
    ],
}

/// Longer than any of these takes.
const LONG: Duration = Duration::from_secs(120);

const PORT: u16 = 8080;

/// With a program that listens on [`PORT`] once `first` has ended.
fn listening(guest: &Guest<'_>, first: &str) -> File {
    guest.file().module(&format!(
        "systemd.services.web = {{ wantedBy = [ \"multi-user.target\" ]; \
         script = \"{first}; exec busybox httpd -f -p {PORT} -h /run\"; }};"
    ))
}

fn wait(web: &Container, level: Ready, limit: Duration) -> Result<Readiness, Error> {
    web.wait_ready(&WaitRequest::new(level).with_limit(limit), &mut ())
}

/// What was missing, and why it was not waited for any longer.
#[track_caller]
fn unready(outcome: Result<Readiness, Error>) -> (Missing, Unready) {
    match outcome.unwrap_err() {
        Error::NotReady { missing, why, reached, .. } => {
            assert_eq!(reached, missing.reached());
            assert_eq!(missing.reached(), Some(Ready::Activated));
            (missing, why)
        }
        other => panic!("{other:?}"),
    }
}

fn root_a_start_waits_for_its_level(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let slow = listening(&web, "until test -e /run/go; do sleep 0.1; done")
        .module("system.activationScripts.slow = \"sleep 2\";")
        .keys("network.enableNat = true;");
    web.create_from(&slow);
    let error = wait(&web.container(), Ready::Activated, LONG).unwrap_err();
    assert!(matches!(error, Error::State { state: State::Stopped, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("start"));
    let started = web.container().start_with(&StartRequest::new().wait_for(Ready::Activated, LONG), &mut ());
    let StartOutcome::Started { readiness: Some(ready), .. } = started.must("start") else { panic!() };
    assert_eq!((ready.level, ready.system), (Ready::Activated, None));
    assert!(!web.container().status().must("status").booting);
    // It runs already, and is waited for all the same.
    let system =
        web.container().start_with(&StartRequest::new().wait_for(Ready::SystemRunning, LONG), &mut ());
    let StartOutcome::AlreadyRunning { readiness: Some(ready), .. } = system.must("start") else { panic!() };
    let wanted = if kind == Kind::Systemd { SystemState::Running } else { SystemState::Plain };
    assert_eq!(ready.system, Some(wanted));
    wait(&web.container(), Ready::Address, LONG).must("addresses");
    let lacking: Vec<_> =
        web.container().all_addresses().must("addresses").into_iter().filter(|one| !one.live).collect();
    assert!(lacking.iter().all(|one| one.address.is_ipv6()), "{lacking:?}");
    // Nobody is told that it is ready before it is.
    let levels = [Ready::port(PORT), Ready::probe(["test", "-e", "/run/go"])];
    for level in levels.clone() {
        unready(wait(&web.container(), level, Duration::from_millis(300)));
    }
    std::thread::scope(|scope| {
        let waits = levels.map(|level| {
            let web = web.container();
            scope.spawn(move || wait(&web, level, LONG))
        });
        web.shell("touch /run/go");
        for waiting in waits {
            waiting.join().unwrap().must("wait");
        }
    });
    assert!(
        web.shell(&format!("busybox wget -q -O - http://127.0.0.1:{PORT}/go && echo answers"))
            .contains("answers")
    );
}

fn root_a_wait_that_is_over_says_what_was_missing(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let init = web.init();
    let limit = Duration::from_secs(1);
    let late = |why| matches!(why, Unready::Late { limit: found, .. } if found == limit);
    let (missing, why) = unready(wait(&web.container(), Ready::port(9), limit));
    assert!(matches!(missing, Missing::Port { port: 9, .. }), "{missing:?}");
    assert!(late(why), "{why:?}");
    // The loopback alone is nobody else's.
    web.shell("busybox nc -l -s 127.0.0.1 -p 9 >/dev/null 2>&1 &");
    assert!(late(unready(wait(&web.container(), Ready::port(9), limit)).1));
    let (missing, why) = unready(wait(&web.container(), Ready::probe(["sh", "-c", "exit 3"]), limit));
    let Missing::Probe { exit: Some(exit), .. } = missing else { panic!("{missing:?}") };
    assert_eq!((exit.code(), late(why)), (3, true));
    let (missing, _) = unready(wait(&web.container(), Ready::probe(["no-such-program"]), limit));
    assert_eq!(missing.to_string(), "it is activated, and the probe's program is not there");
    // One that hangs is ended with all that it began.
    let (missing, why) =
        unready(wait(&web.container(), Ready::probe(["sh", "-c", "setsid sleep 4711 & sleep 4711"]), limit));
    assert!(matches!(missing, Missing::Probe { exit: None, .. }), "{missing:?}");
    assert!(late(why), "{why:?}");
    eventually("the probe is gone", Duration::from_secs(10), || {
        !web.shell("for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline; done; :").contains("sleep 4711 ")
    });
    let error = wait(&web.container(), Ready::port(9), limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!((web.state(), web.init()), (State::Running, init));
}

fn root_a_guest_that_never_activates_is_not_ready(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("system.activationScripts.never = \"sleep 100000\";"));
    let request = StartRequest::new().wait_for(Ready::SystemRunning, Duration::from_secs(2));
    let error = web.container().start_with(&request, &mut ()).unwrap_err();
    let Error::NotReady { reached: None, missing: Missing::Activation, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        error
            .to_string()
            .ends_with("is not ready (`system-running`) after 2 s: it has not activated its system")
    );
    // The start is not undone.
    assert_eq!(web.state(), State::Running);
    web.terminate();
}

fn root_a_unit_that_fails_makes_a_degraded_guest(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.create_from(&web.file().module(
        "systemd.services.late = { wantedBy = [ \"multi-user.target\" ]; serviceConfig.Type = \"oneshot\"; \
         script = \"sleep 2; exit 9\"; };",
    ));
    let name = web.name().as_str();
    let told = lab.cli(["start", name, "--wait"]);
    assert_eq!(told.code, 4, "{told:?}");
    assert!(told.stdout.starts_with(&format!("started {name}: system-running after ")), "{told:?}");
    assert!(told.stderr.contains("these units failed: late.service"), "{told:?}");
    assert!(told.stderr.contains(&format!("run {name} systemctl status late.service")), "{told:?}");
    let ready = wait(&web.container(), Ready::SystemRunning, LONG).must("wait");
    let Some(SystemState::Degraded { units, .. }) = &ready.system else { panic!("{ready:?}") };
    assert_eq!(units, &["late.service"]);
    assert!(!ready.is_good());
    let told = lab.cli(["start", name, "--wait", "--json"]);
    assert_eq!(told.code, 4);
    let object: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    crate::json::holds(&object, "power");
    assert_eq!(object["outcome"], "already-running");
    assert_eq!(
        (&object["ready"]["system"], &object["ready"]["failed_units"][0]),
        (&"degraded".into(), &"late.service".into())
    );
}

fn root_a_guest_that_ends_is_not_waited_for(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    let request = StartRequest::new().wait_for(Ready::port(9), LONG);
    let ended = |end: &dyn Fn()| {
        std::thread::scope(|scope| {
            let (starting, request) = (web.container(), &request);
            let started = scope.spawn(move || starting.start_with(request, &mut ()));
            eventually("it runs", Duration::from_secs(60), || web.container().seems_to_run());
            web.await_version();
            end();
            let error = started.join().unwrap().unwrap_err();
            let Error::NotReady { why: Unready::Ended { how, .. }, .. } = error else { panic!("{error:?}") };
            how
        })
    };
    // The guest may end before the command that asked for it has.
    let itself = ended(&|| match kind {
        Kind::Busybox => drop(web.sh("kill -PWR 1")),
        Kind::Systemd => drop(web.sh("systemctl poweroff")),
    });
    // A kernel before 6.15 tells nobody, and of an init whose child shut it down that it was killed.
    let seen = |how, ends: &[End]| assert!(ends.contains(&how) || how == End::Unknown, "{how:?}");
    seen(itself, &[End::ByItself, End::Killed]);
    assert_eq!(ended(&|| web.stop()), End::Stopped);
    assert_eq!(ended(&|| web.terminate()), End::Killed);
    seen(ended(&|| kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap()), &[End::Killed]);
    let told = lab.cli([
        "start",
        web.name().as_str(),
        "--wait=probe:kill -9 1; kill -PWR 1; kill -37 1; sleep 1000",
    ]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("before it was ready (`probe:kill -9 1;"), "{told:?}");
}

fn root_a_guest_that_reboots_is_waited_for(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&listening(&web, "if ! test -e /again; then touch /again; kill -INT 1; sleep 1000; fi"));
    let request = StartRequest::new().wait_for(Ready::port(PORT), LONG);
    let started = web.container().start_with(&request, &mut ()).must("start");
    let StartOutcome::Started { init_pid, readiness: Some(_), .. } = started else { panic!("{started:?}") };
    assert_ne!(web.init(), init_pid);
}

fn root_a_cancelled_wait_leaves_the_guest(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let cancel = Cancel::new();
    let waiting = web.container().with_cancel(cancel.clone());
    let request = StartRequest::new().wait_for(Ready::port(9), LONG);
    let error = std::thread::scope(|scope| {
        let started = scope.spawn(|| waiting.start_with(&request, &mut ()));
        eventually("it runs", Duration::from_secs(60), || web.container().seems_to_run());
        web.await_version();
        cancel.cancel();
        started.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, Error::NotReady { why: Unready::Cancelled, .. }), "{error:?}");
    assert_eq!((error.kind(), web.state()), (ErrorKind::Cancelled, State::Running));
    web.stop();
    // By Ctrl-C, too.
    let mut command = lab.command(["start", web.name().as_str(), "--wait=port:9", "--wait-timeout", "120"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting until it is ready")));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("it runs on")), "{rest:?}");
    assert_eq!(web.state(), State::Running);
}

fn root_who_waits_for_the_end_is_woken(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let error = web.container().wait_stopped(None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    web.create();
    assert_eq!(web.container().wait_stopped(None).must("wait"), StopOutcome::NotRunning);
    web.start();
    let error = web.container().wait_stopped(Some(Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    let stopped = |end: &dyn Fn()| {
        let returned = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let waits: Vec<_> = (0..8)
                .map(|_| {
                    let (web, returned) = (web.container(), &returned);
                    scope.spawn(move || {
                        let outcome = web.wait_stopped(None);
                        returned.store(true, Ordering::SeqCst);
                        outcome
                    })
                })
                .collect();
            // That is no end.
            web.container().stop_with(&StopRequest::new().with_reboot(true)).must("reboot");
            web.await_version();
            assert!(!returned.load(Ordering::SeqCst));
            end();
            for waiting in waits {
                waiting.join().unwrap().must("wait");
            }
        });
        assert!(!web.container().state().is_ok_and(State::is_live));
    };
    stopped(&|| web.stop());
    web.start();
    stopped(&|| drop(web.sh("kill -PWR 1; kill -37 1")));
    web.start();
    // With its monitor gone, its guest is what is waited for.
    stopped(&|| {
        let monitor = nixcloud_container::proc::Process::now(web.init()).unwrap().parent().unwrap();
        kill(Pid::from_raw(monitor.pid), Signal::SIGKILL).unwrap();
        web.container().terminate().must("terminate");
    });
    web.start();
    stopped(&|| {
        web.container().destroy(nixcloud_container::DestroyRequest::new().with_force(true)).must("destroy");
    });
}

fn root_start_wait_on_the_command_line(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&listening(&web, "sleep 1"));
    let name = web.name().as_str();
    let told = lab.cli(["start", name, &format!("--wait=port:{PORT}")]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.starts_with(&format!("started {name}: port:{PORT} after ")), "{told:?}");
    let told = lab.cli(["start", name, "--wait"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(
        told.stdout.starts_with(&format!("{name} is already running: system-running after ")),
        "{told:?}"
    );
    let told = lab.cli(["start", name, "--wait=port:9", "--wait-timeout", "1"]);
    assert_eq!(told.code, 124, "{told:?}");
    let words = "is not ready (`port:9`) after 1 s: it is activated, and nothing listens on port 9";
    assert!(told.stderr.contains(words) && told.stderr.contains("it runs on"), "{told:?}");
    let told = lab.cli(["start", name, "--json", "--wait=address"]);
    let object: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    crate::json::holds(&object, "power");
    assert_eq!(
        (&object["ready"]["level"], &object["ready"]["system"]),
        (&"address".into(), &serde_json::Value::Null)
    );
    for wrong in [&["--wait=port:0"][..], &["--wait=booted"], &["--wait-timeout", "3"], &["-F", "--wait"]] {
        let told = lab.cli([&["start", name], wrong].concat());
        assert_eq!(told.code, 2, "{told:?}");
    }
}
