//! Who a command runs as, by the files of a hostile guest; and the other ways in.

use std::time::{Duration, Instant};

use nixcloud_container::{Account, Elevated, Error, ErrorKind, Exit, Namespace, RunRequest, User};

use crate::harness::{Guest, Kind, Lab, Must, Pty, chain, scenarios};

scenarios! {
    once: [
        root_users_files_that_never_end_hold_nobody_up,
        root_a_guests_links_lead_to_no_file_of_the_host,
        root_no_option_hands_the_host_to_the_guest,
        root_a_program_of_the_host_sees_the_guests_network,
        root_run_keeps_the_environment_when_asked,
    ],
    both: [
        root_run_as_a_user_by_name,
        root_a_folder_that_is_not_there_is_an_error,
        root_login_as_a_user_is_his_own_shell,
    ],
}

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\\n+nis::::::\\nalice:x:1000:100:Alice:/home/alice:/bin/sh\\n\
                      huge:x:4294967295:1::/:/bin/sh\\nfar:x:70000:1::/:/bin/sh\\n";
const GROUP: &str = "root:x:0:\\nusers:x:100:\\nwheel:x:1:bob,alice\\nvideo:x:26:alice\\n";

fn with_users(web: &Guest<'_>) {
    web.boot();
    web.shell(&format!(
        "rm -f /etc/passwd /etc/group; printf '{PASSWD}' >/etc/passwd; printf '{GROUP}' >/etc/group; \
         mkdir -p /home/alice && chown 1000:100 /home/alice"
    ));
}

fn run(web: &Guest<'_>, user: &str, script: &str) -> Result<String, Error> {
    let request = RunRequest::new(["/bin/sh", "-c", script]).with_user(user.parse::<User>().unwrap());
    web.try_run(request, b"").map(|said| said.text())
}

fn root_run_as_a_user_by_name(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    with_users(&web);
    let id = "echo $(id -u) $(id -g) $(id -G); pwd; echo $USER $LOGNAME $HOME $SHELL";
    let known = "/\nalice alice /home/alice /bin/sh";
    assert_eq!(run(&web, "alice", id).must("run"), format!("1000 100 100 1 26\n{known}"));
    assert_eq!(run(&web, "1000", id).must("run"), format!("1000 100 100 1 26\n{known}"));
    assert_eq!(run(&web, "alice:wheel", id).must("run"), format!("1000 1 1 26\n{known}"));
    assert_eq!(run(&web, "alice:26", id).must("run"), format!("1000 26 26 1\n{known}"));
    assert_eq!(run(&web, "4000:users", "id -u; id -g; id -G; echo $HOME").must("run"), "4000\n100\n100\n/");
    assert_eq!(run(&web, "root", "id -u; echo $HOME").must("run"), "0\n/root");
    let path = run(&web, "alice", "echo $PATH").must("run");
    assert!(path.starts_with("/run/wrappers/bin:/home/alice/.nix-profile/bin:"), "{path}");
    assert!(path.contains(":/etc/profiles/per-user/alice/bin:"), "{path}");
    // Files are his, and root's are not.
    assert_eq!(
        run(&web, "alice", "echo x >/home/alice/x; cat /root/.x 2>/dev/null || echo no").must("run"),
        "no"
    );
    assert_eq!(web.shell("stat -c %u:%g /home/alice/x"), "1000:100");

    let error = run(&web, "alcie", "id").unwrap_err();
    assert_eq!(error.to_string(), format!("container `{}` has no user `alcie`", web.name()));
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.hint().unwrap().to_string(), "there are: root, alice, far");
    let Error::NoAccount { missing, .. } = run(&web, "alice:staff", "id").unwrap_err() else { panic!() };
    assert!(missing.group && missing.wanted == Account::Name("staff".to_owned()));
    // Lines that are none, and an id that the guest does not have.
    assert!(matches!(run(&web, "huge", "id"), Err(Error::NoAccount { .. })));
    let error = run(&web, "far", "id").unwrap_err();
    assert!(chain(&error).contains("could not be set up"), "{}", chain(&error));

    // By the command itself.
    let told = lab.line("run -u alice:wheel -w /home/alice -e A=b @web sh -c set");
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.stdout.contains("A='b'") || told.stdout.contains("A=b"), "{told:?}");
    let told = lab.line("run -u alcie @web id");
    assert_eq!(told.code, 1);
    assert!(
        told.stderr.contains("has no user `alcie`") && told.stderr.contains("there are: root"),
        "{told:?}"
    );
}

