//! Run and login.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::tcgetattr;
use nixcloud_container::{Error, Exit, RunRequest, State};

use crate::harness::{Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_run_needs_a_running_guest,
        root_run_waits_for_no_background_child,
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
    let request = RunRequest {
        uid: Some(1000),
        gid: Some(100),
        directory: Some("/tmp".into()),
        env: vec![("GREETING".to_owned(), "a b".to_owned())],
        ..RunRequest::new(["/bin/sh", "-c", "id -u; id -g; pwd; echo $GREETING; : >/tmp/made; : >/root/made"])
    };
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

/// A pseudo terminal of the host, with a login on it.
struct Login {
    master: fs::File,
    slave: OwnedFd,
    child: std::process::Child,
    seen: String,
}

impl Login {
    fn on(lab: &Lab, web: &Guest<'_>) -> Self {
        let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        let slave = || pty.slave.try_clone().unwrap();
        // The actor makes it its controlling terminal; it must not lead a process group for that.
        let mut command = lab.actor(false, "login", web);
        let child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
        Self { master: pty.master.into(), slave: pty.slave, child, seen: String::new() }
    }

    fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `text` was shown.
    fn awaits(&mut self, text: &str) {
        let begin = Instant::now();
        while !self.seen.contains(text) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no {text:?} in {:?}", self.seen);
            let mut poll = [nix::poll::PollFd::new(self.master.as_fd(), nix::poll::PollFlags::POLLIN)];
            if nix::poll::poll(&mut poll, 100u16).unwrap() == 0 {
                continue;
            }
            let mut buffer = [0; 4096];
            let count = self.master.read(&mut buffer).unwrap_or(0);
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
    }
}

/// Whoever has the host's terminal types into the host's shell (TIOCSTI): no way to it is left open.
fn root_run_from_a_terminal_gives_the_guest_none(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // The actor has it as its controlling terminal, as a shell has.
    let script =
        "if (: </dev/tty); then echo has=$((1))tty; else echo has=$((0))tty; fi; tty; echo out >&2; exit 5";
    let size = Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let slave = || pty.slave.try_clone().unwrap();
    let mut command = lab.actor(false, "run", &web);
    let child = command.arg(script).stdin(slave()).stdout(slave()).stderr(slave()).spawn().unwrap();
    let mut run = Login { master: pty.master.into(), slave: pty.slave, child, seen: String::new() };
    run.awaits("Code(5)");
    assert!(run.seen.contains("has=0tty") && run.seen.contains("not a tty"), "{}", run.seen);
    assert!(run.child.wait().unwrap().success());
}

fn root_login_has_a_terminal(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut login = Login::on(lab, &web);
    let before = tcgetattr(&login.slave).unwrap();
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
    let status = login.child.wait().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(tcgetattr(&login.slave).unwrap(), before, "the terminal is not as it was");
}
