//! What fails, is cancelled or is killed leaves nothing, and the next operation copes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use nixcloud_container::{
    Cancel, CreateRequest, DestroyRequest, Error, ErrorKind, Event, GenerationId, Manager, State,
    UpdateRequest,
};

use crate::harness::space::run;
use crate::harness::{Kind, Lab, Must, eventually, scenarios};

scenarios! {
    once: [
        root_a_missing_file_leaves_nothing,
        root_an_evaluation_that_fails_leaves_nothing,
        root_a_build_that_fails_leaves_nothing,
        root_a_cancelled_build_leaves_nothing,
        root_a_cancelled_update_keeps_the_old_generation,
        root_a_killed_create_is_tidied_by_the_next,
        root_a_killed_create_is_tidied_by_destroy,
        root_a_killed_update_is_undone_by_the_next,
        root_a_failed_update_keeps_the_old_generation,
        root_a_failed_start_leaves_no_cgroup,
        root_half_written_files_go_with_the_next_destroy,
        root_who_holds_the_networks_is_named,
        root_a_hung_nft_is_no_reason_not_to_hear_a_cancel,
        root_who_waits_for_the_networks_hears_a_cancel,
        root_a_lock_that_outlived_its_container_goes_with_the_same_destroy,
        root_a_broken_record_hides_no_other_container,
        root_two_operations_on_one_container_wait_for_each_other,
    ],
    both: [],
}

fn root_a_missing_file_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let request = CreateRequest::new(lab.path("/files/none.nix"));
    let error = web.container().create(&request, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/files/none.nix"), "{error}");
    lab.assert_nothing_left();
}

fn root_an_evaluation_that_fails_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let error = web.try_create(&web.file().module("services.no.such.option = true;")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Input, "{error:?}");
    // Nix's own words, with the place in the user's file.
    let details = error.details().unwrap();
    assert!(
        details.contains("does not exist") && details.contains(&format!("{}.nix", web.name())),
        "{details}"
    );
    assert!(!web.container().exists().must("exists"));
    lab.assert_nothing_left();
}

fn root_a_build_that_fails_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let error = web.try_create(&web.file().module("standin.buildFails = true;")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Build, "{error:?}");
    assert!(error.details().unwrap().contains("told to fail this build"), "{:?}", error.details());
    lab.assert_nothing_left();
    // Neither the address nor the ids are lost.
    web.create();
    assert_eq!(web.address().octets(), [10, 101, 0, 2]);
    assert_eq!(web.container().status().must("status").ids.unwrap().base(), 100_000);
}

/// A line that makes the build last, and of this run alone.
fn long_build(lab: &Lab) -> String {
    format!("standin.buildSeconds = 100; environment.etc.run.text = \"{}\";", lab.root().display())
}

fn root_a_cancelled_build_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let cancel = Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let mut started = None;
    let mut observer = |event: Event| {
        if let Event::BuildStarted { name, .. } = &event
            && name.starts_with("nixos-system-")
        {
            started = Some(Instant::now());
            cancel.cancel();
        }
    };
    let request = web.request(&web.file().module(&long_build(lab)));
    let error = manager.container(web.name().clone()).create(&request, &mut observer).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    let waited = started.expect("the build started").elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    lab.assert_nothing_left();
    web.create();
}

fn root_a_cancelled_update_keeps_the_old_generation(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let cancel = Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let mut observer = |event: Event| {
        if matches!(event, Event::BuildStarted { .. }) {
            cancel.cancel();
        }
    };
    let file = Some(web.request(&web.file().version("2").module(&long_build(lab))).file);
    let request = UpdateRequest::default().with_file(file);
    let error = manager.container(web.name().clone()).update(&request, &mut observer).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    assert_eq!((web.generations(), web.init(), web.version().as_deref()), (vec![1], init, Some("1")));
    web.update(&web.file().version("2"));
    assert_eq!((web.generation(), web.version().as_deref()), (2, Some("2")));
}

fn root_a_failed_update_keeps_the_old_generation(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    for (bad, kind) in
        [("services.nothing = 1;", ErrorKind::Input), ("standin.buildFails = true;", ErrorKind::Build)]
    {
        let error = web.try_update(&web.file().version("2").module(bad)).unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!((web.generations(), web.init(), web.version().as_deref()), (vec![1], init, Some("1")));
    }
    let work = lab.path("/var/lib/nixcloud/container/work");
    assert_eq!(fs::read_dir(work).unwrap().count(), 0);
    web.stop();
    web.start();
}

/// Kills a process that creates or updates `web` once the build is under way.
fn kill_in_build(lab: &Lab, verb: &str, web: &crate::harness::Guest<'_>) {
    let file = lab.file(web.name().as_str(), &web.file().version("2").module(&long_build(lab)));
    let mut child =
        lab.actor(false, verb, web).arg(file).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let system = || {
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("nix-store")
                && parent(&entry.path()) == Some(child.id())
        })
    };
    eventually("it builds", Duration::from_secs(30), system);
    // Some way into the build.
    std::thread::sleep(Duration::from_millis(500));
    // With all its children, as when the machine dies.
    killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    let builders = || {
        let namespace = fs::read_link("/proc/self/ns/net").unwrap();
        fs::read_dir("/proc").unwrap().flatten().any(|entry| {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&command).contains("nix-store")
                && fs::read_link(entry.path().join("ns/net")).is_ok_and(|other| other == namespace)
        })
    };
    // Nix's own children are of other process groups; they notice that it is gone.
    eventually("Nix is gone", Duration::from_secs(20), || !builders());
}

