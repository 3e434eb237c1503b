//! start, stop, kill.

use clap::Args;
use nixcloud_container::{ContainerName, Signal};

use super::LxcArgs;

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// Show its console here, and end when it ends
    #[arg(short = 'F', long)]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// How long to wait for its end [default: as configured, 60]
    ///
    /// What still runs then is left running, and that is a failure; with `-l "-t SECONDS"` it is killed, as lxc-stop does.
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<u32>,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

#[derive(Debug, Args)]
pub(crate) struct KillArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// The signal: TERM, SIGTERM, 15 or RTMIN+3
    #[arg(short, long)]
    pub(crate) signal: Signal,
}

pub(crate) fn seconds(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "a whole number of seconds is wanted")
}
