//! The Nix expression's own test, `tests/nix/expression.sh`.

use std::path::Path;
use std::process::Command;

use crate::harness::{Lab, scenarios};

scenarios! {
    once: [root_the_expression_holds_by_itself],
    both: [],
}

fn root_the_expression_holds_by_itself(_lab: &Lab) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("nix/expression.sh");
    let output = Command::new("sh").arg(&script).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}\n{said}\n{errors}", script.display(), output.status);
    // It counts what held; a script that ended early is no success.
    let held: u32 = said.lines().last().and_then(|line| line.strip_prefix("ok ")?.parse().ok()).unwrap_or(0);
    assert!(held >= 125, "{held} checks only: {said}");
}
