//! The grammar of the command line.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};
use nixcloud_container::{ContainerName, GenerationId, User};

/// Unprivileged NixOS containers on LXC that share the host's store, each with its own generations.
#[derive(Debug, Parser)]
#[command(
    name = "nixcloud-container",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_long_help = "\
Examples:
  nixcloud-container host up                   make the bridges, once after each boot
  nixcloud-container create web web.nix        evaluate, build and install the container `web`
  nixcloud-container start web                 boot it
  nixcloud-container run web systemctl status  run a command in it
  nixcloud-container update web web.nix        a new generation, switched to in place
  nixcloud-container rollback web              back to the one before

Exit codes: 0 done, 1 refused, failed or no, 2 wrong usage, 130 interrupted; `run` and `login` exit as their command."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of all commands.
#[derive(Debug, Args)]
pub(crate) struct Globals {
    /// The host configuration [default: /etc/nixcloud-container/config.toml]
    #[arg(long, global = true, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Answer in JSON, on stdout; an error too, as `{"error": ...}`
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print nothing but answers and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say what is done; twice: in every detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
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

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a container from a container file; it is not started
    #[command(after_long_help = "\
Examples:
  nixcloud-container create web web.nix
  nixcloud-container create web web.nix -n \"-I nixpkgs=/srv/nixpkgs\"
  nixcloud-container create web ./web --nix-args='--arg size 3'")]
    Create(CreateArgs),
    /// Make a new generation and switch to it; a running container is switched in place
    #[command(after_long_help = "\
Without FILE and -n, those last used for the container are used again. A container that does not exist is created.

Examples:
  nixcloud-container update web
  nixcloud-container update web web.nix
  nixcloud-container update web -n \"-I nixpkgs=/srv/nixpkgs-next\"")]
    Update(UpdateArgs),
    /// Remove a container with all its generations
    #[command(after_long_help = "\
Examples:
  nixcloud-container destroy web
  nixcloud-container destroy --force web   also when it runs")]
    Destroy(DestroyArgs),
    /// Show the generations of a container
    #[command(after_long_help = "\
Columns: number, time, whether it boots next (current) or was booted (booted), system version, health.

Example:
  nixcloud-container list-generations web")]
    ListGenerations(NameArgs),
    /// Delete generations; never the current nor the booted one
    #[command(after_long_help = "\
Examples:
  nixcloud-container delete-generations web 3 4
  nixcloud-container delete-generations web old   all but the current and the booted one
  nixcloud-container delete-generations web 30d   those older than 30 days
  nixcloud-container delete-generations web +5    all but the newest 5")]
    DeleteGenerations(DeleteGenerationsArgs),
    /// Switch to a generation that is already built
    #[command(after_long_help = "\
Example:
  nixcloud-container switch-generation web 3")]
    SwitchGeneration(SwitchGenerationArgs),
    /// Switch to the newest generation that is older than the current one
    #[command(after_long_help = "\
Example:
  nixcloud-container rollback web")]
    Rollback(NameArgs),
    /// Boot a container
    #[command(after_long_help = "\
Example:
  nixcloud-container start web")]
    Start(NameArgs),
    /// Open a shell in a running container, as its root or as one of its users
    #[command(
        visible_alias = "attach",
        after_long_help = "\
It begins in the user's home, with the user's own shell. Nothing of this environment gets in but TERM.

Examples:
  nixcloud-container login web
  nixcloud-container login web -u alice
  nixcloud-container login web -w /srv -e LANG=C"
    )]
    Login(LoginArgs),
    /// Run a command in a running container
    #[command(
        override_usage = "nixcloud-container run [OPTIONS] NAME [--] COMMAND...",
        after_long_help = "\
All that follows NAME is the command. It exits as the command does: 127 when it is not found, 126 when it cannot be
executed, 128 and the signal's number when a signal ended it.

Examples:
  nixcloud-container run web systemctl --failed
  nixcloud-container run web sh -c 'echo $HOSTNAME'
  nixcloud-container run -t web htop
  tar c data | nixcloud-container run -w /srv -u alice:users web tar x"
    )]
    Run(RunArgs),
    /// Shut a container down cleanly
    #[command(after_long_help = "\
Examples:
  nixcloud-container stop web
  nixcloud-container stop web -t 10   wait 10 seconds at most")]
    Stop(StopArgs),
    /// Shut a container down cleanly and boot it again
    #[command(after_long_help = "\
Example:
  nixcloud-container restart web")]
    Restart(StopArgs),
    /// End a container at once
    #[command(after_long_help = "\
Example:
  nixcloud-container terminate web")]
    Terminate(NameArgs),
    /// Freeze all processes of a running container
    #[command(after_long_help = "\
