//! Whether a stream takes colours: the one place that decides it, for help, tables, errors, progress and traces.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl Stream {
    /// Whether a terminal is at its other end.
    pub(crate) fn is_terminal(self) -> bool {
        match self {
            Self::Out => io::stdout().is_terminal(),
            Self::Err => io::stderr().is_terminal(),
        }
    }

    /// Whether it takes colours.
    pub(crate) fn coloured(self) -> bool {
        wanted(|name| std::env::var_os(name), || self.is_terminal())
    }
}

/// Whether the terminal understands escape sequences at all.
pub(crate) fn dumb() -> bool {
    is_dumb(std::env::var_os("TERM").as_deref())
}

fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

/// <https://no-color.org> goes first, then <https://bixense.com/clicolors>.
fn wanted<V: AsRef<OsStr>>(variable: impl Fn(&str) -> Option<V>, terminal: impl FnOnce() -> bool) -> bool {
    let is = |name, is: fn(&OsStr) -> bool| variable(name).is_some_and(|value| is(value.as_ref()));
    if is("NO_COLOR", |value| !value.is_empty()) {
        return false;
    }
    if is("CLICOLOR_FORCE", |value| !value.is_empty() && value != "0") {
        return true;
    }
    let term = variable("TERM");
    !is("CLICOLOR", |value| value == "0") && !is_dumb(term.as_ref().map(AsRef::as_ref)) && terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With `TERM=xterm`, unless said otherwise.
    fn coloured(variables: &str, terminal: bool) -> bool {
        let find = |name: &str| {
            let mut pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        let with_term = |name: &str| find(name).or_else(|| (name == "TERM").then(|| "xterm".to_owned()));
        wanted(with_term, || terminal)
    }

    #[test]
    fn a_terminal_gets_colours_and_a_pipe_does_not() {
        assert!(coloured("", true));
        assert!(!coloured("", false));
        assert!(coloured("NO_COLOR= CLICOLOR=1 CLICOLOR_FORCE=0", true));
    }

    #[test]
    fn the_user_decides() {
        assert!(!coloured("NO_COLOR=1", true));
        assert!(!coloured("NO_COLOR=1 CLICOLOR_FORCE=1", true));
        assert!(!coloured("CLICOLOR=0", true));
        assert!(coloured("CLICOLOR_FORCE=1", false));
        assert!(coloured("CLICOLOR_FORCE=1 CLICOLOR=0 TERM=dumb", false));
        assert!(!coloured("CLICOLOR_FORCE=0", false));
    }

    #[test]
    fn a_dumb_terminal_gets_none() {
        assert!(!coloured("TERM=dumb", true));
        assert!(!coloured("TERM=", true));
        assert!(!wanted(|_| None::<String>, || true));
    }
}
