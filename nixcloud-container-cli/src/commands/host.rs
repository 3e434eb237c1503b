//! host up, host down.

use super::{Context, Failure};
use crate::cli::HostCommand;
use crate::exit::Status;
use crate::view::HostView;

pub(super) fn run(context: &Context<'_>, command: HostCommand) -> Result<Status, Failure> {
    let changes = match command {
        HostCommand::Up => context.manager.host_up()?,
        HostCommand::Down => context.manager.host_down()?,
    };
    context.reply(&HostView::of(&changes));
    Ok(Status::Done)
}
