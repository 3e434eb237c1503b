//! The Nix driver against the Nix that is installed, without network.
//!
//! Each test writes an expression of raw derivations whose builder is `/bin/sh`. Those that build
//! want a name that is new to the store each time, so the process and the time are in it. What
//! they root is removed again; the store paths are left to the next collection.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nixcloud_container::nix::{
    ArgumentError, Error, Mode, Nix, Profile, Program, SearchPath, StorePath, UserArgs, Version, argv, roots,
};
use nixcloud_container::observe::{Cancel, Event};
use serde::Deserialize;

const STATE_DIR: &str = "/nix/var/nix";

/// What the tests' expressions evaluate to.
#[derive(Debug, Deserialize)]
struct Answer {
    drv: StorePath,
    request: String,
}

/// A temporary directory and Nix, set up not to touch the network nor the home directory.
struct Bench {
    dir: tempfile::TempDir,
    nix: Nix,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nix = Nix::new()
            .with_env("NIX_CONFIG", "substitute = false\nsandbox = false\nbuild-users-group =")
            .with_env("NIX_PATH", "")
            .with_env("HOME", dir.path());
        Self { dir, nix }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Evaluates an expression whose `mk NAME SCRIPT` is a derivation.
    fn evaluate(&self, body: &str) -> Result<Answer, Error> {
        let stamp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let file = self.write(
            "expression.nix",
            &format!(
                r#"{{ request }}: let
                  mk = name: script: derivation {{
                    inherit name;
                    system = builtins.currentSystem;
                    builder = "/bin/sh";
                    args = [ "-c" script ];
                    stamp = "{} {stamp}";
                  }};
                  answer = drv: {{ drv = drv.drvPath; inherit request; }};
                in {body}"#,
                std::process::id()
            ),
        );
        let request = self.write("request.json", "{}");
        let none = (SearchPath::new(), UserArgs::default());
        self.nix.evaluate(&file, &request, &none.0, &none.1, Mode::default(), &mut (), &Cancel::new())
    }

    fn realise(&self, drv: &StorePath, root: &str) -> (Result<StorePath, Error>, Vec<Event>) {
        let mut events = Vec::new();
        let mut observer = |event| events.push(event);
        let root = self.path(root);
        let result = self.nix.realise(drv, &root, &UserArgs::default(), &mut observer, &Cancel::new());
        (result, events)
    }

    fn build(&self, body: &str, root: &str) -> StorePath {
        let answer = self.evaluate(body).unwrap();
        self.realise(&answer.drv, root).0.unwrap()
    }