fn parent(process: &std::path::Path) -> Option<u32> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn root_a_killed_create_is_tidied_by_the_next(lab: &Lab) {
    let web = lab.busybox("web");
    kill_in_build(lab, "create", &web);
    assert_eq!(web.state(), State::Incomplete);
    assert!(matches!(web.container().start(&mut ()), Err(Error::State { state: State::Incomplete, .. })));
    let mut notes = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().create(&web.request(&web.file()), &mut observer).must("create");
    assert!(notes.iter().any(|note| note.contains("cut off")), "{notes:?}");
    assert_eq!(web.address().octets(), [10, 101, 0, 2]);
    assert_eq!(web.container().status().must("status").ids.unwrap().base(), 100_000);
    web.start();
}

fn root_a_killed_create_is_tidied_by_destroy(lab: &Lab) {
    let web = lab.busybox("web");
    kill_in_build(lab, "create", &web);
    assert!(web.container().exists().must("exists"));
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_killed_update_is_undone_by_the_next(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    kill_in_build(lab, "update", &web);
    assert_eq!((web.state(), web.init()), (State::Running, init));
    web.stop();
    web.start();
    assert_eq!((web.generations(), web.version().as_deref()), (vec![1], Some("1")));
    web.update(&web.file().version("3"));
    assert_eq!((web.generation(), web.version().as_deref()), (2, Some("3")));
}

fn root_a_failed_start_leaves_no_cgroup(lab: &Lab) {
    let web = lab.busybox("web");
    let missing = lab.path("/files/missing");
    web.create_from(
        &web.file().extra(&format!("lxc.mount.entry = {} srv/x none bind,create=dir 0 0", missing.display())),
    );
    let error = web.container().start(&mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Host, "{error:?}");
    // What is missing.
    assert!(crate::harness::chain(&error).contains("/files/missing"), "{}", crate::harness::chain(&error));
    assert_eq!(web.state(), State::Stopped);
    fs::create_dir(&missing).unwrap();
    web.start();
    web.stop();
    fs::remove_dir(&missing).unwrap();
    assert!(web.container().start(&mut ()).is_err());
    web.destroy();
    lab.assert_nothing_left();
}

fn root_half_written_files_go_with_the_next_destroy(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let state = lab.path("/var/lib/nixcloud/container");
    let folders =
        ["", "nix", "records", "locks", "sysctl", "resolvers", "resolvers/host", "resolvers/leases"];
    let files = folders.map(|folder| state.join(folder).join(".nixcloud-1-1.tmp"));
    for file in &files {
        fs::write(file, "half").unwrap();
    }
    web.destroy();
    for file in &files {
        assert!(!file.exists(), "{}", file.display());
    }
    lab.assert_nothing_left();
}

/// As one leaves it that is killed at its very last call.
fn root_a_lock_that_outlived_its_container_goes_with_the_same_destroy(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    web.destroy();
    fs::write(lab.path("/var/lib/nixcloud/container/locks").join(web.name().as_str()), "1\n").unwrap();
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    lab.assert_nothing_left();
}

/// It is not the container that somebody is at.
fn root_who_holds_the_networks_is_named(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let hasty = lab.manager_with(|config| config.timeouts.lock = 1);
    let path = lab.path("/var/lib/nixcloud/container/locks/.network");
    fs::write(&path, "4711\n").unwrap();
    let file = fs::File::open(&path).unwrap();
    let held = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    let file = lab.file("next", &web.file().keys("network.forwards = [ { hostPort = 8080; } ];"));
    let request = UpdateRequest::new(file);
    let error = hasty.container(web.name().clone()).update(&request, &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error:?}");
    let words = crate::harness::chain(&error);
    assert!(words.contains("the networks of this host are being changed by process 4711"), "{words}");
    drop(held);
    web.update(&web.file().keys("network.forwards = [ { hostPort = 8080; } ];"));
    web.destroy();
    lab.assert_nothing_left();
}

/// What `operation` ends with that is cancelled once its `nft` has stopped, as by SIGSTOP; that one is gone soon, and those
/// after it work.
fn cancelled_at_nft<T>(lab: &Lab, operation: impl FnOnce(&Manager) -> Result<T, Error>) -> Error {
    let (nft, hang, hung) = (lab.root().join("nft"), lab.root().join("hang"), lab.root().join("hung"));
    let script = format!(
        "#!/bin/sh\nif rm {} 2>/dev/null; then echo $$ >{}; kill -STOP $$; fi\nexec nft \"$@\"\n",
        hang.display(),
        hung.display()
    );
    fs::write(&nft, script).unwrap();
    fs::set_permissions(&nft, PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(&hang, "").unwrap();
    let cancel = Cancel::new();
    let manager = lab.manager_with(|config| config.tools.nft.clone_from(&nft)).with_cancel(cancel.clone());
    let (error, took) = thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            let pid = || fs::read_to_string(&hung).ok().filter(|pid| pid.ends_with('\n'));
            eventually("nft hangs", Duration::from_secs(60), || pid().is_some());
            let process = Path::new("/proc").join(pid().unwrap().trim());
            cancel.cancel();
            let begin = Instant::now();
            eventually("nft is gone", Duration::from_secs(60), || !process.exists());
            begin.elapsed()
        });
        (operation(&manager).map(drop).unwrap_err(), cancelled.join().unwrap())
    });
    // It would have had five seconds.
    assert!(took < Duration::from_secs(3), "{took:?}");
    fs::remove_file(&hung).unwrap();
    fs::remove_file(&nft).unwrap();
    error
}

