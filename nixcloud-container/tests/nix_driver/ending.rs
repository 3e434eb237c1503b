//! Nix that is cancelled, killed or left by a panic.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nixcloud_container::nix::{Error, Mode, SearchPath, UserArgs};
use nixcloud_container::observe::{Cancel, Event};

use crate::bench::{Bench, alive, with_argument};

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