Example:
  nixcloud-container freeze web")]
    Freeze(NameArgs),
    /// Let the processes of a frozen container go on
    #[command(after_long_help = "\
Example:
  nixcloud-container unfreeze web")]
    Unfreeze(NameArgs),
    /// Show the containers: a table on a terminal, else their names
    #[command(
        after_long_help = r#"LXC containers that nixcloud-container did not make are shown as `foreign`, in the table alone.

Examples:
  nixcloud-container list
  nixcloud-container list --watch
  nixcloud-container list --json | jq -r '.containers[] | select(.state == "running") | .name'
  for name in $(nixcloud-container list); do nixcloud-container update $name; done"#
    )]
    List(ListArgs),
    /// Print the state of a container
    #[command(
        visible_alias = "status",
        after_long_help = "\
Prints one word: stopped, starting, running, frozen, stopping, unreachable or incomplete.

Example:
  nixcloud-container state web"
    )]
    State(NameArgs),
    /// Tell by the exit code whether a container exists: 0 yes, 1 no
    #[command(after_long_help = "\
Example:
  nixcloud-container exists web || nixcloud-container create web web.nix")]
    Exists(NameArgs),
    /// Print the address of a container
    #[command(after_long_help = "\
Example:
  curl http://$(nixcloud-container show-ip web)/")]
    ShowIp(NameArgs),
    /// Make or remove the bridges of this host
    #[command(
        subcommand,
        after_long_help = "\
Examples:
  nixcloud-container host up
  nixcloud-container host down"
    )]
    Host(HostCommand),
}

/// What is to be done with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum HostCommand {
    /// Make the bridges that containers need; those that are there stay
    Up,
    /// Remove the bridges that `host up` made
    Down,
}

/// A container alone.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The container
    pub(crate) name: ContainerName,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Go on showing what changes, looking every SECONDS; until Ctrl-C
    #[arg(
        short, long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) watch: Option<u32>,
}

/// `-n`, as typed.
#[derive(Debug, Args)]
pub(crate) struct NixArgs {
    /// Arguments for Nix, split as a shell splits words; repeatable
    #[arg(short = 'n', long = "nix-args", value_name = "ARGS", allow_hyphen_values = true, value_parser = split)]
    words: Vec<Words>,
}

impl NixArgs {
    /// All words, in order; `None` when none were given.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        let all = || self.words.iter().flat_map(|words| words.0.iter().cloned()).collect();
        (!self.words.is_empty()).then(all)
    }
}

/// The words of one argument.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<String>);

fn split(text: &str) -> Result<Words, &'static str> {
    shlex::split(text).map(Words).ok_or("a quotation mark or a backslash has no counterpart")
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new container: letters, digits, `-` and `_`
    pub(crate) name: ContainerName,
    /// The container file, or a folder with a `default.nix`
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// The container file [default: the one last used]
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// End it first if it runs
    #[arg(short, long)]
    pub(crate) force: bool,
}

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

#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The container
    pub(crate) name: ContainerName,
    /// How long to wait for its end [default: as configured, 60]
    #[arg(short, long, value_name = "SECONDS")]
    pub(crate) timeout: Option<u32>,
}

/// What `run` and `login` have in common.
#[derive(Debug, Args)]
pub(crate) struct SessionArgs {
    /// The container's user, and another group than the user's own; names or numbers [default: root]
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<User>,
    /// The folder it starts in [default: `/`, for `login` the user's home]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<PathBuf>,
    /// A variable of its environment; repeatable
    #[arg(short = 'e', long = "env", value_name = "VAR=VAL", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// The container
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Give the command a terminal of the container
    #[arg(short = 't', long)]
    pub(crate) terminal: bool,
    #[command(flatten)]
    pub(crate) session: SessionArgs,
    /// The container, and the command with its arguments
    // One list: behind the container's name no word is taken for an option of ours.
    #[arg(required = true, num_args = 2.., trailing_var_arg = true, value_names = ["NAME", "COMMAND"])]
    words: Vec<String>,
}

impl RunArgs {
    /// The container and the command.
    ///
    /// # Errors
    /// When the name is none, or no command follows it.
    pub(crate) fn target(&self) -> Result<(ContainerName, &[String]), String> {
        let Some((name, command)) = self.words.split_first() else {
            return Err("no container is named".into());
        };
        let name = name.parse().map_err(|error| format!("invalid value '{name}' for 'NAME': {error}"))?;
        let command = command.strip_prefix(&["--".to_owned()][..]).unwrap_or(command);
        if command.is_empty() {
            return Err(format!("no command is given to run in `{name}`"));
        }
        Ok((name, command))
    }
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("VAR=VAL is wanted"),
    }
}

#[cfg(test)]
mod tests;
