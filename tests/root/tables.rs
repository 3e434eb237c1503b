//! One hostile guest against the tables of the kernel that all share: it takes its own part, however it goes about it, and
//! the host and a neighbour find theirs.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::inotify::{InitFlags, Inotify};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nixcloud_container::{Part, Verdict, cgroup};

use crate::harness::space::{self, Echo, PORT, Space};
use crate::harness::{Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_connections_of_a_guest_leave_some_for_others,
        root_multicast_groups_of_a_guest_leave_some_for_others,
        root_host_check_says_what_one_guest_can_take,
    ],
    both: [
        root_inotify_instances_are_a_guests_own,
        root_cgroups_of_a_guest_have_an_end,
    ],
}

/// A shell of the host in a guest's user namespace, as its root: what it makes and holds counts as the guest's.
fn as_guest_root(init: i32, script: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &init.to_string(), "-U", "-S", "0", "-G", "0", "sh", "-c", script]);
    command.stdin(Stdio::null()).process_group(0);
    command
}

/// Processes that end with this.
struct Hog(Child);

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

fn root_inotify_instances_are_a_guests_own(lab: &Lab, kind: Kind) {
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_user_instances").unwrap().trim().parse().unwrap();
    let (web, other) = (lab.guest("web", kind), lab.guest("other", kind));
    let init = web.boot();
    let watched = lab.path("/files/watched");
    fs::write(&watched, "").unwrap();
    let told = lab.path("/files/told");
    // A host whose limit is high would take as many processes: there half of them show that they are counted elsewhere.
    let count = (most + 8).min(400);
    let script = format!(
        "echo 1000000 >/proc/sys/user/max_inotify_instances || exit 1\n\
         for i in $(seq {count}); do tail -f {0} & done; wait",
        watched.display()
    );
    let hog = as_guest_root(init, &script).stderr(fs::File::create(&told).unwrap()).spawn().map(Hog).unwrap();
    let instances = || {
        let group = hog.0.id().to_string();
        let said = Command::new("pgrep").args(["-c", "-g", &group, "tail"]).output().unwrap();
        String::from_utf8_lossy(&said.stdout).trim().parse::<usize>().unwrap_or(0)
    };
    eventually("the guest holds what it gets", Duration::from_secs(60), || {
        instances() == count && (most > count || fs::read_to_string(&told).unwrap().contains("inotify"))
    });
    // The host gets nearly as many as ever: its own programs have some.
    let wanted = most.min(400) / 2;
    let held: Vec<Inotify> = (0..wanted).map_while(|_| Inotify::init(InitFlags::IN_CLOEXEC).ok()).collect();
    assert_eq!(held.len(), wanted, "the host gets no inotify instances beside a guest that holds all");
    drop(held);
    // And so does a neighbour: systemd does not boot without.
    other.boot();
    other.await_version();
    drop(hog);
}

/// What guest root does to a cgroup of its own: lift the limit, then make as many as it can.
const MAKE: &str = "cd $0 || exit 1
echo max >cgroup.max.descendants; echo max >cgroup.max.depth; chmod 777 . cgroup.max.descendants
seq -f k%g 5000 | xargs mkdir
true";

fn made(cgroup: &Path) -> usize {
    let names = fs::read_dir(cgroup).unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with('k')).count()
}

fn root_cgroups_of_a_guest_have_an_end(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    web.await_version();
    let (mut limited, mut counted) = (0, Vec::new());
    for cgroup in cgroup::payloads(web.name().as_str()) {
        let mut attack = as_guest_root(init, MAKE);
        attack.arg(&cgroup).stderr(Stdio::null()).status().unwrap();
        let count = made(&cgroup);
        let _ = Command::new("sh")
            .args(["-c", "cd $0 && seq -f k%g 5000 | xargs rmdir"])
            .arg(&cgroup)
            .stderr(Stdio::null())
            .status();
        if cgroup.join("cgroup.controllers").exists() {
            // systemd has some of its own.
            assert!((3000..=4096).contains(&count), "{count} in {}", cgroup.display());
            limited += 1;
        } else if cgroup.starts_with("/sys/fs/cgroup/systemd") {
            // No controller and no limit: the same attack goes through.
            assert_eq!(count, 5000);
        } else {
            counted.push((cgroup, count));
        }
    }
    assert!(counted.iter().all(|(_, count)| *count == 0), "{counted:?}");
    assert!(limited == 1, "there is no cgroup v2 here");
}

