//! What a hostile guest may plant, and what removal does about it.

use super::super::beneath::DIRECTORY;
use super::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use ::nix::mount::{MsFlags, mount};
use ::nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, IFlags, Mode, OFlags};

/// Runs `body` in a thread with a mount namespace of its own, from which no mount gets out.
fn in_own_mounts(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
                .unwrap();
            body();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// A directory for `levels` nested directories, made without ever having a long path.
fn nest(base: &Path, levels: usize) {
    let mut here = rustix::fs::openat(CWD, base, DIRECTORY, Mode::empty()).unwrap();
    for _ in 0..levels {
        rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "d", DIRECTORY, Mode::empty()).unwrap();
    }
    rustix::fs::openat(&here, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap();
}

fn victim(temp: &Path) -> PathBuf {
    let host = temp.join("host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("precious"), "x").unwrap();
    host
}

#[test]
fn missing_is_fine_and_anything_but_a_directory_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    tree(&temp.path().join("missing")).unwrap();
    tree(&temp.path().join("missing/below")).unwrap();
    let host = victim(temp.path());
    let link = temp.path().join("link");
    symlink(&host, &link).unwrap();
    for path in [&link, &host.join("precious")] {
        assert!(matches!(tree(path), Err(Error::NotADirectory { .. })));
    }
    assert!(matches!(tree(Path::new("/")), Err(Error::NotADirectory { .. })));
    assert!(matches!(tree(&temp.path().join("host/..")), Err(Error::NotADirectory { .. })));
    assert!(link.is_symlink() && host.join("precious").exists());
}

#[test]
fn links_sockets_fifos_and_odd_names_go_and_what_links_lead_to_stays() {
    let temp = tempfile::tempdir().unwrap();
    let host = victim(temp.path());
    let top = temp.path().join("top");
    fs::create_dir_all(top.join("a/b/c")).unwrap();
    for (at, name) in ["dir", "a/dir", "a/b/c/dir"].iter().enumerate() {
        symlink(&host, top.join(name)).unwrap();
        symlink(host.join("precious"), top.join(format!("{name}-{at}"))).unwrap();
    }
    symlink(".", top.join("a/loop")).unwrap();
    rustix::fs::mknodat(CWD, top.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(top.join("socket")).unwrap();
    fs::write(top.join(OsStr::from_bytes(b"\xff\n\x1b[31m ...")), "").unwrap();
    fs::write(top.join("n".repeat(255)), "").unwrap();
    tree(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"x");
}

#[test]
fn wide_directories_go() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    fs::create_dir(&top).unwrap();
    for at in 0..5000 {
        fs::write(top.join(format!("file-{at}")), "").unwrap();
        fs::create_dir(top.join(format!("empty-{at}"))).unwrap();
        if at % 5 == 0 {
            fs::create_dir_all(top.join(format!("full-{at}/inner/most"))).unwrap();
            fs::write(top.join(format!("full-{at}/inner/file")), "").unwrap();
        }
    }
    tree(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn depth_does_not_matter() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    fs::create_dir(&top).unwrap();
    nest(&top, 100_000);
    // A small stack would not hold a frame for each level; the process could not hold a descriptor for each.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(256 * 1024);
        thread.spawn_scoped(scope, || tree(&top).unwrap()).unwrap().join().unwrap();
    });
    assert!(!top.exists());
}

#[test]
fn a_process_that_moves_directories_about_leads_us_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let host = victim(temp.path());
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (top, outside) = (temp.path().join("top"), temp.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        let (top_there, outside_there, host, done) = (top.clone(), outside.clone(), &host, &done);
        scope.spawn(move || {
            // Swaps directories for links to the host's, and moves them out while they are being emptied.
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for at in 0..4 {
                    let dir = top_there.join(format!("{at}/{at}"));
                    let _ = fs::rename(&dir, outside_there.join(format!("moved-{at}")));
                    let _ = symlink(host, &dir);
                }
            }
        });
        for _ in 0..100 {
            for at in 0..4 {
                let _ = fs::create_dir_all(top.join(format!("{at}/{at}/a/b/c")));
            }
            match tree(&top) {
                Ok(()) => assert!(!top.exists()),
                Err(Error::Moved { .. } | Error::Refilled { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(outside.join("kept").exists());
    });
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"x");
}

