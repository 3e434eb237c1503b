//! Whether a container runs. The command socket alone does not say: it is abstract, so it is seen only in the
//! network namespace that the container was started from.

use std::io;

use crate::host::Host;
use crate::lxc::{
    self,
    command::{self, Client},
};
use crate::name::ContainerName;
use crate::proc::{self, FileId, Process};
use crate::record::{Phase, Record, RecordError, Run};
use crate::state::State;

/// How long a monitor may take to say what its container does. It is asked by a local socket.
const ANSWER: std::time::Duration = std::time::Duration::from_millis(500);

/// What is seen of a container, from all sides.
#[derive(Debug, Clone)]
pub(crate) struct Presence {
    /// What it does.
    pub(crate) state: State,
    /// Its init, where it has one.
    pub(crate) init: Option<Process>,
    /// LXC's monitor of it: the name can be used again when this is gone.
    pub(crate) monitor: Option<Process>,
    /// What was noted at its start, if that start is the one that lasts.
    pub(crate) run: Option<Run>,
}

/// A container's state cannot be found out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// What was noted at its start cannot be read.
    #[error("cannot read what is known of the running guest")]
    Run(#[from] RecordError),
    /// The kernel does not tell.
    #[error("cannot read /proc")]
    Proc(#[source] io::Error),
    /// The command socket fails in a way that is neither "not there" nor "no answer".
    #[error("cannot ask LXC's monitor")]
    Socket(#[source] command::Error),
}

/// Looks at a container of ours.
pub(crate) fn look(host: &Host, record: &Record) -> Result<Presence, PresenceError> {
    let name = &record.name;
    let boot = proc::boot_id().map_err(PresenceError::Proc)?;
    let run = Run::load(&host.layout, name, &boot)?;
    let noted_init = run.as_ref().map(|run| run.init).filter(|init| init.is_alive());
    let noted_monitor = run.as_ref().and_then(|run| run.monitor).filter(|monitor| monitor.is_alive());
    let client = Client::new(ANSWER);
    let asked = client.state(host.layout.lxc_path(), name.as_str());
    let (state, asked_init) = match asked {
        // No socket in this network namespace. What was noted, and the kernel, know better.
        Ok(lxc::State::Stopped) if noted_init.is_some_and(Process::is_staying) => (State::Unreachable, None),
        Ok(lxc::State::Stopped) if noted_init.is_some() => (State::Stopping, None),
        Ok(lxc::State::Stopped) if noted_monitor.is_some() => (State::Stopping, None),
        Ok(lxc::State::Stopped) => match stranger(host, name) {
            Some(init) => (State::Unreachable, Some(init)),
            None => (State::Stopped, None),
        },
        Ok(state) => {
            let init = client.init_pid(host.layout.lxc_path(), name.as_str()).ok().flatten();
            (translate(state), init.and_then(Process::now))
        }
        Err(command::Error::Timeout { .. }) => (State::Unreachable, None),
        Err(error) => return Err(PresenceError::Socket(error)),
    };
    let init = asked_init.or(noted_init);
    let monitor = asked_init.and_then(Process::parent).or(noted_monitor);
    let state = match (state, record.phase) {
        (State::Stopped, Phase::Creating | Phase::Destroying) => State::Incomplete,
        // The monitor answers for a while after its init has gone, or was killed.
        (State::Running, _) if init.is_some_and(|init| !init.is_staying()) => State::Stopping,
        (state, _) => state,
    };
    // A guest that rebooted from inside has another init than the one noted; the rest of the note holds.
    let run = run.filter(|run| {
        state.is_live() && (init == Some(run.init) || (run.monitor.is_some() && run.monitor == monitor))
    });
    Ok(Presence { state, init, monitor, run })
}

/// A live guest on our rootfs that nobody noted: started by another tool, or by one of us that was killed.
fn stranger(host: &Host, name: &ContainerName) -> Option<Process> {
    let cgroups = proc::payload_cgroups(name.as_str());
    if cgroups.is_empty() {
        return None;
    }
    let root = FileId::of(&host.layout.rootfs(name)).ok()?;
    proc::lives_in(&cgroups, root)
}

fn translate(state: lxc::State) -> State {
    match state {
        lxc::State::Stopped | lxc::State::Stopping | lxc::State::Aborting => State::Stopping,
        lxc::State::Starting => State::Starting,
        lxc::State::Running | lxc::State::Thawed => State::Running,
        lxc::State::Freezing | lxc::State::Frozen => State::Frozen,
    }
}
