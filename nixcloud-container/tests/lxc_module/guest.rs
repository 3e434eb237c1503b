//! A busybox guest under a temporary LXC path, and the proof that nothing of it stays.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nixcloud_container::lxc::LxcState;
use nixcloud_container::lxc::command::Client;

use crate::worker;

/// Host id of the guest's root.
pub(crate) const BASE: u32 = 100_000;

/// Ends at SIGTERM, as a guest's init ends at its halt signal.
const INIT: &str = "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n";

/// One container of one test. Dropping it stops it and checks for leaks.
pub(crate) struct Guest {
    pub(crate) lxc_path: PathBuf,
    pub(crate) name: String,
}

impl Guest {
    /// Makes the rootfs and a configuration with `extra` lines; starts nothing.
    pub(crate) fn new(extra: &str) -> Self {
        Self::below("", extra)
    }

    /// As [`Guest::new`], with `deeper` between the temporary directory and the container.
    pub(crate) fn below(deeper: &str, extra: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Of one width, so that no name is the beginning of another.
        let name = format!("nxc-{}-{number:03}", std::process::id());
        let lxc_path = std::env::temp_dir().join(format!("nxc.{name}")).join(deeper);
        let lxc_path: PathBuf = lxc_path.components().collect();
        let guest = Self { lxc_path, name };
        let rootfs = guest.directory().join("rootfs");
        // The guest's root must get through.
        for directory in ["", "bin", "dev", "etc", "proc", "sys", "tmp"] {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(rootfs.join(directory)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        for tool in
            ["sh", "sleep", "id", "env", "pwd", "cat", "kill", "ls", "tty", "echo", "grep", "readlink"]
        {
            symlink("busybox", rootfs.join("bin").join(tool)).unwrap();
        }
        fs::write(rootfs.join("init"), INIT).unwrap();
        fs::write(rootfs.join("etc/data"), "no program\n").unwrap();
        fs::set_permissions(rootfs.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
        let done = Command::new("chown").args(["-hR", &format!("{BASE}:{BASE}")]).arg(&rootfs).status();
        assert!(done.unwrap().success());
        fs::write(guest.directory().join("config"), guest.config(extra)).unwrap();
        guest
    }

    /// A guest that runs.
    pub(crate) fn running() -> Self {
        let guest = Self::new("");
        guest.start();
        guest
    }

    pub(crate) fn start(&self) {
        let answer = self.work("start", &[]);
        assert_eq!(answer.ok(), "started", "{answer:?}");
        self.wait_until_up();
    }

    /// RUNNING says that init was executed; until its trap stands, the kernel drops our SIGTERM.
    pub(crate) fn wait_until_up(&self) {
        self.wait_for(LxcState::Running);
        let status = format!("/proc/{}/status", self.init_pid());
        let start = Instant::now();
        let caught = || {
            let status = fs::read_to_string(&status).unwrap();
            let (_, mask) = status.split_once("SigCgt:\t").unwrap();
            u64::from_str_radix(&mask[..16], 16).unwrap()
        };
        while caught() & 1 << (15 - 1) == 0 {
            assert!(start.elapsed() < Duration::from_secs(5), "init does not come up");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn config(&self, extra: &str) -> String {
        format!(
            "lxc.uts.name = {name}\n\
             lxc.rootfs.path = dir:{rootfs}\n\
             lxc.idmap = u 0 {BASE} 65536\n\
             lxc.idmap = g 0 {BASE} 65536\n\
             lxc.net.0.type = empty\n\
             lxc.mount.auto = proc:mixed\n\
             lxc.apparmor.profile = unconfined\n\
             lxc.signal.halt = SIGTERM\n\
             lxc.init.cmd = /init\n\
             {extra}\n",
            name = self.name,
            rootfs = self.directory().join("rootfs").display(),
        )
    }

    pub(crate) fn directory(&self) -> PathBuf {
        self.lxc_path.join(&self.name)
    }

    pub(crate) fn state(&self) -> LxcState {
        Client::default().state(&self.lxc_path, &self.name).unwrap()
    }

    pub(crate) fn init_pid(&self) -> i32 {
        Client::default().init_pid(&self.lxc_path, &self.name).unwrap().expect("an init")
    }

    /// The monitor is init's parent.
    pub(crate) fn monitor_pid(&self) -> i32 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.init_pid())).unwrap();
        let (_, rest) = status.split_once("PPid:\t").unwrap();
        rest.lines().next().unwrap().parse().unwrap()
    }

    /// Runs a worker on this container.
    pub(crate) fn work(&self, job: &str, arguments: &[&str]) -> worker::Answer {
        worker::run(job, &self.lxc_path, &self.name, arguments)
    }

    pub(crate) fn wait_for(&self, wanted: LxcState) {
        let start = Instant::now();
        while self.state() != wanted {
            assert!(start.elapsed() < Duration::from_secs(5), "still {}, not {wanted}", self.state());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.work("stop", &[]));
        let top = std::env::temp_dir().join(format!("nxc.{}", self.name));
        drop(fs::remove_dir_all(&top));
        // liblxc leaves its lock. The directories above it are shared with guests that start just now.
        let locks = Path::new("/run/lxc/lock");
        drop(fs::remove_dir_all(locks.join(top.strip_prefix("/").unwrap())));
        let left = cgroups(&self.name);
        if !std::thread::panicking() {
            assert_eq!(left, [] as [PathBuf; 0], "cgroups are left");
            assert!(!top.exists(), "{} is left", top.display());
        }
    }
}

/// The cgroups that carry a container's name, after they had a moment to go.
fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for _ in 0..100 {
        let find = Command::new("find")
            .args(["/sys/fs/cgroup", "-maxdepth", "3", "-type", "d", "-name", &format!("lxc.*.{name}*")])
            .output()
            .unwrap();
        left = String::from_utf8(find.stdout).unwrap().lines().map(PathBuf::from).collect();
        if left.is_empty() {
            break;
        }
        // A monitor's cgroup outlives it where the starter was still in it; that one has ended by now.
        for path in left.iter().rev() {
            if path.to_string_lossy().contains("lxc.monitor.") {
                drop(fs::remove_dir(path));
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    left
}
