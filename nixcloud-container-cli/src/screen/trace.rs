//! `-vv`: the library's own account of what it does, on stderr.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::screen::bottom::Bottom;
use crate::screen::colours::Stream;

/// The variable that says it more finely: `NIXCLOUD_CONTAINER_LOG=nixcloud_container::nix=trace`.
const VARIABLE: &str = "NIXCLOUD_CONTAINER_LOG";

/// Writes traces to stderr, above what is drawn there: with two `-v` what is done, with three how, else none.
pub(crate) fn init(verbose: u8, bottom: &Bottom) {
    let wanted = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let filter = match (&wanted, verbose) {
        (Some(filter), _) => filter,
        (None, 0 | 1) => return,
        (None, 2) => "nixcloud_container=debug",
        (None, _) => "nixcloud_container=trace",
    };
    // What cannot be read as targets means all of ours. (`Targets` and not `EnvFilter`, whose regular expressions
    // would be half of the binary.)
    let targets = filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::DEBUG));
    let bottom = bottom.clone();
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(move || Above(bottom.clone()))
        .with_ansi(Stream::Err.coloured())
        .without_time();
    // Nobody else sets one; a second one would be no reason to stop.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

/// Stderr, above the live lines. Each event is one write.
struct Above(Bottom);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.above(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
