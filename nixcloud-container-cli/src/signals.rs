//! Ctrl-C, SIGTERM and a terminal that hangs up: the first asks the library to stop and undo (`run`: to interrupt the command in the guest), the
//! second ends the program at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nixcloud_container::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::Status;

/// A token that the next Ctrl-C, SIGTERM or hang-up cancels. Not for `login`: on a guest's terminal the keys are the guest's.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_interrupt() -> io::Result<Cancel> {
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Under nohup it goes on.
        if signal == SIGHUP && ignored(signal) {
            continue;
        }
        // In this order: the first signal finds the flag unset here and sets it below. What a second one cuts off is
        // put right by the next command.
        flag::register_conditional_shutdown(signal, Status::Cancelled.code().into(), Arc::clone(&asked))?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    Ok(Cancel::from_flag(asked))
}

/// Whether whoever started this program has it ignore a signal.
fn ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (signal - 1)) != 0)
}
