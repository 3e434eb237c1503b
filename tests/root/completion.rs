//! Completions in the real shells, and manual pages, installed as a package installs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::command::program;
use crate::harness::pty::Pty;
use crate::harness::{Guest, Lab, scenarios};

scenarios! {
    once: [
        root_completions_in_bash,
        root_completions_in_zsh,
        root_completions_in_fish,
        root_completions_fit_the_state,
        root_a_manual_page_is_shown_on_a_terminal,
    ],
    both: [],
}

/// Installs everything into the lab; the folder that is `share` there.
fn install(lab: &Lab) -> PathBuf {
    let built = program().parent().unwrap().to_owned();
    let output = Command::new("make")
        .args(["--silent", "install", "PREFIX=/usr"])
        .arg(format!("DESTDIR={}", lab.root().display()))
        .arg(format!("BUILT={}", built.display()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for file in [
        "bin/nixcloud-container",
        "libexec/nixcloud-container-worker",
        "share/doc/nixcloud-container/config.toml",
        "share/man/man1/nixcloud-container.1",
        "share/man/man1/nixcloud-container-host-up.1",
        "share/man/man5/nixcloud-container.toml.5",
    ] {
        assert!(lab.path("/usr").join(file).is_file(), "{file}");
    }
    lab.path("/usr/share")
}

/// An interactive shell in the lab's folder of files, with the installed program in its PATH.
struct Shell<'l> {
    lab: &'l Lab,
    pty: Pty,
}

/// A line with the lab's own names of containers.
fn named(lab: &Lab, line: &str) -> String {
    ["web", "db"]
        .iter()
        .fold(line.to_owned(), |line, name| line.replace(&format!("@{name}"), lab.name(name).as_str()))
}

/// A key that makes the shell print its line, between these.
const KEY: &str = "\x14";
const BEGIN: &str = "@[";
const END: &str = "]@";

impl<'l> Shell<'l> {
    /// `setup` is typed first; it ends with a prompt that is `ready> `.
    fn open(lab: &'l Lab, program: &str, arguments: &[&str], setup: &[&str]) -> Self {
        let share = install(lab);
        let home = lab.path("/home");
        fs::create_dir(&home).unwrap();
        let path = format!("{}:/usr/bin:/bin", lab.path("/usr/bin").display());
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("PATH", path)
            .env("HOME", &home)
            .env("XDG_DATA_DIRS", &share)
            .env("SHARE", &share)
            .env("TERM", "xterm")
            .env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file())
            .current_dir(lab.path("/files"));
        for variable in ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "ZDOTDIR", "BASH_ENV", "ENV", "FPATH", "PS1"] {
            command.env_remove(variable);
        }
        let mut pty = Pty::spawn(&command, 50, 150);
        for line in setup {
            pty.types(line);
            pty.types("\n");
        }
        pty.shows("\nready> ");
        Self { lab, pty }
    }

    /// What becomes of a line after TAB, and what is on the screen then. `@web` stands for the lab's name of `web`.
    fn tab(&mut self, line: &str) -> (String, String) {
        // The line before is killed, and the screen cleared. (Ctrl-C would drop what is typed too early.)
        self.pty.types("\x15\x0c");
        self.pty.until("empty line", |pty| pty.screen().trim() == "ready>");
        self.pty.forget();
        self.pty.types(&named(self.lab, line));
        self.pty.types("\t");
        self.pty.types(KEY);
        self.pty.until("line", |pty| pty.seen().contains(END));
        let seen = self.pty.seen();
        let line = seen.rsplit_once(BEGIN).unwrap().1.split_once(END).unwrap().0.to_owned();
        (self.lab.plain(&line), self.lab.plain(&self.pty.screen()))
    }

    #[track_caller]
    fn completes(&mut self, line: &str, expected: &str) {
        let (found, screen) = self.tab(line);
        assert_eq!(found, expected, "{line}\n{screen}");
    }

    /// Nothing is offered, and nothing is said.
    #[track_caller]
    fn leaves(&mut self, line: &str) {
        let (found, screen) = self.tab(line);
        let plain = line.replace('@', "");
        assert_eq!(found, plain, "{screen}");
        let said: Vec<&str> = screen.lines().filter(|line| !line.contains("ready>")).collect();
        let said = said.concat().replace(&format!("{BEGIN}{plain}{END}"), "");
        assert_eq!(said.trim(), "", "{line}");
    }

    /// Offers these, and not those.
    #[track_caller]
    fn lists(&mut self, line: &str, these: &[&str], those: &[&str]) {
        let (_, screen) = self.tab(line);
        let words: Vec<&str> =
            screen.lines().filter(|line| !line.contains("ready>")).flat_map(str::split_whitespace).collect();
        for word in these {
            assert!(words.contains(word), "{line}: no {word} in\n{screen}");
        }
        for word in those {
            assert!(!words.contains(word), "{line}: {word} in\n{screen}");
        }
    }

    /// What holds in every shell.
    fn knows_the_host(&mut self) {
        let program = "nixcloud-container";
        self.completes(&format!("{program} switch-"), "nixcloud-container switch-generation ");
        self.completes(&format!("{program} statu"), "nixcloud-container status ");
        self.completes(&format!("{program} host u"), "nixcloud-container host up ");
        self.completes(&format!("{program} completions z"), "nixcloud-container completions zsh ");
        self.lists(&format!("{program} sta"), &["start", "state"], &["status", "stop", "web"]);
        self.lists(&format!("{program} "), &["create", "login", "man"], &["attach", "--quiet", "notes.txt"]);
        self.completes(&format!("{program} start --qui"), "nixcloud-container start --quiet ");
        self.lists(&format!("{program} stop --"), &["--timeout", "--json"], &["--force"]);
        // Containers: ours alone, with options before them, also in an old spelling.
        self.completes(&format!("{program} start w"), "nixcloud-container start web ");
        self.completes(&format!("{program} -q --state w"), "nixcloud-container -q --state web ");
        self.completes(&format!("{program} run -w /srv w"), "nixcloud-container run -w /srv web ");
        self.lists(&format!("{program} destroy "), &["web", "db"], &["debian", "notes.txt"]);
        self.leaves(&format!("{program} start deb"));
        self.leaves(&format!("{program} start @web d"));
        self.leaves(&format!("{program} run @web no"));
        self.leaves(&format!("{program} create w"));
        // Generations of the container before them.
        self.lists(&format!("{program} switch-generation @web "), &["1", "2"], &["3", "old"]);
        self.lists(&format!("{program} delete-generations @web "), &["1", "old", "30d", "+5"], &["2"]);
        self.completes(
            &format!("{program} switch-generation @db "),
            "nixcloud-container switch-generation db 1 ",
        );
        self.completes(
            &format!("{program} delete-generations @web o"),
            "nixcloud-container delete-generations web old ",
        );
        self.leaves(&format!("{program} switch-generation nobody "));
        // Files: container files and folders that are some, and the way to them.
        self.lists(&format!("{program} create x "), &["site/", "plain/"], &["notes.txt", "lab.toml"]);
        self.completes(&format!("{program} create x sit"), "nixcloud-container create x site/");
        self.completes(
            &format!("{program} update @web plain/in"),
            "nixcloud-container update web plain/inner.nix ",
        );
        self.completes(&format!("{program} create x a\\ b"), "nixcloud-container create x a\\ b.nix ");
        self.leaves(&format!("{program} create x no"));
        self.completes(&format!("{program} --config la"), "nixcloud-container --config lab.toml ");
        self.completes(&format!("{program} --config=la"), "nixcloud-container --config=lab.toml ");
        // A host that cannot be read is nobody's business now.
        self.leaves(&format!("{program} --config=notes.txt start w"));
        self.leaves(&format!("{program} --config nothing start w"));
    }
}

