//! What one start can be asked, and what comes of it.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::namespace::Namespace;
use crate::model::ready::{Readiness, Ready};
use crate::model::setters::setters;
use crate::ops::foreground::Screen;
use crate::ops::ready::WaitRequest;
use crate::worker::LogRequest;

/// How to start, and what is to hold for this boot alone: nothing of it is written into the configuration file, and the
/// next start knows nothing of it. A reboot from inside keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartRequest {
    /// Show the guest's console, and return only when the guest has ended.
    pub foreground: bool,
    /// What the console is shown on, in the foreground.
    pub screen: Screen,
    /// Further LXC configuration items, of those that `lxcExtraConfig` may hold.
    pub items: Vec<(String, String)>,
    /// A terminal that the guest's console is shown on (`lxc.console.path`), or `none` for a guest without a console.
    /// Not in the foreground, which has one.
    pub console: Option<PathBuf>,
    /// A file that what the console shows is appended to (`lxc.console.logfile`). At 4 MiB it is renamed to `.1`, in
    /// place of an earlier one: what is in it, and how much, is the guest's to say.
    pub console_log: Option<PathBuf>,
    /// A file for the pid of the guest's init, written once it runs, and removed when a foreground start ends.
    pub pidfile: Option<PathBuf>,
    /// Namespaces that are those of another container, by its name, or of a process, by its pid. [`Namespace::Ipc`] and
    /// [`Namespace::Uts`] can be shared, whose host name the guest then cannot change. The guest is in a user namespace of
    /// its own, which has no rights over another guest's network or processes: the kernel refuses the mounts of `/sys` and
    /// `/proc` that every guest needs, so those are refused, as are the others that confine it.
    pub share: Vec<(Namespace, String)>,
    /// Where LXC logs, and how much.
    pub log: LogRequest,
    /// What is waited for once it runs, also where it ran already. A start is not undone because its guest was not ready: see
    /// [`Error::NotReady`](crate::Error::NotReady). Nothing in the foreground, which waits for the end.
    pub wait: Option<WaitRequest>,
}

setters!(StartRequest: "A boot in the background, as the container file says." {
    with_foreground => foreground: bool,
    with_screen => screen: Screen,
    with_items => items: Vec<(String, String)>,
    with_console => console: Option<PathBuf>,
    with_console_log => console_log: Option<PathBuf>,
    with_pidfile => pidfile: Option<PathBuf>,
    with_share => share: Vec<(Namespace, String)>,
    with_log => log: LogRequest,
    with_wait => wait: Option<WaitRequest>,
});

impl StartRequest {
    /// Waits until the guest is ready, at most for `limit`.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), nixcloud_container::Error> {
    /// use std::time::Duration;
    /// use nixcloud_container::{HostConfig, Manager, Ready, StartRequest};
    ///
    /// let manager = Manager::open(HostConfig::default())?;
    /// let web = manager.container("web".parse()?);
    /// let request = StartRequest::new().wait_for(Ready::port(80), Duration::from_secs(30));
    /// web.start_with(&request, &mut ())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn wait_for(self, level: Ready, limit: Duration) -> Self {
        self.with_wait(WaitRequest::new(level).with_limit(limit))
    }
}

/// What a start came to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StartOutcome {
    /// The container was booted.
    #[non_exhaustive]
    Started {
        /// The guest's init, by its pid in the host's pid namespace.
        init_pid: i32,
        /// How it is, where that was waited for.
        readiness: Option<Readiness>,
    },
    /// The container ran already; nothing was done.
    #[non_exhaustive]
    AlreadyRunning {
        /// How it is, where that was waited for.
        readiness: Option<Readiness>,
    },
    /// The container was booted in the foreground and has ended since.
    #[non_exhaustive]
    Ended {
        /// Whether that was because the caller cancelled, and not by itself or by somebody's stop.
        cancelled: bool,
    },
}
