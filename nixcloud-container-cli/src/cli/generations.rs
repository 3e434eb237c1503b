//! delete-generations, gc, switch-generation.

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
pub(crate) struct GcArgs {
    /// The containers
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) names: Vec<ContainerName>,
    /// All containers
    #[arg(long)]
    pub(crate) all: bool,
    /// Keep so many of the newest
    #[arg(long, value_name = "N")]
    pub(crate) keep: Option<u32>,
    /// Keep those that were current within so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) keep_days: Option<u32>,
    /// Keep so many of the newest that have worked
    #[arg(long, value_name = "N")]
    pub(crate) keep_good: Option<u32>,
    /// Only say what would go
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
