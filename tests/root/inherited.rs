//! What the caller's own limits and priorities are does not reach a guest, nor a command in it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nixcloud_container::State;

use crate::harness::{Guest, Kind, Lab, eventually, scenarios};

scenarios! {
    once: [
        root_a_command_begins_in_the_documented_state,
        root_a_guest_of_autostart_or_the_foreground_begins_in_the_documented_state,
    ],
    both: [
        root_a_guest_begins_in_the_documented_state,
    ],
}

/// The program by a caller with limits of all kinds.
fn odd(lab: &Lab, words: &[&str]) -> Command {
    let ours = lab.command(words);
    let mut command = Command::new("bash");
    // A hard limit comes back only where this machine lets root raise one.
    let kind = if raises() { "" } else { "-S" };
    let limits: String = [("n", 64), ("c", 1), ("s", 4096), ("i", 100)]
        .map(|(limit, value)| format!("ulimit {kind} -{limit} {value}; "))
        .concat();
    let script = limits
        + "echo 0x10 >/proc/self/coredump_filter; \
           exec nice -n 15 taskset -c 0 ionice -c 3 choom -n 800 -- setarch -R chrt -b 0 \"$@\"";
    command.args(["-c", &script, "odd"]).arg(ours.get_program()).args(ours.get_args());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}

/// Whether root may raise limits here: CAP_SYS_RESOURCE.
fn raises() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 24) != 0
}

/// What init has of it, as the host sees it.
fn state(init: i32) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{init}/{file}")).unwrap().trim().to_owned();
    let status = read("status");
    let mut state: Vec<String> =
        status.lines().filter(|line| line.starts_with("Cpus_allowed_list")).map(str::to_owned).collect();
    let stat = read("stat");
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    state.push(format!("nice {}, policy {}", fields[16], fields[38]));
    for file in ["oom_score_adj", "personality", "coredump_filter", "timerslack_ns"] {
        state.push(format!("{file} {}", read(file)));
    }
    let io = Command::new("ionice").args(["-p", &init.to_string()]).output().unwrap();
    state.push(format!("io {}", String::from_utf8_lossy(&io.stdout).trim()));
    state.extend(
        read("limits").lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")),
    );
    state
}

fn started(web: &Guest<'_>) -> Vec<String> {
    web.await_version();
    state(web.init())
}

fn root_a_guest_begins_in_the_documented_state(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    let name = web.name().as_str();
    web.start();
    let plain = started(&web);
    web.terminate();
    let told = Lab::told(&mut odd(lab, &["start", name]));
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(started(&web), plain);
    // By those that reboot it.
    let told = Lab::told(&mut odd(lab, &["restart", name]));
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(started(&web), plain);
    if kind == Kind::Busybox {
        // systemd sets some of its own.
        for line in [
            "nice 0, policy 0",
            "oom_score_adj 200",
            "personality 00000000",
            "coredump_filter 00000033",
            "timerslack_ns 50000",
            "io none: prio 0",
            "Max open files 1024 ",
            "Max core file size 0 ",
            "Max stack size 8388608 ",
            "Max nice priority 0 0",
            "Max realtime priority 0 0",
        ] {
            assert!(plain.iter().any(|said| said.starts_with(line)), "no {line:?} in {plain:#?}");
        }
        for line in [
            "Max open files 1024 524288 files",
            "Max core file size 0 unlimited bytes",
            "Max processes unlimited unlimited processes",
            "Max locked memory 8388608 8388608 bytes",
            "Max pending signals 16384 16384 signals",
            "Max msgqueue size 819200 819200 bytes",
        ] {
            assert!(!raises() || plain.iter().any(|said| said == line), "no {line:?} in {plain:#?}");
        }
    }
}

/// A start at boot is begun by a unit with settings of its own, one in the foreground has its monitor below the caller.
fn root_a_guest_of_autostart_or_the_foreground_begins_in_the_documented_state(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("autostart = true;"));
    web.start();
    let plain = started(&web);
    web.terminate();
    let told = Lab::told(&mut odd(lab, &["autostart"]));
    assert_eq!(told.code, 0, "{told:?}");
    assert_eq!(started(&web), plain);
    web.terminate();
    let mut foreground = odd(lab, &["start", "-F", web.name().as_str()]);
    let null = std::process::Stdio::null;
    let mut foreground = foreground.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
    eventually("it runs", Duration::from_secs(20), || web.state() == State::Running);
    assert_eq!(started(&web), plain);
    web.terminate();
    foreground.wait().unwrap();
}

fn root_a_command_begins_in_the_documented_state(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let script = "ulimit -n; ulimit -Hn; cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj /proc/self/personality /proc/self/timerslack_ns; \
                  grep Cpus_allowed_list /proc/self/status";
    let words = ["run", web.name().as_str(), "sh", "-c", script];
    let plain = lab.cli(words).done();
    assert!(plain.starts_with("1024\n") && plain.contains("\n0\n200\n00000000\n50000\n"), "{plain}");
    assert_eq!(Lab::told(&mut odd(lab, &words)).done(), plain);
}