fn root_a_folder_that_is_not_there_is_an_error(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    with_users(&web);
    web.shell("mkdir -m 700 /closed; ln -s /home/alice /link; : >/file");
    assert_eq!(lab.line("run -w /link @web pwd -P").done(), "/home/alice");
    for (line, why) in [
        ("run -w /none @web touch /began", "No such file or directory"),
        ("run -w /file @web touch /began", "Not a directory"),
        ("run -u alice -w /closed @web touch /home/alice/began", "Permission denied"),
    ] {
        let told = lab.line(line);
        assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{line}: {told:?}");
        assert!(
            told.stderr.contains("the command cannot start in /") && told.stderr.contains(why),
            "{told:?}"
        );
    }
    assert_eq!(web.shell("ls /began /home/alice 2>/dev/null || :"), "/home/alice:");
    // A home that is not there keeps nobody out; a folder that was asked for does.
    web.shell("rm -rf /home/alice");
    let login = |folder: &[&str]| {
        let words = ["login", web.name().as_str(), "-u", "alice"];
        let mut login = Pty::spawn(&lab.command(words.iter().chain(folder)), 33, 101);
        if folder.is_empty() {
            login.types("echo in''side $(pwd); exit 5\n");
            login.awaits("inside /\r");
        }
        let code = login.exit().code();
        assert_eq!(login.settings(), *login.settings_before());
        code
    };
    assert_eq!(login(&[]), Some(5));
    assert_eq!(login(&["-w", "/none"]), Some(1));
}

fn root_login_as_a_user_is_his_own_shell(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    with_users(&web);
    web.shell(
        "printf '#!/bin/sh\\necho I am $0 of $(id -un) in $PWD with $#\\nexec sh -i' >/bin/his 2>/dev/null || exit 0; chmod +x /bin/his; \
         sed -i 's|:/home/alice:/bin/sh|:/home/alice:/bin/his|' /etc/passwd",
    );
    let mut command = lab.command(["login", web.name().as_str(), "-u", "alice", "-e", "A=b c"]);
    let mut login = Pty::spawn(command.env("TERM", "xterm"), 33, 101);
    login.awaits("$ ");
    login.types("echo in''side $(pwd) $HOME $USER, $A; tty; : <$(tty) && echo op''ened\n");
    login.awaits("inside /home/alice /home/alice alice, b c");
    // It is his by its name, too: as for `screen` or a second `cat` on it.
    login.awaits("opened");
    login.types("exit 9\n");
    assert_eq!(login.exit().code(), Some(9));
    assert_eq!(login.settings(), *login.settings_before());
    // A shell that is not there.
    web.shell("sed -i 's|^\\(alice.*\\):[^:]*$|\\1:/bin/none|' /etc/passwd");
    let mut login = Pty::spawn(&command, 33, 101);
    assert_eq!(login.exit().code(), Some(127));
    assert!(login.seen().contains("the shell of `alice` not found"), "{}", login.seen());
}

fn root_users_files_that_never_end_hold_nobody_up(lab: &Lab) {
    let web = lab.busybox("web");
    with_users(&web);
    let replacements = [
        "mkfifo /etc/passwd",
        "mkdir /etc/passwd",
        "ln -s /dev/zero /etc/passwd",
        "ln -s /dev/console /etc/passwd",
        "ln -s /proc/kmsg /etc/passwd",
        "ln -s /proc/1/mem /etc/passwd",
        "ln -s passwd /etc/passwd",
        "truncate -s 1099511627776 /etc/passwd",
        "yes alice:x:1000:100:: | head -c 3000000 >/etc/passwd",
        ":",
    ];
    for replacement in replacements {
        web.shell(&format!("rm -rf /etc/passwd; {replacement}"));
        let begin = Instant::now();
        let error = run(&web, "alice", "id").unwrap_err();
        assert!(begin.elapsed() < Duration::from_secs(3), "{replacement}: {:?}", begin.elapsed());
        assert!(!chain(&error).is_empty());
        // Numbers need no file, and the guest's own `id` would wait for it.
        let ids = run(&web, "1000:100", "grep -c -E '^[UG]id:.1000?.' /proc/self/status").must(replacement);
        assert_eq!(ids, "2", "{replacement}");
    }
}

fn root_a_guests_links_lead_to_no_file_of_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    with_users(&web);
    // A user that the host alone knows.
    let outside = lab.path("/passwd");
    std::fs::write(&outside, "outsider:x:1234:1234::/:/bin/sh\n").unwrap();
    let outside = outside.display();
    for link in [
        format!("{outside}"),
        format!("../../../../../../../..{outside}"),
        format!("/proc/1/root{outside}"),
        format!("/proc/self/root{outside}"),
        format!("/proc/self/cwd{outside}"),
    ] {
        web.shell(&format!("rm -rf /etc/passwd; ln -s {link} /etc/passwd"));
        let got = run(&web, "outsider", "id");
        assert!(got.is_err(), "{link}: {got:?}");
    }
    // What the guest mounts there is what it sees, and so do we.
    web.shell(
        "rm -f /etc/passwd; : >/etc/passwd; echo inner:x:1500:1500::/:/bin/sh >/run/inner; \
         mount --bind /run/inner /etc/passwd",
    );
    assert_eq!(run(&web, "inner", "id -u").must("run"), "1500");
}

