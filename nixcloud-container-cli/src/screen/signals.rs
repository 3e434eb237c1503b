//! Ctrl-C, SIGTERM and a terminal that hangs up: the first asks the library to stop and undo (`run`: passes it
//! on to the command in the guest), a second one, later than a second after it, ends the program at once. Signals that mean
//! no end are the command's, where there is one.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

use nixcloud_container::{Cancel, PassedSignals};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};

use crate::exit::ExitStatus;
use crate::screen::bottom::Bottom;
use crate::screen::printer;

/// How long after the first signal another one says the same: `timeout` signals its child and their group, and who
/// presses Ctrl-C twice at once does not mean to cut the undoing off.
const SAME: Duration = Duration::from_secs(1);

/// What is passed on to a command in a guest.
const PASSED: [i32; 5] = [SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH, SIGCONT];

/// A token that the next Ctrl-C, SIGTERM or hang-up cancels. On a guest's terminal Ctrl-C is a key of the guest's and no
/// signal. With `session` there is a command that gets the other signals, too; without, they do what they do to any program.
///
/// # Errors
/// When the system does not take the handlers.
pub(crate) fn cancel_on_interrupt(bottom: &Bottom, session: bool) -> io::Result<Cancel> {
    let ignored = ignored();
    let ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
    // Under nohup it goes on.
    let which: Vec<i32> = [SIGINT, SIGTERM, SIGHUP]
        .into_iter()
        .filter(|&signal| signal != SIGHUP || !ignored(signal))
        .collect();
    let asked = Arc::new(AtomicBool::new(false));
    let number = Arc::new(AtomicUsize::new(0));
    let passed = if session { &PASSED[..] } else { &[] };
    // What whoever started this has it ignore stays ignored.
    let passed: Vec<i32> = passed.iter().copied().filter(|&signal| !ignored(signal)).collect();
    let mut signals = Signals::new(which.iter().chain(&passed))?;
    let noted = PassedSignals::default();
    let cancel =
        Cancel::from_flag(Arc::clone(&asked)).with_signal(Arc::clone(&number)).passing(noted.clone());
    for signal in which {
        // First which one it was: handlers run in this order.
        flag::register_usize(signal, Arc::clone(&number), usize::try_from(signal).unwrap_or_default())?;
        flag::register(signal, Arc::clone(&asked))?;
    }
    let bottom = bottom.clone();
    // Only the main thread is ever waited for.
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        let mut first = None;
        for signal in signals.forever() {
            if passed.contains(&signal) {
                noted.note(signal);
                continue;
            }
            if first.get_or_insert_with(Instant::now).elapsed() >= SAME {
                bottom.clear_or_leave();
                printer::last_words(if session {
                    "cut off: what it runs in the guest is ended"
                } else {
                    "cut off: the next command for this container puts right what is left"
                });
                low_level::exit(ExitStatus::Cancelled.code().into());
            }
        }
    })?;
    Ok(cancel)
}

/// The signals that whoever started this program has it ignore, a bit each.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok())
        .unwrap_or(0)
}
