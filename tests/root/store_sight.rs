//! What a guest sees of the store that it does not need: nothing, or all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nixcloud_container::{PendingRestart, RunRequest};

use crate::harness::{Guest, Kind, Lab, Must, scenarios};
use crate::store::{assert_shown, file, package};

scenarios! {
    once: [],
    both: [
        root_what_a_guest_does_not_need_of_the_store_is_out_of_sight,
        root_all_of_the_store_is_there_where_it_is_asked_for,
    ],
}

/// A store path of the host's that the guest does not need: a folder with a file, and in it a secret of the host's root.
struct Beside {
    path: PathBuf,
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
        Self { path }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = Command::new("nix-store").arg("--delete").arg(&self.path).output();
    }
}

/// Ways to a path of the host's store (`$O`, a name in it) that the guest does not need, or to something of it. Exit 0
/// means that there is one.
const WAYS: &[(&str, &str)] = &[
    ("by name", "[ -e /nix/store/$O ]"),
    ("read a file of host root's", "cat /nix/store/$O/file"),
    ("by listing", "ls -A /nix/store | grep -qx -e $O"),
    ("past a path that is there", "ls /nix/store/$P/../$O"),
    ("above the store", "ls /nix/store/.. | grep -qv -x store || ls /nix/store/../store/$O"),
    ("through a directory that is open", "cd /nix/store/$P && ls ../$O"),
    ("through init", "ls /proc/1/root/nix/store/$O"),
    (
        "by the table of mounts",
        "awk '$5 == \"/nix/store\" {print $4}' /proc/self/mountinfo | grep -q /nix/store",
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
    ("the list of files by hash", "ls /nix/store/.links"),
    ("by inotify", "/root/probe watch /nix/store"),
];

/// Lets `guest` try them, while the host changes its store.
fn ways(guest: &Guest<'_>, beside: &Beside) -> Vec<&'static str> {
    let name = beside.path.file_name().unwrap().to_str().unwrap();
    let own = package(guest, 1);
    let change = Path::new("/nix/store").join(format!(".{name}"));
    WAYS.iter()
        .filter(|(_, way)| {
            let script = format!(
                "O={name} P={own}\nunshare -m sh -c 'O={name} P={own}; {}'",
                way.replace('\'', "'\\''")
            );
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        fs::write(&change, "").unwrap();
                        fs::remove_file(&change).unwrap();
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
    let shut = ["above the store", "below the mount", "by an overlay of its own"];
    let open: Vec<_> = WAYS.iter().map(|(what, _)| *what).filter(|what| !shut.contains(what)).collect();
    let found: Vec<_> = ways(&all, &beside).into_iter().filter(|what| !shut.contains(what)).collect();
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