fn root_no_option_hands_the_host_to_the_guest(lab: &Lab) {
    let web = lab.busybox("web");
    with_users(&web);
    let refused = |request: RunRequest| {
        let error = web.try_run(request, b"").unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Refused);
    };
    let request = || RunRequest::new(["id"]);
    for namespaces in [
        vec![Namespace::Mount],
        vec![Namespace::User],
        vec![Namespace::Mount, Namespace::User],
        vec![Namespace::Mount, Namespace::User, Namespace::Pid, Namespace::Net],
        vec![Namespace::User, Namespace::Pid],
        vec![],
    ] {
        refused(request().with_namespaces(namespaces));
    }
    refused(request().with_elevated(Elevated::new().with_cgroup(true)));
    refused(request().with_elevated(Elevated::new().with_lsm(true)));
    refused(request().with_remount(true));
    let net = request().with_namespaces(vec![Namespace::Net]);
    refused(net.with_user(User::named("alice")));
    // The guest's dropped capabilities are its own affair: they count in its user namespace alone.
    let elevated = Elevated::new().with_capabilities(true);
    let said = web.try_run(
        RunRequest::new(["/bin/sh", "-c", "mount -o remount,bind,rw /nix/store"]).with_elevated(elevated),
        b"",
    );
    assert!(!said.must("run").exit.success());
    // All of them, named: as without.
    let all = RunRequest::new(["hostname"]).with_namespaces(Namespace::ALL.to_vec());
    assert_eq!(web.try_run(all, b"").must("run").text(), "guest");
}

fn root_a_program_of_the_host_sees_the_guests_network(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let host = |namespaces: &[Namespace], remount: bool, script: &str| {
        let request =
            RunRequest::new(["sh", "-c", script]).with_namespaces(namespaces.to_vec()).with_remount(remount);
        let said = web.try_run(request, b"").must("run");
        assert_eq!(said.exit, Exit::Code(0), "{said:?}");
        said.text()
    };
    let init = web.init();
    let namespaces =
        host(&[Namespace::Net], false, "for n in net mnt pid user uts; do readlink /proc/self/ns/$n; done");
    let of = |pid: &str, name: &str| {
        std::fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().display().to_string()
    };
    let (theirs, ours) =
        (of(&init.to_string(), "net"), ["mnt", "pid", "user", "uts"].map(|name| of("self", name)));
    assert_eq!(namespaces.lines().collect::<Vec<_>>(), [&theirs, &ours[0], &ours[1], &ours[2], &ours[3]]);
    let address = web.address().to_string();
    assert!(host(&[Namespace::Net], false, "ip address").contains(&address));
    assert_eq!(
        host(&[Namespace::Net], false, "cat /proc/self/uid_map | tr -s ' '; id -u").lines().last(),
        Some("0")
    );
    // With the guest's processes, and /proc to match.
    let processes = host(
        &[Namespace::Net, Namespace::Pid],
        true,
        "cat /proc/1/cmdline | tr '\\0' ' '; cat /proc/self/mounts >/dev/null; ls /proc | grep -c '^[0-9]'",
    );
    let init_command = std::fs::read_to_string(format!("/proc/{init}/cmdline")).unwrap().replace('\0', " ");
    assert!(processes.starts_with(&init_command), "{processes} / {init_command}");
    // Mounts of its own: nothing of it is left here.
    assert!(std::path::Path::new(&format!("/proc/{init}/status")).exists());
    // It counts as this process's, and dies with nobody's limit.
    let cgroup = host(&[Namespace::Net], false, "cat /proc/self/cgroup");
    assert!(!cgroup.contains("lxc.payload"), "{cgroup}");
}

fn root_run_keeps_the_environment_when_asked(lab: &Lab) {
    use nixcloud_container::Environment;
    let web = lab.busybox("web");
    web.boot();
    let names = |environment| {
        let request = RunRequest::new(["/bin/sh", "-c", "env"]).with_environment(environment);
        web.try_run(request, b"").must("run").text()
    };
    let kept = names(Environment::Keep);
    // Cargo, or the runner, has set it in this process.
    assert!(kept.contains("NIX_CONFIG=substitute = false"), "{kept}");
    assert!(kept.contains("HOME=/root\n") && kept.contains("PATH=/run/wrappers/bin:"), "{kept}");
    assert!(!names(Environment::Clear).contains("NIX_CONFIG"));
}
