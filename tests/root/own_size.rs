//! A guest sees its own size by lxcfs, and an lxcfs that hangs or ends is in nobody's way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::{DestroyRequest, Event, Finding, StartOutcome, StartRequest, State, Verdict};

use crate::harness::{Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_an_lxcfs_that_ends_and_comes_back,
        root_a_foreground_guest_sees_its_own_size,
    ],
    both: [
        root_a_guest_sees_its_own_size,
        root_a_hung_lxcfs_hangs_no_command,
    ],
}

/// Debian's lxcfs, mounted for this scenario alone.
struct Lxcfs {
    child: Child,
    place: PathBuf,
}

impl Lxcfs {
    fn start(lab: &Lab) -> Self {
        let place = lab.root().join("lxcfs");
        fs::create_dir_all(&place).unwrap();
        let mut command = Command::new("lxcfs");
        command.arg("-f").arg("-p").arg(lab.root().join("lxcfs.pid")).arg(&place);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("lxcfs (Debian: package lxcfs)");
        let lxcfs = Self { child, place };
        eventually("lxcfs is mounted", Duration::from_secs(20), || {
            lxcfs.mounts() == 1 && fs::read(lxcfs.place.join("proc/meminfo")).is_ok()
        });
        lxcfs
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// How often it is mounted here.
    fn mounts(&self) -> usize {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        let root = self.place.parent().unwrap().to_str().unwrap();
        table.lines().filter(|line| line.contains(root) && line.contains("fuse")).count()
    }
}

impl Drop for Lxcfs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let gone = umount2(&self.place, MntFlags::empty());
        let removed = fs::remove_dir(&self.place);
        if !std::thread::panicking() {
            gone.expect("nobody holds lxcfs's mount");
            removed.unwrap();
        }
    }
}

/// What the guest takes for all memory, in bytes.
fn memory(guest: &Guest<'_>) -> u64 {
    total(&guest.shell("cat /proc/meminfo"))
}

fn total(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

fn of_host() -> u64 {
    total(&fs::read_to_string("/proc/meminfo").unwrap())
}

/// Starts it, and returns what was said of it.
fn start_told(guest: &Guest<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    let started = guest.container().start(&mut observer).must("start");
    assert!(matches!(started, StartOutcome::Started { .. }), "{started:?}");
    guest.await_version();
    notes
}

fn finding(lab: &Lab) -> Finding {
    let mut findings = lab.manager().host_check();
    findings.retain(|finding| finding.name == "lxcfs");
    findings.pop().expect("a finding")
}

fn is_mounted(init: i32, path: &str) -> bool {
    fs::read_to_string(format!("/proc/{init}/mountinfo")).unwrap().contains(&format!(" {path} "))
}

fn root_a_guest_sees_its_own_size(lab: &Lab, kind: Kind) {
    let absent = finding(lab);
    assert!(absent.verdict == Verdict::Off && absent.mend.is_some(), "{absent:?}");
    let lxcfs = Lxcfs::start(lab);
    assert_eq!(finding(lab).verdict, Verdict::Good);
    let web = lab.guest("web", kind);
    let small =
        |memory: &str| web.file().keys(&format!("resources = {{ memory = \"{memory}\"; cpuset = \"0\"; }};"));
    web.create_from(&small("256M"));
    assert_eq!(start_told(&web), Vec::<String>::new());
    let init = web.init();
    assert_eq!(memory(&web), 256 << 20);
    let processors = "grep -c ^processor /proc/cpuinfo; cat /sys/devices/system/cpu/online; nproc";
    assert_eq!(web.shell(processors), "1\n0\n1");
    let host = fs::read_to_string("/proc/uptime").unwrap();
    let uptime = |text: &str| text.split('.').next().unwrap().parse::<u64>().unwrap();
    assert!(uptime(&web.shell("cat /proc/uptime")) < uptime(&host), "{host}");
    for file in ["proc/loadavg", "proc/stat", "proc/swaps", "proc/diskstats"] {
        assert!(is_mounted(init, &format!("/{file}")), "{file}");
        web.shell(&format!("cat /{file}"));
    }
    // Guest root writes nothing there, nor sees more of lxcfs than that.
    let writes =
        "mount -o remount,bind,rw /proc/uptime 2>/dev/null; echo 1 2>/dev/null >/proc/uptime || echo no";
    assert_eq!(web.shell(writes), "no");
    assert!(!is_mounted(init, "/var/lib/lxcfs"));
    // A limit that changes is seen at once.
    web.update(&small("128M").version("2"));
    assert_eq!((memory(&web), web.init()), (128 << 20, init));
    if kind == Kind::Busybox {
        assert_eq!(web.reboots(), State::Running);
        web.await_version();
        assert_eq!(memory(&web), 128 << 20);
    }
    // Without the hooks of the package: a shell for each boot, and a sleep for each stop.
    let stock = Path::new("/usr/share/lxc/config/common.conf.d/00-lxcfs.conf");
    assert!(
        fs::read_to_string(stock).unwrap().contains("lxc.hook.post-stop = /"),
        "Debian's lxcfs is another"
    );
    for hook in ["lxc.hook.mount", "lxc.hook.post-stop"] {
        let path = lab.path("/var/lib/lxc");
        let mut ask = Command::new("lxc-info");
        let said = ask.arg("-P").arg(path).args(["-n", web.name().as_str(), "-c", hook]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), format!("{hook} ="), "{said:?}");
    }
    web.terminate();
    assert_eq!(lxcfs.mounts(), 1, "mounts that stay");
    web.destroy();
    drop(lxcfs);
    lab.assert_nothing_left();
}

