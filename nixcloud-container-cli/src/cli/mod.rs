//! The grammar of the command line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use nixcloud_container::{ContainerName, GenerationId, Signal, User};

use crate::screen::colours::Stream;
use crate::screen::terminal;

pub(crate) use autostart::{AutostartArgs, AutostopArgs};
pub(crate) use declared::{ApplyArgs, EvalArgs, UpdateArgs};
pub(crate) use documents::{CompletionsArgs, ManArgs, Shell};
pub(crate) use names::Names;
pub(crate) use repair::RepairArgs;
pub(crate) use set::SetArgs;

mod autostart;
mod declared;
mod documents;
pub(crate) mod groups;
mod names;
mod repair;
mod set;

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

Exit codes: 0 done, 1 refused, failed or no, 2 wrong usage, 130 interrupted; `run` and `login` exit as their command."
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

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create a container from a container file
    ///
    /// An address and ids are leased to it, its system is evaluated and built. It is not started. Nothing is left of
    /// it when that fails or is interrupted.
    #[command(after_long_help = "\
Examples:
  nixcloud-container create web web.nix
  nixcloud-container create web web.nix -n \"-I nixpkgs=/srv/nixpkgs\"
  nixcloud-container create web ./web --nix-args='--arg size 3'
  nixcloud-container create web .#web          an attribute of a flake
  nixcloud-container create web all.nix#web    of the set in a file
  nixcloud-container create web web.nix -l \"-s lxc.group=shop\"")]
    Create(CreateArgs),
    /// Make a new generation and switch to it
    ///
    /// A running container is switched in place, as `nixos-rebuild switch` does on a host; a stopped one boots it at the
    /// next start. Where the switch fails, the generation before is put back and activated again.
    #[command(after_long_help = "\
