//! Whether a container runs. The command socket alone does not say: it is abstract, so it is seen only in the
//! network namespace that the container was started from.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;

use crate::fs::lock::{self, Place};
use crate::lxc::{
    self, Address,
    command::{self, Client, Running},
};
use crate::model::generation::{GenerationId, Health};
use crate::model::idmap::IdMapKind;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::model::state::State;
use crate::store::record::{Record, RecordError, RecordPhase, Run};
use crate::sys::cgroup::{self, Marks, Owner};
use crate::sys::proc::{self, FileId, Process};
use crate::worker;

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
    /// Whether the guest has rebooted from inside since.
    pub(crate) rebooted: bool,
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

/// What there is of guests on this host, looked at once for many containers.
#[derive(Debug)]
pub(crate) struct Survey {
    /// LXC's command sockets.
    sockets: Running,
    /// The containers with a note of their start.
    noted: HashSet<String>,
    /// The names of payload cgroups.
    payloads: BTreeSet<String>,
    /// What monitors said, as far as they were asked and are there; `None` is one that does not answer.
    answers: HashMap<String, Option<lxc::LxcState>>,
}

impl Survey {
    pub(crate) fn new(layout: &Layout) -> Result<Self, PresenceError> {
        let sockets = command::running(layout.lxc_path()).map_err(PresenceError::Socket)?;
        let entries = std::fs::read_dir(layout.runs()).into_iter().flatten().flatten();
        let noted = entries
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".toml")?.to_owned()))
            .collect();
        Ok(Self { sockets, noted, payloads: cgroup::all_payloads_once(), answers: HashMap::new() })
    }

    /// Asks the monitors of these containers, all at the same time, as far as they have one.
    pub(crate) fn ask<'a>(&mut self, layout: &Layout, names: impl IntoIterator<Item = &'a str>) {
        let names: Vec<&str> = names.into_iter().filter(|name| self.listens(layout, name)).collect();
        let states = Client::new(ANSWER).states(layout.lxc_path(), &names);
        // One that is going, or of which something else is not as usual, is asked again when its turn comes.
        let answers = states.into_iter().map(|state| match state {
            Ok(lxc::LxcState::Stopped) => None,
            Ok(state) => Some(Some(state)),
            Err(command::Error::Timeout { .. }) => Some(None),
            Err(_) => None,
        });
        self.answers = names
            .into_iter()
            .zip(answers)
            .filter_map(|(name, answer)| Some((name.to_owned(), answer?)))
            .collect();
    }

    fn listens(&self, layout: &Layout, name: &str) -> bool {
        match Address::new(layout.lxc_path(), name) {
            Ok(address) => self.sockets.contains(&address),
            Err(_) => true,
        }
    }

    /// Whether nothing hints at a guest: then it is stopped, and nobody is to be asked.
    fn is_quiet(&self, layout: &Layout, name: &str) -> bool {
        let listens = self.listens(layout, name);
        let begin = name.to_owned();
        let mut payloads = self.payloads.range(begin..).take_while(|found| found.starts_with(name));
        !listens && !self.noted.contains(name) && !payloads.any(|found| cgroup::may_be(found, name))
    }
}

/// Looks at a container of ours, more closely where the survey has seen something of it.
pub(crate) fn look_in(survey: &Survey, layout: &Layout, record: &Record) -> Result<Presence, PresenceError> {
    if !survey.is_quiet(layout, record.name.as_str()) {
        let name = record.name.as_str();
        let timeout = || command::Error::Timeout { name: name.to_owned(), timeout: ANSWER };
        let here = match survey.answers.get(name) {
            Some(answer) => look_with(layout, record, |_| answer.ok_or_else(timeout)),
            None => look(layout, record),
        };
        return from_outside(layout, record, here?);
    }
    let state = at_rest(record);
    from_outside(layout, record, Presence { state, init: None, monitor: None, run: None, rebooted: false })
}

