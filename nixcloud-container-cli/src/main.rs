//! The `nixcloud-container` command: it parses, asks the library and prints what it answers.
//!
//! # Rooms
//!
//! A room imports only rooms below it, and inside a room there is no circle, as in the library.
//!
//! | room | owns |
//! |---|---|
//! | `report` | the failure of a command: how it is told, and what it means for the exit code |
//! | `commands` | the commands: each asks the library and prints its answer |
//! | `completion` | what can follow on a command line, and the scripts by which shells ask for it |
//! | `man` | manual pages, made from the grammar |
//! | `progress` | what an operation is doing, live or in plain lines |
//! | `view` | answers and failures: shapes for `--json`, each of which also tells itself in words |
//! | `spelling` | commands as they were spelled of old, and by mistake |
//! | `cli` | the grammar of the command line |
//! | `lxc_args` | the words of LXC's own tools behind `-l` |
//! | `screen` | the streams and the terminal: what is written, drawn and coloured, and keys that mean an end |
//! | `exit` | exit codes |

mod cli;
mod commands;
mod completion;
mod exit;
mod lxc_args;
mod man;
mod progress;
mod report;
mod screen;
mod spelling;
mod view;

use std::process::ExitCode;

use cli::Cli;
use screen::printer::Printer;
use screen::trace;

fn main() -> ExitCode {
    // First: this program re-executes itself as the worker that talks to LXC.
    nixcloud_container::worker::init();
    nixcloud_container::worker::waits_alone();
    if let Some(answer) = completion::answer(std::env::args_os()) {
        Printer::new(true, false).raw(&answer);
        return ExitCode::SUCCESS;
    }
    let arguments = spelling::modern(std::env::args_os());
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(answer) => return Printer::new(false, false).clap(&spelling::best_guess(answer)).into(),
    };
    let printer = Printer::new(cli.globals.quiet, cli.globals.verbose > 0).with_json(cli.globals.json);
    trace::init(cli.globals.verbose, printer.bottom());
    clear_on_panic(&printer);
    let status = match commands::run(&cli, &printer) {
        Ok(status) => status,
        Err(failure) => report::failure(&failure, &printer),
    };
    match printer.finish() {
        Ok(()) => status,
        Err(error) => report::failure(&commands::Failure::Output(error), &printer),
    }
    .into()
}

/// A panic's message goes where nothing is drawn.
fn clear_on_panic(printer: &Printer) {
    let (bottom, tell) = (printer.bottom().clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        bottom.clear_or_leave();
        tell(panic);
    }));
}
