//! Long work on a terminal and in a pipe: what is shown, that nothing of it stays, and Ctrl-C at any moment.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::State;

use crate::harness::pty::Pty;
use crate::harness::{File, Guest, Kind, Lab, eventually, scenarios};

scenarios! {
    once: [
        root_progress_is_live_and_leaves_a_line_for_a_phase,
        root_progress_on_a_narrow_terminal_is_cut_and_not_wrapped,
        root_progress_in_a_pipe_is_plain,
        root_quick_work_draws_nothing,
        root_build_logs_are_printed_above_the_display,
        root_warnings_go_above_the_display,
        root_downloads_are_named,
        root_what_was_fetched_is_told,
        root_units_are_told_as_they_change,
        root_a_guest_does_not_steer_the_terminal,
        root_colours_obey_the_environment,
        root_ctrl_c_in_an_evaluation,
        root_ctrl_c_in_a_build,
        root_ctrl_c_while_another_has_the_lock,
        root_ctrl_c_in_an_activation_puts_the_old_generation_back,
        root_ctrl_c_in_a_start,
        root_ctrl_c_while_a_guest_does_not_end,
        root_a_second_ctrl_c_ends_at_once,
    ],
    both: [],
}

const CTRL_C: &str = "\x03";

fn root_what_was_fetched_is_told(lab: &Lab) {
    let web = lab.busybox("web");
    // A path that this lab alone has; the same by the container file and by itself.
    let call = format!(
        "pkgs.runCommand \"fetched-page\" {{ run = \"{}\"; }} \"head -c 300000 /dev/urandom >$out\"",
        lab.root().display()
    );
    let expression = lab.write("page", &format!("let pkgs = import <nixpkgs> {{ }}; in {call}"));
    let nixpkgs = lab.manager().config().nix.nixpkgs.clone().unwrap();
    let built = Command::new("nix-build")
        .args(["--no-out-link", "-I", &format!("nixpkgs={nixpkgs}")])
        .arg(expression)
        .output()
        .unwrap();
    let path = String::from_utf8(built.stdout).unwrap().trim().to_owned();
    assert!(path.ends_with("-fetched-page"), "{}", String::from_utf8_lossy(&built.stderr));
    let cache = format!("file://{}", lab.path("/files/cache").display());
    let copy = ["--extra-experimental-features", "nix-command", "copy", "--to", &cache, &path];
    assert!(Command::new("nix").args(copy).output().unwrap().status.success());
    // Nix looks at all processes for roots, and gives up where one has a path open that is too long for it.
    eventually("it is deleted", Duration::from_secs(20), || {
        Command::new("nix-store").args(["--delete", &path]).output().unwrap().status.success()
    });
    lab.write("web", &web.file().module(&format!("environment.etc.page.source = {call};")).text());
    let mut command = in_colour(lab, "create -v @web web.nix");
    let config = format!(
        "substitute = true\nsubstituters = {cache}\nrequire-sigs = false\nsandbox = false\nbuild-users-group ="
    );
    let told = Lab::told(command.env("NIX_CONFIG", config));
    assert_eq!(told.code, 0, "{told:?}");
    let tells = |words: &str| told.stderr.lines().any(|line| line.starts_with(words));
    assert!(tells("fetching fetched-page"), "{}", told.stderr);
    assert!(
        tells("fetched 1 path (293.1 KiB)") && told.stderr.contains(" and built 2 derivations in "),
        "{}",
        told.stderr
    );
}

/// The program on a terminal of 24 lines.
fn on_terminal(lab: &Lab, columns: u16, line: &str) -> Pty {
    Pty::spawn(&in_colour(lab, line), 24, columns)
}

/// With the variables of a usual terminal.
fn in_colour(lab: &Lab, line: &str) -> Command {
    let words = line.split(' ').map(|word| match word.strip_prefix('@') {
        Some(name) => lab.name(name).to_string(),
        None => word.to_owned(),
    });
    let mut command = lab.command(words);
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").current_dir(lab.path("/files"));
    command
}

