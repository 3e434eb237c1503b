//! create, destroy, and how builds are shown.

use std::path::PathBuf;

use clap::Args;
use nixcloud_container::ContainerName;

use super::{LxcArgs, NamePattern, NixArgs};

/// How builds are shown.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Print the logs of builds, each line with the name of its derivation
    #[arg(short = 'L', long)]
    pub(crate) print_build_logs: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new container: letters, digits, `-` and `_`
    pub(crate) name: ContainerName,
    /// The container file, a folder with a `default.nix`, FILE#ATTRIBUTE or FLAKE#ATTRIBUTE
    pub(crate) file: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The container; several, or patterns such as `web-*`
    #[arg(required_unless_present = "all", value_name = "NAME")]
    pub(crate) names: Vec<NamePattern>,
    /// All containers
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Also if it runs, which ends it first, or is declared
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not ask before several containers are destroyed
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}
