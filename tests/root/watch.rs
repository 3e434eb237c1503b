//! Watching: what happens to containers, told as it happens.
//!
//! Long: one subject, with what reads it on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::watch::{End, Occurred, Occurrence, Operation, Watch, WatchRequest};
use nixcloud_container::{ContainerName, DestroyRequest, Manager, StartRequest, State, StopRequest};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::harness::{Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_watch_begins_with_what_is_there,
        root_a_watch_that_reads_late_misses_no_operation,
        root_a_watch_is_there_before_the_state_folder,
        root_a_damaged_record_is_told_once,
        root_a_killed_operation_is_over_for_who_watches,
        root_a_watch_without_descriptors_goes_on_where_it_was,
        root_a_watch_of_a_guest_that_does_not_go_rests,
        root_a_thousand_containers_leave_a_watch_as_it_was,
        root_an_overflow_loses_no_state,
        root_events_are_lines_for_people_and_objects_for_programs,
        root_a_watched_list_follows_changes,
    ],
    both: [root_a_watch_tells_all_changes_in_order, root_two_watches_tell_the_same],
}

/// What a watch has told, read on.
struct Told {
    watch: Watch,
}

/// How long something may take that happens for sure.
const LONG: Duration = Duration::from_secs(60);

impl Told {
    fn of(lab: &Lab, request: WatchRequest) -> Self {
        Self { watch: lab.manager().watch(request).must("watch") }
    }

    /// Everything of the containers from now on.
    fn all(lab: &Lab) -> Self {
        let mut told = Self::of(lab, WatchRequest::new());
        told.so_far();
        told
    }

    fn next(&mut self) -> Occurrence {
        let begin = Instant::now();
        loop {
            if let Some(next) = self.watch.next_within(Duration::from_secs(1)).must("read on") {
                return next;
            }
            assert!(begin.elapsed() < LONG, "nothing more was told");
        }
    }

    fn so_far(&mut self) -> Vec<Occurrence> {
        std::iter::from_fn(|| self.watch.try_next().must("read on")).collect()
    }

    /// What is told up to the last of these words, without that operations begin and end.
    #[track_caller]
    fn tells(&mut self, name: &ContainerName, words: &[&str]) {
        let mut told: Vec<String> = Vec::new();
        while told.len() < words.len() {
            let next = self.next();
            if next.name == *name && !matches!(next.what, Occurred::Busy(_) | Occurred::Idle) {
                told.push(word(&next.what));
            }
        }
        assert_eq!(told, words);
    }
}

/// What happened, in a word or two.
fn word(what: &Occurred) -> String {
    match what {
        Occurred::Ended { how, .. } => how.to_string(),
        Occurred::Switched { to, .. } => format!("switched {to}"),
        Occurred::Busy(busy) => {
            busy.operation.map_or_else(|| "busy".to_owned(), |operation| operation.to_string())
        }
        Occurred::Found { state, .. } => format!("found {state}"),
        other => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_lowercase(),
    }
}

/// What of an end by itself, or by a stranger, this kernel tells.
fn told_by_the_kernel(how: End) -> String {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version >= (6, 15) { how.to_string() } else { End::Unknown.to_string() }
}

fn shut_down_from_inside(guest: &Guest<'_>, kind: Kind) {
    // It may end before the command that asked for it has.
    match kind {
        Kind::Busybox => drop(guest.sh("kill -PWR 1")),
        Kind::Systemd => drop(guest.sh("systemctl poweroff")),
    }
}

