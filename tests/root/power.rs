//! Freezing, hanging, dying: what a container's state makes of start, stop and terminate.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::{
    DestroyRequest, Error, ErrorKind, Event, GenerationId, Phase, RestartRequest, RunRequest, StartOutcome,
    StartRequest, State, StopOutcome, StopRequest, UpdateRequest, Updated,
};

use crate::harness::{Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_a_stop_that_is_ignored_runs_into_its_limit,
        root_a_stop_that_is_ignored_can_kill,
        root_a_reboot_that_is_ignored_runs_into_its_limit,
        root_a_guest_that_ends_at_once,
        root_start_needs_its_bridge,
        root_start_waits_for_a_dying_guest,
        root_a_reboot_from_inside_is_still_the_same_container,
        root_a_destroyed_frozen_guest_leaves_nothing,
    ],
    both: [
        root_freeze_and_unfreeze,
        root_terminate_a_frozen_guest,
        root_terminate_a_guest_with_a_stopped_monitor,
        root_poweroff_from_inside,
        root_a_stop_that_is_not_waited_for,
        root_a_reboot_that_is_asked_for,
        root_signals_of_the_container_file_are_what_its_init_is_sent,
        root_a_signal_reaches_the_init,
        root_a_restart_lets_nobody_in_between,
    ],
}

fn root_a_restart_lets_nobody_in_between(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    let restarted = web.container().restart(&RestartRequest::new(), &mut ()).must("restart");
    assert_eq!(restarted.stopped, StopOutcome::NotRunning);
    assert!(matches!(restarted.started, StartOutcome::Started { .. }), "{restarted:?}");
    web.await_version();
    let init = web.init();

    // What a start refuses leaves it as it is.
    let items = vec![("lxc.rootfs.path".to_owned(), "/".to_owned())];
    let request = RestartRequest::new().with_start(StartRequest::new().with_items(items));
    let error = web.container().restart(&request, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error:?}");
    assert_eq!((web.state(), web.init()), (State::Running, init));

    // An update that comes while it ends finds it running again.
    kill(Pid::from_raw(init), Signal::SIGSTOP).unwrap();
    let (asked, waits) = (AtomicBool::new(false), AtomicBool::new(false));
    let file = lab.file(web.name().as_str(), &web.file().version("2"));
    let (restarting, updating) = (web.container(), web.container());
    let (restarted, updated) = std::thread::scope(|scope| {
        let restart = scope.spawn(|| {
            let mut observer = |event: Event| {
                asked.fetch_or(matches!(event, Event::Phase(Phase::Stop)), Ordering::SeqCst);
            };
            restarting.restart(&RestartRequest::new(), &mut observer)
        });
        eventually("it is asked to end", Duration::from_secs(30), || asked.load(Ordering::SeqCst));
        let update = scope.spawn(|| {
            let mut observer = |event: Event| {
                waits.fetch_or(matches!(event, Event::Waiting { .. }), Ordering::SeqCst);
            };
            updating.update(&UpdateRequest::new(&file), &mut observer)
        });
        eventually("the update waits", Duration::from_secs(60), || waits.load(Ordering::SeqCst));
        kill(Pid::from_raw(init), Signal::SIGCONT).unwrap();
        (restart.join().unwrap().must("restart"), update.join().unwrap().must("update"))
    });
    assert_eq!(restarted.stopped, StopOutcome::Stopped);
    assert!(matches!(restarted.started, StartOutcome::Started { .. }), "{restarted:?}");
    let Updated::Switched(switched) = updated else { panic!("{updated:?}") };
    assert!(switched.activated, "it came between: {switched:?}");
    assert_ne!(web.init(), init);

    // One that can hear nothing is ended at once, as asked.
    web.container().freeze().must("freeze");
    let at_once = RestartRequest::new().with_stop(None);
    let restarted = web.container().restart(&at_once, &mut ()).must("restart");
    assert_eq!((restarted.stopped, web.state()), (StopOutcome::Stopped, State::Running));
    let told = lab.line("restart @web --wait");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(lab.plain(&told.stdout).starts_with("restarted web: system-running after "), "{told:?}");
}

