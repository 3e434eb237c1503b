//! How commands are spelled: of old, `--list` for `list` and so on for each of them, and by mistake.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;

/// The arguments with the command spelled as it is today. Options of all commands may stand before it.
pub(crate) fn modern(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    // Without an option in front there is nothing to look for, and the grammar is not built twice.
    if !arguments.get(1).is_some_and(|first| first.as_encoded_bytes().starts_with(b"-")) {
        return arguments;
    }
    let cli = Cli::command();
    let mut at = 1;
    while let Some(word) = arguments.get(at).and_then(|word| word.to_str()) {
        if let Some(old) = word.strip_prefix("--")
            && is_command(&cli, old)
        {
            arguments[at] = old.into();
            break;
        }
        match words_of_option(&cli, word) {
            Some(words) => at += words,
            None => break,
        }
    }
    arguments
}

/// `help` is none: `--help` is an option of its own.
fn is_command(cli: &Command, word: &str) -> bool {
    cli.get_subcommands()
        .any(|known| known.get_name() == word || known.get_all_aliases().any(|alias| alias == word))
}

/// How many words an option has with its value; `None` where this is no option of all commands.
fn words_of_option(cli: &Command, word: &str) -> Option<usize> {
    let takes_value = |arg: &Arg| arg.get_action().takes_values();
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value)));
        let option = cli.get_arguments().find(|arg| arg.get_long() == Some(name))?;
        return Some(if takes_value(option) && value.is_none() { 2 } else { 1 });
    }
    let mut shorts = word.strip_prefix('-').filter(|shorts| !shorts.is_empty())?.chars();
    while let Some(short) = shorts.next() {
        let option = cli.get_arguments().find(|arg| arg.get_short() == Some(short))?;
        if takes_value(option) {
            // What follows in the same word is its value.
            return Some(if shorts.as_str().is_empty() { 2 } else { 1 });
        }
    }
    Some(1)
}

/// Words of other tools, and what they are here. Without a word here they would be taken for whatever looks like them.
const MEANT: &[(&str, &str)] = &[
    ("delete", "destroy"),
    ("remove", "destroy"),
    ("ls", "list"),
    ("exec", "run"),
    ("shell", "login"),
    ("enter", "login"),
    ("console", "login"),
    ("reboot", "restart"),
    ("poweroff", "stop"),
    ("shutdown", "stop"),
    ("pause", "freeze"),
    ("resume", "unfreeze"),
    ("ip", "show-ip"),
    ("switch", "switch-generation"),
    ("generations", "list-generations"),
    ("dry-activate", "plan"),
    ("preview", "plan"),
];

/// Words of other tools for which there is no command here: none that looks like them is what was meant.
const FOREIGN: &[&str] = &["cp", "log", "logs", "mv", "ps", "rm", "top"];

/// An error about an unknown command with the one that was meant, where that is likely. clap names all that are similar
/// in some way: `rm` is not a mistyped `terminate`, nor `logs` a `login`.
pub(crate) fn best_guess(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) {
        let typed = typed.clone();
        // Of the command that has commands of its own, where one was typed.
        let similar = match error.remove(ContextKind::SuggestedSubcommand) {
            Some(ContextValue::Strings(similar)) => similar,
            _ => Vec::new(),
        };
        // clap has a tip of its own there, on how to give the word to a command that takes any.
        error.remove(ContextKind::Suggested);
        if let Some(guess) = meant(&typed, &similar) {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![guess]));
        }
    }
    error
}

fn meant(typed: &str, similar: &[String]) -> Option<String> {
    if FOREIGN.contains(&typed) {
        return None;
    }
    if let Some((_, command)) = MEANT.iter().find(|(word, _)| *word == typed) {
        return Some((*command).to_owned());
    }
    let cli = Cli::command();
    let known = cli
        .get_subcommands()
        .flat_map(|known| std::iter::once(known.get_name()).chain(known.get_all_aliases()));
    let known = known.chain(similar.iter().map(String::as_str));
    nearest(typed, known).map(str::to_owned)
}

/// The word that was most likely meant: at most one letter in three is another, and no other word is as near.
pub(crate) fn nearest<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let limit = (typed.chars().count() / 3).clamp(1, 2);
    let mut near: Vec<(usize, &str)> = (known.into_iter())
        .map(|word| (distance(typed, word), word))
        .filter(|(distance, word)| {
            *distance <= limit && *distance < word.chars().count().min(typed.chars().count())
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    match near.as_slice() {
        [] => None,
        [(first, _), (second, _), ..] if first == second => None,
        [(_, word), ..] => Some(word),
    }
}

/// How many letters must be put in, left out, replaced or swapped with the next to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    strsim::osa_distance(&from.to_lowercase(), &to.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modern_words(words: &str) -> String {
        let words = modern(words.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_command_has_its_old_spelling() {
        for name in Cli::command().get_subcommands().map(|c| c.get_name().to_owned()) {
            assert_eq!(modern_words(&format!("x --{name} web")), format!("x {name} web"));
        }
        assert_eq!(modern_words("x --status web"), "x status web");
        assert_eq!(modern_words("x --attach web"), "x attach web");
    }

    #[test]
    fn options_of_all_commands_may_stand_before_it() {
        for options in ["-q", "--quiet", "-qvv", "--config /c", "--config=/c", "-v --json --config --list -q"]
        {
            assert_eq!(modern_words(&format!("x {options} --list")), format!("x {options} list"));
            assert_eq!(modern_words(&format!("x {options} list --x")), format!("x {options} list --x"));
        }
    }

    fn tip(typed: &str) -> Option<String> {
        let text = best_guess(Cli::command().try_get_matches_from(["x", typed]).unwrap_err()).to_string();
        let tip = text.lines().find(|line| line.contains("tip:"))?;
        assert_eq!(tip.split('\'').count(), 3, "{tip}");
        tip.split('\'').nth(1).map(str::to_owned)
    }

    #[test]
    fn a_mistyped_command_is_guessed() {
        for (typed, guess) in [
            ("strat", "start"),
            ("creat", "create"),
            ("lst", "list"),
            ("rolback", "rollback"),
            ("stauts", "status"),
            ("list-generation", "list-generations"),
            ("delete", "destroy"),
            ("exec", "run"),
        ] {
            assert_eq!(tip(typed).as_deref(), Some(guess), "{typed}");
        }
    }

    #[test]
    fn what_is_no_slip_of_the_finger_is_not_guessed() {
        for typed in ["logs", "rm", "top", "ps", "cp", "x", "web", "nonsense", "xy"] {
            assert_eq!(tip(typed), None, "{typed}");
        }
    }

    #[test]
    fn a_name_is_guessed_where_one_alone_is_near() {
        assert_eq!(nearest("wbe", ["web", "db"]), Some("web"));
        assert_eq!(nearest("databse", ["database", "db"]), Some("database"));
        assert_eq!(nearest("web3", ["web1", "web2"]), None);
        assert_eq!(nearest("a", ["b", "c"]), None);
    }

    #[test]
    fn options_stay_options() {
        for words in [
            "x",
            "x --help",
            "x --version",
            "x --quiet list",
            "x run web --list",
            "x --",
            "x -- --list",
            "x --nonsense",
            "x --nonsense --list",
            "x -z --list",
            "x - --list",
            "x --config --list",
            "x -q web --list",
        ] {
            assert_eq!(modern_words(words), words);
        }
    }
}
