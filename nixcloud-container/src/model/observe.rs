//! How long work reports itself: typed events to an observer, and a token that cancels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ::nix::sys::signal::Signal;

use crate::model::generation::{GenerationId, Health};
use crate::model::name::ContainerName;
use crate::model::note::Note;
use crate::model::setters::setters;
use crate::model::words::words;

/// What an operation is doing. Events arrive in order, on the thread that called the operation.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A phase of the operation begins. Phases follow one another; none is inside another.
    Phase(Phase),
    /// The phase has done its work. One that fails or is cut off does not say this.
    #[non_exhaustive]
    Done {
        /// The phase.
        phase: Phase,
        /// How long it took.
        took: Duration,
    },
    /// What an apply is going to do, before it begins.
    Planned(Vec<(String, Planned)>),
    /// What follows is about this container, `number` of `of` that are changed.
    #[non_exhaustive]
    Container {
        /// The container.
        name: ContainerName,
        /// Which of those that are changed.
        number: usize,
        /// How many are changed.
        of: usize,
    },
    /// Another process changes the container: the operation waits until it is done.
    #[non_exhaustive]
    Waiting {
        /// That process, where it is known.
        holder: Option<u32>,
    },
    /// Nix started to build a derivation; `name` is its name without hash and `.drv`.
    #[non_exhaustive]
    BuildStarted {
        /// The derivation's name.
        name: String,
    },
    /// Nix finished (or gave up) a build that it had started.
    #[non_exhaustive]
    BuildFinished {
        /// The derivation's name.
        name: String,
    },
    /// Nix's own count of builds: `done` of `expected`.
    #[non_exhaustive]
    BuildCount {
        /// Builds done.
        done: u64,
        /// Builds expected in all, as far as Nix knows yet.
        expected: u64,
    },
    /// Nix started to fetch a store path or a file.
    #[non_exhaustive]
    DownloadStarted {
        /// The path's name without hash, or the file's name.
        name: String,
    },
    /// Nix finished (or gave up) what it had started to fetch.
    #[non_exhaustive]
    DownloadFinished {
        /// The name.
        name: String,
    },
    /// Nix's count of bytes to copy or download.
    #[non_exhaustive]
    DownloadCount {
        /// Bytes that have arrived.
        done: u64,
        /// Bytes expected in all.
        expected: u64,
    },
    /// A line of a build's log.
    #[non_exhaustive]
    BuildLog {
        /// The derivation's name.
        name: String,
        /// The line, without its end.
        line: String,
    },
    /// A warning or note of Nix itself.
    #[non_exhaustive]
    NixMessage {
        /// Whether Nix calls it a warning.
        warning: bool,
        /// The text, without colour codes.
        text: String,
    },
    /// A line that `switch-to-configuration` printed in the guest, in a switch or in a plan: at most 64 KiB, without control characters but tabs.
    /// The guest chooses its words.
    #[non_exhaustive]
    Activation {
        /// The line, without its end.
        line: String,
    },
    /// What the line before says about units.
    #[non_exhaustive]
    Units {
        /// What happens to the units.
        change: UnitChange,
        /// The units, 64 at most; each is a name that systemd allows.
        names: Vec<String>,
    },
    /// What is known now of a generation that was activated, and noted with it.
    #[non_exhaustive]
    Health {
        /// The generation.
        generation: GenerationId,
        /// What came of the activation.
        health: Health,
    },
    /// Of an operation on many containers: what happens to one of them.
    #[non_exhaustive]
    ContainerChanged {
        /// The container.
        name: ContainerName,
        /// What happens to the container.
        change: ContainerChange,
    },
    /// Of an operation on many containers: `done` of `expected`.
    #[non_exhaustive]
    ContainerCount {
        /// Containers that are done with.
        done: u64,
        /// Containers in all.
        expected: u64,
    },
    /// Something that the user should know and that did not stop the operation.
    Note(Note),
}

impl<N: Into<Note>> From<N> for Event {
    fn from(note: N) -> Self {
        Self::Note(note.into())
    }
}

