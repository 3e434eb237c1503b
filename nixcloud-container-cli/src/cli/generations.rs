//! delete-generations, switch-generation.

use clap::Args;
use nixcloud_container::{ContainerName, GenerationId};

#[derive(Debug, Args)]
pub(crate) struct DeleteGenerationsArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// Numbers, or one of `old`, `30d`, `+5`
    #[arg(required = true)]
    pub(crate) generations: Vec<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SwitchGenerationArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// The generation's number
    pub(crate) id: GenerationId,
    #[command(flatten)]
    pub(crate) limits: ForceArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {
    /// The container
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) limits: ForceArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What is done about less memory than is in use.
#[derive(Debug, Args)]
pub(crate) struct ForceArgs {
    /// Go on where the running guest uses more memory than it is to have: the kernel ends processes in it (cgroup v2)
    #[arg(long)]
    pub(crate) force: bool,
}
