//! The versions of Nix, the prepared stand-ins, and the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

/// The releases that are played; what they differ in is in `tests/nixpkgs/README.md`.
pub const RELEASES: [&str; 3] = ["18.03", "20.09", "24.11"];

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder of this run with the stand-ins in it, removed at the end.
#[derive(Clone)]
pub struct Folder(std::sync::Arc<Inner>);

struct Inner {
    path: PathBuf,
    prepared: Mutex<BTreeMap<String, PathBuf>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

impl Folder {
    pub fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("nix-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(std::sync::Arc::new(Inner { path, prepared: Mutex::default() }))
    }

    /// The stand-in of a release, prepared once.
    pub fn standin(&self, release: &str) -> PathBuf {
        let mut prepared = self.0.prepared.lock().unwrap();
        if let Some(path) = prepared.get(release) {
            return path.clone();
        }
        let path = self.0.path.join(release);
        let output = Command::new(root().join("tests/nixpkgs/prepare.sh"))
            .arg(&path)
            .args(["--release", release])
            .output();
        succeeded("prepare.sh", &output.unwrap());
        prepared.insert(release.to_owned(), path.clone());
        path
    }

    /// A path of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path.join(name)
    }
}

/// One version of Nix.
#[derive(Clone)]
pub struct Nix {
    /// The folder of its programs.
    bin: PathBuf,
}

impl Nix {
    /// The one in `PATH`.
    pub fn of_this_machine() -> Option<Self> {
        let path = std::env::var_os("PATH")?;
        let bin = std::env::split_paths(&path).find(|folder| folder.join("nix-instantiate").is_file())?;
        Some(Self { bin })
    }

    /// Nix 2.26, or why it cannot be had.
    pub fn newer() -> Result<Self, String> {
        let output =
            Command::new(root().join("tests/nix/nix-2.26.sh")).output().map_err(|error| error.to_string())?;
        if output.status.success() {
            Ok(Self { bin: String::from_utf8_lossy(&output.stdout).trim().into() })
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        }
    }

    /// One of its programs, to be run without caches and build users.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.env("NIX_CONFIG", "substitute = false\nbuild-users-group =").env_remove("NIX_PATH");
        command
    }

    /// A program of another kind that calls Nix by name.
    pub fn environment(&self, command: &mut Command) {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.bin.clone()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(folders).unwrap());
    }

    /// An expression's value.
    pub fn json(&self, standin: &Path, file: &Path, arguments: &[&str]) -> serde_json::Value {
        let output = self
            .command("nix-instantiate")
            .args(["--eval", "--strict", "--json", "--read-write-mode", "--show-trace", "-I"])
            .arg(format!("nixpkgs={}", standin.display()))
            .arg(file)
            .args(arguments)
            .output()
            .unwrap();
        serde_json::from_str(&succeeded(&file.display().to_string(), &output)).unwrap()
    }
}

/// What a command said that must have succeeded.
#[track_caller]
pub fn succeeded(what: &str, output: &Output) -> String {
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{said}\n{errors}", output.status);
    said.into_owned()
}