/// How many connections that `space` begins with the host are answered.
fn answered(space: &Space, count: usize) -> usize {
    space.run(|| {
        let sockets: Vec<UdpSocket> = (0..count)
            .map(|_| {
                let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
                socket.connect(("10.101.0.1", PORT)).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
                // What the host refuses is told by the answers that are missing.
                let _ = socket.send(b"?");
                socket
            })
            .collect();
        std::thread::sleep(Duration::from_millis(1500));
        sockets.iter().filter(|socket| socket.recv(&mut [0; 64]).is_ok()).count()
    })
}

fn root_connections_of_a_guest_leave_some_for_others(lab: &Lab) {
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    let _echo = Echo::start(&Space::here(), PORT);
    let (hog, neighbour) = (Space::of(web.boot()), Space::of(other.boot()));
    // With the usual limit that many are few.
    // A machine that has much else to do may be late with some.
    assert!((0..5).any(|_| answered(&hog, 60) == 60));
    let manager = lab.manager_with(|config| config.limits.connections = 20);
    manager.host_up().must("host up");
    let few = answered(&hog, 60);
    assert!((1..=22).contains(&few), "{few} connections");
    // What others begin is none of its own; nor is it told from others by that.
    let its_own = other.address().to_string();
    eventually("the neighbour is answered", Duration::from_secs(20), || {
        neighbour.tcp("10.101.0.1:7").as_deref() == Some(its_own.as_str())
    });
    eventually("both answer", Duration::from_secs(20), || web.pings() && other.pings());
    // What the guest fills is no fault of the table.
    let findings = manager.host_check();
    let filter = findings.iter().find(|finding| finding.part == Part::Filter).unwrap();
    assert_eq!(filter.verdict, Verdict::Good, "{filter:?}");
}

/// Joins groups `239.NET.0.0` to `239.NET.0.COUNT`, for as long as the sockets live: 20 each are allowed.
fn join(space: &Space, at: Ipv4Addr, net: u8, count: u8) -> Vec<UdpSocket> {
    space.run(|| {
        let groups: Vec<u8> = (0..count).collect();
        let joined = groups.chunks(20).map(|groups| {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            for group in groups {
                socket.join_multicast_v4(&Ipv4Addr::new(239, net, 0, *group), &at).unwrap();
            }
            socket
        });
        joined.collect()
    })
}

fn root_multicast_groups_of_a_guest_leave_some_for_others(lab: &Lab) {
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    let (hog, neighbour) = (Space::of(web.boot()), Space::of(other.boot()));
    let known = |net: u8| {
        let shown = space::run("bridge", "mdb show dev brNC-hostonly");
        shown.lines().filter(|line| line.contains(&format!("grp 239.{net}.0."))).count()
    };
    let _many = join(&hog, web.address(), 1, 200);
    eventually("the bridge hears of groups", Duration::from_secs(20), || known(1) > 20);
    let _one = join(&neighbour, other.address(), 2, 1);
    eventually("the neighbour's group is known", Duration::from_secs(20), || known(2) == 1);
    assert!(known(1) <= 64, "{} groups of one guest", known(1));
}

fn root_host_check_says_what_one_guest_can_take(lab: &Lab) {
    let shares = |connections| {
        let manager = lab.manager_with(|config| config.limits.connections = connections);
        let mut findings = manager.host_check();
        findings.retain(|finding| finding.part == Part::Share);
        findings
    };
    let findings = shares(8192);
    for name in ["fs.inotify.max_user_instances", "ptys", "processes", "cgroups", "connections"] {
        let finding = findings.iter().find(|finding| finding.name == name);
        let finding = finding.unwrap_or_else(|| panic!("nothing is said of {name}: {findings:#?}"));
        assert!(finding.what.starts_with("one ") && finding.what.contains(char::is_numeric), "{finding:?}");
    }
    let unlimited = shares(0);
    let connections = unlimited.iter().find(|finding| finding.name == "connections").unwrap();
    assert_eq!(connections.verdict, Verdict::Off);
}
