//! The layer of ours in a store that has in it what is needed alone: which paths of the host's store a guest sees.
//!
//! ```text
//! LXCPATH/NAME/locked/paths/    tmpfs, in the mount namespace of the guest's monitor
//!   shown/    what is seen: HASH-NAME, an empty folder, file or a link -> "/HASH-NAME" of the lower layer
//!   coming/   what is being made
//!   going/    what was taken away a moment ago, and may be in use
//!   unsure    there while the kernel may remember of a name in `shown` that it was not there
//! ```
//!
//! Each step is one rename: whoever is cut off leaves each path seen or not, and the next one goes on from there. What was
//! `going` is put back first, since a path that is in use is to be the one that it was.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::nix::mount::{MsFlags, mount};
use rustix::fs::{AtFlags, CWD, FlockOperation, Timespec, Timestamps, XattrFlags};
use rustix::fs::{flock, lgetxattr, lsetxattr, utimensat};

use super::mounts::{MountError, NONE, failed};
use crate::model::layout::NIX_STORE;

/// What the guest sees.
pub(super) const SHOWN: &str = "shown";
const COMING: &str = "coming";
const GOING: &str = "going";
const UNSURE: &str = "unsure";

/// The kernel's notes: by which name a folder or file is found in the lower layer, and that a file has its content there.
const REDIRECT: &str = "trusted.overlay.redirect";
const METACOPY: &str = "trusted.overlay.metacopy";

/// When what is shown was last asked for.
const ASKED: &str = "trusted.nixcloud-container.asked";

/// How often a path that was added is looked for: somebody may be looking it up just now.
const TRIES: u32 = 50;

/// How long is waited between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// The longest pause, each twice as long as the one before, in which a path that was taken away is let go: a process of the guest's
/// that has a file in it open keeps it, and those that the activation has stopped are about to end.
const LAST_PAUSE: Duration = Duration::from_millis(64);

/// What becomes of what is shown.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// What is to be seen.
    pub(super) wanted: BTreeSet<String>,
    /// What may go, by packages: one of which a path is in use stays whole.
    pub(super) leaving: Vec<BTreeSet<String>>,
    /// When that was asked for, by the clock since the host was booted: of two of which the first was cut off, and its worker
    /// goes on, the later one counts.
    pub(super) asked: u64,
}

/// The layer, in a mount namespace where it is to be seen.
#[derive(Debug)]
pub(super) struct Paths {
    folder: PathBuf,
}

impl Paths {
    /// The layer in `folder`.
    pub(super) fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn shown(&self) -> PathBuf {
        self.folder.join(SHOWN)
    }

    fn coming(&self) -> PathBuf {
        self.folder.join(COMING)
    }

    fn going(&self) -> PathBuf {
        self.folder.join(GOING)
    }

