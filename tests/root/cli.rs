//! The command as people and scripts use it.

use std::fs;

use crate::harness::{Lab, scenarios};

scenarios! {
    once: [
        root_two_interrupts_at_once_are_one,
        root_a_list_in_a_pipe_is_names,
        root_a_watched_list_in_a_pipe_tells_changes,
        root_a_reader_that_leaves_is_no_failure,
        root_a_signal_is_passed_on_to_the_guests_command,
        root_a_folder_as_stdin_stays_outside,
        root_a_guests_interface_does_not_steer_the_terminal,
        root_quiet_still_says_that_a_program_is_missing,
    ],
    both: [],
}

fn root_a_list_in_a_pipe_is_names(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    db.create();
    fs::create_dir(lab.path("/var/lib/lxc/debian")).unwrap();
    fs::write(lab.path("/var/lib/lxc/debian/config"), "").unwrap();
    let names = lab.line("list").done();
    assert_eq!(names.lines().collect::<Vec<_>>(), [db.name().as_str(), web.name().as_str()]);
    assert_eq!(lab.line("--list --quiet").done(), names);
    fs::remove_dir_all(lab.path("/var/lib/lxc/debian")).unwrap();
}

fn root_a_watched_list_in_a_pipe_tells_changes(lab: &Lab) {
    use std::io::{BufRead, BufReader};
    let web = lab.busybox("web");
    web.create();
    let mut command = lab.command(["list", "--watch=1"]);
    let mut watch = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = || lab.plain(&lines.next().unwrap().unwrap());
    let first = next();
    assert!(first.starts_with("web\tstopped\t"), "{first}");
    web.start();
    // How many states on the way a look each second meets depends on the machine; where it ends does not.
    let ways = ["starting", "booting", "running"];
    let ends = std::iter::from_fn(|| Some(next())).find(|line| {
        let state = line.split('\t').nth(1).unwrap_or_default();
        assert!(line.starts_with("web\t") && ways.contains(&state), "{line}");
        state == "running"
    });
    assert!(ends.is_some());
    let pid = nix::unistd::Pid::from_raw(watch.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

fn root_a_reader_that_leaves_is_no_failure(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    for line in ["list", "list --json", "state --json @web", "list-generations @web", "help", "create --help"]
    {
        let words: Vec<String> =
            line.split(' ').map(|word| word.replace("@web", web.name().as_str())).collect();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = lab.command(&words).stdout(writer).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stderr, b"", "{line}");
    }
}

fn root_a_signal_is_passed_on_to_the_guests_command(lab: &Lab) {
    use std::io::{BufRead, BufReader};

    use nix::sys::signal::{Signal, kill};
    let web = lab.busybox("web");
    web.boot();
    let signalled = |script: &str, signal| {
        let mut command = lab.command(["run", web.name().as_str(), "--", "/bin/sh", "-c", script]);
        let mut run = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(run.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        kill(nix::unistd::Pid::from_raw(run.id().cast_signed()), signal).unwrap();
        run.wait().unwrap().code()
    };
    let traps = "trap 'exit 11' INT; trap 'exit 12' TERM; trap 'exit 13' HUP; echo ready; \
                 while :; do sleep 0.1; done";
    for (signal, trapped, plain) in
        [(Signal::SIGINT, 11, 130), (Signal::SIGTERM, 12, 143), (Signal::SIGHUP, 13, 129)]
    {
        assert_eq!(signalled(traps, signal), Some(trapped), "{signal}");
        assert_eq!(signalled("echo ready; exec sleep 1000", signal), Some(plain), "{signal}");
    }
}

fn root_a_folder_as_stdin_stays_outside(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let folder = fs::File::open("/").unwrap();
    let mut command = lab.command(["run", web.name().as_str(), "ls", "/proc/self/fd/0/"]);
    let told = Lab::told(command.stdin(folder));
    assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
    assert!(told.stderr.contains("standard input is a folder of the host"), "{told:?}");
}

fn root_quiet_still_says_that_a_program_is_missing(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let told = lab.line("--quiet run @web no-such-program");
    assert_eq!((told.code, told.stdout.as_str()), (127, ""));
    assert!(told.stderr.contains("`no-such-program` not found"), "{told:?}");
}

fn root_a_guests_interface_does_not_steer_the_terminal(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.shell(
        "new=$(printf '\\033[2Jx\\007'); old=$(ls /sys/class/net | grep -v lo | head -n 1); \
         ip link set $old down; ip link set $old name \"$new\"; ip link set \"$new\" up",
    );
    let told = lab.cli(["list", "-l", "-f -F name,interface"]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("[2Jx"), "{told:?}");
    assert!(!told.stdout.contains(['\u{1b}', '\u{7}']), "{told:?}");
}

/// `timeout` signals its child and the group that the child is in, too.
fn root_two_interrupts_at_once_are_one(lab: &Lab) {
    let web = lab.busybox("web");
    let run = format!("standin.buildSeconds = 100; environment.etc.run.text = \"{}\";", lab.root().display());
    let file = lab.file("web", &web.file().module(&run));
    let mut command = lab.command(["create", web.name().as_str(), file.to_str().unwrap()]);
    let mut create =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name()));
    crate::harness::eventually("it has begun", std::time::Duration::from_secs(20), || record.exists());
    std::thread::sleep(std::time::Duration::from_millis(500));
    let pid = nix::unistd::Pid::from_raw(create.id().cast_signed());
    for _ in 0..2 {
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(create.wait().unwrap().code(), Some(130));
    assert_eq!(lab.line("exists @web").code, 1);
    lab.assert_nothing_left();
}
