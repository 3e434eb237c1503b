//! host up, host down.

use nixcloud_container::{BridgeChange, Change};

use super::{Context, Failure};
use crate::cli::HostCommand;
use crate::exit::Status;

pub(super) fn run(context: &Context<'_>, command: HostCommand) -> Result<Status, Failure> {
    let changes = match command {
        HostCommand::Up => context.manager.host_up()?,
        HostCommand::Down => context.manager.host_down()?,
    };
    for change in &changes {
        context.printer.result(told(change));
    }
    Ok(Status::Done)
}

fn told(change: &BridgeChange) -> String {
    let bridge = &change.bridge;
    match change.change {
        Change::Made => format!("made bridge {bridge}"),
        Change::Mended => format!("mended bridge {bridge}"),
        Change::Kept => format!("bridge {bridge} is there already"),
        Change::Foreign => format!("bridge {bridge} is not ours: left alone"),
        Change::Removed => format!("removed bridge {bridge}"),
        Change::Absent => format!("bridge {bridge} is not there"),
        _ => format!("bridge {bridge} was looked at"),
    }
}
