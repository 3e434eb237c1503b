//! What a guest sees of the store that it does not need: nothing, or all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nixcloud_container::store_view::StoreView;
use nixcloud_container::{Event, PendingRestart, RunRequest, State, Verdict};

use crate::harness::guest::id;
use crate::harness::{Guest, Kind, Lab, Must, chain, scenarios};
use crate::store::{assert_shown, file, package};

scenarios! {
    once: [
        root_no_filter_of_calls_is_what_keeps_the_store_out_of_sight,
        root_without_idmapped_mounts_the_store_is_out_of_sight_as_well,
        root_where_no_part_of_the_store_can_be_shown_the_host_check_foretells_it,
        root_a_guest_of_before_has_all_of_the_store_until_it_is_started_again,
    ],
    both: [
        root_what_a_guest_does_not_need_of_the_store_is_out_of_sight,
        root_all_of_the_store_is_there_where_it_is_asked_for,
    ],
}

/// A store path of the host's that the guest does not need: a folder with a file, and in it a secret of the host's root.
struct Beside {
    path: PathBuf,
    /// The kernel's handle of that file, which opens it for the host's root.
    handle: String,
}

impl Beside {
    fn new(lab: &Lab) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let source = lab.root().join("files").join(format!("beside{}", lab.mark()));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("file"), lab.mark()).unwrap();
        let told = Command::new("nix-store").arg("--add").arg(&source).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let path = PathBuf::from(String::from_utf8(told.stdout).unwrap().trim());
        fs::set_permissions(path.join("file"), fs::Permissions::from_mode(0o400)).unwrap();
        let probe = crate::attack::built_probe(lab);
        let told = Command::new(&probe).arg("handle-of").arg(path.join("file")).output().unwrap();
        assert!(told.status.success(), "{told:?}");
        let handle = String::from_utf8(told.stdout).unwrap().trim().to_owned();
        let opened = Command::new(&probe).args(["open-handle", "/nix/store", &handle]).status().unwrap();
        assert!(opened.success(), "{handle}");
        Self { path, handle }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = Command::new("nix-store").arg("--delete").arg(&self.path).output();
    }
}

