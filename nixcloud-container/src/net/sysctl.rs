//! Settings of the running kernel, below `/proc/sys`: read, changed, and put back.
//!
//! What is changed is noted before, with the value that was there: so that `host down` puts it back, unless somebody
//! else has changed it since. A note is a file of our state folder; its lines are the old value, ours, and the boot that
//! this was in: what there is in another one somebody else has set.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::atomic::{self, Durability};
use crate::fs::error::FileError;

/// A setting cannot be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SysctlError {
    /// The kernel or the file system refused.
    #[error(transparent)]
    Io(#[from] FileError),
    /// The kernel does not have the setting.
    #[error("this kernel has no setting {key}")]
    #[non_exhaustive]
    Unknown {
        /// The setting.
        key: String,
    },
    /// The note of the old value cannot be written.
    #[error("cannot note the old value of {key}")]
    #[non_exhaustive]
    Note {
        /// The setting.
        key: String,
        /// The error that this one follows from.
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
        let before = text(&self.note_of(key))?;
        self.note(key, &old, value)?;
        if let Err(refused) = self.set(key, value) {
            // The note is of what is not; the failure itself says more than one to undo it.
            let path = self.note_of(key);
            let _ = match before {
                Some(before) => std::fs::write(path, before),
                None => std::fs::remove_file(path),
            };
            return Err(refused);
        }
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
        if !self.is_noted(key) {
            return Ok(false);
        }
        let path = self.note_of(key);
        let mut restored = false;
        if let Some((old, ours)) = self.noted_values(key)?
            && self.get(key)? == Some(ours)
        {
            self.set(key, &old)?;
            restored = true;
        }
        std::fs::remove_file(&path).map_err(FileError::at("remove", &path))?;
        // The last one takes the folder with it.
        let _ = std::fs::remove_dir(&self.notes);
        Ok(restored)
    }

    /// Leaves a setting as it is now, for good.
    ///
    /// # Errors
    /// When the note cannot be removed.
    pub fn forget(&self, key: &str) -> Result<(), SysctlError> {
        let path = self.note_of(key);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(FileError::new("remove", &path, source).into())
            }
            _ => Ok(()),
        }
    }

    /// The settings that we changed and have not put back, sorted.
    ///
    /// # Errors
    /// When the notes cannot be read.
    pub fn noted(&self) -> Result<Vec<String>, SysctlError> {
        let entries = match std::fs::read_dir(&self.notes) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::new("read", &self.notes, source).into()),
        };
        let mut keys: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.replace(':', "/")))
            .collect();
        keys.sort();
        Ok(keys)
    }

    /// Gives a setting this value without a note: for what goes away with an interface of ours.
    ///
    /// # Errors
    /// When there is no such setting, or the kernel refuses.
    pub fn set(&self, key: &str, value: &str) -> Result<(), SysctlError> {
        let path = self.settings.join(key);
        tracing::debug!(key, value, "a setting of the kernel is changed");
        // Never created: a file that is not there is no setting.
        let written = std::fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&path)
            .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
        Ok(written.map_err(FileError::at("write", &path))?)
    }

    /// The old value and ours, where they were noted in this boot.
    fn noted_values(&self, key: &str) -> Result<Option<(String, String)>, SysctlError> {
        let note = text(&self.note_of(key))?.unwrap_or_default();
        let lines: Vec<&str> = note.lines().collect();
        let [old, ours, boot] = lines[..] else { return Ok(None) };
        Ok((boot == self.boot()?).then(|| (old.to_owned(), ours.to_owned())))
    }

    /// The kernel's word for this boot.
    fn boot(&self) -> Result<String, SysctlError> {
        Ok(self.get("kernel/random/boot_id")?.unwrap_or_default())
    }

    /// Where the change was noted before, the value before it is kept: of two changes both are put back. Unless the
    /// setting is not ours any more, as after a reboot.
    fn note(&self, key: &str, old: &str, ours: &str) -> Result<(), SysctlError> {
        let path = self.note_of(key);
        let before = self.noted_values(key)?.filter(|(_, last)| last == old);
        let old = before.map_or_else(|| old.to_owned(), |(first, _)| first);
        let boot = self.boot()?;
        std::fs::create_dir_all(&self.notes).map_err(FileError::at("make", &self.notes))?;
        atomic::write(&path, format!("{old}\n{ours}\n{boot}\n").as_bytes(), 0o600, Durability::Synced)
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
        Err(source) => Err(FileError::new("read", path, source).into()),
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
    fn notes_are_listed_and_forgotten() {
        let (_temp, sysctl, file) = folder();
        assert_eq!(sysctl.noted().unwrap(), Vec::<String>::new());
        sysctl.change(KEY, "1").unwrap();
        assert_eq!(sysctl.noted().unwrap(), [KEY]);
        sysctl.forget(KEY).unwrap();
        sysctl.forget(KEY).unwrap();
        assert_eq!(sysctl.noted().unwrap(), Vec::<String>::new());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
        sysctl.set(KEY, "0").unwrap();
        assert!(!sysctl.is_noted(KEY));
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
    fn what_somebody_else_set_in_another_boot_stays() {
        let (temp, sysctl, file) = folder();
        let boot = temp.path().join("sys/kernel/random/boot_id");
        std::fs::create_dir_all(boot.parent().unwrap()).unwrap();
        std::fs::write(&boot, "one\n").unwrap();
        sysctl.change(KEY, "1").unwrap();
        // By now it is in `sysctl.conf`.
        std::fs::write(&boot, "two\n").unwrap();
        assert_eq!(sysctl.change(KEY, "1").unwrap(), Changed::Kept);
        assert!(!sysctl.restore(KEY).unwrap() && !sysctl.is_noted(KEY));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
        // One of ours that was undone by the reboot is noted anew.
        sysctl.change(KEY, "2").unwrap();
        assert!(sysctl.restore(KEY).unwrap());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "1");
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
