//! Hosts as other people have them: users who are in the way, mounts, a Nix that is set up otherwise, careless lines.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nixcloud_container::{
    ApplyRequest, ApplySource, DestroyRequest, Error, EvalRequest, Evaluator, RunRequest, State,
};

use crate::harness::{Guest, Lab, Must, scenarios};

scenarios! {
    once: [
        root_eval_and_create_refuse_the_same_lines,
        root_a_user_who_takes_the_name_of_a_socket_is_named_and_not_believed,
        root_mounts_in_a_root_are_found_before_the_guest_ends,
        root_destroy_of_a_declared_container_names_its_source,
        root_relative_includes_hold_from_another_folder,
        root_a_nix_that_restricts_evaluation_evaluates_container_files,
        root_reasons_of_git_and_of_builds_are_told,
        root_a_host_without_liblxc_says_so,
    ],
    both: [],
}

fn evaluated(lab: &Lab, web: &Guest<'_>, line: &str) -> Result<(), Error> {
    let file = lab.file("eval", &web.file().extra(line));
    let evaluator = Evaluator::new(crate::harness::config(lab.root()));
    let request = EvalRequest::new(file).with_name(web.name().clone());
    evaluator.eval(&request, &mut ()).map(drop)
}

fn root_eval_and_create_refuse_the_same_lines(lab: &Lab) {
    let web = lab.busybox("web");
    for line in [
        "lxc.cgroup2../pids.max = max",
        "lxc.cgroup2.cgroup.procs = 1",
        "lxc.sysctl.kernel.pid_max = 4194304",
        "lxc.environment = PATH",
        "lxc.mount.entry = /tmp /mnt none bind 0 0",
        "lxc.mount.entry = /etc nix/store none bind 0 0",
        "lxc.mount.entry = /tmp mnt none bind,remount 0 0",
        "lxc.mount.entry = /tmp",
        "lxc.prlimit.nofile = abc",
        "lxc.signal.halt = SIGNONE",
        "lxc.arch = vax",
        "lxc.net.2.link = brNC-internet",
        "lxc.net.2.link = brNC-hostonly",
        "lxc.net.2.script.up = /bin/sh",
    ] {
        let told = evaluated(lab, &web, line).err().unwrap_or_else(|| panic!("`eval` takes `{line}`"));
        let refused = web.try_create(&web.file().extra(line)).unwrap_err();
        assert_eq!(told.to_string(), refused.to_string(), "{line}");
    }
    for line in ["lxc.sysctl.kernel.shmmax = 4096", "lxc.prlimit.nofile = 100", "lxc.group = shop"] {
        evaluated(lab, &web, line).must(line);
    }
    lab.assert_nothing_left();
}

