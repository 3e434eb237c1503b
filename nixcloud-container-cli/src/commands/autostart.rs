//! autostart, autostop.

use std::time::Duration;

use nixcloud_container::{AutostartRequest, AutostopRequest};

use super::{Context, Failure};
use crate::cli::{AutostartArgs, AutostopArgs};
use crate::exit::ExitStatus;
use crate::view::{AutostartView, AutostopView};

pub(super) fn start(context: &Context<'_>, args: &AutostartArgs) -> Result<ExitStatus, Failure> {
    let request = AutostartRequest::new().with_parallel(count(args.jobs)).with_timeout(time(args.timeout));
    let view = AutostartView::of(&context.manager.autostart(&request, &mut context.progress())?);
    context.reply(&view);
    Ok(status(view.is_good()))
}

pub(super) fn stop(context: &Context<'_>, args: &AutostopArgs) -> Result<ExitStatus, Failure> {
    let request = AutostopRequest::new()
        .with_parallel(count(args.jobs))
        .with_timeout(time(args.timeout))
        .with_within(time(args.within))
        .with_then_kill(args.kill);
    let view = AutostopView::of(&context.manager.autostop(&request, &mut context.progress())?);
    context.reply(&view);
    Ok(status(view.is_good()))
}

fn count(jobs: Option<u32>) -> Option<usize> {
    jobs.and_then(|jobs| usize::try_from(jobs).ok())
}

fn time(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

fn status(good: bool) -> ExitStatus {
    if good { ExitStatus::Done } else { ExitStatus::Failed }
}
