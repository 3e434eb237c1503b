//! The installed worker, for programs that embed the library and do not call `worker::init()` themselves.

use std::process::ExitCode;

#[expect(clippy::print_stderr, reason = "there is no caller to report to: somebody typed its name")]
fn main() -> ExitCode {
    nixcloud_container::worker::init();
    eprintln!("error: nixcloud-container-worker is run by nixcloud-container, not by people");
    ExitCode::from(2)
}