Without FILE, -n and -l, those last used for the container are used again (-n \"\", -l \"\": none). A container that does \
not exist is created. With --all they are evaluated and built together, and one that fails stops no other; those that \
the host configuration declares are left to it, and those that `rollback` or `switch-generation` pinned stay as they are.

Examples:
  nixcloud-container update web
  nixcloud-container update web web.nix
  nixcloud-container update web .#web
  nixcloud-container update web web.nix --dry-run
  nixcloud-container update web -n \"-I nixpkgs=/srv/nixpkgs-next\"
  nixcloud-container update --all")]
    Update(UpdateArgs),
    /// Change limits by hand, at once
    ///
    /// The keys are those of `resources` in a container file that have one value: memory, memoryHigh, swap, cpus, cpuset,
    /// cpuWeight, pids, ioWeight, cgroups. A new generation begins with its own limits, unless --keep is given.
    #[command(after_long_help = "\
Examples:
  nixcloud-container set web memory=2G
  nixcloud-container set web cpus=1.5 pids=500 --keep
  nixcloud-container set web memory=none
  nixcloud-container set web --reset")]
    Set(SetArgs),
    /// Make a set of containers what it is declared to be
    ///
    /// What is missing is created, what differs gets a new generation (in place where it runs), the rest is left alone.
    /// All are evaluated together and planned first; one that fails stops no other.
    #[command(after_long_help = "\
FILE holds a set, { web = ./web.nix; db = { configuration = ...; }; }. A folder has a container in each NAME.nix and \
NAME/default.nix (not in what begins with `_` or `.`). Of a flake, it is the output `nixcloudContainers`, or the attribute \
that is named. Containers that were not declared by the same FILE are never touched, unless --take-over is given: a link is the \
FILE that it leads to, but a set that was moved, or another copy of it, is another FILE.

A container that is declared no more stays, unless --prune is given: then it is shut down and destroyed with its files. Before \
that it is told which go and how much they keep; on a terminal it is asked, elsewhere --yes has to say it.

Examples:
  nixcloud-container apply containers.nix --dry-run
  nixcloud-container apply ./containers --prune
  nixcloud-container apply ./containers --prune --yes  from a script
  nixcloud-container apply .#shop")]
    Apply(ApplyArgs),
    /// Evaluate a container file and say what it comes to
    ///
    /// Nothing is built and nothing of the host changes: the check to run before a commit. It needs no root.
    #[command(after_long_help = "\
In place of an address that would be leased stands 10.101.255.254. The exit code is 1 where the file is wrong.

Examples:
  nixcloud-container eval web.nix
  nixcloud-container eval .#web --json | jq -r .derivation
  for file in *.nix; do nixcloud-container eval -q $file || exit; done")]
    Eval(EvalArgs),
    /// Remove a container with all its generations and files
    ///
    /// All that it keeps in its root file system is gone, and its address and ids are free again. A running container is
    /// refused, and so is one that a set or the host's configuration declares, or that is just being created (--force waits
    /// until it is there). Where something is mounted in its root, nothing is done.
    #[command(after_long_help = "\
One container that is named goes without a question. Before several go, or one by a pattern, it is told which and how much \
they keep; on a terminal it is asked, elsewhere --yes has to say it. One that cannot be destroyed stops no other.

Examples:
  nixcloud-container destroy web
  nixcloud-container destroy web --force    also if it runs or is declared
  nixcloud-container destroy 'test-*' -y    all of these, unasked")]
    Destroy(DestroyArgs),
    /// Make anew what is damaged or lost of a container
    ///
    /// Its record, claims, profile and folders are made of each other, and each thing that was done is said. A record that
    /// cannot be read is kept beside the new one, a root file system that is lost is made anew, empty. Nothing is removed but
    /// claims that name nobody and links that lead nowhere. `host check` finds the same.
    #[command(after_long_help = "\
Examples:
  nixcloud-container repair --dry-run  only say what is wrong
  nixcloud-container repair web
  nixcloud-container repair            all containers")]
    Repair(RepairArgs),
    /// Show the generations of a container
    #[command(after_long_help = "\
Columns: number, time, whether it boots next (current) or was booted (booted), system version, health.

Example:
  nixcloud-container list-generations web")]
    ListGenerations(NameArgs),
    /// Delete generations, but not the current or booted one
    ///
    /// What no generation needs any more is freed by the next garbage collection of Nix.
    #[command(after_long_help = "\
Examples:
  nixcloud-container delete-generations web 3 4
  nixcloud-container delete-generations web old  all that can be
  nixcloud-container delete-generations web 30d  those older than 30 days
  nixcloud-container delete-generations web +5   all but the newest 5")]
    DeleteGenerations(DeleteGenerationsArgs),
    /// Switch to a generation that is already built
    ///
    /// As `update` does, but without a build: a running container is switched in place. It is pinned there: `update --all`
    /// leaves it, until it is updated by its name or applied.
    #[command(after_long_help = "\
Example:
  nixcloud-container switch-generation web 3")]
    SwitchGeneration(SwitchGenerationArgs),
    /// Switch to the newest older generation that worked
    ///
    /// As `update` does, but without a build: a running container is switched in place. It is pinned there: `update --all`
    /// leaves it, until it is updated by its name or applied.
    #[command(after_long_help = "\
One worked if it was activated without a fault, or a guest has booted from it and run (`good` in `list-generations`). Where \
none did, it is the newest of which nothing is known. It is never one that failed or was left before it was activated: \
`switch-generation` goes there all the same.

Example:
  nixcloud-container rollback web")]
    Rollback(NameArgs),
    /// Boot a container
    #[command(after_long_help = "\
In the foreground, a terminal shows the guest's console and all keys go to it, Ctrl-C too; it ends when the guest ends \
(`nixcloud-container stop` from elsewhere, or `poweroff` in it). Without a terminal what the console shows is copied to \
stdout, and Ctrl-C or SIGTERM shuts the guest down.

Examples:
  nixcloud-container start web
  nixcloud-container start web -F                 boot it on this terminal
  nixcloud-container start web -F | tee boot      the same, kept
  nixcloud-container start web -l \"-L /tmp/log\"  its console to a file, too")]
    Start(StartArgs),
    /// Open a shell in a running container, as root or any user
    #[command(
        visible_alias = "attach",
        after_long_help = "\
It begins in the user's home, with the user's own shell. Nothing of this environment gets in but TERM. Where stdin \
is no terminal, the shell has none either and runs the commands that come in.

