//! repair.

use nixcloud_container::RepairRequest;

use super::{Context, Failure};
use crate::cli::RepairArgs;
use crate::exit::ExitStatus;
use crate::view::RepairView;

pub(super) fn run(context: &Context<'_>, args: &RepairArgs) -> Result<ExitStatus, Failure> {
    let request = args.name.clone().map_or_else(RepairRequest::new, RepairRequest::of);
    let request = request.with_dry_run(args.dry_run);
    let repairs = context.manager.repair(&request, &mut context.progress())?;
    let view = RepairView::of(args, &repairs);
    context.reply(&view);
    Ok(if view.is_good() { ExitStatus::Done } else { ExitStatus::Failed })
}
