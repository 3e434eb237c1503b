//! run and login.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::time::Duration;

use nixcloud_container::{ContainerName, Event, Exit, Input, RunRequest, Streams};

use super::{Context, Failure};
use crate::cli::{Globals, LoginArgs, RunArgs, SessionArgs};
use crate::exit::ExitStatus;
use crate::lxc_args::Attach;
use crate::screen::printer::Tone;
use crate::screen::terminal;
use crate::view::RunView;

/// The container and the command of `run`, checked.
#[derive(Debug)]
pub(super) struct Target {
    name: ContainerName,
    request: RunRequest,
}

/// Refuses a session on a terminal where there is none.
fn need_terminal(command: &'static str, name: &ContainerName) -> Result<(), Failure> {
    if terminal::present() { Ok(()) } else { Err(Failure::NoTerminal { command, name: name.clone() }) }
}

/// What `run` is to run where.
pub(super) fn target(args: &RunArgs, globals: &Globals, asked: Attach) -> Result<Target, Failure> {
    if args.terminal && globals.json {
        return Err(Failure::usage(
            "run",
            "`--json` keeps what the command says, and `-t` shows it on the terminal",
        ));
    }
    let (name, command) = args.target().map_err(|error| Failure::usage("run", error))?;
    let mut request = RunRequest::new(command.iter().cloned());
    if args.terminal {
        need_terminal("run -t", &name)?;
        request.terminal = true;
        request.env.extend(term());
    }
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    request.timeout = args.timeout.map(seconds);
    request.kill_after = args.kill_after.map(seconds);
    args.session.apply(asked, &mut request);
    Ok(Target { name, request })
}

impl SessionArgs {
    /// Adds what was asked for; a variable that is there already gives way.
    fn apply(&self, asked: Attach, request: &mut RunRequest) {
        request.user = self.user.clone().or(asked.user);
        request.directory.clone_from(&self.workdir);
        request.environment = asked.environment;
        let kept = asked
            .keep
            .into_iter()
            .filter_map(|name| std::env::var_os(&name).map(|value| (name.into(), value)));
        request.env.extend(kept);
        request.env.extend(asked.set.into_iter().map(|(name, value)| (name.into(), value.into())));
        request.env.extend_from_slice(&self.variables);
        request.namespaces = asked.namespaces;
        request.elevated = asked.elevated;
        request.remount = asked.remount;
    }
}

pub(super) fn run(context: &Context<'_>, target: Target) -> Result<ExitStatus, Failure> {
    let program = target.request.command.first().cloned().unwrap_or_default();
    let container = context.container(&target.name);
    let limit = target.request.timeout.unwrap_or_default();
    let (exit, said) = if context.globals.json {
        let mut command = container.command_of(target.request);
        if !io::stdin().is_terminal() {
            command.stdin(Input::Inherit);
        }
        let output = command.output_observed(&mut notes(context))?;
        (output.exit, Some((output.stdout.into(), output.stderr.into())))
    } else {
        (container.run_observed(target.request, Streams::Inherit, &mut notes(context))?, None)
    };
    context.reply(&RunView::new(&target.name, exit, said));
    let program = format!("`{}`", program.display());
    if exit == Exit::TimedOut {
        let what = format!(
            "{program} took longer than {} s in container `{}`, and was ended",
            limit.as_secs(),
            target.name
        );
        context.printer.labelled(Tone::Error, "error", &what);
    }
    unrunnable(context, &target.name, &program, exit);
    Ok(exit.into())
}

pub(super) fn login(context: &Context<'_>, args: &LoginArgs, asked: Attach) -> Result<ExitStatus, Failure> {
    let mut request = RunRequest::login(None);
    // Without one to type on, what comes in are commands, as for ssh.
    request.terminal = terminal::present();
    if request.terminal {
        request.env.extend(term());
    }
    args.session.apply(asked, &mut request);
    let shell = request.user.as_ref().map_or("the shell".to_owned(), |user| format!("the shell of `{user}`"));
    let exit = context.container(&args.name).run_observed(request, Streams::Inherit, &mut notes(context))?;
    context.reply(&RunView::new(&args.name, exit, None));
    unrunnable(context, &args.name, &shell, exit);
    Ok(exit.into())
}

/// Says what is waited for before the command begins. Nothing is drawn: the streams are the command's.
fn notes(context: &Context<'_>) -> impl FnMut(Event) {
    let printer = context.printer;
    move |event| {
        if let Event::Note(note) = event {
            printer.note(Tone::Hint, "note", &note.to_string());
        }
    }
}

/// Says so, as a shell does, when a program was never run: the exit code alone could be its own.
fn unrunnable(context: &Context<'_>, name: &ContainerName, program: &str, exit: Exit) {
    let why = match exit {
        Exit::NotFound => "not found",
        Exit::NotExecutable => "cannot be executed",
        _ => return,
    };
    context.printer.labelled(Tone::Error, "error", &format!("{program} {why} in container `{name}`"));
    if program.starts_with("`-") {
        context.printer.labelled(Tone::Hint, "hint", "options of `run` stand before the container's name");
    }
}

/// The terminal's name. Without one the guest's is a plain one.
fn term() -> Option<(OsString, OsString)> {
    let term = std::env::var_os("TERM").filter(|term| !term.is_empty());
    term.map(|term| ("TERM".into(), term))
}
