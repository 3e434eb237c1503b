//! host up, host down, host check.

use super::{Context, Failure};
use crate::cli::HostCommand;
use crate::exit::Status;
use crate::view::{CheckView, HostView};

pub(super) fn run(context: &Context<'_>, command: HostCommand) -> Result<Status, Failure> {
    let changes = match command {
        HostCommand::Up => context.manager.host_up()?,
        HostCommand::Down => context.manager.host_down()?,
        HostCommand::Check => {
            let view = CheckView::of(&context.manager.host_check()?);
            context.reply(&view);
            return Ok(if view.is_good() { Status::Done } else { Status::Failed });
        }
    };
    context.reply(&HostView::of(&changes));
    Ok(Status::Done)
}
