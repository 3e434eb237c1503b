//! Guest root against the host: what is shown read-only stays so, whatever the guest tries, and the same attacks do
//! succeed where the worker's lock is missing, so that the tests are known to bite.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nixcloud_container::State;

use crate::harness::{File, Guest, Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [],
    both: [
        root_attacks_on_the_store_are_refused,
        root_attacks_on_read_only_mounts_are_refused,
        root_the_same_attacks_succeed_without_the_lock,
        root_guest_root_gets_nothing_of_the_host,
    ],
}

/// What guest root tries on the folder `$1`, which has a file `$1/$2` of the host's root. One line for each attempt.
const ATTACKS: &str = r#"
D=$1 V=$2 N=0
# An attempt succeeded if its command did.
try() {
  what=$1; shift
  if "$@" >/dev/null 2>&1; then echo "broke: $what"; else echo "held: $what"; fi
}
sh_() { sh -c "$1"; }
mkdir -p /tmp/m
cleanup() { umount /tmp/m 2>/dev/null; umount /tmp/f 2>/dev/null; : ; }

try "write" sh_ ": >$D/attack-write"
try "append to a file of the host" sh_ "echo pwned >>$D/$V"
try "change a mode" chmod 4777 "$D/$V"
try "change an owner" chown 1000 "$D/$V"
try "remove" rm -f "$D/$V"
try "rename" mv "$D/$V" "$D/attack-renamed"
try "through /proc/self/root" sh_ ": >/proc/self/root$D/attack-self"
try "through /proc/1/root" sh_ ": >/proc/1/root$D/attack-one"
try "through /proc/1/cwd" sh_ ": >/proc/1/cwd/$D/attack-cwd"
try "through a descriptor" sh_ "exec 7<$D; : >/proc/self/fd/7/attack-descriptor"
try "rebind" sh_ "mount --bind $D /tmp/m && mount -o remount,bind,rw /tmp/m && : >/tmp/m/attack-rebind"
cleanup
try "recursive rebind" sh_ "mount --rbind $D /tmp/m && mount -o remount,bind,rw /tmp/m && : >/tmp/m/attack-rbind"
cleanup
: >/tmp/f
try "rebind a file" sh_ "mount --bind $D/$V /tmp/f && mount -o remount,bind,rw /tmp/f && echo pwned >>/tmp/f"
cleanup
try "unshare -m, remount" unshare -m sh -c "mount -o remount,bind,rw $D && : >$D/attack-unshare"
try "unshare -m, rebind" unshare -m sh -c "mount --bind $D /tmp/m && mount -o remount,bind,rw /tmp/m && : >/tmp/m/attack-unshare-rebind"
try "a user namespace below, remount" unshare -U -r -m sh -c "mount -o remount,bind,rw $D && : >$D/attack-userns"
try "the namespace of init" nsenter -t 1 -m sh -c "mount -o remount,bind,rw $D && : >$D/attack-nsenter"
try "remount the file system" sh_ "mount -o remount,rw $D && : >$D/attack-fs"
try "remount the bind" sh_ "mount -o remount,bind,rw $D && : >$D/attack-remount"
try "a set-uid file" sh_ "cp /bin/sh $D/attack-setuid && chmod 4755 $D/attack-setuid"
try "a file of the host's root" sh_ ": >$D/attack-owner && chown 0:0 $D/attack-owner"
try "make it shared and move it" sh_ "mount --make-rshared / && mount --move $D /tmp/m && mount -o remount,bind,rw /tmp/m && : >/tmp/m/attack-move"
exit 0
"#;

/// Runs the attacks on `folder` in the guest: attempt -> whether it broke through.
fn attack(guest: &Guest<'_>, folder: &str, victim: &str) -> BTreeMap<String, bool> {
    let said = guest.run(["/bin/sh", "-c", ATTACKS, "attack", folder, victim]);
    let attempts: BTreeMap<String, bool> = said
        .text()
        .lines()
        .filter_map(|line| {
            let (result, what) = line.split_once(": ")?;
            Some((what.to_owned(), result == "broke"))
        })
        .collect();
    assert!(attempts.len() >= 22, "the attacks did not run: {said:?}");
    attempts
}

