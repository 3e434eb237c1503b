//! What is claimed of the `lxc` module, on real containers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::lxc::command::{self, Client, Error, running};
use nixcloud_container::lxc::{Address, LxcState, log};

use crate::guest::Guest;
use crate::worker;

/// Every case by name.
pub(crate) const ALL: &[(&str, fn())] = &[
    ("root_a_guest_lives_and_ends", lives_and_ends),
    ("root_waiting_zero_looks_once", waiting),
    ("root_freeze_and_cgroup", freeze_and_cgroup),
    ("root_a_second_start_is_refused", second_start),
    ("root_a_failed_start_says_why", failed_start),
    ("root_a_foreground_start_returns_when_the_guest_ends", foreground),
    ("root_a_bad_config_is_the_error_and_prints_nothing", bad_config),
    ("root_config_items", config_items),
    ("root_a_half_made_container_is_not_destroyed", half_made),
    ("root_the_log_goes_where_it_is_told_once", log_targets),
    ("root_a_command_has_a_clean_start", clean_command),
    ("root_exit_codes_are_the_commands_own", exit_codes),
    ("root_a_failed_setup_is_not_exit_1", failed_setup),
    ("root_an_unclean_process_is_refused", unclean),
    ("root_no_terminal_of_the_host_gets_in", terminals),
    ("root_a_stopped_monitor_times_out", stopped_monitor),
    ("root_long_paths_are_hashed", long_path),
    ("root_long_paths_are_hashed_where_lxc_hashes_them", edge_of_hashing),
    ("root_who_squats_a_name_is_no_monitor", squatter),
    ("root_scratch_checks_leave_nothing", scratch),
    ("root_worker_hygiene", hygiene),
    ("root_calls_of_liblxc_touch_no_memory_but_theirs", memory),
];

