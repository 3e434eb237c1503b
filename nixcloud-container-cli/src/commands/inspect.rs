//! list, state, exists, show-ip.

use std::net::IpAddr;

use nixcloud_container::Listed;

use super::{Context, Failure};
use crate::cli::{NameArgs, ShowIpArgs};
use crate::exit::ExitStatus;
use crate::lxc_args::{Column, Ls};
use crate::view::{Addresses, ContainerView, Exists, ListView, LsView, NamesView, ls};

pub(super) fn list(context: &Context<'_>, asked: &Ls) -> Result<ExitStatus, Failure> {
    let list = chosen(context, asked)?;
    let view = ListView::of(&list);
    if asked.line {
        context.reply(&NamesView(view));
    } else if let Some(columns) = &asked.columns {
        let rows = list.iter().map(|listed| ls::row(listed, &inside(context, listed, columns)));
        context.reply(&LsView::new(view, columns, rows));
    } else {
        context.reply(&view);
    }
    Ok(ExitStatus::Done)
}

/// The containers that are wanted.
pub(super) fn chosen(context: &Context<'_>, asked: &Ls) -> Result<Vec<Listed>, Failure> {
    let mut list = context.manager.list()?;
    list.retain(|listed| asked.wants(listed));
    Ok(list)
}

/// What a running guest's interfaces have, where a column wants to know.
fn inside(context: &Context<'_>, listed: &Listed, columns: &[Column]) -> Vec<(String, IpAddr)> {
    match listed {
        Listed::Container(status) if columns.iter().any(|column| column.looks_inside()) => {
            // One that ends meanwhile has none.
            context.container(&status.name).interfaces().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

pub(super) fn state(context: &Context<'_>, args: &NameArgs) -> Result<ExitStatus, Failure> {
    let container = context.container(&args.name);
    if context.globals.json {
        context.reply(&ContainerView::from(&container.status()?));
    } else {
        // The state alone is found out sooner than all the rest.
        context.printer.answer(container.state()?.to_string());
    }
    Ok(ExitStatus::Done)
}

pub(super) fn exists(context: &Context<'_>, args: &NameArgs) -> Result<ExitStatus, Failure> {
    let exists = context.container(&args.name).exists()?;
    context.reply(&Exists { name: args.name.to_string(), exists });
    Ok(if exists { ExitStatus::Done } else { ExitStatus::Failed })
}

pub(super) fn show_ip(context: &Context<'_>, args: &ShowIpArgs) -> Result<ExitStatus, Failure> {
    let container = context.container(&args.name);
    let addresses = container.addresses()?;
    // The guest is looked at only where that is told.
    let all = if args.all || context.globals.json { container.all_addresses()? } else { Vec::new() };
    context.reply(&Addresses::new(args.name.to_string(), addresses, &all, args.all));
    Ok(ExitStatus::Done)
}
