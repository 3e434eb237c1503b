//! The arguments that the user wants passed to Nix (`-n`), checked and split into those for the
//! evaluation and those for the build.
//!
//! Only flags that are known here pass: Nix's flags take a fixed number of values, so a parser
//! that does not know one cannot tell its value from a path. Any setting can be given as
//! `--option NAME VALUE`. What `nix-store --realise` refuses was tried on Nix 2.8.

use std::path::{Path, PathBuf};

/// Checked arguments of the user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserArgs {
    evaluation: Vec<String>,
    build: Vec<String>,
}

/// An argument that is not passed to Nix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// It would break what is done here.
    #[error("the Nix argument `{argument}` cannot be used here: {reason}")]
    #[non_exhaustive]
    Refused {
        /// The argument.
        argument: String,
        /// What it would break.
        reason: &'static str,
    },
    /// Not known here.
    #[error("unknown Nix argument `{argument}`")]
    #[non_exhaustive]
    Unknown {
        /// The argument.
        argument: String,
    },
    /// No flag, and no value of one.
    #[error(
        "`{argument}` is no argument of Nix that can be passed on: it is not a flag, nor the value of one"
    )]
    #[non_exhaustive]
    Positional {
        /// The argument.
        argument: String,
    },
    /// The arguments end too early.
    #[error("the Nix argument `{argument}` takes {takes}")]
    #[non_exhaustive]
    MissingValue {
        /// The argument.
        argument: String,
        /// What should have followed.
        takes: &'static str,
    },
    /// A relative path where an absolute one is needed.
    #[error("`{}` is not an absolute path", path.display())]
    #[non_exhaustive]
    NotAbsolute {
        /// The path.
        path: PathBuf,
    },
    /// Asked to delete no generation at all.
    #[error("no generations to delete")]
    NoGenerations,
}

