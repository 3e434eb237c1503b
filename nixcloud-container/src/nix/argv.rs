//! What is put on Nix's command lines: pure values, compared by tests. Nothing here runs.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{ArgumentError, StorePath, UserArgs};

/// Nix's programs that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Program {
    /// Evaluates.
    NixInstantiate,
    /// Builds.
    NixStore,
    /// Writes profiles.
    NixEnv,
}

impl Program {
    /// The name of the program's file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NixInstantiate => "nix-instantiate",
            Self::NixStore => "nix-store",
            Self::NixEnv => "nix-env",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One call of a Nix program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Invocation {
    /// Which program.
    pub program: Program,
    /// Its arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// Variables that are added to the environment that this process has.
    pub env: Vec<(OsString, OsString)>,
}

impl Invocation {
    fn new(program: Program) -> Self {
        Self { program, args: Vec::new(), env: Vec::new() }
    }

    fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    fn args<I>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item: Into<OsString>>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Stands after the user's arguments: the last log format wins.
    fn logging(self) -> Self {
        self.args(["--log-format", "internal-json"])
    }

    /// Adds a variable to the environment of this call.
    #[must_use]
    pub fn with_env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// What the folders of container files are called on the search path. Nobody asks for them by it.
const CONTAINER_FILES: &str = "nixcloud-container-file";

/// Entries of Nix's search path that the host configuration gives, such as `nixpkgs=/path`.
/// The user's own `-I` come before them, `NIX_PATH` after them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SearchPath(Vec<(String, OsString)>);

impl SearchPath {
    /// No entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `<prefix>` be `target`: a path, or what else Nix takes there (a URL, `flake:...`).
    #[must_use]
    pub fn with(mut self, prefix: impl Into<String>, target: impl Into<OsString>) -> Self {
        self.0.push((prefix.into(), target.into()));
        self
    }

    /// Allows Nix to read `folder`, which has container files, where `restrict-eval` forbids what is not on the path.
    #[must_use]
    pub fn with_container_files(self, folder: impl Into<OsString>) -> Self {
        self.with(CONTAINER_FILES, folder)
    }

    /// The targets that are absolute paths, but for the folders of container files: those are the user's own.
    pub(super) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        let others = self.0.iter().filter(|(prefix, _)| prefix != CONTAINER_FILES);
        others.map(|(_, target)| PathBuf::from(target)).filter(|path| path.is_absolute())
    }

    fn args(&self) -> impl Iterator<Item = OsString> {
        self.0.iter().flat_map(|(prefix, target)| {
            let mut entry = OsString::from(prefix);
            entry.push("=");
            entry.push(target);
            [OsString::from("-I"), entry]
        })
    }
}

/// How an expression is evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mode {
    /// Whether derivations stay unwritten: then nothing of the store changes, and nothing can be built from the result.
    pub read_only: bool,
    /// Whether `builtins.getFlake` is there.
    pub flakes: bool,
}

impl Mode {
    /// Derivations stay unwritten.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// `builtins.getFlake` is there.
    #[must_use]
    pub fn flakes(self, flakes: bool) -> Self {
        Self { flakes, ..self }
    }
}

/// Evaluates the function in the file `expression` with `request`, the path of a JSON file, as
/// its argument of that name, and prints the result as JSON. Derivations it names are written to
/// the store, unless `mode` is read-only.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative path, which Nix could read as something else.
pub fn evaluate(
    expression: &Path,
    request: &Path,
    search: &SearchPath,
    user: &UserArgs,
    mode: Mode,
) -> Result<Invocation, ArgumentError> {
    let write: &[&str] = if mode.read_only { &[] } else { &["--read-write-mode"] };
    // What nix.conf forbids expressions in general, this one is allowed: its own two files and what it is given.
    let mut own = SearchPath::new();
    for (name, path) in [("expression", expression.parent()), ("request", request.parent())] {
        if let Some(folder) = path {
            own = own.with(format!("nixcloud-container-{name}"), folder);
        }
    }
    let flakes: &[&str] = if mode.flakes { &["--extra-experimental-features", "flakes"] } else { &[] };
    Ok(Invocation::new(Program::NixInstantiate)
        .args(["--eval", "--strict", "--json"])
        .args(write)
        // The trace costs nothing unless something fails, and without it a `throw` has no place.
        .arg("--show-trace")
        .args(["--option", "pure-eval", "false"])
        .args(flakes)
        .args(user.for_evaluation())
        .args(search.args())
        .args(own.args())
        .logging()
        .arg(absolute(expression)?)
        .args(["--argstr", "request"])
        .arg(absolute(request)?))
}

