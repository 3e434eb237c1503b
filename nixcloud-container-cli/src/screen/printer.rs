//! The only thing that writes to stdout and stderr. A reader that has gone away (`| head`) is no failure.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Write};

use clap::builder::styling::{AnsiColor, Style};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde::Serialize;

use crate::exit::ExitStatus;
use crate::screen::bottom::Bottom;
use crate::screen::colours::Stream;
use crate::screen::terminal;
use crate::screen::wrap::{page, wrapped};

/// Writes answers and results to stdout, progress and errors to stderr.
#[derive(Debug)]
pub(crate) struct Printer {
    quiet: Cell<bool>,
    verbose: bool,
    json: bool,
    colour: bool,
    /// What is drawn at the bottom of the terminal: all else goes above it.
    bottom: Bottom,
    /// The first failure to write an answer: a script must not take a cut-off list for the whole.
    fault: RefCell<Option<io::Error>>,
}

/// An answer.
pub(crate) trait View: Serialize {
    /// Says it in words.
    fn tell(&self, printer: &Printer);
}

/// What a word on stderr means, which decides its colour.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tone {
    /// A failure.
    Error,
    /// Something to look at that stopped nothing.
    Warning,
    /// A way to go on.
    Hint,
}

impl Tone {
    fn style(self) -> Style {
        let colour = match self {
            Self::Error => AnsiColor::Red,
            Self::Warning => AnsiColor::Yellow,
            Self::Hint => AnsiColor::Cyan,
        };
        colour.on_default().bold()
    }
}

impl Printer {
    /// With `quiet` only what was asked for is printed, and errors; with `verbose` nothing is cut.
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        let (colour, bottom) = (Stream::Err.coloured(), Bottom::default());
        Self { quiet: Cell::new(quiet), verbose, json: false, colour, bottom, fault: RefCell::new(None) }
    }

    /// With `json` answers are objects.
    pub(crate) fn with_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// From here on as with `quiet`.
    pub(crate) fn hush(&self) {
        self.quiet.set(true);
    }

    /// Whether answers are objects.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// An answer: with `--json` as an object on one line, else in words.
    pub(crate) fn reply(&self, view: &impl View) {
        if self.json {
            self.object(view);
        } else {
            view.tell(self);
        }
    }

    /// An object of JSON on a line of its own.
    pub(crate) fn object(&self, object: &impl Serialize) {
        match serde_json::to_string(object) {
            Ok(text) => self.answer(escaped(&text)),
            Err(error) => self.keep(Err(error.into())),
        }
    }

    /// Whether nothing is wanted but answers and errors.
    pub(crate) fn quiet(&self) -> bool {
        self.quiet.get()
    }

    /// What is drawn at the bottom of the terminal.
    pub(crate) fn bottom(&self) -> &Bottom {
        &self.bottom
    }

    /// Whether everything is wanted.
    pub(crate) fn verbose(&self) -> bool {
        self.verbose
    }

    /// Whether people read stdout, not a program.
    pub(crate) fn for_people(&self) -> bool {
        Stream::Out.is_terminal()
    }

    /// What the user asked for: a list, a state, an address.
    pub(crate) fn answer(&self, line: impl AsRef<str>) {
        self.keep(self.bottom.above(|| write_line(&mut io::stdout().lock(), line.as_ref())));
    }

    /// Answers of a line each, written at once: a line by itself takes longer than to find out what is in it.
    pub(crate) fn answers<L: AsRef<str>>(&self, lines: impl IntoIterator<Item = L>) {
        let mut text = String::new();
        for line in lines {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line.as_ref());
        }
        if !text.is_empty() {
            self.answer(text);
        }
    }

    /// What steers the terminal that stdout is.
    pub(crate) fn raw(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        self.keep(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
    }

    /// Whether nobody reads stdout any more: then there is no reason to go on answering.
    pub(crate) fn reader_is_gone(&self) -> bool {
        let stdout = io::stdout();
        let mut poll = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        rustix::event::poll(&mut poll, Some(&now)).is_ok() && poll[0].revents().contains(PollFlags::ERR)
    }

    /// What a command has done.
    pub(crate) fn result(&self, line: impl AsRef<str>) {
        if !self.quiet.get() {
            self.answers(in_columns(line.as_ref(), 0, 2, Stream::Out));
        }
    }

    /// What a command is doing.
    pub(crate) fn progress(&self, line: impl AsRef<str>) {
        if !self.quiet.get() {
            self.error_line(line);
        }
    }

    /// A warning or note that stopped nothing.
    pub(crate) fn note(&self, tone: Tone, word: &str, text: &str) {
        if !self.quiet.get() {
            self.labelled(tone, word, text);
        }
    }

    /// `word: text`, the word in colour.
    pub(crate) fn labelled(&self, tone: Tone, word: &str, text: &str) {
        let (style, width) = (tone.style(), word.chars().count() + 2);
        let word = if self.colour { format!("{style}{word}:{style:#}") } else { format!("{word}:") };
        self.error_line(format!("{word} {}", in_columns(&clean(text), width, 2, Stream::Err).join("\n")));
    }

    /// A question, with what it is about above it. The answer is typed behind it.
    pub(crate) fn question(&self, heading: &str, lines: &[String], question: &str) {
        let mut text = format!("{}:\n", clean(heading));
        for line in lines {
            text.push_str(&format!("  {}\n", clean(line)));
        }
        text.push_str(question);
        let mut stderr = io::stderr().lock();
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }

    /// Nobody has ended the line of the question.
    pub(crate) fn unanswered(&self) {
        let _ = io::stderr().lock().write_all(b"\n");
    }

    /// A reason, below the failure that it has led to.
    pub(crate) fn cause(&self, cause: &str) {
        const BEFORE: &str = "  caused by: ";
        let lines = in_columns(&clean(cause), BEFORE.len(), 4, Stream::Err);
        self.error_line(format!("{BEFORE}{}", lines.join("\n")));
    }

    /// A word of an answer on stdout, in colour where it takes colours.
    pub(crate) fn marked(&self, tone: Tone, word: &str) -> String {
        let style = tone.style();
        if Stream::Out.coloured() { format!("{style}{word}{style:#}") } else { word.to_owned() }
    }

    /// A line about an error.
    pub(crate) fn error_line(&self, line: impl AsRef<str>) {
        // Where stderr cannot be written to, there is nobody left to tell.
        let _ = self.bottom.above(|| write_line(&mut io::stderr().lock(), line.as_ref()));
    }

    /// Help on stdout, or what is wrong with a command line on stderr.
    pub(crate) fn clap(&self, answer: &clap::Error) -> ExitStatus {
        let text = answer.render();
        let text = |stream: Stream| {
            let text = if stream.coloured() { text.ansi().to_string() } else { text.to_string() };
            terminal::columns(stream).map_or(text.clone(), |columns| page(&text, columns))
        };
        if answer.use_stderr() {
            let _ = io::stderr().lock().write_all(text(Stream::Err).as_bytes());
            return ExitStatus::Usage;
        }
        self.keep(io::stdout().lock().write_all(text(Stream::Out).as_bytes()));
        match self.finish() {
            Ok(()) => ExitStatus::Done,
            Err(_) => ExitStatus::Failed,
        }
    }

    /// Whether all answers reached their reader, as far as it wanted them.
    pub(crate) fn finish(&self) -> io::Result<()> {
        self.keep(io::stdout().lock().flush());
        self.fault.borrow_mut().take().map_or(Ok(()), Err)
    }

    fn keep(&self, written: io::Result<()>) {
        if let Err(error) = written
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.fault.borrow_mut().get_or_insert(error);
        }
    }
}

