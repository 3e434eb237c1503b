//! What is to hold for one boot alone: items, console, log, pidfile, shared namespaces.

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::pty::openpty;
use nixcloud_container::{
    Error, ErrorKind, LogLevel, LogRequest, Namespace, StartOutcome, StartRequest, State,
};

use crate::harness::{Guest, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_items_hold_for_one_boot,
        root_a_refused_item_changes_nothing,
        root_a_read_only_item_is_locked,
        root_a_pidfile_is_of_the_guest,
        root_a_console_log_is_kept,
        root_a_console_on_another_terminal,
        root_a_guest_without_a_console,
        root_the_log_of_a_start,
        root_some_namespaces_can_be_shared,
        root_a_guest_whose_init_does_not_begin_is_not_started,
        root_further_interfaces_keep_their_mac_addresses,
    ],
    both: [],
}

/// LXC takes it for a guest that runs when its first process executed init, and when it was killed right before: here by the
/// kernel, which cannot lay out the program.
fn root_a_guest_whose_init_does_not_begin_is_not_started(lab: &Lab) {
    let manager = lab.manager_with(|config| config.allow_lxc_keys = vec!["lxc.init.cmd".to_owned()]);
    let web = lab.busybox("web");
    web.create();
    let (bad, header) = (web.rootfs().join("root/bad"), fs::read("/bin/true").unwrap());
    let mut program = header;
    // The type of the first segments becomes PT_LOAD, of an address that is the kernel's.
    for segment in program[64..64 + 56 * 4].chunks_exact_mut(56) {
        segment[0..4].copy_from_slice(&1_u32.to_le_bytes());
        segment[16..24].copy_from_slice(&0xffff_8000_0000_0000_u64.to_le_bytes());
    }
    fs::write(&bad, program).unwrap();
    fs::set_permissions(&bad, fs::Permissions::from_mode(0o755)).unwrap();
    let container = manager.container(web.name().clone());
    for round in 0..10 {
        let started = container.start_with(&items([("lxc.init.cmd", "/root/bad")]), &mut ());
        let error = started.expect_err(&format!("round {round}: it is said to run"));
        assert_eq!(web.state(), State::Stopped, "round {round}: {error}");
    }
    web.start();
}

fn items<const N: usize>(items: [(&str, &str); N]) -> StartRequest {
    let items = items.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    StartRequest::new().with_items(items)
}

#[track_caller]
fn start(web: &Guest<'_>, request: &StartRequest) -> i32 {
    match web.container().start_with(request, &mut ()).must("start") {
        StartOutcome::Started { init_pid, .. } => {
            web.await_version();
            init_pid
        }
        other => panic!("not started: {other:?}"),
    }
}

fn root_items_hold_for_one_boot(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let config = web.config();
    let request = items([
        ("lxc.environment", "SAID=for once"),
        ("lxc.prlimit.nofile", "1234"),
        ("lxc.net.2.type", "empty"),
    ]);
    let holds = |init: i32| {
        let environ = fs::read_to_string(format!("/proc/{init}/environ")).unwrap();
        let limits = fs::read_to_string(format!("/proc/{init}/limits")).unwrap();
        environ.contains("SAID=for once")
            && limits.lines().any(|line| line.contains("open files") && line.contains("1234"))
    };
    let init = start(&web, &request);
    assert!(holds(init));
    assert_eq!(web.config(), config, "nothing of it is kept");
    assert_eq!(web.container().status().must("status").pending_restart, []);
    // LXC boots it again by itself, with what it knows.
    web.shell("rm /run/greeting; kill -INT 1");
    web.await_version();
    eventually("it rebooted", Duration::from_secs(10), || web.init() != init);
    assert!(holds(web.init()));
    assert!(matches!(web.container().start_with(&request, &mut ()), Ok(StartOutcome::AlreadyRunning { .. })));
    web.stop();
    assert!(!holds(web.start()));
    // What does wait for a restart is told all the same.
    web.stop();
    start(&web, &request);
    web.update(&web.file().version("2").extra("lxc.environment = NEXT=1"));
    let pending = web.container().status().must("status").pending_restart;
    assert_eq!(pending.iter().map(|item| item.key.as_str()).collect::<Vec<_>>(), ["lxc.environment"]);
    assert_eq!(pending[0].next, ["NEXT=1"]);
}