#[test]
fn a_directory_that_was_moved_out_is_not_left_into_its_new_parent() {
    let temp = tempfile::tempdir().unwrap();
    let (top, host) = (temp.path().join("top"), victim(temp.path()));
    fs::create_dir_all(top.join("a/b")).unwrap();
    let mut walk = Way::new(&top);
    let parent = atomic::open_dir(temp.path()).unwrap();
    let opened = walk.enter(parent.as_fd(), c"top".to_owned()).unwrap().unwrap();
    let a = walk.enter(opened.as_fd(), c"a".to_owned()).unwrap().unwrap();
    let back = walk.leave(a.as_fd()).unwrap();
    assert_eq!(walk.identity(back.as_fd(), None).unwrap(), walk.identity(opened.as_fd(), None).unwrap());
    fs::rename(top.join("a"), host.join("a")).unwrap();
    assert!(matches!(walk.leave(a.as_fd()), Err(Error::Moved { path }) if path == top.join("a")));
}

#[test]
fn more_than_a_directory_can_have_had_is_told_as_filling() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    fs::create_dir(&top).unwrap();
    let mut way = Way::new(&top).allowing(1, 0);
    let parent = atomic::open_dir(temp.path()).unwrap();
    way.enter(parent.as_fd(), c"top".to_owned()).unwrap().unwrap();
    // Neither what it could have had, nor what came once more, but what came again after that.
    let first = fs::metadata(&top).unwrap().len().max(128) + 1;
    for at in 0..first + 128 {
        assert!(way.met().is_ok(), "{at} of {first}");
    }
    assert!((0..129).any(|_| matches!(way.met(), Err(Error::Refilled { path }) if path == top)));
}

#[test]
fn a_process_that_makes_one_in_the_other_does_not_lead_us_on_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    fs::create_dir_all(top.join("older")).unwrap();
    // The kernel's stamps are those of its last tick.
    std::thread::sleep(std::time::Duration::from_millis(20));
    let walk = Walk { way: Way::new(&top).allowing(0, 10), pending: 0 };
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::create_dir_all(top.join("0/1/2/3/4/5/6/7/8/9/10/11")).unwrap();
    let parent = atomic::open_dir(temp.path()).unwrap();
    let outcome = walk.run(&parent, c"top".to_owned());
    assert!(matches!(&outcome, Err(Error::Refilled { path }) if path.ends_with("9/10")), "{outcome:?}");
    tree(&top).unwrap();
}

