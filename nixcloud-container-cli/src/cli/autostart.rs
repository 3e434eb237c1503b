//! autostart, autostop: all containers at once.

use clap::Args;

use super::seconds;

#[derive(Debug, Args)]
pub(crate) struct AutostartArgs {
    /// How many boot at once [default: as configured, one for each processor]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// How long LXC may take to bring each to running [default: as configured, 60]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<u32>,
}

#[derive(Debug, Args)]
pub(crate) struct AutostopArgs {
    /// How many end at once [default: 64]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: Option<u32>,
    /// How long to wait for the end of each [default: as configured, 60]
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) timeout: Option<u32>,
    /// How long to wait for all of them together
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    pub(crate) within: Option<u32>,
    /// Kill those that do not end in time
    #[arg(short, long)]
    pub(crate) kill: bool,
}
