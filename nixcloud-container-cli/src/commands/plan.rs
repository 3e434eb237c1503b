//! plan, and what other commands say in a dry run.

use nixcloud_container::{
    ContainerName, CreateRequest, PlanRequest, PlanTarget, PlanVerdict, SwitchRequest, UpdateRequest,
};

use super::{Context, Failure};
use crate::cli::PlanArgs;
use crate::exit::ExitStatus;
use crate::lxc_args::Create;
use crate::view::PlanView;

pub(super) fn run(context: &Context<'_>, args: &PlanArgs, asked: Create) -> Result<ExitStatus, Failure> {
    let (target, call) = match args.to {
        Some(to) => {
            let call = format!("switch-generation {} {to}", args.name);
            (PlanTarget::Switch(SwitchRequest::new().with_to(to)), call)
        }
        None => {
            let update = UpdateRequest::default()
                .with_file(args.file.clone())
                .with_nix_args(args.nix.words())
                .with_lxc_items(asked.items)
                .with_log(asked.log);
            let file = args.file.iter().map(|file| format!(" {}", file.display()));
            (PlanTarget::Update(update), format!("update {}{}", args.name, file.collect::<String>()))
        }
    };
    let mut progress = context.builds(args.build.print_build_logs);
    let plan = context.container(&args.name).plan(&PlanRequest::new(target), &mut progress)?;
    drop(progress);
    context.reply(&PlanView::of(&plan, &call));
    Ok(match plan.verdict {
        PlanVerdict::Nothing => ExitStatus::Done,
        verdict if args.exit_code => ExitStatus::Verdict(verdict),
        _ => ExitStatus::Done,
    })
}

/// A creation that is not done.
pub(super) fn of_creation(
    context: &Context<'_>,
    name: &ContainerName,
    request: CreateRequest,
) -> Result<ExitStatus, Failure> {
    let call = format!("create {name} {}", request.file.display());
    look_only(context, name, PlanTarget::Create(request), &call)
}

/// A switch or a rollback that is not done.
pub(super) fn of_switch(
    context: &Context<'_>,
    name: &ContainerName,
    request: SwitchRequest,
    call: &str,
) -> Result<ExitStatus, Failure> {
    look_only(context, name, PlanTarget::Switch(request), call)
}

fn look_only(
    context: &Context<'_>,
    name: &ContainerName,
    target: PlanTarget,
    call: &str,
) -> Result<ExitStatus, Failure> {
    let request = PlanRequest::new(target).with_look_only(true);
    let plan = context.container(name).plan(&request, &mut context.progress())?;
    context.reply(&PlanView::of(&plan, call));
    Ok(ExitStatus::Done)
}