fn broken(attempts: &BTreeMap<String, bool>) -> Vec<&str> {
    attempts.iter().filter(|(_, broke)| **broke).map(|(what, _)| what.as_str()).collect()
}

/// A folder of the host's root with one file, to be shown to a guest.
struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    fn new(lab: &Lab) -> Self {
        let folder = lab.path("/files/scratch");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("victim"), "untouched\n").unwrap();
        fs::set_permissions(folder.join("victim"), fs::Permissions::from_mode(0o644)).unwrap();
        Self { folder }
    }

    fn entry(&self) -> String {
        format!(
            "lxc.mount.entry = {} srv/scratch none bind,ro,idmap=container,create=dir 0 0",
            self.folder.display()
        )
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> =
            fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["victim"]);
        let victim = self.folder.join("victim");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched\n");
        let metadata = fs::metadata(&victim).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o644, 0));
    }
}

fn root_attacks_on_the_store_are_refused(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    assert!(web.config().contains("nix/store none bind,ro,idmap=container"), "{}", web.config());
    // A store path of this guest's own is the victim: not even that is its to change.
    let generation = web.generation_path(1);
    let victim = format!("{}/spec.json", generation.file_name().unwrap().to_str().unwrap());
    let before = fs::read(generation.join("spec.json")).unwrap();
    let attempts = attack(&web, "/nix/store", &victim);
    let broke = broken(&attempts);
    // Nothing of a fault must stay in the store.
    for entry in fs::read_dir("/nix/store").unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("attack-") {
            fs::remove_file(entry.path()).unwrap();
            panic!("{:?} was made in the store", entry.path());
        }
    }
    assert_eq!(broke, [] as [&str; 0]);
    assert_eq!(fs::read(generation.join("spec.json")).unwrap(), before);
    // The profile folder, at /init: neither a generation nor a link can be planted.
    let attempts = attack(&web, "/init", "profile-1-link");
    assert_eq!(broken(&attempts), [] as [&str; 0]);
    let profile = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    let mut names: Vec<_> = fs::read_dir(profile).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["booted", "profile", "profile-1-link"]);
    assert_eq!(
        web.shell("readlink /init/profile; test -x /init/profile/init && echo there"),
        "profile-1-link\nthere"
    );
}

fn root_attacks_on_read_only_mounts_are_refused(lab: &Lab, kind: Kind) {
    let scratch = Scratch::new(lab);
    let web = lab.guest("web", kind);
    web.create_from(&web.file().extra(&scratch.entry()));
    web.start();
    assert_eq!(web.shell("cat /srv/scratch/victim; stat -c %u /srv/scratch/victim"), "untouched\n0");
    let attempts = attack(&web, "/srv/scratch", "victim");
    let broke: Vec<&str> = broken(&attempts);
    scratch.assert_untouched();
    assert_eq!(broke, [] as [&str; 0]);
}

/// A bind of `source` in this scenario's own mount namespace, read-only and locked for what is cloned from it.
struct Held(PathBuf);

impl Held {
    fn new(place: PathBuf, source: &Path) -> Self {
        fs::create_dir_all(&place).unwrap();
        let none: Option<&str> = None;
        mount(Some(source), &place, none, MsFlags::MS_BIND, none).unwrap();
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &place, none, flags, none).unwrap();
        Self(place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        umount2(&self.0, MntFlags::MNT_DETACH).unwrap();
        fs::remove_dir(&self.0).unwrap();
    }
}

