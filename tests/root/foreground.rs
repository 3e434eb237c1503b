//! Starting in the foreground: the guest's console on the caller's terminal or pipe, until it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::proc::Process;
use nixcloud_container::{DestroyRequest, Screen, StartOutcome, StartRequest, State};

use crate::harness::{Guest, Kind, Lab, Must, Pty, command, eventually, lab, scenarios};

scenarios! {
    once: [
        root_a_foreground_guest_that_reboots_goes_on,
        root_a_foreground_guest_is_destroyed_by_force,
        root_a_foreground_guest_ends_with_its_killed_caller,
        root_a_foreground_guest_ends_with_who_shows_it,
        root_a_foreground_guest_ends_with_its_killed_monitor,
        root_a_foreground_start_killed_at_any_moment,
        root_a_foreground_start_that_fails_gives_the_terminal_back,
        root_a_foreground_guest_whose_terminal_hangs_up,
        root_a_foreground_guest_in_a_pipe,
        root_a_foreground_guest_that_nobody_reads,
        root_a_foreground_guest_whose_reader_leaves,
        root_a_foreground_guest_that_will_not_end,
        root_a_foreground_guest_that_is_frozen,
        root_a_foreground_start_from_a_library,
    ],
    both: [
        root_a_foreground_guest_on_a_terminal,
    ],
}

/// What the console shows when a guest is up.
fn up(kind: Kind) -> &'static str {
    match kind {
        Kind::Busybox => "standin: reached multi-user",
        Kind::Systemd => "Reached target multi-user.target",
    }
}

fn start(lab: &Lab, web: &Guest<'_>) -> Command {
    lab.command(["start", "-F", web.name().as_str()])
}

/// Creates it and boots it on a terminal.
fn on_terminal(lab: &Lab, web: &Guest<'_>, kind: Kind) -> Pty {
    web.create();
    let mut pty = Pty::spawn(&start(lab, web), 33, 101);
    pty.awaits(up(kind));
    web.await_version();
    pty
}

/// Boots it into a pipe.
fn in_pipe(lab: &Lab, web: &Guest<'_>) -> Child {
    start(lab, web).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
}

/// The child of `caller` that shows the console: the other one is the guest's monitor.
fn shows(caller: i32, monitor: Process) -> i32 {
    let children = fs::read_to_string(format!("/proc/{caller}/task/{caller}/children")).unwrap();
    children.split_whitespace().map(|pid| pid.parse().unwrap()).find(|pid| *pid != monitor.pid).unwrap()
}

fn monitor(init: i32) -> Process {
    Process::now(init).unwrap().parent().unwrap()
}

#[track_caller]
fn assert_gone(web: &Guest<'_>, init: i32) {
    eventually("it is stopped", Duration::from_secs(10), || web.state() == State::Stopped);
    eventually("its init is gone", Duration::from_secs(5), || {
        Process::now(init).is_none_or(|init| !init.is_alive())
    });
}

fn root_a_foreground_guest_on_a_terminal(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let mut pty = on_terminal(lab, &web, kind);
    // Whatever it says: one end a line, also on a terminal.
    assert!(!pty.seen().contains("\r\r"), "{:?}", pty.seen());
    let init = web.init();
    assert_eq!(web.state(), State::Running);
    assert!(matches!(web.container().start(&mut ()), Ok(StartOutcome::AlreadyRunning { .. })));
    // The guest has a console of its own, of the terminal's size.
    assert_eq!(web.shell("stty -F /dev/console size"), "33 101");
    pty.resize(44, 111);
    eventually("the new size arrives", Duration::from_secs(5), || {
        web.shell("stty -F /dev/console size") == "44 111"
    });
    no_host_terminal(web.name().as_str());
    // Keys go there, Ctrl-C too, and it ends nothing.
    pty.types("\u{3}");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((web.state(), web.init()), (State::Running, init));
    web.shell("setsid sh -c 'head -n 1 </dev/console >/run/typed' >/dev/null 2>&1 &");
    eventually("what is typed arrives", Duration::from_secs(10), || {
        pty.types("hello\r");
        std::thread::sleep(Duration::from_millis(100));
        web.shell("cat /run/typed 2>/dev/null || :").contains("hello")
    });
    // The guest may end before the command that asked for it has.
    let _ = web.sh(match kind {
        Kind::Busybox => "kill -PWR 1",
        Kind::Systemd => "systemctl poweroff",
    });
    let status = pty.exit();
    assert!(status.success(), "{status}: {}", pty.seen());
    assert!(pty.seen().contains("has ended"), "{}", pty.seen());
    assert_eq!(&pty.settings(), pty.settings_before(), "the terminal is not as it was");
    assert_eq!(web.state(), State::Stopped);
    web.start();
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

/// No process of the guest has a terminal of the host open: who has one types into what reads from it.
fn no_host_terminal(name: &str) {
    let host = fs::metadata("/dev/pts/ptmx").unwrap().dev();
    let mut seen = 0;
    for cgroup in nixcloud_container::cgroup::payloads(name) {
        for pid in pids_below(&cgroup) {
            for fd in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
                seen += 1;
                let Ok(meta) = fs::metadata(fd.path()) else { continue };
                assert_ne!(meta.dev(), host, "process {pid} has {:?}", fs::read_link(fd.path()));
            }
        }
    }
    assert!(seen > 3, "nothing was looked at");
}

