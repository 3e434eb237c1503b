//! `-v`: the library's own account of what it does, on stderr.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::printer;

/// The variable that says it more finely: `NIXCLOUD_CONTAINER_LOG=nixcloud_container::nix=trace`.
const VARIABLE: &str = "NIXCLOUD_CONTAINER_LOG";

/// Writes traces to stderr: with one `-v` what is done, with two how, without any none.
pub(crate) fn init(verbose: u8) {
    let wanted = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = match (&wanted, verbose) {
        (Some(filter), _) => filter,
        (None, 0) => return,
        (None, 1) => "nixcloud_container=debug",
        (None, _) => "nixcloud_container=trace",
    };
    // What cannot be read as targets means all of ours. (`Targets` and not `EnvFilter`, whose regular expressions
    // would be half of the binary.)
    let targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::DEBUG));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(printer::colour())
        .without_time();
    // Nobody else sets one; a second one would be no reason to stop.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}
