//! How many files a tree has, and what they take. It is for people: what cannot be looked at is not counted.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, SeekFrom};

use super::beneath;
use super::walk::{Error, Way};

/// What there is in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeUsage {
    /// Whatever is no directory.
    pub files: u64,
    /// The bytes that it takes on its file systems; of a file with several names its share.
    pub bytes: u64,
}

/// Counts what is in `root`, as far as it can be looked at. Neither links nor mounts are followed. Guests may run in it.
#[must_use]
pub fn of(root: &Path, cancelled: &dyn Fn() -> bool) -> TreeUsage {
    let mut usage = TreeUsage::default();
    if let Ok(top) = beneath::open_root(root)
        && let Err(error) = count(Way::new(root), top, &mut usage, cancelled)
    {
        tracing::debug!(path = %root.display(), %error, "not all of it is counted");
    }
    usage
}

fn count(
    mut way: Way<'_>,
    top: OwnedFd,
    usage: &mut TreeUsage,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Error> {
    way.begin(top.as_fd())?;
    let mut here = top;
    loop {
        match next_directory(&mut way, here.as_fd(), usage, cancelled)? {
            // One that cannot be entered is left out.
            Some(name) => match way.enter(here.as_fd(), name) {
                Ok(Some(below)) => {
                    way.count_newer()?;
                    here = below;
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::trace!(%error, "passed over");
                }
            },
            None if way.stack.len() == 1 => return Ok(()),
            None => {
                here = way.leave(here.as_fd())?;
                way.stack.pop();
            }
        }
    }
}

/// Counts the entries of `dir`, batch by batch, and names the directories among them one by one.
fn next_directory(
    way: &mut Way<'_>,
    dir: BorrowedFd<'_>,
    usage: &mut TreeUsage,
    cancelled: &dyn Fn() -> bool,
) -> Result<Option<CString>, Error> {
    loop {
        if cancelled() {
            return Err(Error::Cancelled);
        }
        let Some(frame) = way.stack.last_mut() else { return Ok(None) };
        if let Some(name) = frame.pending.pop() {
            return Ok(Some(name));
        }
        let position = SeekFrom::Start(frame.position);
        rustix::fs::seek(dir, position).map_err(|errno| way.failed("read", None, errno))?;
        let batch = way.read_batch(dir)?;
        if batch.is_empty() {
            return Ok(None);
        }
        let position =
            rustix::fs::seek(dir, SeekFrom::Current(0)).map_err(|errno| way.failed("read", None, errno))?;
        let mut directories = Vec::new();
        for (name, _) in batch {
            way.met()?;
            let Ok(stat) = rustix::fs::statat(dir, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                directories.push(name);
            } else {
                usage.files += 1;
                usage.bytes = usage.bytes.saturating_add(bytes / names(&stat));
            }
        }
        if let Some(frame) = way.stack.last_mut() {
            (frame.pending, frame.position) = (directories, position);
        }
    }
}

/// How many names a file has. (The type of the number is another one on each architecture.)
fn names(stat: &rustix::fs::Stat) -> u64 {
    u64::try_from(i128::from(stat.st_nlink)).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_and_links_are_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("root");
        std::fs::create_dir_all(root.join("a/b/c")).unwrap();
        assert_eq!(of(&root, &|| false), TreeUsage::default());
        std::fs::write(root.join("a/b/file"), vec![1; 100_000]).unwrap();
        std::fs::hard_link(root.join("a/b/file"), root.join("a/other")).unwrap();
        std::os::unix::fs::symlink("/usr", root.join("a/link")).unwrap();
        let usage = of(&root, &|| false);
        assert_eq!(usage.files, 3);
        assert!((90_000..200_000).contains(&usage.bytes), "{usage:?}");
        assert_eq!(of(&temp.path().join("none"), &|| false), TreeUsage::default());
    }
}
