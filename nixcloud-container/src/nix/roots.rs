//! Roots of the garbage collector, made and removed without a Nix process.
//!
//! Below the state directory's `gcroots` and `profiles` the collector takes every link to a store
//! path as a root. A link elsewhere counts when `gcroots/auto` has a link to it, whatever its name;
//! the collector itself removes those that lead nowhere.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::StorePath;
use super::store_path::BASE32;

/// A root that could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The link's path is relative, or has no file name.
    #[error("`{}` cannot be the path of a root: it must be absolute and end in a name", link.display())]
    #[non_exhaustive]
    BadPath {
        /// The link.
        link: PathBuf,
    },
    /// Something that is not a link is in the way; it is left alone.
    #[error("`{}` is not a symbolic link", link.display())]
    #[non_exhaustive]
    NotALink {
        /// The link.
        link: PathBuf,
    },
    /// A file operation failed.
    #[error("cannot {action} `{}`", path.display())]
    #[non_exhaustive]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Makes `link` a link to `target` (replacing an older link at once) and a root. `state_dir` is
/// Nix's, `/nix/var/nix`. The link's directory must exist.
///
/// `target` must be rooted by something else during the call, for instance by a generation of a
/// profile: a collection that runs already does not see the new root. Calling it again mends a
/// call that was killed in the middle. One call at a time for one link.
///
/// # Errors
///
/// [`Error::NotALink`] when something else is at `link`; [`Error::BadPath`]; [`Error::Io`].
pub fn add(link: &Path, target: &StorePath, state_dir: &Path) -> Result<(), Error> {
    let link = canonical(link)?;
    refuse_others(&link)?;
    replace(&link, target.as_path())?;
    if is_direct(&link, state_dir) {
        return Ok(());
    }
    // Afterwards: the collector would remove it as long as it leads nowhere.
    let auto = state_dir.join("gcroots/auto");
    fs::create_dir_all(&auto).map_err(Error::io("create", &auto))?;
    replace(&auto.join(auto_name(&link)), &link)
}

/// Removes `link` and all that made it a root. What is not there is no error.
///
/// # Errors
///
/// [`Error::NotALink`] when something else is at `link`; [`Error::BadPath`]; [`Error::Io`].
pub fn remove(link: &Path, state_dir: &Path) -> Result<(), Error> {
    let resolved = match canonical(link) {
        // Without the directory there is no link, but there may be what led to it.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => link.to_owned(),
        resolved => resolved?,
    };
    refuse_others(&resolved)?;
    // First what leads to it: whoever is killed on the way leaves the link, by which the next one finds the rest. Nix does not
    // resolve the path that it is given.
    remove_auto(state_dir, |target| target == link || target == resolved)?;
    remove_file(&unfinished(&resolved))?;
    remove_file(&resolved)
}

/// Removes those links in `gcroots/auto` whose target `matches`, whoever made them.
pub(super) fn remove_auto(state_dir: &Path, matches: impl Fn(&Path) -> bool) -> Result<(), Error> {
    let auto = state_dir.join("gcroots/auto");
    let entries = match fs::read_dir(&auto) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("list", &auto))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::io("list", &auto))?.path();
        // What is no link, or was removed meanwhile by a collection, is not ours.
        if fs::read_link(&path).is_ok_and(|target| matches(&target)) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes a file if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::io("remove", path)),
    }
}

/// The link's path with its directory resolved, which is how Nix sees it.
fn canonical(link: &Path) -> Result<PathBuf, Error> {
    let (Some(parent), Some(name), true) = (link.parent(), link.file_name(), link.is_absolute()) else {
        return Err(Error::BadPath { link: link.to_owned() });
    };
    Ok(parent.canonicalize().map_err(Error::io("resolve", parent))?.join(name))
}

fn is_direct(link: &Path, state_dir: &Path) -> bool {
    let Ok(state) = state_dir.canonicalize() else { return false };
    ["gcroots", "profiles"].iter().any(|scanned| link.starts_with(state.join(scanned)))
}

