//! What the pages show is true: every fenced block of the README and of docs is run or checked, or says why it is not.
//!
//! | language | what is done with it |
//! |---|---|
//! | `console` | played on real guests (`tests/root/pages.rs`), its answers compared |
//! | `nix` | parsed, and quoted from a file in `examples`, each of which is evaluated by tests |
//! | `toml` | read as a host configuration |
//! | `sh` | parsed; that of Install is run by `make install-test` |
//! | `rust` | compiled by the library's doctests |
//! | `json` | parsed |

#![expect(clippy::unwrap_used, reason = "a test program: it fails by panics")]

use std::io::Write;
use std::process::{Command, Stdio};

use nixcloud_container::HostConfig;
use nixcloud_container_tests::pages::{Block, blocks, root};

fn of(language: &str) -> Vec<Block> {
    blocks().unwrap().into_iter().filter(|block| block.language == language).collect()
}

/// What a program says about a text on its stdin, where it does not take it.
fn refused(program: &str, arguments: &[&str], text: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_block_is_of_a_kind_that_something_looks_at() {
    let all = blocks().unwrap();
    assert!(all.len() >= 15, "{} blocks", all.len());
    for block in &all {
        let known = ["console", "nix", "toml", "sh", "rust", "rust,no_run", "json"];
        assert!(
            known.contains(&block.language.as_str()),
            "{}: nothing looks at a block of `{}`; known are {}",
            block.place(),
            block.language,
            known.join(", ")
        );
        assert!(
            block.not_run.as_ref().is_none_or(|why| why.len() > 10),
            "{}: not run, but why?",
            block.place()
        );
    }
}

/// Every key is there, and has the value that is its default.
#[test]
fn the_host_configuration_that_is_shown_is_the_default() {
    let readme = of("toml").into_iter().filter(|block| block.page == "README.md");
    let shown: String = readme.map(|block| block.text).collect();
    let read = HostConfig::from_toml(&shown).unwrap();
    assert_eq!(read, HostConfig::default());
    // Keys without a default are shown as comments: with those, all that there is.
    let all = toml::to_string(&HostConfig::default()).unwrap();
    for key in all.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key) {
        assert!(shown.contains(&format!("{key} =")), "{key} is not shown");
    }
}

#[test]
fn host_configurations_can_be_read() {
    for block in of("toml") {
        HostConfig::from_toml(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.place()));
    }
}

#[test]
fn shell_can_be_parsed_and_its_targets_exist() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let blocks = of("sh");
    for block in &blocks {
        if let Some(why) = refused("sh", &["-n"], &block.text) {
            panic!("{}: {why}", block.place());
        }
        for target in block.text.lines().filter_map(|line| line.strip_prefix("make ")) {
            let target = target.split_whitespace().next().unwrap();
            assert!(makefile.contains(&format!("\n{target}:")), "{}: make {target}", block.place());
        }
    }
    // What make install-test takes out of the README by these words.
    let install = |start: &str| {
        blocks
            .iter()
            .any(|block| block.not_run.is_none() && block.text.lines().any(|line| line.starts_with(start)))
    };
    for start in
        ["apt-get install", "make build", "make install", "nixcloud-container host check", "make uninstall"]
    {
        assert!(install(start), "{start}");
    }
}

#[test]
fn json_can_be_parsed() {
    for block in of("json") {
        let read: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
        read.unwrap_or_else(|error| panic!("{}: {error}", block.place()));
    }
}

/// As a whole file, or as a part of a set.
#[test]
fn nix_can_be_parsed() {
    for block in of("nix") {
        let parse = |text: &str| refused("nix-instantiate", &["--parse", "-"], text);
        if let Some(why) = parse(&block.text)
            && parse(&format!("{{\n{}}}\n", block.text)).is_some()
        {
            panic!("{}: {why}", block.place());
        }
    }
}

/// What is shown of Nix is of a file in `examples`, each of which is evaluated by tests: as a whole, or paragraph by
/// paragraph inside of what makes a file of it.
#[test]
fn the_nix_that_is_shown_is_quoted_from_examples() {
    let files = ["examples", "examples/flake"].into_iter().flat_map(|folder| {
        std::fs::read_dir(root().join(folder)).unwrap().flatten().map(|entry| entry.path())
    });
    let examples: Vec<String> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "nix"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let quoted = |text: &str| examples.iter().any(|example| example.contains(text));
    for (page, least) in [("README.md", 3), ("docs/nixos.md", 5)] {
        let blocks: Vec<Block> = of("nix").into_iter().filter(|block| block.page == page).collect();
        assert!(blocks.len() >= least, "{page}: {} blocks of Nix only", blocks.len());
    }
    for block in of("nix") {
        if quoted(&block.text) {
            continue;
        }
        for paragraph in block.text.split("\n\n") {
            let paragraph = paragraph.trim_end().trim_end_matches("\n}").trim_end();
            let frame = paragraph == "{ ... }:" || paragraph.contains("imports = [");
            assert!(frame || quoted(paragraph), "{}: not in examples:\n{paragraph}", block.place());
        }
    }
}

/// Of the README alone: the library's doctests are made of it.
#[test]
fn rust_is_compiled() {
    let library = std::fs::read_to_string(root().join("nixcloud-container/src/lib.rs")).unwrap();
    assert!(library.contains("#[doc = include_str!(\"../../README.md\")]"));
    let blocks: Vec<Block> =
        blocks().unwrap().into_iter().filter(|block| block.language.starts_with("rust")).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        assert_eq!(block.page, "README.md", "{}: no doctest compiles it", block.place());
        assert!(block.not_run.is_none(), "{}", block.place());
    }
}
