//! How a user names a container file: a path, an attribute of a file (`all.nix#web`), or an attribute of a flake
//! (`.#web`, `github:me/shop#web`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::model::hint::{Hint, Remedy};

/// The output of a flake that is a set of containers. `nix/origin.nix` knows it, too.
pub(crate) const OUTPUT: &str = "nixcloudContainers";

/// A container file, or a set of them, found: nothing in it is relative any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    /// As a record keeps it, and as it can be given again.
    pub(crate) text: PathBuf,
    /// The same for `nix/origin.nix`.
    pub(crate) origin: ValuePlace,
}

/// Where a value is, as data for `nix/origin.nix`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum ValuePlace {
    /// In a file, or in an attribute of it.
    File {
        /// The file.
        file: PathBuf,
        /// The attribute; none for the whole file.
        attr: Vec<String>,
    },
    /// In an attribute of a flake.
    Flake {
        /// The flake, as `builtins.getFlake` takes it.
        flake: String,
        /// The attribute; none for the output that is a set of containers.
        attr: Vec<String>,
    },
}

impl ValuePlace {
    /// The folder of a file.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File { file, .. } => file.parent(),
            Self::Flake { .. } => None,
        }
    }
}

/// A reference that leads nowhere, or that cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// There is no such file.
    #[error("cannot find the container file {}", .path.display())]
    #[non_exhaustive]
    Missing {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// None is named, and none is known: of a container that the shell original made it may not be.
    #[error("no container file is known")]
    NotKnown,
    /// The folder is no flake.
    #[error("{} is no flake: it has no flake.nix", .path.display())]
    #[non_exhaustive]
    NoFlake {
        /// The folder.
        path: PathBuf,
    },
    /// A flake, but no attribute of it.
    #[error("`{flake}` is a flake: which of its containers is meant is not said")]
    #[non_exhaustive]
    NoAttribute {
        /// The flake.
        flake: String,
    },
    /// A folder of containers has two files for one.
    #[error("both {} and {} are its container file", .first.display(), .second.display())]
    #[non_exhaustive]
    Twice {
        /// The first of the two files.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The attribute is none.
    #[error("`{attribute}` is no attribute path: {why}")]
    #[non_exhaustive]
    Attribute {
        /// The attribute that was given.
        attribute: String,
        /// What is wrong with the attribute.
        why: &'static str,
    },
    /// Nix reads a flake's path as a URL, and knows no way to write this one.
    #[error("Nix cannot read a flake from {}: its path has `{character}` in it", .path.display())]
    #[non_exhaustive]
    Path {
        /// The folder.
        path: PathBuf,
        /// The character.
        character: char,
    },
}

impl ReferenceError {
    /// How to go on, where there is a way.
    #[must_use]
    pub fn hint(&self) -> Option<Hint> {
        let words = match self {
            Self::Missing { path, .. } if path.ends_with("default.nix") => {
                "a folder is a container file where it has a `default.nix`; of a flake, `FOLDER#NAME` is one"
                    .to_owned()
            }
            Self::NotKnown => return Some(Hint::from(Remedy::Update { name: None }).words(" names one")),
            Self::NoAttribute { flake } => format!("`{flake}#NAME` names one"),
            Self::Path { .. } => "put the flake into a Git repository, or rename the folder".to_owned(),
            _ => return None,
        };
        Some(words.into())
    }
}

/// What a reference as a record keeps it leads to, without links on the way: one that leads nowhere, or to no file of this
/// host, stays as it is.
pub(crate) fn resolved(text: &Path) -> PathBuf {
    if let Ok(path) = text.canonicalize() {
        return path;
    }
    let place = text.to_str().and_then(|text| text.rsplit_once('#'));
    match place.and_then(|(place, attribute)| Some((Path::new(place).canonicalize().ok()?, attribute))) {
        Some((path, attribute)) => PathBuf::from(format!("{}#{attribute}", path.display())),
        None => text.to_owned(),
    }
}

impl Reference {
    /// Finds the container file that `given` names. A path that exists is that path, whatever is in its name.
    pub(crate) fn container(given: &Path) -> Result<Self, ReferenceError> {
        if given.as_os_str().is_empty() {
            return Err(ReferenceError::NotKnown);
        }
        let found = Self::find(given)?;
        match &found.origin {
            ValuePlace::Flake { attr, .. } if attr.is_empty() => {
                Err(ReferenceError::NoAttribute { flake: given.display().to_string() })
            }
            _ => Ok(found),
        }
    }

    /// As [`container`](Self::container), for a set of containers: a folder with a `flake.nix` is a flake here, and its
    /// attribute need not be named.
    pub(crate) fn set(given: &Path) -> Result<Self, ReferenceError> {
        let folder = absolute(given)?;
        if folder.join("flake.nix").is_file() {
            Self::flake_in(&folder, Vec::new())
        } else {
            Self::find(given)
        }
    }

    fn find(given: &Path) -> Result<Self, ReferenceError> {
        let whole = absolute(given)?;
        let text = given.to_str().unwrap_or_default();
        if whole.symlink_metadata().is_ok() {
            return Self::file(whole, Vec::new());
        }
        let (place, attribute) = text.split_once('#').unwrap_or((text, ""));
        if let Some(url) = flake_url(place) {
            let attr = path_of(attribute)?;
            return Ok(Self { text: with(&url, &attr), origin: ValuePlace::Flake { flake: url, attr } });
        }
        if attribute.is_empty() {
            return Self::file(whole, Vec::new());
        }
        let attr = path_of(attribute)?;
        let place = absolute(Path::new(if place.is_empty() { "." } else { place }))?;
        if place.is_dir() { Self::flake_in(&place, attr) } else { Self::file(place, attr) }
    }

    /// Absolute, but not resolved: relative imports of a linked file are relative to the link's name for Nix too.
    fn file(path: PathBuf, attr: Vec<String>) -> Result<Self, ReferenceError> {
        let file = if path.is_dir() { path.join("default.nix") } else { path };
        readable(&file).map_err(|source| ReferenceError::Missing { path: file.clone(), source })?;
        let text = if attr.is_empty() { file.clone() } else { with(&file.display().to_string(), &attr) };
        Ok(Self { text, origin: ValuePlace::File { file, attr } })
    }

    fn flake_in(folder: &Path, attr: Vec<String>) -> Result<Self, ReferenceError> {
        if !folder.join("flake.nix").is_file() {
            return Err(ReferenceError::NoFlake { path: folder.to_owned() });
        }
        let flake = local(folder)?;
        Ok(Self {
            text: with(&folder.display().to_string(), &attr),
            origin: ValuePlace::Flake { flake, attr },
        })
    }

    /// The container `name` of this set.
    pub(crate) fn member(&self, name: &str) -> Self {
        let mut member = self.clone();
        match &mut member.origin {
            ValuePlace::Flake { attr, .. } => {
                if attr.is_empty() {
                    attr.push(OUTPUT.to_owned());
                }
                attr.push(name.to_owned());
            }
            ValuePlace::File { attr, .. } => attr.push(name.to_owned()),
        }
        let (ValuePlace::Flake { attr, .. } | ValuePlace::File { attr, .. }) = &member.origin;
        let own = self.text.display().to_string();
        let place = own.strip_suffix(&format!("#{}", dotted(self.attr()))).unwrap_or(&own);
        member.text = with(place, attr);
        member
    }

    /// Whether Nix needs its flakes for it.
    pub(crate) fn is_flake(&self) -> bool {
        matches!(self.origin, ValuePlace::Flake { .. })
    }

    fn attr(&self) -> &[String] {
        let (ValuePlace::Flake { attr, .. } | ValuePlace::File { attr, .. }) = &self.origin;
        attr
    }

    /// A name for it where nobody gives one: of `/srv/web.nix`, of `/srv/web/default.nix` and of `.#web` it is `web`.
    pub(crate) fn stem(&self) -> Option<&str> {
        if let Some(last) = self.attr().last() {
            return Some(last);
        }
        let ValuePlace::File { file, .. } = &self.origin else { return None };
        let named = if file.ends_with("default.nix") { file.parent()?.file_name() } else { file.file_stem() };
        named?.to_str()
    }
}

/// To open a pipe waits for its writer, and no Ctrl-C ends that: what is no file is not opened.
fn readable(file: &Path) -> io::Result<()> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is neither a regular file nor a folder"));
    }
    fs::File::open(file).map(drop)
}

