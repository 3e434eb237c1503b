//! set.

use nixcloud_container::SetRequest;

use super::{Context, Failure};
use crate::cli::SetArgs;
use crate::exit::ExitStatus;
use crate::view::SetView;

pub(super) fn run(context: &Context<'_>, args: &SetArgs) -> Result<ExitStatus, Failure> {
    let request = SetRequest::new().with_keep(args.keep).with_reset(args.reset).with_force(args.force);
    let request = args.limits.iter().fold(request, |request, (key, value)| request.limit(key, value));
    let container = context.container(&args.name);
    container.set(&request, &mut context.progress())?;
    context.reply(&SetView::of(args, &container.status()?));
    Ok(ExitStatus::Done)
}