/// What is on the screen, without what is this lab's own.
fn screen(lab: &Lab, pty: &Pty) -> String {
    lab.plain(pty.screen().trim_end())
}

/// The cursor is to be seen and stands below the last line, and no rest of the display is there.
#[track_caller]
fn assert_clean(lab: &Lab, pty: &Pty) {
    let screen = screen(lab, pty);
    for rest in ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", "━", "─"] {
        assert!(!screen.contains(rest), "a rest of the display:\n{screen}");
    }
    assert!(!pty.cursor_is_hidden(), "the cursor is hidden");
    assert_eq!(pty.settings(), *pty.settings_before());
}

/// A build that is new to the store, takes a while and says so.
fn slow(lab: &Lab, file: File, name: &str, seconds: u32) -> File {
    file.module(&format!(
        "environment.etc.{name}.source = pkgs.runCommand \"{name}\" {{ run = \"{}\"; }} ''\n\
         for i in $(seq {}); do echo \"working on $i\"; sleep 0.1; done; echo done >$out'';",
        lab.root().display(),
        seconds * 10
    ))
}

fn root_progress_is_live_and_leaves_a_line_for_a_phase(lab: &Lab) {
    let web = lab.busybox("web");
    lab.write("web", &slow(lab, web.file(), "page", 2).text());
    let mut pty = on_terminal(lab, 80, "create @web web.nix");
    pty.shows("building");
    pty.shows("0/3");
    pty.shows("  page");
    pty.shows("> working on 9");
    assert!(screen(lab, &pty).contains("evaluated in "), "{}", screen(lab, &pty));
    assert_eq!(pty.exit().code(), Some(0));
    let screen = screen(lab, &pty);
    let lines: Vec<&str> = screen.lines().collect();
    let [evaluated, built, created] = lines[..] else { panic!("{screen}") };
    assert!(evaluated.starts_with("evaluated in ") && evaluated.ends_with(" s"), "{screen}");
    assert!(built.starts_with("built 3 derivations in "), "{screen}");
    assert_eq!(created, "created web (generation 1, 10.101.0.2)");
    assert_clean(lab, &pty);
}

fn root_progress_on_a_narrow_terminal_is_cut_and_not_wrapped(lab: &Lab) {
    let web = lab.busybox("web");
    let name = "a-name-that-is-longer-than-the-terminal-is-wide";
    lab.write("web", &slow(lab, web.file(), name, 2).text());
    let mut pty = on_terminal(lab, 40, "create @web web.nix");
    pty.shows("  a-name-that-is-longer");
    pty.shows("> working on 5");
    let lines: Vec<String> = screen(lab, &pty).lines().map(str::to_owned).collect();
    // One line of the evaluation and three of the display: none goes on in the next.
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines.iter().all(|line| line.chars().count() < 40), "{lines:?}");
    // A terminal that changes its size in between.
    pty.resize(24, 60);
    assert_eq!(pty.exit().code(), Some(0));
    assert_clean(lab, &pty);
}

fn root_progress_in_a_pipe_is_plain(lab: &Lab) {
    let web = lab.busybox("web");
    lab.write("web", &slow(lab, web.file(), "piped-page", 1).text());
    let told = Lab::told(&mut in_colour(lab, "create @web web.nix"));
    let said = lab.plain(&told.stderr);
    for line in ["evaluating", "building (1/3) piped-page", "built 3 derivations in "] {
        assert!(said.lines().any(|said| said.starts_with(line)), "{line}: {said}");
    }
    assert!(!said.contains('\x1b') && !said.contains("working on"), "{said}");
    let quiet = Lab::told(&mut in_colour(lab, "update --quiet @web web.nix"));
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
    // A terminal that cannot be drawn on.
    let mut dumb = in_colour(lab, "update @web web.nix");
    let mut pty = Pty::spawn(dumb.env("TERM", "dumb"), 24, 80);
    assert_eq!(pty.exit().code(), Some(0));
    assert!(pty.seen().contains("evaluating") && !pty.seen().contains('\x1b'), "{:?}", pty.seen());
    let mut pty = on_terminal(lab, 80, "update --quiet @web web.nix");
    assert_eq!(pty.exit().code(), Some(0));
    assert_eq!(pty.seen(), "");
}