/// What is to become of a container that is declared, or that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Planned {
    /// The container does not exist and is to be created.
    Create,
    /// The container gets a new generation.
    #[non_exhaustive]
    Update {
        /// The generation that is current before.
        from: GenerationId,
    },
    /// The container is what it should be.
    Unchanged,
    /// Somebody chose the container's generation, and it stays there until the container is updated by its name.
    #[non_exhaustive]
    Pinned {
        /// The generation that was chosen.
        at: GenerationId,
    },
    /// The container is declared no more and is to be destroyed with its files.
    #[non_exhaustive]
    Remove {
        /// The files that go with the container.
        data: Data,
    },
    /// The container is declared no more, and stays until somebody asks for its removal.
    Orphaned,
    /// Something stands in the way of what the container should become.
    Blocked,
}

/// What a container keeps: the files that go with it when it is destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Data {
    /// Files of its root file system, as far as they could be looked at.
    pub files: u64,
    /// The bytes that these files take on the disk.
    pub bytes: u64,
}

setters!(Data: "Nothing." {
    with_files => files: u64,
    with_bytes => bytes: u64,
});

/// The phases of create, update, autostart and their like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// Nix evaluates the container file.
    Evaluate,
    /// Nix builds the system.
    Build,
    /// Files are made: profile, rootfs, LXC configuration.
    Install,
    /// The running guest is asked what a switch would do.
    Foresee,
    /// The running guest switches to its new generation.
    Activate,
    /// An earlier state is put back.
    Undo,
    /// Containers start with the host.
    Start,
    /// Containers end with the host.
    Stop,
    /// A guest is waited for until it is ready.
    Wait,
}

words!(Phase {
    Evaluate => "evaluate",
    Build => "build",
    Install => "install",
    Foresee => "foresee",
    Activate => "activate",
    Undo => "undo",
    Start => "start",
    Stop => "stop",
    Wait => "wait",
});

/// What a switch does to units of the running guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum UnitChange {
    /// The units are stopped.
    Stopping,
    /// The units are started.
    Starting,
    /// The units are restarted.
    Restarting,
    /// The units are reloaded.
    Reloading,
    /// The units changed but ask not to be restarted.
    Kept,
    /// The units are new, and were started by what wants them.
    Started,
    /// The units failed.
    Failed,
    /// The units had failed before the switch and fail still.
    StillFailed,
}

words!(UnitChange {
    Stopping => "stopping",
    Starting => "starting",
    Restarting => "restarting",
    Reloading => "reloading",
    Kept => "kept",
    Started => "started",
    Failed => "failed",
    StillFailed => "still_failed",
});

impl UnitChange {
    /// What people read before the names of the units: `not restarting`, where programs read `kept`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Kept => "not restarting",
            Self::StillFailed => "still failed",
            other => other.as_str(),
        }
    }
}

/// What happens to one of many containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ContainerChange {
    /// The container is being started.
    Starting,
    /// The container was started.
    Started,
    /// The container ran already.
    AlreadyRunning,
    /// The container is being shut down.
    Stopping,
    /// The container has ended.
    Stopped,
    /// The container did not end in time and was killed.
    Killed,
    /// The container could not be started, or ended.
    Failed,
    /// The container is left out, since one that it comes after failed.
    Skipped,
}

words!(ContainerChange {
    Starting => "starting",
    Started => "started",
    AlreadyRunning => "already_running",
    Stopping => "stopping",
    Stopped => "stopped",
    Killed => "killed",
    Failed => "failed",
    Skipped => "skipped",
});

impl ContainerChange {
    /// What people read behind the name of the container: `already running`, where programs read `already_running`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::AlreadyRunning => "already running",
            other => other.as_str(),
        }
    }
}

/// Receives the events of one operation. A closure is one, and so is `()`, which ignores them.
pub trait Observer {
    /// Called for each event, in order.
    fn event(&mut self, event: Event);
}

impl<F: FnMut(Event)> Observer for F {
    fn event(&mut self, event: Event) {
        self(event);
    }
}

