//! What the kernel tells of changes of folders (inotify): which watch, and the name in the folder.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;

/// The number of a watch of one [`Inotify`]. It is never given out twice.
pub(crate) type WatchId = i32;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Of what a watch is on, or of the entry of that name in it.
    Change { watch: WatchId, name: Option<OsString> },
    /// The watch is over: what it was on is gone, or it was removed.
    Over { watch: WatchId },
    /// Changes were lost: there were more than the kernel keeps.
    Overflow,
}

/// A queue of changes. It is readable when there are some.
#[derive(Debug)]
pub(crate) struct Inotify(OwnedFd);

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Inotify {
    /// # Errors
    /// When this user has as many as the host allows (`fs.inotify.max_user_instances`).
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches a folder for these changes; `None` where there is no such folder.
    ///
    /// # Errors
    /// When the kernel refuses: this user has as many watches as the host allows, for instance.
    pub(crate) fn folder(&self, path: &Path, changes: WatchFlags) -> io::Result<Option<WatchId>> {
        let flags = changes | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW | WatchFlags::EXCL_UNLINK;
        found(add_watch(self, path, flags))
    }

    /// Watches a file for these changes; `None` where there is none.
    ///
    /// # Errors
    /// As for [`folder`](Self::folder).
    pub(crate) fn file(&self, path: &Path, changes: WatchFlags) -> io::Result<Option<WatchId>> {
        found(add_watch(self, path, changes | WatchFlags::DONT_FOLLOW))
    }

    /// Watches a folder that is held open, whatever its path is.
    ///
    /// # Errors
    /// As for [`folder`](Self::folder).
    pub(crate) fn held_folder(&self, folder: impl AsFd, changes: WatchFlags) -> io::Result<Option<WatchId>> {
        let path = format!("/proc/self/fd/{}", folder.as_fd().as_raw_fd());
        found(add_watch(self, path, changes | WatchFlags::ONLYDIR | WatchFlags::EXCL_UNLINK))
    }

    /// Ends a watch; one that is over is no error.
    pub(crate) fn remove(&self, watch: WatchId) {
        let _ = remove_watch(self, watch);
    }

    /// All that is in the queue by now.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn read(&self) -> io::Result<Vec<Told>> {
        // Room for at least a dozen of the longest names.
        let mut room = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(self, &mut room);
        let mut told = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(told),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let watch = event.wd();
            told.push(if event.events().contains(ReadFlags::QUEUE_OVERFLOW) {
                Told::Overflow
            } else if event.events().contains(ReadFlags::IGNORED) {
                Told::Over { watch }
            } else {
                let name = event.file_name().map(|name| OsString::from_vec(name.to_bytes().to_vec()));
                Told::Change { watch, name }
            });
        }
    }
}

fn found(watch: Result<i32, Errno>) -> io::Result<Option<WatchId>> {
    match watch {
        Ok(watch) => Ok(Some(watch)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_names_and_the_end_of_a_folder_are_told() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("folder");
        let inotify = Inotify::new().unwrap();
        assert_eq!(inotify.folder(&folder, WatchFlags::CREATE).unwrap(), None);
        std::fs::create_dir(&folder).unwrap();
        let watch = inotify.folder(&folder, WatchFlags::CREATE).unwrap().unwrap();
        assert_eq!(inotify.read().unwrap(), []);
        std::fs::write(folder.join("file"), "").unwrap();
        assert_eq!(inotify.read().unwrap(), [Told::Change { watch, name: Some("file".into()) }]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(inotify.read().unwrap(), [Told::Over { watch }]);
        let held = std::fs::File::open(temp.path()).unwrap();
        let watch = inotify.held_folder(&held, WatchFlags::CREATE).unwrap().unwrap();
        drop(held);
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(inotify.read().unwrap(), [Told::Change { watch, name: Some("folder".into()) }]);
        inotify.remove(watch);
        assert_eq!(inotify.read().unwrap(), [Told::Over { watch }]);
    }
}
