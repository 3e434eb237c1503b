//! A Nix profile, read natively: `profile` is a link to `profile-N-link`, which is a link to what
//! generation N holds. Nix writes it ([`Nix::set_profile`](super::Nix::set_profile) and others);
//! only its removal is done here.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::roots;

/// The path of a profile, absolute; nothing needs to be there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Profile {
    path: PathBuf,
}

/// One generation of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProfileGeneration {
    /// Its number, from 1 on; numbers are not used twice as long as a later one exists.
    pub id: u64,
    /// `profile-ID-link`.
    pub link: PathBuf,
    /// What the link says: a store path, if Nix made it. It may have been lost.
    pub target: PathBuf,
    /// When the link was made.
    pub created: Timestamp,
}

/// A profile that could not be read or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A link or the directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    #[non_exhaustive]
    Read {
        /// The link or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A link cannot be removed.
    #[error(transparent)]
    Remove(#[from] roots::Error),
    /// The path is relative or ends in no name.
    #[error("`{}` cannot be a profile: it must be absolute and end in a name", path.display())]
    #[non_exhaustive]
    BadPath {
        /// The path.
        path: PathBuf,
    },
    /// At the profile's path is something that is not a link; it is left alone.
    #[error("`{}` is not a symbolic link", path.display())]
    #[non_exhaustive]
    NotALink {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Read { path: path.to_owned(), source }
    }
}

impl Profile {
    /// The profile at `path`.
    ///
    /// # Errors
    ///
    /// [`Error::BadPath`] when it is relative or ends in no name.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if path.is_absolute() && path.file_name().is_some() {
            Ok(Self { path })
        } else {
            Err(Error::BadPath { path })
        }
    }

    /// The path of the link to the current generation.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The link of the generation `id`, whether there or not.
    #[must_use]
    pub fn link(&self, id: u64) -> PathBuf {
        let mut name = self.name().to_owned();
        name.push(format!("-{id}-link"));
        self.path.with_file_name(name)
    }

    /// The generations, oldest first. Without the profile's directory there are none. Files that
    /// are not links of this profile are passed over.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn generations(&self) -> Result<Vec<ProfileGeneration>, Error> {
        let dir = self.dir();
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::read(dir))?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::read(dir))?;
            if let Some(id) = self.id_of(&entry.file_name()) {
                found.extend(generation(id, entry.path())?);
            }
        }
        found.sort_by_key(|generation| generation.id);
        Ok(found)
    }

    /// One generation, if it is there.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn generation(&self, id: u64) -> Result<Option<ProfileGeneration>, Error> {
        generation(id, self.link(id))
    }

    /// The current generation's number; `None` without a profile, or when the link leads to
    /// something that is not a generation of this profile. The generation itself may be missing.
    ///
    /// # Errors
    ///
    /// [`Error::Read`].
    pub fn current(&self) -> Result<Option<u64>, Error> {
        let target = match fs::read_link(&self.path) {
            // Invalid input: not a link.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                return Ok(None);
            }
            target => target.map_err(Error::read(&self.path))?,
        };
        let here = target.parent().is_some_and(|dir| dir == Path::new("") || dir == self.dir());
        Ok(target.file_name().filter(|_| here).and_then(|name| self.id_of(name)))
    }

    /// Removes the profile with all its generations, and what made them roots from outside of
    /// Nix's own directories. What is not there is no error, so a removal that was killed can be
    /// repeated. `state_dir` is Nix's, `/nix/var/nix`. The directory itself stays.
    ///
    /// # Errors
    ///
    /// [`Error::NotALink`] when the profile is something else, before anything is removed;
    /// [`Error::Read`]; [`Error::Remove`].
    pub fn remove_all(&self, state_dir: &Path) -> Result<(), Error> {
        match fs::symlink_metadata(&self.path) {
            Ok(found) if !found.is_symlink() => return Err(Error::NotALink { path: self.path.clone() }),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::read(&self.path)(error));
            }
            _ => roots::remove_file(&self.path)?,
        }
        for generation in self.generations()? {
            roots::remove_file(&generation.link)?;
        }
        // Nix's lock of this profile; it is left when nix-env was killed.
        let mut lock = self.name().to_owned();
        lock.push(".lock");
        roots::remove_file(&self.path.with_file_name(lock))?;
        // nix-env was given the path as it is here, but somebody may have resolved it before.
        let dir = self.dir();
        let resolved = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let ours = |link: &Path| {
            link.parent().is_some_and(|parent| parent == dir || parent == resolved)
                && link.file_name().is_some_and(|name| name == self.name() || self.id_of(name).is_some())
        };
        Ok(roots::remove_auto(state_dir, ours)?)
    }

    fn dir(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().unwrap_or_default()
    }

    /// N of `profile-N-link`, as Nix writes it.
    fn id_of(&self, name: &OsStr) -> Option<u64> {
        let rest = name.as_bytes().strip_prefix(self.name().as_bytes())?;
        let digits = rest.strip_prefix(b"-")?.strip_suffix(b"-link")?;
        let canonical = digits.first()?.is_ascii_digit() && digits[0] != b'0';
        std::str::from_utf8(digits).ok()?.parse().ok().filter(|_| canonical)
    }
}