    /// Makes it, for a guest whose root is `owner`, with those paths in it.
    pub(super) fn make(&self, names: &BTreeSet<String>, owner: u32) -> Result<(), MountError> {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("paths"), &self.folder, Some("tmpfs"), flags, Some("mode=700"))
            .map_err(failed("mount a folder on", &self.folder))?;
        for (place, mode) in [(self.shown(), 0o755), (self.coming(), 0o700), (self.going(), 0o700)] {
            std::fs::DirBuilder::new().mode(mode).create(&place).map_err(failed("make", &place))?;
        }
        let shown = self.shown();
        lchown(&shown, Some(owner), Some(owner)).map_err(failed("make", &shown))?;
        names.iter().try_for_each(|name| entry(&shown.join(name), name, owner))
    }

    /// Makes the paths of `change` the ones that are seen in `store`, the guest's mount. Returns the numbers of the packages
    /// that stay although they could go, since processes of the guest have them in use.
    pub(super) fn change(&self, store: &Path, change: &Change) -> Result<Vec<usize>, MountError> {
        let _only = self.take(change.asked)?;
        let unsure = self.put_back()? || self.unsure().exists();
        let now = list(&self.shown())?;
        let new: BTreeSet<&String> = change.wanted.difference(&now).collect();
        if unsure || !new.is_empty() {
            File::create(self.unsure()).map_err(failed("make", &self.unsure()))?;
            self.show(&new)?;
            forget_names(store)?;
            // Who was cut off here had not looked at his.
            let looked_for: BTreeSet<&String> = if unsure { change.wanted.iter().collect() } else { new };
            looked_for.iter().try_for_each(|name| await_seen(store, name))?;
            std::fs::remove_file(self.unsure()).map_err(failed("remove", &self.unsure()))?;
        }
        let stale = now.difference(&change.wanted).cloned().collect();
        let kept = self.hide(store, &stale, &change.leaving)?;
        self.clear()?;
        Ok(kept)
    }

    fn unsure(&self) -> PathBuf {
        self.folder.join(UNSURE)
    }

    /// Waits for whoever changes it, and is the only one until the file is closed. Whoever was asked earlier than another one
    /// that was here already comes too late: it was cut off, and its worker is all that is left of it.
    fn take(&self, asked: u64) -> Result<File, MountError> {
        let take = || {
            let held = File::open(&self.folder)?;
            rustix::io::retry_on_intr(|| flock(&held, FlockOperation::LockExclusive))?;
            let mut noted = [0; 8];
            let last = match lgetxattr(&self.folder, ASKED, &mut noted) {
                Ok(_) => u64::from_ne_bytes(noted),
                Err(rustix::io::Errno::NODATA) => 0,
                Err(errno) => return Err(errno.into()),
            };
            if last <= asked {
                lsetxattr(&self.folder, ASKED, &asked.to_ne_bytes(), XattrFlags::empty())?;
            }
            Ok((held, last))
        };
        let (held, last) = take().map_err(|error: io::Error| failed("take hold of", &self.folder)(error))?;
        if asked < last { Err(MountError::Late) } else { Ok(held) }
    }

    /// Puts back what somebody was taking away who was cut off, and removes what he was making. Whether there was any of the
    /// first.
    fn put_back(&self) -> Result<bool, MountError> {
        let going = list(&self.going())?;
        // Before the first of them is there again.
        if !going.is_empty() {
            File::create(self.unsure()).map_err(failed("make", &self.unsure()))?;
        }
        going.iter().try_for_each(|name| step(&self.going(), &self.shown(), name))?;
        remove_all(&self.coming())?;
        Ok(!going.is_empty())
    }

    /// Adds paths.
    fn show(&self, names: &BTreeSet<&String>) -> Result<(), MountError> {
        let owner = self.shown().metadata().map_err(failed("look at", &self.shown()))?.uid();
        for name in names {
            entry(&self.coming().join(name), name, owner)?;
            // Seen whole or not at all.
            step(&self.coming(), &self.shown(), name)?;
        }
        Ok(())
    }

    /// Takes paths away, but for what is in use and the packages that it is of.
    fn hide(
        &self,
        store: &Path,
        stale: &BTreeSet<String>,
        leaving: &[BTreeSet<String>],
    ) -> Result<Vec<usize>, MountError> {
        if stale.is_empty() {
            return Ok(Vec::new());
        }
        stale.iter().try_for_each(|name| step(&self.shown(), &self.going(), name))?;
        let mut in_use = stale.clone();
        let mut pause = PAUSE;
        loop {
            forget_names(store)?;
            in_use.retain(|name| store.join(name).symlink_metadata().is_ok());
            if in_use.is_empty() {
                return Ok(Vec::new());
            }
            if pause > LAST_PAUSE {
                break;
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        let (mut kept, mut back) = (Vec::new(), in_use.clone());
        for (number, package) in leaving.iter().enumerate() {
            if !package.is_disjoint(&in_use) {
                kept.push(number);
                // What has a part of it in use may want the rest.
                back.extend(package.intersection(stale).cloned());
            }
        }
        File::create(self.unsure()).map_err(failed("make", &self.unsure()))?;
        back.iter().try_for_each(|name| step(&self.going(), &self.shown(), name))?;
        forget_names(store)?;
        back.iter().try_for_each(|name| await_seen(store, name))?;
        std::fs::remove_file(self.unsure()).map_err(failed("remove", &self.unsure()))?;
        Ok(kept)
    }

    /// Removes what was taken away.
    fn clear(&self) -> Result<(), MountError> {
        remove_all(&self.going())
    }
}

/// Makes at `place` what stands for a path of the store in the layer of ours.
fn entry(place: &Path, name: &str, owner: u32) -> Result<(), MountError> {
    let source = Path::new(NIX_STORE).join(name);
    let found = source.symlink_metadata().map_err(failed("find the store path", &source))?;
    let make = || {
        let kind = found.file_type();
        if kind.is_symlink() {
            symlink(std::fs::read_link(&source)?, place)?;
        } else {
            let mode = found.mode() & 0o555;
            if kind.is_dir() {
                std::fs::DirBuilder::new().mode(mode).create(place)?;
            } else if kind.is_file() {
                let file = File::options().write(true).create_new(true).mode(mode).open(place)?;
                file.set_len(found.size())?;
                lsetxattr(place, METACOPY, b"", XattrFlags::CREATE)?;
            } else {
                return Err(io::Error::other("it is neither a file, a folder nor a link"));
            }
            let redirect = format!("/{name}");
            lsetxattr(place, REDIRECT, redirect.as_bytes(), XattrFlags::CREATE)?;
        }
        lchown(place, Some(owner), Some(owner))?;
        let time = Timespec { tv_sec: found.mtime(), tv_nsec: found.mtime_nsec() };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    };
    make().map_err(failed("show the store path", &source))
}

/// Moves a path from one folder of the layer to another.
fn step(from: &Path, to: &Path, name: &str) -> Result<(), MountError> {
    std::fs::rename(from.join(name), to.join(name)).map_err(failed("move", &from.join(name)))
}

/// Waits until a path is seen.
fn await_seen(store: &Path, name: &str) -> Result<(), MountError> {
    let path = store.join(name);
    for _ in 0..TRIES {
        if is_seen(store, name).map_err(failed("look at", &path))? {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        forget_names(store)?;
    }
    Err(MountError::Unseen { path: Path::new(NIX_STORE).join(name) })
}

/// Whether a path is seen through the overlay, and is what it is in the store: the kernel may remember that it was not there,
/// or what has been removed since.
fn is_seen(store: &Path, name: &str) -> io::Result<bool> {
    let seen = || {
        let seen = store.join(name);
        if !seen.symlink_metadata()?.is_dir() {
            return Ok(true);
        }
        let is_empty =
            |folder: &Path| Ok::<_, io::Error>(std::fs::read_dir(folder)?.next().transpose()?.is_none());
        Ok(is_empty(&seen)? == is_empty(&Path::new(NIX_STORE).join(name))?)
    };
    seen().or_else(
        |error: io::Error| if error.kind() == io::ErrorKind::NotFound { Ok(false) } else { Err(error) },
    )
}

/// Lets the kernel forget what it remembers of names in the overlay that nobody has in use, also of those that were not there.
fn forget_names(store: &Path) -> Result<(), MountError> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(NONE, store, NONE, flags, NONE).map_err(failed("remount", store))
}

/// The names in a folder.
fn list(folder: &Path) -> Result<BTreeSet<String>, MountError> {
    let read = || {
        let entries = std::fs::read_dir(folder)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<_>>()
    };
    read().map_err(failed("list", folder))
}

/// Empties a folder of the layer, in which each folder is empty.
fn remove_all(folder: &Path) -> Result<(), MountError> {
    for name in list(folder)? {
        let left = folder.join(&name);
        let is_folder = left.symlink_metadata().is_ok_and(|found| found.is_dir());
        let removed = if is_folder { std::fs::remove_dir(&left) } else { std::fs::remove_file(&left) };
        removed.map_err(failed("remove", &left))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::protocol::StoreClosure;
    use crate::worker::store;

    /// In a mount namespace of its own: three paths of this machine's store, of which the first two are shown.
    fn in_a_guests_place(test: impl FnOnce(&Paths, &Path, &[String]) + Send) {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().canonicalize().unwrap();
        let entries = std::fs::read_dir(NIX_STORE).unwrap().map(|entry| entry.unwrap());
        let filled = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut inside| inside.next().is_some());
        let whole = entries.filter(|entry| entry.file_type().unwrap().is_dir() && filled(&entry.path()));
        let names: Vec<String> = whole
            .map(|entry| entry.file_name().into_string().unwrap())
            .filter(|name| !name.starts_with('.'))
            .take(3)
            .collect();
        assert_eq!(names.len(), 3);
        let list = place.join("list");
        let shown = crate::model::store_view::closure_text(names[..2].iter().map(String::as_str));
        std::fs::write(&list, shown).unwrap();
        let made = place.join("locked");
        std::fs::create_dir(&made).unwrap();
        std::thread::scope(|scope| {
            let run = || {
                crate::sys::process::private_mounts().unwrap();
                let closure = StoreClosure { lists: vec![list], ids: None };
                store::make(&made, &closure, None).unwrap();
                test(&Paths::at(made.join("paths")), &made.join("store"), &names);
            };
            scope.spawn(run).join().unwrap();
        });
    }

    fn change(wanted: &[String], asked: u64) -> Change {
        Change { wanted: wanted.iter().cloned().collect(), leaving: Vec::new(), asked }
    }

    fn inside(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn root_a_change_that_was_cut_off_is_ended_by_the_next() {
        in_a_guests_place(|paths, store, names| {
            let host = |name: &String| inside(&Path::new(NIX_STORE).join(name));
            assert_eq!(list(store).unwrap().into_iter().collect::<Vec<_>>(), {
                let mut two = names[..2].to_vec();
                two.sort();
                two
            });
            // As one leaves it who is killed while he takes the first away and makes the third.
            step(&paths.shown(), &paths.going(), &names[0]).unwrap();
            forget_names(store).unwrap();
            assert!(!store.join(&names[0]).exists());
            std::fs::create_dir(paths.coming().join(&names[2])).unwrap();
            paths.change(store, &change(names, 1)).unwrap();
            for name in names {
                assert_eq!(inside(&store.join(name)), host(name), "{name}");
            }
            // As one leaves it who is killed before he has looked: the kernel remembers that there is none.
            step(&paths.shown(), &paths.going(), &names[2]).unwrap();
            forget_names(store).unwrap();
            assert!(!store.join(&names[2]).exists());
            File::create(paths.unsure()).unwrap();
            step(&paths.going(), &paths.shown(), &names[2]).unwrap();
            assert!(!store.join(&names[2]).exists());
            paths.change(store, &change(names, 2)).unwrap();
            assert_eq!(inside(&store.join(&names[2])), host(&names[2]));
            assert!(!paths.unsure().exists());
            // What is open stays, and so does what is of its package.
            let open = File::open(store.join(&names[1])).unwrap();
            let leaving = vec![names[..1].iter().cloned().collect(), names[1..].iter().cloned().collect()];
            let none = Change { leaving, ..change(&[], 3) };
            assert_eq!(paths.change(store, &none).unwrap(), [1]);
            assert!(!store.join(&names[0]).exists());
            assert_eq!(
                (inside(&store.join(&names[1])), inside(&store.join(&names[2]))),
                (host(&names[1]), host(&names[2]))
            );
            drop(open);
            assert_eq!(paths.change(store, &none).unwrap(), [0; 0]);
            assert_eq!((inside(store), inside(&paths.going())), (0, 0));
        });
    }

    #[test]
    fn root_of_two_changes_the_later_one_counts() {
        in_a_guests_place(|paths, store, names| {
            paths.change(store, &change(names, 7)).unwrap();
            // The worker of one that was killed before.
            let late = paths.change(store, &change(&names[..1], 6)).unwrap_err();
            assert!(matches!(late, MountError::Late), "{late}");
            assert_eq!(inside(store), 3);
            // While another one is at work, the next one waits.
            let held = paths.take(8).unwrap();
            let done = std::sync::atomic::AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    paths.change(store, &change(&names[..1], 9)).unwrap();
                    done.store(true, std::sync::atomic::Ordering::Relaxed);
                });
                std::thread::sleep(Duration::from_millis(50));
                assert!(!done.load(std::sync::atomic::Ordering::Relaxed));
                drop(held);
            });
            assert_eq!(inside(store), 1);
        });
    }
}
