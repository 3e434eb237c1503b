//! The commands: each asks the library and prints its answer.

mod autostart;
mod confirm;
mod declared;
mod documents;
mod events;
mod generations;
mod host;
mod inspect;
mod lifecycle;
mod lxc;
mod plan;
mod power;
mod repair;
mod session;
mod set;
mod watch;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::CommandFactory;
use clap::error::ErrorKind;
use nixcloud_container::{Cancel, Container, ContainerName, Error, HostConfig, Manager};

use crate::cli::{Cli, Command, Globals, ListArgs};
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::screen::printer::{Printer, View};
use crate::screen::signals;
use crate::spelling;
use crate::view;

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The library's error.
    #[error(transparent)]
    Library(Error),
    /// There is no such container, but one whose name is nearly the same.
    #[error("{error}")]
    Misspelt {
        /// The library's error.
        error: Box<Error>,
        /// The name that was most likely meant.
        near: String,
    },
    /// A fault of the command line that clap could not see.
    #[error(transparent)]
    Usage(clap::Error),
    /// A terminal is needed, and stdin is none.
    #[error("`{command}` needs a terminal, and stdin is none")]
    NoTerminal {
        /// The command.
        command: &'static str,
        /// The container.
        name: ContainerName,
    },
    /// Containers would be destroyed, and there is nobody to ask.
    #[error("{heading}: {}", .lines.join("; "))]
    Unasked {
        /// How many.
        heading: String,
        /// Which, with what goes with each.
        lines: Vec<String>,
    },
    /// No container's name is like a pattern.
    #[error("no container is called like `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// The signal handlers cannot be installed.
    #[error("cannot prepare for Ctrl-C")]
    Signals(#[source] io::Error),
    /// A file cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An answer could not be written.
    #[error("cannot write to stdout")]
    Output(#[source] io::Error),
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Library(error.into())
    }
}

impl Failure {
    /// A usage error of a command, told as clap tells its own.
    pub(crate) fn usage(command: &str, message: impl std::fmt::Display) -> Self {
        let mut cli = Cli::command();
        cli.build();
        let mut error = match cli.find_subcommand_mut(command) {
            Some(command) => command.error(ErrorKind::ValueValidation, message),
            None => cli.error(ErrorKind::ValueValidation, message),
        };
        error = error.with_cmd(&cli);
        Self::Usage(error)
    }

    /// What it means for the exit code.
    pub(crate) fn status(&self) -> ExitStatus {
        match self {
            Self::Library(error) => error.into(),
            Self::Misspelt { error, .. } => (&**error).into(),
            Self::Usage(_) => ExitStatus::Usage,
            Self::NoTerminal { .. }
            | Self::Unasked { .. }
            | Self::NoMatch { .. }
            | Self::Signals(_)
            | Self::Write { .. }
            | Self::Output(_) => ExitStatus::Failed,
        }
    }

    /// How to go on, where there is a way.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Library(error) => error.hint().as_ref().map(view::spelled),
            Self::Misspelt { near, .. } => Some(format!("did you mean `{near}`?")),
            Self::NoTerminal { name, .. } => {
                Some(format!("`nixcloud-container run {name} COMMAND` works without one"))
            }
            Self::NoMatch { .. } => Some("`nixcloud-container list` shows those that exist".to_owned()),
            Self::Unasked { .. } => {
                Some("nothing was changed; `--yes` destroys them, on a terminal it is asked".to_owned())
            }
            _ => None,
        }
    }
}

/// What every command has at hand.
struct Context<'a> {
    manager: Manager,
    cancel: Cancel,
    printer: &'a Printer,
    globals: &'a Globals,
}

impl<'a> Context<'a> {
    fn container(&self, name: &ContainerName) -> Container {
        self.manager.container(name.clone())
    }

    fn reply(&self, view: &impl View) {
        self.printer.reply(view);
    }

    fn progress(&self) -> Progress<'a> {
        self.builds(false)
    }

    /// Does what has no events of its own, and shows that it is being done.
    fn shown<T>(&self, doing: &str, work: impl FnOnce() -> T) -> T {
        let _shown = self.progress().doing(doing);
        work()
    }

    /// The progress of what may build; with `logs` also what the builds print.
    fn builds(&self, logs: bool) -> Progress<'a> {
        Progress::new(self.printer, logs, &self.cancel)
    }
}

/// Does what the command line says.
///
/// # Errors
/// What the library refuses or fails to do, and what the grammar cannot express.
pub(crate) fn run(cli: &Cli, printer: &Printer) -> Result<ExitStatus, Failure> {
    match &cli.command {
        Command::Completions(args) => return Ok(documents::completions(printer, args)),
        Command::Man(args) => return documents::man(printer, args),
        Command::Eval(args) => {
            lxc::Reader { printer }.eval(args)?;
            return declared::eval(&cli.globals, printer, args);
        }
        _ => {}
    }
    // Before anything else: a wrong command line is told as such, also to who is not root.
    let work = prepare(cli, lxc::Reader { printer })?;
    let manager = Manager::open(HostConfig::load(cli.globals.config().as_deref())?)?;
    let cancel = if cancels(&cli.command) {
        let session = matches!(cli.command, Command::Run(_) | Command::Login(_));
        signals::cancel_on_interrupt(printer.bottom(), session).map_err(Failure::Signals)?
    } else {
        Cancel::new()
    };
    let manager = manager.with_cancel(cancel.clone());
    let context = Context { manager, cancel, printer, globals: &cli.globals };
    work(&context).map_err(|failure| misspelt(&context.manager, failure))
}