/// `None` when there is no link: another file, or it was removed meanwhile.
fn generation(id: u64, link: PathBuf) -> Result<Option<ProfileGeneration>, Error> {
    let found = match fs::symlink_metadata(&link) {
        Ok(found) if found.is_symlink() => found,
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::read(&link)(error)),
    };
    let target = match fs::read_link(&link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        target => target.map_err(Error::read(&link))?,
    };
    // Nanoseconds are below 10^9. A time that jiff cannot hold is no reason to lose a generation.
    let nanoseconds = i32::try_from(found.mtime_nsec()).unwrap_or(0);
    let created = Timestamp::new(found.mtime(), nanoseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    Ok(Some(ProfileGeneration { id, link, target, created }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const OUT: &str = "/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-gone";

    fn ids(profile: &Profile) -> Vec<u64> {
        profile.generations().unwrap().iter().map(|generation| generation.id).collect()
    }

    #[test]
    fn gaps_foreign_files_and_lost_targets() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::new(dir.path().join("profile")).unwrap();
        assert_eq!((ids(&profile), profile.current().unwrap()), (vec![], None));
        for name in [
            "profile-10-link",
            "profile-2-link",
            "profile-x-link",
            "profile-03-link",
            "profile-+4-link",
            "profile-0-link",
            "profile--link",
            "profile-5-linked",
            "other-6-link",
            "profile-99999999999999999999-link",
        ] {
            symlink(OUT, dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("profile-7-link"), "no link").unwrap();
        symlink("profile-10-link", profile.path()).unwrap();
        assert_eq!(ids(&profile), [2, 10]);
        assert_eq!(profile.current().unwrap(), Some(10));
        let newest = profile.generation(10).unwrap().unwrap();
        assert_eq!((newest.target, newest.link), (PathBuf::from(OUT), dir.path().join("profile-10-link")));
        let age = Timestamp::now().duration_since(newest.created).as_secs();
        assert!((-5..60).contains(&age), "made {age} s ago");
        assert_eq!(profile.generation(7).unwrap(), None);
        assert_eq!(profile.generation(3).unwrap(), None);
    }

    #[test]
    fn where_the_profile_leads() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::new(dir.path().join("profile")).unwrap();
        let lead = |target: &Path| {
            let _none = fs::remove_file(profile.path());
            symlink(target, profile.path()).unwrap();
            profile.current().unwrap()
        };
        assert_eq!(lead(Path::new("profile-3-link")), Some(3));
        assert_eq!(lead(&dir.path().join("profile-4-link")), Some(4));
        assert_eq!(lead(Path::new("/elsewhere/profile-4-link")), None);
        assert_eq!(lead(Path::new("sub/profile-4-link")), None);
        assert_eq!(lead(Path::new(OUT)), None);
        fs::remove_file(profile.path()).unwrap();
        fs::write(profile.path(), "").unwrap();
        assert_eq!(profile.current().unwrap(), None);
    }

    #[test]
    fn removal_takes_all_of_it_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (home, state) = (dir.path().join("c1"), dir.path().join("state"));
        let auto = state.join("gcroots/auto");
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(&auto).unwrap();
        let profile = Profile::new(home.join("profile")).unwrap();
        for id in [1, 2] {
            symlink(OUT, profile.link(id)).unwrap();
            symlink(profile.link(id), auto.join(id.to_string())).unwrap();
        }
        symlink("profile-2-link", profile.path()).unwrap();
        symlink(OUT, home.join("other-1-link")).unwrap();
        symlink(home.join("other-1-link"), auto.join("other")).unwrap();
        fs::write(home.join("profile.lock"), "").unwrap();
        profile.remove_all(&state).unwrap();
        profile.remove_all(&state).unwrap();
        let names = |dir: &Path| -> Vec<_> {
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect()
        };
        assert_eq!(names(&home), ["other-1-link"]);
        assert_eq!(names(&auto), ["other"]);
    }

    #[test]
    fn a_directory_in_its_place_stops_the_removal() {
        let dir = tempfile::tempdir().unwrap();
        let profile = Profile::new(dir.path().join("profile")).unwrap();
        fs::create_dir(profile.path()).unwrap();
        symlink(OUT, profile.link(1)).unwrap();
        assert!(matches!(profile.remove_all(dir.path()), Err(Error::NotALink { .. })));
        assert_eq!(ids(&profile), [1]);
        assert!(matches!(Profile::new("relative"), Err(Error::BadPath { .. })));
        assert!(matches!(Profile::new("/"), Err(Error::BadPath { .. })));
    }
}