/// An absolute path, without a slash at its end; links are not followed.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, ReferenceError> {
    let whole = std::path::absolute(path);
    let whole = whole.map_err(|source| ReferenceError::Missing { path: path.to_owned(), source })?;
    Ok(whole.components().collect())
}

/// A flake by its URL, such as `github:me/shop`; a relative `path:` made absolute.
fn flake_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if rest.is_empty()
        || !scheme.starts_with(|c: char| c.is_ascii_lowercase())
        || !scheme.chars().all(letters)
    {
        return None;
    }
    if scheme == "path" && !rest.starts_with('/') {
        let path = std::path::absolute(rest).ok()?;
        return Some(format!("path:{}", path.display()));
    }
    Some(text.to_owned())
}

/// A local flake as Nix itself takes it: what Git knows of it where it is in a repository, else the whole folder.
fn local(folder: &Path) -> Result<String, ReferenceError> {
    if let Some(top) = folder.ancestors().find(|folder| folder.join(".git").exists()) {
        let url = format!("git+file://{}", encoded(&top.display().to_string()));
        let below = folder.strip_prefix(top).unwrap_or(Path::new("")).display().to_string();
        return Ok(if below.is_empty() { url } else { format!("{url}?dir={}", encoded(&below)) });
    }
    let path = folder.display().to_string();
    match path.chars().find(|c| !plain(*c)) {
        Some(character) => Err(ReferenceError::Path { path: folder.to_owned(), character }),
        None => Ok(format!("path:{path}")),
    }
}

