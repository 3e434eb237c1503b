use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::XattrFlags;

use super::*;

const OLD: u32 = 100_000;
const NEW: u32 = 300_000;
const COUNT: u32 = 65_536;
const FORTH: Shift = Shift { from: OLD, to: NEW, count: COUNT };
const BACK: Shift = Shift { from: NEW, to: OLD, count: COUNT };
const NEVER: &dyn Fn() -> bool = &|| false;

/// All that a move could change or lose of one inode.
type Facts = (u32, u32, u32, Vec<(String, Vec<u8>)>);

fn facts(root: &Path) -> BTreeMap<PathBuf, Facts> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    let mut add = |path: &Path| {
        let found = path.symlink_metadata().unwrap();
        let mut attributes = Vec::new();
        if !found.is_symlink() {
            for name in ["security.capability", "system.posix_acl_access", "system.posix_acl_default"] {
                let mut value = vec![0; 256];
                if let Ok(length) = rustix::fs::getxattr(path, name, &mut value[..]) {
                    value.truncate(length);
                    attributes.push((name.to_owned(), value));
                }
            }
            // A note that is left would be found by the next run.
            let note = rustix::fs::getxattr(path, "trusted.nixcloud-moving", &mut [0_u8; 64][..]);
            assert!(note.is_err(), "{}", path.display());
        }
        all.insert(path.to_owned(), (found.uid(), found.gid(), found.mode(), attributes));
    };
    add(root);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            add(&path);
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    all
}