fn root_quick_work_draws_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    web.update(&web.file().version("2"));
    for line in ["state @web", "exists @web", "show-ip @web", "delete-generations @web old"] {
        let mut pty = on_terminal(lab, 80, line);
        assert_eq!(pty.exit().code(), Some(0), "{line}: {:?}", pty.seen());
        assert!(!pty.seen().contains('\x1b'), "{line}: {:?}", pty.seen());
    }
}

fn root_build_logs_are_printed_above_the_display(lab: &Lab) {
    let web = lab.busybox("web");
    lab.write("web", &slow(lab, web.file(), "logged-page", 1).text());
    let mut pty = on_terminal(lab, 80, "create -L @web web.nix");
    assert_eq!(pty.exit().code(), Some(0));
    let screen = screen(lab, &pty);
    let lines: Vec<&str> = screen.lines().collect();
    let logged: Vec<&str> = lines.iter().copied().filter(|line| line.starts_with("logged-page> ")).collect();
    let wanted: Vec<String> = (1..=10).map(|number| format!("logged-page> working on {number}")).collect();
    assert_eq!(logged, wanted, "{screen}");
    assert_clean(lab, &pty);
    lab.write("web", &slow(lab, web.file(), "piped-log", 1).text());
    let told = Lab::told(&mut in_colour(lab, "update --print-build-logs @web web.nix"));
    assert!(told.stderr.lines().any(|line| line == "piped-log> working on 10"), "{}", told.stderr);
}

fn root_warnings_go_above_the_display(lab: &Lab) {
    let web = lab.busybox("web");
    let file = slow(lab, web.file(), "warned-page", 1);
    let file = file.module("networking.domain = builtins.trace \"warning: look here\" (builtins.trace \"over there\" \"x.org\");");
    lab.write("web", &file.text());
    let mut pty = on_terminal(lab, 80, "create @web web.nix");
    assert_eq!(pty.exit().code(), Some(0), "{}", pty.screen());
    let screen = screen(lab, &pty);
    for line in ["warning: look here", "trace: over there"] {
        assert!(screen.lines().any(|said| said == line), "{line}: {screen}");
    }
    assert_clean(lab, &pty);
}

fn root_downloads_are_named(lab: &Lab) {
    let web = lab.busybox("web");
    // A file of the machine's own, by a URL: what is fetched in an evaluation.
    let path = lab.path("/files/hello-2.12.txt");
    fs::write(&path, "hello").unwrap();
    lab.write(
        "web",
        &web.file()
            .module(&format!(
                "environment.etc.hello.text = builtins.readFile (builtins.fetchurl \"file://{}\");",
                path.display()
            ))
            .text(),
    );
    let told = Lab::told(&mut in_colour(lab, "create -v @web web.nix"));
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stderr.lines().any(|line| line == "fetching hello-2.12.txt"), "{}", told.stderr);
}

fn root_units_are_told_as_they_change(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.boot();
    lab.write("web", &web.file().version("2").text());
    let mut pty = on_terminal(lab, 80, "update @web web.nix");
    pty.awaits("activat");
    assert_eq!(pty.exit().code(), Some(0), "{}", pty.screen());
    let screen = screen(lab, &pty);
    assert!(
        screen
            .lines()
            .any(|line| line.starts_with("activated in ") && line.ends_with(": restarted greeting.service")),
        "{screen}"
    );
    assert_clean(lab, &pty);
    // And back, in a pipe; `-v` also shows what the guest says, and what is noted of it.
    let told = Lab::told(&mut in_colour(lab, "rollback -v @web"));
    for line in ["stopping: greeting.service", "starting: greeting.service", "generation 1 is good"] {
        assert!(told.stderr.lines().any(|said| said == line), "{line}: {}", told.stderr);
    }
    assert!(told.stderr.contains("guest> activating the configuration"), "{}", told.stderr);
}