/// It is loaded when a guest is started or entered, not before: everything else works without it.
fn root_a_host_without_liblxc_says_so(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let listed = Command::new("ldconfig").arg("-p").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let line = listed.lines().find(|line| line.trim_start().starts_with("liblxc.so.1 ")).expect("liblxc");
    let library = fs::canonicalize(line.rsplit(" => ").next().unwrap()).unwrap();
    let none = None::<&str>;
    nix::mount::mount(Some("/dev/null"), &library, none, nix::mount::MsFlags::MS_BIND, none).unwrap();
    let said = |words: &[&str]| {
        let output = lab.command(words).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    assert_eq!(said(&["state", web.name().as_str()]), (Some(0), "stopped\n".to_owned()));
    let (code, text) = said(&["start", web.name().as_str()]);
    assert!(code == Some(1) && text.contains("liblxc cannot be loaded"), "{text}");
    let (code, text) = said(&["host", "check"]);
    assert!(code == Some(1) && text.contains("wrong  lxc liblxc"), "{text}");
    nix::mount::umount(&library).unwrap();
    assert_eq!(said(&["start", web.name().as_str()]).0, Some(0));
    assert!(said(&["host", "check"]).1.contains("good   lxc liblxc"));
}

/// Binds the name as an unprivileged user, and answers like a monitor whose guest runs and has this init.
const SQUATTER: &str = r#"
use Socket;
my ($name, $listens, $init) = @ARGV;
socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!;
bind($s, pack("S a*", AF_UNIX, "\0" . $name)) or die $!;
if ($listens) { listen($s, 8) or die $!; }
$| = 1; print "bound\n";
if (!$listens) { sleep 600; }
while (accept(my $c, $s)) {
  sysread($c, my $q, 16) or next;
  my $command = unpack("l", $q);
  syswrite($c, pack("l l q", 0, 0, $command == 3 ? 2 : $init));
}
"#;

fn root_a_user_who_takes_the_name_of_a_socket_is_named_and_not_believed(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let lxc = lab.path("/var/lib/lxc").canonicalize().unwrap();
    let name = format!("{}/{}/command", lxc.display(), web.name());
    for listens in ["1", "0"] {
        let mut squatter = Command::new("perl");
        squatter.args(["-e", SQUATTER, &name, listens, "1"]).uid(12_345).gid(12_345);
        let mut squatter = squatter.current_dir("/").stdout(Stdio::piped()).spawn().must("squat");
        let mut line = String::new();
        BufReader::new(squatter.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "bound\n");

        // Its word counts for nothing.
        assert_eq!(web.state(), State::Stopped, "listens: {listens}");
        let error = web.try_run(RunRequest::new(["id"]), b"").unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{error:?}");
        let error = web.container().start(&mut ()).unwrap_err();
        let pid = i32::try_from(squatter.id()).unwrap();
        assert!(
            matches!(&error, Error::NameHeld { pid: held, uid: 12_345, program, .. } if *held == pid && program == "perl"),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains(&format!("kill {pid}")), "{:?}", error.hint());
        assert_eq!(web.state(), State::Stopped);
        squatter.kill().unwrap();
        squatter.wait().unwrap();
    }
    web.start();
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn mounted(place: &Path, on: bool) {
    let mut command = Command::new(if on { "mount" } else { "umount" });
    if on {
        command.args(["-t", "tmpfs", "none"]);
    }
    assert!(command.arg(place).status().must("mount").success());
}

fn root_mounts_in_a_root_are_found_before_the_guest_ends(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let place = web.rootfs().join("srv");
    fs::create_dir_all(&place).unwrap();
    mounted(&place, true);
    fs::write(place.join("data"), "precious").unwrap();

    for force in [false, true] {
        let error = web.container().destroy(DestroyRequest::new().with_force(force)).unwrap_err();
        assert!(
            matches!(&error, Error::Mounted { mount, .. } if *mount == place.canonicalize().unwrap()),
            "{error:?}"
        );
        assert_eq!(web.state(), State::Running, "force {force}: the guest goes on");
    }
    web.terminate();
    let error = web.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
    assert!(error.to_string().contains("/srv is mounted in the root"), "{error}");
    assert_eq!(fs::read_to_string(place.join("data")).unwrap(), "precious");
    // Nothing of the container is lost either.
    assert_eq!(web.generations(), [1]);
    mounted(&place, false);
    web.start();
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    lab.assert_nothing_left();
}

fn root_destroy_of_a_declared_container_names_its_source(lab: &Lab) {
    let web = lab.busybox("web");
    let all = lab.write("all", &format!("{{ \"{}\" = {}; }}", web.name(), web.file().text()));
    let request = ApplyRequest::new(ApplySource::Set(all.clone()));
    lab.manager().apply(&request, &mut ()).must("apply");
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert!(matches!(&error, Error::Declared { by, .. } if by.ends_with("all.nix")), "{error:?}");
    assert!(error.hint().unwrap().contains("--force"), "{:?}", error.hint());
    assert_eq!(web.generations(), [1]);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy --force");
    lab.assert_nothing_left();
}

fn root_relative_includes_hold_from_another_folder(lab: &Lab) {
    let web = lab.busybox("web");
    let folder = lab.path("/files");
    fs::create_dir_all(folder.join("cfg")).unwrap();
    fs::write(folder.join("cfg/default.nix"), "{ environment.etc.cfg.text = \"c\"; }").unwrap();
    lab.write("m", "{ imports = [ <cfg> ]; }");
    let name = web.name().as_str();
    let done = |words: &[&str], from: &Path| {
        let told = Lab::told(lab.command(words.iter().copied()).current_dir(from));
        assert_eq!(told.code, 0, "{words:?}: {}", told.stderr);
    };
    done(&["create", name, "m.nix", "-n", "-I cfg=./cfg"], &folder);
    done(&["update", name], Path::new("/"));
    let kept = web.container().status().must("status").nix_args;
    assert_eq!(kept, ["-I".to_owned(), format!("cfg={}", folder.join("cfg").display())]);
    web.destroy();
}

/// The settings of this run, and one more.
fn setting(line: &str) -> String {
    format!("{}\n{line}", std::env::var("NIX_CONFIG").unwrap_or_default())
}

fn root_a_nix_that_restricts_evaluation_evaluates_container_files(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file());
    for line in ["restrict-eval = true", "pure-eval = true"] {
        let mut command = lab.command(["eval".as_ref(), file.as_os_str()]);
        let told = Lab::told(command.env("NIX_CONFIG", setting(line)));
        assert_eq!(told.code, 0, "{line}: {}", told.stderr);
    }
}

fn root_reasons_of_git_and_of_builds_are_told(lab: &Lab) {
    let web = lab.busybox("web");
    let name = web.name().as_str();
    let file = lab.file("web", &web.file().module("environment.etc.unbuilt.text = \"a\";"));
    let file = file.to_str().unwrap();
    let told = |words: &[&str], key: &str, value: &str| {
        let told = Lab::told(lab.command(words.iter().copied()).env(key, value));
        assert_eq!(told.code, 1, "{words:?}: {}", told.stderr);
        let lines = told.stderr.lines().map(str::to_owned);
        lines
            .filter(|line| line.starts_with("error: ") || line.starts_with("hint: "))
            .collect::<Vec<_>>()
            .join("\n")
    };
    // Text that no other scenario has built.
    let mark = format!("environment.etc.unbuilt.text = \"{}\";", lab.mark());
    lab.file("web", &web.file().module(&mark));
    let said = told(&["create", name, file], "NIX_CONFIG", &setting("max-jobs = 0"));
    assert!(
        said.contains(": unable to start any build") && said.contains("hint: Nix may build nothing"),
        "{said}"
    );
    let hook = lab.path("/files").join("hook.sh");
    fs::write(&hook, "#!/bin/sh\nexit 1\n").unwrap();
    assert!(Command::new("chmod").arg("755").arg(&hook).status().unwrap().success());
    let said = told(
        &["create", name, file],
        "NIX_CONFIG",
        &setting(&format!("post-build-hook = {}", hook.display())),
    );
    assert!(said.contains("`post-build-hook` of nix.conf"), "{said}");

    let repo = lab.path("/files").join("repo");
    let sh = |script: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-ec", script]).current_dir(&repo);
        shell.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        let done = shell.output().must("sh");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    fs::create_dir_all(&repo).unwrap();
    let module = web.file().module("imports = [ ./new.nix ];").text();
    let flake = format!("{{ outputs = {{ self }}: {{ nixcloudContainers.web = {module}; }}; }}");
    fs::write(repo.join("flake.nix"), flake).unwrap();
    let lock = r#"{ "nodes": { "root": {} }, "root": "root", "version": 7 }"#;
    fs::write(repo.join("flake.lock"), lock).unwrap();
    sh(
        "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm x && echo '{ }' > new.nix",
    );
    let flake = format!("{}#web", repo.display());
    let none = |words: &[&str]| told(words, "GIT_CONFIG_GLOBAL", "/dev/null");
    let said = none(&["eval", &flake]);
    assert!(said.contains("`git add -N new.nix`"), "{said}");
    sh("git add -A && chown -R 12345 .");
    let said = none(&["eval", &flake]);
    assert!(said.contains("safe.directory"), "{said}");
    sh("chown -R 0 .");
    let bin = lab.path("/files").join("bin");
    fs::create_dir_all(&bin).unwrap();
    for program in ["nix-instantiate", "nix-store", "nix-env"] {
        let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
        let found = String::from_utf8(found.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), bin.join(program)).unwrap();
    }
    let said = told(&["eval", &flake], "PATH", bin.to_str().unwrap());
    assert!(said.contains("`git` on PATH") && !said.contains("{\"containers\""), "{said}");
}