fn root_a_hung_nft_is_no_reason_not_to_hear_a_cancel(lab: &Lab) {
    let web = lab.busybox("web");
    let with = |port: u16| web.file().keys(&format!("network.forwards = [ {{ hostPort = {port}; }} ];"));
    let request = web.request(&with(8080));
    let error =
        cancelled_at_nft(lab, |manager| manager.container(web.name().clone()).create(&request, &mut ()));
    assert!(matches!(error, Error::Cancelled), "{error:?}");
    // What was undone needed it.
    lab.assert_nothing_left();

    web.create_from(&with(8080));
    let file = Some(lab.file(web.name().as_str(), &with(8081).version("2")));
    let request = UpdateRequest::default().with_file(file);
    let error =
        cancelled_at_nft(lab, |manager| manager.container(web.name().clone()).update(&request, &mut ()));
    assert!(matches!(error, Error::Unsettled { .. }), "{error:?}");
    assert_eq!((error.kind(), web.generation()), (ErrorKind::Cancelled, 2));
    let ports = |port: &str| run("nft", "list ruleset").contains(port);
    assert!(ports("8080") && !ports("8081"));
    web.start();
    assert!(!ports("8080") && ports("8081"), "the next one ends what was left");

    let error = cancelled_at_nft(lab, Manager::host_up);
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    lab.manager().host_up().must("host up");
}

fn root_who_waits_for_the_networks_hears_a_cancel(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let path = lab.path("/var/lib/nixcloud/container/locks/.network");
    let held = Flock::lock(fs::File::create(&path).unwrap(), FlockArg::LockExclusive)
        .map_err(|(_, errno)| errno)
        .unwrap();
    let cancel = Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let request = UpdateRequest::new(
        lab.file("next", &web.file().keys("network.forwards = [ { hostPort = 8080; } ];")),
    );
    let (other, name) = (manager.clone(), web.name().clone());
    let error = thread::scope(|scope| {
        scope.spawn(|| {
            let generation =
                || other.container(name.clone()).status().ok()?.generation.map(GenerationId::get);
            eventually("the generation is current", Duration::from_secs(60), || generation() == Some(2));
            cancel.cancel();
        });
        manager.container(web.name().clone()).update(&request, &mut ()).unwrap_err()
    });
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    drop(held);
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_broken_record_hides_no_other_container(lab: &Lab) {
    let (one, two) = (lab.busybox("one"), lab.busybox("two"));
    one.create();
    two.create();
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", one.name()));
    let good = fs::read(&record).unwrap();
    fs::write(&record, "schema = 1\nna").unwrap();
    let list = lab.manager().list().must("list");
    use nixcloud_container::Listed;
    assert!(matches!(&list[..], [Listed::Broken { .. }, Listed::Container(_)]), "{list:?}");
    assert!(one.container().start(&mut ()).is_err());
    two.start();
    fs::write(&record, good).unwrap();
    one.start();
}

fn root_two_operations_on_one_container_wait_for_each_other(lab: &Lab) {
    let web = lab.guest("web", Kind::Busybox);
    web.create();
    let actors: Vec<_> = (0..4)
        .map(|_| {
            let mut command = lab.actor(false, "start", &web);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut started = 0;
    for actor in actors {
        let output = actor.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{output:?}");
        started += usize::from(said.starts_with("Started"));
    }
    assert_eq!(started, 1);
    // Where the time for waiting is short, the holder is named.
    let hold = lab.path("/var/lib/nixcloud/container/locks").join(web.name().as_str());
    let file = fs::File::create(&hold).unwrap();
    fs::write(&hold, format!("{}\n", std::process::id())).unwrap();
    file.lock().unwrap();
    let manager = lab.manager_with(|config| config.timeouts.lock = 1);
    let error = manager.container(web.name().clone()).stop(None).unwrap_err();
    assert!(matches!(error, Error::Busy { pid: Some(pid), .. } if pid == std::process::id()), "{error:?}");
    drop(file);
    web.stop();
}
