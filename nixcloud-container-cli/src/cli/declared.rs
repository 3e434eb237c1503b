//! The commands that take containers as they are declared, and change none that need no change.

use std::path::PathBuf;

use clap::Args;
use nixcloud_container::ContainerName;

use super::{BuildArgs, LxcArgs, NixArgs};

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The container
    #[arg(required_unless_present = "all")]
    pub(crate) name: Option<ContainerName>,
    /// The container file, a folder with a `default.nix`, FILE#ATTRIBUTE or FLAKE#ATTRIBUTE [default: the one last used]
    pub(crate) file: Option<PathBuf>,
    /// All containers, each with the file last used for it
    #[arg(short, long, conflicts_with_all = ["name", "lxc_args"])]
    pub(crate) all: bool,
    /// Go on where the running guest uses more memory than it is to have: the kernel ends processes in it (cgroup v2)
    #[arg(long, conflicts_with = "all")]
    pub(crate) force: bool,
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
pub(crate) struct ApplyArgs {
    /// A file with a set of containers, a folder of container files, or a flake
    #[arg(required_unless_present = "built")]
    pub(crate) file: Option<PathBuf>,
    /// Apply containers that are built already: what NixOS's host configuration declares
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["file", "nix_args"], value_hint = clap::ValueHint::FilePath)]
    pub(crate) built: Option<PathBuf>,
    /// Destroy those that the same FILE declared before, and declares no more, with their files
    #[arg(long)]
    pub(crate) prune: bool,
    /// Make containers this FILE's that another one declared (it was moved, or is a copy), or that were made by hand
    #[arg(long)]
    pub(crate) take_over: bool,
    /// Do not ask before containers are destroyed
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The container file, a folder with a `default.nix`, FILE#ATTRIBUTE or FLAKE#ATTRIBUTE
    pub(crate) file: PathBuf,
    /// The container's name [default: the one that the file gives, or the file's own]
    #[arg(long)]
    pub(crate) name: Option<ContainerName>,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
}
