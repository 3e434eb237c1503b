//! Cgroups: each start names its own, and what is in those ends with it, whoever was killed on the way. A name alone says
//! nothing of whose a cgroup is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nixcloud_container::{DestroyRequest, State};

use crate::harness::{Guest, Kind, Lab, Must, command, eventually, leaks, scenarios};

scenarios! {
    once: [
        root_a_boot_whose_first_process_was_killed_ends,
        root_a_guest_is_noted_whose_starter_was_killed_too_early,
        root_three_containers_of_one_name_survive_each_other,
        root_what_earlier_starts_left_goes_with_its_container_alone,
        root_a_guest_is_seen_though_the_state_folder_is_another,
    ],
    both: [],
}

const SOON: Duration = Duration::from_secs(20);

fn destroy(web: &Guest<'_>) {
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

/// The driver of `make faults`, which kills at a call of the kernel.
fn step(lab: &Lab) -> PathBuf {
    let (source, built) =
        (Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/step.c"), lab.path("/files/step"));
    let gcc = Command::new("gcc").arg("-O1").arg("-o").arg(&built).arg(source).status().must("gcc");
    assert!(gcc.success());
    built
}

/// A start whose process dies that is about to send its `nth` message, written down in `log`.
fn cut(lab: &Lab, step: &Path, web: &Guest<'_>, nth: u32, log: &Path) -> Command {
    let start = lab.command(["start", web.name().as_str()]);
    let mut command = Command::new(step);
    command.args(["-m", "self", "-s", "sendmsg", "-n", &nth.to_string(), "-l"]).arg(log).arg("-f");
    command.arg(command::program()).arg("--").arg(start.get_program()).args(start.get_args());
    command.envs(start.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    command
}

/// The same, and whoever waits for it is killed, too: nobody is left who would end what it began.
fn cut_off(lab: &Lab, step: &Path, web: &Guest<'_>, nth: u32) {
    let log = lab.path("/files/log");
    let mut tracer = cut(lab, step, web, nth, &log).stderr(Stdio::null()).spawn().unwrap();
    eventually("a process is killed", SOON, || {
        fs::read_to_string(&log).is_ok_and(|log| log.contains("HIT "))
    });
    let pid = tracer.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    for child in children.split_whitespace() {
        // It may have ended.
        let _ = kill(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
    }
    fs::remove_file(&log).unwrap();
}

/// LXC's monitor waits for ever for a message of the guest's first process where that was killed.
fn root_a_boot_whose_first_process_was_killed_ends(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let step = step(lab);
    let vacant = || leaks::cgroups(lab.mark()).is_empty();
    let hangs = (1..20).find(|nth| {
        cut_off(lab, &step, &web, *nth);
        let hangs = (0..3).all(|_| web.state() == State::Unreachable);
        web.container().terminate().must("terminate");
        assert!(web.state() == State::Stopped && vacant(), "message {nth}, hangs: {hangs}");
        hangs
    });
    let hangs = hangs.expect("a start that hangs");
    cut_off(lab, &step, &web, hangs);
    web.start();
    assert!(web.pings());
    web.stop();
    // With a caller who waits it comes to the end of his patience.
    let config = fs::read_to_string(lab.config_file()).unwrap().replace("start = 60", "start = 2");
    let file = lab.path("/files/hasty.toml");
    fs::write(&file, config).unwrap();
    let mut hasty = cut(lab, &step, &web, hangs, &lab.path("/files/log"));
    let output = hasty.env("NIXCLOUD_CONTAINER_CONFIG", file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("did not finish within"), "{said}");
    assert!(web.state() == State::Stopped && vacant(), "{said}");
    cut_off(lab, &step, &web, hangs);
    destroy(&web);
    lab.assert_nothing_left();
}

/// It has got through, and is no remains.
fn root_a_guest_is_noted_whose_starter_was_killed_too_early(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    // As the note is before the guest's init is known.
    let note = lab.path("/var/lib/nixcloud/container/running").join(format!("{}.toml", web.name()));
    let mut run: toml::Table = fs::read_to_string(&note).unwrap().parse().unwrap();
    run.remove("init");
    run.remove("monitor");
    fs::write(&note, run.to_string()).unwrap();
    web.update(&web.file().version("2"));
    assert_eq!((web.init(), web.version().as_deref()), (init, Some("2")));
    assert!(fs::read_to_string(&note).unwrap().contains("[monitor]"));
    // It is asked to end, and not killed.
    fs::write(&note, run.to_string()).unwrap();
    web.stop();
    let log = fs::read_to_string(web.folder().join("lxc.log")).unwrap_or_default();
    assert!(!log.contains("SIGKILL"), "{log}");
    web.destroy();
    lab.assert_nothing_left();
}

/// A container of LXC's own, which has the host's ids and a root of its own.
struct Plain {
    path: PathBuf,
    name: String,
}

impl Plain {
    fn start(lab: &Lab, name: &str) -> Self {
        let plain = Self { path: lab.path("/plain"), name: name.to_owned() };
        let rootfs = plain.path.join(name).join("rootfs");
        for folder in ["", "bin", "dev", "proc", "sys"] {
            fs::create_dir_all(rootfs.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
        fs::write(rootfs.join("init"), "#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1; done\n")
            .unwrap();
        fs::set_permissions(rootfs.join("init"), PermissionsExt::from_mode(0o755)).unwrap();
        let config = format!(
            "lxc.uts.name = {name}\nlxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\nlxc.mount.auto = proc:mixed\n\
             lxc.apparmor.profile = unconfined\nlxc.init.cmd = /init\n",
            rootfs.display()
        );
        fs::write(plain.path.join(name).join("config"), config).unwrap();
        plain.tool("lxc-start", &[]);
        assert!(plain.runs());
        plain
    }

    fn tool(&self, tool: &str, words: &[&str]) -> String {
        let mut command = Command::new(tool);
        command.arg("-P").arg(&self.path).args(["-n", &self.name]).args(words).stdin(Stdio::null());
        let output = command.output().must(tool);
        assert!(output.status.success(), "{tool}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn runs(&self) -> bool {
        self.tool("lxc-info", &["-s", "-H"]) == "RUNNING"
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.tool("lxc-stop", &["-k"]);
        fs::remove_dir_all(&self.path).unwrap();
        let locks = leaks::lxc_locks_of(&self.path);
        let _ = fs::remove_dir_all(locks);
    }
}

/// LXC alone would call the cgroups of the second `web` as those of the first `web-1`.
fn root_three_containers_of_one_name_survive_each_other(lab: &Lab) {
    let web = lab.busybox("web");
    let one = Guest::new(lab, format!("{}-1", web.name()).parse().unwrap(), Kind::Busybox);
    let plain = Plain::start(lab, web.name().as_str());
    let (_, kept) = (web.boot(), one.boot());
    destroy(&web);
    assert!(plain.runs());
    assert_eq!((one.state(), one.init()), (State::Running, kept));
    let kept = web.boot();
    destroy(&one);
    assert!(plain.runs());
    assert_eq!((web.state(), web.init()), (State::Running, kept));
    one.create();
    web.terminate();
    one.destroy();
    assert!(plain.runs());
    // Nor does LXC's own end what is ours.
    web.start();
    drop(plain);
    assert_eq!(web.state(), State::Running);
    assert!(web.pings());
    destroy(&web);
    lab.assert_nothing_left();
}

/// A process in `root`, which it has for its root directory, and in these cgroups.
fn sleeper(root: &Path, cgroups: &[PathBuf]) -> Child {
    let mut command = Command::new("chroot");
    command.arg(root).args(["/bin/busybox", "sleep", "1000"]).stdin(Stdio::null());
    let child = command.spawn().unwrap();
    let exe = format!("/proc/{}/exe", child.id());
    eventually("it sleeps", SOON, || fs::read_link(&exe).is_ok_and(|exe| exe.ends_with("busybox")));
    for cgroup in cgroups {
        fs::create_dir_all(cgroup).unwrap();
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    child
}

fn root_what_earlier_starts_left_goes_with_its_container_alone(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let place = |name: &str| {
        let hierarchies = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"];
        let mut hierarchies: Vec<&Path> = hierarchies.map(Path::new).to_vec();
        hierarchies.retain(|hierarchy| hierarchy.is_dir());
        if hierarchies.is_empty() {
            hierarchies.push(Path::new("/sys/fs/cgroup"));
        }
        let name = name.replace("NAME", web.name().as_str());
        hierarchies.iter().map(|hierarchy| hierarchy.join(&name)).collect::<Vec<_>>()
    };
    let is_gone = |cgroups: &[PathBuf]| cgroups.iter().all(|cgroup| !cgroup.exists());
    // As LXC left them, and somebody who lives in one of those names.
    let empty = ["lxc.monitor.NAME", "lxc.monitor.NAME-1", "lxc.payload.NAME-17"].map(place);
    for cgroup in empty.iter().flatten() {
        fs::create_dir(cgroup).unwrap();
    }
    let (ours, others) = (place("lxc.payload.NAME-1"), place("lxc.payload.NAME"));
    let rootfs = web.rootfs();
    fs::create_dir_all(rootfs.join("bin")).unwrap();
    fs::copy("/bin/busybox", rootfs.join("bin/busybox")).unwrap();
    let mut left = sleeper(&rootfs, &ours);
    let mut stranger = sleeper(Path::new("/"), &others);
    destroy(&web);
    assert!(left.wait().unwrap().to_string().contains("signal: 9"));
    assert!(is_gone(&ours), "{ours:?}");
    for cgroups in &empty {
        assert!(is_gone(cgroups), "{cgroups:?}");
    }
    assert_eq!(stranger.try_wait().unwrap(), None);
    assert!(others.iter().all(|cgroup| cgroup.is_dir()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    for cgroup in &others {
        eventually("it can go", SOON, || fs::remove_dir(cgroup).is_ok());
    }
    lab.assert_nothing_left();
}

/// Its cgroup names the folder of before, its note is lost, and LXC's socket is in another network namespace: a second guest on its
/// files would be the end of them.
fn root_a_guest_is_seen_though_the_state_folder_is_another(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let state = lab.path("/var/lib/nixcloud/container");
    let before = lab.path("/var/lib/nixcloud/before");
    fs::rename(&state, &before).unwrap();
    assert!(Command::new("cp").arg("-a").args([&before, &state]).status().unwrap().success());
    fs::remove_file(state.join(format!("running/{}.toml", web.name()))).unwrap();
    let start = lab.command(["start", web.name().as_str()]);
    let mut elsewhere = Command::new("unshare");
    elsewhere.arg("--net").arg(start.get_program()).args(start.get_args());
    for (name, value) in start.get_envs() {
        value.map(|value| elsewhere.env(name, value));
    }
    let told = Lab::told(&mut elsewhere);
    assert!(told.code == 1 && told.stderr.contains("unreachable"), "{told:?}");
    assert_eq!(web.shell("echo lives"), "lives");
    fs::remove_dir_all(&state).unwrap();
    fs::rename(&before, &state).unwrap();
    web.terminate();
    destroy(&web);
}
