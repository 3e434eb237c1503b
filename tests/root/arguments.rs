//! `-n` and `-l`: arguments for Nix, and those of LXC's tools, through the program.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nixcloud_container::State;

use crate::harness::{Guest, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_nix_arguments_choose_nixpkgs_are_kept_and_replaced,
        root_nix_arguments_reach_the_build_as_well,
        root_wrong_nix_arguments_are_usage_errors,
        root_items_are_stored_used_again_replaced_and_rolled_back,
        root_items_of_a_failed_update_are_forgotten,
        root_items_and_system_stay_together_when_an_update_is_killed,
        root_items_that_open_the_host_are_refused,
        root_refused_words_of_lxc_tools_are_usage_errors,
        root_list_filters_and_columns,
        root_destroy_as_lxc_destroy,
        root_quiet_as_of_the_lxc_tools,
        root_start_as_lxc_start,
        root_start_in_the_foreground_as_lxc_start,
        root_stop_as_lxc_stop,
        root_run_as_lxc_attach,
        root_create_logs_where_it_is_told,
    ],
    both: [],
}

const SOON: Duration = Duration::from_secs(30);

/// A second nixpkgs, of another release.
fn second_nixpkgs(lab: &Lab, release: &str) -> PathBuf {
    let tree = lab.root().join("files").join(format!("nixpkgs-{release}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/nixpkgs/prepare.sh");
    let made =
        Command::new("sh").arg(script).arg(&tree).args(["--no-systemd", "--release", release]).output();
    let made = made.must("prepare a second nixpkgs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    tree
}

/// What NixOS calls itself in the newest generation, and how many there are.
fn system(web: &Guest<'_>) -> (String, usize) {
    let generations = web.container().generations().must("generations");
    let current = generations.iter().find(|generation| generation.current).unwrap();
    (current.system_version.clone().unwrap_or_default(), generations.len())
}

fn root_nix_arguments_choose_nixpkgs_are_kept_and_replaced(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    let file = lab.file("web", &web.file());
    let file = file.to_str().unwrap();
    let (old, new) = (second_nixpkgs(lab, "23.05"), second_nixpkgs(lab, "25.05"));
    let include = |tree: &PathBuf| format!("-I nixpkgs={}", tree.display());
    let kept = || web.container().status().must("status").nix_args;

    // The tree, and in the same words something for the build: its log would say an unknown setting.
    let words = format!("{} --option cores 1", include(&old));
    lab.cli(["create", name, file, "-n", &words]).done();
    assert!(system(&web).0.starts_with("23.05"), "{:?}", system(&web));
    assert_eq!(kept(), ["-I", &include(&old)[3..], "--option", "cores", "1"]);

    // Without `-n`, also with another file, they are those that were given last.
    let next = lab.file("next", &web.file().version("2"));
    lab.cli(["update", name, next.to_str().unwrap()]).done();
    assert_eq!((system(&web).0.starts_with("23.05"), system(&web).1), (true, 2));
    assert_eq!(kept().len(), 5);

    lab.cli(["update", name, "-n", &include(&new)]).done();
    assert_eq!((system(&web).0.starts_with("25.05"), system(&web).1), (true, 3));
    assert_eq!(kept(), ["-I", &include(&new)[3..]]);
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"), "the file stayed");

    lab.cli(["update", name, "-n", ""]).done();
    assert!(!system(&web).0.starts_with("25.05") && kept().is_empty(), "{:?}", system(&web));
}

/// `--argstr` is for the evaluation alone, `--option cores` is seen by what is built.
fn root_nix_arguments_reach_the_build_as_well(lab: &Lab) {
    let web = lab.busybox("web");
    // Of this lab alone, or it would have been built before.
    let cores = format!("pkgs.runCommand \"cores-{}\" {{ }} \"echo $NIX_BUILD_CORES >$out\"", web.name());
    let cores = format!(
        "systemd.services.cores = {{ wantedBy = [ \"multi-user.target\" ]; script = \"cat ${{{cores}}} >/run/cores\"; }};"
    );
    let file = lab.file("web", &web.file().module(&cores));
    let name = web.name().as_str();
    lab.cli(["create", name, file.to_str().unwrap(), "-n", "--option cores 3", "-n", "--show-trace -j1"])
        .done();
    web.start();
    eventually("its build is shown", SOON, || web.sh("test -s /run/cores").exit.success());
    assert_eq!(web.shell("cat /run/cores"), "3");
}

fn root_wrong_nix_arguments_are_usage_errors(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file());
    let file = file.to_str().unwrap();
    for (words, says) in [
        ("--frobnicate", "unknown Nix argument `--frobnicate`"),
        ("-I", "`-I` takes a value"),
        ("--store /x", "`--store` cannot be used here"),
        ("--argstr request /etc/passwd", "cannot be used here"),
        ("nixpkgs=/x", "`nixpkgs=/x` is no argument of Nix"),
    ] {
        for command in ["create", "update"] {
            let told = lab.cli([command, web.name().as_str(), file, "-n", words]);
            assert_eq!(told.code, 2, "{words}: {told:?}");
            assert!(told.stderr.contains(says) && told.stderr.contains("Usage:"), "{words}: {told:?}");
        }
    }
    assert!(!web.container().exists().must("exists"));
    lab.assert_nothing_left();
}

/// The groups in its LXC configuration.
fn groups(web: &Guest<'_>) -> String {
    let config = web.config();
    config.lines().filter_map(|line| line.strip_prefix("lxc.group = ")).collect::<Vec<_>>().join(" ")
}

fn root_items_are_stored_used_again_replaced_and_rolled_back(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    let file = lab.file("web", &web.file().extra("lxc.group = file"));
    let stored = || web.container().status().must("status").lxc_items;
    let item = |value: &str| vec![("lxc.group".to_owned(), value.to_owned())];
    lab.cli(["create", name, file.to_str().unwrap(), "-l", "-s lxc.group=one"]).done();
    assert_eq!((groups(&web).as_str(), stored()), ("file one", item("one")));

    // Without `-s` they stay, for a new generation, too.
    let second = lab.file("second", &web.file().version("2").extra("lxc.group = file"));
    lab.cli(["update", name, second.to_str().unwrap(), "-l", "-q"]).done();
    assert_eq!((web.generation(), groups(&web).as_str()), (2, "file one"));

    // With one, they are replaced, and in a running guest wait for a restart.
    web.start();
    let third = lab.file("third", &web.file().version("3").extra("lxc.group = file"));
    let said = lab.cli(["update", name, third.to_str().unwrap(), "-l", "-s lxc.group=two"]).done();
    assert!(said.contains("pending restart: lxc.group: one -> two"), "{said}");
    assert_eq!((web.generation(), groups(&web).as_str()), (3, "file two"));
    // The list tells those of the guest as it runs.
    let shown = |words: &str| lab.cli(["list", "-l", words]).done();
    assert_eq!(
        (shown("-g one"), shown("-g file,one"), shown("-g two")),
        (name.into(), name.into(), "".into())
    );

    // They are the generation's.
    lab.line("rollback @web").done();
    assert_eq!((web.generation(), groups(&web).as_str(), stored()), (2, "file one", item("one")));
    lab.line("switch-generation @web 3").done();
    assert_eq!((groups(&web).as_str(), stored()), ("file two", item("two")));

    // Also where the system is the same, and so the generation.
    lab.cli(["update", name, "-l", ""]).done();
    assert_eq!((web.generation(), groups(&web).as_str(), stored()), (3, "file", vec![]));
    web.stop();
    web.start();
    assert_eq!(groups(&web), "file");
}

fn root_items_of_a_failed_update_are_forgotten(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    let file = lab.file("web", &web.file());
    lab.cli(["create", name, file.to_str().unwrap(), "-l", "-s lxc.group=one"]).done();
    web.start();
    // It does not build; it builds and does not activate; and the same system that does not.
    for bad in ["standin.switchExit = 1;", "assertions = [ { assertion = false; message = \"no\"; } ];"] {
        let file = lab.file("bad", &web.file().version("2").module(bad));
        let told = lab.cli(["update", name, file.to_str().unwrap(), "-l", "-s lxc.group=two"]);
        assert_eq!(told.code, 1, "{told:?}");
        assert_eq!(web.container().status().must("status").lxc_items.len(), 1);
        assert_eq!(
            (web.generation(), web.container().status().must("status").lxc_items[0].1.as_str()),
            (1, "one")
        );
    }
    web.stop();
    web.start();
    assert_eq!(groups(&web), "one");
}

/// Whatever is killed when: the items that boot are those of the generation that boots.
fn root_items_and_system_stay_together_when_an_update_is_killed(lab: &Lab) {
    let web = lab.busybox("web");
    let update = |version: u32| {
        let file = lab.file("web", &web.file().version(&version.to_string()));
        let item = format!("-s lxc.group={version}");
        let mut command = lab.command(["update", web.name().as_str(), file.to_str().unwrap(), "-l", &item]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    assert!(update(0).status().unwrap().success());
    let begin = Instant::now();
    assert!(update(1).status().unwrap().success());
    let usual = begin.elapsed();
    let moments = 16;
    for at in 2..2 + moments {
        let mut child = update(at).spawn().unwrap();
        std::thread::sleep(usual * (at - 2) / moments);
        let _ = child.kill();
        child.wait().unwrap();
        web.start();
        assert_eq!(web.version().unwrap(), groups(&web), "moment {at}");
        assert_eq!(
            web.version().unwrap(),
            web.container().status().must("status").groups.concat(),
            "moment {at}"
        );
        web.terminate();
    }
}

fn root_items_that_open_the_host_are_refused(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    let file = lab.file("web", &web.file());
    let file = file.to_str().unwrap();
    let create = |item: &str| lab.cli(["create", name, file, "-l", &format!("-s '{item}'")]);
    for item in [
        "lxc.idmap=",
        "lxc.idmap=u 0 0 4294967295",
        "lxc.hook.mount=/bin/sh",
        "lxc.group=a\nlxc.idmap =",
        "lxc.cgroup2.dir = = x",
        "lxc.mount.entry=/etc etc none bind,ro,idmap=container,remount 0 0",
    ] {
        let told = create(item);
        assert_eq!(told.code, 1, "{item}: {told:?}");
        assert!(told.stderr.contains("LXC configuration item `lxc."), "{item}: {told:?}");
        assert!(!web.container().exists().must("exists"), "{item}");
    }
    // One that is harmless, and that liblxc does not know.
    let told = create("lxc.signal.halt=SIGNONSENSE");
    assert!(told.code == 1 && told.stderr.contains("LXC refuses `lxc.signal.halt"), "{told:?}");
    lab.assert_nothing_left();
    // A read-only mount is locked as one of the container file is.
    lab.cli([
        "create",
        name,
        file,
        "-l",
        "-s 'lxc.mount.entry=/usr/share usr/share none bind,ro,create=dir 0 0'",
    ])
    .done();
    web.start();
    assert!(web.config().contains("/locked/item-1 usr/share "), "{}", web.config());
    assert!(!web.sh("mount -o remount,bind,rw /usr/share").exit.success());
}

fn root_refused_words_of_lxc_tools_are_usage_errors(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    for (line, says) in [
        ("start @web -l --rcfile=/x", "`--rcfile` of lxc-start does not work here"),
        ("start @web -l -P/x", "`paths.lxc`"),
        ("start @web -l -x", "lxc-start has no option `-x`"),
        ("start @web -l -nother", "`other`"),
        ("start @web -l -F -l sh", "`sh` is no option of lxc-start"),
        ("stop @web -l --time", "takes a value: SECONDS"),
        ("stop @web -l -k -l --nokill", "`-k` of lxc-stop does not go with --nokill"),
        ("stop @web -t 3 -l -t5", "`-t` and `-l`"),
        ("restart @web -l -W", "`-W` of lxc-stop does not work here"),
        ("terminate @web -l -t5", "`-t` of lxc-stop does not work here"),
        ("list -l --nesting", "`--nesting` of lxc-ls does not work here"),
        ("list -l -FCOLOUR", "columns are NAME"),
        ("list --watch -l -f", "`--watch`"),
        ("destroy @web -l -a", "of its options these work here: -n NAME, -f, -s, -q"),
        ("create @web /x -l -tdebian", "the container file takes its place"),
        ("run -l --pty-log=/x @web ls", "`--pty-log` of lxc-attach does not work here"),
        ("destroy @web -l --help", "docs/lxc-args.md"),
    ] {
        let told = lab.line(line);
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{line}: {told:?}");
        assert!(told.stderr.contains(says), "{line}: {told:?}");
    }
    assert_eq!(web.state(), State::Stopped);
}

fn root_list_filters_and_columns(lab: &Lab) {
    let (web, db, mail) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("mail"));
    for guest in [&web, &db, &mail] {
        guest.create();
    }
    web.start();
    db.start();
    lab.line("freeze @db").done();
    let list = |words: &str| lab.plain(&lab.cli(["list", "-l", words]).done()).replace('\n', " ");
    assert_eq!(list("--running"), "web");
    assert_eq!(list("--frozen"), "db");
    assert_eq!(list("--stopped"), "mail");
    assert_eq!(list("--active"), "db web");
    assert_eq!(list("--stopped --frozen"), "db mail");
    assert_eq!(list("--filter ^[dw]"), "db web");
    assert_eq!(list("-1 ^m"), "mail");
    assert_eq!(list("nobody"), "");
    assert_eq!(list("--defined"), "db mail web");

    let table = |words: &str| lab.plain(&lab.cli(["list", "-l", words]).done());
    let row = |table: &str, name: &str| {
        let line = table.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{table}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let fancy = table("-f");
    assert_eq!(row(&fancy, "NAME"), ["NAME", "STATE", "AUTOSTART", "GROUPS", "IPV4", "IPV6", "UNPRIVILEGED"]);
    let address = web.address().to_string();
    assert_eq!(row(&fancy, "web"), ["web", "RUNNING", "0", "-", &address, "-", "true"]);
    assert_eq!(row(&fancy, "mail"), ["mail", "STOPPED", "0", "-", "-", "-", "true"]);
    let wide = table("-F name,pid,ram,swap,interface");
    let (init, cells) = (web.init().to_string(), row(&wide, "web"));
    assert_eq!((cells[1].as_str(), cells[4].as_str()), (init.as_str(), "hostonly"), "{wide}");
    assert!(cells[2].ends_with("MB") && cells[2] != "0.00MB", "{wide}");
    assert_eq!(row(&wide, "mail")[1..], ["-", "-", "-", "-"]);
    let json = lab.cli(["list", "--json", "-l", "-f --stopped"]).done();
    assert!(json.contains("\"stopped\"") && !json.contains("\"running\""), "{json}");
    lab.line("unfreeze @db").done();
}

fn root_destroy_as_lxc_destroy(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let told = lab.line("destroy @web -l -s");
    assert!(told.code == 1 && told.stderr.contains("is running"), "{told:?}");
    lab.line("destroy @web -l -fs").done();
    lab.assert_nothing_left();
}

fn root_quiet_as_of_the_lxc_tools(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file());
    for words in [
        vec!["create", web.name().as_str(), file.to_str().unwrap(), "-l", "-q"],
        vec!["start", web.name().as_str(), "-l", "-q"],
        vec!["stop", web.name().as_str(), "-l", "-q"],
        vec!["destroy", web.name().as_str(), "-l", "-q"],
    ] {
        let told = lab.cli(&words);
        assert_eq!((told.code, told.stdout.as_str(), told.stderr.as_str()), (0, "", ""), "{words:?}");
    }
}

fn root_start_as_lxc_start(lab: &Lab) {
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    let name = web.name().as_str();
    web.create();
    other.boot();
    let file = |name: &str| lab.path(&format!("/files/{name}"));
    let words = format!(
        "-d -s lxc.group=once -L {} -p {} -o {} -l TRACE --share-ipc {} -C -n {name}",
        file("console").display(),
        file("pid").display(),
        file("log").display(),
        other.name(),
    );
    lab.cli(["start", name, "-l", &words]).done();
    let read = |name: &str| fs::read_to_string(file(name)).must(name);
    assert_eq!(read("pid").trim(), web.init().to_string());
    assert!(read("log").contains(" TRACE "), "{}", read("log"));
    assert!(file("console").exists());
    let ipc = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/ipc")).unwrap();
    assert_eq!(ipc(web.init()), ipc(other.init()));
    // For this start alone.
    assert_eq!(groups(&web), "");
    let told = lab.line("start @web -l -q");
    assert_eq!((told.code, told.stdout.as_str()), (0, ""));
    web.await_version();
    web.stop();
    let told = lab.cli(["start", name, "-l", "-s lxc.hook.mount=/bin/sh"]);
    assert!(told.code == 1 && told.stderr.contains("lxc.hook.mount"), "{told:?}");
    assert_eq!(web.state(), State::Stopped);
}

fn root_start_in_the_foreground_as_lxc_start(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let log = lab.path("/files/console");
    let words = format!("-dF -L {}", log.display());
    let mut command = lab.command(["start", web.name().as_str(), "-l", &words]);
    let mut start = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = start.stdout.take().unwrap();
    web.await_version();
    assert!(start.try_wait().unwrap().is_none(), "it goes on as long as the guest does");
    lab.line("stop @web").done();
    assert!(start.wait().unwrap().success());
    let mut text = String::new();
    said.read_to_string(&mut text).unwrap();
    assert!(text.contains("standin: halt") && lab.plain(&text).ends_with("web has ended\n"), "{text}");
    let logged = fs::read_to_string(&log).must("console log");
    assert!(logged.contains("standin: halt"), "{logged}");
    // A console of its own and this one.
    let told = lab.line("start @web -F -l -c/dev/null");
    assert!(told.code == 2 && told.stderr.contains("`-c`"), "{told:?}");
}

fn root_stop_as_lxc_stop(lab: &Lab) {
    let web = lab.busybox("web");
    // One that does not listen.
    web.create_from(&web.file().module("standin.ignoreHalt = true;"));
    web.start();
    let told = lab.cli(["stop", web.name().as_str(), "-l", "-t 1 --nokill"]);
    assert!(told.code == 1 && told.stderr.contains("did not shut down within 1 s"), "{told:?}");
    assert_eq!(web.state(), State::Running);
    // Our own limit kills nothing.
    assert_eq!(lab.line("stop @web -t 1").code, 1);
    assert_eq!(web.state(), State::Running);
    let said = lab.cli(["stop", web.name().as_str(), "-l", "-t 1"]).done();
    assert_eq!(
        lab.plain(&said),
        "killed web: it did not shut down in time, and `-l \"-t SECONDS\"` kills it then"
    );
    assert_eq!(web.state(), State::Stopped);

    web.update(&web.file());
    web.start();
    assert_eq!(lab.plain(&lab.line("stop @web -l -k").done()), "terminated web");
    assert_eq!(lab.plain(&lab.line("stop @web -l -k").done()), "web is not running");
    web.start();
    let before = web.init();
    assert_eq!(lab.plain(&lab.line("stop @web -l -r").done()), "rebooted web");
    assert_ne!(web.init(), before);
    web.await_version();
    assert_eq!(lab.plain(&lab.line("restart @web -l -k").done()), "restarted web");
    web.await_version();
    lab.line("stop @web -l -W").done();
    eventually("it ends", SOON, || web.state() == State::Stopped);
    web.start();
    assert_eq!(lab.plain(&lab.line("terminate @web -l -k -l --nolock").done()), "terminated web");
}

fn root_run_as_lxc_attach(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    web.boot();
    let run = |words: &str, script: &str| {
        let mut command = lab.command(["run", "-l", words, name, "/bin/sh", "-c", script]);
        Lab::told(command.env("COLOUR", "red").env("SIZE", "big"))
    };
    assert_eq!(run("-u 1000 -g 100", "id -u; id -g").done(), "1000\n100");
    assert_eq!(run("-v A=b=c -v 'B=d e'", "echo $A $B $COLOUR").done(), "b=c d e");
    assert_eq!(run("--keep-var COLOUR", "echo $COLOUR$SIZE").done(), "red");
    assert_eq!(run("--keep-env", "echo $COLOUR$SIZE").done(), "redbig");
    assert_eq!(run("--keep-env --clear-env", "echo $COLOUR").done(), "");
    // A program of the host, in the guest's network.
    let address = web.address().to_string();
    assert!(run("-s NETWORK", "ip -4 addr; cat /etc/hostname").done().contains(&address));
    for dangerous in ["-e", "-eLSM", "-R", "-s WORLD"] {
        let told = run(dangerous, "id");
        assert_eq!((told.code, told.stdout.as_str()), (2, ""), "{dangerous}: {told:?}");
    }
    let told = run("-s MOUNT", "id");
    assert!(told.code == 1 && told.stderr.contains("`mnt` needs `user`"), "{told:?}");
    let told = lab.cli(["run", "-u", "5", "-l", "-u 6", name, "id"]);
    assert!(told.code == 2 && told.stderr.contains("named twice"), "{told:?}");
}

fn root_create_logs_where_it_is_told(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file());
    let log = lab.path("/files/log");
    let file = file.to_str().unwrap();
    // What liblxc takes it does not talk about.
    let words = |item: &str| format!("-o {} -l DEBUG -s {item}", log.display());
    let told = lab.cli([
        "create",
        web.name().as_str(),
        file,
        "-l",
        &words("lxc.net.7.type=veth -s lxc.net.7.ipv4.address=999.1.1.1/8"),
    ]);
    assert_eq!(told.code, 1, "{told:?}");
    let said = fs::read_to_string(&log).must("log");
    assert!(said.contains(" ERROR ") && said.contains("999.1.1.1"), "{said}");
    fs::remove_file(&log).unwrap();
    lab.cli(["create", web.name().as_str(), file, "-l", &words("lxc.group=x")]).done();
    fs::remove_file(&log).unwrap();
    lab.cli(["update", web.name().as_str(), "-l", &format!("-o {}", log.display())]).done();
    assert!(log.exists());
    assert_eq!(groups(&web), "x", "`-o` says nothing of items");
}