/// Ways to a path of the host's store (`$O`, a name in it; `$H`, the handle of a file in it) that the guest does not need, or to
/// what the host does there. Exit 0 means that there is one.
const WAYS: &[(&str, &str)] = &[
    ("by name", "[ -e /nix/store/$O ]"),
    ("read a file of host root's", "cat /nix/store/$O/file"),
    ("by listing", "ls -A /nix/store | grep -qx -e $O"),
    ("past a path that is there", "ls /nix/store/$P/../$O"),
    ("above the store", "ls /nix/store/.. | grep -qv -x store || ls /nix/store/../store/$O"),
    ("through a directory that is open", "cd /nix/store/$P && ls ../$O"),
    ("past a descriptor", "exec 3</nix/store/$P && ls /proc/self/fd/3/../$O"),
    ("through init", "ls /proc/1/root/nix/store/$O"),
    (
        "through each process's folders",
        "for at in /proc/[0-9]*/root /proc/[0-9]*/cwd /proc/[0-9]*/task/*/root; do \
         ls $at/nix/store/$O || ls $at/$O || ls $at/../$O && exit 0; done; exit 1",
    ),
    (
        "by what processes have open and mapped",
        "cat /proc/[0-9]*/maps /proc/[0-9]*/task/*/maps | grep -e $O -e /locked/ && exit 0; \
         for at in /proc/[0-9]*/exe /proc/[0-9]*/fd/* /proc/[0-9]*/map_files/*; do readlink $at; done | grep -e $O -e /locked/",
    ),
    (
        "by the table of mounts",
        "awk '$5 == \"/nix/store\" {print $4}' /proc/self/mountinfo | grep -q /nix/store",
    ),
    (
        "by the tables of mounts of each process",
        "cat /proc/[0-9]*/mountinfo | awk '$5 == \"/nix/store\" {$5 = \"\"; print}' | grep -q -e /nix/store -e /var/lib",
    ),
    (
        "by the kernel's own words of the mount",
        "/root/probe statmount /nix/store | grep -q -e /nix/store -e /var/lib",
    ),
    ("below the mount", "umount /nix/store && ls /nix/store/$O"),
    (
        "by a bind",
        "mkdir -p /root/x && mount --bind /nix/store /root/x && ls /root/x/$O; code=$?; umount -l /root/x; exit $code",
    ),
    (
        "by a recursive bind",
        "mkdir -p /root/x && mount --rbind /nix /root/x && ls /root/x/store/$O; code=$?; umount -l /root/x; exit $code",
    ),
    (
        "by an overlay of its own",
        "mkdir -p /root/x /root/y/$O && unshare -m sh -c \"mount -t overlay x -o lowerdir=/root/y:/nix/store,userxattr /root/x && ls /root/x/$O/file\"",
    ),
    (
        "by an overlay that leads elsewhere",
        "mkdir -p /root/x /root/z/other && /root/probe redirect /root/z/other $O && \
         for way in '' ,redirect_dir=follow ,redirect_dir=on,metacopy=on; do \
         mount -t overlay x -o lowerdir=/root/z:/nix/store,userxattr$way /root/x && \
         ls /root/x/other/file && exit 0; umount /root/x; done; exit 1",
    ),
    (
        "by other layers for the mount",
        "for layers in lowerdir=/nix/store lowerdir=/ lowerdir+=/ upperdir=/root/x,workdir=/root/y; do \
         mount -o remount,$layers /nix/store && exit 0; done; exit 1",
    ),
    ("in a user namespace, by name", "unshare -Urm ls /nix/store/$O"),
    (
        "in a user namespace, below the mount",
        "unshare -Urm sh -c \"umount -l /nix/store && ls /nix/store/$O\"",
    ),
    (
        "in a user namespace, by a recursive bind",
        "mkdir -p /root/x && unshare -Urm sh -c \"mount --rbind /nix /root/x && ls /root/x/store/$O\"",
    ),
    (
        "in a user namespace, by an overlay",
        "mkdir -p /root/x /root/y/$O && unshare -Urm sh -c \"mount -t overlay x -o lowerdir=/root/y:/nix/store,userxattr /root/x && ls /root/x/$O/file\"",
    ),
    (
        "in a user namespace, by another remount",
        "unshare -Urm sh -c \"mount -o remount,rw /nix/store || mount -o remount,bind,rw /nix/store\"",
    ),
    ("by its handle, beneath the store", "/root/probe open-handle /nix/store $H"),
    ("by its handle, beneath the root", "/root/probe open-handle / $H"),
    ("in a user namespace, by its handle", "unshare -Urm /root/probe open-handle /nix/store $H"),
    ("the list of files by hash", "ls /nix/store/.links"),
    ("by inotify", "/root/probe watch /nix/store"),
    ("by inotify, the host's reading of what both have", "/root/probe watch /nix/store/$P/spec.json"),
    ("by fanotify", "/root/probe fanotify-folder /nix/store"),
    ("by fanotify of the mount", "/root/probe fanotify-mount /nix/store"),
    ("by fanotify of the file system", "/root/probe fanotify-file-system /nix/store"),
    ("in a user namespace, by fanotify", "unshare -Urm /root/probe fanotify-folder /nix/store"),
    (
        "in a user namespace, by fanotify of the file system",
        "unshare -Urm /root/probe fanotify-file-system /nix/store",
    ),
];

/// Those of them that lead there from no guest, whatever it sees: each is shut by something else, too.
const SHUT: &[&str] = &[
    "above the store",
    "by what processes have open and mapped",
    "below the mount",
    "by an overlay of its own",
    "by an overlay that leads elsewhere",
    "by other layers for the mount",
    "in a user namespace, below the mount",
    "in a user namespace, by an overlay",
    "in a user namespace, by another remount",
    "by its handle, beneath the store",
    "by its handle, beneath the root",
    "in a user namespace, by its handle",
    "by fanotify of the mount",
    "by fanotify of the file system",
    "in a user namespace, by fanotify of the file system",
];

