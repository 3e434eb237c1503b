//! The operations of Nix that containers need, with typed results.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::de::DeserializeOwned;

use super::argv::{self, Invocation, Mode, Program, SearchPath};
use super::error::Error;
use super::runner;
use super::{StorePath, UserArgs, Version};
use crate::model::observe::{Cancel, Observer};

/// Nix as it is installed: where its programs are and what is added to their environment.
///
/// They inherit this process's environment (`NIX_PATH`, `NIX_CONFIG`, `NIX_REMOTE` and others count)
/// and working directory. All methods block; they may be called from any number of threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nix {
    instantiate: PathBuf,
    store: PathBuf,
    env: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

/// So many paths are asked about in one call: the kernel limits a command line.
const AT_ONCE: usize = 1000;

/// What a program printed that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
}

impl Default for Nix {
    fn default() -> Self {
        Self::new()
    }
}

impl Nix {
    /// The programs on `PATH`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            instantiate: Program::NixInstantiate.name().into(),
            store: Program::NixStore.name().into(),
            env: Program::NixEnv.name().into(),
            environment: Vec::new(),
        }
    }

    /// Takes `program` from `path`: a file, or a name to be looked up on `PATH`.
    #[must_use]
    pub fn with_program(mut self, program: Program, path: impl Into<PathBuf>) -> Self {
        match program {
            Program::NixInstantiate => self.instantiate = path.into(),
            Program::NixStore => self.store = path.into(),
            Program::NixEnv => self.env = path.into(),
        }
        self
    }

    /// Adds a variable to the environment of every program.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where `program` is looked for.
    #[must_use]
    pub fn program(&self, program: Program) -> &Path {
        match program {
            Program::NixInstantiate => &self.instantiate,
            Program::NixStore => &self.store,
            Program::NixEnv => &self.env,
        }
    }

    /// Runs one program to its end. Events go to `observer` while it runs, on this thread.
    ///
    /// # Errors
    ///
    /// Any but those that are about the meaning of an answer. A program that was cancelled has
    /// ended, with its builders, when this returns: after SIGINT, or by SIGKILL if it does not obey
    /// within 2 seconds (an evaluation: half a second).
    pub fn run(
        &self,
        invocation: &Invocation,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<Output, Error> {
        let program = invocation.program;
        let mut command = Command::new(self.program(program));
        command.args(&invocation.args);
        let variables = self.environment.iter().chain(&invocation.env);
        command.envs(variables.map(|(name, value)| (name, value)));
        tracing::debug!(%program, args = ?invocation.args, "running");
        let begin = Instant::now();
        let finished = runner::run(command, program, observer, cancel);
        let took = begin.elapsed();
        match &finished {
            Ok(finished) => tracing::debug!(%program, status = %finished.status, ?took, "ended"),
            Err(error) => tracing::debug!(%program, %error, ?took, "cut off"),
        }
        let finished = finished?;
        if finished.status.success() {
            Ok(Output { stdout: finished.stdout })
        } else {
            Err(Error::of_run(program, finished.status, finished.log))
        }
    }

    /// Evaluates `expression` with the JSON file `request` and reads the result; see
    /// [`argv::evaluate`].
    ///
    /// # Errors
    ///
    /// [`Error::Evaluation`] when the expression fails, [`Error::Build`] when something that it
    /// imports cannot be built, [`Error::Unreadable`] when the result is not a `T`, and those of
    /// [`Nix::run`].
    #[expect(clippy::too_many_arguments, reason = "each is another thing that Nix is told")]
    pub fn evaluate<T: DeserializeOwned>(
        &self,
        expression: &Path,
        request: &Path,
        search: &SearchPath,
        user: &UserArgs,
        mode: Mode,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<T, Error> {
        let invocation = argv::evaluate(expression, request, search, user, mode)?;
        let output = self.run(&invocation, observer, cancel).map_err(|mut error| {
            let own = expression.parent().map(Path::to_owned);
            let searched = search.paths().chain(user.include_paths()).chain(self.nix_path());
            // Nix follows links of a search path.
            let searched = searched.flat_map(|path| [path.canonicalize().ok(), Some(path)]).flatten();
            error.look_at(&own.into_iter().chain(searched).collect::<Vec<_>>());
            error
        })?;
        serde_json::from_slice(&output.stdout)
            .map_err(|source| Error::Unreadable { program: invocation.program, source })
    }

    /// The folders of `NIX_PATH`, as the programs see it.
    fn nix_path(&self) -> impl Iterator<Item = PathBuf> {
        let ours = self.environment.iter().rev().find(|(name, _)| name == "NIX_PATH");
        let value = ours.map(|(_, value)| value.clone()).or_else(|| std::env::var_os("NIX_PATH"));
        let value = value.unwrap_or_default().to_string_lossy().into_owned();
        let path = |entry: &str| PathBuf::from(entry.split_once('=').map_or(entry, |(_, path)| path));
        value.split(':').map(path).filter(|path| path.is_absolute()).collect::<Vec<_>>().into_iter()
    }

    /// Builds or fetches `derivation`, roots its output by the link `add_root` and returns it; see
    /// [`argv::realise`].
    ///
    /// # Errors
    ///
    /// [`Error::NotInStore`] when the derivation is gone and must be evaluated again,
    /// [`Error::Build`] when it or one that it needs cannot be built, [`Error::Root`] when the
    /// root leads nowhere, and those of [`Nix::run`].
    pub fn realise(
        &self,
        derivation: &StorePath,
        add_root: &Path,
        user: &UserArgs,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<StorePath, Error> {
        let invocation = argv::realise(derivation, add_root, user)?;
        self.run(&invocation, observer, cancel).map_err(|error| gone(error, derivation))?;
        let root = |source| Error::Root { link: add_root.to_owned(), source };
        let out = fs::read_link(add_root).map_err(root)?;
        StorePath::try_from(out.as_path())
            .map_err(|error| root(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    /// Builds or fetches all `derivations` and roots their outputs by links that begin with `add_root`; see
    /// [`argv::realise_all`].
    ///
    /// # Errors
    ///
    /// When one of them cannot be built; those that can be are in the store then, but not rooted. And those of
    /// [`Nix::run`].
    pub fn realise_all(
        &self,
        derivations: &[StorePath],
        add_root: &Path,
        user: &UserArgs,
        observer: &mut dyn Observer,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.run(&argv::realise_all(derivations, add_root, user)?, observer, cancel)?;
        Ok(())
    }

    /// Makes `out` the current generation of `profile`: a new one, unless the newest is `out`
    /// already. Nix also makes `~/.nix-defexpr` where it is missing.
    ///
    /// # Errors
    ///
    /// [`Error::NotInStore`] when `out` is gone, and those of [`Nix::run`]. After
    /// [`Error::Cancelled`] the profile tells whether it was done.
    pub fn set_profile(&self, profile: &Path, out: &StorePath, cancel: &Cancel) -> Result<(), Error> {
        let invocation = argv::set_profile(profile, out)?;
        self.run(&invocation, &mut (), cancel).map_err(|error| gone(error, out))?;
        Ok(())
    }

    /// A store path and all that it needs.
    ///
    /// # Errors
    ///
    /// [`Error::NotInStore`] when it is gone, [`Error::Failed`] where Nix prints what is no store path, and those of
    /// [`Nix::run`].
    pub fn closure(&self, path: &StorePath, cancel: &Cancel) -> Result<Vec<StorePath>, Error> {
        let output = self.run(&argv::closure(path), &mut (), cancel).map_err(|error| gone(error, path))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let paths: Result<Vec<StorePath>, _> = text.lines().map(str::parse).collect();
        paths.map_err(|source| Error::Paths { program: Program::NixStore, source })
    }

    /// The bytes that each of these store paths takes in the store, in their order.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when one is not in the store, [`Error::Unreadable`] where Nix prints other than a number for each, and
    /// those of [`Nix::run`].
    pub fn sizes(&self, paths: &[StorePath], cancel: &Cancel) -> Result<Vec<u64>, Error> {
        let mut sizes = Vec::with_capacity(paths.len());
        for some in paths.chunks(AT_ONCE) {
            let output = self.run(&argv::sizes(some), &mut (), cancel)?;
            let text = String::from_utf8_lossy(&output.stdout);
            let printed = text.lines().map(serde_json::from_str).collect::<Result<Vec<u64>, _>>();
            let program = Program::NixStore;
            let printed = printed.map_err(|source| Error::Unreadable { program, source })?;
            if printed.len() != some.len() {
                let source = serde::de::Error::invalid_length(printed.len(), &"a size for each path");
                return Err(Error::Unreadable { program, source });
            }
            sizes.extend(printed);
        }
        Ok(sizes)
    }

    /// Makes the generation `id` the current one.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there is no such generation, and those of [`Nix::run`].
    pub fn switch_generation(&self, profile: &Path, id: u64, cancel: &Cancel) -> Result<(), Error> {
        self.run(&argv::switch_generation(profile, id)?, &mut (), cancel)?;
        Ok(())
    }

    /// Removes generations; what they hold goes with the next garbage collection. Unknown ids are
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when one is the current generation, and those of [`Nix::run`].
    pub fn delete_generations(&self, profile: &Path, ids: &[u64], cancel: &Cancel) -> Result<(), Error> {
        self.run(&argv::delete_generations(profile, ids)?, &mut (), cancel)?;
        Ok(())
    }

    /// The version that `nix-instantiate` has.
    ///
    /// # Errors
    ///
    /// [`Error::Version`] when it prints none, and those of [`Nix::run`].
    pub fn version(&self, cancel: &Cancel) -> Result<Version, Error> {
        let program = Program::NixInstantiate;
        let output = self.run(&argv::version(program), &mut (), cancel)?;
        let text = String::from_utf8_lossy(&output.stdout);
        text.parse().map_err(|source| Error::Version { program, source })
    }
}

/// Whatever the words of the failure: without the path it could only fail.
fn gone(error: Error, path: &StorePath) -> Error {
    match error {
        Error::Build { .. } | Error::Failed { .. } if fs::symlink_metadata(path.as_path()).is_err() => {
            Error::NotInStore { path: path.clone() }
        }
        error => error,
    }
}