/// Two containers of ours and one of another, and files.
fn prepare<'l>(lab: &'l Lab) -> [Guest<'l>; 2] {
    let guests = [lab.busybox("web"), lab.busybox("db")];
    for guest in &guests {
        guest.create();
    }
    guests[0].update(&guests[0].file().version("2"));
    fs::create_dir(lab.path("/var/lib/lxc/debian")).unwrap();
    fs::write(lab.path("/var/lib/lxc/debian/config"), "").unwrap();
    let files = lab.path("/files");
    for folder in ["site", "plain"] {
        fs::create_dir(files.join(folder)).unwrap();
    }
    for file in ["a b.nix", "site/default.nix", "plain/inner.nix", "notes.txt", "lab.toml"] {
        fs::write(files.join(file), "").unwrap();
    }
    guests
}

fn clean(lab: &Lab) {
    fs::remove_dir_all(lab.path("/var/lib/lxc/debian")).unwrap();
}

fn root_completions_in_bash(lab: &Lab) {
    prepare(lab);
    let setup = [
        "source /usr/share/bash-completion/bash_completion",
        "bind 'set show-all-if-ambiguous on'; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'",
        r#"bind -x '"\C-t": printf "@%s%s]%s" "[" "$READLINE_LINE" "@"'"#,
        "PS1='ready> '",
    ];
    let mut bash = Shell::open(lab, "bash", &["--norc", "--noprofile", "-i"], &setup);
    bash.knows_the_host();
    // The quotes that were opened are closed.
    bash.completes("nixcloud-container create x \"a", "nixcloud-container create x \"a b.nix\" ");
    bash.completes("nixcloud-container --config=\"la", "nixcloud-container --config=\"lab.toml\" ");
    bash.completes(
        "true; A=b sudo nixcloud-container start w",
        "true; A=b sudo nixcloud-container start web ",
    );
    clean(lab);
}

