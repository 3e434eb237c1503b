//! What a container may use: held from its first instant, changed while it runs, brought back by a rollback.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixcloud_container::resources::{CgroupVersion, Measured};
use nixcloud_container::{DestroyRequest, Error, ErrorKind, Event, State, UpdateRequest};
use nixcloud_container::{cgroup, proc};

use crate::harness::command::program;
use crate::harness::{Guest, Kind, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_memory_beyond_its_limit_ends_processes_of_the_guest_alone,
        root_a_limit_that_this_host_cannot_hold_is_refused_by_name,
        root_a_limit_below_what_is_used_is_refused_with_the_figures,
        root_a_switch_below_what_is_used_is_forced_by_a_word,
        root_guests_together_leave_memory_to_the_host,
        root_a_hog_of_memory_leaves_its_neighbours_theirs,
        root_limits_are_set_by_hand,
        root_a_limit_that_was_noted_and_not_held_is_held,
        root_open_files_wait_for_a_restart,
        root_limits_are_there_after_a_reboot_from_inside,
        root_an_update_that_is_put_back_brings_the_limits_back,
    ],
    both: [
        root_limits_are_held_changed_and_brought_back,
    ],
}

/// What a file of the guest's cgroup says, whichever version of cgroups has it.
pub fn held(web: &Guest<'_>, files: [&str; 2]) -> String {
    let cgroups: Vec<PathBuf> = cgroup::payloads(web.name().as_str());
    let texts = files.iter().flat_map(|file| cgroups.iter().map(move |cgroup| cgroup.join(file)));
    let text = texts.filter_map(|file| fs::read_to_string(file).ok()).next();
    text.unwrap_or_else(|| panic!("none of {files:?} in {cgroups:?}")).trim().to_owned()
}

pub fn memory(web: &Guest<'_>) -> String {
    held(web, ["memory.max", "memory.limit_in_bytes"])
}

pub fn processor_time(web: &Guest<'_>) -> String {
    held(web, ["cpu.max", "cpu.cfs_quota_us"])
}

fn root_limits_are_held_changed_and_brought_back(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(
        &web.file().keys("resources = { memory = \"256M\"; cpus = 0.5; pids = 300; cpuset = \"0\"; };"),
    );
    let init = web.start();
    assert_eq!(memory(&web), (256 << 20).to_string());
    assert!(processor_time(&web).starts_with("50000"), "{}", processor_time(&web));
    assert_eq!(held(&web, ["pids.max", "pids.max"]), "300");
    assert_eq!(web.shell("grep Cpus_allowed_list /proc/1/status").split_whitespace().last(), Some("0"));
    let usage = web.container().status().must("status").usage.expect("a running guest's usage");
    assert_eq!((usage.memory.most, usage.cpus), (Some(256 << 20), Some(500)));
    assert!(matches!(usage.pids, Measured { used: Some(1..), most: Some(300), .. }), "{usage:?}");
    assert!(usage.memory.used.is_some_and(|used| used > 0 && used < 256 << 20), "{usage:?}");
    // More of one, none of another: in place, and nothing waits for a restart.
    let switched =
        web.update(&web.file().version("2").keys("resources = { memory = \"512M\"; pids = 300; };"));
    assert_eq!(switched.pending_restart, []);
    assert_eq!(web.init(), init, "the guest was restarted");
    assert_eq!(memory(&web), (512 << 20).to_string());
    assert!(["max 100000", "-1"].contains(&processor_time(&web).as_str()), "{}", processor_time(&web));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(memory(&web), (256 << 20).to_string());
    assert!(processor_time(&web).starts_with("50000"));
    assert_eq!(web.init(), init, "the guest was restarted");
}

fn root_memory_beyond_its_limit_ends_processes_of_the_guest_alone(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources = { memory = \"64M\"; swap = 0; };"));
    let init = web.start();
    let neighbour = lab.busybox("neighbour");
    neighbour.boot();
    // What tail keeps of a line without an end is memory of its own.
    let hog = web.sh("head -c 200m /dev/zero | tail -n 1 | wc -c");
    assert_ne!(hog.text().trim(), (200 << 20).to_string(), "200 MB were had of 64");
    assert_eq!(web.init(), init, "the guest's init was ended");
    assert_eq!(web.shell("echo well"), "well");
    assert_eq!(neighbour.shell("echo well"), "well");
    // Files in memory are memory.
    let script = "mkdir -p /run/hog && mount -t tmpfs hog /run/hog && echo mounted; head -c 200m /dev/zero >/run/hog/file && echo all";
    assert_eq!(web.sh(script).text().trim(), "mounted");
    assert_eq!(neighbour.shell("echo well"), "well");
}

