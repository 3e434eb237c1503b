//! run and login.

use nixcloud_container::{ContainerName, Exit, RunRequest, Streams};

use super::{Context, Failure, capture};
use crate::cli::{Globals, RunArgs, ToolArgs};
use crate::exit::Status;
use crate::printer::Tone;
use crate::terminal;
use crate::view::RunView;

/// The container and the command of `run`, checked.
#[derive(Debug)]
pub(super) struct Target {
    name: ContainerName,
    request: RunRequest,
}

/// Refuses a session on a terminal where there is none.
pub(super) fn need_terminal(command: &'static str, name: &ContainerName) -> Result<(), Failure> {
    if terminal::present() { Ok(()) } else { Err(Failure::NoTerminal { command, name: name.clone() }) }
}

/// What `run` is to run where.
pub(super) fn target(args: &RunArgs, globals: &Globals) -> Result<Target, Failure> {
    if args.terminal && globals.json {
        return Err(Failure::usage(
            "run",
            "`--json` keeps what the command says, and `-t` shows it on the terminal",
        ));
    }
    let (name, command) = args.target().map_err(|error| Failure::usage("run", error))?;
    let mut request = RunRequest::new(command);
    request.terminal = args.terminal;
    request.directory.clone_from(&args.workdir);
    request.env.clone_from(&args.variables);
    if let Some(user) = args.user {
        request.uid = Some(user.uid);
        request.gid = user.gid;
    }
    if args.terminal {
        need_terminal("run -t", &name)?;
        if let (Some(term), true) = (term(), args.variables.iter().all(|(name, _)| name != "TERM")) {
            request.env.push(("TERM".to_owned(), term));
        }
    }
    Ok(Target { name, request })
}

pub(super) fn run(context: &Context<'_>, args: &RunArgs, target: Target) -> Result<Status, Failure> {
    let _saved = args.terminal.then(terminal::Saved::now);
    let program = target.request.command.first().cloned().unwrap_or_default();
    let container = context.container(&target.name);
    let (exit, said) = if context.globals.json {
        let (exit, stdout, stderr) = capture::run(&container, target.request)?;
        (exit, Some((stdout, stderr)))
    } else {
        (container.run(target.request, Streams::Inherit)?, None)
    };
    context.reply(&RunView::new(&target.name, exit, said));
    // As a shell says it: the exit code alone could be the command's own.
    let why = match exit {
        Exit::NotFound => Some("not found"),
        Exit::NotExecutable => Some("cannot be executed"),
        _ => None,
    };
    if let Some(why) = why {
        let text = format!("`{program}` {why} in container `{}`", target.name);
        context.printer.note(Tone::Error, "error", &text);
    }
    Ok(exit.into())
}

pub(super) fn login(context: &Context<'_>, args: &ToolArgs) -> Result<Status, Failure> {
    let _saved = terminal::Saved::now();
    let exit = context.container(&args.name).run(RunRequest::login(term()), Streams::Inherit)?;
    context.reply(&RunView::new(&args.name, exit, None));
    Ok(exit.into())
}

fn term() -> Option<String> {
    std::env::var("TERM").ok().filter(|term| !term.is_empty())
}