fn root_a_guest_does_not_steer_the_terminal(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    // A switch that clears the screen, hides the cursor and talks without end in one line and in many.
    let evil = "system.activationScripts.evil = ''\n\
        printf '\\033[2J\\033[?25l\\033]0;title\\007stopping the following units: \\033[31mx.service\\n'\n\
        head -c 300000 /dev/zero | tr '\\0' 'x'; echo\n\
        seq 3000; printf '\\r\\342\\200\\256gnp.exe\\n' '';";
    lab.write("web", &web.file().version("2").module(evil).text());
    let mut pty = on_terminal(lab, 80, "update @web web.nix");
    assert_eq!(pty.exit().code(), Some(0), "{}", pty.screen());
    for sequence in ["\x1b[2J", "\x1b[?25l", "\x1b]0", "\x1b[31m", "\u{202e}"] {
        assert!(!pty.seen().contains(sequence), "{sequence:?} reached the terminal");
    }
    assert_clean(lab, &pty);
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_colours_obey_the_environment(lab: &Lab) {
    let red = "\x1b[1m\x1b[31merror:";
    let said = |variables: &[(&str, &str)], terminal: bool, line: &str| {
        let mut command = in_colour(lab, line);
        command.envs(variables.iter().copied());
        if terminal {
            let mut pty = Pty::spawn(&command, 24, 80);
            pty.exit();
            pty.seen().to_owned()
        } else {
            let told = Lab::told(&mut command);
            told.stdout + &told.stderr
        }
    };
    // Ours and clap's own, on both streams.
    for line in ["start @web", "start --nonsense", "help", "start --help", "-vv list"] {
        let coloured =
            |variables: &[(&str, &str)], terminal| said(variables, terminal, line).contains('\x1b');
        assert!(coloured(&[], true), "{line}");
        assert!(!coloured(&[], false), "{line}");
        assert!(coloured(&[("CLICOLOR_FORCE", "1")], false), "{line}");
        for variables in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
            assert!(!coloured(&[variables], true), "{line} with {variables:?}");
        }
        assert!(!coloured(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false), "{line}");
        assert!(coloured(&[("NO_COLOR", "")], true), "{line}");
    }
    assert!(said(&[], true, "start @web").contains(red));
}

/// Ctrl-C once `shown` is on the screen: it ends with 130 soon, says so and leaves a clean screen.
#[track_caller]
fn interrupted(lab: &Lab, pty: &mut Pty, shown: &str) {
    pty.shows(shown);
    let begin = Instant::now();
    pty.types(CTRL_C);
    assert_eq!(pty.exit().code(), Some(130), "{}", pty.screen());
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let screen = screen(lab, pty);
    assert!(screen.lines().last().is_some_and(|line| line == "error: cancelled"), "{screen}");
    assert_clean(lab, pty);
}

fn root_ctrl_c_in_an_evaluation(lab: &Lab) {
    let web = lab.busybox("web");
    let endless =
        "networking.domain = let f = n: if n == 0 then 0 else f (n - 1) + f (n - 1); in toString (f 60);";
    lab.write("web", &web.file().module(endless).text());
    let mut pty = on_terminal(lab, 80, "create @web web.nix");
    interrupted(lab, &mut pty, "evaluating");
    lab.assert_nothing_left();
    // The same without a display.
    let mut pty = on_terminal(lab, 80, "create --quiet @web web.nix");
    std::thread::sleep(Duration::from_millis(500));
    pty.types(CTRL_C);
    assert_eq!(pty.exit().code(), Some(130), "{}", pty.screen());
    lab.assert_nothing_left();
}

fn root_ctrl_c_in_a_build(lab: &Lab) {
    let web = lab.busybox("web");
    lab.write("web", &slow(lab, web.file(), "endless-page", 100).text());
    for (columns, line) in
        [(80, "create @web web.nix"), (40, "create @web web.nix"), (80, "create -L @web web.nix")]
    {
        let mut pty = on_terminal(lab, columns, line);
        interrupted(lab, &mut pty, "working on 3");
        lab.assert_nothing_left();
    }
    web.create();
}

