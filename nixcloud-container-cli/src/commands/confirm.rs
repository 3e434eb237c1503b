//! Before data goes: what goes is told, and somebody has to want it. On a terminal that is asked, elsewhere `--yes` says it.

use std::io::{self, IsTerminal};

use nixcloud_container::{Cancel, Data};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{Context, Failure};
use crate::screen::terminal;
use crate::view::size;

/// How often it is looked whether the question was cut off.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Containers that are about to be destroyed with their files.
pub(super) struct Doomed {
    /// A line each.
    lines: Vec<String>,
    /// Whether no container is left then.
    all: bool,
}

impl Doomed {
    pub(super) fn new<'a>(
        context: &Context<'_>,
        containers: impl Iterator<Item = (&'a str, Data)>,
        all: bool,
    ) -> Self {
        let folder = context.manager.lxc_path();
        let line = |(name, data): (&str, Data)| {
            let files = if data.files == 1 { "1 file".to_owned() } else { format!("{} files", data.files) };
            format!(
                "{name}: {files}, {}, in {}",
                size(data.bytes),
                folder.join(name).join("rootfs").display()
            )
        };
        Self { lines: containers.map(line).collect(), all }
    }

    fn heading(&self) -> String {
        match self.lines.len() {
            1 => "1 container would be destroyed with its files".to_owned(),
            count => format!("{count} containers would be destroyed with their files"),
        }
    }

    /// Whether they are to go. `yes` is the answer that was given beforehand.
    ///
    /// # Errors
    /// Where nobody can be asked.
    pub(super) fn confirmed(&self, context: &Context<'_>, yes: bool) -> Result<bool, Failure> {
        if yes {
            return Ok(true);
        }
        if !terminal::present() || !io::stderr().is_terminal() {
            return Err(Failure::Unasked { heading: self.heading(), lines: self.lines.clone() });
        }
        let count = self.lines.len().to_string();
        let (question, wanted) = if self.all {
            (format!("No container would be left. Type {count} to destroy them: "), vec![count.as_str()])
        } else {
            ("Destroy them? [y/N] ".to_owned(), vec!["y", "yes"])
        };
        let answer = context.printer.bottom().above(|| {
            context.printer.question(&self.heading(), &self.lines, &question);
            let answer = line(&context.cancel);
            if answer.is_none() {
                context.printer.unanswered();
            }
            answer
        });
        Ok(answer.is_some_and(|answer| wanted.contains(&answer.trim().to_lowercase().as_str())))
    }
}

/// What is typed until the end of the line; nothing where that does not come.
fn line(cancel: &Cancel) -> Option<String> {
    let stdin = io::stdin();
    let mut typed = Vec::new();
    let mut byte = [0];
    loop {
        let mut poll = [PollFd::new(&stdin, PollFlags::IN)];
        let waiting = rustix::event::poll(&mut poll, Some(&LOOK)).unwrap_or(0) > 0;
        if cancel.is_cancelled() {
            return None;
        }
        if waiting {
            // Not by way of the buffer, which takes in more than is looked at here.
            match rustix::io::read(&stdin, &mut byte) {
                Ok(1) if byte[0] != b'\n' => typed.push(byte[0]),
                Ok(1) => return Some(String::from_utf8_lossy(&typed).into_owned()),
                _ => return None,
            }
        }
    }
}
