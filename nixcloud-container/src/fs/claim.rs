//! A file that exactly one of many processes creates: the claim to what its name says, held by whom its contents
//! say. Contents are complete as soon as the name is visible.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::atomic::{self, Content, Durability};
use super::error::FileError;

/// More than any claim of ours: a larger file is none.
const LARGEST: u64 = 64 * 1024;

/// Why a claim could not be made or given up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The contents could not be written.
    #[error(transparent)]
    Write(#[from] atomic::Error),
}

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is new and ours.
    New,
    /// It was there with just these contents: ours since before (a resumed operation).
    Ours,
    /// Another holds it.
    Held {
        /// What the holder wrote.
        contents: Vec<u8>,
    },
}

/// Creates `path` with `contents`, mode 0600, unless there is something of that name. A new claim is on the disk
/// when this returns.
///
/// # Errors
///
/// [`Error`], also when `path` is something other than a file.
pub fn create(path: &Path, contents: &[u8]) -> Result<Claim, Error> {
    let failed = |action, errno: Errno| FileError::new(action, path, errno);
    let (dir, name) = atomic::split(path)?;
    // The usual refusal costs neither a file nor a sync.
    if let Some((held, _)) = read(dir.as_fd(), path)? {
        return Ok(held_or_ours(held, contents));
    }
    let request = Content { bytes: contents, mode: 0o600, durability: Durability::Synced };
    let (temporary, _file) = atomic::fill(dir.as_fd(), path, &request)?;
    loop {
        match temporary.link(name) {
            Ok(()) => {
                // The temporary name goes first, so that one sync brings both changes to the disk.
                drop(temporary);
                rustix::fs::fsync(&dir).map_err(|errno| failed("sync the directory of", errno))?;
                tracing::debug!(path = %path.display(), "claimed");
                return Ok(Claim::New);
            }
            Err(Errno::EXIST) => {
                if let Some((held, _)) = read(dir.as_fd(), path)? {
                    return Ok(held_or_ours(held, contents));
                }
                // Given up just now: once more.
            }
            Err(errno) => return Err(failed("claim", errno).into()),
        }
    }
}

/// Gives `path` up if it holds just `expected`; says whether it did. A claim that is not there or another's is
/// left alone. Any number of processes may try at once.
///
/// # Errors
///
/// [`Error`], also when `path` is something other than a file.
pub fn release(path: &Path, expected: &[u8]) -> Result<bool, Error> {
    let failed = |action, errno: Errno| FileError::new(action, path, errno);
    let (dir, name) = atomic::split(path)?;
    loop {
        let Some((held, file)) = read(dir.as_fd(), path)? else { return Ok(false) };
        if held != expected {
            return Ok(false);
        }
        // Held until the name is gone, so that of two who release only one removes, and none a newer claim.
        rustix::fs::flock(&file, FlockOperation::LockExclusive).map_err(|errno| failed("lock", errno))?;
        let own = rustix::fs::fstat(&file).map_err(|errno| failed("inspect", errno))?;
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) if (now.st_dev, now.st_ino) == (own.st_dev, own.st_ino) => {
                rustix::fs::unlinkat(&dir, name, AtFlags::empty())
                    .map_err(|errno| failed("remove", errno))?;
                rustix::fs::fsync(&dir).map_err(|errno| failed("sync the directory of", errno))?;
                tracing::debug!(path = %path.display(), "claim freed");
                return Ok(true);
            }
            // Another released it, and perhaps a third one claimed it since.
            Ok(_) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(failed("inspect", errno).into()),
        }
    }
}

fn held_or_ours(held: Vec<u8>, contents: &[u8]) -> Claim {
    if held == contents { Claim::Ours } else { Claim::Held { contents: held } }
}

/// The contents of a claim and its open file; `None` if there is none.
fn read(dir: BorrowedFd<'_>, path: &Path) -> Result<Option<(Vec<u8>, OwnedFd)>, Error> {
    let failed = FileError::at("read", path);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let name = path.file_name().unwrap_or_default();
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(failed(errno.into()).into()),
    };
    let file = File::from(fd);
    let mut contents = Vec::new();
    (&file).take(LARGEST).read_to_end(&mut contents).map_err(failed)?;
    Ok(Some((contents, file.into())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn the_first_one_gets_it_and_only_the_holder_releases() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("10.101.0.2");
        assert_eq!(create(&path, b"web").unwrap(), Claim::New);
        assert_eq!(create(&path, b"web").unwrap(), Claim::Ours);
        assert_eq!(create(&path, b"db").unwrap(), Claim::Held { contents: b"web".to_vec() });
        assert!(!release(&path, b"db").unwrap());
        assert!(release(&path, b"web").unwrap());
        assert!(!release(&path, b"web").unwrap());
        assert_eq!(create(&path, b"db").unwrap(), Claim::New);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_link_is_no_claim() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("claim");
        std::os::unix::fs::symlink("elsewhere", &path).unwrap();
        create(&path, b"web").unwrap_err();
        release(&path, b"web").unwrap_err();
        assert!(!temp.path().join("elsewhere").exists());
    }

    #[test]
    fn of_many_at_once_one_wins_and_all_see_whole_contents() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("claim");
        let barrier = Barrier::new(8);
        let owners: Vec<Vec<u8>> = (0..8u8).map(|owner| vec![b'a' + owner; 5000]).collect();
        for _ in 0..20 {
            let won: usize = std::thread::scope(|scope| {
                let attempts: Vec<_> = owners
                    .iter()
                    .map(|owner| {
                        scope.spawn(|| {
                            barrier.wait();
                            match create(&path, owner).unwrap() {
                                Claim::New => 1,
                                Claim::Ours => panic!("claimed before it was"),
                                Claim::Held { contents } => {
                                    assert!(owners.contains(&contents));
                                    0
                                }
                            }
                        })
                    })
                    .collect();
                attempts.into_iter().map(|attempt| attempt.join().unwrap()).sum()
            });
            assert_eq!(won, 1);
            std::fs::remove_file(&path).unwrap();
        }
    }
}
