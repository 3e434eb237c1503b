//! repair.

use clap::Args;
use nixcloud_container::ContainerName;

#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The container [default: all, and claims that name none]
    pub(crate) name: Option<ContainerName>,
    /// Only say what is wrong and what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}
