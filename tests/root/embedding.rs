//! What the library does to the program that embeds it: nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nixcloud_container::{Cancel, Error, ErrorKind, Exit, Manager, State, WorkerError};

use crate::harness::command::program;
use crate::harness::{Lab, Must, NO_WORKER, Told, config, scenarios};

scenarios! {
    once: [
        root_rounds_leave_the_caller_as_it_was,
        root_without_init_there_is_no_worker,
        root_the_example_does_the_whole_round,
        root_a_program_without_liblxc_runs_the_installed_worker,
        root_a_handle_outlives_its_manager_and_has_limits_of_its_own,
    ],
    both: [],
}

fn root_a_handle_outlives_its_manager_and_has_limits_of_its_own(lab: &Lab) {
    fn goes_anywhere<T: Clone + Send + Sync + 'static>(handle: T) -> T {
        handle
    }
    let web = lab.busybox("web");
    web.create();
    let ours = goes_anywhere(Manager::open(config(lab.root())).must("open"));
    let cancel = Cancel::new();
    let handle = goes_anywhere(ours.container(web.name().clone()));
    let (mine, patient) = (handle.clone().with_cancel(cancel.clone()), handle.clone());
    drop(ours);
    std::thread::spawn(move || patient.start(&mut ())).join().unwrap().must("start");

    // Somebody holds it: a handle without patience says so at once, the others go on waiting.
    let file = lab.path("/var/lib/nixcloud/container/locks").join(web.name().as_str());
    let held = Flock::lock(fs::File::create(&file).unwrap(), FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .unwrap();
    let error = handle.clone().with_lock_timeout(Duration::ZERO).freeze().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    let waiting = std::thread::spawn(move || mine.freeze());
    let other = std::thread::spawn(move || handle.freeze());
    // A token of its own ends one, and nothing else of the manager's.
    cancel.cancel();
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(!other.is_finished());
    drop(held);
    other.join().unwrap().must("freeze");
    assert_eq!(web.state(), State::Frozen);
    web.container().unfreeze().must("unfreeze");
}

/// All that LXC is known to change in the process that calls it.
fn traces() -> Vec<(String, String)> {
    let mut traces = Vec::new();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    traces.push(("cgroups".to_owned(), read("/proc/self/cgroup")));
    for line in read("/proc/self/status").lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        if [
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "Uid",
            "Gid",
            "CapEff",
            "CapBnd",
            "NoNewPrivs",
            "Umask",
            "Threads",
            "TracerPid",
        ]
        .contains(&key)
        {
            traces.push((key.to_owned(), value.trim().to_owned()));
        }
    }
    traces.push(("environment".to_owned(), format!("{:?}", std::env::vars_os().collect::<Vec<_>>())));
    traces.push(("folder".to_owned(), format!("{:?}", std::env::current_dir())));
    for namespace in ["net", "mnt", "uts", "ipc", "user", "cgroup"] {
        traces.push((
            namespace.to_owned(),
            format!("{:?}", fs::read_link(format!("/proc/self/ns/{namespace}"))),
        ));
    }
    let mut files: Vec<String> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .map(|entry| format!("{:?}", fs::read_link(entry.path()).ok()))
        // The listing itself.
        .filter(|target| !target.contains("/proc/"))
        .collect();
    files.sort();
    traces.push(("files".to_owned(), files.join(" ")));
    traces
}

/// What `examples/embed` says when it has done its round.
const ROUND: [&str; 4] = [
    "updated in place from generation 1 to 2",
    "rolled back from generation 2 to 1",
    "generation 1: good (current)",
    "stopped; its state is stopped",
];

/// The folder that cargo builds in.
fn target() -> PathBuf {
    std::env::current_exe().unwrap().ancestors().nth(3).unwrap().to_owned()
}

/// What `examples/embed`, built as `example`, says of its round on a container of this name.
fn embed(lab: &Lab, example: &Path, name: &str, worker: Option<&Path>) -> Told {
    let web = lab.busybox(name);
    let mut settings = config(lab.root());
    settings.worker = worker.map(Path::to_owned);
    let file = lab.root().join(format!("files/{name}.toml"));
    fs::write(&file, toml::to_string(&settings).unwrap()).unwrap();
    let versions =
        ["1", "2"].map(|version| lab.file(&format!("{name}-{version}"), &web.file().version(version)));
    Lab::told(Command::new(example).arg(&file).arg(web.name().as_str()).args(versions))
}

