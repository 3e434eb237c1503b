//! What the README shows is true.

use nixcloud_container::HostConfig;

const README: &str = include_str!("../README.md");

/// The blocks of the README in one language.
fn blocks(language: &str) -> Vec<String> {
    blocks_of(README, language)
}

fn blocks_of(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).filter_map(|rest| rest.split("```").next().map(str::to_owned)).collect()
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

/// What is shown of Nix is a part of a file in `examples`, each of which is evaluated by tests.
#[test]
fn the_nix_that_is_shown_is_quoted_from_examples() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let files = ["examples", "examples/flake"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).unwrap().flatten().map(|entry| entry.path()));
    let examples: Vec<String> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "nix"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for (page, least) in [("README.md", 2), ("docs/nixos.md", 5)] {
        let blocks = blocks_of(&std::fs::read_to_string(root.join(page)).unwrap(), "nix");
        assert!(blocks.len() >= least, "{page}: {} blocks of Nix only", blocks.len());
        for block in blocks {
            assert!(
                examples.iter().any(|example| example.contains(&block)),
                "{page}: not in examples:\n{block}"
            );
        }
    }
}
