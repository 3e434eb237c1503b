//! Commands in the shape of the standard library's: what they say, how long they may take, and that all of one ends.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nixcloud_container::{Cancel, Error, ErrorKind, Exit, Manager, State, User};
use nixcloud_container::{cgroup, proc::Process};

use crate::harness::{Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_a_command_has_what_it_was_given,
        root_what_is_wrong_with_a_command_is_told_by_its_kind,
        root_a_cancelled_command_is_not_an_interrupted_one,
        root_a_command_that_was_begun_is_polled_told_and_ended,
        root_a_command_with_a_terminal_has_a_time_limit,
    ],
    both: [root_a_time_limit_ends_all_that_descends_from_a_command],
}

/// Three processes that nothing but SIGKILL ends, known by how long they sleep: the command, one that has left its session,
/// and one whose parent is gone.
fn stubborn(mark: u32) -> String {
    format!(
        "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM INT HUP; sleep {mark}; true\" & \
         (sh -c 'sleep {mark}; true' &); sleep {mark}; true"
    )
}

fn mark() -> u32 {
    // No other test's.
    7_000_000 + std::process::id()
}

/// Those that still sleep so long.
fn sleepers(mark: u32) -> usize {
    let word = format!("sleep\0{mark}\0");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == word.as_bytes()))
        .count()
}

/// The cgroups of commands that are there.
fn leaves(web: &Guest<'_>) -> Vec<PathBuf> {
    let init = Process::now(web.init()).unwrap();
    let folders = cgroup::of(&[init]).into_iter().flat_map(fs::read_dir).flatten().flatten();
    folders
        .map(|entry| entry.path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".nixcloud-run-"))
        .collect()
}

fn root_a_command_has_what_it_was_given(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let container = web.container();
    let said = container
        .command("/bin/sh")
        .args(["-c", "cat; echo \"$A $B\"; id -u; pwd; echo bad >&2; exit 3"])
        .env("A", "1")
        .envs([("B", "2")])
        .user(User::ids(1000, Some(100)))
        .current_dir("/tmp")
        .stdin("typed\n")
        .output()
        .must("output");
    assert_eq!(said.exit, Exit::Code(3));
    assert_eq!(String::from_utf8_lossy(&said.stdout), "typed\n1 2\n1000\n/tmp\n");
    assert_eq!((&said.stderr[..], said.stdout.truncated), (&b"bad\n"[..], false));
    assert!(said.took > Duration::ZERO);

    // What is beyond the limit is read and dropped: the command goes on to its end.
    let said = container
        .command("sh")
        .args(["-c", "head -c 3000000 /dev/zero; exit 4"])
        .capture_limit(1000)
        .output()
        .must("output");
    assert_eq!((said.exit, said.stdout.len(), said.stdout.truncated), (Exit::Code(4), 1000, true));

    let file = lab.root().join("said");
    let mut command = container.command("sh");
    command.args(["-c", "cat; echo out; echo err >&2"]).stdin("in\n");
    command.stdout(fs::File::create(&file).unwrap());
    command.stderr(fs::File::options().append(true).open(&file).unwrap());
    // Twice: it is a description of a command, and not the command.
    for round in 1..=2 {
        assert_eq!(command.status().must("status"), Exit::Code(0));
        assert_eq!(fs::read_to_string(&file).unwrap(), "in\nout\nerr\n".repeat(round));
    }
    assert_eq!(container.command("no-such-program").output().must("output").exit, Exit::NotFound);
    assert_eq!(leaves(&web), Vec::<PathBuf>::new());
}

fn root_what_is_wrong_with_a_command_is_told_by_its_kind(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let container = web.container();
    let kind = |command: &mut nixcloud_container::Command| {
        let error = command.output().unwrap_err();
        assert!(matches!(error, Error::Command { .. } | Error::NoAccount { .. }), "{error:?}");
        error.kind()
    };
    assert_eq!(kind(container.command("true").current_dir("/nowhere")), ErrorKind::NotFound);
    assert_eq!(kind(container.command("true").current_dir("/etc/passwd")), ErrorKind::NotFound);
    web.shell("mkdir -m 700 /root/own");
    let user = User::ids(1000, Some(100));
    assert_eq!(kind(container.command("true").user(user).current_dir("/root/own")), ErrorKind::Refused);
    assert_eq!(kind(container.command("true").user("nobody-here".parse().unwrap())), ErrorKind::NotFound);
    assert_eq!(kind(container.command("true").env("A=B", "1")), ErrorKind::Input);
    assert_eq!(kind(&mut container.command("")), ErrorKind::Input);
    let told = lab.cli(["run", "-w", "/nowhere", web.name().as_str(), "true"]);
    assert!(told.code == 1 && told.stderr.contains("the command cannot start in /nowhere"), "{told:?}");
    let told = lab.cli(["run", web.name().as_str(), "--timeout", "1", "true"]);
    assert!(told.code == 127 && told.stderr.contains("stand before the container's name"), "{told:?}");
}

