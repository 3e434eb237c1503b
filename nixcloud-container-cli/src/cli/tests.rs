use clap::CommandFactory;
use clap::error::ErrorKind;
use nixcloud_container::User;

use super::*;

fn parse(words: &[&str]) -> Result<Command, clap::Error> {
    Cli::try_parse_from(std::iter::once("nixcloud-container").chain(words.iter().copied()))
        .map(|cli| cli.command)
}

fn run(words: &[&str]) -> RunArgs {
    match parse(words) {
        Ok(Command::Run(args)) => args,
        other => panic!("{words:?} gave {other:?}"),
    }
}

fn nix_args(words: &[&str]) -> Option<Vec<String>> {
    match parse(words) {
        Ok(Command::Update(args)) => args.nix.words(),
        other => panic!("{words:?} gave {other:?}"),
    }
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_has_examples() {
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        let call = format!("nixcloud-container {}", command.get_name());
        assert!(help.contains("Example") && help.contains(&call), "{}", command.get_name());
    }
}

#[test]
fn nothing_is_help_and_usage() {
    let answer = parse(&[]).unwrap_err();
    assert!(answer.use_stderr());
    assert_eq!(answer.exit_code(), 2);
    assert!(answer.to_string().contains("create"));
}

#[test]
fn a_bad_name_is_told_by_its_character() {
    let error = parse(&["start", "we!b"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("`!` at position 3"), "{error}");
    let error = run(&["run", "we!b", "ls"]).target().unwrap_err();
    assert!(error.contains("`!` at position 3"), "{error}");
}

#[test]
fn arguments_for_nix_are_split_as_a_shell_does() {
    let words = ["update", "web", "-n", "-I nixpkgs=/a", "-n", "--argstr who 'the world'", "--nix-args=-v"];
    assert_eq!(nix_args(&words).unwrap(), ["-I", "nixpkgs=/a", "--argstr", "who", "the world", "-v"]);
    assert_eq!(nix_args(&["update", "web"]), None);
    assert_eq!(nix_args(&["update", "web", "-n", ""]), Some(vec![]));
    let error = parse(&["update", "web", "-n", "it's"]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn arguments_for_lxc_are_split_as_a_shell_does_and_may_begin_with_a_hyphen() {
    let words = ["update", "web", "-l", "-s 'lxc.environment=A=b c'", "-l", "-q", "--lxc-args=-o /x"];
    let Ok(Command::Update(args)) = parse(&words) else { panic!() };
    assert_eq!(args.lxc.words().unwrap(), ["-s", "lxc.environment=A=b c", "-q", "-o", "/x"]);
    assert_eq!(args.nix.words(), None);
    for words in [
        &["start", "web", "-l", "-F"][..],
        &["stop", "-l", "-t 10", "web"],
        &["terminate", "-l", "-k", "web"],
        &["restart", "web", "-l-k"],
        &["login", "web", "-l", "-u 5"],
        &["run", "-l", "-u 5", "web", "ls"],
        &["list", "-l", "-f"],
        &["destroy", "web", "-l", "-f"],
        &["create", "web", "x.nix", "-l", ""],
    ] {
        assert!(parse(words).is_ok(), "{words:?}");
    }
    // Behind the name it is the command's own.
    assert_eq!(run(&["run", "web", "ls", "-l"]).session.lxc.words(), None);
    assert_eq!(parse(&["start", "web", "-l", "it's"]).unwrap_err().exit_code(), 2);
}

#[test]
fn what_follows_the_name_is_the_command() {
    let args = run(&["run", "-t", "-u", "1000:100", "-e", "A=b=c", "web", "ls", "--quiet", "-t", "--", "-h"]);
    assert!(args.terminal);
    assert_eq!(args.session.user, Some(User::ids(1000, Some(100))));
    assert_eq!(args.session.variables, [("A".into(), "b=c".into())]);
    let (name, command) = args.target().unwrap();
    assert_eq!(name.as_str(), "web");
    assert_eq!(command, ["ls", "--quiet", "-t", "--", "-h"]);
}

#[test]
fn options_right_behind_the_name_are_the_commands_too() {
    for words in [
        &["run", "web", "--help", "x"][..],
        &["run", "web", "--", "--help", "x"],
        &["run", "--", "web", "--help", "x"],
    ] {
        let args = run(words);
        assert!(!args.terminal);
        assert_eq!(args.target().unwrap().1, ["--help", "x"], "{words:?}");
    }
    assert_eq!(run(&["run", "web", "--", "--", "x"]).target().unwrap().1, ["--", "x"]);
}

#[test]
fn a_run_without_a_command_is_refused() {
    assert_eq!(run(&["run", "web"]).target().unwrap_err(), "no command is given to run in `web`");
    assert!(parse(&["run"]).is_err());
    assert!(run(&["run", "web", "--"]).target().is_err());
}

#[test]
fn users_are_names_and_numbers() {
    let user = |text: &str| run(&["run", "-u", text, "web", "ls"]).session.user;
    assert_eq!(user("7"), Some(User::ids(7, None)));
    assert_eq!(user("alice"), Some(User::named("alice")));
    assert_eq!(user("alice:users"), Some("alice:users".parse().unwrap()));
    for bad in ["4294967295", "", "alice:", ":users", "a b", "+alice", "-1"] {
        let error = parse(&["run", &format!("--user={bad}"), "web", "ls"]).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{bad:?}");
    }
}

#[test]
fn login_has_what_run_has() {
    let words = ["login", "-u", "alice", "-w", "/srv", "-e", "A=b", "-e", "C=", "web"];
    let Ok(Command::Login(args)) = parse(&words) else { panic!("no login") };
    assert_eq!((args.name.as_str(), args.session.user), ("web", Some(User::named("alice"))));
    assert_eq!(args.session.workdir, Some("/srv".into()));
    let pair = |name: &str, value: &str| (name.into(), value.into());
    assert_eq!(args.session.variables, [pair("A", "b"), pair("C", "")]);
    assert!(matches!(parse(&["attach", "web", "-u", "alice"]), Ok(Command::Login(_))));
    assert!(parse(&["login", "web", "ls"]).is_err());
    assert!(parse(&["login", "web", "-e", "=b"]).is_err());
}

#[test]
fn old_names_of_commands_stay() {
    assert!(matches!(parse(&["status", "web"]), Ok(Command::State(_))));
    assert!(matches!(parse(&["attach", "web"]), Ok(Command::Login(_))));
}

#[test]
fn help_is_an_answer() {
    for words in [&["help"][..], &["--help"], &["help", "create"], &["create", "-h"]] {
        let answer = parse(words).unwrap_err();
        assert_eq!(answer.kind(), ErrorKind::DisplayHelp, "{words:?}");
        assert!(!answer.use_stderr());
    }
}

#[test]
fn the_readme_knows_every_command() {
    let readme = include_str!("../../../README.md");
    let (_, commands) = readme.split_once("## Commands").unwrap();
    let (table, _) = commands.split_once("\n## ").unwrap();
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let name = command.get_name();
        assert!(table.contains(&format!("`{name}")), "`{name}` is not in the README's table of commands");
    }
}