/// Builds `derivation`, or fetches its output, and makes `add_root` a link to the output and a
/// root of the garbage collector.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative `add_root`.
pub fn realise(
    derivation: &StorePath,
    add_root: &Path,
    user: &UserArgs,
) -> Result<Invocation, ArgumentError> {
    Ok(Invocation::new(Program::NixStore)
        .arg("--realise")
        .arg(derivation.as_str())
        .arg("--add-root")
        .arg(absolute(add_root)?)
        .args(user.for_build())
        .logging())
}

/// Builds all `derivations`, those that can be even where another cannot. The outputs are rooted by links beside each
/// other: `add_root`, `add_root-2` and so on.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative `add_root`.
pub fn realise_all(
    derivations: &[StorePath],
    add_root: &Path,
    user: &UserArgs,
) -> Result<Invocation, ArgumentError> {
    Ok(Invocation::new(Program::NixStore)
        .args(["--realise", "--keep-going"])
        .args(derivations.iter().map(StorePath::as_str))
        .arg("--add-root")
        .arg(absolute(add_root)?)
        .args(user.for_build())
        .logging())
}

/// Makes `out` the profile's newest and current generation.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative `profile`.
pub fn set_profile(profile: &Path, out: &StorePath) -> Result<Invocation, ArgumentError> {
    Ok(on_profile(profile)?.arg("--set").arg(out.as_str()))
}

/// Prints `path` and all that it needs, one path a line.
#[must_use]
pub fn closure(path: &StorePath) -> Invocation {
    Invocation::new(Program::NixStore).args(["--query", "--requisites"]).arg(path.as_str())
}

/// Prints the bytes that each of these takes, one a line.
#[must_use]
pub fn sizes(paths: &[StorePath]) -> Invocation {
    Invocation::new(Program::NixStore).args(["--query", "--size"]).args(paths.iter().map(StorePath::as_str))
}

/// Makes an existing generation the current one.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative `profile`.
pub fn switch_generation(profile: &Path, id: u64) -> Result<Invocation, ArgumentError> {
    Ok(on_profile(profile)?.arg("--switch-generation").arg(id.to_string()))
}

/// Removes generations from the profile. Nix refuses to remove the current one, and is silent
/// about unknown ones.
///
/// # Errors
///
/// [`ArgumentError::NotAbsolute`] for a relative `profile`; [`ArgumentError::NoGenerations`] when
/// `ids` is empty.
pub fn delete_generations(profile: &Path, ids: &[u64]) -> Result<Invocation, ArgumentError> {
    if ids.is_empty() {
        return Err(ArgumentError::NoGenerations);
    }
    Ok(on_profile(profile)?.arg("--delete-generations").args(ids.iter().map(u64::to_string)))
}

/// Asks a program for its version.
#[must_use]
pub fn version(program: Program) -> Invocation {
    Invocation::new(program).arg("--version")
}

fn on_profile(profile: &Path) -> Result<Invocation, ArgumentError> {
    Ok(Invocation::new(Program::NixEnv).logging().arg("-p").arg(absolute(profile)?))
}

