//! list, show-ip.

use clap::Args;
use nixcloud_container::ContainerName;

use super::LxcArgs;

#[derive(Debug, Args)]
pub(crate) struct ShowIpArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// Show all, with interface, prefix, origin, and whether the running guest has it
    #[arg(short, long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Go on showing what changes, as it changes; figures are SECONDS old at most (2 when not given); until Ctrl-C
    #[arg(
        short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) watch: Option<u32>,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}
