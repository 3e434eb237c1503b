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
}

#[derive(Debug, Args)]
pub(crate) struct SwitchGenerationArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// The generation's number
    pub(crate) id: GenerationId,
}
