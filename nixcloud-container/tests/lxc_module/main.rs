//! The `lxc` module on real containers.
//!
//! liblxc wants a process without threads, so this binary is run again as the worker of each call (`worker`); what needs
//! no worker is asked from here, in a network namespace of our own. Root tests are *ignored* for other users.
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; without the harness clippy does not see that it is one"
)]
#![expect(clippy::print_stdout, reason = "the worker answers on standard output")]

mod cases;
mod guest;
mod worker;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sched::{CloneFlags, unshare};

fn main() -> ExitCode {
    nixcloud_container::lxc::worker::init(&[(worker::JOB, worker::main)]);
    let root = nix::unistd::geteuid().is_root();
    if root {
        // Before any thread exists: the command sockets of our guests are then seen by nobody else.
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    }
    let trials = cases::ALL
        .iter()
        .map(|(name, case)| {
            let case = *case;
            Trial::test(*name, move || {
                case();
                Ok::<(), Failed>(())
            })
            .with_kind(if root { "" } else { "needs root" })
            .with_ignored_flag(!root)
        })
        .collect();
    let mut arguments = Arguments::from_args();
    // Each guest costs the kernel a few grace periods; two processors have no use for more.
    arguments.test_threads.get_or_insert(3);
    let locks: Vec<_> = ["/run/lxc/lock/tmp", "/run/lxc/lock", "/run/lxc"]
        .into_iter()
        .filter(|directory| !Path::new(directory).exists())
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    for directory in locks {
        drop(std::fs::remove_dir(directory));
    }
    conclusion.exit_code()
}
