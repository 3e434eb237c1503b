//! The commands that print what belongs to an installation: scripts and pages. They need neither root nor a host.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// A shell that asks for completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shell {
    /// Bash 4 or newer.
    Bash,
    /// Zsh 5 or newer.
    Zsh,
    /// Fish 3 or newer.
    Fish,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command whose page is wanted, such as `create` or `host up`, or `toml` for the host configuration's
    /// [default: the overview]
    #[arg(conflicts_with = "output")]
    pub(crate) command: Vec<String>,
    /// Write all pages into this folder
    #[arg(short, long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
}