/// A container that does not exist, with the name of the one that was most likely meant.
fn misspelt(manager: &Manager, failure: Failure) -> Failure {
    let Failure::Library(error @ Error::NotFound { .. }) = failure else { return failure };
    let Error::NotFound { name, .. } = &error else { return Failure::Library(error) };
    // What cannot be listed is not guessed.
    let names = manager.names().unwrap_or_default();
    match spelling::nearest(name.as_str(), names.iter().map(ContainerName::as_str)) {
        Some(near) => Failure::Misspelt { near: near.to_owned(), error: Box::new(error) },
        None => Failure::Library(error),
    }
}

/// What is left to do once the command line is found to be right.
type Work<'a> = Box<dyn FnOnce(&Context<'_>) -> Result<ExitStatus, Failure> + 'a>;

fn prepare<'a>(cli: &'a Cli, reader: lxc::Reader<'_>) -> Result<Work<'a>, Failure> {
    Ok(match &cli.command {
        Command::Create(args) => {
            let asked = reader.create(args)?;
            Box::new(|context| lifecycle::create(context, args, asked))
        }
        Command::Update(args) => {
            let asked = reader.update(args)?;
            match &args.name {
                Some(name) => Box::new(|context| lifecycle::update(context, name, args, asked)),
                None => Box::new(|context| declared::update_all(context, args)),
            }
        }
        Command::Plan(args) => {
            let asked = reader.plan(args)?;
            Box::new(|context| plan::run(context, args, asked))
        }
        Command::Apply(args) => {
            reader.apply(args)?;
            Box::new(|context| declared::apply(context, args))
        }
        Command::Destroy(args) => {
            let asked = reader.destroy(args)?;
            Box::new(move |context| lifecycle::destroy(context, args, asked))
        }
        Command::Set(args) => Box::new(|context| set::run(context, args)),
        Command::Repair(args) => Box::new(|context| repair::run(context, args)),
        Command::ListGenerations(args) => Box::new(|context| generations::list(context, args)),
        Command::DeleteGenerations(args) => {
            let selection = generations::selection(args)?;
            Box::new(move |context| generations::delete(context, args, &selection))
        }
        Command::Gc(args) => Box::new(|context| generations::gc(context, args)),
        Command::SwitchGeneration(args) => Box::new(|context| generations::switch(context, args)),
        Command::Rollback(args) => Box::new(|context| generations::rollback(context, args)),
        Command::Start(args) => {
            let asked = reader.start(args)?;
            Box::new(|context| power::start(context, args, asked))
        }
        Command::Stop(args) => {
            let asked = reader.stop(args)?;
            Box::new(move |context| power::stop(context, args, &asked))
        }
        Command::Restart(args) => {
            let asked = reader.restart(&args.stop)?;
            Box::new(move |context| power::restart(context, args, &asked))
        }
        Command::Terminate(args) => {
            reader.terminate(args)?;
            Box::new(|context| power::terminate(context, args))
        }
        Command::Kill(args) => Box::new(|context| power::kill(context, args)),
        Command::Freeze(args) => Box::new(|context| power::freeze(context, args)),
        Command::Unfreeze(args) => Box::new(|context| power::unfreeze(context, args)),
        Command::Autostart(args) => Box::new(|context| autostart::start(context, args)),
        Command::Autostop(args) => Box::new(|context| autostart::stop(context, args)),
        Command::Login(args) => {
            let asked = reader.login(args)?;
            Box::new(|context| session::login(context, args, asked))
        }
        Command::Run(args) => {
            let asked = reader.run(args)?;
            let target = session::target(args, &cli.globals, asked)?;
            Box::new(move |context| session::run(context, target))
        }
        Command::List(args) => {
            let asked = reader.list(args)?;
            match args.watch {
                Some(seconds) => {
                    Box::new(move |context| watch::list(context, Duration::from_secs(seconds.into()), &asked))
                }
                None => Box::new(move |context| inspect::list(context, &asked)),
            }
        }
        Command::Events(args) => Box::new(|context| events::run(context, args)),
        Command::State(args) => Box::new(|context| inspect::state(context, args)),
        Command::Exists(args) => Box::new(|context| inspect::exists(context, args)),
        Command::ShowIp(args) => Box::new(|context| inspect::show_ip(context, args)),
        Command::Host(command) => Box::new(|context| host::run(context, *command)),
        // Done before a host is opened.
        Command::Completions(_) | Command::Man(_) | Command::Eval(_) => Box::new(|_| Ok(ExitStatus::Done)),
    })
}

/// Whether Ctrl-C goes to the library: to undo what was done, or to the command in the guest. Those that only look just
/// end.
fn cancels(command: &Command) -> bool {
    !matches!(
        command,
        Command::List(ListArgs { watch: None, .. })
            | Command::ListGenerations(_)
            | Command::State(_)
            | Command::Exists(_)
            | Command::ShowIp(_)
            | Command::Host(_)
    )
}
