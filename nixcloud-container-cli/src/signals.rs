//! Ctrl-C and SIGTERM: the first asks the library to stop and undo (`run`: to interrupt the command in the guest), the
//! second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nixcloud_container::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::exit::Status;
use crate::progress::Bottom;

/// A token that the next Ctrl-C or SIGTERM cancels.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_interrupt(bottom: &Bottom) -> io::Result<Cancel> {
    cancel_on(&[SIGINT, SIGTERM], bottom)
}

/// The same for a session on a terminal, which also ends with that. Ctrl-C is a key of the guest's there and no signal.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_hangup() -> io::Result<Cancel> {
    cancel_on(&[SIGINT, SIGTERM, SIGHUP], &Bottom::default())
}

fn cancel_on(which: &[i32], bottom: &Bottom) -> io::Result<Cancel> {
    let asked = Arc::new(AtomicBool::new(false));
    let mut signals = Signals::new(which)?;
    for &signal in which {
        flag::register(signal, Arc::clone(&asked))?;
    }
    let bottom = bottom.clone();
    // Only the main thread is ever waited for.
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        // What a second one cuts off is put right by the next command.
        if signals.forever().nth(1).is_some() {
            bottom.clear_or_leave();
            low_level::exit(Status::Cancelled.code().into());
        }
    })?;
    Ok(Cancel::from_flag(asked))
}