fn refuse_others(link: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(link) {
        Ok(found) if found.is_symlink() => Ok(()),
        Ok(_) => Err(Error::NotALink { link: link.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look at", link)(error)),
    }
}

/// Puts a link at `path` in one step.
fn replace(path: &Path, target: &Path) -> Result<(), Error> {
    let new = unfinished(path);
    remove_file(&new)?;
    symlink(target, &new).map_err(Error::io("create", &new))?;
    fs::rename(&new, path).map_err(|source| {
        let error = Error::io("replace", path)(source);
        // The first failure is the one to tell.
        let _left = fs::remove_file(&new);
        error
    })
}

/// Where a link stands until it is put at `path`. The same each time: where every link is a root,
/// one that a killed process left must be found again.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// A name of the same shape as Nix's own: 160 bits of a hash of the path, in its base 32.
fn auto_name(link: &Path) -> String {
    let hash = Sha256::digest(link.as_os_str().as_bytes());
    hash.chunks_exact(5)
        .take(4)
        .flat_map(|bytes| {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).map(move |digit| char::from(BASE32[(bits >> (5 * digit)) as usize & 31]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        format!("/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-{name}").parse().unwrap()
    }

    fn autos(state: &Path) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(state.join("gcroots/auto")) else { return Vec::new() };
        entries.map(|entry| fs::read_link(entry.unwrap().path()).unwrap()).collect()
    }

    #[test]
    fn a_link_elsewhere_gets_one_entry() {
        let dir = tempfile::tempdir().unwrap();
        let (state, link) = (dir.path().join("state"), dir.path().join("booted"));
        add(&link, &path("a"), &state).unwrap();
        add(&link, &path("b"), &state).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), path("b").as_path());
        assert_eq!(autos(&state), [link.canonicalize().unwrap_or(link.clone())]);
        remove(&link, &state).unwrap();
        remove(&link, &state).unwrap();
        assert!(fs::symlink_metadata(&link).is_err());
        assert!(autos(&state).is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
    }

    #[test]
    fn a_link_that_is_scanned_needs_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let roots = dir.path().join("gcroots/nixcloud");
        fs::create_dir_all(&roots).unwrap();
        let link = roots.join("x");
        add(&link, &path("a"), dir.path()).unwrap();
        assert!(autos(dir.path()).is_empty());
        // As a process leaves it that is killed half way.
        symlink(path("b").as_path(), unfinished(&link)).unwrap();
        remove(&link, dir.path()).unwrap();
        assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);
    }

    #[test]
    fn an_entry_by_another_way_to_the_directory_goes_too() {
        let dir = tempfile::tempdir().unwrap();
        let (real, other) = (dir.path().join("real"), dir.path().join("other"));
        fs::create_dir(&real).unwrap();
        symlink("real", &other).unwrap();
        add(&real.join("x"), &path("a"), dir.path()).unwrap();
        symlink(other.join("x"), dir.path().join("gcroots/auto/by-nix")).unwrap();
        remove(&other.join("x"), dir.path()).unwrap();
        assert!(autos(dir.path()).is_empty());
    }

    #[test]
    fn entries_of_nix_and_of_vanished_directories_go_too() {
        let dir = tempfile::tempdir().unwrap();
        let auto = dir.path().join("gcroots/auto");
        fs::create_dir_all(&auto).unwrap();
        let gone = dir.path().join("gone/link");
        symlink(&gone, auto.join("7ljvlhqbv20ss38jzivxmi2qrl50rpbl")).unwrap();
        symlink("/elsewhere", auto.join("q31dfk643bbzcq92y5357a9m0h1v7gr2")).unwrap();
        remove(&gone, dir.path()).unwrap();
        assert_eq!(autos(dir.path()), [PathBuf::from("/elsewhere")]);
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "mine").unwrap();
        assert!(matches!(add(&file, &path("a"), dir.path()), Err(Error::NotALink { .. })));
        assert!(matches!(remove(&file, dir.path()), Err(Error::NotALink { .. })));
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        assert!(matches!(add(Path::new("x"), &path("a"), dir.path()), Err(Error::BadPath { .. })));
        assert!(matches!(add(Path::new("/"), &path("a"), dir.path()), Err(Error::BadPath { .. })));
    }

    #[test]
    fn names_differ_and_have_the_shape_of_nix() {
        let name = auto_name(Path::new("/a"));
        assert_eq!(name.len(), 32);
        assert!(name.bytes().all(|byte| BASE32.contains(&byte)));
        assert_ne!(name, auto_name(Path::new("/b")));
    }
}