    /// The links by which `nix-store` says that `path` is rooted, of those below this bench.
    fn roots_of(&self, path: &StorePath) -> Vec<PathBuf> {
        let output = Command::new("nix-store").args(["--query", "--roots", path.as_str()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut links: Vec<PathBuf> = output
            .stdout
            .split(|byte| *byte == b'\n')
            .map(|line| line.split(|byte| *byte == b' ').next().unwrap_or_default())
            .map(|link| PathBuf::from(OsStr::from_bytes(link)))
            .filter(|link| link.starts_with(self.path("")))
            .collect();
        links.sort();
        links.dedup();
        links
    }
}

impl Drop for Bench {
    /// Entries of `gcroots/auto` that lead here; those whose link is gone lead nowhere.
    fn drop(&mut self) {
        let Ok(entries) = fs::read_dir(format!("{STATE_DIR}/gcroots/auto")) else { return };
        for entry in entries.flatten() {
            if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(self.path(""))) {
                let _gone = fs::remove_file(entry.path());
            }
        }
    }
}

/// The pids of the processes that have `mark` among their arguments.
fn with_argument(mark: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter(|entry| {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|arg| arg == mark.as_bytes())
        })
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn alive(mark: &str) -> usize {
    with_argument(mark).len()
}

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
    assert!(matches!(bench.evaluate("{ }").unwrap_err(), Error::Answer { .. }));
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
    let at = |wanted: Event| {
        events
            .iter()
            .position(|event| *event == wanted)
            .unwrap_or_else(|| panic!("no {wanted:?} in {events:?}"))
    };
    let (one, two) = (|| "dep-one".to_owned(), || "top-two".to_owned());
    let order = [
        at(Event::BuildStarted { name: one() }),
        at(Event::BuildLog { name: one(), line: "from one".into() }),
        at(Event::BuildCount { done: 1, expected: 2 }),
        at(Event::BuildFinished { name: one() }),
        at(Event::BuildStarted { name: two() }),
        at(Event::BuildLog { name: two(), line: "from two".into() }),
        at(Event::BuildCount { done: 2, expected: 2 }),
        at(Event::BuildFinished { name: two() }),
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
    assert!(matches!(&error, Error::NotInStore { path } if *path == missing("gone.drv")), "{error:?}");
    let error = bench.nix.set_profile(&bench.path("profile"), &missing("gone"), &Cancel::new()).unwrap_err();
    assert!(matches!(&error, Error::NotInStore { path } if *path == missing("gone")), "{error:?}");
    assert!(fs::symlink_metadata(bench.path("profile")).is_err());
}

#[test]
fn root_profile_from_the_first_generation_to_its_removal() {
    let bench = Bench::new();
    let first = bench.build(r#"answer (mk "gen-one" "echo 1 > $out")"#, "root-1");
    let second = bench.build(r#"answer (mk "gen-two" "echo 2 > $out")"#, "root-2");
    for root in ["root-1", "root-2"] {
        roots::remove(&bench.path(root), Path::new(STATE_DIR)).unwrap();
    }
    fs::create_dir(bench.path("c1")).unwrap();
    let profile = Profile::new(bench.path("c1/profile")).unwrap();
    let (path, cancel) = (profile.path(), Cancel::new());
    let ids = || -> Vec<u64> { profile.generations().unwrap().iter().map(|found| found.id).collect() };

    bench.nix.set_profile(path, &first, &cancel).unwrap();
    bench.nix.set_profile(path, &second, &cancel).unwrap();
    bench.nix.set_profile(path, &second, &cancel).unwrap();
    assert_eq!((ids(), profile.current().unwrap()), (vec![1, 2], Some(2)));
    assert_eq!(profile.generation(1).unwrap().unwrap().target, first.as_path());
    assert_eq!(profile.generation(2).unwrap().unwrap().target, second.as_path());
    assert_eq!(bench.roots_of(&first), [profile.link(1)]);

    bench.nix.switch_generation(path, 1, &cancel).unwrap();
    assert_eq!(profile.current().unwrap(), Some(1));
    let unknown = bench.nix.switch_generation(path, 7, &cancel).unwrap_err();
    assert!(matches!(unknown, Error::Failed { .. }), "{unknown:?}");
    assert!(unknown.to_string().contains("does not exist"), "{unknown}");
    let current = bench.nix.delete_generations(path, &[1], &cancel).unwrap_err();
    assert!(current.to_string().contains("current"), "{current}");
    assert_eq!((ids(), profile.current().unwrap()), (vec![1, 2], Some(1)));

    bench.nix.delete_generations(path, &[2, 9], &cancel).unwrap();
    assert_eq!(ids(), [1]);
    assert!(bench.roots_of(&second).is_empty());

    profile.remove_all(Path::new(STATE_DIR)).unwrap();
    assert!(bench.roots_of(&first).is_empty());
    assert_eq!(fs::read_dir(bench.path("c1")).unwrap().count(), 0);
}

#[test]
fn root_native_roots_count_for_nix() {
    let bench = Bench::new();
    let out = bench.build(r#"answer (mk "rooted" "echo > $out")"#, "built");
    let (built, booted) = (bench.path("built"), bench.path("booted"));
    roots::add(&booted, &out, Path::new(STATE_DIR)).unwrap();
    assert_eq!(bench.roots_of(&out), [booted.clone(), built.clone()]);
    roots::remove(&built, Path::new(STATE_DIR)).unwrap();
    assert_eq!(bench.roots_of(&out), std::slice::from_ref(&booted));
    roots::remove(&booted, Path::new(STATE_DIR)).unwrap();
    assert!(bench.roots_of(&out).is_empty());
}

/// Starts a build that lasts for minutes and calls `then` once when it runs. Returns the error,
/// how long it took to come back after that, and a mark that all its processes have.
fn slow_build(bench: &Bench, mark: &str, script: &str, then: impl FnOnce(&Cancel)) -> (Error, Duration) {
    let answer = bench.evaluate(&format!(r#"answer (mk "slow" "{script}")"#)).unwrap();
    let cancel = Cancel::new();
    let mut then = Some(then);
    let mut asked = Instant::now();
    let mut observer = |event: Event| {
        if matches!(&event, Event::BuildLog { line, .. } if line == "running") {
            let late = Instant::now() + Duration::from_secs(5);
            while alive(mark) < 2 && Instant::now() < late {
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(alive(mark), 2, "the build's processes are seen");
            asked = Instant::now();
            if let Some(then) = then.take() {
                then(&cancel);
            }
        }
    };
    let root = bench.path("root");
    let result = bench.nix.realise(&answer.drv, &root, &UserArgs::default(), &mut observer, &cancel);
    (result.unwrap_err(), asked.elapsed())
}

/// A script of a build with two processes that have `mark` as their argument. Builders have no `PATH`.
fn sleepers(mark: &str) -> String {
    let sleep = sleep_program();
    format!("echo running; {sleep} {mark} & {sleep} {mark}; wait")
}

fn sleep_program() -> String {
    let path = std::env::var_os("PATH").unwrap();
    let sleep = std::env::split_paths(&path).map(|dir| dir.join("sleep")).find(|file| file.exists());
    sleep.unwrap().into_os_string().into_string().unwrap()
}

fn mark(kind: u32) -> String {
    format!("{kind}{:07}", std::process::id())
}

#[test]
fn root_cancelled_build_leaves_no_process() {
    let mark = mark(41);
    let (error, took) = slow_build(&Bench::new(), &mark, &sleepers(&mark), Cancel::cancel);
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(alive(&mark), 0);
}

#[test]
fn root_killed_nix_is_told_by_its_signal() {
    let bench = Bench::new();
    let body = format!(r#"answer (mk "killed" "echo running; {} 1")"#, sleep_program());
    let answer = bench.evaluate(&body).unwrap();
    let mut observer = |event: Event| {
        if matches!(event, Event::BuildLog { .. }) {
            for pid in with_argument(answer.drv.as_str()) {
                assert!(Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
            }
        }
    };
    let (root, user) = (bench.path("root"), UserArgs::default());
    let error = bench.nix.realise(&answer.drv, &root, &user, &mut observer, &Cancel::new()).unwrap_err();
    assert!(matches!(error, Error::Killed { signal: 9, .. }), "{error:?}");
    assert_eq!(fs::symlink_metadata(&root).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn root_panicking_observer_leaves_no_process() {
    let mark = mark(42);
    let bench = Bench::new();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        slow_build(&bench, &mark, &sleepers(&mark), |_| panic!("the observer's own"))
    }));
    assert_eq!(result.unwrap_err().downcast_ref(), Some(&"the observer's own"));
    let late = Instant::now() + Duration::from_secs(1);
    while alive(&mark) > 0 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(alive(&mark), 0);
}

#[test]
fn nix_cancelled_evaluation_ends_at_once() {
    let bench = Bench::new();
    let file = bench.write(
        "endless.nix",
        "{ request }: builtins.trace \"running\" (builtins.foldl' (a: b: a + b) 0 (builtins.genList (x: \
         builtins.foldl' (a: b: a + b) x (builtins.genList (y: y) 100000)) 1000000))",
    );
    let cancel = Cancel::new();
    let mut asked = Instant::now();
    let mut observer = |event: Event| {
        if matches!(event, Event::NixMessage { text, .. } if text == "trace: running") {
            asked = Instant::now();
            cancel.cancel();
        }
    };
    let none = (SearchPath::new(), UserArgs::default());
    let result =
        bench.nix.evaluate::<u64>(&file, &file, &none.0, &none.1, Mode::default(), &mut observer, &cancel);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
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
