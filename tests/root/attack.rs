//! Guest root against the host. The attacks are data (`attack/list.txt`, whose head says how to add one): each is refused
//! to both kinds of guest, and in the same run seen to come through on a weaker setup, so that it is known to bite, or says
//! why there can be none.

mod list;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nixcloud_container::State;

use crate::harness::command::program;
use crate::harness::{File, Guest, Kind, Lab, Must, Pty, chain, eventually, scenarios};
use list::{Attack, Seen};

scenarios! {
    once: [
        root_an_idmapped_folder_holds_plain_files_alone,
        root_a_profile_of_its_own_is_all_that_a_guest_has,
    ],
    both: [
        root_attacks_are_refused_and_seen_to_succeed_on_a_weaker_setup,
        root_attacks_on_the_store_are_refused,
        root_guest_root_gets_nothing_of_the_host,
        root_no_way_into_a_guest_is_without_the_profile,
    ],
}

/// How one attack ended: `None` where it came through, else what refused it.
type Ends = BTreeMap<String, Option<String>>;

/// The script of `attacks`, which says of each what it came to. As `host` each has mounts of its own: what it mounts would
/// otherwise stay, and be emptied by the next.
fn script(attacks: &[&Attack], host: bool, setting: &str) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let mut text = format!(
        "export {setting}\nreset() {{ umount -l $T/f; umount -l $T; mkdir -p $T; rm -f $T/d $T/f $T/pid; \
         [ -e $D/$V ] || echo untouched >$D/$V; rm -rf $D/attack-*; }} 2>/dev/null\n"
    );
    for Attack { name, lines, .. } in attacks {
        let own = if host { "unshare -m " } else { "" };
        let _ = writeln!(
            text,
            "reset; why=$({own}sh -c {} 2>&1 >/dev/null); echo \"end $? {name}: \"$why",
            quote(lines)
        );
    }
    text + "exit 0\n"
}

fn ends(attacks: &[&Attack], said: &str) -> Ends {
    let ends: Ends = said
        .lines()
        .filter_map(|line| {
            let (code, rest) = line.strip_prefix("end ")?.split_once(' ')?;
            let (name, why) = rest.split_once(": ").unwrap_or((rest.trim_end_matches(':'), ""));
            assert!(!matches!(code, "126" | "127"), "it could not be tried: {line}");
            Some((name.to_owned(), (code != "0").then(|| format!("{code} {why}"))))
        })
        .collect();
    for Attack { name, .. } in attacks {
        assert!(ends.contains_key(*name), "`{name}` was not tried: {said}");
    }
    ends
}

/// Where the program of attacks is built already: on a machine without a compiler.
const PROBE: &str = "NIXCLOUD_TEST_PROBE";

/// The program of attacks that no shell can do.
pub fn built_probe(lab: &Lab) -> PathBuf {
    let built = lab.path("/files/probe");
    if let Some(ready) = std::env::var_os(PROBE) {
        fs::copy(ready, &built).unwrap();
    } else if !built.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("root/attack/probe.c");
        let gcc =
            Command::new("gcc").args(["-static", "-O1", "-o"]).arg(&built).arg(source).status().must("gcc");
        assert!(gcc.success(), "gcc: {gcc}");
    }
    built
}

/// The same, where the guest's root executes it.
pub fn probe(lab: &Lab, guest: &Guest<'_>) -> PathBuf {
    let built = built_probe(lab);
    let inside = guest.rootfs().join("root/probe");
    fs::copy(&built, &inside).unwrap();
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
    built
}

/// Runs the attacks in the guest, on `folder` there, which has the file `victim`.
fn attack(attacks: &[&Attack], guest: &Guest<'_>, folder: &str, victim: &str, socket: &str) -> Ends {
    let setting = format!(
        "D={folder} V={victim} F=/srv/special T=/root/attack-place P=/root/probe S={socket} H={}",
        std::process::id()
    );
    let said = guest.run(["/bin/sh", "-c", &script(attacks, false, &setting)]);
    ends(attacks, &said.text())
}

/// Runs them as root of the host, on a writable copy of the scratch folder.
fn attack_as_host(attacks: &[&Attack], lab: &Lab, probe: &Path, socket: &str) -> Ends {
    let copy = lab.path("/files/copy");
    fs::create_dir(&copy).unwrap();
    fs::write(copy.join("secret"), "secret").unwrap();
    let setting = format!(
        "D={} V=victim F={} T={} P={} S={socket} H={}",
        copy.display(),
        lab.path("/files/special").display(),
        lab.path("/files/place").display(),
        probe.display(),
        std::process::id()
    );
    let output = Command::new("/bin/sh").args(["-c", &script(attacks, true, &setting)]).output().unwrap();
    ends(attacks, &String::from_utf8_lossy(&output.stdout))
}

