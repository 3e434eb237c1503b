//! The `nixcloud-container` command: it parses, asks the library and prints what it answers.

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
