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

/// An error about an unknown command with the two guesses that are nearest, the best first. clap has the best last, of
/// all that are similar in some way.
pub(crate) fn best_guess(mut error: clap::Error) -> clap::Error {
    if let Some(ContextValue::Strings(guesses)) = error.get(ContextKind::SuggestedSubcommand) {
        let best = guesses.iter().rev().take(2).cloned().collect();
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(best));
    }
    error
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

    #[test]
    fn a_mistyped_command_is_guessed() {
        for (typed, guess) in
            [("strat", "start"), ("creat", "create"), ("lst", "list"), ("rolback", "rollback")]
        {
            let error = best_guess(Cli::command().try_get_matches_from(["x", typed]).unwrap_err());
            let text = error.to_string();
            let tip = text.lines().find(|line| line.contains("tip:")).unwrap();
            assert_eq!(tip.split('\'').nth(1), Some(guess), "{tip}");
            assert!(tip.split('\'').count() <= 5, "{tip}");
        }
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