fn root_a_limit_that_this_host_cannot_hold_is_refused_by_name(lab: &Lab) {
    let web = lab.busybox("web");
    let asks = |required: bool| {
        let device = "io.\"/dev/no-such-disk\".readBytes = \"1M\";";
        web.file().keys(&format!("resources = {{ required = {required}; {device} }};"))
    };
    let error = web.try_create(&asks(true)).expect_err("a disk that is not there");
    assert!(matches!(&error, Error::LimitUnheld { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Host);
    assert!(chain(&error).contains("`resources.io.\"/dev/no-such-disk\"`"), "{}", chain(&error));
    lab.assert_nothing_left();
    let far = web
        .try_create(&web.file().keys("resources.cpuset = \"0,4000\";"))
        .expect_err("a processor that is not there");
    assert!(chain(&far).contains("`resources.cpuset` (there is no processor 4000)"), "{}", chain(&far));
    web.create_from(&asks(false));
    web.start();
    web.container().destroy(DestroyRequest::default().with_force(true)).must("destroy");
    let web = lab.busybox("other");
    web.create_from(&web.file());
    let error = web.try_update(&asks(true)).expect_err("a disk that is not there");
    assert!(matches!(&error, Error::LimitUnheld { .. }), "{error:?}");
    assert_eq!(web.generation(), 1);
}

fn root_a_limit_below_what_is_used_is_refused_with_the_figures(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    // Memory that cannot be taken back: held open by a process, in no file.
    web.shell("mkdir -p /run/hog && mount -t tmpfs hog /run/hog && head -c 120m /dev/zero >/run/hog/file");
    let small = web.file().version("2").keys("resources = { memory = \"64M\"; swap = 0; };");
    let error = web.try_update(&small).expect_err("less than it uses");
    let text = chain(&error);
    // Version 1 of cgroups refuses by itself, version 2 is asked before.
    let Error::LimitBelowUse { used, most, .. } = &error else { panic!("{error:?}") };
    assert!(used > most && used.0 > 120 << 20, "{text}");
    assert!(text.contains("web"), "{text}");
    assert_eq!(web.generation(), 1);
    assert_ne!(memory(&web), (64 << 20).to_string());
    web.shell("rm /run/hog/file");
    web.update(&small);
    assert_eq!(memory(&web), (64 << 20).to_string());
}

fn root_a_switch_below_what_is_used_is_forced_by_a_word(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources = { memory = \"64M\"; swap = 0; };"));
    web.start();
    web.update(&web.file().version("2"));
    web.shell("mkdir -p /run/hog && mount -t tmpfs hog /run/hog && head -c 120m /dev/zero >/run/hog/file");
    let (name, small) = (web.name().as_str(), (64 << 20).to_string());
    for words in [vec!["rollback", name], vec!["switch-generation", name, "1"]] {
        let refused = lab.cli(&words);
        assert!(refused.code == 1 && refused.stderr.contains("is to have 64 MiB"), "{words:?}: {refused:?}");
        assert_eq!(web.generation(), 2);
        assert_ne!(memory(&web), small);
        let forced = lab.cli([&words[..], &["--force"]].concat());
        if cgroup::controllers().memory == Some(CgroupVersion::V1) {
            // This kernel refuses by itself.
            assert!(forced.code == 1 && forced.stderr.contains("is to have 64 MiB"), "{words:?}: {forced:?}");
            assert_eq!(web.generation(), 2);
        } else {
            assert_eq!((forced.code, memory(&web)), (0, small.clone()), "{words:?}: {forced:?}");
            break;
        }
    }
}

fn root_guests_together_leave_memory_to_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let all = cgroup::memory_of_host().unwrap();
    let most = cgroup::held_together().expect("a limit of all guests");
    let kept = all - most;
    assert!(kept >= (256 << 20).min(all / 4) - 4096 && kept <= (2 << 30) + 4096, "{kept} of {all}");
    let place = fs::read_to_string(format!("/proc/{init}/cgroup")).unwrap();
    let memory = place.lines().find(|line| line.contains(":memory:") || line.starts_with("0::/nixcloud"));
    assert!(memory.is_some_and(|line| line.contains("/nixcloud-guests/lxc.payload.")), "{place}");
    let monitor = fs::read_to_string(format!("/proc/{}/cgroup", parent_of(init))).unwrap();
    assert!(!monitor.contains("nixcloud-guests"), "{monitor}");
    // Where the host is short of memory, guests go first, whatever their root would like.
    let adjustment = "cat /proc/1/oom_score_adj; cat /proc/self/oom_score_adj; echo 0 2>/dev/null >/proc/self/oom_score_adj; \
                      cat /proc/self/oom_score_adj";
    // The kernel notes that nobody may take less only from a root who may raise limits, which that of a machine that is itself a
    // container may not: `make vm-test` shows it.
    let left = if proc::may_raise_limits() { "200" } else { "0" };
    assert_eq!(web.shell(adjustment), format!("200\n200\n{left}"));
}