Examples:
  nixcloud-container login web
  nixcloud-container login web -u alice
  nixcloud-container login web -w /srv -e LANG=C
  nixcloud-container login web <commands.sh
  nixcloud-container login web -l --keep-env"
    )]
    Login(LoginArgs),
    /// Run a command in a running container
    #[command(
        override_usage = "nixcloud-container run [OPTIONS] NAME [--] COMMAND...",
        after_long_help = "\
All that follows NAME is the command. It exits as the command does: 127 when it is not found, 126 when it cannot be \
executed, 128 and the signal's number when a signal ended it. INT, TERM, HUP, QUIT, USR1 and USR2 that this process gets \
are the command's.

Stdin, stdout and stderr are copied: the command has pipes, never this process's own files. So stdin is read ahead, as \
ssh does: in a loop that reads a pipe or a terminal, give it `</dev/null`. Of a file the offset is put back to where the \
command stopped.

Examples:
  nixcloud-container run web systemctl --failed
  nixcloud-container run web sh -c 'echo $HOSTNAME'
  nixcloud-container run -t web htop
  tar c data | nixcloud-container run -w /srv -u alice:users web tar x"
    )]
    Run(RunArgs),
    /// Shut a container down cleanly
    ///
    /// One that does not end in time still runs, and this fails: `terminate` ends it at once.
    #[command(after_long_help = "\
Examples:
  nixcloud-container stop web
  nixcloud-container stop web -t 10        wait 10 s, leave it running
  nixcloud-container stop web -l \"-t 10\"   wait 10 s, then kill it")]
    Stop(StopArgs),
    /// Shut a container down cleanly and boot it again
    #[command(after_long_help = "\
Example:
  nixcloud-container restart web")]
    Restart(StopArgs),
    /// End a container at once
    ///
    /// Nothing in it is asked. When this returns, its name can be used again.
    #[command(after_long_help = "\
Example:
  nixcloud-container terminate web")]
    Terminate(ToolArgs),
    /// Send a signal to a container's init
    ///
    /// The kernel gives an init only what it has a handler for, but KILL and STOP always. Nothing is waited for.
    #[command(after_long_help = "\
What systemd makes of them: RTMIN+3 halts, RTMIN+5 reboots, TERM executes it anew, HUP reloads its units (systemd(1) has \
all). A frozen container takes the signal when it is thawed. To shut down and to reboot, `stop` and `restart` are better: \
they wait, and tidy up.

Examples:
  nixcloud-container kill web -s HUP
  nixcloud-container kill web -s RTMIN+3")]
    Kill(KillArgs),
    /// Freeze all processes of a running container
    ///
    /// They keep their memory and their place, and do nothing until `unfreeze`.
    #[command(after_long_help = "\
Example:
  nixcloud-container freeze web")]
    Freeze(NameArgs),
    /// Let the processes of a frozen container go on
    #[command(after_long_help = "\
Example:
  nixcloud-container unfreeze web")]
    Unfreeze(NameArgs),
    /// Start all containers that start with the host
    ///
    /// By their `autostart`: each when those that it comes `after` run and all of a lower `order` have been tried, a few
    /// at once. One that fails stops only those that come after it.
    #[command(after_long_help = "\
It is what nixcloud-container-autostart.service does at boot. Those that run already stay as they are. It exits with 1 \
when one did not start. Interrupted, it begins no more; what runs by then goes on.

Examples:
  nixcloud-container autostart
  nixcloud-container autostart -j 1                one at a time
  nixcloud-container autostart --json | jq '.failed[].name'")]
    Autostart(AutostartArgs),
    /// Shut down all containers that run
    ///
    /// Those that start with the host end in reverse order, all others before them.
    #[command(after_long_help = "\
