use super::*;

/// The values that are offered for the words behind the program's name.
fn offered(words: &[&str]) -> Vec<String> {
    let words = ["nixcloud-container"].iter().chain(words).map(|&word| word.to_owned()).collect();
    let reply = reply(Shell::Zsh, words);
    reply.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

fn asked(words: &[&str]) -> Option<String> {
    answer(words.iter().map(OsString::from))
}

#[test]
fn only_a_question_is_answered() {
    assert_eq!(asked(&["x", "list"]), None);
    assert_eq!(asked(&["x"]), None);
    assert_eq!(asked(&["x", "run", "web", "__complete"]), None);
    for nothing in
        [&["x", "__complete"][..], &["x", "__complete", "tcsh", "x", ""], &["x", "__complete", "bash"]]
    {
        assert_eq!(asked(nothing), Some(String::new()), "{nothing:?}");
    }
    assert_eq!(asked(&["x", "__complete", "zsh"]), Some("words\n".into()));
    assert_eq!(asked(&["x", "__complete", "zsh", "x"]), Some("words\n".into()));
}

#[test]
fn commands_are_offered_by_their_names() {
    assert_eq!(offered(&["lo"]), ["login"]);
    assert_eq!(offered(&["att"]), ["attach"]);
    assert_eq!(offered(&["sta"]), ["start", "state"]);
    assert_eq!(offered(&["host", "u"]), ["up"]);
    assert_eq!(offered(&["help", "swi"]), ["switch-generation"]);
    assert_eq!(offered(&["man", "host", ""]), ["up", "down", "check"]);
    assert_eq!(offered(&["completions", ""]), ["bash", "zsh", "fish"]);
    let all = offered(&[""]);
    assert!(all.len() > 20 && all.contains(&"login".to_owned()), "{all:?}");
    assert!(!all.iter().any(|word| word.starts_with('-') || word == WORD), "{all:?}");
}

#[test]
fn options_are_offered_to_who_begins_one() {
    assert_eq!(offered(&["start", "--qu"]), ["--quiet"]);
    assert_eq!(offered(&["--list", "--wa"]), ["--watch"]);
    assert!(offered(&["run", "-w", "/", "x", "--"]).is_empty(), "those are the command's");
    assert!(offered(&["list", ""]).is_empty());
}

#[test]
fn words_that_delete_generations_are_offered_alone() {
    assert_eq!(offered(&["delete-generations", "x", ""]), ["old", "30d", "+5"]);
    assert_eq!(offered(&["delete-generations", "x", "o"]), ["old"]);
    assert!(offered(&["delete-generations", "x", "3", ""]).is_empty());
    assert!(offered(&["delete-generations", "x", "old", ""]).is_empty());
}

/// The tests run in the folder of their crate.
#[test]
fn container_files_and_the_way_to_them_are_offered() {
    assert_eq!(offered(&["create", "x", "../examples/ba"]), ["../examples/basic.nix"]);
    assert_eq!(offered(&["update", "x", "../nix/con"]), ["../nix/containers.nix"]);
    assert_eq!(offered(&["create", "x", "../exam"]), ["../examples/"]);
    assert_eq!(offered(&["create", "x", "../tests/nixp"]), ["../tests/nixpkgs/"]);
    assert!(offered(&["create", "x", "../READ"]).is_empty());
    assert_eq!(offered(&["--config", "Car"]), ["Cargo.toml"]);
    assert_eq!(offered(&["--config=Car"]), ["--config=Cargo.toml"]);
    assert!(offered(&["run", "-w", "sr"]).is_empty(), "a folder of the guest");
}

#[test]
fn bash_is_told_what_it_replaces() {
    let breaks = " \t\n\"'><=;|&(:";
    let asked = |line: &str| reply(Shell::Bash, vec![line.to_owned(), breaks.to_owned()]);
    assert_eq!(asked("nixcloud-container --config=Car"), "files\nCargo.toml\n");
    assert_eq!(asked("sudo -E /usr/bin/nixcloud-container lo"), "words\nlogin\n");
    assert_eq!(asked("nixcloud-container create x \"../exam"), "files\n../examples/\n");
}

/// Whatever is typed, a question is no failure.
#[test]
fn nonsense_is_answered() {
    for words in [
        &["start", "--config"][..],
        &["start", "--config", ""],
        &["--config=/nonexistent", "start", ""],
        &["nonsense", ""],
        &["run", "--", "--", "-"],
        &["-", ""],
        &["--", "--", ""],
        &["start", "we!b", "-"],
        &["-qqqq", "-vvv", "--", "--list", ""],
        &["delete-generations", "", ""],
        &["create", "x", "/root/\u{1}/\u{7f}"],
        &["help", "help", "help", ""],
        &["--list=3", "-"],
        &["-n", "\"", ""],
    ] {
        for word in offered(words) {
            assert!(!word.is_empty(), "{words:?}");
        }
    }
}