fn root_a_refused_item_changes_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let begin = fs::metadata(web.folder().join("config")).unwrap().modified().unwrap();
    for (key, value) in [
        ("lxc.idmap", ""),
        ("lxc.idmap", "u 0 0 4294967295"),
        ("lxc.hook.pre-start", "/bin/sh"),
        ("lxc.mount.entry", "/root nix/store none bind,ro 0 0"),
        ("lxc.console.logfile", "/etc/passwd"),
        ("lxc.log.file", "/etc/passwd"),
        ("lxc.include", "/etc/passwd"),
        ("lxc.environment", "A=1\nlxc.idmap ="),
        ("lxc.environment", "\"A=1\""),
        ("lxc.namespace.share.net", "1"),
        // These are liblxc's to judge.
        ("lxc.prlimit.nofile", "many"),
        ("lxc.arch", "abacus"),
    ] {
        let error = web.container().start_with(&items([(key, value)]), &mut ()).unwrap_err();
        assert!(matches!(&error, Error::Item(item) if item.key == key), "{key} = {value}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Input);
        assert_eq!(web.state(), State::Stopped);
    }
    let foreground = StartRequest::new()
        .with_foreground(true)
        .with_console(Some("none".into()))
        .with_screen(nixcloud_container::Screen::Null);
    let error = web.container().start_with(&foreground, &mut ()).unwrap_err();
    assert!(matches!(error, Error::Item(_)), "{error:?}");
    assert!(!web.folder().join("lxc.log").exists(), "LXC was started");
    assert_eq!(fs::metadata(web.folder().join("config")).unwrap().modified().unwrap(), begin);
}

/// As with `lxcExtraConfig`: LXC's own `ro` could be taken off by the guest's root.
fn root_a_read_only_item_is_locked(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let data = lab.root().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "ours").unwrap();
    let entry = format!("{} srv/data none bind,ro,create=dir 0 0", data.display());
    start(&web, &items([("lxc.mount.entry", entry.as_str())]));
    assert_eq!(web.shell("cat /srv/data/file"), "ours");
    for attack in
        ["mount -o remount,rw /srv/data", "mount -o remount,bind,rw /srv/data", "echo >/srv/data/file"]
    {
        let said = web.sh(attack);
        assert!(!said.exit.success(), "{attack}: {said:?}");
    }
    web.stop();
    fs::remove_dir_all(data).unwrap();
}

