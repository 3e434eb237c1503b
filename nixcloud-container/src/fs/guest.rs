//! Files of a running guest, as the guest sees them: through its own mounts and links, which it lays as it likes.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// What a regular file below `root` holds. Links are followed, but not out of it.
///
/// Nothing but a regular file with bytes in it is opened for reading: no pipe to wait for, no device, nothing of
/// `/proc`. What a file system of the guest's own (FUSE) answers late or never, the caller waits for: call it where
/// somebody watches the clock.
///
/// # Errors
/// When it is not there, is no such file, or has more than `limit` bytes.
pub fn read(root: &File, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut attempts = 0;
    let found = loop {
        // To find out what it is opens nothing.
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < 1000 => attempts += 1,
            other => break other?,
        }
    };
    let stat = rustix::fs::fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no regular file"));
    }
    // The files of /proc have no size; a file of the guest's that grows meanwhile has what it had.
    let size = usize::try_from(stat.st_size).unwrap_or(usize::MAX);
    if size > limit {
        return Err(io::Error::other(format!("it is too large: {size} bytes")));
    }
    let again = format!("/proc/self/fd/{}", found.as_fd().as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, again, flags, Mode::empty())?);
    let mut bytes = Vec::with_capacity(size);
    file.take(size as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether there is something at `path` below `root`; the last part may be a link to anywhere. Nothing is opened. With
/// `at_once` the kernel answers from memory, and no file system is asked.
///
/// # Errors
/// When that is not known: the guest may not look there, or with `at_once`, the kernel does not have it in memory.
pub fn is_there(root: &File, path: &Path, at_once: bool) -> io::Result<bool> {
    let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    resolve.set(ResolveFlags::CACHED, at_once);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn only_regular_files_and_only_inside() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("etc")).unwrap();
        std::fs::write(root.join("etc/real"), "inside").unwrap();
        std::fs::write(folder.path().join("outside"), "outside").unwrap();
        symlink("/etc/real", root.join("etc/absolute")).unwrap();
        symlink("../../../../outside", root.join("etc/up")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("etc/magic")).unwrap();
        symlink("loop", root.join("etc/loop")).unwrap();
        ::nix::unistd::mkfifo(&root.join("etc/fifo"), ::nix::sys::stat::Mode::S_IRUSR).unwrap();
        let large = File::create(root.join("etc/large")).unwrap();
        large.set_len(1 << 40).unwrap();
        let open = File::open(&root).unwrap();
        let begin = Instant::now();
        let read = |name: &str| read(&open, Path::new(name), 1 << 20);
        assert_eq!(read("/etc/real").unwrap(), b"inside");
        assert_eq!(read("/etc/absolute").unwrap(), b"inside");
        assert_eq!(read("/etc/up").unwrap_err().kind(), io::ErrorKind::NotFound);
        for bad in ["/etc/magic", "/etc/loop", "/etc/fifo", "/etc/large", "/etc", "/none"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(begin.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_link_is_there_wherever_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        std::fs::create_dir_all(root.join("run")).unwrap();
        std::fs::write(folder.path().join("outside"), "").unwrap();
        symlink("/nix/store/none", root.join("run/system")).unwrap();
        symlink("../..", root.join("up")).unwrap();
        let open = File::open(&root).unwrap();
        for at_once in [true, false] {
            let there = |path: &str| is_there(&open, Path::new(path), at_once).unwrap_or(false);
            assert!(there("run/system") && there("/run/system"));
            assert!(!there("run/other") && !there("up/outside") && !there("../outside"));
        }
    }

    #[test]
    fn nothing_of_proc_and_no_device() {
        let open = File::open("/").unwrap();
        assert_eq!(read(&open, Path::new("/proc/uptime"), 1 << 20).unwrap(), b"");
        assert!(read(&open, Path::new("/dev/zero"), 1 << 20).is_err());
    }
}
