//! `/etc/subuid` and `/etc/subgid`: which ids of this host belong to which user beside its own one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::fs::atomic;
use crate::fs::error::FileError;

/// The name that our own lines stand under. No user has to have it: `useradd`, `adduser` and `usermod` keep off every line.
/// Not root, whose lines Incus, LXD and LXC take for what their containers may have.
pub const OURS: &str = "nixcloud-container";

/// How long `adduser` and its kin may hold their lock: as long as they wait for us.
const LOCK: Duration = Duration::from_secs(15);

/// One of the files cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubidError {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The file cannot be replaced.
    #[error("cannot write the ids of users")]
    Write(#[from] atomic::Error),
}

impl SubidError {
    fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        FileError::new(action, path, source).into()
    }
}

/// A line: `USER:FIRST:COUNT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The user, by name or number.
    pub user: String,
    /// The first id.
    pub first: u64,
    /// How many.
    pub count: u64,
}

impl Entry {
    /// Whether it is what is kept for containers of ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.user == OURS
    }

    /// Whether it gives ids to root, and so to containers of Incus, LXD or LXC.
    #[must_use]
    pub fn is_roots(&self) -> bool {
        matches!(self.user.as_str(), "root" | "0")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (user, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        if fields.next().is_some() {
            return None;
        }
        Some(Self { user: user.to_owned(), first: first.parse().ok()?, count: count.parse().ok()? })
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.first, self.count)
    }
}

/// The lines of a file; `None` where there is no such file. What is no line of ids is passed over.
///
/// # Errors
/// When it cannot be read.
pub fn entries(path: &Path) -> Result<Option<Vec<Entry>>, SubidError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.lines().filter_map(Entry::parse).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SubidError::io("read", path, source)),
    }
}

/// Takes lines out of a file, each once where it is there, and puts others at its end; everything else stays as it is,
/// byte by byte, and so do mode and owner. Says whether that changed anything. A file that is not there is not made.
///
/// # Errors
/// When it cannot be locked against `adduser`, read or replaced.
pub fn edit(path: &Path, remove: &[Entry], add: &[Entry]) -> Result<bool, SubidError> {
    let path = match path.canonicalize() {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(SubidError::io("resolve", path, source)),
    };
    let _lock = lock(&path)?;
    let text = std::fs::read_to_string(&path).map_err(|source| SubidError::io("read", &path, source))?;
    let edited = edited(&text, remove, add);
    if edited == text {
        return Ok(false);
    }
    // Of a process that was killed in the middle of this.
    if let Some(Err(error)) = path.parent().map(atomic::sweep) {
        tracing::debug!(%error, "what others left stays");
    }
    atomic::replace(&path, edited.as_bytes())?;
    Ok(true)
}

fn edited(text: &str, remove: &[Entry], add: &[Entry]) -> String {
    let mut remove: Vec<String> = remove.iter().map(ToString::to_string).collect();
    let mut edited = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match remove.iter().position(|gone| gone == line.trim_end_matches('\n')) {
            Some(at) => drop(remove.swap_remove(at)),
            None => edited.push_str(line),
        }
    }
    if !add.is_empty() && !edited.is_empty() && !edited.ends_with('\n') {
        edited.push('\n');
    }
    for entry in add {
        edited.push_str(&format!("{entry}\n"));
    }
    edited
}

/// The lock that `lckpwdf(3)` takes, as `adduser`, `usermod` and their kin do before they change such files.
fn lock(path: &Path) -> Result<File, SubidError> {
    let path = path.with_file_name(".pwd.lock");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| SubidError::io("open", &path, errno))?;
    let file = File::from(file);
    let begin = Instant::now();
    loop {
        match rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::AGAIN | Errno::ACCESS) if begin.elapsed() < LOCK => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(errno) => return Err(SubidError::io("lock", &path, errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn entry(line: &str) -> Entry {
        Entry::parse(line).unwrap()
    }

    #[test]
    fn lines_are_read_and_others_passed_over() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("subuid");
        assert_eq!(entries(&file).unwrap(), None);
        std::fs::write(&file, "ada:100000:65536\n# no:1:2\nbroken\n0:5:6\nx:1:2:3\nroot:7:y\n").unwrap();
        let entries = entries(&file).unwrap().unwrap();
        assert_eq!(entries, ["ada:100000:65536", "# no:1:2", "0:5:6"].map(entry));
        assert!(entries[2].is_roots() && !entries[0].is_roots());
    }

    #[test]
    fn only_the_lines_that_are_meant_change() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("subuid");
        let root = [entry("root:100000:65536")];
        assert!(!edit(&file, &[], &root).unwrap());
        assert!(!file.exists(), "it is not made");
        std::fs::write(&file, "ada:1:2\n\n# kept\nroot:100000:65536\nroot:100000:65536\nbob:3:4").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let before = std::fs::metadata(&file).unwrap();
        assert!(edit(&file, &root, &[entry("root:5:6")]).unwrap());
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "ada:1:2\n\n# kept\nroot:100000:65536\nbob:3:4\nroot:5:6\n");
        assert!(!edit(&file, &[entry("root:8:9")], &[]).unwrap());
        let after = std::fs::metadata(&file).unwrap();
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    }

    #[test]
    fn root_the_owner_stays_and_a_link_is_followed() {
        let temp = tempfile::tempdir().unwrap();
        let (file, link) = (temp.path().join("real"), temp.path().join("subuid"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        assert!(edit(&link, &[], &[entry("root:5:6")]).unwrap());
        assert!(link.is_symlink());
        let after = std::fs::metadata(&file).unwrap();
        assert_eq!((after.uid(), after.gid(), after.len()), (12, 34, 9));
    }
}
