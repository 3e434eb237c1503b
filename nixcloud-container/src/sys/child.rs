//! Children that end by themselves, waited for with a deadline.

use std::process::Child;
use std::time::{Duration, Instant};

/// How often they are looked at: a wait that has a deadline has no other way where a child is not known by a pidfd.
const TICK: Duration = Duration::from_millis(5);

/// Whether all of these end within `limit`; those that do are reaped. One that was reaped before counts as ended.
pub(crate) fn all_end_within(children: &mut [&mut Child], limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        if !children.iter_mut().any(|child| matches!(child.try_wait(), Ok(None))) {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn one_that_goes_on_is_seen() {
        let mut ends = Command::new("true").spawn().unwrap();
        let mut stays = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(all_end_within(&mut [&mut ends], Duration::from_secs(60)));
        assert!(!all_end_within(&mut [&mut ends, &mut stays], Duration::ZERO));
        drop(stays.stdin.take());
        assert!(all_end_within(&mut [&mut ends, &mut stays], Duration::from_secs(60)));
    }
}
