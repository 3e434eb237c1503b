//! Proof that nothing of a scenario is left: looked for in the kernel and in the folders, not in what we remember.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nixcloud_container::net::Netlink;

/// What every container name of the scenario process `pid` ends with.
pub fn mark(pid: u32) -> String {
    let mut number = pid;
    let mut digits = String::new();
    while number > 0 {
        digits.insert(0, char::from_digit(number % 36, 36).unwrap());
        number /= 36;
    }
    // No digits of base 36 before it: `-z1` is not the end of `-zz1`.
    format!("-z{digits}")
}

/// The cgroups, in any hierarchy, whose name carries `mark`.
pub fn cgroups(mark: &str) -> Vec<PathBuf> {
    below(Path::new("/sys/fs/cgroup"), &|path| carries(path, mark))
}

fn carries(path: &Path, mark: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // LXC appends -1, -2 ... where a cgroup name is taken.
    name.match_indices(mark).any(|(at, _)| {
        let rest = &name[at + mark.len()..];
        rest.is_empty() || rest.starts_with(|c: char| !c.is_ascii_alphanumeric())
    })
}

/// All below `folder` (folders first seen, then what is in them) that `wanted` likes. What vanishes meanwhile is not there.
fn below(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if wanted(&path) {
            found.push(path.clone());
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(below(&path, wanted));
        }
    }
    found
}

/// What is left of the containers that were under `root` and carry `mark`. The kernel gets a moment to let go.
pub fn look(root: &Path, mark: &str) -> Vec<String> {
    let begin = Instant::now();
    loop {
        let left = once(root, mark);
        if left.is_empty() || begin.elapsed() > Duration::from_secs(2) {
            return left;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn once(root: &Path, mark: &str) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(cgroups(mark).into_iter().map(|path| format!("cgroup {}", path.display())));
    left.extend(links());
    left.extend(processes(root));
    left.extend(files(root));
    let marked = |path: &Path| carries(path, mark);
    for folder in ["/run/lxc", "/var/lib/lxc", "/run/lock", "/dev/shm"] {
        left.extend(
            below(Path::new(folder), &marked).into_iter().map(|path| format!("file {}", path.display())),
        );
    }
    let locks = Some(lxc_locks_of(root)).filter(|folder| folder.exists());
    left.extend(locks.map(|folder| format!("LXC lock {}", folder.display())));
    left.extend(gc_roots(root).into_iter().map(|link| format!("GC root {}", link.display())));
    left
}

/// Bridges of ours stay as long as the lab is open; veths never.
fn links() -> Vec<String> {
    let links = Netlink::open().unwrap().links().unwrap();
    links
        .into_iter()
        .filter(|link| link.name != "lo" && !link.is_bridge())
        .map(|link| format!("network interface {}", link.name))
        .collect()
}

/// The bridges of this network namespace.
pub fn bridges() -> Vec<String> {
    let links = Netlink::open().unwrap().links().unwrap();
    links
        .into_iter()
        .filter(nixcloud_container::net::Link::is_bridge)
        .map(|link| format!("bridge {}", link.name))
        .collect()
}

/// What `host down` is to have taken away beside the bridges.
pub fn host(root: &Path) -> Vec<String> {
    let notes = below(&root.join("var/lib/nixcloud/container/sysctl"), &|_| true);
    let mut left: Vec<String> = notes.into_iter().map(|path| format!("note {}", path.display())).collect();
    let nft = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let rules = String::from_utf8_lossy(&nft.stdout).into_owned();
    left.extend(
        rules.lines().filter(|line| line.contains("nixcloud-container")).map(|line| format!("nft: {line}")),
    );
    left
}

/// Processes of this network namespace, those that name `root`, and those that have it mounted in whatever mount
/// namespace. Our own are not meant.
fn processes(root: &Path) -> Vec<String> {
    let root = root.to_string_lossy().into_owned();
    let namespace = fs::metadata("/proc/self/ns/net").unwrap().ino();
    let own = std::process::id();
    let mut left = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let path = entry.path();
        let command = fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let mounts = fs::read_to_string(path.join("mountinfo")).unwrap_or_default();
        for line in mounts.lines().filter(|line| line.contains(&root)) {
            left.push(format!("mount in process {pid} ({command}): {line}"));
        }
        if pid == own {
            continue;
        }
        // They are there while the host is up.
        if command.contains(&format!("{root}/var/lib/nixcloud/container/resolvers/")) {
            continue;
        }
        let here = fs::metadata(path.join("ns/net")).is_ok_and(|other| other.ino() == namespace);
        if (here || command.contains(&root)) && !is_zombie(pid) {
            left.push(format!("process {pid}: {command}"));
        }
    }
    left
}

/// The other processes of this network namespace, which are all of this scenario's making.
pub fn neighbours() -> Vec<i32> {
    let namespace = fs::metadata("/proc/self/ns/net").unwrap().ino();
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| fs::metadata(entry.path().join("ns/net")).is_ok_and(|other| other.ino() == namespace))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id().cast_signed())
        .collect()
}

fn is_zombie(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])))
}

/// Everything in the layout's folders but the folders themselves and the Nix expression.
fn files(root: &Path) -> Vec<String> {
    let state = root.join("var/lib/nixcloud/container");
    let mut left = Vec::new();
    let folders =
        ["records", "running", "addresses", "ids", "interfaces", "ports", "locks", "work", "closures"]
            .map(|name| state.join(name));
    let names = ["hostonly", "internet", "host", "leases"].map(|name| state.join("resolvers").join(name));
    let others = [root.join("var/lib/lxc"), root.join("nix/var/nix/profiles/nixcloud-container")];
    for folder in folders.iter().chain(&others).chain(&names) {
        left.extend(below(folder, &|_| true).into_iter().map(|path| format!("file {}", path.display())));
    }
    // Files beside the known folders.
    let known = |path: &Path| {
        path.starts_with(state.join("nix"))
            // Of the host: what was done to containers.
            || path.starts_with(state.join("journal"))
            // Of `host up`, as long as it is not undone.
            || path.starts_with(state.join("sysctl"))
            // Of the dnsmasqs, which are there while the host is up.
            || path.starts_with(state.join("resolvers"))
            || folders
                .iter()
                .chain(&others)
                .any(|folder| folder.starts_with(path) || path.starts_with(folder))
    };
    for top in ["var", "nix"] {
        let strange = |path: &Path| !known(path);
        left.extend(
            below(&root.join(top), &strange).into_iter().map(|path| format!("file {}", path.display())),
        );
    }
    left
}

/// LXC's locks lie below `/run/lxc/lock/` and the LXC path.
pub fn lxc_locks_of(root: &Path) -> PathBuf {
    Path::new("/run/lxc/lock").join(root.strip_prefix("/").unwrap())
}

/// Roots of the garbage collector that point below `root`.
pub fn gc_roots(root: &Path) -> Vec<PathBuf> {
    fs::read_dir("/nix/var/nix/gcroots/auto")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|link| fs::read_link(link).is_ok_and(|target| target.starts_with(root)))
        .collect()
}
