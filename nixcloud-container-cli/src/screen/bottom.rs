//! The live lines at the bottom of a terminal, and the way past them: whatever else is written goes above.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressDrawTarget, TermLike};
use rustix::termios::tcgetwinsize;

/// A terminal that somebody stopped (Ctrl-S) does not hold up the end of the program for longer.
const LAST_CHANCE: Duration = Duration::from_millis(200);

/// What is live on stderr now, if anything.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bottom(Arc<Mutex<Option<MultiProgress>>>);

impl Bottom {
    /// Writes something of the caller's above the live lines, and these again below it.
    pub(crate) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &*self.lock() {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }

    /// Makes `live` the live lines.
    pub(crate) fn show(&self, live: &MultiProgress) {
        live.set_draw_target(ProgressDrawTarget::term_like(Box::new(Tty::default())));
        *self.lock() = Some(live.clone());
    }

    /// Takes the live lines away.
    pub(crate) fn clear(&self) {
        if let Some(live) = self.lock().take() {
            let _ = live.clear();
            live.set_draw_target(ProgressDrawTarget::hidden());
        }
    }

    /// Takes the live lines away for a program that ends whatever becomes of it.
    pub(crate) fn clear_or_leave(&self) {
        let bottom = self.clone();
        let (done, cleared) = mpsc::channel();
        std::thread::spawn(move || {
            bottom.clear();
            let _ = done.send(());
        });
        let _ = cleared.recv_timeout(LAST_CHANCE);
    }

    fn lock(&self) -> MutexGuard<'_, Option<MultiProgress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How wide the terminal on stderr is. A column stays free: a full line would make some terminals wrap.
pub(crate) fn width() -> u16 {
    match tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_col > 1 => size.ws_col - 1,
        _ => 79,
    }
}

/// The terminal on stderr, written to once for each picture, so that nothing flickers.
#[derive(Debug, Default)]
struct Tty(Mutex<Picture>);

#[derive(Debug, Default)]
struct Picture {
    text: String,
    /// Whether the line is full, and a further one begins below it.
    full: bool,
}

impl Picture {
    fn command(&mut self, count: usize, letter: char) {
        self.full = false;
        if count > 0 {
            let _ = write!(self.text, "\x1b[{count}{letter}");
        }
    }

    fn write(&mut self, text: &str) {
        // indicatif fills lines up with blanks. Those would wrap when the terminal becomes narrower, and leave rests.
        if text.chars().all(|c| c == ' ') {
            self.full = true;
            return;
        }
        if self.full {
            self.text.push_str("\r\n");
            self.full = false;
        }
        self.text.push_str(text);
    }
}

impl Tty {
    fn with(&self, change: impl FnOnce(&mut Picture)) -> io::Result<()> {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// A terminal that is gone is no reason to fail: indicatif would panic.
impl TermLike for Tty {
    fn width(&self) -> u16 {
        width()
    }

    fn height(&self) -> u16 {
        match tcgetwinsize(io::stderr()) {
            Ok(size) if size.ws_row > 0 => size.ws_row,
            _ => 24,
        }
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.with(|picture| picture.command(n, 'A'))
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.with(|picture| picture.command(n, 'B'))
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.with(|picture| picture.command(n, 'C'))
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.with(|picture| picture.command(n, 'D'))
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.with(|picture| {
            picture.write(text);
            picture.full = true;
        })
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.with(|picture| picture.write(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.with(|picture| {
            picture.full = false;
            picture.text.push_str("\r\x1b[2K");
        })
    }

    fn flush(&self) -> io::Result<()> {
        self.with(|picture| {
            let mut text = std::mem::take(&mut picture.text);
            picture.full = false;
            if !text.is_empty() {
                // There the `^C` that the terminal shows for a Ctrl-C makes no line wrap.
                text.push('\r');
                let _ = io::stderr().lock().write_all(text.as_bytes());
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_ended_and_not_filled_up() {
        let mut picture = Picture::default();
        for text in ["evaluating", "     ", "below", "", "last", "  "] {
            picture.write(text);
        }
        assert_eq!(picture.text, "evaluating\r\nbelow\r\nlast");
        picture.command(0, 'A');
        picture.command(2, 'A');
        picture.write("x");
        assert_eq!(picture.text, "evaluating\r\nbelow\r\nlast\x1b[2Ax");
    }

    #[test]
    fn nothing_live_is_no_obstacle() {
        let bottom = Bottom::default();
        assert_eq!(bottom.above(|| 1), 1);
        bottom.clear();
        bottom.clear_or_leave();
    }
}
