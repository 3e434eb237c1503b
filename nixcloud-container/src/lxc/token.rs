//! The token without which nothing calls liblxc.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};

use ::nix::errno::Errno;

use crate::sys::process;

/// Why this process cannot be a worker.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// The kernel does not let it out of the reach of others.
    #[error("shielding this process failed")]
    Shield(#[source] Errno),
    /// The signals that a guest would inherit could not be reset.
    #[error(transparent)]
    Process(#[from] process::Error),
    /// A process is a worker once.
    #[error("this process is a worker already")]
    Second,
}

/// Says that this process is a worker: re-executed for one job, with one thread, its signals at their defaults, umask 022, none of
/// its caller's files but the three streams, and out of the reach of everybody but root. It stays in its thread.
///
/// All that calls liblxc takes it, since liblxc changes the process that calls it (cgroup, signals, the buffer of C's standard
/// error, one log for all): a program cannot do that to itself by mistake. There is no other way to one than [`init`](super::worker::init).
///
/// ```compile_fail,E0451
/// // Not by hand.
/// let worker = nixcloud_container::lxc::Worker { _thread: std::marker::PhantomData, attached: std::cell::Cell::new(false) };
/// ```
///
/// ```compile_fail,E0277
/// // Not in another thread.
/// fn job(worker: &nixcloud_container::lxc::Worker) {
///     std::thread::scope(|scope| {
///         scope.spawn(|| nixcloud_container::lxc::Handle::open(worker, "/var/lib/lxc".as_ref(), "web").is_ok());
///     });
/// }
/// ```
pub struct Worker {
    /// Neither `Send` nor `Sync`.
    _thread: PhantomData<*mut ()>,
    /// Whether a command was attached that nobody has waited for.
    attached: Cell<bool>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}

impl Worker {
    /// Makes this process, which was re-executed for that, a worker. Once.
    pub(crate) fn begin() -> Result<Self, Unfit> {
        static BEGUN: AtomicBool = AtomicBool::new(false);
        // Before anything of a guest is near.
        process::shield().map_err(Unfit::Shield)?;
        // Refuses a process with threads.
        process::reset_signals()?;
        process::set_umask();
        if BEGUN.swap(true, Ordering::Relaxed) {
            return Err(Unfit::Second);
        }
        Ok(Self { _thread: PhantomData, attached: Cell::new(false) })
    }

    /// Unblocks the signals that [`Handle::attach`](super::Handle::attach) has blocked, and gives every signal its default action
    /// again: before another command is attached, or a guest is started.
    ///
    /// # Errors
    /// When the job has made threads.
    pub fn reset_signals(&self) -> Result<(), Unfit> {
        Ok(process::reset_signals()?)
    }

    /// Notes that a command is being attached; says whether another one is. Two cannot be told apart in liblxc's log.
    pub(super) fn attaches(&self) -> bool {
        self.attached.replace(true)
    }

    /// Notes that it was waited for, or never began.
    pub(super) fn attached_no_more(&self) {
        self.attached.set(false);
    }
}
