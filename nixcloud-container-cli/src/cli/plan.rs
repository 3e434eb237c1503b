//! plan.

use std::path::PathBuf;

use clap::Args;
use nixcloud_container::{ContainerName, GenerationId};

use super::{BuildArgs, LxcArgs, NixArgs};

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// The container file, a folder with a `default.nix`, FILE#ATTRIBUTE or FLAKE#ATTRIBUTE [default: the one last used]
    pub(crate) file: Option<PathBuf>,
    /// Plan a switch to this generation instead of an update
    #[arg(long, value_name = "ID", conflicts_with_all = ["file", "nix_args", "lxc_args", "print_build_logs"])]
    pub(crate) to: Option<GenerationId>,
    /// Tell the verdict by the exit code: 0 nothing, 10 live, 11 restart, 12 next start, 13 create or recreate, 14 refused
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}
