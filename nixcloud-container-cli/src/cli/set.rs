//! set.

use clap::Args;
use nixcloud_container::ContainerName;

#[derive(Debug, Args)]
pub(crate) struct SetArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// A limit and its value, as in `resources` of a container file; `none` takes it away
    #[arg(value_name = "KEY=VALUE", value_parser = split, required_unless_present = "reset")]
    pub(crate) limits: Vec<(String, String)>,
    /// Keep what is set for later generations, too
    #[arg(long)]
    pub(crate) keep: bool,
    /// Take back what was set before: the generation's own limits count
    #[arg(long)]
    pub(crate) reset: bool,
    /// Go on where the running guest uses more memory than it is to have: the kernel ends processes in it (cgroup v2)
    #[arg(long)]
    pub(crate) force: bool,
}

fn split(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as memory=2G, or memory=none".to_owned()),
    }
}
