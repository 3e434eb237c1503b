//! What fits a line: the grammar completes commands and options, the host the names that are in use.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgMatches, Command, CommandFactory, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use jiff::tz::TimeZone;
use nixcloud_container::{ContainerName, Generation, GenerationId, HostConfig, Manager, Signal};

use crate::cli::{Cli, Globals};
use crate::spelling;

/// Up to so many names it is looked up whether they run, so that those that fit best come first.
const LOOKED_UP: usize = 256;

/// The tag of candidates that are paths, which shells quote and show in their own way.
const FILES: &str = "files";

/// Whether a candidate is a path.
pub(super) fn is_file(candidate: &CompletionCandidate) -> bool {
    candidate.get_tag().is_some_and(|tag| tag.to_string() == FILES)
}

/// What the last of the words can become. The first is the program.
pub(super) fn of(words: &[String]) -> Vec<CompletionCandidate> {
    // Behind `sudo` and the like, where the shell has not taken that away.
    let program = |word: &String| Path::new(word).file_name() == Some(OsStr::new("nixcloud-container"));
    let words = &words[words.iter().position(program).unwrap_or(0)..];
    let Some((current, before)) = words.split_last().filter(|(_, before)| !before.is_empty()) else {
        return Vec::new();
    };
    let mut all = spelling::modern(before.iter().map(Into::into));
    let said = Arc::new(Said::of(&all));
    // Behind the container's name all is the guest's: its commands, its files.
    if said.command == "run" && said.has_target {
        return Vec::new();
    }
    all.push(current.into());
    let index = all.len() - 1;
    let folder = std::env::current_dir().ok();
    let found = clap_complete::engine::complete(&mut grammar(&said), all, index, folder.as_deref());
    let mut found = found.unwrap_or_default();
    // Options are offered to who begins one, not among names.
    found.retain(|candidate| {
        current.starts_with('-') || !candidate.get_value().as_encoded_bytes().starts_with(b"-")
    });
    found.into_iter().map(|candidate| by_its_name(candidate, current)).collect()
}

/// A command is offered by its name, unless only an alias fits what is typed.
fn by_its_name(candidate: CompletionCandidate, current: &str) -> CompletionCandidate {
    let name = candidate.get_id().and_then(|id| id.strip_prefix("command::"));
    match name.filter(|name| name.starts_with(current)) {
        Some(name) => CompletionCandidate::new(name).help(candidate.get_help().cloned()),
        None => candidate,
    }
}

/// What the words before the cursor say.
#[derive(Debug, Default)]
struct Said {
    config: Option<PathBuf>,
    /// The last command: of `host up` it is `up`.
    command: String,
    name: Option<ContainerName>,
    /// The words that `delete-generations` has already.
    generations: Vec<String>,
    /// The words that `man` has already.
    pages: Vec<String>,
    /// Whether `run` has its container.
    has_target: bool,
}

impl Said {
    /// Reads what can be read: the line is not finished, and may be wrong.
    fn of(words: &[std::ffi::OsString]) -> Self {
        let Ok(matches) = Cli::command().ignore_errors(true).try_get_matches_from(words) else {
            return Self::default();
        };
        let mut said = Self::default();
        let mut matches = &matches;
        loop {
            said.take(matches);
            let Some((name, inner)) = matches.subcommand() else {
                said.config = Globals::from_arg_matches(matches).ok().and_then(|globals| globals.config());
                return said;
            };
            name.clone_into(&mut said.command);
            matches = inner;
        }
    }

    fn take(&mut self, matches: &ArgMatches) {
        // An argument that this command does not have is an error to ask for.
        if let Ok(Some(name)) = matches.try_get_one::<ContainerName>("name") {
            self.name = Some(name.clone());
        }
        if let Ok(Some(words)) = matches.try_get_many::<String>("generations") {
            self.generations = words.cloned().collect();
        }
        if let Ok(Some(words)) = matches.try_get_many::<String>("command") {
            self.pages = words.cloned().collect();
        }
        if let Ok(Some(words)) = matches.try_get_many::<std::ffi::OsString>("words") {
            self.has_target = words.len() > 0;
        }
    }

    /// The host, where we may look at it.
    fn manager(&self) -> Option<Manager> {
        Manager::open(HostConfig::load(self.config.as_deref()).ok()?).ok()
    }

    fn generations(&self) -> Vec<Generation> {
        let of = |manager: Manager| manager.container(self.name.clone()?).noted_generations().ok();
        let mut generations = self.manager().and_then(of).unwrap_or_default();
        // The newest is the one that is wanted most often.
        generations.reverse();
        generations
    }

    fn names(&self, current: &str) -> Vec<CompletionCandidate> {
        let Some(manager) = self.manager() else { return Vec::new() };
        let mut names = manager.names().unwrap_or_default();
        names.retain(|name| name.as_str().starts_with(current));
        if names.len() > LOOKED_UP {
            return names.iter().map(|name| CompletionCandidate::new(name.as_str())).collect();
        }
        let mut names: Vec<(ContainerName, bool)> = names
            .into_iter()
            .map(|name| {
                let runs = manager.container(name.clone()).seems_to_run();
                (name, runs)
            })
            .collect();
        if let Some(wanted) = wants_running(&self.command) {
            names.sort_by_key(|(_, runs)| *runs != wanted);
        }
        let help = |runs| if runs { "running" } else { "stopped" }.into();
        names
            .iter()
            .map(|(name, runs)| CompletionCandidate::new(name.as_str()).help(Some(help(*runs))))
            .collect()
    }

