//! Which mounts lie at or below a directory, as this thread's mount namespace sees them.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The calling thread's own view. `/proc/self` would show that of the thread group's leader, which differs once a
/// thread has unshared.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";

/// Every mount point at or below `directory`, in the order in which they were mounted. `directory` must be
/// canonical.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn at_or_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read(MOUNTINFO)?;
    Ok(mount_points(&table).filter(|point| point.starts_with(directory)).collect())
}

/// Whether a file system in user space, whose program may hang, is mounted at `place` as this thread sees it. Its files are not
/// asked.
#[must_use]
pub fn has_fuse(place: &Path) -> bool {
    is_fuse(&std::fs::read(MOUNTINFO).unwrap_or_default(), place)
}

/// What was mounted last covers what was there before.
fn is_fuse(table: &[u8], place: &Path) -> bool {
    kinds_at(table, place).next_back().is_some_and(|kind| kind == b"fuse" || kind.starts_with(b"fuse."))
}

/// Whether a file system of this kind is mounted at `place`, as the process `pid` sees it. One that cannot be asked has none.
#[must_use]
pub fn has(pid: i32, place: &Path, kind: &str) -> bool {
    let table = std::fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    kinds_at(&table, place).any(|found| found == kind.as_bytes())
}

/// The kinds of file systems that are mounted at `place`, first mounted first.
fn kinds_at<'t>(table: &'t [u8], place: &'t Path) -> impl DoubleEndedIterator<Item = &'t [u8]> {
    table.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(4);
        let at = fields.next().is_some_and(|point| unescape(point) == place.as_os_str().as_bytes());
        fields.skip_while(|field| *field != b"-").nth(1).filter(|_| at)
    })
}

/// The fifth field of each line of a mountinfo table (proc_pid_mountinfo(5)).
fn mount_points(table: &[u8]) -> impl Iterator<Item = PathBuf> + '_ {
    table
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
}

/// Undoes the kernel's octal escapes (`\040` is a space).
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => out.push(first),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_and_odd_lines_survive() {
        let table = b"22 1 0:20 / /a\\040b\\134c rw - tmpfs x rw\nshort\n23 1 0:20 / /tail\\04 rw - x\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/a b\\c"), PathBuf::from("/tail\\04")]);
    }

    #[test]
    fn what_is_mounted_where_is_known_by_its_kind() {
        let own = std::process::id().cast_signed();
        assert!(has(own, Path::new("/proc"), "proc"));
        assert!(!has(own, Path::new("/proc"), "overlay"));
        assert!(!has(own, Path::new("/proc/self"), "proc"));
        assert!(!has(-1, Path::new("/proc"), "proc"));
    }

    #[test]
    fn file_systems_in_user_space_are_known_by_their_kind() {
        let of = |lines: &str| is_fuse(lines.as_bytes(), Path::new("/var/lib/lxcfs"));
        let lxcfs = "36 22 0:40 / /var/lib/lxcfs rw,nosuid shared:1 - fuse.lxcfs lxcfs rw,user_id=0\n";
        assert!(of(lxcfs));
        assert!(of("36 22 0:40 / /var/lib/lxcfs rw - fuse lxcfs rw\n"));
        assert!(!of(""));
        assert!(!of("36 22 0:40 / /var/lib/lxcfs/proc rw - fuse.lxcfs lxcfs rw\n"));
        assert!(!of("36 22 8:1 / /var/lib/lxcfs rw - fuseblk /dev/sda1 rw\n"));
        assert!(!of(&format!("{lxcfs}37 36 0:41 / /var/lib/lxcfs rw - tmpfs none rw\n")));
    }

    #[test]
    fn proc_is_below_the_root_but_not_below_its_namesake() {
        let all = at_or_below(Path::new("/")).unwrap();
        assert!(all.contains(&PathBuf::from("/proc")));
        assert_eq!(at_or_below(Path::new("/pro")).unwrap(), Vec::<PathBuf>::new());
    }
}