fn came_through(ends: &Ends) -> Vec<&str> {
    ends.iter().filter(|(_, why)| why.is_none()).map(|(name, _)| name.as_str()).collect()
}

/// Two folders of the host's root, to be shown to a guest: one with files alone, and one with what is no file.
struct Scratch {
    folder: PathBuf,
    special: PathBuf,
    _socket: UnixListener,
    _abstract: UnixListener,
    /// The name of its abstract socket.
    name: String,
}

impl Scratch {
    fn new(lab: &Lab) -> Self {
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let folder = lab.path("/files/scratch");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("victim"), "untouched\n").unwrap();
        mode(&folder.join("victim"), 0o644);
        fs::write(folder.join("secret"), "secret").unwrap();
        mode(&folder.join("secret"), 0o600);
        let special = lab.path("/files/special");
        fs::create_dir(&special).unwrap();
        let owner = Mode::S_IRUSR | Mode::S_IWUSR;
        mknod(&special.join("fifo"), SFlag::S_IFIFO, owner, 0).unwrap();
        mknod(&special.join("device"), SFlag::S_IFCHR, owner, makedev(1, 3)).unwrap();
        let socket = UnixListener::bind(special.join("socket")).unwrap();
        mode(&special.join("socket"), 0o600);
        let name = format!("attack{}", lab.mark());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        Self { folder, special, _socket: socket, _abstract: listener, name }
    }

    fn file(&self, kind: Kind) -> File {
        let entry = |path: &Path, target: &str, options: &str| {
            format!("lxc.mount.entry = {} srv/{target} none {options},create=dir 0 0", path.display())
        };
        File::new(kind).extra(&format!(
            "{}\\n{}",
            entry(&self.folder, "scratch", "bind,ro,idmap=container"),
            entry(&self.special, "special", "bind,ro")
        ))
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let mut names: Vec<_> =
            fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["secret", "victim"]);
        let victim = self.folder.join("victim");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched\n");
        let metadata = fs::metadata(&victim).unwrap();
        assert_eq!((metadata.mode() & 0o7777, metadata.uid()), (0o644, 0));
    }
}

fn root_attacks_are_refused_and_seen_to_succeed_on_a_weaker_setup(lab: &Lab, kind: Kind) {
    let scratch = Scratch::new(lab);
    let web = lab.guest("web", kind);
    web.create_from(&scratch.file(kind));
    let probe = probe(lab, &web);
    let mut all = list::all();
    assert!(all.len() >= 100, "{} attacks", all.len());
    for attack in &mut all {
        let holds = |command| Command::new("/bin/sh").args(["-c", command]).status().unwrap().success();
        if attack.only_where.is_some_and(|command| !holds(command)) {
            attack.seen = Seen::Never("nobody can here: its `where` does not hold");
        }
    }
    let seen = |seen| all.iter().filter(|attack| attack.seen == seen).collect::<Vec<_>>();
    let every: Vec<&Attack> = all.iter().collect();

    web.start();
    assert_eq!(web.shell("cat /srv/scratch/victim; stat -c %u /srv/scratch/victim"), "untouched\n0");
    let refused = attack(&every, &web, "/srv/scratch", "victim", &scratch.name);
    scratch.assert_untouched();
    web.terminate();

    let host = attack_as_host(&seen(Seen::Host), lab, &probe, &scratch.name);
    let unlocked = {
        let _unlocked = Unlocked::start(lab, &web, &scratch);
        attack(&seen(Seen::Unlocked), &web, "/srv/scratch", "victim", &scratch.name)
    };

    let mut table = String::new();
    let mut toothless = Vec::new();
    for Attack { name, seen, .. } in &all {
        let (weaker, came) = match seen {
            Seen::Host => ("root of the host", Some(&host[*name])),
            Seen::Unlocked => ("unlocked", Some(&unlocked[*name])),
            Seen::Never(why) => (*why, None),
        };
        if let Some(Some(why)) = came {
            toothless.push(format!("{name}: {why}"));
        }
        let end = refused[*name].as_deref().unwrap_or("CAME THROUGH");
        let _ = writeln!(table, "{name:34} {weaker:60} {end}");
    }
    eprintln!("{table}");
    assert_eq!(came_through(&refused), [] as [&str; 0]);
    assert_eq!(toothless, [] as [String; 0], "not seen to succeed");
}

