//! Starting a container from a worker.

use super::error::{Error, LxcAction};
use super::handle::{Handle, call};
use crate::sys::process;

/// How to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartOptions {
    /// Whether the monitor is a process of its own in the background. If not, this process is the monitor and the call
    /// returns when the guest has ended.
    pub daemonize: bool,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self { daemonize: true }
    }
}

impl Handle<'_> {
    /// Starts the container with the init that its configuration names, and returns when it is RUNNING (which says that
    /// init was executed, not that the guest is up).
    ///
    /// Where the container has our seccomp profile, this process has a filter of its own from here on.
    /// liblxc moves this process into the cgroup of the container's monitor and leaves it there: let it end soon. The
    /// hooks of the configuration inherit this process's environment.
    ///
    /// # Errors
    /// [`Error::Unclean`] when the guest would inherit this process's state; [`Error::AlreadyRunning`] also while an
    /// earlier monitor is on its way down; else liblxc's text.
    pub fn start(&mut self, options: StartOptions) -> Result<(), Error> {
        process::check_clean()?;
        self.refuse_half_made()?;
        let mark = self.log().mark();
        let chosen = call!(self, want_daemonize, options.daemonize);
        self.expect(chosen, mark, || LxcAction::Daemonize)?;
        self.filter_sockets()?;
        let mark = self.log().mark();
        if call!(self, start, 0, std::ptr::null()) {
            return Ok(());
        }
        let reason = self.log().reason_since(mark);
        if reason.says("appears to be already running") {
            return Err(Error::AlreadyRunning { name: self.name(), reason });
        }
        Err(Error::Failed { action: LxcAction::Start, name: self.name(), reason })
    }
}
