//! What the README shows is true.

use nixcloud_container::HostConfig;

const README: &str = include_str!("../README.md");

/// The blocks of the README in one language.
fn blocks(language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    README.split(&fence).skip(1).filter_map(|rest| rest.split("```").next().map(str::to_owned)).collect()
}

/// Every key is there, and has the value that is its default.
#[test]
fn the_host_configuration_that_is_shown_is_the_default() {
    let shown = blocks("toml").concat();
    let read = HostConfig::from_toml(&shown).unwrap();
    assert_eq!(read, HostConfig::default());
    // Keys without a default are shown as comments: with those, all that there is.
    let all = toml::to_string(&HostConfig::default()).unwrap();
    for key in all.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
        assert!(shown.contains(&format!("{key} =")), "{key} is not shown");
    }
}

#[test]
fn the_commands_that_are_shown_exist() {
    let makefile = include_str!("../Makefile");
    for target in blocks("sh").concat().lines().filter_map(|line| line.strip_prefix("make ")) {
        let target = target.split_whitespace().next().unwrap();
        assert!(makefile.contains(&format!("\n{target}:")), "make {target}");
    }
}
