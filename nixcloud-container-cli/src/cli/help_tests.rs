//! What help says, at a width of 80 columns. After a change: `INSTA_UPDATE=always cargo test -p nixcloud-container-cli`.

use clap::Command;

use super::groups::GROUPS;
use super::*;
use crate::screen::wrap;

/// All commands as they are typed, the program itself first.
fn calls() -> Vec<Vec<String>> {
    fn collect(command: &Command, call: &[String], calls: &mut Vec<Vec<String>>) {
        calls.push(call.to_vec());
        for command in command.get_subcommands() {
            collect(command, &[call, &[command.get_name().to_owned()]].concat(), calls);
        }
    }
    let mut calls = Vec::new();
    collect(&Cli::grammar(80), &[], &mut calls);
    calls
}

/// What the program prints for `words` on a terminal of 80 columns.
fn printed(words: &[&str]) -> String {
    printed_in(80, words)
}

fn printed_in(columns: usize, words: &[&str]) -> String {
    let words = std::iter::once("nixcloud-container").chain(words.iter().copied());
    let answer = Cli::grammar(columns).try_get_matches_from(words).unwrap_err();
    // Blank lines between paragraphs of options have blanks.
    wrap::page(&answer.to_string(), columns).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

fn with<'a>(call: &'a [String], before: &[&'a str], behind: &[&'a str]) -> Vec<&'a str> {
    before.iter().copied().chain(call.iter().map(String::as_str)).chain(behind.iter().copied()).collect()
}

#[test]
fn help_of_every_command() {
    for call in calls() {
        let short = printed(&with(&call, &[], &["-h"]));
        let long = printed(&with(&call, &[], &["--help"]));
        let name = if call.is_empty() { "help".to_owned() } else { format!("help_{}", call.join("_")) };
        insta::assert_snapshot!(name, format!("{short}\n\n{}\n\n{long}", "=".repeat(80)));
    }
}

#[test]
fn help_of_a_command_is_its_long_help() {
    for call in calls() {
        assert_eq!(
            printed(&with(&call, &["help"], &[])),
            printed(&with(&call, &[], &["--help"])),
            "{call:?}"
        );
    }
}

#[test]
fn old_names_of_commands_have_help() {
    assert_eq!(printed(&["help", "attach"]), printed(&["help", "login"]));
    assert_eq!(printed(&["status", "-h"]), printed(&["state", "-h"]));
}

#[test]
fn help_fits_a_terminal() {
    for call in calls() {
        for option in ["-h", "--help"] {
            let text = printed(&with(&call, &[], &[option]));
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{call:?} {option}: {line}");
            }
        }
    }
}

/// Lines of examples may be wrapped, but no word is broken, and none of ours is wider than the terminal.
#[test]
fn help_fits_a_narrow_terminal() {
    for call in calls() {
        for option in ["-h", "--help"] {
            let call = with(&call, &[], &[option]);
            let (wide, narrow) = (printed(&call), printed_in(40, &call));
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&wide), words(&narrow), "{call:?}");
            for line in narrow.lines() {
                let long_word = line.split_whitespace().any(|word| word.chars().count() > 20);
                assert!(line.chars().count() <= 40 || long_word, "{call:?}: {line}");
            }
        }
    }
}

#[test]
fn each_command_has_a_word_in_the_short_help() {
    for text in [printed(&["-h"]), printed(&[])] {
        let grammar = Cli::grammar(80);
        for command in grammar.get_subcommands().filter(|command| command.get_name() != "help") {
            let about = command.get_about().unwrap().to_string();
            let name = command.get_name();
            assert!(
                text.lines().any(|line| line.trim_start().starts_with(name) && line.ends_with(&about)),
                "{name}"
            );
        }
    }
}

/// They are wrapped where they are shown; a line that ends in the middle of a sentence would be cut in two.
#[test]
fn paragraphs_are_lines() {
    for call in calls() {
        let mut grammar = Cli::grammar(80);
        let command =
            call.iter().fold(&mut grammar, |command, word| command.find_subcommand_mut(word).unwrap());
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let prose = |line: &str| !line.is_empty() && !line.starts_with("  ");
        for (line, next) in text.lines().zip(text.lines().skip(1)) {
            assert!(!(prose(line) && prose(next)), "{call:?}: `\\` is missing behind: {line}");
        }
    }
}

/// Lines of examples are not wrapped, and stand 7 columns further to the right in a manual page.
#[test]
fn examples_fit_a_line() {
    for call in calls() {
        let mut grammar = Cli::grammar(80);
        let command =
            call.iter().fold(&mut grammar, |command, word| command.find_subcommand_mut(word).unwrap());
        let text = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for line in text.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.chars().count() <= 75, "{call:?}: {line}");
        }
    }
}

#[test]
fn every_command_is_in_one_group() {
    let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    grouped.sort_unstable();
    let grammar = Cli::grammar(80);
    let mut there: Vec<&str> =
        grammar.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name).collect();
    there.sort_unstable();
    assert_eq!(grouped, there);
}
