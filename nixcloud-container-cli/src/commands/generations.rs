//! list-generations, delete-generations, gc, switch-generation, rollback.

use nixcloud_container::{GcRequest, Keep, Selection, SwitchRequest};

use super::{Context, Failure, plan};
use crate::cli::{DeleteGenerationsArgs, GcArgs, NameArgs, RollbackArgs, SwitchGenerationArgs};
use crate::exit::ExitStatus;
use crate::view::{ChangeView, Deleted, GcView, GenerationsView};

pub(super) fn list(context: &Context<'_>, args: &NameArgs) -> Result<ExitStatus, Failure> {
    let generations = context.container(&args.name).generations()?;
    context.reply(&GenerationsView::of(&args.name, &generations));
    Ok(ExitStatus::Done)
}

/// Which generations the words name.
pub(super) fn selection(args: &DeleteGenerationsArgs) -> Result<Selection, Failure> {
    Selection::from_words(&args.generations).map_err(|error| Failure::usage("delete-generations", error))
}

pub(super) fn delete(
    context: &Context<'_>,
    args: &DeleteGenerationsArgs,
    selection: &Selection,
) -> Result<ExitStatus, Failure> {
    let container = context.container(&args.name);
    let deleted = if args.dry_run {
        container.plan_delete_generations(selection)?
    } else {
        container.delete_generations(selection, &mut context.progress())?
    };
    let deleted = deleted.iter().map(|id| id.get()).collect();
    context.reply(&Deleted { name: args.name.to_string(), deleted, dry_run: args.dry_run });
    Ok(ExitStatus::Done)
}

pub(super) fn gc(context: &Context<'_>, args: &GcArgs) -> Result<ExitStatus, Failure> {
    let rules = [args.keep, args.keep_days, args.keep_good];
    let keep = rules.iter().any(Option::is_some).then(|| {
        let [newest, days, good] = rules.map(Option::unwrap_or_default);
        Keep::new().with_newest(newest).with_days(days).with_good(good)
    });
    let names = (!args.all).then(|| args.names.clone());
    let request = GcRequest::new().with_names(names).with_keep(keep).with_dry_run(args.dry_run);
    let view = GcView::of(&context.manager.gc(&request, &mut context.progress())?, args.dry_run);
    context.reply(&view);
    Ok(if view.is_good() { ExitStatus::Done } else { ExitStatus::Failed })
}

pub(super) fn switch(context: &Context<'_>, args: &SwitchGenerationArgs) -> Result<ExitStatus, Failure> {
    let request = SwitchRequest::new().with_to(args.id).with_force_limits(args.limits.force);
    if args.dry_run {
        let call = format!("switch-generation {} {}", args.name, args.id);
        return plan::of_switch(context, &args.name, request, &call);
    }
    let done = context.container(&args.name).switch(request, &mut context.progress())?;
    context.reply(&ChangeView::switched(&done));
    Ok(ExitStatus::Done)
}

pub(super) fn rollback(context: &Context<'_>, args: &RollbackArgs) -> Result<ExitStatus, Failure> {
    let request = SwitchRequest::new().with_force_limits(args.limits.force);
    if args.dry_run {
        return plan::of_switch(context, &args.name, request, &format!("rollback {}", args.name));
    }
    let done = context.container(&args.name).switch(request, &mut context.progress())?;
    context.reply(&ChangeView::rolled_back(&done));
    Ok(ExitStatus::Done)
}
