//! Settings of the running kernel, below `/proc/sys`: read, changed, and put back.
//!
//! What is changed is noted before, with the value that was there: so that `host down` puts it back, unless somebody
//! else has changed it since. A note is a file of our state folder; its two lines are the old value and ours.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::atomic::{self, Durability};

/// A setting cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// The kernel or the file system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The kernel does not have the setting.
    #[error("this kernel has no setting {key}")]
    Unknown {
        /// The setting.
        key: String,
    },
    /// The note of the old value cannot be written.
    #[error("cannot note the old value of {key}")]
    Note {
        /// The setting.
        key: String,
        /// Why.
        source: atomic::Error,
    },
}

/// What a change came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It has another value now.
    Changed,
    /// It had that value, or a higher one where that is enough.
    Kept,
}

/// The settings, and the notes of those that we changed. Settings below `net/` are those of the calling thread's network
/// namespace.
#[derive(Debug, Clone)]
pub struct Sysctl {
    settings: PathBuf,
    notes: PathBuf,
}

impl Sysctl {
    /// The settings of the running kernel; `notes` is a folder of ours, made when it is needed.
    #[must_use]
    pub fn new(notes: PathBuf) -> Self {
        Self { settings: PathBuf::from("/proc/sys"), notes }
    }

    #[cfg(test)]
    pub(crate) fn at(settings: PathBuf, notes: PathBuf) -> Self {
        Self { settings, notes }
    }

    /// The value of a setting, without blanks around it; `None` where this kernel, or this network namespace, has no
    /// such one. `key` is its path: `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn get(&self, key: &str) -> Result<Option<String>, SysctlError> {
        Ok(text(&self.settings.join(key))?.map(|text| text.trim().to_owned()))
    }

    /// As [`get`](Self::get), for one that is a number.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn number(&self, key: &str) -> Result<Option<u64>, SysctlError> {
        Ok(self.get(key)?.and_then(|value| value.parse().ok()))
    }

    /// Gives a setting this value, with a note of the old one.
    ///
    /// # Errors
    /// When there is no such setting, the kernel refuses the value, or the note cannot be written.
    pub fn change(&self, key: &str, value: &str) -> Result<Changed, SysctlError> {
        let Some(old) = self.get(key)? else { return Err(SysctlError::Unknown { key: key.to_owned() }) };
        if old == value {
            return Ok(Changed::Kept);
        }
        self.note(key, &old, value)?;
        self.set(key, value)?;
        Ok(Changed::Changed)
    }

    /// Gives a setting that is a number at least this value, with a note of the old one.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn raise(&self, key: &str, least: u64) -> Result<Changed, SysctlError> {
        match self.number(key)? {
            Some(value) if value >= least => Ok(Changed::Kept),
            _ => self.change(key, &least.to_string()),
        }
    }

    /// Whether we changed a setting and have not put it back.
    #[must_use]
    pub fn is_noted(&self, key: &str) -> bool {
        self.note_of(key).exists()
    }

    /// Puts the old value back, if the setting still has ours, and says whether it did. One that we did not change is
    /// left alone.
    ///
    /// # Errors
    /// When the kernel refuses, or the note cannot be read or removed.
    pub fn restore(&self, key: &str) -> Result<bool, SysctlError> {
        let path = self.note_of(key);
        let Some(note) = text(&path)? else { return Ok(false) };
        let mut lines = note.lines();
        let mut restored = false;
        if let (Some(old), Some(ours)) = (lines.next(), lines.next())
            && self.get(key)?.as_deref() == Some(ours)
        {
            self.set(key, old)?;
            restored = true;
        }
        let removed = |source| SysctlError::Io { action: "remove", path: path.clone(), source };
        std::fs::remove_file(&path).map_err(removed)?;
        Ok(restored)
    }

    fn set(&self, key: &str, value: &str) -> Result<(), SysctlError> {
        let path = self.settings.join(key);
        tracing::debug!(key, value, "a setting of the kernel is changed");
        // Never created: a file that is not there is no setting.
        let written = std::fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
        written.map_err(|source| SysctlError::Io { action: "write", path, source })
    }

    /// Where the change was noted before, the value before it is kept: of two changes both are put back. Unless the
    /// setting is not ours any more, as after a reboot.
    fn note(&self, key: &str, old: &str, ours: &str) -> Result<(), SysctlError> {
        let path = self.note_of(key);
        let before = text(&path)?;
        let mut lines = before.as_deref().unwrap_or_default().lines();
        let old = match (lines.next(), lines.next()) {
            (Some(first), Some(last)) if last == old => first,
            _ => old,
        };
        let made = |source| SysctlError::Io { action: "make", path: self.notes.clone(), source };
        std::fs::create_dir_all(&self.notes).map_err(made)?;
        atomic::write(&path, format!("{old}\n{ours}\n").as_bytes(), 0o600, Durability::Synced)
            .map_err(|source| SysctlError::Note { key: key.to_owned(), source })
    }

    /// No name of a setting or interface has a colon.
    fn note_of(&self, key: &str) -> PathBuf {
        self.notes.join(key.replace('/', ":"))
    }
}

