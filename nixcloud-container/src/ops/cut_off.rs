//! What a boot leaves whose starter was killed, or which LXC itself did not bring to an end.
//!
//! Before LXC is called the note of the boot names the cgroups that LXC will make for it, and nothing else is ever in those.
//! As long as the note has no init, nobody has said that the guest booted: then whatever is in them ends. LXC's monitor, for
//! one, waits for ever for a message of the guest's first process where that was killed at the wrong moment, and has neither
//! a name nor a socket that answers.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::host::Host;
use crate::lxc::command;
use crate::model::layout::Layout;
use crate::model::state::State;
use crate::store::presence;
use crate::store::record::{Record, Run};
use crate::sys::cgroup::{self, Owner, Search};
use crate::sys::proc::{self, Process};
use crate::worker;

/// How long a boot whose starter is gone may take to get through after all, or to end by itself.
const GRACE: Duration = Duration::from_millis(500);

/// How long killed processes may take to be gone.
const END: Duration = Duration::from_secs(5);

/// How often is looked.
const TICK: Duration = Duration::from_millis(10);

/// Ends what is left of a boot whose note was never completed, or completes the note of one that has got through: its guest
/// is as good as any. The container's lock is held.
pub(crate) fn settle(host: &Host, record: &Record) -> Result<(), Error> {
    let Some(mut run) = note(host, record)?.filter(|run| run.init.is_none()) else { return Ok(()) };
    let begin = Instant::now();
    while !cgroup::are_vacant(&run.cgroups) {
        let here = presence::look(&host.layout, record)?;
        match (here.state, here.init) {
            (State::Running | State::Frozen, Some(init)) => return complete(host, record, &mut run, init),
            // Its monitor does not answer. Where LXC's own program has become the guest's, there is a guest.
            (State::Unreachable, Some(process)) if !worker::is_setting_up(process) => return Ok(()),
            _ => {}
        }
        if begin.elapsed() > GRACE {
            tracing::debug!(name = %record.name, "what is left of a boot that was cut off is ended");
            break;
        }
        std::thread::sleep(TICK);
    }
    cgroup::end(&run.cgroups, Duration::ZERO, END);
    Ok(())
}

fn note(host: &Host, record: &Record) -> Result<Option<Run>, Error> {
    let boot = proc::boot_id().map_err(proc::unreadable)?;
    Ok(Run::load(&host.layout, &record.name, &boot)?)
}

/// Notes the init of a guest that was booted by one who was killed before it could.
fn complete(host: &Host, record: &Record, run: &mut Run, init: Process) -> Result<(), Error> {
    run.booted(init);
    match run.save(&host.layout, &record.name).map_err(Error::from) {
        // It is ended and looked at as well without; the next one writes it down.
        Err(error) if error.lacks_room() => Ok(()),
        other => other,
    }
}

/// Ends whatever is in the cgroups that we chose for this container, of whichever start, and removes them. Nothing of it is
/// to run any more; who is on the way out gets a moment for it.
pub(crate) fn end_own(layout: &Layout, record: &Record, run: Option<&Run>) {
    let owner = Owner::of(layout, &record.name);
    let own = match run {
        Some(run) => run.cgroups.iter().filter(|cgroup| owner.chose(cgroup)).cloned().collect(),
        // The note is lost, or there never was one.
        None => owner.own(Search::Quick),
    };
    cgroup::end(&own, GRACE, END);
    // Those of a guest that an older version started; LXC removes them, unless its monitor was killed.
    for cgroup in run.map(|run| run.cgroups.as_slice()).unwrap_or_default() {
        cgroup::remove_empty(cgroup);
    }
}

/// Takes away what is left of a container that is destroyed, whatever was noted of it and whenever it was started.
pub(crate) fn end_all(layout: &Layout, record: &Record) {
    cgroup::end(&Owner::of(layout, &record.name).own(Search::Whole), GRACE, END);
    end_left(layout, record, Search::Whole);
}

/// Takes away what earlier starts left in cgroups whose names LXC chose itself, as older versions let it: `NAME`, `NAME-1` ...
/// may be anybody's, so that only what surely is of this container ends. Nothing of it is to run any more.
pub(crate) fn end_left(layout: &Layout, record: &Record, search: Search) {
    let owner = Owner::of(layout, &record.name);
    let left = owner.chosen_by_lxc(search);
    if !left.is_empty() {
        let others = command::others_listen(layout.lxc_path(), record.name.as_str());
        cgroup::end_left(&left, &presence::marks(layout, record), others, END);
    }
}