fn root_a_time_limit_ends_all_that_descends_from_a_command(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mark = mark();
    let mut command = web.container().command("/bin/sh");
    command.args(["-c", &stubborn(mark)]);
    command.timeout(Duration::from_millis(700)).kill_after(Duration::from_millis(200));
    let said = command.output().must("output");
    assert_eq!((said.exit, said.exit.shell_code()), (Exit::TimedOut, 124));
    assert_eq!((sleepers(mark), leaves(&web)), (0, vec![]));
    assert_eq!(web.state(), State::Running);

    // One that is in time is not touched, nor what it leaves behind.
    let mut command = web.container().command("/bin/sh");
    command.args(["-c", &format!("setsid sleep {mark} >/dev/null 2>&1 </dev/null & exit 5")]);
    let said = command.timeout(Duration::from_secs(60)).output().must("output");
    assert_eq!(said.exit, Exit::Code(5));
    // It may still be on its way to its program.
    eventually("it is left", Duration::from_secs(10), || sleepers(mark) == 1);
    assert_eq!(leaves(&web).len(), 1);
    web.sh(&format!("for p in /proc/[0-9]*; do grep -q {mark} $p/cmdline && kill -9 ${{p#/proc/}}; done"));
    eventually("it is gone", Duration::from_secs(10), || sleepers(mark) == 0);
    // The next one takes its cgroup away.
    web.container().command("true").output().must("true");
    assert_eq!(leaves(&web), Vec::<PathBuf>::new());

    let (name, script) = (web.name().as_str(), stubborn(mark));
    for none in ["0", "-1", "soon", "99999999999"] {
        assert_eq!(lab.cli(["run", "--timeout", none, name, "true"]).code, 2, "{none}");
    }
    let told = lab.cli(["run", "--timeout", "1", "--kill-after", "0", name, "/bin/sh", "-c", &script]);
    assert_eq!(told.code, 124, "{told:?}");
    assert!(told.stderr.contains("`/bin/sh` took longer than 1 s in container"), "{told:?}");
    let json =
        lab.cli(["--json", "run", "--timeout", "1", "--kill-after", "0", name, "/bin/sh", "-c", &script]);
    assert!(json.code == 124 && json.stdout.contains("\"timed_out\":true"), "{json:?}");
    assert_eq!(sleepers(mark), 0);
}

fn root_a_cancelled_command_is_not_an_interrupted_one(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mark = mark();
    let run = |script: &str, kill_after: Duration| {
        let cancel = Cancel::new();
        let mut command = web.container().with_cancel(cancel.clone()).command("/bin/sh");
        command.args(["-c", script]).kill_after(kill_after);
        thread::scope(|scope| {
            scope.spawn(|| {
                eventually("it sleeps", Duration::from_secs(30), || sleepers(mark) > 0);
                cancel.cancel();
            });
            command.output().must("output").exit
        })
    };
    let long = Duration::from_secs(60);
    let exit = run(&format!("sleep {mark}; true"), long);
    assert!(matches!(exit, Exit::Cancelled { code: 130, signal: Some(2), .. }), "{exit:?}");
    let exit = run(&format!("trap 'exit 7' INT; sleep {mark}; true"), long);
    assert!(matches!(exit, Exit::Cancelled { code: 7, signal: None, .. }), "{exit:?}");
    // By itself, and not since somebody cancelled it.
    assert_eq!(web.sh("kill -INT $$").exit, Exit::Signal(2));
    // What the command has left behind ends with it, and so does what takes no signal.
    assert_eq!(sleepers(mark), 0);
    let exit = run(&format!("(setsid sleep {mark} >/dev/null 2>&1 </dev/null &); sleep {mark}; true"), long);
    assert!(matches!(exit, Exit::Cancelled { .. }), "{exit:?}");
    assert_eq!(sleepers(mark), 0);
    let exit = run(&stubborn(mark), Duration::from_millis(200));
    assert!(matches!(exit, Exit::Cancelled { code: 137, signal: Some(9), .. }), "{exit:?}");
    eventually("all of it ends", Duration::from_secs(10), || sleepers(mark) == 0);
}

fn root_a_command_that_was_begun_is_polled_told_and_ended(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mark = mark();
    let file = lab.root().join("said");
    let mut command = web.container().command("/bin/sh");
    command.args(["-c", &format!("trap 'echo told' USR1; echo begun; while :; do sleep 0.1; done; {mark}")]);
    command.stdout(fs::File::create(&file).unwrap()).kill_after(Duration::from_secs(1));
    let child = command.spawn().must("spawn");
    let said = |what: &str| fs::read_to_string(&file).unwrap().contains(what);
    eventually("it has begun", Duration::from_secs(30), || said("begun"));
    child.signal(nix::sys::signal::Signal::SIGUSR1 as i32);
    eventually("it is told", Duration::from_secs(30), || said("told"));
    assert!(!child.has_ended());
    let hung_up = |limit: u16| {
        let mut fds = [PollFd::new(child.as_fd(), PollFlags::empty())];
        poll(&mut fds, PollTimeout::from(limit)).unwrap();
        fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
    };
    assert!(!hung_up(10));
    child.kill();
    assert!(hung_up(30_000));
    let exit = child.wait().must("wait");
    assert!(matches!(exit, Exit::Cancelled { .. }), "{exit:?}");

    // A guest that does not run is told of by `wait`, and a manager that is gone is no end to a command.
    let other = Manager::open(lab.manager().config().clone()).must("open");
    let child =
        other.container(web.name().clone()).command("sh").args(["-c", "exit 6"]).spawn().must("spawn");
    drop(other);
    assert_eq!(child.wait().must("wait"), Exit::Code(6));
    web.terminate();
    let error = web.container().command("true").spawn().must("spawn").wait().unwrap_err();
    assert!(matches!(error, Error::State { state: State::Stopped, .. }), "{error:?}");
}

fn root_a_command_with_a_terminal_has_a_time_limit(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mark = mark();
    let request = nixcloud_container::RunRequest::new(["/bin/sh", "-c", &stubborn(mark)])
        .with_terminal(true)
        .with_timeout(Duration::from_millis(700))
        .with_kill_after(Duration::from_millis(200));
    assert_eq!(web.container().command_of(request).output().must("output").exit, Exit::TimedOut);
    assert_eq!((sleepers(mark), leaves(&web)), (0, vec![]));
}
