//! The runner with programs that are not Nix: what Nix does not do on request.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use super::*;
use crate::model::observe::Event;

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn go(script: &str) -> Finished {
    run(shell(script), Program::NixStore, &mut (), &Cancel::new()).unwrap()
}

/// What is quick on a machine that has much else to do. What does not heed the token takes 30 s.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn output_and_status() {
    let finished = go("cat; printf out; echo 'error: bad' >&2; printf 'no end' >&2; exit 3");
    assert_eq!((finished.status.code(), finished.stdout.as_slice()), (Some(3), &b"out"[..]));
    assert_eq!(finished.log.errors()[0].message, "bad");
    assert_eq!(finished.log.into_lines(), ["error: bad", "no end"]);
}

#[test]
fn much_output_on_both_pipes_does_not_block() {
    let finished = go("head -c 3000000 /dev/zero; yes | head -c 3000000 >&2; head -c 1000000 /dev/zero");
    assert_eq!(finished.stdout.len(), 4_000_000);
    assert!(finished.status.success());
}

#[test]
fn a_line_without_end_is_cut() {
    let mut lengths = Vec::new();
    let mut lines = Lines::default();
    for _ in 0..6 {
        lines.push(&vec![b'x'; 1 << 20], |line| lengths.push(line.len()));
    }
    lines.push(b"\nshort\nrest", |line| lengths.push(line.len()));
    lines.end(|line| lengths.push(line.len()));
    assert_eq!(lengths, [LINE_MAX, 5, 4]);
}

#[test]
fn a_process_that_keeps_the_pipes_does_not_keep_us() {
    let start = Instant::now();
    let finished = go("setsid sleep 5 & echo hello");
    assert_eq!(finished.stdout, b"hello\n");
    assert_eq!(go("setsid timeout 5 yes & exit 4").status.code(), Some(4));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn closed_pipes_are_not_the_end() {
    assert_eq!(go("exec >&- 2>&-; sleep 0.2; exit 7").status.code(), Some(7));
}

#[test]
fn signals_are_seen() {
    assert_eq!(go("kill -SEGV $$").status.signal(), Some(11));
}

#[test]
fn what_cannot_be_started() {
    let go = |path: &str| run(Command::new(path), Program::NixEnv, &mut (), &Cancel::new()).unwrap_err();
    assert!(
        matches!(go("/nowhere/nix-env"), Error::Missing { path, .. } if path == Path::new("/nowhere/nix-env"))
    );
    assert!(matches!(go("/etc/passwd"), Error::Spawn { .. }));
}

#[test]
fn cancelled_before_it_starts() {
    let dir = tempfile::tempdir().unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let made = dir.path().join("made");
    let result = run(shell(&format!("touch {}", made.display())), Program::NixEnv, &mut (), &cancel);
    assert!(matches!(result, Err(Error::Cancelled)));
    assert!(!made.exists());
}

/// Cancels when the script says so and returns how long it took to come back.
fn cancelled_after(script: &str) -> Duration {
    let cancel = Cancel::new();
    let mut asked = None;
    let mut observer = |event: Event| {
        if matches!(&event, Event::NixMessage { text, .. } if text == "ready") {
            asked = Some(Instant::now());
            cancel.cancel();
        }
    };
    let result = run(shell(script), Program::NixStore, &mut observer, &cancel);
    assert!(matches!(result, Err(Error::Cancelled)), "{result:?}");
    asked.unwrap().elapsed()
}

#[test]
fn cancelling_is_quick_when_the_program_obeys() {
    let took = cancelled_after("trap 'exit 1' INT; echo ready >&2; while :; do sleep 0.02; done");
    assert!(took < grace(Program::NixStore), "{took:?}");
}

/// As what a script runs in the background does.
#[test]
fn it_is_as_quick_for_a_caller_that_ignores_that_signal() {
    let status = Command::new("env")
        .arg("--ignore-signal=INT")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "nix::runner::tests::cancelling_is_quick_when_the_program_obeys"])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn the_token_is_seen_while_nothing_is_printed() {
    let cancel = Cancel::new();
    let other = cancel.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        other.cancel();
        Instant::now()
    });
    let result = run(shell("exec sleep 30"), Program::NixStore, &mut (), &cancel);
    assert!(matches!(result, Err(Error::Cancelled)));
    let took = thread.join().unwrap().elapsed();
    assert!(took < AT_ONCE, "{took:?}");
}

#[test]
fn who_ignores_the_request_is_killed_after_the_grace() {
    let took = cancelled_after("trap '' INT; echo ready >&2; setsid sleep 30; sleep 30");
    assert!(took >= grace(Program::NixStore) && took < grace(Program::NixStore) + AT_ONCE, "{took:?}");
}

#[test]
fn a_flood_does_not_hide_the_token() {
    let took = cancelled_after("trap '' INT; echo ready >&2; exec yes >&2");
    assert!(took < grace(Program::NixStore) + AT_ONCE, "{took:?}");
}

#[test]
fn a_panic_of_the_observer_leaves_nothing_behind() {
    let mut pid = None;
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut observer = |event: Event| {
            if let Event::NixMessage { text, .. } = event {
                pid = text.parse::<i32>().ok();
                panic!("the observer's own");
            }
        };
        run(shell("echo $$ >&2; sleep 30; :"), Program::NixStore, &mut observer, &Cancel::new())
    }));
    assert!(result.is_err());
    assert!(!Path::new(&format!("/proc/{}", pid.unwrap())).exists());
}