fn pids_below(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut pids: Vec<i32> = text.lines().map(|pid| pid.parse().unwrap()).collect();
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            pids.extend(pids_below(&entry.path()));
        }
    }
    pids
}

fn root_a_foreground_guest_that_reboots_goes_on(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    let init = web.init();
    pty.forget();
    web.shell("rm /run/greeting; kill -INT 1");
    pty.awaits(up(Kind::Busybox));
    web.await_version();
    assert_ne!(web.init(), init);
    assert_eq!(web.shell("stty -F /dev/console size"), "33 101");
    assert!(pty.runs());
    web.stop();
    assert!(pty.exit().success());
    assert_eq!(&pty.settings(), pty.settings_before());
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_foreground_guest_is_destroyed_by_force(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    assert!(pty.exit().success());
    assert_eq!(&pty.settings(), pty.settings_before());
    lab.assert_nothing_left();
}

fn root_a_foreground_guest_ends_with_its_killed_caller(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    let init = web.init();
    pty.signal(Signal::SIGKILL);
    pty.exit();
    assert_gone(&web, init);
    eventually("the terminal is as it was", Duration::from_secs(5), || {
        &pty.settings() == pty.settings_before()
    });
    web.start();
    assert!(web.pings());
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_foreground_guest_ends_with_who_shows_it(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    let init = web.init();
    signal(shows(pty.pid(), monitor(init)), Signal::SIGKILL);
    assert_eq!(pty.exit().code(), Some(1), "{}", pty.seen());
    assert_gone(&web, init);
    assert_eq!(&pty.settings(), pty.settings_before(), "the terminal is not as it was");
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_foreground_guest_ends_with_its_killed_monitor(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    let init = web.init();
    signal(monitor(init).pid, Signal::SIGKILL);
    assert!(pty.exit().success(), "{}", pty.seen());
    assert_gone(&web, init);
    assert_eq!(&pty.settings(), pty.settings_before());
    // Its cgroups, which nobody else would remove, are gone already: a start finds its names free.
    web.start();
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_foreground_start_killed_at_any_moment(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let quiet = || {
        let mut command = start(lab, &web);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let begin = Instant::now();
    let mut child = quiet().spawn().unwrap();
    web.await_version();
    let usual = begin.elapsed();
    web.stop();
    assert!(child.wait().unwrap().success());
    for at in 0..12u32 {
        let mut child = quiet().spawn().unwrap();
        std::thread::sleep(usual * at / 12);
        child.kill().unwrap();
        child.wait().unwrap();
        eventually(&format!("moment {at}: it is stopped"), Duration::from_secs(10), || {
            web.state() == State::Stopped
        });
        if at % 3 == 0 {
            web.start();
            web.terminate();
        }
    }
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_foreground_start_that_fails_gives_the_terminal_back(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("network.bridge = \"br-nowhere\"; network.ip = \"10.9.9.9/24\";"));
    let mut pty = Pty::spawn(&start(lab, &web), 24, 80);
    assert_eq!(pty.exit().code(), Some(1));
    assert!(pty.screen().contains("br-nowhere"), "{}", pty.screen());
    assert_eq!(&pty.settings(), pty.settings_before());
    assert_eq!(web.state(), State::Stopped);
}

fn root_a_foreground_guest_whose_terminal_hangs_up(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    // As long as the program itself has the other end, nothing hangs up.
    let flags = nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC);
    nix::fcntl::fcntl(&pty.master, flags).unwrap();
    let mut leader = Command::new("/proc/self/exe");
    leader.arg("--leader").arg(command::program());
    leader.args(["start", "-F", web.name().as_str()]).env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file());
    let stream = || pty.slave.try_clone().unwrap();
    let mut child = leader.stdin(stream()).stdout(stream()).stderr(Stdio::null()).spawn().unwrap();
    web.await_version();
    let init = web.init();
    drop((pty.master, pty.slave));
    // That it cannot say so any more is all that fails.
    child.wait().unwrap();
    assert_gone(&web, init);
    let log = fs::read_to_string(web.folder().join("lxc.log")).unwrap();
    assert!(!log.contains("is not killed"), "it was not shut down: {log}");
}

fn root_a_foreground_guest_in_a_pipe(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let mut child = in_pipe(lab, &web);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == up(Kind::Busybox)), "lines end as lines do");
    web.await_version();
    // What it was asked for is a clean end.
    signal(child.id().cast_signed(), Signal::SIGTERM);
    assert!(lines.any(|line| line == "standin: halt"));
    assert!(child.wait().unwrap().success());
    assert_eq!(web.state(), State::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}

/// A full pipe must not hold up LXC's monitor, which answers others, nor may what it says be kept without end.
fn root_a_foreground_guest_that_nobody_reads(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let mut child = in_pipe(lab, &web);
    web.await_version();
    let shows = shows(child.id().cast_signed(), monitor(web.init()));
    web.shell("yes 0123456789 | head -c 8000000 >/dev/console");
    assert_eq!(web.state(), State::Running);
    let status = fs::read_to_string(format!("/proc/{shows}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 30_000, "{resident}");
    let _ = web.sh("kill -PWR 1");
    // That it has ended is seen to all the same.
    let note = lab.path("/var/lib/nixcloud/container/running").join(format!("{}.toml", web.name()));
    eventually("it is tidied up", Duration::from_secs(10), || !note.exists());
    assert!(child.try_wait().unwrap().is_none(), "what it said last is lost");
    // Now somebody does: what was kept comes, and how much was not.
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(said.len() > 1 << 20 && said.len() < 4 << 20, "{}", said.len());
    assert!(said.contains(" bytes were not shown"), "{}", &said[said.len() - 200..]);
}

fn root_a_foreground_guest_whose_reader_leaves(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let mut child = in_pipe(lab, &web);
    drop(child.stdout.take());
    web.await_version();
    web.shell("yes 0123456789 | head -c 3000000 >/dev/console");
    assert_eq!(web.state(), State::Running);
    assert!(child.try_wait().unwrap().is_none(), "the guest is what matters, not who looks on");
    web.stop();
    assert!(child.wait().unwrap().success());
}

fn root_a_foreground_guest_that_will_not_end(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    let config = lab.root().join("impatient.toml");
    let mut impatient = lab::config(lab.root());
    impatient.timeouts.stop = 1;
    fs::write(&config, toml::to_string(&impatient).unwrap()).unwrap();
    let mut command = start(lab, &web);
    let mut child = command.env("NIXCLOUD_CONTAINER_CONFIG", &config).stdout(Stdio::null()).spawn().unwrap();
    web.await_version();
    let begin = Instant::now();
    signal(child.id().cast_signed(), Signal::SIGINT);
    assert!(child.wait().unwrap().success());
    assert!((1..6).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
    assert_eq!(web.state(), State::Stopped);
    fs::remove_file(config).unwrap();
}

fn root_a_foreground_guest_that_is_frozen(lab: &Lab) {
    let web = lab.busybox("web");
    let mut pty = on_terminal(lab, &web, Kind::Busybox);
    let init = web.init();
    web.container().freeze().must("freeze");
    pty.signal(Signal::SIGTERM);
    assert!(pty.exit().success(), "{}", pty.seen());
    assert_gone(&web, init);
    web.destroy();
    lab.assert_nothing_left();
}

/// A program that embeds the library, with more than one thread, and no terminal to lose.
fn root_a_foreground_start_from_a_library(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let request = StartRequest::new().with_foreground(true).with_screen(Screen::Null);
    let container = web.container();
    std::thread::scope(|scope| {
        let started = scope.spawn(|| container.start_with(&request, &mut ()).must("start"));
        eventually("its service runs", Duration::from_secs(30), || web.version().is_some());
        assert!(!started.is_finished());
        web.stop();
        assert!(matches!(started.join().unwrap(), StartOutcome::Ended { cancelled: false, .. }));
    });
    web.destroy();
    lab.assert_nothing_left();
}
