//! The Nix driver against the Nix that is installed, without network.
//!
//! Each test writes an expression of raw derivations whose builder is `/bin/sh`. Those that build
//! want a name that is new to the store each time, so the process and the time are in it. What
//! they root is removed again; the store paths are left to the next collection.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod bench;
mod ending;
mod profiles;

use std::fs;
use std::path::Path;

use nixcloud_container::nix::{
    ArgumentError, Error, Mode, Nix, Program, SearchPath, StorePath, UserArgs, Version, argv,
};
use nixcloud_container::observe::{Cancel, Event};
use serde_json::json;

use crate::bench::Bench;

#[test]
fn nix_says_its_version() {
    let version = Bench::new().nix.version(&Cancel::new()).unwrap();
    assert!(version >= Version { major: 2, minor: 8, patch: 0 }, "{version}");
}

#[test]
fn nix_evaluates_with_the_request_and_writes_the_derivation() {
    let bench = Bench::new();
    let answer = bench.evaluate(r#"answer (mk "plain" "echo > $out")"#).unwrap();
    assert_eq!(Path::new(&answer.request), bench.path("request.json"));
    assert_eq!(answer.drv.name(), "plain.drv");
    assert!(answer.drv.as_path().exists());
}

#[test]
fn nix_prefers_the_users_search_path() {
    let bench = Bench::new();
    let file = bench.write("which.nix", "{ request }: import <n>");
    let (mine, hosts) = (bench.write("mine.nix", "1"), bench.write("hosts.nix", "2"));
    let evaluate = |user: &[&str]| -> u32 {
        let user = UserArgs::parse(user).unwrap();
        let search = SearchPath::new().with("n", &hosts);
        bench.nix.evaluate(&file, &mine, &search, &user, Mode::default(), &mut (), &Cancel::new()).unwrap()
    };
    assert_eq!(evaluate(&["-I", &format!("n={}", mine.display()), "-j2", "--keep-going"]), 1);
    assert_eq!(evaluate(&[]), 2);
}

#[test]
fn nix_evaluation_errors_have_message_place_and_trace() {
    let bench = Bench::new();
    let users = bench.path("users");
    fs::create_dir(&users).unwrap();
    let file = users.join("container.nix");
    fs::write(&file, "{ }:\n{\n  a = (x: x.missing) { };\n}\n").unwrap();
    let error = bench.evaluate(&format!("import {} {{ }}", file.display())).unwrap_err();
    let Error::Evaluation { message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(message, "attribute 'missing' missing");
    assert_eq!(error.to_string(), "evaluation failed: attribute 'missing' missing");
    assert_eq!(error.position().map(ToString::to_string), Some(format!("{}:3:11", file.display())));
    let details = error.details().unwrap();
    assert!(
        details.contains("attribute 'missing' missing") && details.contains("container.nix:3:11"),
        "{details}"
    );
    assert!(!details.contains('\u{1b}'), "{details}");
}

#[test]
fn nix_a_throw_has_the_place_of_its_caller_and_syntax_errors_have_theirs() {
    let bench = Bench::new();
    let file = bench.write("thrower.nix", "{ }:\nlet g = x:\n  throw \"boom ${x}\";\nin g \"here\"\n");
    let error = bench.evaluate(&format!("import {} {{ }}", file.display())).unwrap_err();
    assert_eq!(error.to_string(), "evaluation failed: boom here");
    assert!(error.position().is_some_and(|position| position.file == file), "{error:?}");

    fs::write(&file, "{ }:\n{ a = ; }\n").unwrap();
    let error = bench.evaluate(&format!("import {} {{ }}", file.display())).unwrap_err();
    assert!(error.to_string().contains("syntax error"), "{error}");
    assert_eq!(error.position().map(|position| position.line), Some(2));
}

#[test]
fn nix_an_answer_of_another_shape_is_told_from_a_failure() {
    let bench = Bench::new();
    assert!(matches!(bench.evaluate("{ }").unwrap_err(), Error::Unreadable { .. }));
    // Here half of the JSON is printed before the error.
    assert!(matches!(bench.evaluate("{ drv = throw \"x\"; }").unwrap_err(), Error::Evaluation { .. }));
}

#[test]
fn root_build_reports_its_progress() {
    let bench = Bench::new();
    let answer = bench
        .evaluate(
            r#"let one = mk "dep-one" "echo from one; echo > $out";
               in answer (mk "top-two" "echo from two; read l < ${one}; echo > $out")"#,
        )
        .unwrap();
    let (out, events) = bench.realise(&answer.drv, "root");
    assert_eq!(out.unwrap().name(), "top-two");
    let at = |word: &str, fields: serde_json::Value| {
        // As programs store it: from outside no event with fields can be made, since these may become more.
        let wanted: Event = serde_json::from_value(json!({ word: fields })).unwrap();
        events
            .iter()
            .position(|event| *event == wanted)
            .unwrap_or_else(|| panic!("no {wanted:?} in {events:?}"))
    };
    let (one, two) = (|| "dep-one".to_owned(), || "top-two".to_owned());
    let order = [
        at("build_started", json!({ "name": one() })),
        at("build_log", json!({ "name": one(), "line": "from one" })),
        at("build_count", json!({ "done": 1, "expected": 2 })),
        at("build_finished", json!({ "name": one() })),
        at("build_started", json!({ "name": two() })),
        at("build_log", json!({ "name": two(), "line": "from two" })),
        at("build_count", json!({ "done": 2, "expected": 2 })),
        at("build_finished", json!({ "name": two() })),
    ];
    assert!(order.is_sorted(), "{events:?}");

    let (again, events) = bench.realise(&answer.drv, "root");
    assert_eq!(again.unwrap().name(), "top-two");
    assert!(!events.iter().any(|event| matches!(event, Event::BuildStarted { .. })), "{events:?}");
}

#[test]
fn root_build_failure_has_the_end_of_its_log() {
    let bench = Bench::new();
    let answer = bench
        .evaluate(
            r#"let bad = mk "dep-bad" "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; exit 3";
               in answer (mk "top-bad" "read l < ${bad}; echo > $out")"#,
        )
        .unwrap();
    let error = bench.realise(&answer.drv, "root").0.unwrap_err();
    let Error::Build { name, derivation, log_tail, .. } = &error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), derivation.name()), ("dep-bad", "dep-bad.drv"));
    assert_eq!(log_tail.len(), 20);
    assert_eq!(log_tail.last().map(String::as_str), Some("line 29"));
    assert!(error.to_string().starts_with("cannot build dep-bad: "), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains(derivation.as_str())));
    let details = error.details().unwrap();
    assert!(details.contains("top-bad") && details.contains("> line 29"), "{details}");
    assert!(!bench.path("root").exists());
}

