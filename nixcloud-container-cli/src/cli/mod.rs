//! The grammar of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, CommandFactory, Parser};
use nixcloud_container::ContainerName;

use crate::screen::colours::Stream;
use crate::screen::terminal;

pub(crate) use autostart::{AutostartArgs, AutostopArgs};
pub(crate) use command::Command;
pub(crate) use declared::{ApplyArgs, EvalArgs, UpdateArgs};
pub(crate) use documents::{CompletionsArgs, ManArgs, Shell};
pub(crate) use events::EventsArgs;
pub(crate) use generations::{DeleteGenerationsArgs, GcArgs, RollbackArgs, SwitchGenerationArgs};
pub(crate) use host::HostCommand;
pub(crate) use inspect::{ListArgs, ShowIpArgs};
pub(crate) use lifecycle::{BuildArgs, CreateArgs, DestroyArgs};
pub(crate) use name_pattern::NamePattern;
pub(crate) use plan::PlanArgs;
pub(crate) use power::{KillArgs, RestartArgs, StartArgs, StopArgs, seconds};
pub(crate) use repair::RepairArgs;
pub(crate) use session::{LoginArgs, RunArgs, SessionArgs};
pub(crate) use set::SetArgs;
pub(crate) use tools::{LxcArgs, NixArgs, ToolArgs};

mod autostart;
mod command;
mod declared;
mod documents;
mod events;
mod generations;
pub(crate) mod groups;
mod host;
mod inspect;
mod lifecycle;
mod name_pattern;
mod plan;
mod power;
mod repair;
mod session;
mod set;
mod tools;

/// Unprivileged NixOS containers on LXC, each with its own generations
///
/// They share the host's Nix store, and each is updated and rolled back alone, in place when it runs.
#[derive(Debug, Parser)]
#[command(
    name = "nixcloud-container",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "`nixcloud-container help COMMAND` tells all about a command.",
    after_long_help = "\
Examples:
  nixcloud-container host up                   once after each boot
  nixcloud-container create web web.nix        build the container `web`
  nixcloud-container start web                 boot it
  nixcloud-container run web systemctl status  run a command in it
  nixcloud-container update web web.nix        switch to a new generation
  nixcloud-container rollback web              back to one that worked

`nixcloud-container help COMMAND` tells all about a command.

Exit codes: 0 done, 1 refused, failed or no, 2 wrong usage, 130 interrupted; `run` and `login` exit as their command; \
`plan --exit-code` tells its verdict, from 10 on."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The grammar with the help that is the program's own, within so many columns.
    pub(crate) fn grammar(columns: usize) -> clap::Command {
        Self::command()
            .help_template(groups::template())
            .before_help(groups::commands(columns))
            .term_width(columns)
    }

    /// Reads a command line. The help is put together only where something of it may be shown.
    ///
    /// # Errors
    /// What is wrong with it; or the help or version that it asks for.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(arguments.iter().cloned())
            .map_err(|error| Self::grammar(columns()).try_get_matches_from(arguments).err().unwrap_or(error))
    }
}

/// How wide help is: as the terminal that it is shown on, and no wider than is easily read.
fn columns() -> usize {
    terminal::columns(Stream::Out).or_else(|| terminal::columns(Stream::Err)).unwrap_or(80).clamp(20, 100)
}

/// Options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// The host configuration
    #[arg(
        long, global = true, help_heading = GLOBAL, display_order = 900, value_name = "FILE",
        long_help = "The host configuration [default: /etc/nixcloud-container/config.toml]"
    )]
    config: Option<PathBuf>,
    /// Answer in JSON
    #[arg(
        long, global = true, help_heading = GLOBAL, display_order = 901,
        long_help = "Answer in JSON, on stdout; an error too, as `{\"error\": ...}`"
    )]
    pub(crate) json: bool,
    /// Print nothing but answers and errors
    #[arg(short, long, global = true, help_heading = GLOBAL, display_order = 902)]
    pub(crate) quiet: bool,
    /// Say more; given twice or thrice still more
    #[arg(
        short, long, global = true, help_heading = GLOBAL, display_order = 903, action = ArgAction::Count,
        long_help = "Print all that Nix and a switched guest say; given twice what this program does, too, thrice also how"
    )]
    pub(crate) verbose: u8,
}

impl Globals {
    /// The host configuration that is named, if one is: by the option, or by `NIXCLOUD_CONTAINER_CONFIG`. (As clap's
    /// `env` it would be in each usage line as if it had been typed.)
    pub(crate) fn config(&self) -> Option<PathBuf> {
        let variable = || std::env::var_os("NIXCLOUD_CONTAINER_CONFIG").filter(|value| !value.is_empty());
        self.config.clone().or_else(|| variable().map(PathBuf::from))
    }
}

/// The heading of options that all commands have.
pub(crate) const GLOBAL: &str = "Options of all commands";

/// A container alone.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The container
    pub(crate) name: ContainerName,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod help_tests;