fn lives_and_ends() {
    let guest = Guest::new("");
    let client = Client::default();
    assert_eq!(guest.state(), LxcState::Stopped);
    assert_eq!(guest.work("state", &[]).ok(), "STOPPED None true");
    assert!(guest.work("freeze", &[]).err().ends_with("is not running"));
    guest.start();
    assert_eq!(guest.state(), LxcState::Running);
    let pid = guest.init_pid();
    assert_eq!(guest.work("state", &[]).ok(), format!("RUNNING Some({pid}) true"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Uid:\t100000\t"), "{status}");
    // Its shell ignores SIGQUIT by itself; SIGPIPE would be Rust's.
    assert!(status.contains("SigIgn:\t0000000000000004"), "{status}");
    assert_eq!(running(&guest.lxc_path).unwrap().names, std::slice::from_ref(&guest.name));
    assert_eq!(running(guest.lxc_path.parent().unwrap()).unwrap().names, [] as [&str; 0]);
    // Another path of which this one is a prefix in bytes is another path.
    let other = format!("{}x", guest.lxc_path.display());
    assert_eq!(running(Path::new(&other)).unwrap().names, [] as [&str; 0]);
    assert_eq!(guest.work("shutdown", &["5000"]).ok(), "true");
    assert_eq!(guest.state(), LxcState::Stopped);
    assert_eq!(client.init_pid(&guest.lxc_path, &guest.name).unwrap(), None);
    assert_eq!(running(&guest.lxc_path).unwrap(), command::Running::default());
    assert_eq!(guest.work("stop", &[]).ok(), "stopped", "stopping a stopped one is done");
}

fn waiting() {
    let guest = Guest::running();
    let start = Instant::now();
    assert_eq!(guest.work("wait", &["STOPPED", "0"]).ok(), "false");
    assert_eq!(guest.work("wait", &["RUNNING", "0"]).ok(), "true");
    assert!(start.elapsed() < Duration::from_secs(1), "0 waited");
    assert_eq!(guest.work("wait", &["STOPPED", "200"]).ok(), "false");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    // Asked, not waited for: whether it has ended by then is a race, that it ends is not.
    guest.work("shutdown", &["0"]).ok();
    assert_eq!(guest.work("wait", &["STOPPED", "5000"]).ok(), "true");
}

fn freeze_and_cgroup() {
    let guest = Guest::running();
    assert_eq!(guest.work("freeze", &[]).ok(), "FROZEN");
    assert_eq!(guest.state(), LxcState::Frozen);
    assert_eq!(guest.work("unfreeze", &[]).ok(), "RUNNING");
    assert_eq!(guest.work("cgroup", &["pids.max", "77"]).ok(), "77");
    let text = guest.work("cgroup", &["no.such.file"]);
    assert!(text.err().starts_with(&format!("container {}: reading no.such.file", guest.name)), "{text:?}");
    let text = guest.work("cgroup", &["pids.max", "many"]);
    assert!(text.err().contains("setting pids.max of its cgroup to \"many\" failed: "), "{text:?}");
    assert_eq!(guest.work("running-item", &["lxc.uts.name"]).ok(), format!("Some({:?})", guest.name));
    assert_eq!(guest.work("running-item", &["lxc.console.logfile"]).ok(), "None");
    assert!(guest.work("running-item", &["lxc.no.such"]).err().contains("reading lxc.no.such failed"));
}

fn second_start() {
    let guest = Guest::running();
    let text = guest.work("start", &[]);
    assert!(text.err().contains("is already running, or still on its way down: "), "{text:?}");
    assert_eq!(guest.state(), LxcState::Running);
}

fn failed_start() {
    let guest = Guest::new("lxc.init.cmd = /no/such/init");
    let text = guest.work("start", &[]);
    assert!(text.err().contains("start failed: No such file or directory"), "{text:?}");
    assert!(text.err().contains("/no/such/init"), "{text:?}");
    guest.wait_for(LxcState::Stopped);
    fs::remove_dir_all(guest.directory().join("rootfs")).unwrap();
    let text = guest.work("start", &[]);
    assert!(text.err().contains("start failed: No such file or directory"), "{text:?}");
}

fn foreground() {
    let guest = Guest::new("");
    let mut job = worker::command("start-foreground", &guest.lxc_path, &guest.name, &[]);
    let worker = job.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    guest.wait_until_up();
    assert_eq!(guest.monitor_pid(), i32::try_from(worker.id()).unwrap(), "the worker is the monitor");
    kill(Pid::from_raw(guest.init_pid()), Signal::SIGTERM).unwrap();
    let done = worker.wait_with_output().unwrap();
    assert_eq!((done.stdout.as_slice(), done.stderr.as_slice()), (&b"ended\n"[..], &b""[..]));
}

fn bad_config() {
    let guest = Guest::new("lxc.no.such.key = 1");
    let text = guest.work("open", &[]);
    assert_eq!(
        text.err(),
        format!(
            "container {}: reading its configuration failed: \
             Invalid argument - Unsupported config key \"lxc.no.such.key\"",
            guest.name
        )
    );
    fs::write(guest.directory().join("config"), guest.config("lxc.net.0.type = no-such-type")).unwrap();
    let text = guest.work("open", &[]);
    assert!(text.err().contains("no-such-type"), "{text:?}");
    fs::write(guest.directory().join("config"), guest.config("lxc.include = /no/such/file")).unwrap();
    let text = guest.work("open", &[]);
    assert!(text.err().contains("No such file or directory"), "{text:?}");
    fs::write(guest.directory().join("config"), guest.config("")).unwrap();
    assert!(guest.work("open", &[]).ok().ends_with("true"));
}

fn config_items() {
    let guest = Guest::new("lxc.environment = A=1\nlxc.environment = B=2");
    assert_eq!(guest.work("item", &["lxc.uts.name"]).ok(), format!("Some({:?})", guest.name));
    assert_eq!(guest.work("item", &["lxc.environment"]).ok(), r#"Some("A=1\nB=2")"#);
    assert_eq!(
        guest.work("item", &["lxc.idmap"]).ok(),
        r#"Some("u 0 100000 65536\ng 0 100000 65536")"#,
        "a list whose last line is not cut"
    );
    assert_eq!(guest.work("item", &["lxc.tty.dir"]).ok(), "None");
    assert!(guest.work("item", &["lxc.no.such"]).err().contains("reading lxc.no.such failed"));
    assert!(guest.work("item", &["lxc.include"]).err().contains("reading lxc.include failed"));
    // A value of every length around the size of malloc's smallest chunks: one byte too many would be seen there.
    for length in 1..64 {
        let value = "v".repeat(length);
        assert_eq!(guest.work("set", &["lxc.uts.name", &value]).ok(), format!("Some({value:?})"));
    }
    let text = guest.work("set", &["lxc.net.0.type", "no-such-type"]);
    assert!(text.err().contains("setting lxc.net.0.type to \"no-such-type\" failed: "), "{text:?}");
    let alternative = guest.directory().join("alternative");
    fs::write(&alternative, "lxc.uts.name = other\n").unwrap();
    assert_eq!(guest.work("load", &[alternative.to_str().unwrap()]).ok(), r#"None Some("other")"#);
    let text = guest.work("load", &["/no/such/config"]);
    assert!(text.err().contains("reading the configuration /no/such/config failed: "), "{text:?}");
    // A handle of a container that is not defined.
    let answer = worker::run("item", &guest.lxc_path, "undefined", &["lxc.uts.name"]);
    assert_eq!(answer.ok(), "None");
}

fn half_made() {
    let guest = Guest::new("");
    fs::write(guest.directory().join("partial"), "").unwrap();
    for job in ["open", "start"] {
        assert!(guest.work(job, &[]).err().ends_with("partial marks a creation that did not end"));
    }
    assert!(guest.directory().join("rootfs/bin/busybox").exists());
}

fn log_targets() {
    let guest = Guest::new("lxc.no.such.key = 1");
    assert_eq!(guest.work("log-twice", &[]).err(), "the log of liblxc is already set up in this process");
    let file = guest.directory().join("log");
    let text = guest.work("log-file", &[file.to_str().unwrap()]);
    assert!(text.err().contains("Unsupported config key"), "{text:?}");
    let records = log::parse(&fs::read(&file).unwrap());
    assert!(records.iter().any(|record| record.level == log::Level::Error && record.module == "confile"));
}

fn clean_command() {
    let guest = Guest::running();
    let run = |arguments: &[&str]| {
        let answer = guest.work("run", arguments);
        assert_eq!(answer.ok(), "code 0", "{answer:?}");
        answer.output
    };
    let mut environment: Vec<_> = run(&["env=yes", "--", "env"]).lines().map(str::to_owned).collect();
    environment.sort();
    let names: Vec<_> = environment.iter().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, ["GIVEN", "PATH", "container"], "{environment:?}");
    assert_eq!(run(&["--", "pwd"]), "/\n");
    assert_eq!(run(&["cwd=/etc", "--", "pwd"]), "/etc\n");
    assert_eq!(run(&["cwd=/no/such", "or-root=1", "--", "pwd"]), "/\n");
    assert_eq!(run(&["--", "id", "-u"]), "0\n");
    let groups = run(&["uid=1000", "gid=1001", "--", "id"]);
    assert!(groups.starts_with("uid=1000 gid=1001") && !groups.contains("groups=0"), "{groups}");
    // 3 is the directory that `ls` reads.
    assert_eq!(run(&["--", "ls", "/proc/self/fd"]), "0\n1\n2\n3\n");
    let answer = guest.work("signals", &[]);
    assert_eq!(answer.ok(), "clean");
    assert_eq!(
        answer.output,
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n".repeat(2),
        "inherited signals"
    );
    let cgroup = run(&["--", "cat", "/proc/self/cgroup"]);
    let init = fs::read_to_string(format!("/proc/{}/cgroup", guest.init_pid())).unwrap();
    assert!(init.contains(&format!("/lxc.payload.{}", guest.name)), "{init}");
    assert!(cgroup.contains("pids:"), "{cgroup}");
}

fn exit_codes() {
    let guest = Guest::running();
    let run = |words: &[&str]| guest.work("run", &[&["--"], words].concat());
    for code in ["0", "1", "3", "126", "127", "255"] {
        assert_eq!(run(&["sh", "-c", &format!("exit {code}")]).ok(), format!("code {code}"));
    }
    assert_eq!(run(&["sh", "-c", "kill -9 $$"]).ok(), "signal 9 137");
    for (program, code, why) in [
        ("no-such-program", "127", "No such file or directory"),
        ("/no/such/program", "127", "No such file or directory"),
        ("/etc/data", "126", "Permission denied"),
        ("/etc", "126", "Permission denied"),
    ] {
        let answer = run(&[program]);
        assert!(
            answer.err().starts_with(&format!("{code}: container {}: {program}", guest.name)),
            "{answer:?}"
        );
        assert!(answer.err().contains(why), "{answer:?}");
        assert_eq!(answer.output, "", "liblxc wrote to the command's standard error");
    }
    // liblxc exits with 255 for what is neither of the two.
    symlink("loop", guest.directory().join("rootfs/bin/loop")).unwrap();
    let answer = run(&["/bin/loop"]);
    assert!(answer.err().starts_with("126: "), "{answer:?}");
    assert!(answer.err().contains("Too many symbolic links"), "{answer:?}");
    assert!(guest.work("run", &["--"]).err().starts_with("no program"));
}

fn failed_setup() {
    let guest = Guest::running();
    let answer = guest.work("run", &["uid=99999", "--", "id"]);
    assert!(answer.err().contains("the command could not be set up: "), "{answer:?}");
    assert!(answer.err().contains("99999"), "{answer:?}");
    assert_eq!(answer.output, "");
    assert_eq!(guest.work("shutdown", &["5000"]).ok(), "true");
    assert!(guest.work("run", &["--", "id"]).err().ends_with("is not running"));
}

fn unclean() {
    let guest = Guest::new("");
    let text = guest.work("unclean", &[]);
    assert!(text.err().ends_with("it blocks signals (mask 0x1000)"), "{text:?}");
    assert_eq!(guest.state(), LxcState::Stopped);
}

/// A worker whose streams are a terminal, as that of a user who types.
fn under_a_terminal(guest: &Guest, words: &[&str]) -> String {
    let output = guest.directory().join("output");
    fs::write(&output, "").unwrap();
    let exe = std::env::current_exe().unwrap();
    let path = guest.lxc_path.to_str().unwrap();
    let line: Vec<String> = [exe.to_str().unwrap(), worker::JOB, "run", path, &guest.name]
        .iter()
        .chain(words)
        .map(|word| format!("'{word}'"))
        .collect();
    let done = Command::new("script")
        .args(["-qefc", &format!("exec -a lxc-worker {}", line.join(" ")), "/dev/null"])
        .env("SHELL", "/bin/bash")
        .env("NXC_OUTPUT", &output)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(done.stdout).unwrap()
}

fn terminals() {
    let guest = Guest::running();
    let text = under_a_terminal(&guest, &["--", "id"]);
    assert!(text.contains("standard input is a terminal of the host"), "{text:?}");
    let text = under_a_terminal(&guest, &["terminal=1", "--", "sh", "-c", "tty; exit 7"]);
    assert!(text.contains("code 7"), "{text:?}");
    assert!(text.contains("/dev/") || text.contains("not a tty"), "{text:?}");
    let text = under_a_terminal(&guest, &["terminal=1", "--", "sh", "-c", "test -t 0 && echo is-a-terminal"]);
    assert!(text.contains("is-a-terminal"), "{text:?}");
    let text = under_a_terminal(&guest, &["terminal=1", "--", "/no/such/shell"]);
    assert!(text.contains("127: container"), "{text:?}");
}

fn stopped_monitor() {
    let guest = Guest::running();
    let client = Client::new(Duration::from_millis(100));
    let monitor = Pid::from_raw(guest.monitor_pid());
    kill(monitor, Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    let state = client.state(&guest.lxc_path, &guest.name);
    let pid = client.init_pid(&guest.lxc_path, &guest.name);
    let elapsed = start.elapsed();
    kill(monitor, Signal::SIGCONT).unwrap();
    assert!(matches!(state, Err(Error::Timeout { .. })), "{state:?}");
    assert!(matches!(pid, Err(Error::Timeout { .. })), "{pid:?}");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    guest.wait_for(LxcState::Running);
}

fn long_path() {
    let guest = Guest::below(&"long/".repeat(20), "");
    let address = Address::new(&guest.lxc_path, &guest.name).unwrap();
    assert_eq!(guest.state(), LxcState::Stopped);
    guest.start();
    assert_eq!(guest.state(), LxcState::Running);
    assert!(guest.init_pid() > 1);
    let running = running(&guest.lxc_path).unwrap();
    assert_eq!(running.names, [] as [&str; 0]);
    assert!(running.hashed.contains(&address.socket_hash().unwrap()), "{running:?}");
    assert!(running.contains(&address));
}

/// The longest names that LXC does not hash, and the shortest that it does.
fn edge_of_hashing() {
    let bare = Guest::new("").directory().as_os_str().len() + "/command".len();
    for (length, hashed) in [(105, false), (106, true)] {
        let guest = Guest::below(&"d".repeat(length - bare - 1), "");
        assert_eq!(guest.directory().as_os_str().len() + "/command".len(), length);
        let address = Address::new(&guest.lxc_path, &guest.name).unwrap();
        assert_eq!(address.socket_hash().is_some(), hashed, "{length}");
        guest.start();
        assert!(running(&guest.lxc_path).unwrap().contains(&address), "{length}");
    }
}

fn squatter() {
    let guest = Guest::new("");
    let mut job = worker::command("squat", &guest.lxc_path, &guest.name, &[]);
    let mut squatter = job.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(squatter.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "listening\n");
    let answer = Client::default().state(&guest.lxc_path, &guest.name);
    drop(squatter.stdin.take());
    squatter.wait().unwrap();
    assert!(matches!(answer, Err(Error::Foreign { uid: 65_534, .. })), "{answer:?}");
    assert_eq!(guest.state(), LxcState::Stopped);
}

fn scratch() {
    let guest = Guest::new("");
    let log = guest.directory().join("made-by-a-check");
    let log = log.to_str().unwrap();
    let check = |lines: &[&str]| guest.work("scratch", lines).ok().to_owned();
    let fine =
        ["lxc.mount.entry", "none tmp tmpfs size=1m 0 0", "lxc.cap.drop", "sys_time", "lxc.log.file", log];
    assert_eq!(check(&fine), "[]");
    // Of these liblxc says that it does not support them.
    let open_ended = [
        ["lxc.net.2.type", "veth"],
        ["lxc.cgroup2.memory.max", "1G"],
        ["lxc.cgroup.pids.max", "9"],
        ["lxc.prlimit.nofile", "1234"],
        ["lxc.sysctl.net.ipv4.ip_forward", "1"],
        ["lxc.proc.oom_score_adj", "10"],
    ];
    assert_eq!(check(open_ended.as_flattened()), "[]");
    assert!(!Path::new(log).exists(), "the check made the log file");
    let text = check(&["lxc.no.such", "1", "lxc.net.0.type", "nonsense", "lxc.uts.name", "a\nlxc.idmap ="]);
    assert_eq!(text.matches("Rejected {").count(), 3, "{text}");
    assert!(text.contains("Unsupported config key"), "{text}");
    assert!(text.contains("does not fit on one line"), "{text}");
    assert!(text.contains("nonsense"), "{text}");
    let left = fs::read_dir("/run/lxc/lock").map_or(0, |entries| {
        entries
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("-check-"))
            .count()
    });
    assert_eq!(left, 0, "locks are left");
}

/// As a test a few calls; `make memcheck` has 10,000 of each, under valgrind. There no guest is entered: valgrind 3.19 has not the
/// call of the kernel by which LXC looks for its init (`pidfd_send_signal`).
fn memory() {
    let guest = Guest::running();
    let broken = guest.lxc_path.join("broken");
    fs::create_dir(&broken).unwrap();
    fs::write(broken.join("config"), "lxc.no.such.key = 1\n").unwrap();
    let rounds = std::env::var("NXC_MEMORY_ROUNDS").unwrap_or_else(|_| "10".to_owned());
    let Ok(log) = std::env::var("NXC_VALGRIND") else {
        assert_eq!(guest.work("memory", &[&rounds, "2"]).ok(), "remembered");
        return;
    };
    // valgrind is to call it what a worker is called.
    let folder = tempfile::tempdir().unwrap();
    symlink(std::env::current_exe().unwrap(), folder.path().join("lxc-worker")).unwrap();
    let output = tempfile::NamedTempFile::new().unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let done = Command::new("valgrind")
        .args(["--leak-check=full", "--errors-for-leak-kinds=definite,indirect", "--error-exitcode=9"])
        .args(["--child-silent-after-fork=yes", "--track-fds=yes", "--num-callers=30"])
        .arg(format!("--log-file={log}"))
        .args(["lxc-worker", worker::JOB, "memory"])
        .args([guest.lxc_path.to_str().unwrap(), &guest.name, &rounds, "0"])
        .env("PATH", path)
        .env("NXC_OUTPUT", output.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!((done.status.code(), said.trim_end()), (Some(0), "remembered"), "{done:?}: see {log}");
}

fn hygiene() {
    let guest = Guest::new("");
    let target = guest.directory().join("mount");
    fs::create_dir(&target).unwrap();
    let target = target.to_str().unwrap();
    let inside = guest.work("mounts", &[target]);
    assert!(inside.ok().contains(target));
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(target), "the host sees it");
    let us = std::process::id().to_string();
    assert_eq!(guest.work("orphan", &["1"]).err(), "the parent process is gone");
    assert_eq!(guest.work("orphan", &[&us]).ok(), "alive");
}
