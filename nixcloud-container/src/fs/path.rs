//! One spelling for a path, also for one that does not exist yet.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Why a path has no canonical spelling.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The part that does not exist yet goes upwards.
    #[error("{path} has `..` in the part that does not exist")]
    Upwards {
        /// The path as given.
        path: PathBuf,
    },
    /// A symbolic link on the way leads nowhere: the spelling would change once its target exists.
    #[error("{path} is a symbolic link that leads nowhere")]
    Dangling {
        /// The link.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot resolve {path}")]
    Io {
        /// The path that was being resolved.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The canonical spelling of `path`: its nearest existing ancestor without symbolic links, and then the rest as
/// it is. A relative path is taken from the current directory.
///
/// LXC identifies a container by the *string* of its path, so that every program must arrive at the same one,
/// also before the directory is there.
///
/// # Errors
///
/// [`Error::Upwards`] and [`Error::Dangling`] where no spelling would last, [`Error::Io`] otherwise (a component
/// that is no directory, a loop of links, missing permission).
pub fn canonical(path: &Path) -> Result<PathBuf, Error> {
    let io = |path: &Path, source| Error::Io { path: path.to_owned(), source };
    let path_abs = std::path::absolute(path).map_err(|source| io(path, source))?;
    let mut missing = Vec::new();
    let mut existing = path_abs.as_path();
    loop {
        match existing.canonicalize() {
            Ok(mut found) => {
                found.extend(missing.iter().rev());
                return Ok(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    return Err(Error::Dangling { path: existing.to_owned() });
                }
                let (Some(last), Some(parent)) = (existing.components().next_back(), existing.parent())
                else {
                    return Err(io(existing, error));
                };
                if last == Component::ParentDir {
                    return Err(Error::Upwards { path: path.to_owned() });
                }
                missing.push(last);
                existing = parent;
            }
            Err(error) => return Err(io(existing, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_missing_rest_is_kept_and_links_before_it_are_resolved() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        symlink("real", base.join("link")).unwrap();
        assert_eq!(canonical(&base.join("link/./a//b/")).unwrap(), base.join("real/a/b"));
        assert_eq!(canonical(&base.join("link/../new")).unwrap(), base.join("new"));
        assert_eq!(canonical(Path::new("/")).unwrap(), Path::new("/"));
    }

    #[test]
    fn what_would_not_last_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        symlink("nowhere", temp.path().join("link")).unwrap();
        std::fs::write(temp.path().join("file"), "").unwrap();
        let refused = |rest: &str| canonical(&temp.path().join(rest)).unwrap_err();
        assert!(matches!(refused("link/a"), Error::Dangling { path } if path.ends_with("link")));
        assert!(matches!(refused("a/../b"), Error::Upwards { .. }));
        assert!(matches!(refused("file/a"), Error::Io { .. }));
    }
}