impl ArgumentError {
    /// What the user could write instead.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { .. } => {
                Some("any setting of Nix can be given as `--option NAME VALUE`".to_owned())
            }
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Flag {
    /// For evaluation and build, with that many values.
    Both(usize),
    /// For the evaluation alone: `nix-store --realise` does not know it.
    Evaluation(usize),
    Refused(&'static str),
}

const OUTPUT: &str = "the result would not be the one that is expected";
const ROOTS: &str = "roots and profiles are set here";
const LOG: &str = "Nix's log is read and shown by this program";
const STORE: &str = "containers share this host's store";
const DRY: &str = "it would not build anything";

fn flag(name: &str) -> Option<Flag> {
    Some(match name {
        "-I" | "--include" => Flag::Evaluation(1),
        "--arg" | "--argstr" | "--override-flake" => Flag::Evaluation(2),
        "--impure" => Flag::Evaluation(0),

        "-v" | "--verbose" | "--quiet" | "--debug" | "-k" | "--keep-going" | "-K" | "--keep-failed"
        | "--repair" => Flag::Both(0),
        "-j" => Flag::Both(1),
        "--option" => Flag::Both(2),

        "--eval"
        | "--eval-only"
        | "--parse"
        | "--parse-only"
        | "--find-file"
        | "--strict"
        | "--json"
        | "--xml"
        | "--no-location"
        | "--version"
        | "--help"
        | "--expr"
        | "-E"
        | "-A"
        | "--attr"
        | "--check"
        | "--no-read-write-mode"
        | "--read-write-mode"
        | "--raw" => Flag::Refused(OUTPUT),
        "--add-root" | "--indirect" | "-p" | "--profile" | "-o" | "--out-link" | "--no-out-link" => {
            Flag::Refused(ROOTS)
        }
        "--log-format" | "-Q" | "--no-build-output" => Flag::Refused(LOG),
        "--store" | "--eval-store" => Flag::Refused(STORE),
        "--dry-run" | "--readonly-mode" | "--ignore-unknown" => Flag::Refused(DRY),

        long => {
            let setting = long.strip_prefix("--")?;
            if VALUES.contains(&setting.strip_prefix("extra-").unwrap_or(setting)) {
                Flag::Both(1)
            } else if SWITCHES.contains(&setting.strip_prefix("no-").unwrap_or(setting)) {
                Flag::Both(0)
            } else {
                return None;
            }
        }
    })
}

/// Settings that are flags with a value, with and without `--extra-`.
const VALUES: &[&str] = &[
    "access-tokens",
    "allowed-uris",
    "builders",
    "build-hook",
    "build-users-group",
    "connect-timeout",
    "cores",
    "download-attempts",
    "experimental-features",
    "flake-registry",
    "http-connections",
    "log-lines",
    "max-build-log-size",
    "max-call-depth",
    "max-free",
    "max-jobs",
    "max-silent-time",
    "max-substitution-jobs",
    "min-free",
    "narinfo-cache-negative-ttl",
    "narinfo-cache-positive-ttl",
    "netrc-file",
    "nix-path",
    "platforms",
    "post-build-hook",
    "sandbox-paths",
    "secret-key-files",
    "ssl-cert-file",
    "stalled-download-timeout",
    "substituters",
    "system",
    "system-features",
    "tarball-ttl",
    "timeout",
    "trusted-public-keys",
    "trusted-substituters",
    "user-agent-suffix",
];

/// Settings that are flags without a value, with and without `--no-`.
const SWITCHES: &[&str] = &[
    "accept-flake-config",
    "allow-dirty",
    "allow-import-from-derivation",
    "auto-optimise-store",
    "builders-use-substitutes",
    "compress-build-log",
    "fallback",
    "fsync-metadata",
    "http2",
    "keep-build-log",
    "keep-derivations",
    "keep-env-derivations",
    "keep-outputs",
    "print-missing",
    "require-sigs",
    "restrict-eval",
    "sandbox",
    "sandbox-fallback",
    "show-trace",
    "substitute",
    "trace-function-calls",
    "trace-verbose",
    "use-registries",
    "warn-dirty",
];

impl UserArgs {
    /// Checks `args`, words that a shell would have split.
    ///
    /// # Errors
    ///
    /// [`ArgumentError`] names the first argument that cannot be passed on, and why.
    pub fn parse<S: AsRef<str>>(args: &[S]) -> Result<Self, ArgumentError> {
        let words: Vec<String> = args.iter().flat_map(|arg| expand(arg.as_ref())).collect();
        let mut words = words.into_iter();
        let mut parsed = Self::default();
        while let Some(word) = words.next() {
            if !word.starts_with('-') || word == "-" || word == "--" {
                return Err(ArgumentError::Positional { argument: word });
            }
            let (count, for_build) = match flag(&word) {
                Some(Flag::Both(count)) => (count, true),
                Some(Flag::Evaluation(count)) => (count, false),
                Some(Flag::Refused(reason)) => {
                    return Err(ArgumentError::Refused { argument: word, reason });
                }
                None => return Err(ArgumentError::Unknown { argument: word }),
            };
            let values: Vec<String> = words.by_ref().take(count).collect();
            if values.len() < count {
                let takes = if count == 1 { "a value" } else { "a name and a value" };
                return Err(ArgumentError::MissingValue { argument: word, takes });
            }
            check_name(&word, &values)?;
            let call = std::iter::once(word).chain(values);
            if for_build {
                parsed.build.extend(call.clone());
            }
            parsed.evaluation.extend(call);
        }
        Ok(parsed)
    }

    /// What is passed to the evaluation: everything.
    #[must_use]
    pub fn for_evaluation(&self) -> &[String] {
        &self.evaluation
    }

    /// What is passed to the build: everything that is not about evaluation alone.
    #[must_use]
    pub fn for_build(&self) -> &[String] {
        &self.build
    }

    /// The absolute paths that `-I` names.
    pub(super) fn include_paths(&self) -> impl Iterator<Item = PathBuf> {
        self.evaluation
            .windows(2)
            .filter(|pair| matches!(pair[0].as_str(), "-I" | "--include"))
            .map(|pair| PathBuf::from(pair[1].split_once('=').map_or(pair[1].as_str(), |(_, path)| path)))
            .filter(|path| path.is_absolute())
    }
}

/// The arguments with the relative paths of `-I` made absolute: they are kept with the container and used again, from
/// wherever the next update is called.
#[must_use]
pub fn absolute_includes(args: &[String]) -> Vec<String> {
    let mut whole = Vec::with_capacity(args.len());
    let mut is_value = false;
    for arg in args {
        let glued = arg.strip_prefix("-I").filter(|value| !value.is_empty() && !is_value);
        whole.push(match glued {
            _ if is_value => absolute_include(arg),
            Some(value) => format!("-I{}", absolute_include(value)),
            None => arg.clone(),
        });
        is_value = !is_value && matches!(arg.as_str(), "-I" | "--include");
    }
    whole
}

/// `NAME=PATH` or `PATH`. What Nix takes for something else than a path stays: a URL, a channel, a flake, a home folder.
fn absolute_include(entry: &str) -> String {
    let (prefix, target) = match entry.split_once('=') {
        Some((name, target)) => (Some(name), target),
        None => (None, entry),
    };
    let other = target.is_empty()
        || target.contains("://")
        || target.starts_with('~')
        || ["channel:", "flake:"].iter().any(|scheme| target.starts_with(scheme));
    if other || Path::new(target).is_absolute() {
        return entry.to_owned();
    }
    let Ok(whole) = std::path::absolute(target) else { return entry.to_owned() };
    let whole: PathBuf = whole.components().collect();
    match prefix {
        Some(name) => format!("{name}={}", whole.display()),
        None => whole.display().to_string(),
    }
}

/// Some flags are as good as others that are refused, depending on the name they set.
fn check_name(word: &str, values: &[String]) -> Result<(), ArgumentError> {
    let name = values.first().map(String::as_str);
    let reason = match (word, name) {
        ("--option", Some("store" | "eval-store")) => STORE,
        ("--option", Some("log-format")) => LOG,
        ("--arg" | "--argstr", Some("request")) => "the expression's argument of that name is given here",
        _ => return Ok(()),
    };
    Err(ArgumentError::Refused { argument: format!("{word} {}", values[0]), reason })
}

/// Splits `-j4` and `-kK` as Nix does, and `-Ia=b` as one would expect (Nix takes it for five
/// flags).
fn expand(arg: &str) -> Vec<String> {
    let mut chars = arg.chars();
    let short = chars.next() == Some('-') && chars.next().is_some_and(|c| c.is_ascii_alphabetic());
    if !short || arg.len() <= 2 {
        return vec![arg.to_owned()];
    }
    let mut words = Vec::new();
    for (at, c) in arg.char_indices().skip(1) {
        if !c.is_ascii_alphabetic() {
            words.push(arg[at..].to_owned());
            break;
        }
        words.push(format!("-{c}"));
        if c == 'I' && at + 1 < arg.len() {
            words.push(arg[at + 1..].to_owned());
            break;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(args: &[&str]) -> (String, String) {
        let parsed = UserArgs::parse(args).unwrap();
        (parsed.for_evaluation().join(" "), parsed.for_build().join(" "))
    }

    fn refuse(args: &[&str]) -> ArgumentError {
        UserArgs::parse(args).unwrap_err()
    }

    #[test]
    fn evaluation_alone_or_both() {
        let (evaluation, build) = split(&[
            "-I",
            "nixpkgs=/nixpkgs",
            "--argstr",
            "a",
            "b",
            "--arg",
            "x",
            "-1",
            "--impure",
            "--option",
            "sandbox",
            "false",
            "--max-jobs",
            "2",
            "--no-sandbox",
            "--extra-substituters",
            "file:///x",
            "--show-trace",
        ]);
        assert_eq!(
            evaluation,
            "-I nixpkgs=/nixpkgs --argstr a b --arg x -1 --impure --option sandbox false --max-jobs 2 \
             --no-sandbox --extra-substituters file:///x --show-trace"
        );
        assert_eq!(
            build,
            "--option sandbox false --max-jobs 2 --no-sandbox --extra-substituters file:///x --show-trace"
        );
        assert_eq!(UserArgs::parse::<&str>(&[]).unwrap(), UserArgs::default());
    }

    #[test]
    fn short_flags_in_one_word() {
        assert_eq!(split(&["-j4"]).1, "-j 4");
        assert_eq!(split(&["-kKv"]).1, "-k -K -v");
        assert_eq!(split(&["-Inixpkgs=/x"]).0, "-I nixpkgs=/x");
        assert_eq!(split(&["-vI", "a=/b"]), ("-v -I a=/b".into(), "-v".into()));
    }

    #[test]
    fn refused_by_name() {
        for word in [
            "--eval",
            "--version",
            "--help",
            "--add-root",
            "-p",
            "--profile",
            "--xml",
            "--store",
            "--dry-run",
            "-A",
            "-E",
            "--log-format",
        ] {
            let ArgumentError::Refused { argument, .. } = refuse(&["-k", word, "x"]) else {
                panic!("{word} passed");
            };
            assert_eq!(argument, word);
        }
        assert!(matches!(refuse(&["-kQ"]), ArgumentError::Refused { argument, .. } if argument == "-Q"));
        assert!(matches!(refuse(&["--option", "store", "x"]), ArgumentError::Refused { .. }));
        assert!(matches!(refuse(&["--argstr", "request", "/etc/passwd"]), ArgumentError::Refused { .. }));
    }

    #[test]
    fn paths_typos_and_ends() {
        let positional = |word: &str| ArgumentError::Positional { argument: word.to_owned() };
        assert_eq!(refuse(&["./x.nix"]), positional("./x.nix"));
        assert_eq!(refuse(&["--cores", "2", "3"]), positional("3"));
        assert_eq!(refuse(&["-"]), positional("-"));
        assert_eq!(refuse(&["--"]), positional("--"));
        assert_eq!(refuse(&[""]), positional(""));
        assert_eq!(refuse(&["--cors", "2"]), ArgumentError::Unknown { argument: "--cors".into() });
        assert_eq!(refuse(&["--cores=2"]), ArgumentError::Unknown { argument: "--cores=2".into() });
        assert!(refuse(&["--cors"]).hint().is_some());
        assert!(matches!(refuse(&["-I"]), ArgumentError::MissingValue { takes: "a value", .. }));
        assert!(matches!(refuse(&["--option", "cores"]), ArgumentError::MissingValue { .. }));
    }

    #[test]
    fn included_paths() {
        let parsed = UserArgs::parse(&["-I", "n=/a", "-I", "/b", "-I", "x=flake:y", "-k"]).unwrap();
        let paths: Vec<_> = parsed.include_paths().collect();
        assert_eq!(paths, [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
