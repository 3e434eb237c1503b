//! A folder and Nix for one test, and what is looked at beside it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use nixcloud_container::nix::{Error, Mode, Nix, SearchPath, StorePath, UserArgs};
use nixcloud_container::observe::{Cancel, Event};
use serde::Deserialize;

pub(crate) const STATE_DIR: &str = "/nix/var/nix";

/// What the tests' expressions evaluate to.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) drv: StorePath,
    pub(crate) request: String,
}

/// A temporary directory and Nix, set up not to touch the network nor the home directory.
pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) nix: Nix,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nix = Nix::new()
            .with_env("NIX_CONFIG", "substitute = false\nsandbox = false\nbuild-users-group =")
            .with_env("NIX_PATH", "")
            .with_env("HOME", dir.path());
        Self { dir, nix }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Evaluates an expression whose `mk NAME SCRIPT` is a derivation.
    pub(crate) fn evaluate(&self, body: &str) -> Result<Answer, Error> {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let file = self.write(
            "expression.nix",
            &format!(
                r#"{{ request }}: let
                  mk = name: script: derivation {{
                    inherit name;
                    system = builtins.currentSystem;
                    builder = "/bin/sh";
                    args = [ "-c" script ];
                    stamp = "{} {stamp}";
                  }};
                  answer = drv: {{ drv = drv.drvPath; inherit request; }};
                in {body}"#,
                std::process::id()
            ),
        );
        let request = self.write("request.json", "{}");
        let none = (SearchPath::new(), UserArgs::default());
        self.nix.evaluate(&file, &request, &none.0, &none.1, Mode::default(), &mut (), &Cancel::new())
    }

    pub(crate) fn realise(&self, drv: &StorePath, root: &str) -> (Result<StorePath, Error>, Vec<Event>) {
        let mut events = Vec::new();
        let mut observer = |event| events.push(event);
        let root = self.path(root);
        let result = self.nix.realise(drv, &root, &UserArgs::default(), &mut observer, &Cancel::new());
        (result, events)
    }

    pub(crate) fn build(&self, body: &str, root: &str) -> StorePath {
        let answer = self.evaluate(body).unwrap();
        self.realise(&answer.drv, root).0.unwrap()
    }

    /// The links by which `nix-store` says that `path` is rooted, of those below this bench.
    pub(crate) fn roots_of(&self, path: &StorePath) -> Vec<PathBuf> {
        let output = Command::new("nix-store").args(["--query", "--roots", path.as_str()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut links: Vec<PathBuf> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .map(|line| line.split(|byte| *byte == b' ').next().unwrap_or_default())
            .map(|link| PathBuf::from(OsStr::from_bytes(link)))
            .filter(|link| link.starts_with(self.path("")))
            .collect();
        links.sort();
        links.dedup();
        links
    }
}

impl Drop for Bench {
    /// Entries of `gcroots/auto` that lead here; those whose link is gone lead nowhere.
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(format!("{STATE_DIR}/gcroots/auto")) else { return };
        for entry in entries.flatten() {
            if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(self.path(""))) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

/// The pids of the processes that have `mark` among their arguments.
pub(crate) fn with_argument(mark: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes())
        })
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

pub(crate) fn alive(mark: &str) -> usize {
    with_argument(mark).len()
}
