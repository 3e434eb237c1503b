//! Run and login.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nixcloud_container::{Error, Exit, RunRequest, State, User};

use crate::harness::{Guest, Kind, Lab, Must, Pty, scenarios};

scenarios! {
    once: [
        root_run_needs_a_running_guest,
        root_run_waits_for_no_background_child,
        root_the_harness_has_real_terminals,
    ],
    both: [
        root_run_tells_the_true_exit_code,
        root_run_is_binary_clean,
        root_run_as_another_user_with_its_own_environment,
        root_login_has_a_terminal,
        root_run_from_a_terminal_gives_the_guest_none,
    ],
}

fn root_run_needs_a_running_guest(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let error = web.try_run(RunRequest::new(["true"]), b"").unwrap_err();
    assert!(matches!(error, Error::State { state: State::Stopped, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("start"));
}

fn root_run_tells_the_true_exit_code(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    exit_codes(&web);
}

/// Also used by the regression test of fault 10.
pub fn exit_codes(web: &Guest<'_>) {
    let exit = |script: &str| web.sh(script).exit;
    assert_eq!(exit("exit 0"), Exit::Code(0));
    assert_eq!(exit("exit 3"), Exit::Code(3));
    assert_eq!(exit("exit 255"), Exit::Code(255));
    assert_eq!(web.run(["no-such-program"]).exit, Exit::NotFound);
    assert_eq!(web.run(["/etc/no/such/program"]).exit, Exit::NotFound);
    web.shell("echo data >/root/data && chmod 644 /root/data");
    assert_eq!(web.run(["/root/data"]).exit, Exit::NotExecutable);
    assert_eq!(web.run(["/root"]).exit, Exit::NotExecutable);
    assert_eq!((Exit::NotFound.shell_code(), Exit::NotExecutable.shell_code()), (127, 126));
    let killed = exit("kill -9 $$");
    assert_eq!((killed, killed.shell_code()), (Exit::Signal(9), 137));
    assert_eq!(exit("kill -TERM $$").shell_code(), 143);
}

fn root_run_is_binary_clean(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // Every byte, more of them than a pipe holds.
    let bytes: Vec<u8> = (0..=255u8).cycle().take(1 << 20).collect();
    let said = web.try_run(RunRequest::new(["cat"]), &bytes).must("run cat");
    assert_eq!(said.exit, Exit::Code(0));
    assert!(said.stdout == bytes, "{} of {} bytes came back", said.stdout.len(), bytes.len());
    assert_eq!(said.stderr, b"");
    let said = web.sh("printf 'out\\000\\n'; printf 'err\\377\\r\\n' >&2; exit 7");
    assert_eq!(
        (said.exit, &said.stdout[..], &said.stderr[..]),
        (Exit::Code(7), &b"out\0\n"[..], &b"err\xff\r\n"[..])
    );
    // No terminal unless asked for.
    assert_eq!(web.run(["tty"]).text(), "not a tty");
}

fn root_run_as_another_user_with_its_own_environment(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let request =
        RunRequest::new(["/bin/sh", "-c", "id -u; id -g; pwd; echo $GREETING; : >/tmp/made; : >/root/made"])
            .with_user(User::ids(1000, Some(100)))
            .with_directory(Some("/tmp".into()))
            .with_env(vec![("GREETING".into(), "a b".into())]);
    let said = web.try_run(request, b"").must("run");
    assert_eq!(said.text(), "1000\n100\n/tmp\na b", "{}", said.errors());
    assert_eq!(
        web.shell("stat -c %u:%g /tmp/made; ls /root/made 2>/dev/null || echo none"),
        "1000:100\nnone"
    );
    // Nothing of this process's environment gets in.
    let names =
        web.shell("env | cut -d= -f1 | grep -vxE '_|SHLVL|PWD|OLDPWD|container' | sort | tr '\\n' ' '");
    assert_eq!(names, "HOME PATH USER");
    // A descriptor of ours that is open must not be open there: 0, 1, 2 and the one of the listing itself.
    let file = fs::File::open("/etc/passwd").unwrap();
    let _inheritable = nix::unistd::dup(&file).unwrap();
    let fds = web.shell("ls /proc/self/fd");
    assert!(fds.split_whitespace().count() <= 4, "{fds}");
}

fn root_run_waits_for_no_background_child(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let begin = Instant::now();
    let request = RunRequest::new(["/bin/sh", "-c", "sleep 60 & echo started"]);
    let exit = web.container().run(request, nixcloud_container::Streams::Null).must("run");
    assert_eq!(exit, Exit::Code(0));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// Whoever has the host's terminal types into the host's shell (TIOCSTI): no way to it is left open.
fn root_run_from_a_terminal_gives_the_guest_none(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // The actor has it as its controlling terminal, as a shell has.
    let script =
        "if (: </dev/tty); then echo has=$((1))tty; else echo has=$((0))tty; fi; tty; echo out >&2; exit 5";
    let mut run = Pty::spawn(lab.actor(false, "run", &web).arg(script), 33, 101);
    run.awaits("Code(5)");
    assert!(run.seen().contains("has=0tty") && run.seen().contains("not a tty"), "{}", run.seen());
    assert!(run.exit().success());
}

fn root_login_has_a_terminal(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut login = Pty::spawn(&lab.actor(false, "login", &web), 33, 101);
    // What is typed before the guest's terminal is there is lost, as with any login.
    login.awaits("# ");
    // What is typed is echoed: what is to be seen must not be in it.
    login.types("echo te''rm=$TERM home=$HOME on $(tty), size $(stty size), user $(id -u)\n");
    login.awaits("term=xterm home=/root on /dev/");
    login.awaits("size 33 101, user 0");
    // Ctrl-C is the guest's: it ends the command there, not the login.
    login.types("sleep 1000; echo af''ter $?\n");
    std::thread::sleep(Duration::from_millis(500));
    login.types("\u{3}");
    login.types("\necho still=he''re\n");
    login.awaits("still=here");
    login.types("exit 3\n");
    login.awaits("Code(3)");
    let status = login.exit();
    assert!(status.success(), "{status}");
    assert_eq!(login.settings(), *login.settings_before(), "the terminal is not as it was");
}

/// The harness itself: what the other scenarios say of terminals rests on it.
fn root_the_harness_has_real_terminals(_lab: &Lab) {
    let script = "trap 'echo now $(stty size)' WINCH; (: </dev/tty) && echo has a terminal; stty raw; \
                  stty size; while :; do sleep 0.1; done";
    let mut pty = Pty::spawn(Command::new("sh").args(["-c", script]), 33, 101);
    pty.shows("33 101");
    assert!(pty.seen().contains("has a terminal"));
    assert_ne!(pty.settings(), *pty.settings_before());
    pty.forget();
    pty.resize(24, 80);
    pty.awaits("now 24 80");
    assert!(!pty.seen().contains("33 101") && pty.screen().contains("33 101"));
    assert!(pty.runs());
    pty.signal(Signal::SIGTERM);
    assert_eq!(pty.exit().signal(), Some(Signal::SIGTERM as i32));
}
