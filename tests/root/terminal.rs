//! Login and `run -t` on real terminals, by the command itself.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Guest, Kind, Lab, Pty, eventually, scenarios};

scenarios! {
    once: [
        root_a_terminated_guest_gives_the_terminal_back,
        root_a_killed_worker_gives_the_terminal_back,
        root_a_killed_login_gives_the_terminal_back,
        root_what_was_typed_for_a_guest_is_not_the_hosts_shells,
        root_a_login_that_is_told_to_end_undoes_itself,
        root_a_login_in_the_background_is_a_stopped_job,
        root_a_terminal_whose_name_nobody_knows_works,
        root_run_t_loses_no_last_output,
        root_run_t_waits_for_no_background_child,
        root_run_t_takes_what_is_pasted,
        root_run_t_without_a_terminal_says_so,
        root_run_on_a_terminal_waits_for_no_background_child,
    ],
    both: [
        root_login_follows_the_size_of_its_terminal,
        root_login_has_job_control,
        root_login_passes_the_exit_code_on,
    ],
}

/// The command on a terminal of its own.
fn cli(lab: &Lab, web: &Guest<'_>, words: &[&str]) -> Pty {
    let words = words.iter().map(|word| if *word == "@web" { web.name().as_str() } else { word });
    let mut command = lab.command(words);
    command.env("TERM", "xterm").env_remove("LANG");
    Pty::spawn(&command, 33, 101)
}

fn login(lab: &Lab, web: &Guest<'_>) -> Pty {
    let mut login = cli(lab, web, &["login", "@web"]);
    // What is typed before the guest's terminal is there is the shell's all the same.
    login.awaits("# ");
    eventually("the terminal is raw", Duration::from_secs(10), || {
        login.settings() != *login.settings_before()
    });
    login
}

#[track_caller]
fn restored(login: &Pty) {
    assert_eq!(login.settings(), *login.settings_before(), "the terminal is not as it was");
}

fn root_login_follows_the_size_of_its_terminal(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut login = login(lab, &web);
    // Not in the login shell itself, which is not in the foreground while a command is.
    let script = "trap \"echo now \\$(stty size)\" WINCH; echo read\\y; while :; do sleep 0.1; done";
    login.types(&format!("stty size; sh -c '{script}'\n"));
    login.shows("33 101");
    login.awaits("ready");
    // Its foreground process is told.
    login.resize(24, 80);
    login.awaits("now 24 80");
    // A shell loses a signal that comes while it is at the trap of the one before.
    std::thread::sleep(Duration::from_millis(500));
    login.resize(60, 200);
    login.awaits("now 60 200");
    login.types("\u{3}");
    login.types("clear; stty size\n");
    login.until("the size alone", |login| {
        let screen = login.screen();
        screen.contains("60 200") && !screen.contains("33 101")
    });
    login.types("exit\n");
    login.exit();
    restored(&login);
}

fn root_login_has_job_control(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut login = login(lab, &web);
    assert!(!login.seen().contains("job control"), "{}", login.seen());
    login.types("sleep 1000\n");
    eventually("it sleeps", Duration::from_secs(10), || web.sh("pidof sleep || ps").text().contains(' '));
    std::thread::sleep(Duration::from_millis(300));
    login.types("\u{1a}");
    login.awaits("Stopped");
    login.types("echo free''dom; fg\n");
    login.awaits("freedom");
    std::thread::sleep(Duration::from_millis(300));
    login.types("\u{3}");
    login.types("echo in''terrupted $?\n");
    login.awaits("interrupted 130");
    // A quit, an end of input.
    login.types("sleep 1000\n");
    std::thread::sleep(Duration::from_millis(300));
    login.types("\u{1c}");
    login.types("echo qu''it $?\n");
    login.awaits("quit 131");
    login.types("cat >/dev/null; echo en''ded\n");
    std::thread::sleep(Duration::from_millis(300));
    login.types("\u{4}");
    login.until("another prompt", |login| {
        login.seen().rsplit_once("ended\r\n").is_some_and(|(_, rest)| rest.contains("# "))
    });
    login.types("\u{4}");
    assert_eq!(login.exit().code(), Some(0));
    restored(&login);
}

