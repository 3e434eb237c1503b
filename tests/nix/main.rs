//! The Nix side: expression, module, package, flake and VM test, evaluated on stand-ins of several NixOS releases by two
//! versions of Nix. No LXC, nothing is built.
//!
//! The second Nix is fetched (`nix-2.26.sh`); where it cannot be had, what needs it is reported as ignored.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program: it fails by panics and reports by printing"
)]

mod both;
mod keys;
mod matrix;
mod package;
mod tools;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use tools::{Folder, Nix};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(ours) = Nix::of_this_machine() else {
        eprintln!("ignored: needs nix-instantiate");
        let trial = Trial::test("nix", || Ok(())).with_kind("needs nix-instantiate").with_ignored_flag(true);
        return libtest_mimic::run(
            &Arguments { ignored: false, include_ignored: false, ..arguments },
            vec![trial],
        )
        .exit_code();
    };
    let folder = Folder::new();
    let newer = Nix::newer();
    let mut trials = matrix::trials(&folder, &ours);
    trials.extend(keys::trials(&folder, &ours));
    trials.extend(package::trials(&folder, &ours));
    trials.extend(both::trials(&folder, &ours, &newer));
    libtest_mimic::run(&arguments, trials).exit_code()
}