fn root_freeze_and_unfreeze(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    web.shell("setsid sh -c 'while :; do echo >>/run/ticks; sleep 0.02; done' >/dev/null 2>&1 &");
    let ticks = || std::fs::metadata(format!("/proc/{init}/root/run/ticks")).map_or(0, |file| file.len());
    eventually("it ticks", Duration::from_secs(5), || ticks() > 2);
    web.container().freeze().must("freeze");
    web.container().freeze().must("freeze again");
    assert_eq!(web.state(), State::Frozen);
    let before = ticks();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ticks(), before, "it ticks while frozen");
    let error = web.try_run(RunRequest::new(["true"]), b"").unwrap_err();
    assert!(matches!(error, Error::State { state: State::Frozen, .. }), "{error:?}");
    assert!(matches!(web.container().stop(None), Err(Error::State { state: State::Frozen, .. })));
    assert!(matches!(web.container().start(&mut ()), Err(Error::State { state: State::Frozen, .. })));
    web.container().unfreeze().must("unfreeze");
    web.container().unfreeze().must("unfreeze again");
    assert_eq!((web.state(), web.init()), (State::Running, init));
    eventually("it ticks again", Duration::from_secs(5), || ticks() > before);
    web.stop();
    for refused in [web.container().freeze(), web.container().unfreeze()] {
        assert!(matches!(refused, Err(Error::State { state: State::Stopped, .. })));
    }
}

fn root_terminate_a_frozen_guest(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    web.container().freeze().must("freeze");
    let begin = Instant::now();
    web.terminate();
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(web.state(), State::Stopped);
    web.start();
}

fn root_a_destroyed_frozen_guest_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.container().freeze().must("freeze");
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    lab.assert_nothing_left();
}

/// LXC's monitor of a guest: the parent of its init.
fn monitor(init: i32) -> Pid {
    let init = nixcloud_container::proc::Process::now(init).unwrap();
    Pid::from_raw(init.parent().unwrap().pid)
}

