//! The directories of a new rootfs, made inside an untrusted tree with exactly this mode and owner.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;

use super::beneath::{self, DIRECTORY, Error};

/// The mode of a directory that is needed on the way and not listed itself.
const ON_THE_WAY: u32 = 0o755;

/// Makes the directory `name` in `parent`, or corrects the mode and owner of the one that is there, and opens it.
/// A symbolic link, a mount or another kind of file of that name is refused. `shown` is what errors call it.
///
/// # Errors
///
/// Those of [`beneath::open_root`].
pub fn make_dir(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    shown: &Path,
    mode: u32,
    uid: u32,
    gid: u32,
) -> Result<OwnedFd, Error> {
    let dir = open_or_make(parent, name, shown)?;
    correct(dir.as_fd(), shown, mode, uid, gid)?;
    Ok(dir)
}

/// Makes `root` and in it the directories `dirs`: paths relative to `root`, each with its mode; `"."` is `root`
/// itself. `root` and directories on the way that are not listed have mode 0755. All belong to `uid` and `gid`, ids
/// of the host. `root`'s parent must exist. Mode and owner of what is there already are corrected, so that a run
/// after one that was killed completes it, and one more changes nothing.
///
/// # Errors
///
/// Those of [`beneath::open_root`]; directories that were made until then stay.
pub fn skeleton(root: &Path, dirs: &[(&str, u32)], uid: u32, gid: u32) -> Result<(), Error> {
    // Sorted: a directory comes after those on the way to it.
    let mut modes = BTreeMap::from([(PathBuf::new(), ON_THE_WAY)]);
    for &(relative, mode) in dirs {
        let path: PathBuf = beneath::plain(Path::new(relative))?.into_iter().collect();
        for way in path.ancestors().skip(1) {
            modes.entry(way.to_owned()).or_insert(ON_THE_WAY);
        }
        modes.insert(path, mode);
    }
    match rustix::fs::mkdir(root, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::new("create", root, errno)),
    }
    let top = beneath::open_root(root)?;
    for (relative, mode) in modes {
        let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
            correct(top.as_fd(), root, mode, uid, gid)?;
            continue;
        };
        let shown = root.join(&relative);
        if parent.as_os_str().is_empty() {
            make_dir(top.as_fd(), name, &shown, mode, uid, gid)?;
        } else {
            let parent = beneath::open_at(top.as_fd(), parent, DIRECTORY)
                .map_err(|errno| Error::new("open", &shown, errno))?;
            make_dir(parent.as_fd(), name, &shown, mode, uid, gid)?;
        }
    }
    Ok(())
}

fn open_or_make(parent: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<OwnedFd, Error> {
    // Closed to others until it has its owner and mode.
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(Error::new("create", shown, errno)),
    }
    beneath::open_at(parent, Path::new(name), DIRECTORY).map_err(|errno| Error::new("open", shown, errno))
}

/// By file descriptor, so that nothing is followed; only what differs, so that times stay.
fn correct(dir: BorrowedFd<'_>, shown: &Path, mode: u32, uid: u32, gid: u32) -> Result<(), Error> {
    let stat = rustix::fs::fstat(dir).map_err(|errno| Error::new("inspect", shown, errno))?;
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        rustix::fs::fchown(dir, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|errno| Error::new("change the owner of", shown, errno))?;
    }
    if stat.st_mode & 0o7777 != mode {
        rustix::fs::fchmod(dir, Mode::from_raw_mode(mode))
            .map_err(|errno| Error::new("change the mode of", shown, errno))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::error::FileError;
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const DIRS: &[(&str, u32)] = &[(".", 0o711), ("nix/store", 0o755), ("root", 0o700), ("tmp", 0o1777)];

    fn facts(root: &Path) -> Vec<(PathBuf, u32, u32, u32, i64)> {
        ["", "nix", "nix/store", "root", "tmp"]
            .iter()
            .map(|dir| {
                let found = root.join(dir).symlink_metadata().unwrap();
                (dir.into(), found.mode() & 0o7777, found.uid(), found.gid(), found.ctime_nsec())
            })
            .collect()
    }

    #[test]
    fn modes_are_exact_and_a_second_run_changes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let own = temp.path().metadata().unwrap();
        let root = temp.path().join("rootfs");
        let make = || skeleton(&root, DIRS, own.uid(), own.gid()).unwrap();
        make();
        let first = facts(&root);
        assert_eq!(first.iter().map(|fact| fact.1).collect::<Vec<_>>(), [0o711, 0o755, 0o755, 0o700, 0o1777]);
        make();
        assert_eq!(facts(&root), first);
        std::fs::set_permissions(root.join("root"), PermissionsExt::from_mode(0o777)).unwrap();
        make();
        assert_eq!(facts(&root)[3].1, 0o700);
    }

    #[test]
    fn planted_things_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let own = temp.path().metadata().unwrap();
        let root = temp.path().join("rootfs");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir(temp.path().join("host")).unwrap();
        symlink("../host", root.join("nix")).unwrap();
        std::fs::write(root.join("tmp"), "").unwrap();
        let make = |dir| skeleton(&root, &[(dir, 0o755)], own.uid(), own.gid());
        assert!(matches!(make("nix/store"), Err(Error::Symlink { path }) if path == root.join("nix")));
        assert!(matches!(make("nix"), Err(Error::Symlink { .. })));
        assert!(matches!(make("tmp"), Err(Error::Io(FileError { action: "open", .. }))));
        assert!(matches!(make("../host/a"), Err(Error::NotInside { .. })));
        assert!(matches!(make("/a"), Err(Error::NotInside { .. })));
        assert_eq!(std::fs::read_dir(temp.path().join("host")).unwrap().count(), 0);
    }

    #[test]
    fn root_owner_is_given_and_corrected() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("rootfs");
        skeleton(&root, DIRS, 100_000, 100_001).unwrap();
        assert!(facts(&root).iter().all(|fact| (fact.2, fact.3) == (100_000, 100_001)));
        skeleton(&root, DIRS, 200_000, 200_000).unwrap();
        assert!(facts(&root).iter().all(|fact| (fact.2, fact.3) == (200_000, 200_000)));
    }
}