fn root_ctrl_c_while_another_has_the_lock(lab: &Lab) {
    let web = lab.busybox("web");
    lab.write("web", &slow(lab, web.file(), "locked-page", 100).text());
    let mut first = on_terminal(lab, 80, "create @web web.nix");
    first.shows("working on");
    let mut second = on_terminal(lab, 80, "update @web web.nix");
    interrupted(lab, &mut second, &format!("waiting for process {}", first.pid()));
    // What is read now may end in the middle of a picture.
    first.shows("building");
    interrupted(lab, &mut first, "working on");
    lab.assert_nothing_left();
}

fn root_ctrl_c_in_an_activation_puts_the_old_generation_back(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    lab.write("web", &web.file().version("2").module("standin.switchSeconds = 60;").text());
    let mut pty = on_terminal(lab, 80, "update @web web.nix");
    interrupted(lab, &mut pty, "activating");
    assert_eq!((web.generation(), web.init(), web.version().as_deref()), (1, init, Some("1")));
    web.update(&web.file().version("3"));
    assert_eq!(web.version().as_deref(), Some("3"));
}

/// A child of this process that is another program already, if it has one.
fn child(parent: i32) -> Option<Pid> {
    let of = |stat: String| stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
    let line = |pid: i32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let found = pids.find(|pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|stat| of(stat) == Some(parent)) && line(*pid) != line(parent)
    });
    found.map(Pid::from_raw)
}

fn root_ctrl_c_in_a_start(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    for _ in 0..50 {
        let mut pty = on_terminal(lab, 80, "start @web");
        // LXC is quick: it is held up in the middle.
        let mut held = None;
        while held.is_none() && pty.runs() {
            held = child(pty.pid()).filter(|worker| kill(*worker, Signal::SIGSTOP).is_ok());
        }
        std::thread::sleep(Duration::from_millis(200));
        if held.is_some() && pty.runs() {
            pty.types(CTRL_C);
            assert_eq!(pty.exit().code(), Some(130), "{}", pty.screen());
            assert_clean(lab, &pty);
            assert_eq!(web.state(), State::Stopped);
            web.start();
            web.terminate();
            web.destroy();
            return lab.assert_nothing_left();
        }
        pty.exit();
        web.terminate();
    }
    panic!("no start was caught in the middle");
}

fn root_ctrl_c_while_a_guest_does_not_end(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    web.start();
    let mut pty = on_terminal(lab, 80, "stop @web");
    pty.shows("stopping web");
    assert!(pty.runs());
    pty.types(CTRL_C);
    assert_eq!(pty.exit().code(), Some(130), "{}", pty.screen());
    assert_clean(lab, &pty);
    assert_eq!(lab.line("state @web").done(), "running");
    web.terminate();
}

fn slow_to_put_back<'l>(lab: &'l Lab) -> Guest<'l> {
    let web = lab.busybox("web");
    // Also its own switch is slow: so is the way back to it.
    web.create_from(&web.file().module("standin.switchSeconds = 60;"));
    web.start();
    lab.write("web", &web.file().version("2").module("standin.switchSeconds = 60;").text());
    web
}

fn root_a_second_ctrl_c_ends_at_once(lab: &Lab) {
    let web = slow_to_put_back(lab);
    let mut pty = on_terminal(lab, 80, "update @web web.nix");
    pty.shows("activating");
    pty.forget();
    pty.types(CTRL_C);
    // It activates the old generation again, which takes a minute.
    std::thread::sleep(Duration::from_millis(1500));
    assert!(pty.runs(), "{}", pty.screen());
    let begin = Instant::now();
    pty.types(CTRL_C);
    assert_eq!(pty.exit().code(), Some(130), "{}", pty.screen());
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_clean(lab, &pty);
    // The next command puts right what was cut off.
    eventually("the guest's own switch is gone", Duration::from_secs(10), || {
        !web.shell("ps").contains("switch-to-configuration")
    });
    assert_eq!(web.generation(), 1);
    web.stop();
    web.update(&web.file().version("3"));
    web.start();
    assert_eq!(web.version().as_deref(), Some("3"));
}