/// Lets `guest` try them, while the host changes its store and reads in it.
fn ways(guest: &Guest<'_>, beside: &Beside) -> Vec<&'static str> {
    let name = beside.path.file_name().unwrap().to_str().unwrap();
    let own = package(guest, 1);
    let change = Path::new("/nix/store").join(format!(".{name}"));
    let read = guest.generation_path(1).join("spec.json");
    WAYS.iter()
        .filter(|(_, way)| {
            let setting = format!("O={name} P={own} H={}", beside.handle);
            let script = format!("{setting}\nunshare -m sh -c '{setting}; {}'", way.replace('\'', "'\\''"));
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        fs::write(&change, "").unwrap();
                        fs::remove_file(&change).unwrap();
                        fs::read(&read).unwrap();
                        std::thread::sleep(Duration::from_millis(5));
                    }
                });
                let came = guest.try_run(RunRequest::new(["/bin/sh", "-c", &script]), b"");
                done.store(true, Ordering::Relaxed);
                came.must("run").exit.success()
            })
        })
        .map(|(what, _)| *what)
        .collect()
}

/// Whether a lock that guest root has on a file of its own system keeps the host from its own.
fn locks_the_host(guest: &Guest<'_>) -> bool {
    let file = guest.generation_path(1).join("spec.json");
    guest.shell(&format!(
        "/root/probe hold {} /run/locked >/dev/null 2>&1 & \
         for i in $(seq 200); do [ -e /run/locked ] && exit 0; sleep 0.05; done; exit 1",
        file.display()
    ));
    Flock::lock(fs::File::open(&file).unwrap(), FlockArg::LockExclusiveNonblock).is_err()
}

fn root_what_a_guest_does_not_need_of_the_store_is_out_of_sight(lab: &Lab, kind: Kind) {
    let beside = Beside::new(lab);
    let (part, all) = (lab.guest("part", kind), lab.guest("all", kind));
    part.create_from(&file(&part, "1"));
    all.create_from(&all.file().keys("store = \"full\";"));
    for guest in [&part, &all] {
        guest.start();
        crate::attack::probe(lab, guest);
    }
    assert_eq!(ways(&part, &beside), [] as [&str; 0]);
    // The same ways lead there where all of the store is to be seen, but for those that nothing leads by.
    let open: Vec<_> = WAYS.iter().map(|(what, _)| *what).filter(|what| !SHUT.contains(what)).collect();
    let found: Vec<_> = ways(&all, &beside).into_iter().filter(|what| !SHUT.contains(what)).collect();
    assert_eq!(found, open);
    assert!(!locks_the_host(&part));
    assert!(locks_the_host(&all));
}

fn root_all_of_the_store_is_there_where_it_is_asked_for(lab: &Lab, kind: Kind) {
    let beside = Beside::new(lab);
    let web = lab.guest("web", kind);
    web.create_from(&web.file().keys("store = \"full\";"));
    web.start();
    assert_eq!(web.shell(&format!("cat {}/file", beside.path.display())), lab.mark());
    // What it was booted with stays until the next start.
    let switched = web.update(&file(&web, "2"));
    let pending = |told: &[PendingRestart]| match told {
        [one] => format!("{}: {} -> {}", one.key, one.running.concat(), one.next.concat()),
        _ => format!("{told:?}"),
    };
    assert_eq!(pending(&switched.pending_restart), "store: full -> closure");
    assert_eq!(pending(&web.container().status().must("status").pending_restart), "store: full -> closure");
    assert_eq!(web.version().as_deref(), Some("2"));
    assert!(web.sh(&format!("test -e {}", beside.path.display())).exit.success());
    web.stop();
    web.start();
    assert_shown(&web, &[2]);
    let switched = web.update(&web.file().keys("store = \"full\";").version("3"));
    assert_eq!(pending(&switched.pending_restart), "store: closure -> full");
    assert_shown(&web, &[2, 3]);
    web.stop();
    web.start();
    assert!(web.sh(&format!("test -e {}", beside.path.display())).exit.success());
}

