//! start, stop, kill.

use std::time::Duration;

use clap::Args;
use nixcloud_container::{ContainerName, Ready, Signal, WaitRequest};

use super::LxcArgs;

#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// Show its console here, and end when it ends
    #[arg(short = 'F', long)]
    pub(crate) foreground: bool,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

/// What is waited for once a container runs.
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// Wait until it is ready: system-running (the default), activated, address, port:NUMBER, probe:COMMAND
    ///
    /// activated: NixOS has activated its system; system-running: its systemd has started all units, too (a guest without systemd
    /// has none); address: it has its addresses; port:80: a program listens on this TCP port; probe:COMMAND: a shell of the guest
    /// runs this, again and again, until it exits with 0.
    #[arg(
        long, value_name = "LEVEL", num_args = 0..=1, require_equals = true, default_missing_value = "system-running"
    )]
    pub(crate) wait: Option<Ready>,
    /// How long that may take [default: as configured for a boot, 60]
    #[arg(long, value_name = "SECONDS", requires = "wait", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) wait_timeout: Option<u32>,
}

impl WaitArgs {
    pub(crate) fn request(&self) -> Option<WaitRequest> {
        let limit = self.wait_timeout.map(|seconds| Duration::from_secs(seconds.into()));
        self.wait.clone().map(|level| WaitRequest::new(level).with_limit(limit))
    }
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
pub(crate) struct RestartArgs {
    #[command(flatten)]
    pub(crate) stop: StopArgs,
    #[command(flatten)]
    pub(crate) wait: WaitArgs,
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
