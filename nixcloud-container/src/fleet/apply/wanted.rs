//! What there is to be: the containers of a set, of a manifest, or all that there are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::item::What;
use crate::build::instantiate::Instantiator;
use crate::build::source::Source;
use crate::error::Error;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::note::DeclarationNote;
use crate::model::observe::{self, Cancel, Observer, Phase};
use crate::model::state::{Action, State};
use crate::ops::update::UpdateRequest;
use crate::store::manifest::Manifest;
use crate::store::presence;
use crate::store::record::{Declared, Record, RecordPhase};
use crate::store::reference::{self, ReferenceError};

/// The containers, and who declares them.
#[derive(Debug)]
pub(super) struct Wanted {
    /// `None` where those that there are are to be updated.
    pub(super) by: Option<By>,
    pub(super) members: Vec<Member>,
    /// Those that are left at a generation which somebody chose.
    pub(super) pinned: Vec<Record>,
}

/// Who declares containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct By {
    pub(super) source: String,
    built: bool,
}

impl By {
    /// What the record of a container says of it.
    pub(super) fn declared(&self, what: &What) -> Declared {
        let ephemeral = matches!(what, What::Package { package, .. } if package.ephemeral);
        Declared { source: self.source.clone(), built: self.built, ephemeral }
    }

    /// Whether a container is one of its own.
    pub(super) fn owns(&self, record: &Record) -> bool {
        record.declared.as_ref().is_some_and(|declared| {
            declared.source == self.source
                // Earlier versions noted a path as it was typed, links and all.
                || !self.built && !declared.built && identity(declared.source.as_ref()) == self.source
        })
    }
}

/// One of the containers.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) what: Result<(ContainerName, What), Error>,
}

impl Member {
    fn new(name: String, what: impl FnOnce() -> Result<What, Error>) -> Self {
        let parsed = name.parse().map_err(Error::Name);
        let what = parsed.and_then(|name| Ok((name, what()?)));
        Self { name, what }
    }
}

/// Where the containers of a set are.
#[derive(Debug)]
pub(super) enum Set {
    /// One file each.
    Folder { path: PathBuf, nix_args: Vec<String> },
    /// All in one value of Nix.
    Value(Box<Source>),
}

/// A set by its place: what a link leads to is the same set by whichever way it is named.
fn identity(text: &Path) -> String {
    reference::resolved(text).display().to_string()
}

impl Set {
    pub(super) fn find(path: &Path, nix_args: &[String]) -> Result<Self, Error> {
        let whole = reference::absolute(path)?;
        let has = |file: &str| whole.join(file).is_file();
        if whole.is_dir() && !has("flake.nix") && !has("default.nix") {
            // Arguments that are wrong are told before anything is done.
            crate::nix::UserArgs::parse(nix_args).map_err(|error| Error::Nix(error.into()))?;
            return Ok(Self::Folder { path: whole, nix_args: nix_args.to_vec() });
        }
        Ok(Self::Value(Box::new(Source::set(path, nix_args)?)))
    }

    /// Its containers. What is in a value is for Nix to say.
    pub(super) fn wanted(
        &self,
        instantiator: &Instantiator<'_>,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<Wanted, Error> {
        let by = |path: &Path| Some(By { source: identity(path), built: false });
        match self {
            Self::Folder { path, nix_args } => {
                Ok(Wanted { by: by(path), members: in_folder(path, nix_args)?, pinned: Vec::new() })
            }
            Self::Value(set) => {
                let names = |observer: &mut dyn Observer| instantiator.names(set, observer, cancel);
                // Who reads a file is done before it could be told; a flake may have to be fetched.
                let names = if set.reference.is_flake() {
                    observe::phase(Phase::Evaluate, observer, names)?
                } else {
                    names(observer)?
                };
                let member = |name: String| {
                    let source = set.member(&name);
                    Member::new(name, || Ok(What::Source(Box::new(source))))
                };
                let members = names.into_iter().map(member).collect();
                Ok(Wanted { by: by(&set.reference.text), members, pinned: Vec::new() })
            }
        }
    }
}

