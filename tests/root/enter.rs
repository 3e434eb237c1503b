//! Guest root against whoever enters its guest: `tests/attack/enter.c` waits in the guest for the next process and tries to
//! take it over before it has become the command. What is not protected is taken in the same run, so that the attack is
//! known to bite.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::command::program;
use crate::harness::{File, Guest, Kind, Lab, Pty, eventually, scenarios};

scenarios! {
    once: [
        root_a_program_of_the_host_in_a_guest_is_not_taken_over,
        root_a_guest_that_sets_limits_gets_no_stream_of_the_host,
        root_a_guest_that_changes_its_terminals_gets_none_of_the_host,
        root_a_folder_of_the_guests_leads_to_no_file_of_the_host,
        root_whose_files_a_user_is_read_from_cannot_be_the_hosts,
        root_the_hosts_program_that_runs_in_a_guest_stays_as_it_is,
    ],
    both: [root_nobody_who_enters_a_guest_is_taken_over],
}

/// How many entries are attacked; `make attack` asks for more.
const ENTRIES: &str = "NIXCLOUD_TEST_ENTRIES";

fn entries() -> usize {
    std::env::var(ENTRIES).ok().and_then(|count| count.parse().ok()).unwrap_or(200)
}

/// The attacks, in the guest.
const ATTACK: &str = "/srv/enter";

/// Builds the attacks, and puts them into a guest.
fn plant(lab: &Lab, web: &Guest<'_>) {
    let built = lab.path("/files/enter");
    if !built.exists() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("attack/enter.c");
        let status =
            Command::new("gcc").args(["-O2", "-static", "-o"]).arg(&built).arg(source).status().unwrap();
        assert!(status.success(), "gcc: {status}");
    }
    // The guest's own folder, where it is to write.
    web.shell("mkdir -p /srv");
    let place = web.rootfs().join(ATTACK.trim_start_matches('/'));
    fs::copy(&built, &place).unwrap();
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What an attack met and got.
#[derive(Debug, Clone, Copy)]
struct Haul {
    met: usize,
    got: usize,
    /// As whom, if it took processes over: the host's root.
    root: usize,
}

/// An attack at work in a guest.
struct Attack {
    child: Child,
}

impl Attack {
    fn begin(lab: &Lab, web: &Guest<'_>, kind: &str) -> Self {
        let mut command = lab.command(["run", web.name().as_str(), "--", ATTACK, kind]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        // Not through a buffer, which would take what comes later.
        let out = child.stdout.as_mut().unwrap();
        while !line.ends_with('\n') {
            let mut byte = [0];
            assert_eq!(out.read(&mut byte).unwrap(), 1, "the attack `{kind}` did not begin");
            line.push(char::from(byte[0]));
        }
        assert_eq!(line, "ready\n");
        Self { child }
    }

    fn end(mut self) -> Haul {
        drop(self.child.stdin.take());
        let out = BufReader::new(self.child.stdout.take().unwrap());
        let line = out.lines().next().unwrap().unwrap();
        assert!(self.child.wait().unwrap().success(), "{line}");
        let numbers: Vec<usize> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [met, got, root] = numbers[..] else { panic!("{line}") };
        Haul { met, got, root }
    }
}

/// Enters by `lxc-attach`, which does nothing against this, until somebody is taken over: on a busy machine the attack is not
/// always there in time.
#[track_caller]
fn bites(lab: &Lab, web: &Guest<'_>) {
    for _ in 0..20 {
        let attack = Attack::begin(lab, web, "seize");
        for _ in 0..20 {
            let mut command = Command::new("/usr/bin/lxc-attach");
            command.arg("-P").arg(lab.path("/var/lib/lxc")).args(["-n", web.name().as_str(), "--"]);
            // One that was taken over may end as it likes.
            let _ = command.args([ATTACK, "nothing"]).stdin(Stdio::null()).output().unwrap();
        }
        let haul = attack.end();
        println!("unprotected: {haul:?}");
        if haul.root > 0 {
            return;
        }
    }
    panic!("the attack does not bite");
}

/// Boots a guest in a user namespace that LXC makes, owned by the host's root: the kernel takes no process of that root for
/// another's when it goes in there, so that nothing but our own shield keeps guest root from it. (Into one that we make, what
/// enters is shielded by the kernel itself.) LXC makes it where limits are set by a root who may not raise any.
fn boot_weakly(lab: &Lab, web: &Guest<'_>) {
    web.create_from(&web.file().extra("lxc.prlimit.core = 0"));
    let ours = lab.command(["start", web.name().as_str()]);
    let mut start = Command::new("setpriv");
    start.args(["--bounding-set", "-sys_resource", "--inh-caps", "-sys_resource"]);
    start.arg(ours.get_program()).args(ours.get_args());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => start.env(name, value),
            None => start.env_remove(name),
        };
    }
    let told = Lab::told(&mut start);
    assert_eq!(told.code, 0, "{told:?}");
    web.await_version();
}