/// What a URL may hold as it is.
fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "/-._~+=@,".contains(c)
}

fn encoded(text: &str) -> String {
    let mut url = String::new();
    for byte in text.bytes() {
        match char::from(byte) {
            c if plain(c) => url.push(c),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

fn with(place: &str, attr: &[String]) -> PathBuf {
    if attr.is_empty() { place.into() } else { format!("{place}#{}", dotted(attr)).into() }
}

/// An attribute path as Nix writes it.
fn dotted(attr: &[String]) -> String {
    let quoted = |name: &String| {
        let bare = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_'".contains(c));
        if bare { name.clone() } else { format!("\"{name}\"") }
    };
    attr.iter().map(quoted).collect::<Vec<_>>().join(".")
}

/// Splits `a."b.c".d`.
fn path_of(text: &str) -> Result<Vec<String>, ReferenceError> {
    let wrong = |why| ReferenceError::Attribute { attribute: text.to_owned(), why };
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                quoted.split_once('"').ok_or_else(|| wrong("a quotation mark has no counterpart"))?
            }
            None => rest.split_at(rest.find('.').unwrap_or(rest.len())),
        };
        rest = match after.strip_prefix('.') {
            Some("") => return Err(wrong("nothing follows its last dot")),
            Some(next) => next,
            None if after.is_empty() => "",
            None => return Err(wrong("behind a quotation mark there must be a dot")),
        };
        if name.is_empty() {
            return Err(wrong("a name in it is empty"));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flake(flake: &str, attr: &[&str]) -> ValuePlace {
        ValuePlace::Flake {
            flake: flake.to_owned(),
            attr: attr.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("web.nix");
        ::nix::unistd::mkfifo(&pipe, ::nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Reference::container(&pipe).unwrap_err();
        assert!(matches!(error, ReferenceError::Missing { path, .. } if path == pipe));
    }

    #[test]
    fn a_path_that_exists_wins() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a#b.nix"), "{ }").unwrap();
        fs::write(at("a"), "{ }").unwrap();
        let whole = Reference::container(&at("a#b.nix")).unwrap();
        assert_eq!(whole.origin, ValuePlace::File { file: at("a#b.nix"), attr: vec![] });
        let part = Reference::container(&at("a#b.\"c.d\"")).unwrap();
        assert_eq!(part.origin, ValuePlace::File { file: at("a"), attr: vec!["b".into(), "c.d".into()] });
        assert_eq!((part.text.clone(), part.stem()), (at("a#b.\"c.d\""), Some("c.d")));
        assert_eq!(whole.stem(), Some("a#b"));
        // What a record keeps leads to the same.
        assert_eq!(Reference::container(&part.text).unwrap(), part);
        assert_eq!(Reference::set(&at("a")).unwrap().member("web").text, at("a#web"));
        assert_eq!(Reference::set(&at("a#b")).unwrap().member("web").text, at("a#b.web"));
        let error = Reference::container(&at("c#web")).unwrap_err();
        assert!(matches!(error, ReferenceError::Missing { path, .. } if path == at("c")));
    }

    #[test]
    fn a_folder_is_a_flake_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let web = || Reference::container(&path.join("#web"));
        assert!(matches!(web(), Err(ReferenceError::NoFlake { path: folder }) if folder == path));
        let web = || Reference::container(Path::new(&format!("{}#web", path.display())));
        assert!(matches!(web(), Err(ReferenceError::NoFlake { .. })));
        fs::write(path.join("flake.nix"), "{ }").unwrap();
        let url = format!("path:{}", path.display());
        assert_eq!(web().unwrap().origin, flake(&url, &["web"]));
        let set = Reference::set(path).unwrap();
        assert_eq!((set.text.as_path(), &set.origin), (path, &flake(&url, &[])));
        let member = set.member("db");
        assert_eq!(member.origin, flake(&url, &[OUTPUT, "db"]));
        assert_eq!(Reference::container(&member.text).unwrap(), member);
        // Without an attribute a folder is a container file, and has none here.
        assert!(matches!(Reference::container(path), Err(ReferenceError::Missing { .. })));
    }

    #[test]
    fn a_repository_is_read_as_nix_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("flake.nix"), "{ }").unwrap();
        let web = || Reference::container(Path::new(&format!("{}#web", inner.display())));
        assert!(matches!(web(), Err(ReferenceError::Path { character: ' ', .. })));
        fs::create_dir(folder.path().join(".git")).unwrap();
        let url = format!("git+file://{}?dir=a%20b", folder.path().display());
        assert_eq!(web().unwrap().origin, flake(&url, &["web"]));
    }

    #[test]
    fn urls_are_flakes() {
        let origin = |text: &str| Reference::container(Path::new(text)).map(|found| found.origin);
        assert_eq!(origin("github:me/shop/main#a.b").unwrap(), flake("github:me/shop/main", &["a", "b"]));
        let here = std::env::current_dir().unwrap();
        assert_eq!(origin("path:x#a").unwrap(), flake(&format!("path:{}/x", here.display()), &["a"]));
        assert!(matches!(origin("github:me/shop"), Err(ReferenceError::NoAttribute { .. })));
        assert!(Reference::set(Path::new("github:me/shop")).unwrap().is_flake());
        // No URL: a file with a colon in its name.
        assert!(matches!(origin("C:/x.nix"), Err(ReferenceError::Missing { .. })));
    }

    #[test]
    fn attribute_paths_are_read_as_nix_writes_them() {
        assert_eq!(path_of("a.\"b.c\".d").unwrap(), ["a", "b.c", "d"]);
        for wrong in ["a.", ".a", "a..b", "\"a", "\"a\"b", "\"\""] {
            assert!(matches!(path_of(wrong), Err(ReferenceError::Attribute { .. })), "{wrong}");
        }
    }
}