/// `examples/embed`, as its own program, which is its own worker.
fn root_the_example_does_the_whole_round(lab: &Lab) {
    let example = target().join("debug/embed");
    assert!(example.exists(), "{} is missing: `cargo build -p embed` makes it", example.display());
    let told = embed(lab, &example, "web", None);
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    for line in ROUND {
        assert!(told.stdout.contains(line), "no {line:?} in {}", told.stdout);
    }
    lab.assert_nothing_left();
}

/// The same program without liblxc in it: what is to be LXC's is the installed worker's.
fn root_a_program_without_liblxc_runs_the_installed_worker(lab: &Lab) {
    let example = target().join("pure/debug/embed");
    assert!(example.exists(), "{} is missing: `make pure` makes it", example.display());
    let has_liblxc =
        |program: &Path| fs::read(program).unwrap().windows(9).any(|bytes| bytes == b"liblxc.so");
    let worker = program().with_file_name("nixcloud-container-worker");
    assert!(has_liblxc(&worker) && !has_liblxc(&example));
    // No other one, and not itself.
    let told = embed(lab, &example, "web", Some(Path::new("/nowhere/worker")));
    assert!(told.code == 1 && told.stderr.contains("cannot start the worker /nowhere/worker"), "{told:?}");
    let told = embed(lab, &example, "web", Some(&worker));
    assert_eq!((told.code, told.stderr.as_str()), (0, ""), "{told:?}");
    // The worker is asked for what is there of LXC, too.
    for line in ROUND.into_iter().chain(["liblxc: version "]) {
        assert!(told.stdout.contains(line), "no {line:?} in {}", told.stdout);
    }
    lab.assert_nothing_left();
}

/// How many rounds are made; `make soak` asks for a thousand.
const ROUNDS: &str = "NIXCLOUD_TEST_ROUNDS";

/// After so many rounds everything is there that is made once.
const WARM: usize = 10;

/// What the allocator may have more after the last round than after the tenth, KiB, however many there were.
const SLACK: u64 = 4096;

fn root_rounds_leave_the_caller_as_it_was(lab: &Lab) {
    let rounds: usize = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let web = lab.busybox("web");
    web.create();
    // The C library takes two signals for itself when the first thread is made: that is not LXC's doing.
    std::thread::spawn(|| ()).join().unwrap();
    let (before, mut warm) = (traces(), 0);
    for round in 1..=rounds {
        let handle = lab.manager().container(web.name().clone());
        handle.start(&mut ()).must("start");
        let output = handle.command("/bin/sh").args(["-c", "echo $((6 * 7))"]).output().must("output");
        assert_eq!((output.exit, &*output.stdout), (Exit::Code(0), &b"42\n"[..]));
        let child = handle.command("/bin/sleep").args(["1000"]).spawn().must("spawn");
        child.kill();
        child.wait().must("wait");
        handle.freeze().must("freeze");
        handle.unfreeze().must("unfreeze");
        handle.status().must("status");
        lab.manager().list().must("list");
        if round % 10 == 0 {
            web.update(&web.file().version(&format!("round {round}")));
            handle.rollback(&mut ()).must("rollback");
        }
        if round % 2 == 0 {
            web.stop();
        } else {
            web.terminate();
        }
        if round % 50 == 0 {
            web.destroy();
            web.create();
        }
        if round == WARM {
            warm = memory();
        }
    }
    for (before, after) in before.iter().zip(traces()) {
        assert_eq!(*before, after);
    }
    let grown = memory().saturating_sub(warm);
    eprintln!("{rounds} rounds: {warm} KiB after {WARM}, {grown} more at the end");
    assert!(grown < SLACK, "{grown} KiB more than {warm} after {rounds} rounds");
    // And no child is left to be reaped.
    let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    assert_eq!(children.trim(), "");
}

/// What this process has in memory for itself, KiB.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn root_without_init_there_is_no_worker(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let output = lab.actor(false, "start", &web).env(NO_WORKER, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("Worker(None)"), "{output:?}");
    let error = Error::Worker(WorkerError::None);
    assert_eq!(error.kind(), ErrorKind::Host);
    assert!(error.hint().unwrap().contains("worker::init()"));
    web.start();
    // What needs no worker works without one.
    let output = lab.actor(false, "state", &web).env(NO_WORKER, "1").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Running\n", "{output:?}");
}
