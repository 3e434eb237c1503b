//! The commands, each with its help.

use clap::Subcommand;

use super::{
    ApplyArgs, AutostartArgs, AutostopArgs, CompletionsArgs, CreateArgs, DeleteGenerationsArgs, DestroyArgs,
    EvalArgs, EventsArgs, GcArgs, HostCommand, KillArgs, ListArgs, LoginArgs, ManArgs, NameArgs, PlanArgs,
    RepairArgs, RestartArgs, RollbackArgs, RunArgs, SetArgs, ShowIpArgs, StartArgs, StopArgs,
    SwitchGenerationArgs, ToolArgs, UpdateArgs,
};

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
    /// Say what an update would do to packages and units
    ///
    /// It is evaluated, checked and built; a running container is asked what would become of its units (`switch-to-configuration
    /// dry-activate`). No generation is made, nothing else is changed, and nothing is left. What would refuse the update fails the plan.
    #[command(after_long_help = "\
FILE, -n and -l are those of `update`. With --to it plans what `switch-generation` would do. What becomes of units is what the \
guest says. The last line is the verdict: nothing to do, live (in the running guest), restart, next start (it does not run), create, \
recreate (only remains are there), refused (by a check of the guest). The exit code is 0 for each of them, unless --exit-code is given. \
`--dry-run` of other commands looks from outside alone: it builds nothing and asks no guest.

Examples:
  nixcloud-container plan web
  nixcloud-container plan web web.nix
  nixcloud-container plan web .#web -n \"-I nixpkgs=/srv/nixpkgs-next\"
  nixcloud-container plan web --to 3
  nixcloud-container plan web --json | jq -r '.packages.changes[].name'")]
    Plan(PlanArgs),
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
    /// Delete generations that are not worth keeping
    ///
    /// A generation stays that one of the rules keeps, and always the current and the booted one. Without a rule here those of the
    /// host configuration count (`[generations]`).
    /// What no generation needs any more is freed by the next garbage collection of Nix.
    #[command(after_long_help = "\
Examples:
  nixcloud-container gc --all      as the host configuration says
  nixcloud-container gc web --keep 5 --keep-good 2
  nixcloud-container gc --all --keep-days 30 --dry-run")]
    Gc(GcArgs),
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
  nixcloud-container rollback web
  nixcloud-container rollback web --dry-run  only say what changes")]
    Rollback(RollbackArgs),
    /// Boot a container
    #[command(after_long_help = "\
In the foreground, a terminal shows the guest's console and all keys go to it, Ctrl-C too; it ends when the guest ends \
(`nixcloud-container stop` from elsewhere, or `poweroff` in it). Without a terminal what the console shows is copied to \
stdout, and Ctrl-C or SIGTERM shuts the guest down.

With --wait it returns when the guest is ready; Ctrl-C ends the waiting, and the guest runs on. The exit code is 4 where units of the guest have failed by then, and 124 where it was not ready in time.

Examples:
  nixcloud-container start web
  nixcloud-container start web --wait             until its units run
  nixcloud-container start web --wait=port:80     until it listens there
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
executed, 124 when it took longer than `--timeout`, 128 and the signal's number when a signal ended it. INT, TERM, HUP, QUIT, USR1 and USR2 that this process gets \
are the command's.

Stdin, stdout and stderr are copied: the command has pipes, never this process's own files. So stdin is read ahead, as \
ssh does: in a loop that reads a pipe or a terminal, give it `</dev/null`. Of a file the offset is put back to where the \
command stopped.

Examples:
  nixcloud-container run web systemctl --failed
  nixcloud-container run web sh -c 'echo $HOSTNAME'
  nixcloud-container run --timeout 30 web wget -O - http://localhost
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
    ///
    /// As one operation: no other comes between, and what a start refuses is found before the guest ends. One that does not run is
    /// started. With --wait as `start --wait`.
    #[command(after_long_help = "\
Examples:
  nixcloud-container restart web
  nixcloud-container restart web --wait    until its units run")]
    Restart(RestartArgs),
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
    /// Tell what happens to containers, as it happens
    ///
    /// A line each, with the time and the container: created, started, booting, ready, ended (and how), frozen, switched,
    /// busy with an operation, destroyed. First how each is. It goes on until Ctrl-C.
    #[command(after_long_help = "\
Nothing needs to run for it beforehand: operations note what they do, the last few thousand steps of them, and the kernel \
tells the rest. How a guest ended that nobody asked to (by itself, killed) the kernel tells from Linux 6.15 on, and only \
to who is watching; else it is `unknown`.

Examples:
  nixcloud-container events
  nixcloud-container events web db --since now      what happens to these
  nixcloud-container events --since 2h --no-follow  what has happened
  nixcloud-container events --json | jq -c 'select(.event == \"ended\")'")]
    Events(EventsArgs),
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
