//! The process in which liblxc may run: this program, re-executed.
//!
//! ```text
//! caller                                   worker
//!   | worker::command("state")               .
//!   |------ re-executes this program ------->| worker::init(): job "state"
//!   |       (any Command: streams, arguments)| Worker: one thread, clean, liblxc
//!   |<----- what the job printed, its code --| exit
//! ```

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Error;
use super::token::Worker;
use crate::sys::handed;

/// What a worker is called. No variable, which LXC's hooks would inherit.
const MARK: &str = "lxc-worker";

/// The file that this process was executed from, whatever its name is now.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// The `PATH` of workers, in which LXC's hooks find their tools.
const PATH: &str = "/run/current-system/sw/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether [`init`] was called: only then does re-executing this program give a worker and not a second program.
static INITIALISED: AtomicBool = AtomicBool::new(false);

/// What a worker does: it is given the arguments of its command line behind the job's name, and gives back its exit code.
pub type Job = fn(&Worker, Vec<OsString>) -> i32;

/// Makes this program able to be its own worker. Call it first in `main`.
///
/// In the caller it returns at once. In a worker it does the job and ends the process.
///
/// # Panics
/// In a worker that has threads already, in which liblxc cannot run.
///
/// ```no_run
/// use nixcloud_container::lxc::{Handle, Worker, worker};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     worker::init(&[("state", state)]);
///     let said = worker::command("state")?.args(["/var/lib/lxc", "web"]).output()?;
///     println!("{}", String::from_utf8_lossy(&said.stdout));
///     Ok(())
/// }
///
/// fn state(worker: &Worker, arguments: Vec<std::ffi::OsString>) -> i32 {
///     let name = arguments[1].to_string_lossy();
///     let state = Handle::open(worker, arguments[0].as_ref(), &name).and_then(|handle| handle.state());
///     match state {
///         Ok(state) => println!("{state}"),
///         Err(error) => println!("{error}"),
///     }
///     0
/// }
/// ```
pub fn init(jobs: &[(&str, Job)]) {
    let mut words = std::env::args_os();
    if words.next().is_some_and(|word| word == MARK) {
        let name = words.next().unwrap_or_default();
        if let Some((_, job)) = jobs.iter().find(|(known, _)| name == *known) {
            main(*job, words.collect());
        }
    }
    INITIALISED.store(true, Ordering::Relaxed);
}

fn main(job: Job, words: Vec<OsString>) -> ! {
    let worker = match Worker::begin() {
        Ok(worker) => worker,
        Err(error) => panic!("`lxc::worker::init` comes first in `main`: {}", said(&error)),
    };
    std::process::exit(job(&worker, words))
}

fn said(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), |why| format!("{error}: {why}"))
}

/// A command that does a job of [`init`] in a worker. Its environment is a `PATH` alone, since LXC's hooks inherit it; of this
/// process's files it has the three streams. A monitor that hangs, hangs the worker: keep a deadline, and kill it then.
///
/// # Errors
/// When [`init`] was not called: to re-execute this program would be to run it a second time.
pub fn command(job: &str) -> Result<Command, Error> {
    if !INITIALISED.load(Ordering::Relaxed) {
        return Err(Error::NotInitialised);
    }
    let mut command = Command::new(OWN_PROGRAM);
    command.arg0(MARK).arg(job).env_clear().env("PATH", PATH);
    handed::nothing_else(&mut command);
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody has called `init` in the program of these tests, which would test all once more.
    #[test]
    fn a_program_that_has_no_workers_is_not_run_again() {
        assert!(matches!(command("state"), Err(Error::NotInitialised)));
    }
}