/// As [`look`], for who does not hold the container's lock: what another process makes or removes is not taken for what was cut
/// off.
pub(crate) fn look_on(layout: &Layout, record: &Record) -> Result<Presence, PresenceError> {
    from_outside(layout, record, look(layout, record)?)
}

fn from_outside(layout: &Layout, record: &Record, here: Presence) -> Result<Presence, PresenceError> {
    if here.state != State::Incomplete {
        return Ok(here);
    }
    if let Some(state) = in_hands(layout, record) {
        return Ok(Presence { state, ..here });
    }
    // It may have ended since the record was read.
    match Record::load(layout, &record.name)? {
        Some(now) if now.phase != record.phase => look(layout, &now),
        _ => Ok(here),
    }
}

/// What a process that holds its lock is doing to a container that is not whole.
pub(crate) fn in_hands(layout: &Layout, record: &Record) -> Option<State> {
    let state = match record.phase {
        RecordPhase::Creating => State::Creating,
        RecordPhase::Destroying => State::Destroying,
        RecordPhase::Ready | RecordPhase::Switching { .. } => return None,
    };
    is_held(layout, &record.name).then_some(state)
}

/// Whether an operation holds the lock of a container.
pub(crate) fn is_held(layout: &Layout, name: &ContainerName) -> bool {
    let (file, folder) = (layout.container_lock(name), layout.container_dir(name));
    lock::is_held(Place { file: &file, folder: Some(&folder) })
}

/// What a container is of which nothing runs.
fn at_rest(record: &Record) -> State {
    match record.phase {
        RecordPhase::Creating | RecordPhase::Destroying => State::Incomplete,
        RecordPhase::Ready | RecordPhase::Switching { .. } => State::Stopped,
    }
}

/// Looks at a container of ours.
pub(crate) fn look(layout: &Layout, record: &Record) -> Result<Presence, PresenceError> {
    look_with(layout, record, |client| client.state(layout.lxc_path(), record.name.as_str()))
}

/// The same with what its monitor says.
fn look_with(
    layout: &Layout,
    record: &Record,
    says: impl FnOnce(&Client) -> Result<lxc::LxcState, command::Error>,
) -> Result<Presence, PresenceError> {
    let name = &record.name;
    let boot = proc::boot_id().map_err(PresenceError::Proc)?;
    let run = Run::load(layout, name, &boot)?;
    let noted_init = run.as_ref().and_then(|run| run.init).filter(|init| init.is_alive());
    let noted_monitor = run.as_ref().and_then(|run| run.monitor).filter(|monitor| monitor.is_alive());
    let client = Client::new(ANSWER);
    let path = layout.lxc_path();
    let mut found = false;
    let mut stranger = || {
        let stranger = stranger(layout, record);
        found = stranger.is_some();
        stranger
    };
    let (state, asked_init) = match says(&client) {
        // No socket in this network namespace, or one that is not root's: any user of the host can bind the name.
        // What was noted, and the kernel, know better.
        Ok(lxc::LxcState::Stopped) | Err(command::Error::Foreign { .. }) => {
            if noted_init.is_some_and(Process::is_staying) {
                (State::Unreachable, None)
            } else if noted_init.is_some() || noted_monitor.is_some() {
                (State::Stopping, None)
            } else {
                match stranger() {
                    Some(init) => (State::Unreachable, Some(init)),
                    None => (State::Stopped, None),
                }
            }
        }
        Ok(state) => {
            // The init that was noted is the one, as long as it lives; a guest that rebooted from inside has another.
            let asked = || client.init_pid(path, name.as_str()).ok().flatten().and_then(Process::now);
            (translate(state), noted_init.filter(|init| init.is_staying()).or_else(asked))
        }
        // A monitor that was stopped, or hangs.
        Err(command::Error::Timeout { .. }) => {
            (State::Unreachable, if noted_init.is_none() { stranger() } else { None })
        }
        // It closed the connection: it is on its way out.
        Err(command::Error::HungUp { .. }) => (State::Stopping, None),
        Err(error) => return Err(PresenceError::Socket(error)),
    };
    let init = asked_init.or(noted_init);
    // What only lives in a guest's cgroups may be anybody's child.
    let of_lxc = |parent: &Process| !found || !cgroup::of(&[*parent]).is_empty();
    let monitor = asked_init.and_then(Process::parent).filter(of_lxc).or(noted_monitor);
    let state = match state {
        State::Stopped => at_rest(record),
        // The monitor answers for a while after its init has gone, or was killed.
        State::Running if init.is_some_and(|init| !init.is_staying()) => State::Stopping,
        state => state,
    };
    // A guest that rebooted from inside has another init than the one noted, and has booted whichever generation was
    // current by then: that part of the note no longer holds, the rest does.
    let rebooted = run.as_ref().is_some_and(|run| init.is_some() && run.init.is_some() && run.init != init);
    let same_monitor = |run: &Run| run.monitor.is_some() && run.monitor == monitor;
    let run = run.filter(|run| state.is_live() && (!rebooted || same_monitor(run)));
    Ok(Presence { state, init, monitor, run, rebooted })
}