fn root_a_hung_lxcfs_hangs_no_command(lab: &Lab, kind: Kind) {
    let lxcfs = Lxcfs::start(lab);
    let (web, other) = (lab.guest("web", kind), lab.guest("other", kind));
    for guest in [&web, &other] {
        guest.create_from(&guest.file().keys("resources.memory = \"256M\";"));
    }
    web.start();
    assert_eq!(memory(&web), 256 << 20);
    lxcfs.signal(Signal::SIGSTOP);
    // Whatever hangs here hangs until the scenario's own time is over.
    let hung = finding(lab);
    assert!(hung.verdict == Verdict::Wrong && hung.what.contains("does not answer"), "{hung:?}");
    for line in ["list", "state @web --json", "list-generations @web"] {
        lab.line(line).done();
    }
    assert_eq!(web.shell("echo well"), "well");
    if kind == Kind::Systemd {
        // What the busybox guest runs then reads /proc/uptime itself.
        web.update(&web.file().version("2").keys("resources.memory = \"200M\";"));
    }
    let notes = start_told(&other);
    assert!(
        notes.len() == 1
            && notes[0].contains("the memory and the processors of the host")
            && notes[0].contains("lxcfs"),
        "{notes:?}"
    );
    assert_eq!(memory(&other), of_host());
    web.stop();
    start_told(&web);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    other.stop();
    lxcfs.signal(Signal::SIGCONT);
    assert_eq!(start_told(&other), Vec::<String>::new());
    assert_eq!(memory(&other), 256 << 20);
    other.stop();
    other.destroy();
    assert_eq!(lxcfs.mounts(), 1);
}

fn root_an_lxcfs_that_ends_and_comes_back(lab: &Lab) {
    let mut lxcfs = Lxcfs::start(lab);
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    for guest in [&web, &other] {
        guest.create_from(&guest.file().keys("resources.memory = \"256M\";"));
    }
    web.start();
    lxcfs.signal(Signal::SIGKILL);
    lxcfs.child.wait().unwrap();
    let failed = web.sh("cat /proc/meminfo");
    assert!(!failed.exit.success() && failed.errors().contains("not connected"), "{failed:?}");
    assert_eq!(web.shell("echo well"), "well");
    // The dead mount is still there.
    let dead = finding(lab);
    assert!(dead.verdict == Verdict::Wrong && dead.what.contains("not connected"), "{dead:?}");
    let notes = start_told(&other);
    assert!(notes.len() == 1 && notes[0].contains("not connected"), "{notes:?}");
    assert_eq!(memory(&other), of_host());
    drop(lxcfs);
    let lxcfs = Lxcfs::start(lab);
    assert!(
        !web.sh("cat /proc/meminfo").exit.success(),
        "what docs/limits.md says of guests that ran is not so"
    );
    // Nor does a reboot from inside help, whose mounts are those of the start, if the kernel lets them be made again; but it boots.
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    let rebooted = web.sh("cat /proc/meminfo");
    assert!(!rebooted.exit.success() || total(&rebooted.text()) == of_host(), "{rebooted:?}");
    web.stop();
    start_told(&web);
    assert_eq!(memory(&web), 256 << 20);
    for guest in [&web, &other] {
        guest.stop();
        guest.destroy();
    }
    drop(lxcfs);
    lab.assert_nothing_left();
}

fn root_a_foreground_guest_sees_its_own_size(lab: &Lab) {
    let _lxcfs = Lxcfs::start(lab);
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources.memory = \"256M\";"));
    std::thread::scope(|scope| {
        let request =
            StartRequest::default().with_foreground(true).with_screen(nixcloud_container::Screen::Null);
        let container = web.container();
        let boot = scope.spawn(move || container.start_with(&request, &mut ()).must("start"));
        eventually("it runs", Duration::from_secs(60), || web.state() == State::Running);
        web.await_version();
        assert_eq!(memory(&web), 256 << 20);
        web.stop();
        boot.join().unwrap();
    });
    web.destroy();
}