/// The guest as plain LXC starts it, with the configuration that we render but for what our worker adds: the folders' own
/// paths in place of the locked ones, and LXC's own seccomp profile. (The store is held read-only here, by hand.)
struct Unlocked<'a> {
    web: &'a Guest<'a>,
    held: PathBuf,
    mounts: Vec<Held>,
}

impl<'a> Unlocked<'a> {
    fn start(lab: &Lab, web: &'a Guest<'a>, scratch: &Scratch) -> Self {
        let held = lab.path("/held");
        let store = Held::new(held.join("store"), Path::new("/nix/store"));
        let profiles = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
        let profile = Held::new(held.join("profile"), &profiles);
        let locked = web.folder().join("locked").display().to_string();
        let shown = |path: &Path| path.display().to_string();
        let text = web
            .config()
            .replace(&format!("{locked}/store"), &shown(&store.0))
            .replace(&format!("{locked}/profile"), &shown(&profile.0))
            .replace(&format!("{locked}/program"), &shown(&program()))
            .replace(&format!("{locked}/extra-1"), &shown(&scratch.folder))
            .replace(
                &format!("{locked}/extra-2 srv/special none bind,ro"),
                &format!("{} srv/special none bind,ro,idmap=container", shown(&scratch.special)),
            );
        assert!(!text.lines().any(|line| !line.starts_with('#') && line.contains(&locked)), "{text}");
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("lxc.seccomp.") && !line.starts_with("lxc.apparmor."))
            .fold(String::new(), |text, line| text + line + "\n");
        // Otherwise LXC would choose one itself where the kernel has AppArmor.
        let text = text + "lxc.apparmor.profile = unconfined\n";
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
        Self { web, held, mounts: vec![store, profile] }
    }
}

impl Drop for Unlocked<'_> {
    fn drop(&mut self) {
        self.web.terminate();
        self.mounts.clear();
        fs::remove_dir(&self.held).unwrap();
    }
}

/// What is opened for writing through a read-only mount is not in a folder that guest root has the rights of its owner in.
fn root_an_idmapped_folder_holds_plain_files_alone(lab: &Lab) {
    let scratch = Scratch::new(lab);
    let web = lab.busybox("web");
    for (name, kind) in [("fifo", "a named pipe"), ("device", "a device"), ("socket", "a socket")] {
        let folder = lab.path("/files").join(format!("only-{name}"));
        fs::create_dir_all(folder.join("deep")).unwrap();
        fs::rename(scratch.special.join(name), folder.join("deep").join(name)).unwrap();
        let entry = |options: &str| {
            format!("lxc.mount.entry = {} srv/x none {options},create=dir 0 0", folder.display())
        };
        web.create_from(&web.file().extra(&entry("bind,ro,idmap=container")));
        let error = web.container().start(&mut ()).map(drop).expect_err(name);
        let told = chain(&error);
        assert!(
            told.contains(&format!("{} is", folder.join("deep").join(name).display())) || told.contains(kind),
            "{told}"
        );
        assert!(told.contains("leave `idmap=container` out"), "{told}");
        web.update(&web.file().extra(&entry("bind,ro")));
        web.start();
        web.terminate();
        web.destroy();
    }
}

fn root_attacks_on_the_store_are_refused(lab: &Lab, kind: Kind) {
    for (store, options) in [("closure", "bind,ro,create=dir"), ("full", "bind,ro,idmap=container")] {
        let web = lab.guest(store, kind);
        web.create_from(&web.file().keys(&format!("store = \"{store}\";")));
        web.start();
        assert!(web.config().contains(&format!("nix/store none {options}")), "{}", web.config());
        attacks_on_the_store_are_refused(lab, &web);
        web.stop();
    }
}