fn acl(ids: [u32; 2]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    let none = u32::MAX;
    for (tag, id) in [(1, none), (2, ids[0]), (4, none), (8, ids[1]), (0x10, none), (0x20, none)] {
        value.extend(u16::to_le_bytes(tag));
        value.extend(5_u16.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}

fn caps(root: u32) -> Vec<u8> {
    let mut value = 0x0300_0001_u32.to_le_bytes().to_vec();
    // CAP_NET_RAW, permitted.
    for word in [1 << 13, 0, 0, 0, root] {
        value.extend(u32::to_le_bytes(word));
    }
    value
}

fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A rootfs with one of everything, and a host around it.
fn rootfs(temp: &Path) -> PathBuf {
    let (root, host) = (temp.join("rootfs"), temp.join("host"));
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir(&host).unwrap();
    fs::write(host.join("shadow"), "").unwrap();
    chown(host.join("shadow"), Some(OLD), Some(OLD)).unwrap();
    for name in ["plain", "sudo", "group", "ping", "acl", "theirs"] {
        fs::write(root.join("a").join(name), name).unwrap();
    }
    fs::hard_link(root.join("a/sudo"), root.join("a/b/also-sudo")).unwrap();
    symlink("../../host/shadow", root.join("a/out")).unwrap();
    symlink("../host", root.join("folder-out")).unwrap();
    ::nix::unistd::mkfifo(&root.join("a/fifo"), ::nix::sys::stat::Mode::S_IRWXU).unwrap();
    UnixListener::bind(root.join("a/socket")).unwrap();
    for path in ["", "a", "a/b", "a/b/c", "a/plain", "a/acl", "a/out", "folder-out", "a/fifo", "a/socket"] {
        lchown(root.join(path), Some(OLD), Some(OLD + 65_535)).unwrap();
    }
    for path in ["a/sudo", "a/group", "a/ping"] {
        chown(root.join(path), Some(OLD + 1), Some(OLD)).unwrap();
    }
    mode(&root.join("a/sudo"), 0o4755);
    mode(&root.join("a/group"), 0o2711);
    mode(&root.join("a/b"), 0o2775);
    mode(&root.join("a/b/c"), 0o1777);
    set(&root.join("a/ping"), "security.capability", &caps(OLD));
    set(&root.join("a/acl"), "system.posix_acl_access", &acl([OLD + 5, 7]));
    set(&root.join("a/b"), "system.posix_acl_default", &acl([OLD + 5, OLD + 6]));
    // Of a user of the host, and half of one.
    chown(root.join("a/theirs"), Some(7), Some(OLD)).unwrap();
    root
}

#[test]
fn root_everything_is_moved_and_nothing_lost() {
    let temp = tempfile::tempdir().unwrap();
    let root = rootfs(temp.path());
    let before = facts(&root);
    let moved = shift(&root, FORTH, NEVER).unwrap();
    assert_eq!((moved.seen, moved.strange), (15, 1));
    // One inode has two names.
    assert_eq!(moved.changed, 14);
    assert_eq!(moved.example, Some(root.join("a/theirs")));
    let after = facts(&root);
    for (path, (uid, gid, mode, _)) in &before {
        let there = |id: u32| if id >= OLD { id + NEW - OLD } else { id };
        let found = &after[path];
        assert_eq!((found.0, found.1, found.2), (there(*uid), there(*gid), *mode), "{}", path.display());
    }
    let of = |path: &str| &after[&root.join(path)];
    assert_eq!(of("a/sudo").2 & 0o7777, 0o4755);
    assert_eq!(of("a/ping").3, [("security.capability".to_owned(), caps(NEW))]);
    assert_eq!(of("a/acl").3, [("system.posix_acl_access".to_owned(), acl([NEW + 5, 7]))]);
    assert_eq!(of("a/b").3, [("system.posix_acl_default".to_owned(), acl([NEW + 5, NEW + 6]))]);
    let host = temp.path().join("host/shadow").metadata().unwrap();
    assert_eq!((host.uid(), host.gid()), (OLD, OLD), "a link was followed");
    // A second run has nothing to do, the way back leads to where it began.
    assert_eq!(shift(&root, FORTH, NEVER).unwrap().changed, 0);
    assert_eq!(facts(&root), after);
    shift(&root, BACK, NEVER).unwrap();
    assert_eq!(facts(&root), before);
}

/// Killed between the change of owner and the giving back of what it took, in either direction.
#[test]
fn root_privileges_survive_a_kill() {
    let temp = tempfile::tempdir().unwrap();
    let root = rootfs(temp.path());
    let before = facts(&root);
    let cut_off = |name: &str, note: &[u8], owner: u32| {
        let path = root.join(name);
        let mut value = (path.metadata().unwrap().mode() & 0o7777).to_le_bytes().to_vec();
        value.extend(note);
        set(&path, "trusted.nixcloud-moving", &value);
        chown(&path, Some(owner + 1), Some(owner)).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o6000, 0, "the kernel keeps the bits");
    };
    cut_off("a/sudo", &[], NEW);
    cut_off("a/ping", &caps(NEW), NEW);
    shift(&root, FORTH, NEVER).unwrap();
    let after = facts(&root);
    assert_eq!(after[&root.join("a/sudo")].2 & 0o7777, 0o4755);
    assert_eq!(after[&root.join("a/ping")].3, [("security.capability".to_owned(), caps(NEW))]);
    // Cut off on the way there, and now it goes back.
    cut_off("a/sudo", &[], NEW);
    cut_off("a/ping", &caps(NEW), NEW);
    shift(&root, BACK, NEVER).unwrap();
    assert_eq!(facts(&root), before);
}

#[test]
fn root_a_deep_and_a_wide_tree() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("rootfs");
    fs::create_dir(&root).unwrap();
    for n in 0..3000 {
        fs::create_dir(root.join(format!("a-rather-long-name-of-a-folder-{n}"))).unwrap();
    }
    // Longer than any path can be.
    let mut here = fs::File::open(&root).unwrap();
    for _ in 0..200 {
        let name = "d".repeat(100);
        rustix::fs::mkdirat(&here, &name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        here = rustix::fs::openat(&here, &name, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let zero = Shift { from: 0, to: NEW, count: 10 };
    let moved = shift(&root, zero, NEVER).unwrap();
    assert_eq!((moved.seen, moved.changed, moved.strange), (3201, 3201, 0));
    assert_eq!(rustix::fs::fstat(&here).unwrap().st_uid, NEW);
}

#[test]
fn root_a_mount_is_left_and_told() {
    let temp = tempfile::tempdir().unwrap();
    let root = rootfs(temp.path());
    let (thread, root) = (root.clone(), root);
    std::thread::spawn(move || {
        use ::nix::mount::{MsFlags, mount};
        let none: Option<&str> = None;
        ::nix::sched::unshare(::nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(&thread.join("../host")), &thread.join("a/b"), none, MsFlags::MS_BIND, none).unwrap();
        mount(Some(&thread.join("../host/shadow")), &thread.join("a/plain"), none, MsFlags::MS_BIND, none)
            .unwrap();
        let moved = shift(&thread, FORTH, NEVER).unwrap();
        let mut mounted = moved.mounted;
        mounted.sort();
        assert_eq!(mounted, [thread.join("a/b"), thread.join("a/plain")]);
    })
    .join()
    .unwrap();
    let owner = |path: &str| root.join(path).metadata().unwrap().uid();
    assert_eq!((owner("../host/shadow"), owner("../host"), owner("a/b"), owner("a")), (OLD, 0, OLD, NEW));
}

#[test]
fn root_it_can_be_cancelled_and_taken_up_again() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("rootfs");
    fs::create_dir(&root).unwrap();
    for n in 0..1000 {
        fs::write(root.join(n.to_string()), "").unwrap();
        chown(root.join(n.to_string()), Some(OLD), Some(OLD)).unwrap();
    }
    let asked = std::cell::Cell::new(0);
    let twice = || asked.replace(asked.get() + 1) >= 1;
    assert!(matches!(shift(&root, FORTH, &twice), Err(Error::Cancelled)));
    let moved = shift(&root, FORTH, NEVER).unwrap();
    assert!((400..1000).contains(&moved.changed), "{moved:?}");
    assert!(facts(&root).values().filter(|facts| facts.0 == NEW).count() == 1000);
}

#[test]
fn a_link_is_no_tree() {
    let temp = tempfile::tempdir().unwrap();
    symlink("/", temp.path().join("rootfs")).unwrap();
    assert!(matches!(shift(&temp.path().join("rootfs"), FORTH, NEVER), Err(Error::NotADirectory { .. })));
}
