//! The log parser, fed with lines that Nix 2.8 printed and the shapes of later ones.

use super::*;

const ONE: &str = "/nix/store/686gsw3grf0iyd50aj0q5yi4q49gizax-dep-one.drv";
const TWO: &str = "/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-top-two.drv";

fn read(lines: &[String]) -> (Log, Vec<Event>) {
    let mut events = Vec::new();
    let mut log = Log::default();
    for line in lines {
        log.line(line.as_bytes(), &mut |event| events.push(event));
    }
    (log, events)
}

fn nix(json: &str) -> String {
    format!("@nix {json}")
}

fn start(id: u64, kind: u64, fields: &str) -> String {
    nix(&format!(r#"{{"action":"start","id":{id},"level":3,"text":"","type":{kind},"fields":[{fields}]}}"#))
}

fn stop(id: u64) -> String {
    nix(&format!(r#"{{"action":"stop","id":{id}}}"#))
}

fn result(id: u64, kind: u64, fields: &str) -> String {
    nix(&format!(r#"{{"action":"result","fields":[{fields}],"id":{id},"type":{kind}}}"#))
}

fn error(text: &str) -> String {
    nix(&format!(
        r#"{{"action":"msg","column":null,"file":null,"level":0,"line":null,"msg":"\u001b[31;1merror:\u001b[0m {text}","raw_msg":"{text}"}}"#
    ))
}

#[test]
fn a_build_from_start_to_end() {
    let (log, events) = read(&[
        start(1, 102, ""),
        start(2, 104, ""),
        result(2, 105, "0,2,0,0"),
        result(1, 106, "101,0"),
        start(3, 105, &format!(r#""{ONE}","",1,1"#)),
        result(2, 105, "0,2,1,0"),
        result(3, 101, r#""hello \u001b[1mfrom\u001b[0m one""#),
        result(2, 105, "1,2,0,0"),
        stop(3),
        stop(2),
    ]);
    let name = || "dep-one".to_owned();
    assert_eq!(
        events,
        [
            Event::BuildCount { done: 0, expected: 2 },
            Event::BuildStarted { name: name() },
            Event::BuildLog { name: name(), line: "hello from one".into() },
            Event::BuildCount { done: 1, expected: 2 },
            Event::BuildFinished { name: name() },
        ]
    );
    assert!(log.errors().is_empty() && log.failed_build().is_none());
}

#[test]
fn bytes_of_downloads() {
    let (_, events) = read(&[
        start(1, 102, ""),
        result(1, 106, "101,1000"),
        start(2, 101, r#""https://cache/x.nar""#),
        result(2, 105, "10,400,0,0"),
        result(2, 105, "400,400,0,0"),
        stop(2),
        start(3, 101, r#""https://cache/y.nar""#),
        result(3, 105, "0,0,0,0"),
        result(3, 105, "700,700,0,0"),
        start(4, 100, r#""/nix/store/x""#),
        result(4, 105, "5,9,0,0"),
    ]);
    let count = |done, expected| Event::DownloadCount { done, expected };
    assert_eq!(events, [count(0, 1000), count(10, 1000), count(400, 1000), count(1100, 1100)]);
}

#[test]
fn copies_count_where_nothing_is_downloaded() {
    let (_, events) = read(&[start(4, 100, r#""/nix/store/x""#), result(4, 105, "5,9,0,0")]);
    assert_eq!(events, [Event::DownloadCount { done: 5, expected: 9 }]);
}

#[test]
fn messages_and_plain_lines() {
    let (log, events) = read(&[
        nix(r#"{"action":"msg","level":0,"msg":"trace: hello"}"#),
        nix(r#"{"action":"msg","level":0,"msg":"trace: warning: old option"}"#),
        nix(r#"{"action":"msg","level":1,"msg":"\u001b[35;1mwarning:\u001b[0m odd"}"#),
        nix(
            r#"{"action":"msg","level":1,"msg":"error: SQLite database '/nix/var/nix/db/db.sqlite' is busy"}"#,
        ),
        nix(r#"{"action":"msg","level":3,"msg":"this derivation will be built:"}"#),
        nix(r#"{"action":"msg","level":4,"msg":"asked for by -v"}"#),
        nix(r#"{"action":"setPhase"}"#),
        "plain".into(),
        "warning: plain".into(),
        String::new(),
        "@nix {broken".into(),
        "error: stack overflow (possible infinite recursion)".into(),
    ]);
    let message = |warning, text: &str| Event::NixMessage { warning, text: text.into() };
    assert_eq!(
        events,
        [
            message(false, "trace: hello"),
            message(true, "trace: warning: old option"),
            message(true, "warning: odd"),
            message(false, "error: SQLite database '/nix/var/nix/db/db.sqlite' is busy"),
            message(false, "asked for by -v"),
            message(false, "plain"),
            message(true, "warning: plain"),
            message(false, "@nix {broken"),
        ]
    );
    assert_eq!(log.errors()[0].message, "stack overflow (possible infinite recursion)");
}

#[test]
fn the_build_that_failed_and_the_end_of_its_log() {
    let mut lines =
        vec![start(1, 105, &format!(r#""{ONE}","",1,1"#)), start(2, 105, &format!(r#""{TWO}","",1,1"#))];
    lines.extend((0..30).map(|n| result(1, 101, &format!(r#""line {n}""#))));
    lines.push(result(2, 101, r#""another build""#));
    // Nix 2.8 reports before the activity ends, later ones after.
    lines.push(stop(1));
    lines.push(error(&format!("1 dependencies of derivation '{TWO}x' failed to build")));
    lines.push(error(&format!(r"builder for '\u001b[35;1m{ONE}\u001b[0m' failed with exit code 3")));
    let (log, _) = read(&lines);
    let failed = log.failed_build().unwrap();
    assert_eq!(failed.derivation.as_str(), ONE);
    assert_eq!(failed.message, format!("builder for '{ONE}' failed with exit code 3"));
    assert_eq!(failed.log_tail.len(), KEPT_LOG_LINES);
    assert_eq!(failed.log_tail.last().map(String::as_str), Some("line 29"));
}

#[test]
fn the_log_that_later_versions_put_into_the_message_is_left_out() {
    let reason = |text: &str| read(&[error(text)]).0.failed_build().unwrap().message;
    assert_eq!(
        reason(&format!(
            r"builder for '{ONE}' failed with exit code 1;\nlast 1 log lines:\n> x\nFor full logs, run:"
        )),
        format!("builder for '{ONE}' failed with exit code 1")
    );
    assert_eq!(
        reason(&format!(
            r"Cannot build '{ONE}'.\nReason: builder failed.\nOutput paths:\n  x\nLast 1 log lines:\n> x"
        )),
        format!("Cannot build '{ONE}'.\nReason: builder failed.")
    );
}

#[test]
fn failures_without_a_run_and_paths_that_are_gone() {
    let (log, _) = read(&[error(&format!("a 'x' with features {{}} is required to build '{ONE}'"))]);
    let failed = log.failed_build().unwrap();
    assert_eq!((failed.derivation.as_str(), failed.log_tail.len()), (ONE, 0));
    assert!(log.missing_path().is_none());
    let (log, _) = read(&[error(&format!("cannot build missing derivation '{ONE}'"))]);
    assert_eq!(log.missing_path().unwrap().as_str(), ONE);
    let (log, _) = read(&[error(&format!("path '{TWO}' is not valid"))]);
    assert_eq!(log.missing_path().unwrap().as_str(), TWO);
    let (log, _) = read(&[error("the value 'x' is not valid")]);
    assert!(log.missing_path().is_none());
}

#[test]
fn places_of_an_evaluation_error() {
    let line = nix(
        r#"{"action":"msg","column":12,"file":"/c/a.nix","level":0,"line":2,"msg":"error: attribute 'm' missing\n\n       at /c/a.nix:2:12:\n","raw_msg":"attribute 'm' missing","trace":[{"column":9,"file":"/c/b.nix","line":4,"raw_msg":"x"},{"raw_msg":"from call site"},{"file":"(string)","line":1,"column":1,"raw_msg":"y"}]}"#,
    );
    let (log, events) = read(&[line]);
    assert!(events.is_empty());
    let error = &log.errors()[0];
    assert_eq!(error.message, "attribute 'm' missing");
    let places: Vec<_> = error.positions.iter().map(ToString::to_string).collect();
    assert_eq!(places, ["/c/a.nix:2:12", "/c/b.nix:4:9"]);
}

#[test]
fn the_place_of_a_syntax_error_is_told_once() {
    // As Nix 2.26 says it: the file's name ends with the place.
    let line = nix(
        r#"{"action":"msg","column":2,"file":"/c/bad.nix:2:2","level":0,"line":2,"msg":"error:\n       … while calling the 'import' builtin\n         at «string»:1:1:\n            1| import /c/bad.nix\n             | ^\n\n       error: syntax error, unexpected '}', expecting end of file\n       at /c/bad.nix:2:2:\n            1| {\n            2| }}\n             |  ^\n            3|","raw_msg":"syntax error, unexpected '}', expecting end of file"}"#,
    );
    // A file that is called so stays what it is.
    let odd = nix(
        r#"{"action":"msg","column":5,"file":"/c/x:2:2","level":0,"line":3,"msg":"error: no","raw_msg":"no"}"#,
    );
    let (log, _) = read(&[line, odd]);
    let places: Vec<_> =
        log.errors().iter().flat_map(|error| &error.positions).map(ToString::to_string).collect();
    assert_eq!(places, ["/c/bad.nix:2:2", "/c/x:2:2:3:5"]);
}

#[test]
fn memory_has_bounds() {
    let mut lines = Vec::new();
    for id in 0..500 {
        lines.push(start(id, 105, &format!(r#""{ONE}","",1,1"#)));
        lines.push(error("again"));
        lines.push("ä".repeat(10_000));
        lines.push(stop(id));
    }
    let (log, _) = read(&lines);
    assert_eq!((log.ended.len(), log.errors().len()), (KEPT_BUILDS, KEPT_ERRORS));
    assert!(log.kinds.is_empty() && log.builds.is_empty());
    let lines = log.into_lines();
    assert_eq!(lines.len(), KEPT_LINES);
    assert!(lines.iter().all(|line| line.len() <= KEPT_BYTES));
}

#[test]
fn what_is_fetched_has_a_name() {
    let (log, events) = read(&[
        start(1, 100, &format!(r#""{ONE}","https://cache.example","local""#)),
        start(2, 101, r#""https://cache.example/nar/1abc.nar.xz?x=1""#),
        start(3, 101, r#""https://cache.example/1abc.narinfo""#),
        start(4, 101, r#""https://example.org/src/v1\u001b[2J.tar.gz?token=secret""#),
        stop(4),
        stop(3),
        stop(2),
        stop(1),
    ]);
    let (one, file) = ("dep-one.drv".to_owned(), "v1.tar.gz".to_owned());
    assert_eq!(
        events,
        [
            Event::DownloadStarted { name: one.clone() },
            Event::DownloadStarted { name: file.clone() },
            Event::DownloadFinished { name: file },
            Event::DownloadFinished { name: one },
        ]
    );
    assert!(log.fetching.is_empty());
}
