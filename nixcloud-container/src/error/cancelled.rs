//! Errors of what lies below that are a cancellation and nothing else.

use super::Error;
use crate::net::nft;
use crate::nix;
use crate::sys::tool;
use crate::worker::WorkerError;

impl From<nix::Error> for Error {
    fn from(error: nix::Error) -> Self {
        match error {
            nix::Error::Cancelled => Self::Cancelled,
            error => Self::Nix(error),
        }
    }
}

impl From<nft::Error> for Error {
    fn from(error: nft::Error) -> Self {
        match error {
            nft::Error::Tool { source: tool::Error::Cancelled { .. }, .. } => Self::Cancelled,
            error => Self::Nft(error),
        }
    }
}

impl From<tool::Error> for Error {
    fn from(error: tool::Error) -> Self {
        match error {
            tool::Error::Cancelled { .. } => Self::Cancelled,
            error => Self::Tool(error),
        }
    }
}

impl From<WorkerError> for Error {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Cancelled => Self::Cancelled,
            error => Self::Worker(error),
        }
    }
}
