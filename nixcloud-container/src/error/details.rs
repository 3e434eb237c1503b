//! What an error has to show beside its message, and what it says of the host.

use std::io;

use rustix::io::Errno;

use super::Error;
use crate::fs::room;
use crate::nix;

impl Error {
    /// What Nix itself printed, in full, where there is any. To be shown once.
    #[must_use]
    pub fn details(&self) -> Option<String> {
        match self {
            // The words of our own expression: they name container, file and key, and its trace leads to itself.
            Self::Nix(nix::Error::Evaluation { message, .. }) if message.starts_with("container '") => None,
            Self::Nix(error) => error.details(),
            Self::Undo { failure, .. } => failure.details(),
            _ => None,
        }
    }

    /// What of [`details`](Self::details) helps most, in a few lines: the lines of the user's file that are wrong, the end
    /// of the log of a build. To be shown once, below the message.
    #[must_use]
    pub fn excerpt(&self) -> Vec<String> {
        match self {
            Self::Nix(error) if self.details().is_some() => error.excerpt(),
            Self::Undo { failure, .. } => failure.excerpt(),
            _ => Vec::new(),
        }
    }

    /// Whether a file system had no room for something new: it is full, out of inodes, over a quota or read-only.
    #[must_use]
    pub fn lacks_room(&self) -> bool {
        self.is_caused_by(room::lacked)
    }

    /// Whether nothing was wrong with what was asked for: there was no descriptor left to ask with.
    pub(crate) fn lacks_descriptors(&self) -> bool {
        let lacks = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        self.is_caused_by(|error| lacks.contains(&error.raw_os_error()))
    }

    fn is_caused_by(&self, judge: impl Fn(&io::Error) -> bool) -> bool {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = next {
            if error.downcast_ref::<io::Error>().is_some_and(&judge) {
                return true;
            }
            next = error.source();
        }
        false
    }
}
