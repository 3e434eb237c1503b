//! Containers that somebody else has built: what the host configuration of NixOS hands over.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::fs::error::FileError;
use crate::model::spec::{ContainerSpec, SpecError};
use crate::nix::{STORE_DIR, StorePath};

/// The schema of manifests that this version reads.
const SCHEMA: u32 = 1;

/// A manifest, read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    #[serde(rename = "schema")]
    _schema: u32,
    /// By name.
    pub(crate) containers: BTreeMap<String, Entry>,
}

/// A container in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The generation: `container`, `init` and `spec.json`.
    out: StorePath,
    /// Whether the container goes when it is declared no more.
    #[serde(default)]
    pub(crate) ephemeral: bool,
}

/// A generation that is built.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) out: StorePath,
    pub(crate) spec: ContainerSpec,
    pub(crate) ephemeral: bool,
}

/// A manifest, or something that it names, that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// The manifest cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// The file is no manifest.
    #[error("{} is no manifest of built containers", .path.display())]
    #[non_exhaustive]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong with the JSON.
        source: serde_json::Error,
    },
    /// It is for a newer version.
    #[error("{} has schema {found}; this version reads up to {SCHEMA}", .path.display())]
    #[non_exhaustive]
    Newer {
        /// The file.
        path: PathBuf,
        /// The schema of the manifest.
        found: u32,
    },
    /// What it names is no generation of a container.
    #[error("{out} is no built container: it has no `{what}`")]
    #[non_exhaustive]
    Package {
        /// The store path.
        out: StorePath,
        /// The part of the package that is missing.
        what: &'static str,
    },
    /// The spec of what it names cannot be read.
    #[error("the spec of {out} cannot be used")]
    #[non_exhaustive]
    Spec {
        /// The store path.
        out: StorePath,
        /// The error that this one follows from.
        source: SpecError,
    },
}

impl Manifest {
    pub(crate) fn read(path: &Path) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Probe {
            schema: u32,
        }
        let path = path.to_owned();
        let json = whole(&path).map_err(FileError::at("read", &path))?;
        let wrong = |source| ManifestError::Json { path: path.clone(), source };
        let Probe { schema } = serde_json::from_slice(&json).map_err(wrong)?;
        if schema > SCHEMA {
            return Err(ManifestError::Newer { path, found: schema });
        }
        serde_json::from_slice(&json).map_err(wrong)
    }

    /// What a manifest is known by from one host configuration to the next: its path, or in the store, where that is
    /// another each time, its name.
    pub(crate) fn identity(path: &Path) -> String {
        let in_store = path.strip_prefix(STORE_DIR).ok().and_then(|rest| {
            let (_, name) = rest.to_str()?.split_once('-')?;
            Some(format!("{STORE_DIR}/...-{name}"))
        });
        in_store.unwrap_or_else(|| path.display().to_string())
    }
}

/// To open a pipe waits for its writer, and no Ctrl-C ends that: what is no file is not opened.
fn whole(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    std::fs::read(path)
}

impl Entry {
    /// Looks at what it names.
    pub(crate) fn package(&self) -> Result<Package, ManifestError> {
        let out = self.out.clone();
        for what in ["container", "init"] {
            if out.as_path().join(what).symlink_metadata().is_err() {
                return Err(ManifestError::Package { out, what });
            }
        }
        let Ok(json) = std::fs::read(out.as_path().join("spec.json")) else {
            return Err(ManifestError::Package { out, what: "spec.json" });
        };
        let spec = ContainerSpec::from_json(&json)
            .map_err(|source| ManifestError::Spec { out: out.clone(), source })?;
        Ok(Package { out, spec, ephemeral: self.ephemeral })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_in_the_store_is_known_by_its_name() {
        let identity = |path: &str| Manifest::identity(Path::new(path));
        let hash = "4pdrk2l54x8lw75fdyqhqcq15xwk0kyk";
        assert_eq!(identity("/etc/nixcloud-container/x.json"), "/etc/nixcloud-container/x.json");
        assert_eq!(identity(&format!("/nix/store/{hash}-x.json")), "/nix/store/...-x.json");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Manifest::read(&path)
        };
        assert!(matches!(read(r#"{"schema":2,"new":1}"#), Err(ManifestError::Newer { found: 2, .. })));
        assert!(matches!(read("{}"), Err(ManifestError::Json { .. })));
        assert!(matches!(read(r#"{"schema":1,"containers":{},"x":1}"#), Err(ManifestError::Json { .. })));
        let out = "/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-nothing";
        let manifest = read(&format!(r#"{{"schema":1,"containers":{{"web":{{"out":"{out}"}}}}}}"#)).unwrap();
        let error = manifest.containers["web"].package().unwrap_err();
        assert!(matches!(error, ManifestError::Package { what: "container", .. }), "{error}");
        assert!(matches!(Manifest::read(&folder.path().join("none")), Err(ManifestError::Read { .. })));
        let pipe = folder.path().join("pipe");
        ::nix::unistd::mkfifo(&pipe, ::nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(matches!(Manifest::read(&pipe), Err(ManifestError::Read { .. })));
    }
}