fn absolute(path: &Path) -> Result<&OsStr, ArgumentError> {
    if path.is_absolute() {
        Ok(path.as_os_str())
    } else {
        Err(ArgumentError::NotAbsolute { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

    use super::*;

    fn line(invocation: &Invocation) -> String {
        let args = invocation.args.iter().map(|arg| arg.to_str().unwrap());
        std::iter::once(invocation.program.name()).chain(args).collect::<Vec<_>>().join(" ")
    }

    fn user(args: &[&str]) -> UserArgs {
        UserArgs::parse(args).unwrap()
    }

    fn path(name: &str) -> StorePath {
        format!("/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-{name}").parse().unwrap()
    }

    #[test]
    fn evaluation() {
        let search = SearchPath::new().with("nixpkgs", "/etc/nixpkgs").with("x", "flake:x");
        let user = user(&["-I", "nixpkgs=/mine", "-j4", "--keep-going"]);
        let call =
            evaluate(Path::new("/lib/c.nix"), Path::new("/run/r.json"), &search, &user, Mode::default())
                .unwrap();
        assert_eq!(
            line(&call),
            "nix-instantiate --eval --strict --json --read-write-mode --show-trace --option pure-eval false \
             -I nixpkgs=/mine -j 4 --keep-going -I nixpkgs=/etc/nixpkgs -I x=flake:x \
             -I nixcloud-container-expression=/lib -I nixcloud-container-request=/run --log-format internal-json \
             /lib/c.nix --argstr request /run/r.json"
        );
        assert!(call.env.is_empty());
        let mode = Mode::default().read_only(true).flakes(true);
        let none = (SearchPath::new(), UserArgs::default());
        let call =
            evaluate(Path::new("/lib/c.nix"), Path::new("/run/r.json"), &none.0, &none.1, mode).unwrap();
        assert_eq!(
            line(&call),
            "nix-instantiate --eval --strict --json --show-trace --option pure-eval false \
             --extra-experimental-features flakes -I nixcloud-container-expression=/lib \
             -I nixcloud-container-request=/run --log-format internal-json /lib/c.nix --argstr request /run/r.json"
        );
    }

    #[test]
    fn building_gets_no_flags_of_evaluation() {
        let user = user(&["-I", "a=/b", "--option", "cores", "2", "--impure", "-K"]);
        let call = realise(&path("c.drv"), Path::new("/nix/var/root"), &user).unwrap();
        assert_eq!(
            line(&call),
            format!(
                "nix-store --realise {} --add-root /nix/var/root --option cores 2 -K --log-format internal-json",
                path("c.drv")
            )
        );
    }

    #[test]
    fn many_are_built_in_one_go() {
        let call =
            realise_all(&[path("a.drv"), path("b.drv")], Path::new("/r"), &UserArgs::default()).unwrap();
        let drvs = format!("{} {}", path("a.drv"), path("b.drv"));
        assert_eq!(
            line(&call),
            format!("nix-store --realise --keep-going {drvs} --add-root /r --log-format internal-json")
        );
    }

    #[test]
    fn profiles() {
        let profile = Path::new("/p/profile");
        let start = "nix-env --log-format internal-json -p /p/profile";
        assert_eq!(line(&set_profile(profile, &path("c")).unwrap()), format!("{start} --set {}", path("c")));
        assert_eq!(line(&switch_generation(profile, 3).unwrap()), format!("{start} --switch-generation 3"));
        assert_eq!(
            line(&delete_generations(profile, &[1, 20]).unwrap()),
            format!("{start} --delete-generations 1 20")
        );
        assert_eq!(delete_generations(profile, &[]), Err(ArgumentError::NoGenerations));
    }

    #[test]
    fn relative_paths_are_refused_since_nix_may_misread_them() {
        for bad in ["c.nix", "-E", "https://example.org/x", "<nixpkgs>", ""] {
            let bad = Path::new(bad);
            let none = SearchPath::new();
            let good = Path::new("/x");
            let refused = Err(ArgumentError::NotAbsolute { path: bad.to_owned() });
            assert_eq!(evaluate(bad, good, &none, &UserArgs::default(), Mode::default()), refused);
            assert_eq!(evaluate(good, bad, &none, &UserArgs::default(), Mode::default()), refused);
            assert_eq!(realise(&path("c.drv"), bad, &UserArgs::default()), refused);
            assert_eq!(set_profile(bad, &path("c")), refused);
        }
    }

    #[test]
    fn bytes_of_paths_survive() {
        let odd = PathBuf::from(OsString::from_vec(b"/a b/\xff".to_vec()));
        let call =
            evaluate(&odd, &odd, &SearchPath::new().with("n", &odd), &UserArgs::default(), Mode::default())
                .unwrap();
        assert_eq!(call.args.iter().filter(|arg| arg.as_bytes().ends_with(b"/a b/\xff")).count(), 3);
    }
}
