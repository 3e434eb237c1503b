//! The process of one scenario.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Arc;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;

use super::{Body, Lab, Scenario};

/// Plays one scenario; whatever happens in it, the lab is cleared and looked over.
pub fn play(scenarios: &[Scenario], name: &str) -> ExitCode {
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == name) else {
        eprintln!("there is no scenario {name}");
        return ExitCode::FAILURE;
    };
    // A shell has what it runs in the background ignore these, and that goes through exec to whom scenarios send them.
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::new(true.into())).unwrap();
    }
    let lab = Lab::open();
    let played = catch_unwind(AssertUnwindSafe(|| match scenario.body {
        Body::Once(body) => body(&lab),
        Body::OnKind(body, kind) => body(&lab, kind),
    }));
    // The panic has printed itself.
    let mut good = played.is_ok();
    if !good {
        lab.tell();
    }
    for leak in lab.close() {
        eprintln!("LEFT BEHIND: {leak}");
        good = false;
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