/// The text of a file, or `None` where there is none.
fn text(path: &Path) -> Result<Option<String>, SysctlError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(SysctlError::Io { action: "read", path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "net/ipv4/ip_forward";

    fn folder() -> (tempfile::TempDir, Sysctl, PathBuf) {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("sys").join(KEY);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "128\n").unwrap();
        let sysctl = Sysctl::at(temp.path().join("sys"), temp.path().join("notes"));
        (temp, sysctl, file)
    }

    #[test]
    fn what_was_there_comes_back() {
        let (_temp, sysctl, file) = folder();
        assert!(!sysctl.restore(KEY).unwrap());
        assert_eq!(sysctl.raise(KEY, 100).unwrap(), Changed::Kept);
        assert!(!sysctl.is_noted(KEY));
        assert_eq!(sysctl.raise(KEY, 1000).unwrap(), Changed::Changed);
        assert_eq!(sysctl.raise(KEY, 1000).unwrap(), Changed::Kept);
        assert_eq!(sysctl.raise(KEY, 2000).unwrap(), Changed::Changed);
        assert_eq!(sysctl.number(KEY).unwrap(), Some(2000));
        assert!(sysctl.restore(KEY).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "128");
        assert!(!sysctl.is_noted(KEY) && !sysctl.restore(KEY).unwrap());
    }

    #[test]
    fn what_somebody_else_changed_since_stays() {
        let (_temp, sysctl, file) = folder();
        sysctl.raise(KEY, 1000).unwrap();
        std::fs::write(&file, "5000\n").unwrap();
        assert!(!sysctl.restore(KEY).unwrap());
        assert_eq!(sysctl.number(KEY).unwrap(), Some(5000));
        // After a reboot the old value is another one.
        sysctl.change(KEY, "9000").unwrap();
        std::fs::write(&file, "64\n").unwrap();
        sysctl.raise(KEY, 9000).unwrap();
        assert!(sysctl.restore(KEY).unwrap());
        assert_eq!(sysctl.number(KEY).unwrap(), Some(64));
    }

    #[test]
    fn a_setting_that_there_is_not_is_not_made() {
        let (temp, sysctl, _) = folder();
        assert_eq!(sysctl.get("net/none").unwrap(), None);
        let error = sysctl.change("net/none", "1").unwrap_err();
        assert_eq!(error.to_string(), "this kernel has no setting net/none");
        assert!(!temp.path().join("sys/net/none").exists() && !sysctl.is_noted("net/none"));
    }

    /// On the kernel itself, in a network namespace of its own.
    #[test]
    fn root_the_kernel_takes_and_gives_back() {
        let temp = tempfile::tempdir().unwrap();
        let sysctl = Sysctl::new(temp.path().join("notes"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                ::nix::sched::unshare(::nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                // A new namespace has that of the first one.
                let old = sysctl.number(KEY).unwrap().unwrap();
                let other = (1 - old).to_string();
                assert_eq!(sysctl.change(KEY, &other).unwrap(), Changed::Changed);
                assert_eq!(sysctl.get(KEY).unwrap(), Some(other));
                assert!(sysctl.restore(KEY).unwrap());
                assert_eq!(sysctl.number(KEY).unwrap(), Some(old));
                sysctl.change(KEY, "no number").unwrap_err();
            });
        });
    }
}
