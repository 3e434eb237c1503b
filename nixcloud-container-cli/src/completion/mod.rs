//! Completions: what can follow on a command line. Shells ask this program, so names are those that there are now.
//!
//! A shell's script (`completions SHELL` prints it) calls `nixcloud-container __complete SHELL ...` on each TAB. The
//! answer is a line `words` or `files`, then one candidate a line, for shells that show help with a tab and the help.
//! Nothing here reports an error: where nothing is known, nothing is offered.

mod candidates;
mod words;

use std::ffi::{OsStr, OsString};

use clap::ValueEnum;

use crate::cli::Shell;
use words::Line;

/// The word that asks for completions. It is no command: it is for scripts of this version alone.
const WORD: &str = "__complete";

/// The script that makes a shell ask.
pub(crate) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("nixcloud-container.bash"),
        Shell::Zsh => include_str!("nixcloud-container.zsh"),
        Shell::Fish => include_str!("nixcloud-container.fish"),
    }
}

/// The answer to a shell; `None` where this is no question of one.
pub(crate) fn answer(arguments: impl IntoIterator<Item = OsString>) -> Option<String> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != WORD {
        return None;
    }
    let shell = arguments.next().and_then(|name| Shell::from_str(name.to_str()?, false).ok());
    // Words that are no text are not ours to complete.
    let words: Option<Vec<String>> = arguments.map(|word| word.into_string().ok()).collect();
    Some(shell.zip(words).map(|(shell, words)| reply(shell, words)).unwrap_or_default())
}

fn reply(shell: Shell, words: Vec<String>) -> String {
    let line = match (shell, words.as_slice()) {
        // The line up to the cursor, and where this bash breaks words.
        (Shell::Bash, [line, breaks]) => words::split(line, breaks),
        (Shell::Bash, _) => return String::new(),
        // The current word as it stands there: its quotes may be open.
        (Shell::Fish, _) => words::with_raw_last(words),
        (Shell::Zsh, _) => Line { words, cut: 0 },
    };
    let candidates = candidates::of(&line.words);
    let files = candidates.iter().any(candidates::is_file);
    let mut reply = String::from(if files { "files\n" } else { "words\n" });
    for candidate in &candidates {
        // What bash replaces begins behind the last character at which it breaks words.
        let Some(value) = text(candidate.get_value()).and_then(|value| value.get(line.cut..)) else {
            continue;
        };
        reply.push_str(value);
        if shell != Shell::Bash
            && let Some(help) = candidate.get_help()
        {
            reply.push('\t');
            reply.push_str(help.to_string().lines().next().unwrap_or_default());
        }
        reply.push('\n');
    }
    reply
}

/// A value that can be told in a line.
fn text(value: &OsStr) -> Option<&str> {
    value.to_str().filter(|value| !value.chars().any(char::is_control))
}

#[cfg(test)]
mod tests;
