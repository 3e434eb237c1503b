use super::*;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

const NEVER: &dyn Fn() -> bool = &|| false;
const LONG: Duration = Duration::from_secs(60);

#[test]
fn a_time_out_names_the_holder_and_release_leaves_no_file() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let held = Lock::acquire(&*path, Duration::ZERO, NEVER).unwrap();
    let error = Lock::acquire(&*path, Duration::from_millis(30), NEVER).unwrap_err();
    assert!(matches!(&error, Error::Held { pid: Some(pid), waited, .. }
        if *pid == std::process::id() && *waited >= Duration::from_millis(30)));
    assert!(error.to_string().ends_with(&format!(" by process {}", std::process::id())), "{error}");
    std::fs::write(&path, "gibberish").unwrap();
    assert!(matches!(Lock::acquire(&*path, Duration::ZERO, NEVER), Err(Error::Held { pid: None, .. })));
    drop(held);
    assert!(!path.exists());
    assert!(Lock::try_acquire(&*path).unwrap().is_some());
}

#[test]
fn waiting_can_be_cancelled() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let _held = Lock::acquire(&*path, Duration::ZERO, NEVER).unwrap();
    let asked = Cell::new(0);
    let cancelled = || asked.replace(asked.get() + 1) == 3;
    assert!(matches!(Lock::acquire(&*path, LONG, &cancelled), Err(Error::Cancelled { .. })));
    assert_eq!(asked.get(), 4);
}

#[test]
fn one_at_a_time_although_the_file_comes_and_goes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let (inside, rounds) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lock = Lock::acquire(&*path, LONG, NEVER).unwrap();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    rounds.fetch_add(1, Ordering::SeqCst);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(rounds.into_inner(), 400);
    assert!(!path.exists());
}

#[test]
fn a_killed_holder_frees_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    std::fs::write(&path, "").unwrap();
    // flock(1) runs the command as a child that shares the lock: -F makes it one process.
    let mut other =
        std::process::Command::new("flock").arg("-F").arg(&path).args(["sleep", "60"]).spawn().unwrap();
    let begin = Instant::now();
    while Lock::try_acquire(&*path).unwrap().is_some() {
        // The lock file went with our attempt: the child may hold a nameless one. Make it anew.
        assert!(begin.elapsed() < LONG, "flock never got the lock");
        let _ = other.kill();
        other.wait().unwrap();
        std::fs::write(&path, "").unwrap();
        other =
            std::process::Command::new("flock").arg("-F").arg(&path).args(["sleep", "60"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    other.kill().unwrap();
    other.wait().unwrap();
    drop(Lock::acquire(&*path, LONG, NEVER).unwrap());
    assert!(!path.exists());
}

#[test]
fn a_planted_link_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(matches!(Lock::try_acquire(&*path), Err(Error::Io(FileError { action: "open", .. }))));
    assert!(!temp.path().join("elsewhere").exists());
}

#[test]
fn who_came_first_gets_it_first() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("lock");
    let order = std::sync::Mutex::new(Vec::new());
    let held = Lock::acquire(&*path, LONG, NEVER).unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let (path, order) = (&path, &order);
            scope.spawn(move || {
                let lock = Lock::acquire(&**path, LONG, NEVER).unwrap();
                order.lock().unwrap().push(number);
                // The later ones look for it meanwhile.
                std::thread::sleep(Duration::from_millis(5));
                drop(lock);
            });
            std::thread::sleep(Duration::from_millis(40));
        }
        // Nobody passes those who wait.
        assert!(Lock::try_acquire(&*path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_acquire(&*path).unwrap().is_none());
    });
    assert_eq!(order.into_inner().unwrap(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert!(!path.exists());
}

/// In a thread of its own, since its mounts are its own.
#[test]
fn root_where_no_file_can_be_made_the_folder_is_locked_and_so_it_is_by_all() {
    let temp = tempfile::tempdir().unwrap();
    let test = || {
        use ::nix::mount::{MsFlags, mount};
        const NONE: Option<&str> = None;
        ::nix::sched::unshare(::nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        // Its own folder, and one more.
        mount(Some("few"), temp.path(), Some("tmpfs"), MsFlags::empty(), Some("nr_inodes=3")).unwrap();
        let (file, folder) = (temp.path().join("lock"), temp.path().join("folder"));
        std::fs::create_dir(&folder).unwrap();
        let place = Place { file: &file, folder: Some(&folder) };
        let last = temp.path().join("last");
        while std::fs::write(&last, "").is_err() {}
        assert!(Lock::try_acquire(&*file).is_err(), "there is no room for a file");
        let held = Lock::try_acquire(place).unwrap().unwrap();
        assert!(held.file.is_none() && held.folder.is_some());
        assert!(Lock::try_acquire(place).unwrap().is_none());
        // Who can make the file a moment later is kept out all the same.
        std::fs::remove_file(&last).unwrap();
        assert!(Lock::try_acquire(place).unwrap().is_none());
        drop(held);
        let held = Lock::try_acquire(place).unwrap().unwrap();
        assert!(held.file.is_some() && held.folder.is_some());
        drop(held);
        // A folder that is not there is none.
        std::fs::remove_dir(&folder).unwrap();
        assert!(Lock::try_acquire(place).unwrap().is_some());
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        drop(Lock::try_acquire(place).unwrap().unwrap());
        std::fs::write(&file, "").unwrap();
        mount(NONE, temp.path(), NONE, read_only, NONE).unwrap();
        let held = Lock::try_acquire(place).unwrap().unwrap();
        assert!(Lock::try_acquire(place).unwrap().is_none());
        drop(held);
        ::nix::mount::umount2(temp.path(), ::nix::mount::MntFlags::MNT_DETACH).unwrap();
    };
    std::thread::scope(|scope| scope.spawn(test).join()).unwrap();
}