fn root_a_pidfile_is_of_the_guest(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let pidfile = lab.root().join("web.pid");
    let with = |pidfile: PathBuf| StartRequest::new().with_pidfile(pidfile);
    let init = start(&web, &with(pidfile.clone()));
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), format!("{init}\n"));
    web.stop();
    // A stale one is replaced; a foreground start takes its own away.
    let foreground =
        with(pidfile.clone()).with_foreground(true).with_screen(nixcloud_container::Screen::Null);
    let container = web.container();
    std::thread::scope(|scope| {
        let ended = scope.spawn(|| container.start_with(&foreground, &mut ()).must("start"));
        web.await_version();
        eventually("the pidfile is its own", Duration::from_secs(5), || {
            fs::read_to_string(&pidfile).unwrap() == format!("{}\n", web.init())
        });
        web.stop();
        ended.join().unwrap();
    });
    assert!(!pidfile.exists());
    // One that cannot be is refused first; one that fails later takes the guest with it.
    let error = container.start_with(&with(lab.root().join("no/such.pid")), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert_eq!(web.state(), State::Stopped);
    fs::create_dir_all(pidfile.join("full")).unwrap();
    let error = container.start_with(&with(pidfile.clone()), &mut ()).unwrap_err();
    assert!(matches!(error, Error::Write(_)), "{error:?}");
    assert_eq!(web.state(), State::Stopped);
    fs::remove_dir_all(pidfile).unwrap();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_console_log_is_kept(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let log = lab.root().join("console.log");
    fs::write(&log, "before\n").unwrap();
    start(&web, &StartRequest::new().with_console_log(log.clone()));
    let said = || fs::read_to_string(&log).unwrap_or_default();
    eventually("it is logged", Duration::from_secs(5), || said().contains("standin: reached multi-user"));
    assert!(said().starts_with("before\n"), "it is appended to");
    // A guest cannot fill the disk.
    web.shell("yes 0123456789 | head -c 7000000 >/dev/console");
    let size = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
    let second = log.with_extension("log.1");
    assert!(size(&log) + size(&second) <= 9 << 20, "{} + {}", size(&log), size(&second));
    assert!(size(&second) > 1 << 20, "it was turned over");
    web.stop();
    fs::remove_file(log).unwrap();
    fs::remove_file(second).unwrap();
}

fn root_a_console_on_another_terminal(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let pty = openpty(None, None).unwrap();
    let path = fs::read_link(format!("/proc/self/fd/{}", pty.slave.as_raw_fd())).unwrap();
    start(&web, &StartRequest::new().with_console(path));
    let mut seen = Vec::new();
    let mut master = fs::File::from(pty.master);
    while !String::from_utf8_lossy(&seen).contains("standin: reached multi-user") {
        let mut buffer = [0; 1024];
        let count = master.read(&mut buffer).unwrap();
        seen.extend_from_slice(&buffer[..count]);
    }
    web.stop();
    // What is no terminal, LXC refuses; the guest is not left half started.
    let request = StartRequest::new().with_console(Some("/etc/passwd".into()));
    let error = web.container().start_with(&request, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Lxc, "{error:?}");
    assert_eq!(web.state(), State::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_guest_without_a_console(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let request = StartRequest::new().with_console(Some("none".into()));
    let init = start(&web, &request);
    assert_eq!(fs::read_link(format!("/proc/{init}/fd/1")).unwrap(), Path::new("/dev/null"));
    web.stop();
}

fn root_the_log_of_a_start(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let file = lab.root().join("start.log");
    fs::write(&file, "before\n").unwrap();
    let log = LogRequest::new().with_file(file.clone()).with_level(LogLevel::Trace);
    start(&web, &StartRequest::new().with_log(log));
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("before\n") && text.contains(" TRACE "), "{text}");
    assert!(!web.folder().join("lxc.log").exists());
    web.stop();
    fs::remove_file(&file).unwrap();
    // Whatever is not to be logged: why it failed is told.
    let request = StartRequest::new()
        .with_log(LogRequest::new().with_level(LogLevel::Fatal))
        .with_console(Some("/etc/passwd".into()));
    let error = web.container().start_with(&request, &mut ()).unwrap_err();
    assert!(format!("{error:?}").contains("does not refer to a terminal"), "{error:?}");
}

fn root_some_namespaces_can_be_shared(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    let share = |namespace, with: &str| StartRequest::new().with_share(vec![(namespace, with.to_owned())]);
    let refused = |namespace, with: &str, why: &str| {
        let error = web.container().start_with(&share(namespace, with), &mut ()).unwrap_err();
        let Error::Share { why: said, .. } = &error else { panic!("{error:?}") };
        assert!(said.contains(why), "{said}");
        assert_eq!((error.kind(), web.state()), (ErrorKind::Input, State::Stopped));
    };
    let db_name = db.name().as_str();
    let error = web.container().start_with(&share(Namespace::Ipc, db_name), &mut ()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    db.create();
    refused(Namespace::Ipc, db_name, "stopped");
    let theirs = db.start();
    refused(Namespace::Ipc, web.name().as_str(), "itself");
    refused(Namespace::Ipc, "not a name", "position");
    refused(Namespace::Ipc, "999999999", "no such process");
    refused(Namespace::Uts, &std::process::id().to_string(), "host's own");
    // The guest's ids have no right to mount what shows them.
    refused(Namespace::Net, db_name, "/sys");
    refused(Namespace::Pid, db_name, "/proc");
    for namespace in [Namespace::Ipc, Namespace::Uts] {
        for with in [db_name.to_owned(), theirs.to_string()] {
            let init = start(&web, &share(namespace, &with));
            let of = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/{}", namespace.as_str())).unwrap();
            assert_eq!(of(init), of(theirs), "{namespace:?} of {with}");
            assert!(web.pings());
            web.stop();
        }
    }
}

fn root_further_interfaces_keep_their_mac_addresses(lab: &Lab) {
    let web = lab.busybox("web");
    let own = "02:00:00:00:00:07";
    let lines = format!(
        "lxc.net.2.type = veth\\nlxc.net.2.name = lan\\nlxc.net.3.type = veth\\nlxc.net.3.name = own\\nlxc.net.3.hwaddr = {own}"
    );
    web.create_from(&web.file().extra(&lines));
    let macs =
        || ["lan", "own", "once"].map(|name| web.sh(&format!("cat /sys/class/net/{name}/address")).text());
    let once = items([("lxc.net.4.type", "veth"), ("lxc.net.4.name", "once")]);
    let init = start(&web, &once);
    let first = macs();
    assert!(first[0].starts_with("16:") && first[1] == own && first[2].starts_with("16:"), "{first:?}");
    assert_ne!(first[0], first[2]);
    web.shell("rm /run/greeting; kill -INT 1");
    web.await_version();
    eventually("it rebooted", Duration::from_secs(10), || web.init() != init);
    assert_eq!(macs(), first);
    web.stop();
    start(&web, &once);
    assert_eq!(macs(), first);
    web.stop();
}
