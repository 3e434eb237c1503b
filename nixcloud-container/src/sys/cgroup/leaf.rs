//! A cgroup of its own for one command in a guest: whatever the command starts is in it, whatever session, process group and
//! parent that gives itself, so that all of it can be ended.
//!
//! Guest root can move processes of the guest about within the guest's cgroup, and so out of this one, too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{PAYLOAD, TICK, memberships, processes_in, remove_empty, write_there};
use crate::sys::pidfd::PidFd;
use crate::sys::proc::{self, Process};

/// What they are called, before the worker's pid and the time of the boot: nobody's unit in a guest begins with a dot.
const LEAF: &str = ".nixcloud-run-";

/// How often it is made again, since whoever comes next takes away those that are empty.
const TRIES: u32 = 5;

/// The cgroup of one command.
#[derive(Debug)]
pub struct Leaf(PathBuf);

impl Leaf {
    /// Puts a process of the guest with this init into a cgroup of its own, below the guest's. What earlier commands left
    /// there empty is taken away.
    ///
    /// # Errors
    /// When the guest is on no hierarchy that can end all of a cgroup: neither v2 nor the freezer of v1. What the kernel refuses.
    pub fn take(init: Process, process: i32) -> io::Result<Self> {
        let guest = payload(init)?;
        for left in fs::read_dir(&guest).into_iter().flatten().flatten() {
            if left.file_name().as_encoded_bytes().starts_with(LEAF.as_bytes()) {
                remove_empty(&left.path());
            }
        }
        let name = format!("{LEAF}{}-{:x}", std::process::id(), proc::uptime().as_nanos());
        let leaf = guest.join(name);
        for _ in 1..TRIES {
            match enter(&leaf, process) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && guest.is_dir() => {}
                other => return other.map(|()| Self(leaf)),
            }
        }
        enter(&leaf, process).map(|()| Self(leaf))
    }

    /// Sends a signal to all that is in it by now.
    pub fn signal(&self, number: i32) {
        for process in processes_in(&self.0) {
            // One that cannot be signalled is ended with the rest.
            if let Ok(Some(pidfd)) = PidFd::open(process) {
                let _ = pidfd.signal(number);
            }
        }
    }

    /// Whether nothing is in it any more.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        processes_in(&self.0).is_empty()
    }

    /// Ends all that is in it, at once, and takes it away. What cannot be ended within `limit` stays.
    pub fn end(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.is_vacant() && Instant::now() < end {
            self.kill();
            std::thread::sleep(TICK);
        }
        remove_empty(&self.0);
    }

    fn kill(&self) {
        // Since 5.14 the kernel does it for all of a cgroup of v2, also for what is being forked meanwhile.
        if write_there(&self.0.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Else none of them makes others while they are gone through. What is frozen takes its signal when it is thawed. (Where
        // there is no such file, there is the other.)
        let freeze = |v1: &str, v2: &str| {
            let _ = write_there(&self.0.join("freezer.state"), v1);
            let _ = write_there(&self.0.join("cgroup.freeze"), v2);
        };
        freeze("FROZEN", "1");
        self.signal(libc::SIGKILL);
        freeze("THAWED", "0");
    }
}

/// Whoever still is in it, since the command left it behind, keeps it.
impl Drop for Leaf {
    fn drop(&mut self) {
        remove_empty(&self.0);
    }
}

fn enter(leaf: &Path, process: i32) -> io::Result<()> {
    match fs::create_dir(leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    write_there(&leaf.join("cgroup.procs"), &process.to_string())
}

/// The guest's cgroup where all of one can be ended.
fn payload(init: Process) -> io::Result<PathBuf> {
    let found = memberships(&init.pid.to_string())?;
    let of = |freezer: bool| {
        let there = found.iter().find(|membership| {
            let v1 = membership.controllers.split(',').any(|controller| controller == "freezer");
            if freezer { v1 } else { membership.controllers.is_empty() }
        })?;
        // systemd in the guest moves itself into a cgroup below.
        let is_payload = |part: &Path| {
            part.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PAYLOAD.as_bytes()))
        };
        let own = there.path.ancestors().find(|part| is_payload(part))?;
        Some(there.mount.join(own)).filter(|folder| folder.join("cgroup.procs").exists())
    };
    of(false).or_else(|| of(true)).ok_or_else(|| {
        let why = "the container is in no cgroup of version 2 and in none of the freezer, by which all of a command could be ended";
        io::Error::new(io::ErrorKind::Unsupported, why)
    })
}
