//! The user's terminal.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;

use crate::screen::colours::Stream;
use crate::screen::printer::Printer;

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

/// The terminal's other screen: what was on the first one is there again afterwards.
#[derive(Debug)]
pub(crate) struct Screen<'p>(&'p Printer);

impl<'p> Screen<'p> {
    /// Switches to it, without a cursor.
    pub(crate) fn enter(printer: &'p Printer) -> Self {
        printer.raw("\x1b[?1049h\x1b[?25l");
        Self(printer)
    }

    /// Shows these lines, as far as there is room.
    pub(crate) fn draw(&self, lines: &[String]) {
        let size = tcgetwinsize(io::stdout()).ok();
        let (rows, columns) =
            size.map_or((24, 80), |size| (size.ws_row.max(1).into(), size.ws_col.max(1).into()));
        let mut text = "\x1b[H".to_owned();
        let hidden = lines.len().saturating_sub(rows);
        let shown = if hidden == 0 { lines.len() } else { rows - 1 };
        for (index, line) in lines[..shown].iter().enumerate() {
            let cut: String = line.chars().take(columns).collect();
            text.push_str(&cut);
            text.push_str("\x1b[K");
            if index + 1 < shown || hidden > 0 {
                text.push_str("\r\n");
            }
        }
        if hidden > 0 {
            text.push_str(&format!("... {} more\x1b[K", hidden + 1));
        }
        text.push_str("\x1b[J");
        self.0.raw(&text);
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.0.raw("\x1b[?25h\x1b[?1049l");
    }
}