fn root_completions_in_zsh(lab: &Lab) {
    prepare(lab);
    let setup = [
        "fpath=($SHARE/zsh/site-functions $fpath)",
        "autoload -U compinit; compinit -u -d $HOME/dump; unsetopt beep",
        r#"tell() { print -rn "@""[${BUFFER}]""@" >$TTY }; zle -N tell; bindkey '^T' tell"#,
        "PS1='ready> '",
    ];
    let mut zsh = Shell::open(lab, "zsh", &["-f", "-i"], &setup);
    zsh.knows_the_host();
    zsh.completes("sudo nixcloud-container start w", "sudo nixcloud-container start web ");
    // Help stands beside what is offered.
    let (_, screen) = zsh.tab("nixcloud-container delete-generations @web ");
    assert!(screen.contains("old  -- all but the current and the booted one"), "{screen}");
    clean(lab);
}

fn root_completions_in_fish(lab: &Lab) {
    prepare(lab);
    let setup = [
        r#"bind \ct 'printf "@%s%s]%s" "[" (commandline) "@"'"#,
        "set fish_autosuggestion_enabled 0",
        "function fish_prompt; echo -n 'ready> '; end",
    ];
    let mut fish = Shell::open(lab, "fish", &["--private", "-i"], &setup);
    fish.knows_the_host();
    // As behind `sudo`, which need not be installed; without it fish does not know what may follow it.
    fish.completes("command nixcloud-container start w", "command nixcloud-container start web ");
    let (_, screen) = fish.tab("nixcloud-container delete-generations @web ");
    assert!(screen.contains("(all but the current and the booted one)"), "{screen}");
    clean(lab);
}

/// The order, and what is said of them. No shell is needed: this is what shells are told.
fn root_completions_fit_the_state(lab: &Lab) {
    let [web, db] = prepare(lab);
    web.start();
    let offered = |line: &str| {
        let line = format!("__complete fish nixcloud-container {line}");
        let answer = lab.cli(named(lab, &line).split(' ')).done();
        let lines: Vec<String> = lab.plain(&answer).lines().skip(1).map(str::to_owned).collect();
        lines
    };
    assert_eq!(offered("stop "), ["web\trunning", "db\tstopped"]);
    assert_eq!(offered("start "), ["db\tstopped", "web\trunning"]);
    assert_eq!(offered("state "), ["db\tstopped", "web\trunning"]);
    let generations = offered("switch-generation @web ");
    assert!(generations[0].ends_with(", current, booted"), "{generations:?}");
    web.stop();
    assert_eq!(offered("stop "), ["db\tstopped", "web\tstopped"]);
    db.destroy();
    assert_eq!(offered("start "), ["web\tstopped"]);
    clean(lab);
}

fn root_a_manual_page_is_shown_on_a_terminal(lab: &Lab) {
    let mut command = lab.command(["man", "host", "up"]);
    command.env("MANPAGER", "cat").env("TERM", "xterm").env_remove("MANWIDTH");
    let mut pty = Pty::spawn(&command, 100, 80);
    pty.shows("NIXCLOUD-CONTAINER-HOST-UP(1)");
    pty.shows("       nixcloud-container host up [OPTIONS]");
    assert!(pty.exit().success());
    let source = lab.line("man host up").done();
    assert!(source.contains("\n.SH NAME\n"), "{source}");
}
