//! What scenarios stand on.

pub mod actor;
pub mod child;
pub mod command;
pub mod file;
pub mod frames;
pub mod guest;
pub mod lab;
pub mod leaks;
pub mod pty;
pub mod runner;
pub mod sandbox;
pub mod space;
pub mod sweep;

pub use command::Told;
pub use file::File;
pub use guest::{Guest, Kind};
pub use lab::{Lab, config};
pub use pty::Pty;

/// Set where this program is not to call `worker::init`.
pub const NO_WORKER: &str = "NIXCLOUD_TEST_NO_WORKER";

/// Set where this program is to have a thread before it calls `worker::init`.
pub const THREADED: &str = "NIXCLOUD_TEST_THREADED";

/// A host configuration in place of the lab's, for an actor.
pub const CONFIG: &str = "NIXCLOUD_TEST_CONFIG";

/// One scenario: a name that begins with `root_`, and what it plays.
#[derive(Clone)]
pub struct Scenario {
    pub name: String,
    pub body: Body,
}

impl Scenario {
    pub fn new(name: &str, body: fn(&Lab)) -> Self {
        Self { name: name.to_owned(), body: Body::Once(body) }
    }
}

/// The same scenario on each kind of guest.
pub fn on_both(name: &str, body: fn(&Lab, Kind)) -> [Scenario; 2] {
    [Kind::Busybox, Kind::Systemd]
        .map(|kind| Scenario { name: format!("{name}_{kind}"), body: Body::OnKind(body, kind) })
}

/// A scenario of one kind of guest is told which.
#[derive(Clone, Copy)]
pub enum Body {
    Once(fn(&Lab)),
    OnKind(fn(&Lab, Kind), Kind),
}

/// Lists scenarios: `once` for those that choose their guests themselves, `both` for those of each kind of guest.
macro_rules! scenarios {
    (once: [$($once:ident),* $(,)?], both: [$($both:ident),* $(,)?] $(,)?) => {
        pub fn scenarios() -> Vec<$crate::harness::Scenario> {
            use $crate::harness::Scenario;
            let once: &[Scenario] = &[$(Scenario::new(stringify!($once), $once)),*];
            let both: &[[Scenario; 2]] = &[$($crate::harness::on_both(stringify!($both), $both)),*];
            [once, both.as_flattened()].concat()
        }
    };
}
pub(crate) use scenarios;

/// The good end of a result, or a panic with the whole chain of errors.
pub trait Must<T> {
    fn must(self, what: &str) -> T;
}

impl<T> Must<T> for Result<T, nixcloud_container::Error> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        match self {
            Ok(value) => value,
            Err(error) => {
                panic!(
                    "{what}: {}{}",
                    chain(&error),
                    error.details().map(|text| format!("\n{text}")).unwrap_or_default()
                )
            }
        }
    }
}

impl<T> Must<T> for std::io::Result<T> {
    #[track_caller]
    fn must(self, what: &str) -> T {
        self.unwrap_or_else(|error| panic!("{what}: {error}"))
    }
}

/// An error and all that it came from.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// How many times longer everything may take: on a machine that is emulated.
const SLOW: &str = "NIXCLOUD_TEST_SLOW";

/// See [`SLOW`].
pub fn slowness() -> u32 {
    std::env::var(SLOW).ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Polls until `done` is true; fails with what it was waiting for.
#[track_caller]
pub fn eventually(what: &str, limit: std::time::Duration, mut done: impl FnMut() -> bool) {
    let (begin, limit) = (std::time::Instant::now(), limit * slowness());
    while !done() {
        assert!(begin.elapsed() < limit, "waited {} s: {what}", limit.as_secs());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
