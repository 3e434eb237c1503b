//! create, update, destroy.

use nixcloud_container::{CreateRequest, Created, DestroyRequest, UpdateRequest, Updated};

use super::{Context, Failure, generations};
use crate::cli::{CreateArgs, DestroyArgs, UpdateArgs};
use crate::exit::Status;

pub(super) fn create(context: &Context<'_>, args: &CreateArgs) -> Result<Status, Failure> {
    let request = CreateRequest { file: args.file.clone(), nix_args: args.nix.words().unwrap_or_default() };
    let created = context.container(&args.name).create(&request, &mut context.progress())?;
    context.printer.result(told(&created));
    Ok(Status::Done)
}

fn told(created: &Created) -> String {
    let Created { name, generation, address } = created;
    match address {
        Some(address) => format!("created {name} (generation {generation}, {address})"),
        None => format!("created {name} (generation {generation})"),
    }
}

pub(super) fn update(context: &Context<'_>, args: &UpdateArgs) -> Result<Status, Failure> {
    let request = UpdateRequest { file: args.file.clone(), nix_args: args.nix.words() };
    match context.container(&args.name).update(&request, &mut context.progress())? {
        Updated::Created(created) => {
            context.printer.result(format!("{} did not exist: {}", args.name, told(&created)));
        }
        Updated::Switched(switched) => generations::switched(context, &switched, "updated"),
        _ => context.printer.result(format!("updated {}", args.name)),
    }
    Ok(Status::Done)
}

pub(super) fn destroy(context: &Context<'_>, args: &DestroyArgs) -> Result<Status, Failure> {
    context.container(&args.name).destroy(DestroyRequest { force: args.force })?;
    context.printer.result(format!("destroyed {}", args.name));
    Ok(Status::Done)
}