fn root_a_watch_tells_all_changes_in_order(lab: &Lab, kind: Kind) {
    let mut told = Told::all(lab);
    let web = lab.guest("web", kind);
    let (name, container) = (web.name().clone(), web.container());
    let boots = ["started", "booting", "ready"];
    web.create();
    told.tells(&name, &["created"]);
    let init = web.start();
    told.tells(&name, &boots);
    container.freeze().must("freeze");
    told.tells(&name, &["frozen"]);
    container.unfreeze().must("unfreeze");
    told.tells(&name, &["unfrozen"]);
    web.update(&web.file().version("2"));
    told.tells(&name, &["switched 2"]);
    web.stop();
    told.tells(&name, &["stopped"]);
    web.start();
    told.tells(&name, &boots);
    shut_down_from_inside(&web, kind);
    told.tells(&name, &[&told_by_the_kernel(End::ByItself)]);
    web.start();
    told.tells(&name, &boots);
    kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap();
    told.tells(&name, &[&told_by_the_kernel(End::Killed)]);
    let second = web.start();
    told.tells(&name, &boots);
    assert_ne!(init, second);
    match kind {
        Kind::Busybox => drop(web.sh("kill -INT 1")),
        Kind::Systemd => drop(web.sh("systemctl reboot")),
    }
    told.tells(&name, &["rebooted"]);
    told.tells(&name, &boots);
    web.await_version();
    container.stop_with(&StopRequest::new().with_reboot(true)).must("reboot");
    told.tells(&name, &["rebooted"]);
    told.tells(&name, &boots);
    web.terminate();
    told.tells(&name, &["killed"]);
    web.start();
    told.tells(&name, &boots);
    container.kill("KILL".parse().unwrap()).must("kill");
    told.tells(&name, &["killed"]);
    container.destroy(DestroyRequest::new().with_force(true)).must("destroy");
    told.tells(&name, &["destroyed"]);
    // The same name once more is another container.
    web.create();
    told.tells(&name, &["created"]);
    web.destroy();
    told.tells(&name, &["destroyed"]);
}

fn root_two_watches_tell_the_same(lab: &Lab, kind: Kind) {
    let (web, db) = (lab.guest("web", kind), lab.busybox("db"));
    let mut all = Told::all(lab);
    let mut of_db = Told::of(lab, WatchRequest::new().with_names([db.name().clone()]));
    web.boot();
    db.create();
    web.stop();
    for told in [&mut all, &mut of_db] {
        let begun = std::iter::from_fn(|| Some(told.next()))
            .find(|next| next.name == *db.name())
            .expect("it never ends");
        assert!(
            matches!(begun.what, Occurred::Busy(busy) if busy.operation == Some(Operation::Create)),
            "{begun:?}"
        );
        assert!(
            matches!(begun.what, Occurred::Busy(busy) if busy.pid == Some(std::process::id())),
            "{begun:?}"
        );
        assert_eq!(word(&told.next().what), "created");
        assert_eq!(word(&told.next().what), "idle");
    }
    all.tells(web.name(), &["stopped"]);
    assert!(of_db.so_far().is_empty());
}

fn root_a_watch_begins_with_what_is_there(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.boot();
    db.create();
    let mut told = Told::of(lab, WatchRequest::new());
    let first: Vec<_> = told.so_far().into_iter().map(|next| (next.name.clone(), word(&next.what))).collect();
    assert_eq!(
        first,
        [(db.name().clone(), "found stopped".to_owned()), (web.name().clone(), "found running".to_owned())]
    );
    // Who asks for changes alone gets those.
    let now = jiff::Timestamp::now();
    let mut since = Told::of(lab, WatchRequest::new().with_since(now));
    assert_eq!(since.so_far(), []);
    db.start();
    web.stop();
    // And who asks later what has happened since.
    let mut later = Told::of(lab, WatchRequest::new().with_since(now));
    let words = |told: Vec<Occurrence>| {
        told.into_iter()
            .filter(|next| next.name == *web.name())
            .map(|next| word(&next.what))
            .collect::<Vec<_>>()
    };
    assert_eq!(words(later.so_far()), ["stop", "stopped", "idle"]);
    since.tells(web.name(), &["stopped"]);
    // What ended when nobody watched is told as soon as somebody looks.
    kill(Pid::from_raw(db.init()), Signal::SIGKILL).unwrap();
    crate::harness::eventually("it is stopped", LONG, || db.state() == State::Stopped);
    let mut late = Told::of(lab, WatchRequest::new().with_since(now));
    late.tells(db.name(), &["started", "booting"]);
    late.tells(db.name(), &["unknown"]);
}

fn root_a_watch_that_reads_late_misses_no_operation(lab: &Lab) {
    let mut told = Told::all(lab);
    let web = lab.busybox("web");
    web.boot();
    web.stop();
    web.start_only();
    web.terminate();
    web.destroy();
    let told: Vec<_> =
        told.so_far().iter().map(|next| word(&next.what)).filter(|word| word != "ready").collect();
    assert_eq!(
        told,
        [
            "create",
            "created",
            "idle",
            "start",
            "started",
            "booting",
            "idle",
            "stop",
            "stopped",
            "idle",
            "start",
            "started",
            "booting",
            "idle",
            "terminate",
            "killed",
            "idle",
            "destroy",
            "destroyed",
            "idle",
        ]
    );
}