/// The configuration that we render, on plain LXC, with the scratch folder's own path in place of the worker's locked
/// one: this is what the obvious configuration would be. (The store is held read-only here, by hand.)
fn root_the_same_attacks_succeed_without_the_lock(lab: &Lab, kind: Kind) {
    let scratch = Scratch::new(lab);
    let web = lab.guest("web", kind);
    web.create_from(&File::new(kind).extra(&scratch.entry()));
    let held = lab.path("/held");
    let store = Held::new(held.join("store"), Path::new("/nix/store"));
    let profiles = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    let profile = Held::new(held.join("profile"), &profiles);
    let locked = web.folder().join("locked").display().to_string();
    let text = web
        .config()
        .replace(&format!("{locked}/store"), &store.0.display().to_string())
        .replace(&format!("{locked}/profile"), &profile.0.display().to_string())
        .replace(&format!("{locked}/extra-1"), &scratch.folder.display().to_string());
    assert!(!text.lines().any(|line| !line.starts_with('#') && line.contains(&locked)), "{text}");
    let config = lab.path("/files/unlocked.conf");
    fs::write(&config, text).unwrap();
    // An empty PATH: newuidmap would refuse ids that /etc/subuid does not give to root.
    let status = Command::new("/usr/bin/lxc-start")
        .env("PATH", "/nonexistent")
        .arg("-P")
        .arg(lab.path("/var/lib/lxc"))
        .args(["-n", web.name().as_str(), "-f"])
        .arg(&config)
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "lxc-start: {status}");
    // Started by somebody else, it is ours all the same.
    eventually("it runs", std::time::Duration::from_secs(20), || web.state() == State::Running);
    web.await_version();
    let attempts = attack(&web, "/srv/scratch", "victim");
    let broke = broken(&attempts);
    // What mountinfo says is no proof: it is read-only there, too, until somebody tries.
    for must in
        ["remount the bind", "rebind", "unshare -m, remount", "the namespace of init", "a set-uid file"]
    {
        assert!(broke.contains(&must), "`{must}` did not succeed without the lock: {attempts:#?}");
    }
    let escape = fs::metadata(scratch.folder.join("attack-setuid")).unwrap();
    assert_eq!((escape.uid(), escape.mode() & 0o7777), (0, 0o4755), "no set-uid file of the host's root");
    web.terminate();
    drop((store, profile));
    fs::remove_dir(held).unwrap();
}

fn root_guest_root_gets_nothing_of_the_host(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // The host's disk by a device of the guest's own making.
    assert!(!web.sh("mknod /tmp/disk b 8 0 && head -c1 /tmp/disk").exit.success());
    assert!(!web.sh("mknod /root/memory c 1 1 && head -c1 /root/memory").exit.success());
    // Neither the daemon of the host's Nix nor its database.
    web.shell("test ! -e /nix/var/nix/daemon-socket && test ! -e /nix/var/nix/db");
    // Kernel settings of the host.
    for setting in
        ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname_of_nobody", "/proc/sysrq-trigger"]
    {
        assert!(!web.sh(&format!("echo x >{setting}")).exit.success(), "{setting} was written");
    }
    assert!(!web.sh("echo '|/tmp/x' >/proc/sys/kernel/modprobe").exit.success());
    // Only its own processes, and no interface of the host.
    let pids: u32 = web.shell("ls /proc | grep -c '^[0-9]'").parse().unwrap();
    assert!(pids < 60, "{pids} processes are seen");
    assert_eq!(web.shell("ls /sys/class/net | tr '\\n' ' '"), "hostonly lo");
    // The limit on processes is set.
    let cgroups = nixcloud_container::proc::payload_cgroups(web.name().as_str());
    let limits: Vec<String> =
        cgroups.iter().filter_map(|cgroup| fs::read_to_string(cgroup.join("pids.max")).ok()).collect();
    let all =
        ["pid_max", "threads-max"].map(|key| fs::read_to_string(format!("/proc/sys/kernel/{key}")).unwrap());
    let most = all.iter().map(|all| all.trim().parse::<u32>().unwrap() / 4).min().unwrap().min(16384);
    assert!(limits.iter().any(|limit| limit.trim() == most.to_string()), "{limits:?}");
    // Symlinks that it plants are not followed when its container is removed.
    let outside = lab.path("/files/outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    web.shell(&format!("ln -s {0} /root/link; rm -rf /var/log; ln -s {0} /var/log", outside.display()));
    web.terminate();
    web.destroy();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    lab.manager().list().must("list");
    lab.assert_nothing_left();
}
