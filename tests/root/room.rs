//! Disks that are full, out of inodes or read-only: what ends a guest or gives something back never needs room.

use std::fs;
use std::path::PathBuf;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nixcloud_container::{
    AutostopRequest, DestroyRequest, Error, LogRequest, StartRequest, State, StopOutcome,
};

use crate::harness::{Guest, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_a_guest_that_fills_the_disk_takes_nothing_from_the_administrator,
        root_a_guest_that_takes_all_inodes_takes_nothing_from_the_administrator,
        root_on_a_read_only_disk_guests_end_and_what_stays_is_told,
        root_a_destroy_without_room_is_completed_where_it_was_cut_off,
        root_a_create_without_room_leaves_nothing,
        root_a_start_whose_log_has_no_room_says_so,
    ],
    both: [],
}

const NONE: Option<&str> = None;

/// A small file system that holds the containers and the state of a lab's host.
struct Small<'l> {
    lab: &'l Lab,
    place: PathBuf,
}

impl<'l> Small<'l> {
    fn new(lab: &'l Lab, options: &str) -> Self {
        lab.manager().host_down().must("host down");
        let place = lab.path("/var");
        mount(Some("small"), &place, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        lab.manager().host_up().must("host up");
        Self { lab, place }
    }

    /// Shows it read-only to whoever comes from now on: those that write to it go on.
    fn read_only(&self, read_only: bool) {
        if !read_only {
            return umount2(&self.place, MntFlags::empty()).unwrap();
        }
        mount(Some(&self.place), &self.place, NONE, MsFlags::MS_BIND, NONE).unwrap();
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NONE, &self.place, NONE, flags, NONE).unwrap();
    }

    /// What is left of containers, but for the file system itself.
    fn leaks(&self) -> Vec<String> {
        let ours = format!(" {} ", self.place.display());
        let filled = self.place.join("fill").display().to_string();
        let other = |left: &String| !left.contains(&ours) && !left.contains(&filled);
        self.lab.leaks().into_iter().filter(other).collect()
    }