    /// What `man` has pages of.
    fn pages(&self, current: &str) -> Vec<CompletionCandidate> {
        let cli = Cli::command();
        let command = match self.pages.split_first() {
            None => Some(&cli),
            Some((first, [])) => cli.find_subcommand(first),
            Some(_) => None,
        };
        let commands = command.into_iter().flat_map(Command::get_subcommands);
        let commands = commands
            .map(|command| CompletionCandidate::new(command.get_name()).help(command.get_about().cloned()));
        let toml = CompletionCandidate::new("toml").help(Some("The host configuration".into()));
        starting_with(current, commands.chain(self.pages.is_empty().then_some(toml)))
    }

    /// All that have a name, and what systemd takes for a wish. With `SIG` where that is typed.
    #[expect(clippy::unused_self, reason = "it is asked as all others are")]
    fn signals(&self, current: &str) -> Vec<CompletionCandidate> {
        let named =
            (1..32).filter_map(|number: i32| Some((number.to_string().parse::<Signal>().ok()?, None)));
        let wishes =
            [("RTMIN+3", "systemd halts"), ("RTMIN+4", "systemd powers off"), ("RTMIN+5", "systemd reboots")];
        let wishes =
            wishes.into_iter().filter_map(|(name, help)| Some((name.parse().ok()?, Some(help.into()))));
        let candidates = named.chain(wishes).map(|(signal, help)| {
            let name = signal.to_string();
            let name = if current.starts_with("SIG") { &name } else { name.trim_start_matches("SIG") };
            CompletionCandidate::new(name).help(help)
        });
        starting_with(current, candidates)
    }

    fn ids(&self, current: &str) -> Vec<CompletionCandidate> {
        starting_with(current, self.generations().iter().map(generation))
    }

    /// Only what can be deleted, and what goes with the words that are there already.
    fn selections(&self, current: &str) -> Vec<CompletionCandidate> {
        let is_number = |word: &String| word.parse::<GenerationId>().is_ok();
        if !self.generations.iter().all(is_number) {
            return Vec::new();
        }
        let generations = self.generations();
        let ids = generations
            .iter()
            .filter(|one| !one.current && !one.booted)
            .filter(|one| !self.generations.contains(&one.id.to_string()))
            .map(generation);
        let words = [
            ("old", "all but the current and the booted one"),
            ("30d", "those older than 30 days"),
            ("+5", "all but the newest 5"),
        ];
        let words = words.map(|(word, help)| CompletionCandidate::new(word).help(Some(help.into())));
        let words = words.into_iter().filter(|_| self.generations.is_empty());
        starting_with(current, ids.chain(words))
    }
}

fn starting_with(
    current: &str,
    candidates: impl Iterator<Item = CompletionCandidate>,
) -> Vec<CompletionCandidate> {
    candidates
        .filter(|one| one.get_value().to_str().is_some_and(|value| value.starts_with(current)))
        .collect()
}

fn generation(generation: &Generation) -> CompletionCandidate {
    let made = generation.created.to_zoned(TimeZone::system());
    let mut help = made.strftime("%Y-%m-%d %H:%M").to_string();
    for (said, word) in [(generation.current, ", current"), (generation.booted, ", booted")] {
        if said {
            help.push_str(word);
        }
    }
    CompletionCandidate::new(generation.id.to_string()).help(Some(help.into()))
}

/// Whether a command is for running containers, or for those that do not run.
fn wants_running(command: &str) -> Option<bool> {
    match command {
        "login" | "run" | "stop" | "restart" | "terminate" | "kill" | "freeze" | "unfreeze" => Some(true),
        "start" | "destroy" => Some(false),
        _ => None,
    }
}

/// The grammar, with what the host knows. What an argument is, its type says.
fn grammar(said: &Arc<Said>) -> Command {
    with_completers(Cli::command(), said)
}

fn with_completers(command: Command, said: &Arc<Said>) -> Command {
    let name = command.get_name().to_owned();
    command
        .mut_args(|arg| match completer(&name, &arg, said) {
            Some(completer) => arg.add(completer),
            None => arg,
        })
        .mut_subcommands(|inner| with_completers(inner, said))
}

fn completer(command: &str, arg: &Arg, said: &Arc<Said>) -> Option<ArgValueCompleter> {
    let kind = arg.get_value_parser().type_id();
    let asked = |ask: fn(&Said, &str) -> Vec<CompletionCandidate>| {
        let said = Arc::clone(said);
        let answer = move |current: &OsStr| current.to_str().map(|text| ask(&said, text)).unwrap_or_default();
        Some(ArgValueCompleter::new(answer))
    };
    match (command, arg.get_id().as_str()) {
        // A name that is new.
        ("create", "name") => None,
        ("run", "words") | ("destroy", "names") => asked(Said::names),
        ("man", "command") => asked(Said::pages),
        ("delete-generations", "generations") => asked(Said::selections),
        ("kill", "signal") => asked(Said::signals),
        (_, "file") => Some(ArgValueCompleter::new(Files(container_file))),
        (_, "config") => Some(ArgValueCompleter::new(Files(toml_file))),
        // A folder of the guest.
        (_, "workdir") => Some(ArgValueCompleter::new(|_: &OsStr| Vec::new())),
        _ if kind == std::any::TypeId::of::<ContainerName>() => asked(Said::names),
        _ if kind == std::any::TypeId::of::<GenerationId>() => asked(Said::ids),
        _ => None,
    }
}

/// Paths of which some are wanted, and the folders on the way to them.
struct Files(fn(&Path) -> bool);

impl ValueCompleter for Files {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let files = PathCompleter::any().filter(self.0).complete(current);
        files.into_iter().map(|file| file.tag(Some(FILES.into()))).collect()
    }
}

fn container_file(path: &Path) -> bool {
    if path.is_dir() {
        path.join("default.nix").is_file()
    } else {
        path.extension().is_some_and(|extension| extension == "nix")
    }
}

fn toml_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") && path.is_file()
}