/// A warning of a program that ends whatever it is at.
pub(crate) fn last_words(text: &str) {
    let _ = write_line(&mut io::stderr().lock(), &format!("warning: {text}"));
}

fn write_line(stream: &mut impl Write, line: &str) -> io::Result<()> {
    // One write a line: lines of several processes do not mix.
    stream.write_all(format!("{line}\n").as_bytes())
}

/// A text in lines as a terminal has columns for them, and as it is elsewhere. What is in lines of its own already keeps
/// its indentation: it is quoted, and stands as its author wrote it.
fn in_columns(text: &str, first: usize, below: usize, stream: Stream) -> Vec<String> {
    let Some(columns) = terminal::columns(stream) else { return text.lines().map(str::to_owned).collect() };
    let each = text.lines().enumerate().flat_map(|(index, line)| {
        let own = line.len() - line.trim_start().len();
        match (index, own) {
            (0, _) => wrapped(line, first, below, columns),
            (_, 0) => wrapped(line, 0, below, columns),
            (_, _) => vec![line.to_owned()],
        }
    });
    each.collect()
}

/// A text of a guest, of Nix or of LXC without what would steer a terminal, or show its letters in another order.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| matches!(c, '\n' | '\t') || !steers(*c)).collect()
}

fn steers(c: char) -> bool {
    let direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || direction
}

/// The same JSON with those characters escaped: of itself it does so for those of ASCII alone, but for DEL.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if steers(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure_and_a_full_disk_is_one() {
        let printer = Printer::new(false, false);
        printer.keep(Err(ErrorKind::BrokenPipe.into()));
        assert!(printer.finish().is_ok());
        printer.keep(Err(ErrorKind::StorageFull.into()));
        printer.keep(Err(ErrorKind::BrokenPipe.into()));
        assert_eq!(printer.finish().unwrap_err().kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn escape_sequences_do_not_reach_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\x07\n\tc\u{9b}"), "a[2Jb\n\tc");
        let steering = "a\u{9b}2J\u{7f}\u{202e}\x1b";
        let json = escaped(&serde_json::to_string(steering).unwrap());
        assert_eq!(json, r#""a\u009b2J\u007f\u202e\u001b""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), steering);
        assert_eq!(clean("exe.\u{202e}txt\u{2066}"), "exe.txt");
    }
}
