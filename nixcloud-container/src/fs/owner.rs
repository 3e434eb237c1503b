//! The owners of a tree, moved from one range of ids to another, with all that a change of owner would lose.
//!
//! Every inode is found by its name in an open directory, never through a link or a mount, and changed by the
//! descriptor that was found. Ids of the old range are moved, ids of the new one are left, so that a second run
//! completes one that was killed.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, SeekFrom, Uid};
use rustix::io::Errno;

use super::error::FileError;
pub use super::shift::Shift;
pub use super::walk::Error;
use super::walk::Way;
use super::{beneath, xattr};

/// After how many inodes the caller is asked whether to go on.
const ASK: u64 = 256;

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Names that were looked at.
    pub seen: u64,
    /// Owners that were changed.
    pub changed: u64,
    /// Names whose owner or group is in neither range, left as they are.
    pub strange: u64,
    /// The first of them.
    pub example: Option<PathBuf>,
    /// What something is mounted on, left as it is.
    pub mounted: Vec<PathBuf>,
}

/// Moves the owners of all that is in `root`, and of `root` itself. Set-user-id and set-group-id bits, POSIX ACLs and
/// file capabilities are moved along. `cancelled` is asked now and then.
///
/// Nothing else may change the tree meanwhile. It is on disk when this returns.
///
/// # Errors
///
/// [`Error`]; a second call goes on from there.
pub fn shift(root: &Path, shift: Shift, cancelled: &dyn Fn() -> bool) -> Result<Moved, Error> {
    let top = beneath::open_root(root).map_err(|error| match error {
        beneath::Error::Io(refused) => refused.into(),
        _ => Error::NotADirectory { path: root.to_owned() },
    })?;
    let mut walk = Walk { way: Way::new(root), shift, moved: Moved::default(), cancelled };
    walk.way.begin(top.as_fd())?;
    walk.own(top.as_fd(), None)?;
    let moved = walk.run(top.try_clone().map_err(FileError::at("open", root))?)?;
    rustix::fs::syncfs(&top).map_err(FileError::at("write", root))?;
    tracing::debug!(path = %root.display(), ?shift, ?moved, "owners moved");
    Ok(moved)
}

struct Walk<'a> {
    way: Way<'a>,
    shift: Shift,
    moved: Moved,
    cancelled: &'a dyn Fn() -> bool,
}

impl Walk<'_> {
    fn run(mut self, top: OwnedFd) -> Result<Moved, Error> {
        let mut here = top;
        loop {
            if let Some(name) = self.next_directory(here.as_fd())? {
                if let Some(below) = self.way.enter(here.as_fd(), name)? {
                    here = below;
                }
                continue;
            }
            if self.way.stack.len() == 1 {
                return Ok(self.moved);
            }
            here = self.way.leave(here.as_fd())?;
            self.way.stack.pop();
        }
    }

    /// Moves the owners of the entries of `dir`, batch by batch, and names the directories among them one by one.
    /// What is remembered is one batch in each directory on the way, however many entries a guest has made.
    fn next_directory(&mut self, dir: BorrowedFd<'_>) -> Result<Option<CString>, Error> {
        loop {
            let Some(frame) = self.way.stack.last_mut() else { return Ok(None) };
            if let Some(name) = frame.pending.pop() {
                return Ok(Some(name));
            }
            let position = SeekFrom::Start(frame.position);
            rustix::fs::seek(dir, position).map_err(|errno| self.way.failed("read", None, errno))?;
            let batch = self.way.read_batch(dir)?;
            if batch.is_empty() {
                return Ok(None);
            }
            let position = rustix::fs::seek(dir, SeekFrom::Current(0))
                .map_err(|errno| self.way.failed("read", None, errno))?;
            let mut directories = Vec::new();
            for (name, _) in batch {
                self.way.met()?;
                if self.entry(dir, &name)? {
                    directories.push(name);
                }
            }
            if let Some(frame) = self.way.stack.last_mut() {
                (frame.pending, frame.position) = (directories, position);
            }
        }
    }

    /// Moves one entry; says whether it is a directory to be entered.
    fn entry(&mut self, dir: BorrowedFd<'_>, name: &CString) -> Result<bool, Error> {
        if self.moved.seen.is_multiple_of(ASK) && (self.cancelled)() {
            return Err(Error::Cancelled);
        }
        match beneath::find_at(dir, Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))) {
            Ok(found) => self.own(found.as_fd(), Some(name)),
            Err(Errno::XDEV) => {
                self.moved.mounted.push(self.way.path_of(Some(name)));
                Ok(false)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.way.failed("open", Some(name), errno)),
        }
    }

    /// Moves the owner of what is open; says whether that is a directory.
    fn own(&mut self, found: BorrowedFd<'_>, name: Option<&CString>) -> Result<bool, Error> {
        let stat = rustix::fs::fstat(found)
            .map_err(|errno| self.way.failed("inspect", name.map(CString::as_c_str), errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        self.moved.seen += 1;
        let known = |id| self.shift.moved(id).is_some() || self.shift.is_new(id);
        if !known(stat.st_uid) || !known(stat.st_gid) {
            self.moved.strange += 1;
            if self.moved.example.is_none() {
                self.moved.example = Some(self.way.path_of(name.map(CString::as_c_str)));
            }
        }
        match self.change(found, &stat, kind) {
            Ok(changed) => self.moved.changed += u64::from(changed),
            Err(errno) => {
                return Err(self.way.failed("change the owner of", name.map(CString::as_c_str), errno));
            }
        }
        Ok(kind == FileType::Directory)
    }

    fn change(&self, found: BorrowedFd<'_>, stat: &rustix::fs::Stat, kind: FileType) -> Result<bool, Errno> {
        let (uid, gid) = (self.shift.moved(stat.st_uid), self.shift.moved(stat.st_gid));
        let changes = uid.is_some() || gid.is_some();
        let chown = || {
            let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
            rustix::fs::chownat(found, "", uid, gid, AtFlags::EMPTY_PATH)
        };
        // A link has neither mode nor any of these attributes.
        if kind == FileType::Symlink {
            if changes {
                chown()?;
            }
            return Ok(changes);
        }
        // What was found without opening it has no other way to its attributes and its mode.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let attributes = xattr::Attributes::of(&path)?;
        attributes.move_acls(&path, self.shift)?;
        let mode = stat.st_mode & 0o7777;
        let privileges = attributes.privileges(&path, mode, self.shift)?;
        // A directory keeps all it has when its owner changes.
        let loses = kind != FileType::Directory && (mode & 0o6000 != 0 || privileges.caps.is_some());
        if changes && loses {
            privileges.note(&path)?;
        }
        if changes {
            chown()?;
        }
        if (changes && loses) || privileges.stale {
            privileges.restore(&path)?;
        }
        Ok(changes)
    }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
