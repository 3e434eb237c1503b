//! list, state, exists, show-ip.

use nixcloud_container::Listed;

use super::{Context, Failure};
use crate::cli::NameArgs;
use crate::exit::Status;
use crate::printer::Tone;
use crate::{report, view};

pub(super) fn list(context: &Context<'_>) -> Result<Status, Failure> {
    let list = context.manager.list()?;
    if context.printer.for_people() {
        if list.is_empty() {
            context.printer.note(Tone::Hint, "note", "there are no containers");
        } else {
            for line in view::list(&list) {
                context.printer.answer(line);
            }
        }
    } else {
        // A script goes on to use these names with our commands, which refuse the foreign ones.
        for listed in list.iter().filter(|listed| !matches!(listed, Listed::Foreign { .. })) {
            context.printer.answer(listed.name());
        }
    }
    for listed in &list {
        if let Listed::Broken { name, error } = listed {
            report::trouble(&format!("container `{name}` is broken"), error, context.printer);
        }
    }
    Ok(Status::Done)
}

pub(super) fn state(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    context.printer.answer(context.container(&args.name).state()?.to_string());
    Ok(Status::Done)
}

pub(super) fn exists(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    Ok(if context.container(&args.name).exists()? { Status::Done } else { Status::Failed })
}

pub(super) fn show_ip(context: &Context<'_>, args: &NameArgs) -> Result<Status, Failure> {
    let addresses = context.container(&args.name).addresses()?;
    if addresses.is_empty() {
        let text = format!("{} has its address from its bridge's network, by DHCP", args.name);
        context.printer.note(Tone::Hint, "note", &text);
    }
    for address in addresses {
        context.printer.answer(address.to_string());
    }
    Ok(Status::Done)
}