/// Enters by the command, and ends well.
#[track_caller]
fn enter(lab: &Lab, web: &Guest<'_>, options: &[&str]) {
    let name = web.name().as_str();
    let command = [name, "--", ATTACK, "nothing"];
    let words = ["run"].iter().chain(options).chain(&command);
    let told = lab.cli(words);
    assert_eq!(told.code, 0, "{options:?}: {told:?}");
}

fn log_in(lab: &Lab, web: &Guest<'_>) {
    let mut login = Pty::spawn(&lab.command(["login", web.name().as_str()]), 24, 80);
    login.types("exit\n");
    login.exit();
}

fn root_nobody_who_enters_a_guest_is_taken_over(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    boot_weakly(lab, &web);
    plant(lab, &web);
    let total = entries();

    bites(lab, &web);

    let attack = Attack::begin(lab, &web, "seize");
    for round in 0..total {
        match round % 20 {
            3 => enter(lab, &web, &["-u", "1000"]),
            7 => enter(lab, &web, &["-u", "root"]),
            11 => log_in(lab, &web),
            15 => enter(lab, &web, &["-l", "--clear-env"]),
            _ => enter(lab, &web, &[]),
        }
        if round == total / 2 {
            web.update(&web.file().version("2"));
        }
    }
    let haul = attack.end();
    println!("{total} entries: {haul:?}");
    assert_eq!(haul.got, 0, "{haul:?}");
    assert!(haul.met > total / 20, "the attack was hardly ever there in time: {haul:?}");

    // Neither are their files there for the taking, in the middle of exec too.
    let attack = Attack::begin(lab, &web, "files");
    for _ in 0..total / 4 {
        enter(lab, &web, &[]);
    }
    let haul = attack.end();
    println!("{} entries for their files: {haul:?}", total / 4);
    assert_eq!(haul.got, 0, "{haul:?}");
    // The way from its first instant to the command is short: a hundredth of all is often enough.
    assert!(haul.met > total / 400, "the attack was hardly ever there in time: {haul:?}");
}

fn root_a_program_of_the_host_in_a_guest_is_not_taken_over(lab: &Lab) {
    let web = lab.busybox("web");
    boot_weakly(lab, &web);
    plant(lab, &web);
    // It sees the guest's processes, and they see it. What keeps them off is the user namespace alone.
    let attack = Attack::begin(lab, &web, "seize");
    for _ in 0..30 {
        let words = ["run", "-l", "-s PID|NETWORK", web.name().as_str(), "--", "sleep", "0.05"];
        let told = lab.cli(words);
        assert_eq!(told.code, 0, "{told:?}");
    }
    let haul = attack.end();
    assert_eq!(haul.got, 0, "{haul:?}");
    assert!(haul.met >= 5, "{haul:?}");
    bites(lab, &web);
}

fn root_a_guest_that_sets_limits_gets_no_stream_of_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    plant(lab, &web);
    let attack = Attack::begin(lab, &web, "limit");
    for _ in 0..20 {
        let words = ["run", "-t", web.name().as_str(), "--", ATTACK, "streams", "/srv/streams"];
        Pty::spawn(&lab.command(words), 24, 80).exit();
    }
    let haul = attack.end();
    assert!(haul.got > 0, "no limit was set: {haul:?}");
    let streams = fs::read_to_string(web.rootfs().join("srv/streams")).unwrap();
    println!("{streams}");
    assert!(!streams.contains("host"), "{streams}");
    // It bites: some have not what they were to have.
    assert!(streams.contains("null"), "{streams}");
}

fn root_a_guest_that_changes_its_terminals_gets_none_of_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    plant(lab, &web);
    let attack = Attack::begin(lab, &web, "discipline");
    for _ in 0..30 {
        let words = ["run", "-t", web.name().as_str(), "--", ATTACK, "terminal", "TAKEN"];
        let mut caller = Pty::spawn(&lab.command(words), 24, 80);
        caller.exit();
        assert!(!caller.seen().contains("TAKEN"), "a program of the guest wrote on the caller's terminal");
    }
    let haul = attack.end();
    assert!(haul.got > 0, "no terminal was changed: {haul:?}");
}

