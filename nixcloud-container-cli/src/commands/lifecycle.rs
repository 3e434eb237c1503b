//! create, update, destroy.

use nixcloud_container::{ContainerName, CreateRequest, Data, DestroyRequest, Error, UpdateRequest, Updated};

use super::confirm::Doomed;
use super::{Context, Failure, declared, plan};
use crate::cli::{CreateArgs, DestroyArgs, NamePattern, UpdateArgs};
use crate::exit::ExitStatus;
use crate::lxc_args::{Create, Destroy};
use crate::view::{ChangeView, Destroyed, DestroyedAll};

pub(super) fn create(context: &Context<'_>, args: &CreateArgs, asked: Create) -> Result<ExitStatus, Failure> {
    let request = CreateRequest::new(args.file.clone())
        .with_nix_args(args.nix.words().unwrap_or_default())
        .with_lxc_items(asked.items.unwrap_or_default())
        .with_log(asked.log);
    if args.dry_run {
        return plan::of_creation(context, &args.name, request);
    }
    let created =
        context.container(&args.name).create(&request, &mut context.builds(args.build.print_build_logs))?;
    context.reply(&ChangeView::created(&created, false));
    Ok(ExitStatus::Done)
}

pub(super) fn update(
    context: &Context<'_>,
    name: &ContainerName,
    args: &UpdateArgs,
    asked: Create,
) -> Result<ExitStatus, Failure> {
    let request = UpdateRequest::default()
        .with_file(args.file.clone())
        .with_nix_args(args.nix.words())
        .with_lxc_items(asked.items)
        .with_log(asked.log)
        .with_force_limits(args.force);
    if args.dry_run {
        return declared::plan_update(context, name, args, &request);
    }
    let updated =
        context.container(name).update(&request, &mut context.builds(args.build.print_build_logs))?;
    context.reply(&match &updated {
        Updated::Created(created) => ChangeView::created(created, true),
        Updated::Switched(switched) => ChangeView::updated(switched),
    });
    Ok(ExitStatus::Done)
}

pub(super) fn destroy(
    context: &Context<'_>,
    args: &DestroyArgs,
    asked: Destroy,
) -> Result<ExitStatus, Failure> {
    let request = DestroyRequest::new().with_force(asked.force);
    if let [NamePattern::This(name)] = args.names.as_slice()
        && !args.dry_run
    {
        context.shown(&format!("destroying {name}"), || context.container(name).destroy(request))?;
        context.reply(&Destroyed { name: name.to_string(), destroyed: true });
        return Ok(ExitStatus::Done);
    }
    let all = context.manager.names()?;
    let mut names = if args.all { all.clone() } else { Vec::new() };
    for wanted in &args.names {
        let found = wanted.among(&all).map_err(|pattern| Failure::NoMatch { pattern })?;
        names.extend(found);
    }
    names.sort();
    names.dedup();
    if args.dry_run {
        let planned = context.shown("counting files", || context.manager.plan_destroy(&names, request));
        return Ok(declared::told(context, &planned, true));
    }
    // One that is not there is told before anything goes.
    let kept: Vec<(ContainerName, Data)> = context.shown("counting files", || {
        names
            .into_iter()
            .map(|name| context.container(&name).data().map(|data| (name, data)))
            .collect::<Result<_, _>>()
    })?;
    if kept.is_empty() {
        context.reply(&DestroyedAll::of(&[]));
        return Ok(ExitStatus::Done);
    }
    let whole = kept.len() == all.len();
    let doomed = Doomed::new(context, kept.iter().map(|(name, data)| (name.as_str(), *data)), whole);
    if !doomed.confirmed(context, args.yes)? {
        return Err(if context.cancel.is_cancelled() { Error::Cancelled } else { Error::Unconfirmed }.into());
    }
    let destroy = |name: &ContainerName| {
        context.shown(&format!("destroying {name}"), || context.container(name).destroy(request))
    };
    let mut done = Vec::new();
    for (name, _) in kept {
        let outcome = if context.cancel.is_cancelled() { Err(Error::Cancelled) } else { destroy(&name) };
        done.push((name, outcome));
    }
    let view = DestroyedAll::of(&done);
    context.reply(&view);
    Ok(match view.is_good() {
        _ if context.cancel.is_cancelled() => ExitStatus::Cancelled,
        true => ExitStatus::Done,
        false => ExitStatus::Failed,
    })
}