fn root_login_passes_the_exit_code_on(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let mut first = login(lab, &web);
    first.types("exit 3\n");
    assert_eq!(first.exit().code(), Some(3));
    restored(&first);
    let mut second = login(lab, &web);
    second.types("kill -KILL $$\n");
    assert_eq!(second.exit().code(), Some(137));
    restored(&second);
    // Nothing of LXC's making: one line end for one.
    assert!(!first.seen().contains("\r\r\n"), "{:?}", first.seen());
}

fn root_a_terminated_guest_gives_the_terminal_back(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut login = login(lab, &web);
    web.terminate();
    assert_eq!(login.exit().code(), Some(137));
    restored(&login);
}

/// The worker of a session: the only child that the program has.
fn worker(login: &Pty) -> Pid {
    child_of(login.pid())
}

fn child_of(pid: i32) -> Pid {
    let children = std::fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).unwrap())
        .collect::<String>();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap())
}

fn root_a_killed_worker_gives_the_terminal_back(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut login = login(lab, &web);
    kill(worker(&login), Signal::SIGKILL).unwrap();
    assert_eq!(login.exit().code(), Some(1));
    restored(&login);
    assert!(login.seen().contains("the worker ended without an answer"), "{}", login.seen());
    no_shell_is_left(&web);
}

/// The supervisor's own are busybox's `sh` without an argument `-l`.
fn no_shell_is_left(web: &Guest<'_>) {
    eventually("the shell ends", Duration::from_secs(5), || !web.shell("ps").contains("/bin/sh -l"));
}

fn root_a_killed_login_gives_the_terminal_back(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut login = login(lab, &web);
    assert!(web.shell("ps").contains("/bin/sh -l"));
    // Nobody is left of it to do that but the worker.
    login.signal(Signal::SIGKILL);
    login.exit();
    eventually("the settings", Duration::from_secs(5), || login.settings() == *login.settings_before());
    no_shell_is_left(&web);
}

/// A shell of the host on a terminal, which knows the program, the guest's name and a file to write.
fn host_shell(lab: &Lab, web: &Guest<'_>) -> Pty {
    let mut command = std::process::Command::new("bash");
    command.args(["--norc", "--noprofile", "-i"]).env("PS1", "host> ");
    command.env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file()).env("TYPED", lab.path("/typed"));
    command.env("PROGRAM", crate::harness::command::program()).env("WEB", web.name().as_str());
    let mut shell = Pty::spawn(&command, 33, 101);
    shell.awaits("host> ");
    shell
}

fn root_what_was_typed_for_a_guest_is_not_the_hosts_shells(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut shell = host_shell(lab, &web);
    let typed = lab.path("/typed");
    shell.types("$PROGRAM login $WEB\n");
    shell.awaits("# ");
    let worker = child_of(child_of(shell.pid()).as_raw());
    // The guest's shell ends while a line is on its way to it.
    kill(worker, Signal::SIGSTOP).unwrap();
    shell.forget();
    shell.types("touch $TYPED\n");
    kill(child_of(worker.as_raw()), Signal::SIGKILL).unwrap();
    kill(worker, Signal::SIGCONT).unwrap();
    shell.awaits("host> ");
    shell.types("echo o''ver\n");
    shell.awaits("over\r\n");
    assert!(!typed.exists(), "the host's shell ran it");
    shell.types("exit\n");
    shell.exit();
}

fn root_a_login_that_is_told_to_end_undoes_itself(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let mut login = login(lab, &web);
        login.signal(signal);
        assert_eq!(login.exit().code(), Some(130), "{signal}");
        restored(&login);
        no_shell_is_left(&web);
    }
    // A program in the guest that takes no hint.
    let mut login = login(lab, &web);
    login.types("trap '' HUP TERM; exec sleep 12345\n");
    eventually("it sleeps", Duration::from_secs(10), || web.shell("ps").contains("sleep 12345"));
    login.signal(Signal::SIGTERM);
    login.exit();
    restored(&login);
    eventually("it ends", Duration::from_secs(5), || !web.shell("ps").contains("sleep 12345"));
}