It is what nixcloud-container-autostop.service does before the host goes down. It exits with 1 when one still runs.

Examples:
  nixcloud-container autostop
  nixcloud-container autostop -t 20 --kill   killed after 20 seconds each
  nixcloud-container autostop --within 60 -k all of them after a minute")]
    Autostop(AutostopArgs),
    /// Show the containers
    ///
    /// A table on a terminal; in a pipe their names, one a line.
    #[command(
        after_long_help = r#"LXC containers that nixcloud-container did not make are shown as `foreign`, in the table alone.

Examples:
  nixcloud-container list
  nixcloud-container list --watch
  nixcloud-container list -l '--running -F NAME,IPV4,RAM'
  nixcloud-container list --json | jq '.containers[] | select(.autostart)'
  nixcloud-container list | xargs -n 1 nixcloud-container update"#
    )]
    List(ListArgs),
    /// Print the state of a container
    #[command(
        visible_alias = "status",
        after_long_help = "\
Prints one word: stopped, starting, running, frozen, stopping, unreachable, creating, destroying or incomplete (that was cut off).

Example:
  nixcloud-container state web"
    )]
    State(NameArgs),
    /// Tell by the exit code whether a container exists
    ///
    /// 0 means yes, 1 no. Nothing is printed.
    #[command(after_long_help = "\
Example:
  if nixcloud-container exists web; then echo it is there; fi")]
    Exists(NameArgs),
    /// Print the address of a container
    #[command(after_long_help = "\
Examples:
  curl http://$(nixcloud-container show-ip web)/
  nixcloud-container show-ip web --all")]
    ShowIp(ShowIpArgs),
    /// Make, check or remove what containers need of this host
    ///
    /// The bridges and all that belongs to them. Only what is ours is touched.
    #[command(
        subcommand,
        after_long_help = "\
Examples:
  nixcloud-container host up
  nixcloud-container host check
  nixcloud-container host down"
    )]
    Host(HostCommand),
    /// Print the completions for a shell
    ///
    /// They know the containers, generations and container files that there are.
    #[command(after_long_help = "\
Examples:
  source <(nixcloud-container completions bash)  in this bash alone
  source <(nixcloud-container completions zsh)   in this zsh alone
  nixcloud-container completions fish | source   in this fish alone

For all that are opened from now on:
  cd /usr/share/bash-completion/completions
  nixcloud-container completions bash > nixcloud-container

  cd /usr/local/share/zsh/site-functions
  nixcloud-container completions zsh > _nixcloud-container

  cd /etc/fish/completions
  nixcloud-container completions fish > nixcloud-container.fish")]
    Completions(CompletionsArgs),
    /// Show a manual page, or write all of them
    ///
    /// On a terminal it is shown by man(1); in a pipe its source is printed.
    #[command(after_long_help = "\
Examples:
  nixcloud-container man create
  nixcloud-container man host up
  nixcloud-container man toml               the host configuration
  nixcloud-container man --output /usr/local/share/man")]
    Man(ManArgs),
}

/// What is to be done with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum HostCommand {
    /// Make what is missing; what is there stays
    ///
    /// Bridges, packet filter, forwarding, names and addresses for guests, ids kept from users of the host, limits of the
    /// kernel. Running containers notice nothing. It is what nixcloud-container-network.service does at boot.
    Up,
    /// Remove what `host up` made
    ///
    /// Settings of the kernel get the values back that they had. It is refused, and changes nothing, while a container is
    /// attached to one of the bridges.
    Down,
    /// Say what is missing or wrong, and how to mend it; exit with 1 then
    ///
    /// It changes nothing. What is `off` is a matter of choice, and no reason to exit with 1.
    Check,
}

/// A container alone.
#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The container
    pub(crate) name: ContainerName,
}

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
    /// Go on showing what changes, looking every SECONDS (2 when not given); until Ctrl-C
    #[arg(
        short, long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub(crate) watch: Option<u32>,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

