//! Words for the programs of others: Nix, and LXC's tools.

use clap::Args;
use nixcloud_container::ContainerName;

/// `-l`, as typed.
#[derive(Debug, Default, Args)]
pub(crate) struct LxcArgs {
    /// Arguments as the LXC tool of this command takes them, split as a shell splits words; repeatable
    #[arg(short = 'l', long = "lxc-args", value_name = "ARGS", allow_hyphen_values = true, value_parser = split)]
    lxc_args: Vec<Words>,
}

impl LxcArgs {
    /// All words, in order; `None` when none were given.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        joined(&self.lxc_args)
    }
}

/// `-n`, as typed.
#[derive(Debug, Args)]
pub(crate) struct NixArgs {
    /// Arguments for Nix, split as a shell splits words; repeatable
    #[arg(short = 'n', long = "nix-args", value_name = "ARGS", allow_hyphen_values = true, value_parser = split)]
    nix_args: Vec<Words>,
}

impl NixArgs {
    /// All words, in order; `None` when none were given.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        joined(&self.nix_args)
    }
}

fn joined(words: &[Words]) -> Option<Vec<String>> {
    let all = || words.iter().flat_map(|words| words.0.iter().cloned()).collect();
    (!words.is_empty()).then(all)
}

/// The words of one argument.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<String>);

fn split(text: &str) -> Result<Words, &'static str> {
    shlex::split(text).map(Words).ok_or("a quotation mark or a backslash has no counterpart")
}

/// A container, and words for its LXC tool.
#[derive(Debug, Args)]
pub(crate) struct ToolArgs {
    /// The container
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}