/// The attacks on files, on the store that the guest sees and on its profile.
pub fn attacks_on_the_store_are_refused(lab: &Lab, web: &Guest<'_>) {
    // A store path of this guest's own is the victim: not even that is its to change.
    let generation = web.generation_path(1);
    let victim = format!("{}/spec.json", generation.file_name().unwrap().to_str().unwrap());
    let before = fs::read(generation.join("spec.json")).unwrap();
    let all = list::all();
    let files: Vec<&Attack> = all.iter().filter(|attack| attack.lines.contains("$D")).collect();
    // There is no secret file in these folders.
    let files: Vec<&Attack> = files.into_iter().filter(|attack| !attack.lines.contains("/secret")).collect();
    probe(lab, web);
    let store = attack(&files, web, "/nix/store", &victim, "none");
    // Nothing of a fault must stay in the store.
    for entry in fs::read_dir("/nix/store").unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with("attack-") {
            fs::remove_file(entry.path()).unwrap();
            panic!("{:?} was made in the store", entry.path());
        }
    }
    assert_eq!(came_through(&store), [] as [&str; 0]);
    assert_eq!(fs::read(generation.join("spec.json")).unwrap(), before);
    // The profile folder, at /init: neither a generation nor a link can be planted.
    let profile = attack(&files, web, "/init", "profile-1-link", "none");
    assert_eq!(came_through(&profile), [] as [&str; 0]);
    let profile = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    let mut names: Vec<_> = fs::read_dir(profile).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["booted", "profile", "profile-1-link"]);
    assert_eq!(
        web.shell("readlink /init/profile; test -x /init/profile/init && echo there"),
        "profile-1-link\nthere"
    );
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

/// The profile's filter and the worker's own, for init and for each command, whichever way that came to be.
fn root_no_way_into_a_guest_is_without_the_profile(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    probe(lab, &web);
    // Those of this test are everybody's.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ours = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap();
    let both = ours.trim().parse::<u32>().unwrap() + 2;
    let counted = "grep -h ^Seccomp_filters /proc/1/status /proc/self/status | tr -dc '0-9\\n' | sort -u";
    // Each is refused, and ordinary sockets are not: 40 is vsock, 2 and 1 are inet and unix.
    let judged = "for what in 'socket 40' 'socket-i386 40' 'socketcall-i386 40' 'lease /root/probe' 'socket 2' \
                  'socket-i386 2' 'socket-i386 1'; do \
                  /root/probe $what 2>/dev/null; printf $?; done; echo ' ju''dged'";
    for round in ["begun", "rebooted"] {
        assert_eq!(web.shell(counted), both.to_string(), "{round}: filters");
        assert_eq!(web.shell(judged), "1111000 judged", "{round}: run");
        let mut login = Pty::spawn(&lab.actor(false, "login", &web), 33, 101);
        login.awaits("# ");
        login.types(&format!("{counted}; {judged}; exit\n"));
        login.awaits("1111000 judged");
        login.exit();
        assert!(login.seen().contains(&format!("\n{both}\r")), "{round}: {:?}", login.seen());
        if round == "begun" {
            match kind {
                Kind::Busybox => drop(web.sh("rm /run/greeting; kill -INT 1")),
                Kind::Systemd => drop(web.sh("systemctl reboot")),
            }
            eventually("it rebooted", std::time::Duration::from_secs(60), || {
                let now = web.container().status().must("status").init_pid;
                web.state() == State::Running && now.is_some_and(|now| now != init)
            });
            web.await_version();
        }
    }
    assert!(web.pings());
}

/// 32-bit programs that know `socketcall` alone are to be asked for.
fn root_a_profile_of_its_own_is_all_that_a_guest_has(lab: &Lab) {
    let profile = lab.path("/files/own.seccomp");
    fs::write(&profile, "2\ndenylist\n[all]\nadd_key errno 38\n").unwrap();
    let web = lab.busybox("web");
    let file = web.file().extra(&format!("lxc.seccomp.profile = {}", profile.display()));
    let manager = lab.manager_with(|config| config.allow_lxc_keys = vec!["lxc.seccomp.profile".to_owned()]);
    let own = manager.container(web.name().clone());
    own.create(&web.request(&file), &mut ()).must("create");
    own.start(&mut ()).must("start");
    web.await_version();
    probe(lab, &web);
    let ends = web
        .shell("for what in 'socketcall-i386 40' add-key; do /root/probe $what 2>/dev/null; printf $?; done");
    assert_eq!(ends, "01");
}

fn root_guest_root_gets_nothing_of_the_host(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // Neither the daemon of the host's Nix nor its database.
    web.shell("test ! -e /nix/var/nix/daemon-socket && test ! -e /nix/var/nix/db");
    // Only its own processes, and no interface of the host.
    let pids: u32 = web.shell("ls /proc | grep -c '^[0-9]'").parse().unwrap();
    assert!(pids < 60, "{pids} processes are seen");
    assert_eq!(web.shell("ls /sys/class/net | tr '\\n' ' '"), "hostonly lo");
    // The limit on processes is set.
    let cgroups = nixcloud_container::cgroup::payloads(web.name().as_str());
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