#[test]
fn root_import_of_a_failing_build_is_a_build_error() {
    let error = Bench::new().evaluate(r#"import (mk "imported" "echo why; exit 1")"#).unwrap_err();
    let Error::Build { name, log_tail, .. } = &error else { panic!("{error:?}") };
    assert_eq!((name.as_str(), log_tail.as_slice()), ("imported", &["why".to_owned()][..]));
}

#[test]
fn root_build_for_another_machine_names_its_derivation() {
    let bench = Bench::new();
    let answer = bench
        .evaluate(r#"answer (derivation { name = "foreign"; system = "no-machine"; builder = "/bin/sh"; })"#)
        .unwrap();
    let error = bench.realise(&answer.drv, "root").0.unwrap_err();
    let Error::Build { name, message, .. } = &error else { panic!("{error:?}") };
    assert_eq!(name, "foreign");
    assert!(message.contains("no-machine"), "{message}");
}

#[test]
fn root_what_is_not_in_the_store_is_told_so() {
    let bench = Bench::new();
    let missing = |name: &str| -> StorePath {
        format!("/nix/store/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-{name}").parse().unwrap()
    };
    let error = bench.realise(&missing("gone.drv"), "root").0.unwrap_err();
    assert!(matches!(&error, Error::NotInStore { path, .. } if *path == missing("gone.drv")), "{error:?}");
    let error = bench.nix.set_profile(&bench.path("profile"), &missing("gone"), &Cancel::new()).unwrap_err();
    assert!(matches!(&error, Error::NotInStore { path, .. } if *path == missing("gone")), "{error:?}");
    assert!(fs::symlink_metadata(bench.path("profile")).is_err());
}

#[test]
fn nix_missing_programs_are_named() {
    let nix = Nix::new().with_program(Program::NixInstantiate, "/nowhere/nix-instantiate");
    let error = nix.version(&Cancel::new()).unwrap_err();
    assert_eq!(error.to_string(), "cannot find `/nowhere/nix-instantiate`");
    assert!(error.hint().is_some());
    let nix = Nix::new().with_env("PATH", "/nowhere");
    assert!(matches!(nix.version(&Cancel::new()), Err(Error::Missing { .. })));
}

#[test]
fn nix_arguments_that_break_it_never_reach_it() {
    let error = Error::from(UserArgs::parse(&["--xml"]).unwrap_err());
    assert!(error.to_string().contains("`--xml`"), "{error}");
    assert!(matches!(
        argv::set_profile(Path::new("p"), &format!("/nix/store/{}-x", "a".repeat(32)).parse().unwrap()),
        Err(ArgumentError::NotAbsolute { .. })
    ));
}

/// Flags that this Nix accepts are accepted where they are passed: both programs must know each.
#[test]
fn root_flags_that_pass_are_known_to_nix() {
    let bench = Bench::new();
    let expression = bench.write(
        "flags.nix",
        r#"{ request, ... }: (derivation { name = "flags"; system = builtins.currentSystem; builder = "/bin/sh";
           args = [ "-c" "echo > $out" ]; }).drvPath"#,
    );
    let user = UserArgs::parse(&[
        "-I",
        "a=/b",
        "--arg",
        "a",
        "1",
        "--argstr",
        "b",
        "2",
        "--impure",
        "-kKj1",
        "--quiet",
        "--cores",
        "1",
        "--max-silent-time",
        "100",
        "--timeout",
        "100",
        "--builders",
        "",
        "--option",
        "fallback",
        "false",
        "--no-substitute",
        "--show-trace",
        "--system",
        "x86_64-linux",
        "--extra-experimental-features",
        "flakes",
        "--log-lines",
        "5",
        "--tarball-ttl",
        "5",
        "--extra-sandbox-paths",
        "/x",
        "--extra-substituters",
        "",
    ])
    .unwrap();
    let (search, cancel) = (SearchPath::new(), Cancel::new());
    let drv: StorePath = bench
        .nix
        .evaluate(&expression, &expression, &search, &user, Mode::default(), &mut (), &cancel)
        .unwrap();
    bench.nix.realise(&drv, &bench.path("root"), &user, &mut (), &cancel).unwrap();
}
