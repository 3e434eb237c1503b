//! What is open for one running guest while it is watched: its init, and as long as it boots what shows that it has booted.

use std::cell::Cell;
use std::fs::File;
use std::io;

use rustix::fs::inotify::WatchFlags;

use crate::sys::cgroup;
use crate::sys::inotify::{Inotify, WatchId};
use crate::sys::pidfd::{Ended, PidFd, Told};
use crate::sys::proc::Process;
use crate::sys::readiness::Readiness;
use crate::worker;

/// Of one guest.
#[derive(Debug)]
pub(super) struct Eyes {
    pub(super) init: Process,
    /// By which number its descriptors are known.
    number: u64,
    pidfd: PidFd,
    /// How its init ended, once that is known.
    ended: Cell<Option<Ended>>,
    /// The guest's mounts while it boots: what is watched may be hidden by one.
    mounts: Option<File>,
    /// The folder where the end of its activation shows.
    pub(super) links: Option<WatchId>,
    /// Its cgroups, which tell of a freeze on cgroup v2 alone.
    pub(super) cgroups: Vec<WatchId>,
}

impl Eyes {
    /// Opens them; `None` where that init has ended.
    pub(super) fn open(
        init: Process,
        number: u64,
        boots: bool,
        ready: &Readiness,
        inotify: &Inotify,
    ) -> io::Result<Option<Self>> {
        let Some(pidfd) = PidFd::open(init)? else { return Ok(None) };
        ready.add_news(&pidfd, number)?;
        let mut eyes = Self {
            init,
            number,
            pidfd,
            ended: Cell::new(None),
            mounts: None,
            links: None,
            cgroups: Vec::new(),
        };
        let opened = eyes.open_rest(boots, ready, inotify);
        if let Err(error) = opened {
            eyes.close(ready, inotify);
            return Err(error);
        }
        Ok(Some(eyes))
    }

    fn open_rest(&mut self, boots: bool, ready: &Readiness, inotify: &Inotify) -> io::Result<()> {
        for cgroup in cgroup::of(&[self.init]) {
            self.cgroups.extend(inotify.file(&cgroup.join("cgroup.events"), WatchFlags::MODIFY)?);
        }
        if boots && let Ok(mounts) = File::open(format!("/proc/{}/mountinfo", self.init.pid)) {
            ready.add_news(&mounts, self.number)?;
            self.mounts = Some(mounts);
            self.follow_links(inotify)?;
        }
        Ok(())
    }

    /// Watches the folder that the guest has by now for what shows the end of its activation.
    pub(super) fn follow_links(&mut self, inotify: &Inotify) -> io::Result<()> {
        if self.mounts.is_none() {
            return Ok(());
        }
        let changes = WatchFlags::CREATE | WatchFlags::MOVED_TO;
        // A folder that the guest keeps even from the host's root tells nothing; it is no reason to stop watching.
        let links = worker::links_folder(self.init).and_then(|run| inotify.held_folder(run, changes).ok()?);
        if let Some(before) = self.links.filter(|before| Some(*before) != links) {
            inotify.remove(before);
        }
        self.links = links;
        Ok(())
    }

    /// It has booted: what shows that is of no more use.
    pub(super) fn booted(&mut self, ready: &Readiness, inotify: &Inotify) {
        if let Some(mounts) = self.mounts.take() {
            ready.remove(mounts);
        }
        if let Some(links) = self.links.take() {
            inotify.remove(links);
        }
    }

    /// Takes note of how its init ended, as soon as that is known, and before its parent has where the kernel tells it only then.
    pub(super) fn ended(&self) -> Option<Ended> {
        // As `wait` would have it, which is more exact, and gone as soon as the parent has taken note.
        let of_zombie = || self.init.zombie_status().map(Ended::of_status);
        let of_pidfd = || match self.pidfd.told() {
            Told::Exit(ended) => Some(ended),
            Told::NotYet | Told::Nothing => None,
        };
        let ended = self.ended.get().or_else(of_zombie).or_else(of_pidfd);
        self.ended.set(ended);
        ended
    }

    pub(super) fn close(mut self, ready: &Readiness, inotify: &Inotify) {
        self.booted(ready, inotify);
        ready.remove(&self.pidfd);
        for watch in self.cgroups {
            inotify.remove(watch);
        }
    }
}
