//! eval, apply, and update of all.

use nixcloud_container::{
    Applied, ApplyRequest, ApplySource, ContainerName, Error, ErrorKind, EvalRequest, Evaluator, Event,
    HostConfig, Observer, Removal, UpdateAllRequest, UpdateRequest,
};

use super::confirm::Doomed;
use super::{Context, Failure};
use crate::cli::{ApplyArgs, BuildArgs, EvalArgs, Globals, UpdateArgs};
use crate::exit::ExitStatus;
use crate::progress::Progress;
use crate::screen::printer::Printer;
use crate::screen::signals;
use crate::view::{ApplyView, EvalView};

/// Needs neither root nor a host.
pub(super) fn eval(globals: &Globals, printer: &Printer, args: &EvalArgs) -> Result<ExitStatus, Failure> {
    let config = HostConfig::load(globals.config().as_deref())?;
    let cancel = signals::cancel_on_interrupt(printer.bottom(), false).map_err(Failure::Signals)?;
    let request = EvalRequest::new(args.file.clone())
        .with_name(args.name.clone())
        .with_nix_args(args.nix.words().unwrap_or_default());
    let evaluator = Evaluator::new(config).with_cancel(cancel.clone());
    let evaluation = evaluator.eval(&request, &mut Progress::new(printer, false, &cancel))?;
    printer.reply(&EvalView::of(&evaluation));
    Ok(ExitStatus::Done)
}

pub(super) fn apply(context: &Context<'_>, args: &ApplyArgs) -> Result<ExitStatus, Failure> {
    let source = match (&args.file, &args.built) {
        (_, Some(manifest)) => ApplySource::Built(manifest.clone()),
        (Some(file), None) => ApplySource::Set(file.clone()),
        // The grammar wants one of them.
        (None, None) => return Err(Failure::usage("apply", "FILE is missing")),
    };
    let request = ApplyRequest::new(source)
        .with_nix_args(args.nix.words().unwrap_or_default())
        .with_prune(args.prune)
        .with_take_over(args.take_over)
        .with_dry_run(args.dry_run);
    let mut progress = shown(context, &args.build, args.dry_run);
    let mut unasked = None;
    let mut confirm = |removal: &Removal| {
        let containers = removal.containers.iter().map(|(name, data)| (name.as_str(), *data));
        let doomed = Doomed::new(context, containers, removal.all);
        doomed.confirmed(context, args.yes).unwrap_or_else(|failure| {
            unasked = Some(failure);
            false
        })
    };
    let applied = context.manager.apply_confirmed(&request, &mut progress, &mut confirm);
    drop(progress);
    let applied = match (applied, unasked) {
        (Err(Error::Unconfirmed), Some(failure)) => return Err(failure),
        (applied, _) => applied?,
    };
    Ok(told(context, &applied, args.dry_run))
}

pub(super) fn update_all(context: &Context<'_>, args: &UpdateArgs) -> Result<ExitStatus, Failure> {
    let request = UpdateAllRequest::new().with_nix_args(args.nix.words()).with_dry_run(args.dry_run);
    let mut progress = shown(context, &args.build, args.dry_run);
    let applied = context.manager.update_all(&request, &mut progress)?;
    drop(progress);
    Ok(told(context, &applied, args.dry_run))
}

/// An update of one container, planned.
pub(super) fn plan_update(
    context: &Context<'_>,
    name: &ContainerName,
    args: &UpdateArgs,
    request: &UpdateRequest,
) -> Result<ExitStatus, Failure> {
    let mut progress = shown(context, &args.build, true);
    let planned = context.container(name).plan_update(request, &mut progress)?;
    drop(progress);
    Ok(told(context, &planned, true))
}

/// The plan is progress, unless it is all that was asked for.
fn shown<'a>(context: &Context<'a>, build: &BuildArgs, dry_run: bool) -> impl FnMut(Event) + use<'a> {
    let mut progress = context.builds(build.print_build_logs);
    move |event| {
        if !(dry_run && matches!(event, Event::Planned(_))) {
            progress.event(event);
        }
    }
}

pub(super) fn told(context: &Context<'_>, applied: &Applied, dry_run: bool) -> ExitStatus {
    context.reply(&ApplyView::of(applied, dry_run));
    let mut status = ExitStatus::Done;
    for (_, error) in applied.failures() {
        match error.kind() {
            ErrorKind::Cancelled => return ExitStatus::Cancelled,
            _ => status = ExitStatus::Failed,
        }
    }
    status
}