    /// Takes away what [`fill`](Self::fill) left.
    fn empty(&self) {
        for entry in fs::read_dir(&self.place).unwrap().flatten() {
            if entry.file_name().to_string_lossy().starts_with("fill") {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Leaves no room at all, not even in blocks that are begun.
    fn fill(&self) {
        let _ = fs::write(self.place.join("fill"), vec![b'x'; 64 << 20]);
        let mut number = 0;
        while fs::write(self.place.join(format!("fill-{number}")), "x").is_ok() {
            number += 1;
        }
    }

    fn has_room(&self) -> bool {
        let probe = self.place.join("probe");
        let room = fs::write(&probe, "x").is_ok();
        let _ = fs::remove_file(probe);
        room
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.empty();
        assert_eq!(self.leaks(), [] as [&str; 0]);
        self.lab.manager().host_down().must("host down");
        umount2(&self.place, MntFlags::empty()).unwrap();
        self.lab.manager().host_up().must("host up");
    }
}

fn pair(lab: &Lab) -> [Guest<'_>; 2] {
    let guests = [lab.busybox("hog"), lab.busybox("web")];
    for guest in &guests {
        guest.boot();
    }
    guests
}

fn nothing_needs_room(small: &Small<'_>, [hog, web]: [Guest<'_>; 2]) {
    assert!(!small.has_room());
    assert_eq!((hog.state(), web.state()), (State::Running, State::Running));
    web.container().freeze().must("freeze");
    web.container().unfreeze().must("unfreeze");
    assert_eq!(web.container().stop(None).must("stop"), StopOutcome::Stopped);
    assert_eq!(hog.container().terminate().must("terminate"), StopOutcome::Stopped);
    small.fill();
    let stopped = small.lab.manager().autostop(&AutostopRequest::default(), &mut ()).must("autostop");
    assert_eq!(stopped.len(), 0, "{stopped:?}");
    hog.container().destroy(DestroyRequest::new().with_force(true)).must("destroy the hog");
    assert!(small.has_room(), "what it had is not given back");
    small.fill();
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

fn root_a_guest_that_fills_the_disk_takes_nothing_from_the_administrator(lab: &Lab) {
    let small = Small::new(lab, "size=6m,mode=755");
    let guests = pair(lab);
    // Until not even a byte fits.
    guests[0].sh("cat /dev/zero >/fill; i=0; while echo x >/small-$i; do i=$((i + 1)); done");
    nothing_needs_room(&small, guests);
}

fn root_a_guest_that_takes_all_inodes_takes_nothing_from_the_administrator(lab: &Lab) {
    let small = Small::new(lab, "nr_inodes=800,mode=755");
    let guests = pair(lab);
    guests[0].sh("mkdir /many; i=0; while : >/many/$i; do i=$((i + 1)); done");
    nothing_needs_room(&small, guests);
}

fn root_on_a_read_only_disk_guests_end_and_what_stays_is_told(lab: &Lab) {
    let small = Small::new(lab, "mode=755");
    let [web, other] = pair(lab);
    let mut others_init = other.init();
    small.read_only(true);
    assert_eq!(web.state(), State::Running);
    web.container().freeze().must("freeze");
    web.container().unfreeze().must("unfreeze");
    let error = web.container().terminate().unwrap_err();
    assert!(error.lacks_room(), "{error:?}");
    let told = crate::harness::chain(&error);
    assert!(
        told.contains("cannot remove")
            && told.contains("/running/")
            && told.contains("Read-only file system"),
        "{told}"
    );
    assert_eq!(web.state(), State::Stopped);
    let error = other.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
    assert!(matches!(&error, Error::Remains { failures, .. } if failures.len() >= 3), "{error:?}");
    let told = error.to_string();
    assert!(told.contains(&format!("what stays of container `{}`", other.name())), "{told}");
    assert!(told.contains(&other.folder().display().to_string()), "{told}");
    assert_eq!(other.state(), State::Stopped);
    assert!(nixcloud_container::proc::Process::now(std::mem::take(&mut others_init)).is_none());
    // There is nothing left of either in the kernel: interfaces, cgroups, processes.
    let left = small.leaks();
    assert!(!left.iter().any(|left| left.starts_with("cgroup") || left.starts_with("network")), "{left:?}");
    small.read_only(false);
    web.start();
    web.terminate();
    web.destroy();
    other.destroy();
}

fn root_a_destroy_without_room_is_completed_where_it_was_cut_off(lab: &Lab) {
    let small = Small::new(lab, "size=6m,mode=755");
    let web = lab.busybox("web");
    web.create();
    small.fill();
    // Its last step cannot be done: the folder of records is held.
    let records = small.place.join("lib/nixcloud/container/records");
    let flags = |flags: &str| {
        assert!(std::process::Command::new("chattr").arg(flags).arg(&records).status().unwrap().success());
    };
    flags("+a");
    web.container().destroy(DestroyRequest::new()).unwrap_err();
    flags("-a");
    // A destroy that was begun is known by whoever comes next, although nothing could be written.
    assert_eq!(web.state(), State::Incomplete);
    assert!(web.container().start(&mut ()).is_err());
    web.destroy();
}

fn root_a_create_without_room_leaves_nothing(lab: &Lab) {
    let small = Small::new(lab, "size=6m,mode=755");
    small.fill();
    // At each step of it: a little more room every time, until it succeeds.
    let mut failures = 0;
    let created = (0..200).any(|_| {
        let web = lab.busybox("web");
        match web.try_create(&web.file()) {
            Ok(_) => {
                web.destroy();
                true
            }
            Err(error) => {
                assert!(!matches!(error, Error::Undo { .. }), "{error:?}");
                assert!(!web.container().exists().must("exists"), "it failed and is there: {error:?}");
                assert_eq!(small.leaks(), [] as [&str; 0]);
                failures += 1;
                let file = fs::File::options().write(true).open(small.place.join("fill")).unwrap();
                let length = file.metadata().unwrap().len();
                file.set_len(length.saturating_sub(5 * 4096)).unwrap();
                false
            }
        }
    });
    assert!(created && failures > 2, "{failures} failures");
}

/// LXC tells why in its log alone.
fn root_a_start_whose_log_has_no_room_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    // More than any kernel grants: LXC itself finds that out.
    web.create_from(&web.file().extra("lxc.prlimit.nofile = 2147483647"));
    let full = lab.path("/full");
    fs::create_dir(&full).unwrap();
    mount(Some("full"), &full, Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
    let log = LogRequest::new().with_file(full.join("lxc.log"));
    fs::write(full.join("lxc.log"), "").unwrap();
    let _ = fs::write(full.join("fill"), vec![b'x'; 1 << 20]);
    let request = StartRequest::new().with_log(log);
    let error = chain(&web.container().start_with(&request, &mut ()).unwrap_err());
    assert!(error.contains("lxc.log: No space left on device"), "{error}");
    umount2(&full, MntFlags::empty()).unwrap();
    fs::remove_dir(&full).unwrap();
    web.destroy();
    lab.assert_nothing_left();
}
