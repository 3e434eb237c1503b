//! The old spellings of the commands: `--list` for `list`, and so on for each of them.

use std::ffi::OsString;

use clap::CommandFactory;

use crate::cli::Cli;

/// The arguments with the command spelled as it is today.
pub(crate) fn modern(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let old = arguments.get(1).and_then(|first| first.to_str()).and_then(|first| first.strip_prefix("--"));
    if let Some(word) = old
        && is_command(word)
    {
        arguments[1] = word.into();
    }
    arguments
}

/// `help` is none: `--help` is an option of its own.
fn is_command(word: &str) -> bool {
    let command = Cli::command();
    command
        .get_subcommands()
        .any(|known| known.get_name() == word || known.get_all_aliases().any(|a| a == word))
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
    fn options_stay_options() {
        for words in
            ["x", "x --help", "x --version", "x --quiet list", "x run web --list", "x --", "x --nonsense"]
        {
            assert_eq!(modern_words(words), words);
        }
    }
}