#[test]
fn a_process_that_fills_it_again_does_not_keep_us_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    let done = std::sync::atomic::AtomicBool::new(false);
    fs::create_dir(&top).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (top, done) = (&top, &done);
            scope.spawn(move || {
                for at in 0.. {
                    let _ = fs::write(top.join(format!("{thread}-{at}")), "");
                    if done.load(std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        let outcome = tree(&top);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(matches!(outcome, Ok(()) | Err(Error::Refilled { .. })), "{outcome:?}");
    });
    tree(&top).unwrap();
}

#[test]
fn root_modes_do_not_matter_and_neither_do_devices() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    fs::create_dir_all(top.join("closed/inner")).unwrap();
    rustix::fs::mknodat(CWD, top.join("null"), FileType::CharacterDevice, Mode::RUSR, 259).unwrap();
    fs::write(top.join("closed/file"), "").unwrap();
    for dir in ["closed/inner", "closed"] {
        fs::set_permissions(top.join(dir), PermissionsExt::from_mode(0o000)).unwrap();
    }
    tree(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn root_an_immutable_file_is_named() {
    let temp = tempfile::tempdir_in("/var/tmp").unwrap();
    let top = temp.path().join("top");
    fs::create_dir_all(top.join("a/b")).unwrap();
    for name in ["a/b/file", "a/b"] {
        let path = top.join(name);
        if name.ends_with("file") {
            fs::write(&path, "").unwrap();
        }
        let file = fs::File::open(&path).unwrap();
        let flags = rustix::fs::ioctl_getflags(&file).unwrap();
        rustix::fs::ioctl_setflags(&file, flags | IFlags::IMMUTABLE).unwrap();
        let error = tree(&top).unwrap_err();
        rustix::fs::ioctl_setflags(&file, flags).unwrap();
        match &error {
            Error::Io(FileError { action: "remove", path, source }) => {
                assert_eq!(source.raw_os_error(), Some(libc::EPERM));
                assert_eq!(path, &top.join(name));
            }
            other => panic!("{other:?}"),
        }
    }
    tree(&top).unwrap();
}

#[test]
fn root_mounts_are_refused_before_anything_is_removed() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap();
    let host = victim(&base);
    in_own_mounts(|| {
        // Bind mounts of a host directory on the same file system, and of a file; the odd name is escaped in
        // mountinfo; the link shows that the path is made canonical.
        symlink(&base, base.join("alias")).unwrap();
        for at in ["top", "top/z odd\\\n/deep"] {
            let top = base.join("top");
            let target = base.join(at);
            fs::create_dir_all(&target).unwrap();
            fs::create_dir_all(top.join("a")).unwrap();
            fs::write(top.join("a/file"), "").unwrap();
            mount(Some(&host), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            match tree(&base.join("alias/top")) {
                Err(Error::Mounted { mount_point }) => assert_eq!(mount_point, target),
                other => panic!("{other:?}"),
            }
            assert!(host.join("precious").exists());
            ::nix::mount::umount(&target).unwrap();
            assert!(top.join("a/file").exists(), "nothing was removed");
        }
        let file = base.join("top/on-file");
        fs::write(&file, "").unwrap();
        mount(Some(&host.join("precious")), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        assert!(
            matches!(tree(&base.join("top")), Err(Error::Mounted { mount_point }) if mount_point == file)
        );
        ::nix::mount::umount(&file).unwrap();
        // The namesake beside it does not count.
        fs::create_dir(base.join("top2")).unwrap();
        mount(Some(&host), &base.join("top2"), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        tree(&base.join("top")).unwrap();
        assert!(!base.join("top").exists());
    });
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"x");
}

#[test]
fn root_a_mount_that_comes_after_the_look_is_not_crossed() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap();
    let host = victim(&base);
    in_own_mounts(|| {
        for inner in ["", "a/b"] {
            let top = base.join("top");
            let target = top.join(inner);
            fs::create_dir_all(&target).unwrap();
            mount(Some(&host), &target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
            // The walk alone, as if the look at mountinfo had come too early.
            let parent = atomic::open_dir(&base).unwrap();
            let walk = Walk { way: Way::new(&top), pending: 0 };
            match walk.run(&parent, c"top".to_owned()) {
                Err(Error::Mounted { mount_point }) => assert_eq!(mount_point, target),
                other => panic!("{other:?}"),
            }
            ::nix::mount::umount(&target).unwrap();
        }
    });
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"x");
}

#[test]
fn root_a_mount_of_another_namespace_is_not_entered() {
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap();
    let host = victim(&base);
    let top = base.join("top");
    fs::create_dir_all(top.join("a")).unwrap();
    // A guest's bind mount, which our mountinfo does not show.
    let mut guest = Command::new("unshare")
        .args([
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "mount --bind \"$1\" \"$2\" && echo up && read x",
            "-",
        ])
        .args([&host, &top.join("a")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut up = [0; 3];
    io::Read::read_exact(guest.stdout.as_mut().unwrap(), &mut up).unwrap();
    tree(&top).unwrap();
    drop(guest.stdin.take());
    guest.wait().unwrap();
    assert!(!top.exists());
    assert_eq!(fs::read(host.join("precious")).unwrap(), b"x");
}