impl Presence {
    /// The generation that the running guest was booted from, where that is known: not after a reboot from inside
    /// that came before or after a switch.
    pub(crate) fn booted(&self) -> Option<GenerationId> {
        self.run.as_ref().filter(|run| !(self.rebooted && run.switched)).and_then(|run| run.generation)
    }

    /// Notes that the generation which the guest was booted from has run. Whether that is news.
    pub(crate) fn note_run(&self, layout: &Layout, record: &mut Record) -> bool {
        let Some(booted) = self.booted().filter(|_| self.state == State::Running) else { return false };
        let news = matches!(record.health(booted), Health::Untried | Health::Undone)
            && self.init.is_some_and(|init| has_booted(layout, &record.name, init));
        if news {
            record.note_health(booted, Health::Good);
        }
        news
    }
}

/// Whether the guest with this init has booted, as far as the kernel knows without asking a file system of the guest's.
pub(crate) fn has_booted(layout: &Layout, name: &ContainerName, init: Process) -> bool {
    worker::has_booted(init) || (is_plain(layout, name) && worker::has_activated(init))
}

/// Whether it was booted from a system without systemd, which has nothing to wait for after its activation. The host's own link
/// says so: of what is not there, a file system in memory remembers nothing that could be asked at once.
pub(crate) fn is_plain(layout: &Layout, name: &ContainerName) -> bool {
    let system = layout.booted(name).join("container");
    system.is_dir() && !system.join("etc/systemd/system").exists()
}

/// A live guest of ours that nobody noted: started by another tool, or by one of us that was killed.
fn stranger(layout: &Layout, record: &Record) -> Option<Process> {
    let cgroups = Owner::of(layout, &record.name).payloads_once();
    if cgroups.is_empty() {
        return None;
    }
    cgroup::lives_in(&cgroups, &marks(layout, record))
}

/// What a process of a container is known by.
pub(crate) fn marks(layout: &Layout, record: &Record) -> Marks {
    Marks {
        root: FileId::of(&layout.rootfs(&record.name)).ok(),
        // Shared ids are other containers' too.
        ids: record.ids.filter(|_| record.idmap == IdMapKind::Isolated),
    }
}

fn translate(state: lxc::LxcState) -> State {
    match state {
        lxc::LxcState::Stopped | lxc::LxcState::Stopping | lxc::LxcState::Aborting => State::Stopping,
        lxc::LxcState::Starting => State::Starting,
        lxc::LxcState::Running | lxc::LxcState::Thawed => State::Running,
        lxc::LxcState::Freezing | lxc::LxcState::Frozen => State::Frozen,
    }
}