fn parent_of(pid: i32) -> i32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok()).unwrap()
}

/// What is played in a small machine: a neighbour whose one process has more memory than any of the hog's many.
const HOG: &str = r#"
    nc() { "$1" --config "$2" run "$3" -- sh -c "$4"; }
    "$1" --config "$2" start "$3" >&2 && "$1" --config "$2" start "$4" >&2
    pid=$(nc "$1" "$2" "$4" "mkfifo /run/p; tail -n 1 </run/p >/dev/null 2>&1 & echo \$!; { head -c 30m /dev/zero; sleep 100; } >/run/p 2>/dev/null &" )
    nc "$1" "$2" "$3" 'i=0; while [ $i -lt 120 ]; do { head -c 5m /dev/zero; sleep 20; } 2>/dev/null | tail -n 1 >/dev/null 2>&1 & i=$((i + 1)); done; sleep 8' >&2
    nc "$1" "$2" "$4" "kill -0 $pid 2>/dev/null && echo lives || echo ended"
    cat /sys/fs/cgroup/memory/nixcloud-guests/lxc.payload."$3"*/memory.oom_control /sys/fs/cgroup/nixcloud-guests/lxc.payload."$3"*/memory.events 2>/dev/null |
      grep -q 'oom_kill [1-9]' && echo 'the hog was ended' || echo 'the hog had it all'
    "$1" --config "$2" terminate "$3" >&2; "$1" --config "$2" terminate "$4" >&2
"#;

fn root_a_hog_of_memory_leaves_its_neighbours_theirs(lab: &Lab) {
    let (hog, neighbour) = (lab.busybox("hog"), lab.busybox("neighbour"));
    hog.create();
    neighbour.create();
    let all = lab.config_file();
    let text = fs::read_to_string(&all).unwrap();
    assert!(text.contains("share = 87\n"), "{text}");
    let none = lab.root().join("no-share.toml");
    fs::write(&none, text.replace("share = 87\n", "share = 100\n")).unwrap();
    let machine = Path::new(env!("CARGO_MANIFEST_DIR")).join("hogs/machine.sh");
    let plays = |config: &Path| {
        let mut command = Command::new(&machine);
        command.arg(format!("machine{}", lab.mark())).args(["600", "sh", "-c", HOG, "hog"]);
        command.arg(program()).arg(config).args([hog.name().as_str(), neighbour.name().as_str()]);
        Lab::told(command.stdin(Stdio::null())).done()
    };
    // Without a share the same run ends the neighbour's, which is the largest.
    let first = plays(&none);
    assert!(first.starts_with("ended"), "{first}");
    assert_eq!(plays(&all), "lives\nthe hog was ended");
    assert_eq!((hog.state(), neighbour.state()), (State::Stopped, State::Stopped));
}

