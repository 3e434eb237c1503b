//! `-v`: the library's own account of what it does, on stderr.

use tracing_subscriber::EnvFilter;

use crate::printer;

/// The variable that says it more finely: `NIXCLOUD_CONTAINER_LOG=nixcloud_container::nix=trace`.
const VARIABLE: &str = "NIXCLOUD_CONTAINER_LOG";

/// Writes traces to stderr: with one `-v` what is done, with two how, without any none.
pub(crate) fn init(verbose: u8) {
    let wanted = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = match (wanted, verbose) {
        (Some(filter), _) => filter,
        (None, 0) => return,
        (None, 1) => "nixcloud_container=debug".to_owned(),
        (None, _) => "nixcloud_container=trace".to_owned(),
    };
    // Nobody else sets one; a second one would be no reason to stop.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(printer::colour())
        .without_time()
        .try_init();
}