impl Observer for () {
    fn event(&mut self, _event: Event) {}
}

/// Does the work of one phase, and says when it begins and when it is done.
pub(crate) fn phase<T, E>(
    phase: Phase,
    observer: &mut dyn Observer,
    work: impl FnOnce(&mut dyn Observer) -> Result<T, E>,
) -> Result<T, E> {
    observer.event(Event::Phase(phase));
    let begin = Instant::now();
    let result = work(observer);
    let took = begin.elapsed();
    tracing::debug!(%phase, ?took, good = result.is_ok(), "phase ended");
    if result.is_ok() {
        observer.event(Event::Done { phase, took });
    }
    result
}

/// Cancels an operation from another thread or a signal handler: the operation stops what it
/// started, undoes what it did and returns its `Cancelled` error.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
    passed: PassedSignals,
    /// The one that it is cancelled with.
    above: Option<Arc<Cancel>>,
}

/// Signals for a command in a guest that are no end to it: SIGQUIT, SIGUSR1, SIGUSR2, ... Whoever gets one notes it here.
///
/// ```
/// use nixcloud_container::{Cancel, PassedSignals};
///
/// let signals = PassedSignals::default();
/// let cancel = Cancel::new().passing(signals.clone());
/// # let _ = cancel;
/// // Where the program gets the signal, as with `signal_hook::iterator::Signals`; safe in a handler, too.
/// signals.note(10);
/// ```
#[derive(Debug, Clone, Default)]
pub struct PassedSignals(Arc<AtomicU64>);

impl PassedSignals {
    /// Notes a signal by its number, 1 to 64; others are none.
    pub fn note(&self, number: i32) {
        if let Some(bit) = u32::try_from(number - 1).ok().and_then(|shift| 1_u64.checked_shl(shift)) {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }
}

impl Cancel {
    /// A token that nobody has cancelled yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that shares a flag which a signal handler sets.
    #[must_use]
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self { asked: flag, ..Self::default() }
    }

    /// Says which signal it was, once the flag is set: a command in a guest gets the same one, and SIGINT where that is 0.
    #[must_use]
    pub fn with_signal(self, signal: Arc<AtomicUsize>) -> Self {
        Self { signal, ..self }
    }

    /// Has these signals passed on to the command that `Container::run` runs.
    #[must_use]
    pub fn passing(self, signals: PassedSignals) -> Self {
        Self { passed: signals, ..self }
    }

    /// A token that is cancelled with this one, and also alone.
    pub(crate) fn below(&self) -> Self {
        Self { above: Some(Arc::new(self.clone())), ..Self::default() }
    }

    /// Whether there are signals to be passed on.
    pub(crate) fn passes(&self) -> bool {
        self.passed.0.load(Ordering::Relaxed) != 0 || self.above.as_ref().is_some_and(|above| above.passes())
    }

    /// Takes those of the noted signals that are in `mask`, which has a bit for each: the lowest is signal 1.
    pub(crate) fn take_passed(&self, mask: u64) -> impl Iterator<Item = Signal> {
        let taken = self.take(mask);
        let signals = (1..=64).filter(move |number| taken & (1 << (number - 1)) != 0);
        // Those of real time have no name, and are not passed.
        signals.filter_map(|number| Signal::try_from(number).ok())
    }

    fn take(&self, mask: u64) -> u64 {
        let above = self.above.as_ref().map_or(0, |above| above.take(mask));
        self.passed.0.fetch_and(!mask, Ordering::Relaxed) & mask | above
    }

    /// Asks the operation to stop.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.above.as_ref().is_some_and(|above| above.is_cancelled())
    }

    /// The signal for a command in a guest.
    pub(crate) fn signal(&self) -> Signal {
        if let Some(above) = self.above.as_ref().filter(|above| above.is_cancelled()) {
            return above.signal();
        }
        let number = i32::try_from(self.signal.load(Ordering::Relaxed)).ok();
        number.and_then(|number| Signal::try_from(number).ok()).unwrap_or(Signal::SIGINT)
    }
}