fn root_terminate_a_guest_with_a_stopped_monitor(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    kill(monitor(init), Signal::SIGSTOP).unwrap();
    let begin = Instant::now();
    assert_eq!(web.state(), State::Unreachable);
    assert!(begin.elapsed() < Duration::from_secs(2), "state took {:?}", begin.elapsed());
    assert!(matches!(web.container().start(&mut ()), Err(Error::State { state: State::Unreachable, .. })));
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert!(matches!(error, Error::State { state: State::Unreachable, .. }), "{error:?}");
    let begin = Instant::now();
    web.terminate();
    assert!(begin.elapsed() < Duration::from_secs(5), "terminate took {:?}", begin.elapsed());
    assert_eq!(web.state(), State::Stopped);
    web.start();
    // A monitor that is killed tidies nothing up, and its guest lives on; the name can be used again all the same.
    let init = web.init();
    kill(monitor(init), Signal::SIGKILL).unwrap();
    eventually("the monitor is gone", Duration::from_secs(5), || {
        web.state() == State::Unreachable || web.state() == State::Stopped
    });
    web.container().terminate().must("terminate");
    assert!(!std::path::Path::new(&format!("/proc/{init}/root/proc")).exists());
    web.start();
    assert!(web.pings());
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_stop_that_is_ignored_runs_into_its_limit(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    let init = web.start();
    let begin = Instant::now();
    let error = web.container().stop(Some(Duration::from_secs(1))).unwrap_err();
    assert!(matches!(error, Error::StopTimeout { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.hint().unwrap().contains("terminate"));
    assert!((1..4).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert_eq!((web.state(), web.init()), (State::Running, init));
    web.terminate();
}

fn stop(web: &Guest<'_>, request: StopRequest) -> StopOutcome {
    web.container().stop_with(&request).must("stop")
}

fn root_a_stop_that_is_ignored_can_kill(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    web.start();
    let request = StopRequest::new().with_timeout(Duration::from_secs(1)).with_then_kill(true);
    let begin = Instant::now();
    assert_eq!(stop(&web, request), StopOutcome::Killed);
    assert!((1..4).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert_eq!(web.state(), State::Stopped);
    assert_eq!(stop(&web, request), StopOutcome::NotRunning);
    web.update(&web.file());
    web.start();
    assert_eq!(stop(&web, request), StopOutcome::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_stop_that_is_not_waited_for(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let request = StopRequest::new().with_wait(false);
    assert_eq!(stop(&web, request), StopOutcome::Asked);
    eventually("it is stopped", Duration::from_secs(20), || web.state() == State::Stopped);
    assert_eq!(stop(&web, request), StopOutcome::NotRunning);
    web.start();
    web.stop();
}

fn root_a_reboot_that_is_asked_for(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let request = StopRequest::new().with_reboot(true);
    assert_eq!(stop(&web, request), StopOutcome::Rebooted);
    let second = web.init();
    assert_ne!(second, init);
    assert_eq!(web.state(), State::Running);
    web.await_version();
    assert!(web.pings());
    // What is noted of the running guest is of the one that runs now.
    web.update(&web.file().version("2"));
    assert_eq!(stop(&web, request), StopOutcome::Rebooted);
    web.await_version();
    assert_eq!(web.version().as_deref(), Some("2"));
    let status = web.container().status().must("status");
    assert_eq!(status.booted.map(GenerationId::get), Some(2));
    let third = web.init();
    assert_eq!(stop(&web, request.with_wait(false)), StopOutcome::Asked);
    eventually("it rebooted", Duration::from_secs(20), || {
        web.state() == State::Running && web.container().status().must("status").init_pid != Some(third)
    });
    web.await_version();
    web.stop();
    assert_eq!(stop(&web, request), StopOutcome::NotRunning);
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_reboot_that_is_ignored_runs_into_its_limit(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let init = web.boot();
    web.shell("systemctl mask --runtime ctrl-alt-del.target");
    let request = StopRequest::new().with_reboot(true).with_timeout(Duration::from_secs(1));
    let error = web.container().stop_with(&request).unwrap_err();
    assert!(matches!(error, Error::RebootTimeout { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!((web.state(), web.init()), (State::Running, init));
}

fn root_a_guest_that_ends_at_once(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.bootExit = 3;"));
    // Whether LXC still sees it run depends on who is quicker.
    let _ = web.container().start(&mut ());
    eventually("it is stopped", Duration::from_secs(10), || web.state() == State::Stopped);
    web.update(&web.file());
    web.start();
}

fn root_start_needs_its_bridge(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    lab.manager().host_down().must("host down");
    let error = web.container().start(&mut ()).unwrap_err();
    assert!(matches!(error, Error::NoBridge { ours: true, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("host up"));
    lab.manager().host_up().must("host up");
    web.start();
    // With a guest on it, the bridge stays.
    let error = lab.manager().host_down().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(web.pings());
    let other = lab.busybox("other");
    other.create_from(&other.file().keys("network.bridge = \"br-nowhere\"; network.ip = \"10.9.9.9/24\";"));
    let error = other.container().start(&mut ()).unwrap_err();
    assert!(matches!(error, Error::NoBridge { ours: false, .. }), "{error:?}");
}

fn root_start_waits_for_a_dying_guest(lab: &Lab) {
    let web = lab.busybox("web");
    let mut init = web.boot();
    for round in 0..5 {
        // Nobody told us: the monitor is still dying when start is called.
        kill(Pid::from_raw(init), Signal::SIGKILL).unwrap();
        let outcome = web.container().start(&mut ()).must("start");
        let StartOutcome::Started { init_pid, .. } = outcome else { panic!("round {round}: {outcome:?}") };
        assert_ne!(init_pid, init);
        assert_eq!((web.state(), web.init()), (State::Running, init_pid), "round {round}");
        web.await_version();
        init = init_pid;
    }
}

fn root_a_reboot_from_inside_is_still_the_same_container(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    web.shell("rm /run/greeting; kill -INT 1");
    eventually("it rebooted", Duration::from_secs(10), || {
        web.state() == State::Running && web.container().status().must("status").init_pid != Some(init)
    });
    web.await_version();
    assert!(web.pings());
    let status = web.container().status().must("status");
    assert_eq!(
        status.booted.map(nixcloud_container::GenerationId::get),
        Some(1),
        "the note of its start is lost"
    );
    assert!(matches!(web.container().start(&mut ()), Ok(StartOutcome::AlreadyRunning { .. })));
    web.stop();
    assert_eq!(web.state(), State::Stopped);
}

fn root_poweroff_from_inside(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    match kind {
        // The guest may end before the command that asked for it has.
        Kind::Busybox => drop(web.sh("kill -PWR 1")),
        Kind::Systemd => drop(web.sh("systemctl poweroff")),
    }
    eventually("it is stopped", Duration::from_secs(20), || web.state() == State::Stopped);
    assert_eq!(web.container().status().must("status").booted, None);
    web.start();
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

/// The stand-ins know these for the same, beside those that LXC sends by itself; those are shut.
fn root_signals_of_the_container_file_are_what_its_init_is_sent(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let (halt, reboot) = match kind {
        Kind::Busybox => ("SIGUSR1", "12"),
        Kind::Systemd => ("SIGRTMIN+4", "SIGRTMIN+5"),
    };
    let file = web.file().extra(&format!("lxc.signal.halt = {halt}\\nlxc.signal.reboot = {reboot}"));
    web.create_from(&file);
    let shut = |web: &Guest<'_>| match kind {
        Kind::Busybox => {}
        Kind::Systemd => drop(web.shell("systemctl mask --runtime halt.target ctrl-alt-del.target")),
    };
    let ignoring = file.module("standin.ignoreHalt = true;");
    web.update(&ignoring);
    let init = web.start();
    web.await_version();
    shut(&web);
    // What the file says from now on is for the next boot.
    web.update(&web.file().module("standin.ignoreHalt = true;"));
    let limit = Some(Duration::from_secs(20));
    let request = StopRequest::new().with_timeout(limit).with_reboot(true);
    assert_eq!(stop(&web, request), StopOutcome::Rebooted);
    assert_ne!(web.init(), init);
    web.await_version();
    shut(&web);
    assert_eq!(stop(&web, request.with_reboot(false)), StopOutcome::Stopped);
    // Those of one boot win.
    web.update(&ignoring);
    let items = vec![("lxc.signal.halt".to_owned(), "SIGWINCH".to_owned())];
    let request = nixcloud_container::StartRequest::new().with_items(items);
    web.container().start_with(&request, &mut ()).must("start");
    web.await_version();
    let error = web.container().stop(Some(Duration::from_secs(1))).unwrap_err();
    assert!(matches!(error, Error::StopTimeout { .. }), "{error:?}");
    web.terminate();
}

fn root_a_signal_reaches_the_init(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    let name = web.name().as_str();
    let told = lab.cli(["kill", name, "-s", "TERM"]);
    assert_eq!(told.code, 1);
    assert!(told.stderr.contains("it is stopped"), "{}", told.stderr);
    let told = lab.cli(["kill", name, "-s", "FOO"]);
    assert_eq!(told.code, 2);
    assert!(told.stderr.contains("RTMIN+3"), "{}", told.stderr);
    assert_eq!(lab.cli(["kill", "nobody", "-s", "1"]).code, 1);
    web.start();
    web.await_version();
    let init = web.init();
    let asks_for_a_reboot = match kind {
        Kind::Busybox => "usr2",
        Kind::Systemd => "RTMIN+5",
    };
    let told = lab.cli(["--json", "kill", name, "-s", asks_for_a_reboot]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let answer: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(answer["init_pid"], init);
    eventually("it rebooted", Duration::from_secs(20), || {
        web.state() == State::Running && web.container().status().must("status").init_pid != Some(init)
    });
    web.await_version();
    // A frozen one takes it when it is thawed.
    web.container().freeze().must("freeze");
    let halts = if kind == Kind::Busybox { "SIGPWR" } else { "RTMIN+3" };
    web.container().kill(halts.parse().unwrap()).must("kill");
    assert_eq!(web.state(), State::Frozen);
    web.container().unfreeze().must("unfreeze");
    eventually("it is stopped", Duration::from_secs(20), || web.state() == State::Stopped);
    web.start();
    assert_eq!(lab.cli(["kill", name, "-s9"]).code, 0);
    eventually("it is stopped", Duration::from_secs(10), || web.state() == State::Stopped);
    let error = web.container().kill(nixcloud_container::Signal::KILL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    web.destroy();
    lab.assert_nothing_left();
}
