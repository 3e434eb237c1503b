//! The user's terminal.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

use crate::screen::colours::Stream;

/// Whether there is a terminal to type on.
pub(crate) fn present() -> bool {
    io::stdin().is_terminal()
}

/// How many columns a stream has, where it is a terminal.
pub(crate) fn columns(stream: Stream) -> Option<usize> {
    let size = match stream {
        Stream::Out => tcgetwinsize(io::stdout()),
        Stream::Err => tcgetwinsize(io::stderr()),
    };
    size.ok().filter(|size| size.ws_col > 0).map(|size| size.ws_col.into())
}