fn root_a_folder_of_the_guests_leads_to_no_file_of_the_host(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.shell(
        "mkdir -p /srv; for n in $(seq 3 60); do ln -s /proc/self/fd/$n /srv/$n; done; mkdir /srv/folder",
    );
    let begin_in = |folder: &str| {
        lab.cli(["run", "--workdir", folder, web.name().as_str(), "--", "/bin/sh", "-c", "pwd"])
    };
    for number in 3..=60 {
        let told = begin_in(&format!("/srv/{number}"));
        assert!(told.code != 0 && told.stderr.contains("cannot start in"), "{number}: {told:?}");
    }
    assert_eq!(begin_in("/srv/folder").done(), "/srv/folder");
}

fn root_whose_files_a_user_is_read_from_cannot_be_the_hosts(lab: &Lab) {
    let shown = lab.path("/files/shown");
    fs::create_dir(&shown).unwrap();
    fs::write(shown.join("secret"), "secret:x:1000:100::/a-secret-of-the-host:/bin/sh\n").unwrap();
    fs::set_permissions(shown.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    let web = lab.busybox("web");
    web.create_from(
        &File::new(Kind::Busybox)
            .extra(&format!("lxc.mount.entry = {} srv/shown none bind,ro,create=dir 0 0", shown.display())),
    );
    web.start();
    let home = || lab.cli(["run", "-u", "secret", web.name().as_str(), "--", "/bin/sh", "-c", "echo $HOME"]);
    // Guest root sees it and cannot read it. The host's root could.
    assert!(!web.sh("cat /srv/shown/secret").exit.success());
    for trick in
        ["ln -sf /srv/shown/secret /etc/passwd", ": >/etc/pw; mount --bind /srv/shown/secret /etc/passwd"]
    {
        web.shell(&format!("rm -f /etc/passwd; touch /etc/passwd; {trick}"));
        let told = home();
        assert!(told.code != 0 && !format!("{told:?}").contains("a-secret"), "{trick}: {told:?}");
        web.sh("umount /etc/passwd");
    }
    fs::set_permissions(shown.join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    web.shell("rm -f /etc/passwd; ln -s /srv/shown/secret /etc/passwd");
    assert_eq!(home().done(), "/a-secret-of-the-host");
}

/// The files that a program loads, and itself.
fn needed(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

fn root_the_hosts_program_that_runs_in_a_guest_stays_as_it_is(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    plant(lab, &web);
    let rootfs = web.rootfs();
    let library = rootfs.join("srv/attack.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("attack/exe.c");
    let mut gcc = Command::new("gcc");
    gcc.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(source);
    assert!(gcc.status().unwrap().success());
    // The guest has what the program loads, and loads more.
    let program = program();
    for file in needed(&program) {
        let place = rootfs.join(file.strip_prefix("/").unwrap());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(&file, place).unwrap();
    }
    fs::write(rootfs.join("etc/ld.so.preload"), "/srv/attack.so\n").unwrap();
    web.shell("printf '#!/proc/self/exe\\n' >/srv/script; chmod 755 /srv/script");
    let said = || {
        let path = rootfs.join("srv/said");
        eventually("the attack's end", Duration::from_secs(60), || {
            fs::read_to_string(&path).is_ok_and(|text| text.ends_with("end\n"))
        });
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(path).unwrap();
        text
    };
    let look = || {
        let metadata = fs::metadata(&program).unwrap();
        (metadata.len(), metadata.permissions().mode(), metadata.modified().unwrap())
    };
    let before = look();
    let _ = lab.cli(["run", web.name().as_str(), "--", "/srv/script"]);
    assert_eq!(said(), "ran\nend\n");
    assert_eq!(look(), before);
    // It bites on a program that is the guest's own.
    fs::copy("/bin/true", rootfs.join("srv/given")).unwrap();
    let _ = web.sh("cat /srv/given >/srv/victim; chmod 755 /srv/victim; /srv/victim");
    let said = said();
    for must in ["mode", "owner", "times", "reopen"] {
        assert!(said.lines().any(|line| line == must), "`{must}` does not bite: {said}");
    }
}
