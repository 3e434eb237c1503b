//! Processes that LXC leaves for ever where its monitor is killed while it boots a guest.
//!
//! The first process of a guest begins by waiting for a message of the monitor, on a socket whose other end it still has
//! itself: if the monitor is killed before, it waits for ever, and holds the container's command socket open. It has not
//! asked the kernel yet to end with the monitor. (`do_start` of LXC 5.0.2; seen by killing a foreground start.)

use std::time::{Duration, Instant};

use super::MARK;
use crate::lxc::pidfd::PidFd;
use crate::proc;

/// How long a killed process may take to be gone.
const END: Duration = Duration::from_secs(1);

/// Ends those of a container of this name.
pub(crate) fn end_abandoned(name: &str) {
    let begin = Instant::now();
    // What cannot be ended keeps the container unreachable, which the next look tells.
    for process in proc::abandoned(name, &MARK) {
        if let Ok(Some(pidfd)) = PidFd::open(process)
            && pidfd.signal(libc::SIGKILL).is_ok()
        {
            let _ = pidfd.wait(END.saturating_sub(begin.elapsed()), &|| false);
            process.reap();
        }
    }
}
