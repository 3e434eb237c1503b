//! create, update, destroy.

use nixcloud_container::{ContainerName, CreateRequest, DestroyRequest, UpdateRequest, Updated};

use super::{Context, Failure};
use crate::cli::{CreateArgs, DestroyArgs, UpdateArgs};
use crate::exit::Status;
use crate::lxc_args::{Create, Destroy};
use crate::view::{ChangeView, Destroyed};

pub(super) fn create(context: &Context<'_>, args: &CreateArgs, asked: Create) -> Result<Status, Failure> {
    let request = CreateRequest {
        file: args.file.clone(),
        nix_args: args.nix.words().unwrap_or_default(),
        lxc_items: asked.items.unwrap_or_default(),
        log: asked.log,
    };
    let created =
        context.container(&args.name).create(&request, &mut context.builds(args.build.print_build_logs))?;
    context.reply(&ChangeView::created(&created, false));
    Ok(Status::Done)
}

pub(super) fn update(
    context: &Context<'_>,
    name: &ContainerName,
    args: &UpdateArgs,
    asked: Create,
) -> Result<Status, Failure> {
    let request = UpdateRequest {
        file: args.file.clone(),
        nix_args: args.nix.words(),
        lxc_items: asked.items,
        log: asked.log,
    };
    let updated =
        context.container(name).update(&request, &mut context.builds(args.build.print_build_logs))?;
    context.reply(&match &updated {
        Updated::Created(created) => ChangeView::created(created, true),
        Updated::Switched(switched) => ChangeView::updated(switched),
    });
    Ok(Status::Done)
}

pub(super) fn destroy(context: &Context<'_>, args: &DestroyArgs, asked: Destroy) -> Result<Status, Failure> {
    let request = DestroyRequest { force: asked.force };
    context.shown(&format!("destroying {}", args.name), || context.container(&args.name).destroy(request))?;
    context.reply(&Destroyed { name: args.name.to_string(), destroyed: true });
    Ok(Status::Done)
}
