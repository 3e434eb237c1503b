//! What Nix refuses, as its user reads it: the line that is wrong, without a trace through other people's files.

use crate::harness::{Lab, scenarios};
use crate::mistakes::Transcript;

scenarios! {
    once: [
        root_mistakes_in_nix_syntax_and_names,
        root_mistakes_in_nixos_options,
        root_mistakes_that_authors_foresaw,
        root_mistakes_in_builds,
        root_all_that_nix_says_is_shown_when_asked_for,
    ],
    both: [],
}

/// A container file with these lines in its configuration.
fn with(lines: &str) -> String {
    format!("{{\n  configuration = {{ config, pkgs, lib, ... }}: {{\n{lines}\n  }};\n}}\n")
}

fn pages(lab: &Lab, name: &str, mistakes: &[(&str, String)]) {
    let mut page = Transcript::new(lab);
    for (file, text) in mistakes {
        page.file(&format!("{file}.nix"), text);
        page.types(&format!("create @web {file}.nix"));
    }
    page.page(name);
    lab.assert_nothing_left();
}

fn root_mistakes_in_nix_syntax_and_names(lab: &Lab) {
    pages(
        lab,
        "mistakes_in_nix_syntax_and_names",
        &[
            ("syntax", with("    networking.hostName = \"x\"\n    services = { };")),
            ("unclosed", "{\n  configuration = { ... }: {\n".to_owned()),
            ("undefined", "{\n  configuration = { ... }: {\n    environment.systemPackages = [ pkgs.hello ];\n  };\n}\n".to_owned()),
            ("missing-attribute", with("    environment.systemPackages = [ pkgs.nosuchprogram ];")),
            ("defined-twice", with("    networking.hostName = \"a\";\n    networking.hostName = \"b\";")),
            ("number-and-text", with("    networking.hostName = \"a\" + 1;")),
            ("let-recursion", with("    networking.hostName = let x = x; in x;")),
            ("missing-import", with("    imports = [ ./none.nix ];")),
            ("search-path", with("    imports = [ <mine/web.nix> ];")),
            // The fault is in a file that the container file calls.
            ("helper", "{ port }: { url = \"http://localhost:\" + port; }\n".to_owned()),
            ("caller", with("    networking.hostName = (import ./helper.nix { port = 80; }).url;")),
        ],
    );
}

fn root_mistakes_in_nixos_options(lab: &Lab) {
    pages(
        lab,
        "mistakes_in_nixos_options",
        &[
            ("unknown-option", with("    services.ngnix.enable = true;")),
            ("wrong-type", with("    networking.hostName = 17;")),
            ("host-name-of-the-original", with("    networking.hostName = \"10.101.0.2\";")),
            ("option-recursion", with("    networking.hostName = config.networking.hostName + \"x\";")),
            (
                "conflict",
                with("    imports = [ { networking.hostName = \"a\"; } ];\n    networking.hostName = \"b\";"),
            ),
            ("unknown-key", "{\n  autoStrat = true;\n  configuration = { ... }: { };\n}\n".to_owned()),
            ("key-alone", "{\n  autostart = true;\n  networking.hostName = \"x\";\n}\n".to_owned()),
            ("no-set", "\"hello\"\n".to_owned()),
        ],
    );
}

fn root_mistakes_that_authors_foresaw(lab: &Lab) {
    pages(
        lab,
        "mistakes_that_authors_foresaw",
        &[
            (
                "one-assertion",
                with(
                    "    assertions = [ { assertion = false; message = \"the web server needs a certificate\"; } ];",
                ),
            ),
            (
                "two-assertions",
                with(
                    "    assertions = map (message: { assertion = false; inherit message; }) [ \"one\" \"two\" ];",
                ),
            ),
            ("throw", with("    networking.hostName = throw \"set a host name first\";")),
            (
                "throw-with-escapes",
                with(
                    "    networking.hostName = throw \"clear ${builtins.fromJSON \"\\\"\\\\u001b[2J\\\"\"} the screen\";",
                ),
            ),
            ("assert", with("    networking.hostName = assert 1 == 2; \"x\";")),
            ("abort", with("    networking.hostName = abort \"no way\";")),
        ],
    );
}

fn root_mistakes_in_builds(lab: &Lab) {
    // Their names are in messages, so they are the same in each run; a build that fails is never in the store.
    let fails = |name: &str, script: &str| {
        with(&format!(
            "    environment.etc.x.source = pkgs.runCommand \"{name}\" {{ }} ''\n{script}\n    '';"
        ))
    };
    pages(
        lab,
        "mistakes_in_builds",
        &[
            ("one-line", fails("broken-page", "      echo no such page >&2; exit 3")),
            ("no-words", fails("silent-page", "      exit 1")),
            (
                "long-log",
                fails(
                    "long-page",
                    "      for i in $(seq 100); do echo \"compiling $i\"; done\n      printf '\\033[31mred\\033[0m\\n'; exit 2",
                ),
            ),
            ("no-output", fails("forgetful-page", "      true")),
        ],
    );
}

fn root_all_that_nix_says_is_shown_when_asked_for(lab: &Lab) {
    let page = Transcript::new(lab);
    page.file("bad.nix", &with("    environment.systemPackages = [ pkgs.nosuchprogram ];"));
    let file = lab.path("/files/bad.nix");
    let words = ["create", lab.name("web").as_str(), file.to_str().unwrap()].map(str::to_owned);
    let short = lab.cli(&words);
    let long = lab.cli(words.iter().cloned().chain(["-v".to_owned()]));
    assert_eq!((short.code, long.code), (1, 1));
    assert!(short.stderr.lines().count() < 12 && short.stderr.contains("`-v`"), "{}", short.stderr);
    assert!(long.stderr.contains("while evaluating") && long.stderr.lines().count() > 50, "{}", long.stderr);
    // Traces of this program are another matter.
    assert!(!long.stderr.contains("DEBUG"), "{}", long.stderr);
    lab.assert_nothing_left();
}
