//! The user's terminal: as it was, whatever became of the session on it.

use std::io::{self, IsTerminal};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The settings of the terminal on stdin, put back when this is dropped: LXC switches it to raw mode, and a worker
/// that is killed does not switch it back.
#[derive(Debug)]
pub(crate) struct Saved(Option<Termios>);

impl Saved {
    /// Notes the settings there are now.
    pub(crate) fn now() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            // A terminal that is gone needs no settings.
            let _ = tcsetattr(io::stdin(), OptionalActions::Drain, settings);
        }
    }
}

/// Whether there is a terminal to type on.
pub(crate) fn present() -> bool {
    io::stdin().is_terminal()
}