fn root_a_watch_is_there_before_the_state_folder(lab: &Lab) {
    let root = lab.path("/files/elsewhere");
    let state = "/deep/down/state";
    let mut config = crate::harness::config(lab.root());
    config.paths.state = root.strip_prefix(lab.root()).unwrap().join(state.trim_start_matches('/'));
    let manager = Manager::open(config).must("open");
    let mut told = Told { watch: manager.watch(WatchRequest::new()).must("watch") };
    assert_eq!(told.so_far(), []);
    let web = lab.busybox("web");
    let container = manager.container(web.name().clone());
    container.create(&web.request(&web.file()), &mut ()).must("create");
    told.tells(web.name(), &["created"]);
    container.destroy(DestroyRequest::new()).must("destroy");
    told.tells(web.name(), &["destroyed"]);
    fs::remove_dir_all(&root).unwrap();
    // And once more.
    container.create(&web.request(&web.file()), &mut ()).must("create");
    told.tells(web.name(), &["created"]);
    container.destroy(DestroyRequest::new()).must("destroy");
    told.tells(web.name(), &["destroyed"]);
    fs::remove_dir_all(&root).unwrap();
}

fn root_a_damaged_record_is_told_once(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    db.create();
    let mut told = Told::all(lab);
    let record = lab.path(&format!("/var/lib/nixcloud/container/records/{}.toml", web.name()));
    let whole = fs::read(&record).unwrap();
    let write = |bytes: &[u8]| {
        let new = record.with_extension("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(&new, &record).unwrap();
    };
    write(b"no = record\n");
    told.tells(web.name(), &["unreadable"]);
    write(b"no = record\n");
    // The others go on.
    db.start();
    told.tells(db.name(), &["started"]);
    write(&whole);
    web.start();
    told.tells(web.name(), &["started"]);
    let mut late = Told::of(lab, WatchRequest::new().with_names([web.name().clone()]));
    write(b"no = record\n");
    assert!(late.so_far().iter().any(|next| matches!(next.what, Occurred::Unreadable { .. })));
    write(&whole);
}

fn root_a_killed_operation_is_over_for_who_watches(lab: &Lab) {
    let web = lab.busybox("web");
    let mut told = Told::all(lab);
    let file = lab.file("web", &web.file().module("standin.buildSeconds = 100;"));
    let create = || {
        let mut command = lab.command(["create", web.name().as_str(), file.to_str().unwrap()]);
        let null = std::process::Stdio::null;
        command.stdout(null()).stderr(null()).spawn().unwrap()
    };
    let mut killed = create();
    let busy = told.next();
    assert!(matches!(busy.what, Occurred::Busy(busy) if busy.pid == Some(killed.id())), "{busy:?}");
    let record = lab.path(&format!("/var/lib/nixcloud/container/records/{}.toml", web.name()));
    crate::harness::eventually("it has begun", LONG, || record.exists());
    // One that begins now knows it too, and what it is.
    let mut late = Told::of(lab, WatchRequest::new());
    let found = late.next();
    assert_eq!(word(&found.what), "create", "{found:?}");
    killed.kill().unwrap();
    killed.wait().unwrap();
    for told in [&mut told, &mut late] {
        assert_eq!(word(&told.next().what), "idle");
    }
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");

    // And where the kernel has no room to tell of it.
    told.so_far();
    let mut killed = create();
    assert_eq!(word(&told.next().what), "create");
    let left = overflow(lab);
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!(word(&told.next().what), "idle");
    fs::remove_file(left).unwrap();
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

/// Fills the kernel's queue of each watch with what is nobody's. What is left of that.
fn overflow(lab: &Lab) -> std::path::PathBuf {
    let limit: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let notes = lab.path("/var/lib/nixcloud/container/running");
    let [mut from, mut to] = ["one", "other"].map(|name| notes.join(name));
    fs::write(&from, "").unwrap();
    for _ in 0..=limit {
        fs::rename(&from, &to).unwrap();
        std::mem::swap(&mut from, &mut to);
    }
    from
}

fn root_a_watch_without_descriptors_goes_on_where_it_was(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut told = Told::all(lab);
    // One is the most that `poll` takes then.
    let all = getrlimit(Resource::Nofile);
    let fails = |told: &mut Told| {
        setrlimit(Resource::Nofile, Rlimit { current: Some(1), ..all }).unwrap();
        let next =
            std::iter::from_fn(|| Some(told.watch.next_within(LONG).transpose())).find_map(|next| next);
        setrlimit(Resource::Nofile, all).unwrap();
        assert!(matches!(next, Some(Err(_))), "{next:?}");
    };
    kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap();
    fails(&mut told);
    told.tells(web.name(), &[&told_by_the_kernel(End::Killed)]);
    // That changes were lost is heard once.
    let left = overflow(lab);
    let record = lab.path(&format!("/var/lib/nixcloud/container/records/{}.toml", web.name()));
    let aside = lab.path("/files/record");
    fs::rename(&record, &aside).unwrap();
    fails(&mut told);
    told.tells(web.name(), &["unreadable"]);
    fs::rename(aside, record).unwrap();
    fs::remove_file(left).unwrap();
}

/// Whoever waits for the descriptor of a watch is not woken without end by a guest that LXC is not done with: by a hook that hangs.
fn root_a_watch_of_a_guest_that_does_not_go_rests(lab: &Lab) {
    let (hook, hangs) = (lab.path("/files/hook"), lab.path("/files/hangs"));
    fs::write(&hangs, "").unwrap();
    fs::write(&hook, format!("#!/bin/sh\nwhile test -e {}; do sleep 0.1; done\n", hangs.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let key = "lxc.hook.post-stop".to_owned();
    let manager = lab.manager_with(|config| config.allow_lxc_keys = vec![key.clone()]);
    let web = lab.busybox("web");
    let since = jiff::Timestamp::now();
    web.create();
    let request = StartRequest::new().with_items(vec![(key, hook.display().to_string())]);
    manager.container(web.name().clone()).start_with(&request, &mut ()).must("start");
    web.await_version();
    kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap();
    crate::harness::eventually("the hook hangs", LONG, || web.state() == State::Stopping);
    let mut told = Told::of(lab, WatchRequest::new().with_since(since));
    told.tells(web.name(), &["created", "started", "booting"]);
    crate::harness::eventually("it rests", LONG, || {
        told.so_far();
        let mut fds = [PollFd::new(&told.watch, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 200_000_000 })).unwrap() == 0
    });
    fs::remove_file(hangs).unwrap();
    told.tells(web.name(), &[&End::Unknown.to_string()]);
}

fn root_events_are_lines_for_people_and_objects_for_programs(lab: &Lab) {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    db.create();
    let follow = |words: &[&str]| {
        let mut events = lab.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
        (events, lines)
    };
    let (mut people, mut lines) = follow(&["events"]);
    let first = lab.plain(&lines.next().unwrap());
    assert!(first.ends_with("  db  is stopped, generation 1"), "{first}");
    // Nobody reads on: that is no failure, and not noticed at the next event alone.
    drop(lines);
    assert!(people.wait().unwrap().success());

    let (mut programs, mut lines) = follow(&["events", "--json", "--since", "now", web.name().as_str()]);
    // Whether it has begun to watch only what happens can tell.
    let mut next = || serde_json::from_str::<serde_json::Value>(&lines.next().unwrap()).unwrap();
    let until = |next: &mut dyn FnMut() -> serde_json::Value, event: &str| {
        std::iter::from_fn(|| Some(next())).find(|told| told["event"] == event).unwrap()
    };
    eventually_watched(programs.id());
    web.create();
    web.start();
    db.start();
    web.stop();
    let busy = until(&mut next, "busy");
    assert_eq!((&busy["operation"], &busy["pid"]), (&"create".into(), &std::process::id().into()));
    assert_eq!(until(&mut next, "started")["generation"], 1);
    let ended = until(&mut next, "ended");
    assert_eq!((&ended["how"], &ended["name"]), (&"stopped".into(), &web.name().as_str().into()));
    kill(Pid::from_raw(programs.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(programs.wait().unwrap().code(), Some(130));

    // What happened is known afterwards, too.
    let told = lab.line("events --since 1h --no-follow @web");
    assert_eq!(told.code, 0, "{told:?}");
    let told: Vec<_> = told.stdout.lines().map(|line| lab.plain(line)).collect();
    for what in [
        "web  created, generation 1",
        "web  started, generation 1, init",
        "web  ended: stopped",
        "web  free again",
    ] {
        assert!(told.iter().any(|line| line.contains(what)), "{what}: {told:#?}");
    }
    assert!(told.iter().all(|line| line.contains("  web  ")), "{told:#?}");
    assert_eq!(lab.line("events --since yesterday").code, 2);
    let told = lab.line("events --no-follow no-such-container");
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
}

/// Waits until a process has an inotify watch.
fn eventually_watched(pid: u32) {
    let folder = format!("/proc/{pid}/fdinfo");
    crate::harness::eventually("it watches", LONG, || {
        let infos = fs::read_dir(&folder).into_iter().flatten().flatten();
        let count = infos
            .filter(|info| fs::read_to_string(info.path()).is_ok_and(|text| text.contains("inotify wd:")))
            .count();
        count > 0
    });
}

/// With an interval that no test outlasts only what is told can make it look again.
fn root_a_watched_list_follows_changes(lab: &Lab) {
    use std::io::{BufRead, BufReader};
    let web = lab.busybox("web");
    web.create();
    let mut command = lab.command(["list", "--watch=86400"]);
    let mut watch = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut until = |state: &str| {
        std::iter::from_fn(|| Some(lines.next().unwrap().unwrap()))
            .find(|line| line.split('\t').nth(1) == Some(state))
            .expect("it never ends")
    };
    until("stopped");
    web.start();
    until("running");
    web.container().freeze().must("freeze");
    until("frozen");
    web.container().unfreeze().must("unfreeze");
    until("running");
    kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap();
    until("stopped");
    kill(Pid::from_raw(watch.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(watch.wait().unwrap().code(), Some(130));
}

/// The descriptors of this process.
fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The inotify watches of this process.
fn watches() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let text = infos.map(|info| fs::read_to_string(info.path()).unwrap_or_default()).collect::<String>();
    text.lines().filter(|line| line.starts_with("inotify wd:")).count()
}

/// Containers are played by what an operation leaves of them: their records, notes and locks; guests are real ones now and then.
fn root_a_thousand_containers_leave_a_watch_as_it_was(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let mut told = Told::all(lab);
    let before = (open_files(), watches());
    let records = lab.path("/var/lib/nixcloud/container/records");
    let record = fs::read_to_string(records.join(format!("{}.toml", web.name()))).unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..1000 {
        let name = format!("many{number}{}", lab.mark());
        let path = records.join(format!("{name}.toml"));
        let new = records.join("new");
        fs::write(&new, record.replace(web.name().as_str(), &name)).unwrap();
        fs::rename(new, &path).unwrap();
        for next in told.so_far() {
            *counts.entry(word(&next.what)).or_default() += 1;
        }
        fs::remove_file(path).unwrap();
        for next in told.so_far() {
            *counts.entry(word(&next.what)).or_default() += 1;
        }
        if number % 100 == 0 {
            web.start();
            told.tells(web.name(), &["started", "booting", "ready"]);
            web.stop();
            told.tells(web.name(), &["stopped"]);
        }
    }
    assert_eq!((counts["created"], counts["destroyed"]), (1000, 1000), "{counts:?}");
    assert_eq!((open_files(), watches()), before);
    drop(told);
    assert_eq!(open_files(), before.0 - WATCH, "a watch that is over holds nothing");
}

/// The descriptors of a watch where no guest runs: epoll, a flag, a timer, two of inotify, and the journal.
const WATCH: usize = 6;

fn root_an_overflow_loses_no_state(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.boot();
    db.create();
    let mut told = Told::all(lab);
    // With the journal nothing is to be had either.
    let left = overflow(lab);
    let journal = lab.path("/var/lib/nixcloud/container/journal");
    let aside = lab.path("/files/journal");
    fs::rename(&journal, &aside).unwrap();
    fs::write(&journal, "").unwrap();
    let records = lab.path("/var/lib/nixcloud/container/records");
    fs::remove_file(records.join(format!("{}.toml", db.name()))).unwrap();
    kill(Pid::from_raw(web.init()), Signal::SIGKILL).unwrap();
    let mut last: BTreeMap<ContainerName, String> = BTreeMap::new();
    while last.len() < 2 {
        let next = told.next();
        last.insert(next.name, word(&next.what));
    }
    // What operations do without a journal is found by looking, and none of them fails.
    let late = lab.busybox("late");
    late.create();
    told.tells(late.name(), &["created"]);
    late.start();
    told.tells(late.name(), &["started", "booting", "ready"]);
    late.stop();
    late.destroy();
    fs::remove_file(&journal).unwrap();
    fs::rename(aside, journal).unwrap();
    fs::remove_file(left).unwrap();
    assert_eq!(last[web.name()], told_by_the_kernel(End::Killed));
    // Without its record it is still one of ours, and cannot be read.
    assert_eq!(last[db.name()], "unreadable");
    lab.manager().repair(&nixcloud_container::RepairRequest::new(), &mut ()).must("repair");
}