/// A container, and words for its LXC tool.
#[derive(Debug, Args)]
pub(crate) struct ToolArgs {
    /// The container
    pub(crate) name: ContainerName,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
}

/// `-l`, as typed.
#[derive(Debug, Default, Args)]
pub(crate) struct LxcArgs {
    /// Arguments as the LXC tool of this command takes them, split as a shell splits words; repeatable
    #[arg(short = 'l', long = "lxc-args", value_name = "ARGS", allow_hyphen_values = true, value_parser = split)]
    lxc_args: Vec<Words>,
}

impl LxcArgs {
    /// All words, in order; `None` when none were given.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        joined(&self.lxc_args)
    }
}

/// `-n`, as typed.
#[derive(Debug, Args)]
pub(crate) struct NixArgs {
    /// Arguments for Nix, split as a shell splits words; repeatable
    #[arg(short = 'n', long = "nix-args", value_name = "ARGS", allow_hyphen_values = true, value_parser = split)]
    nix_args: Vec<Words>,
}

impl NixArgs {
    /// All words, in order; `None` when none were given.
    pub(crate) fn words(&self) -> Option<Vec<String>> {
        joined(&self.nix_args)
    }
}

fn joined(words: &[Words]) -> Option<Vec<String>> {
    let all = || words.iter().flat_map(|words| words.0.iter().cloned()).collect();
    (!words.is_empty()).then(all)
}

/// The words of one argument.
#[derive(Debug, Clone)]
pub(crate) struct Words(Vec<String>);

fn split(text: &str) -> Result<Words, &'static str> {
    shlex::split(text).map(Words).ok_or("a quotation mark or a backslash has no counterpart")
}

/// How builds are shown.
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Print the logs of builds, each line with the name of its derivation
    #[arg(short = 'L', long)]
    pub(crate) print_build_logs: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The new container: letters, digits, `-` and `_`
    pub(crate) name: ContainerName,
    /// The container file, a folder with a `default.nix`, FILE#ATTRIBUTE or FLAKE#ATTRIBUTE
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) nix: NixArgs,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DestroyArgs {
    /// The container; several, or patterns such as `web-*`
    #[arg(required_unless_present = "all", value_name = "NAME")]
    pub(crate) names: Vec<Names>,
    /// All containers
    #[arg(short, long, conflicts_with = "names")]
    pub(crate) all: bool,
    /// Also if it runs, which ends it first, or is declared
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Do not ask before several containers are destroyed
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
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
    #[arg(short = 'e', long = "env", value_name = "VAR=VAL", value_parser = OsStringValueParser::new().try_map(|text| variable(&text)))]
    pub(crate) variables: Vec<(OsString, OsString)>,
    #[command(flatten)]
    pub(crate) lxc: LxcArgs,
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
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, value_names = ["NAME", "COMMAND"])]
    words: Vec<OsString>,
}

impl RunArgs {
    /// The container and the command.
    ///
    /// # Errors
    /// When the name is none, or no command follows it.
    pub(crate) fn target(&self) -> Result<(ContainerName, &[OsString]), String> {
        let Some((name, command)) = self.words.split_first() else {
            return Err("no container is named".into());
        };
        // What is no text is no name either.
        let name = name.to_string_lossy();
        let name = name.parse().map_err(|error| format!("invalid value '{name}' for 'NAME': {error}"))?;
        let command = command.strip_prefix(&[OsString::from("--")][..]).unwrap_or(command);
        if command.is_empty() {
            return Err(format!("no command is given to run in `{name}`"));
        }
        Ok((name, command))
    }
}

pub(crate) fn seconds(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "a whole number of seconds is wanted")
}

fn variable(text: &OsStr) -> Result<(OsString, OsString), &'static str> {
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    match (parts.next(), parts.next()) {
        (Some(name), Some(value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("VAR=VAL is wanted"),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod help_tests;
