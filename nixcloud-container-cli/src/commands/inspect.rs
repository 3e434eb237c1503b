//! list, state, exists, show-ip.

use std::time::Duration;

use super::{Context, Failure, watch};
use crate::cli::{ListArgs, NameArgs};
use crate::exit::Status;
use crate::view::{Addresses, ContainerView, Exists, ListView};

pub(super) fn list(context: &Context<'_>, args: &ListArgs) -> Result<Status, Failure> {
    if let Some(seconds) = args.watch {
        return watch::list(context, Duration::from_secs(seconds.into()));
    }
    context.reply(&ListView::of(&context.manager.list()?));
    Ok(Status::Done)
}

pub(super) fn state(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let container = context.container(&args.name);
    if context.globals.json {
        context.reply(&ContainerView::from(&container.status()?));
    } else {
        // The state alone is found out sooner than all the rest.
        context.printer.answer(container.state()?.to_string());
    }
    Ok(Status::Done)
}

pub(super) fn exists(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let exists = context.container(&args.name).exists()?;
    context.reply(&Exists { name: args.name.to_string(), exists });
    Ok(if exists { Status::Done } else { Status::Failed })
}

pub(super) fn show_ip(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let addresses = context.container(&args.name).addresses()?;
    context.reply(&Addresses { name: args.name.to_string(), addresses });
    Ok(Status::Done)
}
