//! The process of one scenario.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use super::{Body, Lab, Scenario};

/// Plays one scenario; whatever happens in it, the lab is cleared and looked over.
pub fn play(scenarios: &[Scenario], name: &str) -> ExitCode {
    let Some(scenario) = scenarios.iter().find(|scenario| scenario.name == name) else {
        eprintln!("there is no scenario {name}");
        return ExitCode::FAILURE;
    };
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
