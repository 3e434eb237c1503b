//! Ctrl-C and SIGTERM: the first asks the library to stop and undo (`run`: to interrupt the command in the guest), the
//! second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nixcloud_container::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Status;

/// A token that the next Ctrl-C or SIGTERM cancels.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_interrupt() -> io::Result<Cancel> {
    cancel_on(&[SIGINT, SIGTERM])
}

/// The same for a session on a terminal, which also ends with that. Ctrl-C is a key of the guest's there and no signal.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_hangup() -> io::Result<Cancel> {
    cancel_on(&[SIGINT, SIGTERM, SIGHUP])
}

fn cancel_on(signals: &[i32]) -> io::Result<Cancel> {
    let asked = Arc::new(AtomicBool::new(false));
    for &signal in signals {
        // In this order: the first signal finds the flag unset here and sets it below. What a second one cuts off is
        // put right by the next command.
        flag::register_conditional_shutdown(signal, Status::Cancelled.code().into(), Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(Cancel::from_flag(asked))
}
