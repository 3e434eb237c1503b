//! The terminal's other screen: what was on the first one is there again afterwards.

use std::io;

use rustix::termios::tcgetwinsize;

use crate::screen::printer::Printer;

/// The other screen, while it is shown.
#[derive(Debug)]
pub(crate) struct AlternateScreen<'p>(&'p Printer);

impl<'p> AlternateScreen<'p> {
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

impl Drop for AlternateScreen<'_> {
    fn drop(&mut self) {
        self.0.raw("\x1b[?25h\x1b[?1049l");
    }
}
