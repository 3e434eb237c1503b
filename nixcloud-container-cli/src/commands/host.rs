//! host up, host down, host check.

use nixcloud_container::{Error, HostChange};

use super::{Context, Failure};
use crate::cli::HostCommand;
use crate::exit::ExitStatus;
use crate::view::{CheckView, HostView};

pub(super) fn run(context: &Context<'_>, command: HostCommand) -> Result<ExitStatus, Failure> {
    let changes = match command {
        HostCommand::Up => told(context, context.manager.host_up())?,
        HostCommand::Down => told(context, context.manager.host_down())?,
        HostCommand::Check => {
            let view = CheckView::of(&context.manager.host_check());
            context.reply(&view);
            return Ok(if view.is_good() { ExitStatus::Done } else { ExitStatus::Failed });
        }
    };
    context.reply(&HostView::of(&changes));
    Ok(ExitStatus::Done)
}

/// Where only some parts could be changed, those are told of all the same; with `--json` the failure has them.
fn told(context: &Context<'_>, changes: Result<Vec<HostChange>, Error>) -> Result<Vec<HostChange>, Error> {
    if let Err(Error::HostParts { done, .. }) = &changes
        && !context.printer.json()
    {
        context.reply(&HostView::of(done));
    }
    changes
}