/// `NAME.nix` and `NAME/default.nix`. What begins with `.` or `_` is no container, and so can be what they import.
fn in_folder(path: &Path, nix_args: &[String]) -> Result<Vec<Member>, Error> {
    let failed = |source| ReferenceError::Missing { path: path.to_owned(), source };
    let mut files: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let stem = if file.is_dir() {
            file.file_name().filter(|_| file.join("default.nix").is_file())
        } else {
            file.file_stem().filter(|_| file.extension().is_some_and(|extension| extension == "nix"))
        };
        let stem = stem.map(|stem| stem.to_string_lossy().into_owned());
        if let Some(name) = stem.filter(|name| !name.starts_with(['.', '_'])) {
            files.entry(name).or_default().push(file);
        }
    }
    let member = |(name, files): (String, Vec<PathBuf>)| {
        Member::new(name, || match files.as_slice() {
            [first, second, ..] => {
                Err(ReferenceError::Twice { first: first.clone(), second: second.clone() }.into())
            }
            [only] => Ok(What::Source(Box::new(Source::container(only, nix_args)?))),
            [] => Err(ReferenceError::NoFlake { path: path.to_owned() }.into()),
        })
    };
    Ok(files.into_iter().map(member).collect())
}

impl Wanted {
    /// What a manifest names.
    pub(super) fn built(path: &Path) -> Result<Self, Error> {
        let path = reference::absolute(path)?;
        let manifest = Manifest::read(&path)?;
        let member = |(name, entry): (String, crate::store::manifest::Entry)| {
            Member::new(name, || {
                Ok(What::Package { package: Box::new(entry.package()?), manifest: path.clone() })
            })
        };
        let members = manifest.containers.into_iter().map(member).collect();
        let by = Some(By { source: Manifest::identity(&path), built: true });
        Ok(Self { by, members, pinned: Vec::new() })
    }

    /// One container, as an update takes it: with the file and the arguments that are given, else with its last ones.
    pub(super) fn one(
        name: &ContainerName,
        record: Option<&Record>,
        request: &UpdateRequest,
    ) -> Result<Self, Error> {
        let last = record.map(|record| (&record.file, &record.nix_args[..]));
        let (file, args) = match (&request.file, last) {
            (None, None) => return Err(Error::NotFound { name: name.clone() }),
            (None, Some((file, args))) => (file, args),
            (Some(file), last) => (file, last.map(|(_, args)| args).unwrap_or_default()),
        };
        if request.file.is_none()
            && let Some(declared) = record.and_then(|record| record.declared.as_ref())
            && declared.built
        {
            return Err(Error::DeclaredByHost { name: name.clone(), by: declared.source.clone() });
        }
        if file.as_os_str().is_empty() {
            return Err(Error::NoFile { name: name.clone() });
        }
        let source = Source::container(file, request.nix_args.as_deref().unwrap_or(args))?;
        let what = Ok((name.clone(), What::Source(Box::new(source))));
        let members = vec![Member { name: name.to_string(), what }];
        Ok(Self { by: None, members, pinned: Vec::new() })
    }

    /// All containers, each with its last file. Those that the host configuration declares are left to it.
    pub(super) fn recorded(
        host: &Host,
        nix_args: Option<&[String]>,
        observer: &mut dyn Observer,
    ) -> Result<Self, Error> {
        let (mut members, mut pinned) = (Vec::new(), Vec::new());
        for name in host.names()? {
            let record = match host.record(&name) {
                Ok(record) => record,
                // Destroyed meanwhile.
                Err(Error::NotFound { .. }) => continue,
                Err(error) => {
                    members.push(Member { name: name.to_string(), what: Err(error) });
                    continue;
                }
            };
            if record.declared.as_ref().is_some_and(|declared| declared.built) {
                observer.event(DeclarationNote::LeftToHost { name }.into());
                continue;
            }
            if record.pinned && !record.phase.is_unfinished() {
                pinned.push(record);
                continue;
            }
            let what = match record.phase {
                RecordPhase::Creating | RecordPhase::Destroying => {
                    if let Some(state) = presence::in_hands(&host.layout, &record) {
                        observer.event(DeclarationNote::LeftOut { name, state }.into());
                        continue;
                    }
                    Err(Error::State { name: name.clone(), state: State::Incomplete, action: Action::Update })
                }
                RecordPhase::Ready | RecordPhase::Switching { .. } => {
                    Source::container(&record.file, nix_args.unwrap_or(&record.nix_args))
                        .map(|source| (name.clone(), What::Source(Box::new(source))))
                }
            };
            members.push(Member { name: name.to_string(), what });
        }
        Ok(Self { by: None, members, pinned })
    }
}