fn root_limits_are_set_by_hand(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources.memory = \"256M\";"));
    let name = web.name().as_str();
    // While it is stopped, for its next start.
    assert_eq!(
        lab.line(&format!("set {name} cpus=0.5")).done(),
        format!("{name} has cpus 0.5 from the next start on, until the next generation")
    );
    let init = web.start();
    assert!(processor_time(&web).starts_with("50000"), "{}", processor_time(&web));
    assert_eq!(memory(&web), (256 << 20).to_string());
    lab.line(&format!("set {name} memory=128M")).done();
    assert_eq!((memory(&web), web.init()), ((128 << 20).to_string(), init));
    web.terminate();
    web.start();
    assert_eq!(memory(&web), (128 << 20).to_string());
    // An update that is put back leaves what was set; a new generation begins with its own limits.
    let bad = web.file().version("bad").module("standin.switchExit = 1;");
    web.try_update(&bad).expect_err("an activation that fails");
    assert_eq!(memory(&web), (128 << 20).to_string());
    web.update(&web.file().version("2").keys("resources.memory = \"256M\";"));
    assert_eq!(memory(&web), (256 << 20).to_string());
    assert!(!processor_time(&web).starts_with("50000"), "{}", processor_time(&web));
    // For good, until it is taken back.
    lab.line(&format!("set {name} memory=none pids=77 --keep")).done();
    web.update(&web.file().version("3").keys("resources.memory = \"200M\";"));
    assert_eq!(held(&web, ["pids.max", "pids.max"]), "77");
    assert_ne!(memory(&web), (200 << 20).to_string());
    lab.line(&format!("set {name} --reset")).done();
    assert_eq!(memory(&web), (200 << 20).to_string());
    assert_ne!(held(&web, ["pids.max", "pids.max"]), "77");
    for (words, code) in
        [("memory=2 G", 1), ("nope=1", 1), ("openFiles=100", 1), ("memory", 2), ("cpus=0", 1)]
    {
        let told = lab.cli(["set", name, words]);
        assert_eq!(told.code, code, "{words}: {told:?}");
    }
    assert_eq!(memory(&web), (200 << 20).to_string());
}

fn root_a_limit_that_was_noted_and_not_held_is_held(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources = { memory = \"256M\"; cpus = 0.5; };"));
    web.start();
    let note = web.folder().join("limits");
    let first = fs::read_to_string(&note).unwrap();
    // As an update to 128 MB leaves it that is killed before it writes a limit, and one that is killed before it takes one away.
    let second = first.replace(&(256_u64 << 20).to_string(), &(128_u64 << 20).to_string());
    assert_ne!(first, second);
    fs::write(&note, second).unwrap();
    web.update(&web.file().version("2").keys("resources.memory = \"128M\";"));
    assert_eq!(memory(&web), (128 << 20).to_string());
    assert!(!processor_time(&web).starts_with("50000"), "{}", processor_time(&web));
    assert!(!fs::read_to_string(&note).unwrap().contains("cpus"), "what was taken away is still noted");
}

fn root_open_files_wait_for_a_restart(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources.openFiles = 4096;"));
    web.start();
    let limit =
        || web.shell("grep 'Max open files' /proc/1/limits").split_whitespace().nth(4).map(str::to_owned);
    assert_eq!(limit().as_deref(), Some("4096"));
    let switched = web.update(&web.file().version("2").keys("resources.openFiles = 2048;"));
    let pending: Vec<&str> = switched.pending_restart.iter().map(|pending| pending.key.as_str()).collect();
    assert_eq!(pending, ["lxc.prlimit.nofile"]);
    assert_eq!(limit().as_deref(), Some("4096"));
    web.terminate();
    web.start();
    assert_eq!(limit().as_deref(), Some("2048"));
}

fn root_limits_are_there_after_a_reboot_from_inside(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources.memory = \"256M\";"));
    let init = web.start();
    web.update(&web.file().version("2").keys("resources = { memory = \"128M\"; cpus = 1; };"));
    assert_eq!(memory(&web), (128 << 20).to_string());
    web.reboots();
    assert_ne!(web.init(), init);
    // LXC itself knows what it was started with alone.
    assert_eq!(memory(&web), (128 << 20).to_string());
    assert!(processor_time(&web).starts_with("100000"), "{}", processor_time(&web));
}

fn root_an_update_that_is_put_back_brings_the_limits_back(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources.memory = \"256M\";"));
    web.start();
    let bad = web.file().version("2").module("standin.switchExit = 1;").keys("resources.memory = \"128M\";");
    let file = Some(lab.file(web.name().as_str(), &bad));
    let mut while_activated = String::new();
    let mut observer = |event: Event| {
        if matches!(event, Event::Activation { .. }) && while_activated.is_empty() {
            while_activated = memory(&web);
        }
    };
    let request = UpdateRequest::default().with_file(file);
    let error = web.container().update(&request, &mut observer).expect_err("an activation that fails");
    assert!(matches!(error, Error::Activation { .. }), "{error:?}");
    assert_eq!(while_activated, (128 << 20).to_string(), "the limits come before the activation");
    assert_eq!((web.generation(), memory(&web)), (1, (256 << 20).to_string()));
    web.reboots();
    assert_eq!(memory(&web), (256 << 20).to_string());
}
