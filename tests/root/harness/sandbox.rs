//! The namespaces of one scenario: a network with nothing but `lo`, and mounts that nobody else sees.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nixcloud_container::net::Netlink;

const NONE: Option<&str> = None;

/// Enters them. `scratch` is an empty folder.
pub fn enter(scratch: &Path) {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
    own_sys(scratch);
    Netlink::open().unwrap().set_up("lo").unwrap();
}

/// `/sys/class/net` shows the network that `/sys` was mounted in, and LXC looks there: a new `/sys`, with what is
/// mounted below the old one.
fn own_sys(scratch: &Path) {
    mount(Some("sysfs"), scratch, Some("sysfs"), MsFlags::empty(), NONE).unwrap();
    let below: Vec<String> = fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .filter_map(|line| line.split(' ').nth(4)?.strip_prefix("/sys/").map(str::to_owned))
        .collect();
    for place in &below {
        // What is below one of these comes along with it.
        if !below.iter().any(|other| other != place && Path::new(place).starts_with(other)) {
            let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
            mount(Some(&Path::new("/sys").join(place)), &scratch.join(place), NONE, flags, NONE).unwrap();
        }
    }
    mount(Some(scratch), "/sys", NONE, MsFlags::MS_MOVE, NONE).unwrap();
}