/// Whether a lease of guest root's on a file of its own system makes the host wait that opens it.
fn leases_hold_the_host(guest: &Guest<'_>) -> bool {
    use std::os::unix::fs::OpenOptionsExt;
    let file = guest.generation_path(1).join("spec.json");
    guest.shell(&format!(
        "/root/probe hold-lease {} /run/leased >/dev/null 2>&1 & \
         for i in $(seq 200); do [ -e /run/leased ] && exit 0; sleep 0.05; done; exit 1",
        file.display()
    ));
    let opened = fs::File::options().read(true).custom_flags(nix::libc::O_NONBLOCK).open(&file);
    opened.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// With a profile of its own, which refuses no call of these.
fn root_no_filter_of_calls_is_what_keeps_the_store_out_of_sight(lab: &Lab) {
    let beside = Beside::new(lab);
    let profile = lab.path("/files/own.seccomp");
    fs::write(&profile, "2\ndenylist\n[all]\nadd_key errno 38\n").unwrap();
    let manager = lab.manager_with(|config| config.allow_lxc_keys = vec!["lxc.seccomp.profile".to_owned()]);
    let guest = |name, store: &str| {
        let guest = lab.busybox(name);
        let extra = format!("lxc.seccomp.profile = {}", profile.display());
        let file = guest.file().extra(&extra).keys(&format!("store = \"{store}\";"));
        let container = manager.container(guest.name().clone());
        container.create(&guest.request(&file), &mut ()).must("create");
        container.start(&mut ()).must("start");
        guest.await_version();
        crate::attack::probe(lab, &guest);
        guest
    };
    let (part, all) = (guest("part", "closure"), guest("all", "full"));
    assert_eq!(ways(&part, &beside), [] as [&str; 0]);
    assert!(!leases_hold_the_host(&part));
    assert!(leases_hold_the_host(&all));
    let found = ways(&all, &beside);
    for way in ["by name", "by listing", "by inotify", "by fanotify"] {
        assert!(found.contains(&way), "{way}");
    }
}

/// The host's store as an overlay, which cannot be idmapped. Nothing is to be built while it is: it would be gone afterwards, and
/// Nix would know of it.
struct NotIdmapped {
    note: PathBuf,
}

impl NotIdmapped {
    fn new(lab: &Lab) -> Self {
        let [upper, work] = ["upper", "work"].map(|name| lab.root().join("files").join(name));
        for folder in [&upper, &work] {
            fs::create_dir(folder).unwrap();
        }
        let layers = format!("lowerdir=/nix/store,upperdir={},workdir={}", upper.display(), work.display());
        let none = MsFlags::empty();
        mount(Some("overlay"), "/nix/store", Some("overlay"), none, Some(layers.as_str())).unwrap();
        Self { note: lab.path("/var/lib/nixcloud/container/running/.store-not-idmapped") }
    }
}

impl Drop for NotIdmapped {
    fn drop(&mut self) {
        umount2("/nix/store", MntFlags::MNT_DETACH).unwrap();
        let _ = fs::remove_file(&self.note);
    }
}

/// As where kernel or file system have no idmapped mounts.
fn root_without_idmapped_mounts_the_store_is_out_of_sight_as_well(lab: &Lab) {
    let beside = Beside::new(lab);
    let (web, only, all) = (lab.busybox("web"), lab.busybox("only"), lab.busybox("all"));
    web.create_from(&file(&web, "1"));
    web.update(&file(&web, "2"));
    web.container().switch_generation(id(1), &mut ()).must("switch");
    only.create_from(&file(&only, "1"));
    all.create_from(&all.file().keys("store = \"full\";"));
    let not_idmapped = NotIdmapped::new(lab);
    let mut told = Vec::new();
    let mut observer = |event| {
        if let Event::Note(note) = event {
            told.push(note.to_string());
        }
    };
    web.container().start(&mut observer).must("start");
    assert!(told.iter().any(|note| note.contains("guest's ids")), "{told:?}");
    assert!(not_idmapped.note.exists());
    for guest in [&web, &only, &all] {
        if guest.state() != State::Running {
            guest.start();
        }
        guest.await_version();
        crate::attack::probe(lab, guest);
    }
    assert_eq!(web.shell("stat -c %u:%g /nix/store/*/ | sort -u"), "65534:65534");
    assert_shown(&web, &[1]);
    assert_eq!(ways(&web, &beside), [] as [&str; 0]);
    let found = ways(&all, &beside);
    for way in ["by name", "by listing", "past a descriptor", "by inotify"] {
        assert!(found.contains(&way), "{way}: {found:?}");
    }
    // Nobody in the guest owns it: a lease is refused by the kernel, too.
    assert!(!leases_hold_the_host(&web) && !locks_the_host(&web));
    // It is kept current all the same.
    web.container().switch_generation(id(2), &mut ()).must("switch");
    assert_shown(&web, &[1, 2]);
    assert_eq!(web.version().as_deref(), Some("2"));
    web.container().switch_generation(id(1), &mut ()).must("switch");
    assert_shown(&web, &[1]);
    crate::attack::attacks_on_the_store_are_refused(lab, &only);
    for guest in [&web, &only, &all] {
        guest.terminate();
    }
}

/// A store that is two overlays deep already: the kernel puts no third one on it.
fn root_where_no_part_of_the_store_can_be_shown_the_host_check_foretells_it(lab: &Lab) {
    let found = || {
        let mut findings = lab.manager().host_check();
        findings.retain(|finding| finding.name == "store");
        let [finding] = findings.try_into().unwrap();
        finding
    };
    let good = found();
    assert_eq!((good.verdict, good.mend), (Verdict::Good, None), "{}", good.what);
    assert!(!good.what.contains("nobody"), "{}", good.what);
    let web = lab.busybox("web");
    web.create();
    web.update(&web.file().keys("store = \"full\";"));
    web.container().switch_generation(id(1), &mut ()).must("switch");
    let store = Path::new("/nix/store");
    for layer in ["one", "two"] {
        let top = lab.path("/files").join(layer);
        fs::create_dir(&top).unwrap();
        let options = format!("lowerdir={}:/nix/store", top.display());
        mount(Some("overlay"), store, Some("overlay"), MsFlags::empty(), Some(options.as_str())).unwrap();
    }
    let error = web.container().start(&mut ()).map(drop).unwrap_err();
    let wrong = found();
    assert_eq!(wrong.verdict, Verdict::Wrong, "{}", wrong.what);
    assert!(wrong.what.contains(&chain(&error)), "{} does not foretell {}", wrong.what, chain(&error));
    assert_eq!(wrong.mend.unwrap().to_string(), error.hint().unwrap().to_string());
    // As it says.
    web.container().switch_generation(id(2), &mut ()).must("switch");
    web.start();
    web.terminate();
    for _ in 0..2 {
        umount2(store, MntFlags::empty()).unwrap();
    }
    // What that start found out holds until the host boots.
    let again = found();
    assert!(again.verdict == Verdict::Good && again.what.contains("nobody"), "{}", again.what);
    fs::remove_file(lab.path("/var/lib/nixcloud/container/running/.store-not-idmapped")).unwrap();
}

/// As after an upgrade of a host that says nothing of it: all of the store was what guests saw.
fn root_a_guest_of_before_has_all_of_the_store_until_it_is_started_again(lab: &Lab) {
    let beside = Beside::new(lab);
    let before = lab.manager_with(|config| config.store = StoreView::Full);
    let web = lab.busybox("web");
    web.create();
    let init = web.start_by(&before);
    let seen = || web.sh(&format!("test -e {}", beside.path.display())).exit.success();
    let pending = || {
        let told = web.container().status().must("status").pending_restart;
        told.iter().map(|one| format!("{}: {:?} -> {:?}", one.key, one.running, one.next)).collect::<Vec<_>>()
    };
    let waits = ["store: [\"full\"] -> [\"closure\"]"];
    assert!(seen());
    assert_eq!(pending(), waits);
    // It is updated in place as it always was, and boots from inside with what it has.
    web.update(&web.file().version("2"));
    assert_eq!((web.version().as_deref(), web.init()), (Some("2"), init));
    assert!(seen());
    assert_eq!(web.reboots(), State::Running);
    web.await_version();
    assert_eq!(web.version().as_deref(), Some("2"));
    assert!(seen());
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(pending(), waits);
    web.stop();
    web.start();
    assert!(!seen());
    assert_eq!(pending(), [] as [&str; 0]);
    assert_shown(&web, &[1]);
    // A host goes on as before where its configuration says so.
    web.stop();
    web.start_by(&before);
    assert!(seen());
}