fn root_a_login_in_the_background_is_a_stopped_job(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let mut shell = host_shell(lab, &web);
    shell.types("$PROGRAM login $WEB &\n");
    std::thread::sleep(Duration::from_millis(500));
    shell.types("echo he''re; jobs\n");
    shell.awaits("here");
    shell.awaits("Stopped");
    // What needs no terminal of the guest's runs there, unless it wants to read.
    shell.types("$PROGRAM run $WEB echo from the gu''est & wait $!; echo wai''ted $?\n");
    shell.awaits("from the guest\r\n");
    shell.awaits("waited 0");
    shell.forget();
    shell.types("fg\n");
    shell.types("echo fore''ground\n");
    shell.awaits("foreground");
    shell.forget();
    shell.types("exit 4\n");
    shell.awaits("host> ");
    shell.types("echo co''de $?\n");
    shell.awaits("code 4");
}

fn root_a_terminal_whose_name_nobody_knows_works(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    for (name, seen) in [("", "dumb"), ("dumb", "dumb"), ("no-such-terminal", "no-such-terminal")] {
        let mut command = lab.command(["login", web.name().as_str()]);
        let mut login = Pty::spawn(command.env("TERM", name), 33, 101);
        login.awaits("# ");
        login.types("echo te''rm $TERM\n");
        login.awaits(&format!("term {seen}\r\n"));
        login.types("exit\n");
        assert_eq!(login.exit().code(), Some(0), "{name:?}");
    }
}

fn root_run_t_loses_no_last_output(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    for round in 0..10 {
        let script = format!("seq 1 2000; echo last {round}; exit 6");
        let mut run = cli(lab, &web, &["run", "-t", "@web", "sh", "-c", &script]);
        assert_eq!(run.exit().code(), Some(6));
        assert!(run.seen().ends_with(&format!("2000\r\nlast {round}\r\n")), "{:?}", run.seen());
        restored(&run);
    }
}

fn root_run_t_waits_for_no_background_child(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let begin = Instant::now();
    // It holds the terminal, does not care that it hung up, and opens it anew to write without end.
    let script =
        "tty=$(tty); (trap '' HUP; while :; do echo noise >$tty; done) & echo started; sleep 0.2; exit 5";
    let mut run = cli(lab, &web, &["run", "-t", "@web", "sh", "-c", script]);
    assert_eq!(run.exit().code(), Some(5));
    assert!(run.seen().contains("started"));
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    restored(&run);
}

fn root_run_t_takes_what_is_pasted(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let script = "stty raw -echo; echo ready; head -c 300000 >/root/pasted; echo done";
    let mut run = cli(lab, &web, &["run", "-t", "@web", "sh", "-c", script]);
    run.awaits("ready");
    // Far more than a terminal holds, and every byte.
    let text: String = ('\0'..='\u{7f}').cycle().take(300_000).collect();
    run.types(&text);
    run.awaits("done");
    assert_eq!(run.exit().code(), Some(0));
    let got = web.run(["cat", "/root/pasted"]).stdout;
    assert!(got == text.as_bytes(), "{} bytes came", got.len());
}

fn root_run_t_without_a_terminal_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let told = lab.line("run -t @web ls");
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.stderr.contains("needs a terminal, and stdin is none"), "{told:?}");
    assert!(told.stderr.contains("hint:"), "{told:?}");
}

fn root_run_on_a_terminal_waits_for_no_background_child(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let begin = Instant::now();
    let script = "sleep 60 & seq 1 5000; echo last";
    let mut run = cli(lab, &web, &["run", "@web", "sh", "-c", script]);
    assert_eq!(run.exit().code(), Some(0));
    assert!(run.seen().ends_with("5000\r\nlast\r\n"), "{:?}", run.seen());
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}
