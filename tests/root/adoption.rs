//! Containers that the shell original made, on a tree of its files that a script makes: `tests/original/make.sh`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nixcloud_container::{
    AutostartOutcome, AutostartRequest, AutostopOutcome, AutostopRequest, CreateRequest, DestroyRequest,
    Error, Event, Listed, Observer, Part, State, UpdateAllRequest, UpdateRequest, Verdict,
};

use crate::apply::{expect, failure};
use crate::harness::guest::ping;
use crate::harness::{File, Guest, Lab, Must, chain, eventually, scenarios};
use crate::moving::{assert_owned, claims, ids};

scenarios! {
    once: [
        root_adopted_and_its_whole_life,
        root_two_that_share_the_old_range,
        root_the_line_that_the_original_needed_is_no_fault,
        root_adopted_with_a_fixed_address_and_a_nat_interface,
        root_adopted_while_it_runs,
        root_lines_of_the_original_are_kept_as_far_as_they_are_safe,
        root_adopted_containers_move_to_ids_of_their_own_when_asked,
        root_the_original_destroyed_unadopted,
        root_an_adoption_that_was_cut_off_is_completed,
        root_originals_start_and_end_with_the_host,
        root_originals_are_updated_with_all_others,
        root_the_resolvers_know_whom_a_start_adopts,
    ],
    both: [],
}

/// Lets the script make a container as the original did.
#[track_caller]
pub fn make(lab: &Lab, guest: &Guest<'_>, verb: &str, file: &File, extra: &str) -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("original/make.sh");
    let file = lab.file(&format!("{}-{verb}", guest.name()), file);
    let nixpkgs = std::env::var("NIXCLOUD_TEST_STANDIN").unwrap();
    let output = Command::new(script)
        .arg(lab.root())
        .args([verb, guest.name().as_str()])
        .arg(&file)
        .arg(extra)
        .env("NIX_PATH", format!("nixpkgs={nixpkgs}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

#[track_caller]
pub fn made<'l>(lab: &'l Lab, name: &str) -> Guest<'l> {
    let guest = lab.busybox(name);
    make(lab, &guest, "create", &guest.file(), "");
    guest
}

pub fn state(lab: &Lab) -> PathBuf {
    lab.path("/var/lib/nixcloud/container")
}

pub fn list(lab: &Lab, file: &str) -> String {
    fs::read_to_string(state(lab).join(file)).unwrap()
}

/// All below the lab's folder but the container files, with what says that it was changed.
pub fn tree(folder: &Path) -> Vec<(PathBuf, i64, i64, u32, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        if meta.is_dir() {
            found.extend(tree(&path));
        }
        found.push((path, meta.ctime(), meta.ctime_nsec(), meta.uid(), meta.mode()));
    }
    found.sort();
    found
}

/// What an operation tells beside its outcome.
#[derive(Default)]
pub struct Notes(Vec<String>);

impl Observer for Notes {
    fn event(&mut self, event: Event) {
        if let Event::Note(note) = event {
            self.0.push(note.to_string());
        }
    }
}

fn root_adopted_and_its_whole_life(lab: &Lab) {
    let web = made(lab, "web");
    make(lab, &web, "update", &web.file().version("2"), "");
    // It is there like any other, by the library and by the command.
    let all = lab.manager().list().must("list");
    assert!(matches!(&all[..], [Listed::Container(status)] if status.name == *web.name()), "{all:?}");
    assert!(web.container().exists().must("exists"));
    assert_eq!((web.state(), web.generation(), web.generations()), (State::Stopped, 2, vec![1, 2]));
    assert_eq!(web.address().octets(), [10, 101, 0, 2]);
    assert_eq!(lab.line("list").done(), web.name().as_str());
    assert_eq!(lab.line("show-ip @web").done(), "10.101.0.2");
    assert_eq!(lab.line("state @web").done(), "stopped");
    assert_eq!(lab.line("exists @web").code, 0);
    // Started by us, it has our protection, its own address and ids, and the system that the original built.
    let mut notes = Notes::default();
    web.container().start(&mut notes).must("start");
    web.await_version();
    assert!(notes.0.iter().any(|note| note.contains("adopted")), "{notes:?}", notes = notes.0);
    assert_eq!((web.version().as_deref(), ids(&web)), (Some("2"), 100_000));
    assert!(web.pings());
    assert!(!web.sh(": >/nix/store/x").exit.success());
    assert_ne!(web.sh("mount -o remount,bind,rw /nix/store").exit, nixcloud_container::Exit::Code(0));
    assert_eq!(web.shell("echo kept >/root/file; cat /root/file"), "kept");
    assert_eq!(web.folder().metadata().unwrap().uid(), 0, "lxc-create gave it to the guest");
    let init = web.init();
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), [(100_000, ".shared".to_owned())]);
    // Updated into ours, in place.
    let switched = web.update(&web.file().version("3"));
    assert!(switched.activated, "{switched:?}");
    assert_eq!((web.version().as_deref(), web.init(), web.generations()), (Some("3"), init, vec![1, 2, 3]));
    assert_eq!((web.address().octets(), ids(&web)), ([10, 101, 0, 2], 100_000));
    assert!(web.generation_path(3).join("spec.json").exists());
    let pending: Vec<&str> = switched.pending_restart.iter().map(|pending| pending.key.as_str()).collect();
    assert!(pending.contains(&"lxc.init.cmd") && !pending.contains(&"lxc.idmap"), "{pending:?}");
    web.stop();
    web.start();
    assert_eq!((web.version().as_deref(), web.shell("cat /root/file").as_str()), (Some("3"), "kept"));
    // Back to a generation without a spec: running, and over a restart.
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(web.version().as_deref(), Some("2"));
    web.stop();
    web.start();
    assert_eq!(
        (web.version().as_deref(), web.address().octets(), ids(&web)),
        (Some("2"), [10, 101, 0, 2], 100_000)
    );
    assert!(web.pings());
    web.container().switch_generation(crate::harness::guest::id(1), &mut ()).must("switch");
    assert_eq!(web.version().as_deref(), Some("1"));
    web.container().delete_generations(&nixcloud_container::Selection::Old, &mut ()).must("delete");
    // Without a file: the one last used.
    web.stop();
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    web.start();
    assert_eq!(web.version().as_deref(), Some("3"));
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_two_that_share_the_old_range(lab: &Lab) {
    let (one, two) = (made(lab, "one"), made(lab, "two"));
    one.start();
    two.start();
    assert_eq!((one.address().octets(), two.address().octets()), ([10, 101, 0, 2], [10, 101, 0, 3]));
    assert_eq!((ids(&one), ids(&two)), (100_000, 100_000));
    assert!(one.pings() && two.pings());
    // A new one with shared ids joins them.
    let three = lab.busybox("three");
    three.create_from(&crate::moving::shared(&three, "1"));
    assert_eq!((ids(&three), three.address().octets()), (100_000, [10, 101, 0, 4]));
    one.stop();
    one.destroy();
    assert!(
        !list(lab, "name").contains(one.name().as_str()) && list(lab, "name").contains(two.name().as_str())
    );
    assert!(!list(lab, "ip").contains(one.name().as_str()), "{}", list(lab, "ip"));
    assert_eq!(two.version().as_deref(), Some("1"));
    two.stop();
    two.destroy();
    assert!(!state(lab).join("name").exists(), "the lists stay behind");
    three.destroy();
    lab.assert_nothing_left();
}

fn root_adopted_with_a_fixed_address_and_a_nat_interface(lab: &Lab) {
    let web = lab.busybox("web");
    let file = web.file().keys("network.ip = \"10.101.7.7\"; network.enableNat = true; autostart = true;");
    make(lab, &web, "create", &file, "");
    // The original kept Nix's quotes.
    assert!(list(lab, "fixedIp").contains("\\\"10.101.7.7\\\""), "{}", list(lab, "fixedIp"));
    assert_eq!(web.address().octets(), [10, 101, 7, 7]);
    assert!(web.container().status().must("status").autostart);
    web.start();
    // What never reached the guest of the original.
    assert!(ping([10, 101, 7, 7].into()));
    assert!(web.shell("ls /sys/class/net").contains("internet"));
    let other = lab.busybox("other");
    let error = other.try_create(&other.file().keys("network.ip = \"10.101.7.7\";")).unwrap_err();
    assert!(error.to_string().contains(web.name().as_str()), "{}", chain(&error));
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_the_line_that_the_original_needed_is_no_fault(lab: &Lab) {
    let subuid = lab.path("/etc/subuid");
    fs::create_dir_all(subuid.parent().unwrap()).unwrap();
    fs::write(&subuid, "root:100000:65536\n").unwrap();
    let manager = lab.manager_with(|config| config.ids.foreign = vec![subuid.clone()]);
    let web = made(lab, "web");
    web.start_by(&manager);
    assert_eq!(ids(&web), 100_000);
    manager.host_up().must("host up");
    let verdicts = || {
        let mut findings = manager.host_check();
        findings.retain(|finding| finding.part == Part::Ids);
        findings.iter().map(|finding| finding.verdict).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(), [Verdict::Good, Verdict::Off]);
    // Another one of root's is, as ever, what Incus may give to others.
    fs::write(
        &subuid,
        fs::read_to_string(&subuid).unwrap().replace("root:100000:65536", "root:100000:1000000"),
    )
    .unwrap();
    assert!(verdicts().contains(&Verdict::Wrong));
    web.stop();
    manager.host_down().must("host down");
}

fn root_adopted_while_it_runs(lab: &Lab) {
    let web = made(lab, "web");
    // As the original started it, with LXC's own tool; a store that is mounted read-write and all.
    let files = crate::host::subordinate_ids(lab, "root:100000:65536\n");
    let log = lab.root().join("files/lxc.log");
    let output = Command::new("lxc-start")
        .args([
            "-P",
            lab.path("/var/lib/lxc").to_str().unwrap(),
            "-n",
            web.name().as_str(),
            "-l",
            "INFO",
            "-o",
        ])
        .arg(&log)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}\n{}", fs::read_to_string(&log).unwrap());
    drop(files);
    web.await_version();
    assert_eq!(web.state(), State::Running);
    let init = web.init();
    // Updated in place, by ours.
    let mut notes = Notes::default();
    let file = Some(lab.file(web.name().as_str(), &web.file().version("2")));
    web.container().update(&UpdateRequest::default().with_file(file), &mut notes).must("update");
    assert!(notes.0.iter().any(|note| note.contains("until it")), "{:?}", notes.0);
    assert_eq!((web.version().as_deref(), web.init()), (Some("2"), init));
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert!(matches!(error, Error::State { .. }), "{error:?}");
    web.container().stop(None).must("stop");
    assert_eq!(web.state(), State::Stopped);
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
    assert!(!web.sh("mount -o remount,bind,rw /nix/store").exit.success());
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_lines_of_the_original_are_kept_as_far_as_they_are_safe(lab: &Lab) {
    let web = lab.busybox("web");
    let photos = lab.root().join("files/photos");
    fs::create_dir(&photos).unwrap();
    fs::write(photos.join("cat"), "a cat").unwrap();
    let bait = lab.root().join("files/bait");
    let extra = format!(
        "lxc.mount.entry = {photos} photos none bind,ro,create=dir 0 0\nlxc.hook.pre-start = /bin/touch {bait}\n\
         lxc.mount.entry = / host none rbind.ro,create=dir 0 0\nlxc.include = {bait}\nlxc.cap.keep = sys_admin",
        photos = photos.display(),
        bait = bait.display()
    );
    make(lab, &web, "create", &web.file(), &extra);
    // And what somebody wrote into the file that lxc-create made.
    let config = web.folder().join("config");
    let more =
        "lxc.group = old\nlxc.hook.start-host = /bin/false\nlxc.idmap = u 0 0 65536\nlxc.uts.name = x\n";
    fs::write(&config, fs::read_to_string(&config).unwrap() + more).unwrap();
    let mut notes = Notes::default();
    web.container().start(&mut notes).must("start");
    web.await_version();
    let told = notes.0.join("\n");
    for line in ["/bin/touch", "rbind.ro", "lxc.cap.keep", "/bin/false"] {
        assert!(
            notes.0.iter().any(|note| note.contains(line) && note.contains("left out")),
            "{line}:\n{told}"
        );
        assert!(!web.config().contains(line), "{}", web.config());
    }
    assert!(!told.contains("lxc.group") && !told.contains("/photos photos"), "{told}");
    assert_eq!(web.shell("cat /photos/cat"), "a cat");
    assert!(!web.sh("echo dog >/photos/cat").exit.success());
    assert!(!bait.exists());
    assert_eq!(web.container().status().must("status").groups, ["old"]);
    let map = fs::read_to_string(format!("/proc/{}/uid_map", web.init())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "65536"]);
    web.stop();
    // What stood in the file by hand stays with ours and with what it goes back to; what was built stays with that.
    web.update(&web.file().version("2"));
    assert!(web.config().contains("lxc.group = old") && !web.config().contains("photos"), "{}", web.config());
    let mut notes = Notes::default();
    web.container().rollback(&mut notes).must("rollback");
    assert!(
        web.config().contains("lxc.group = old") && web.config().contains(" photos "),
        "{}",
        web.config()
    );
    assert!(notes.0.iter().any(|note| note.contains("rbind.ro")), "{:?}", notes.0);
    web.destroy();
    fs::remove_dir_all(photos).unwrap();
    lab.assert_nothing_left();
}

fn root_adopted_containers_move_to_ids_of_their_own_when_asked(lab: &Lab) {
    let (web, also) = (made(lab, "web"), made(lab, "also"));
    also.start();
    web.start();
    web.shell("echo kept >/root/file");
    web.stop();
    web.update(&web.file().version("2").keys("idmap = \"isolated\";"));
    assert_eq!((ids(&web), ids(&also)), (165_536, 100_000));
    web.start();
    assert_eq!((web.version().as_deref(), web.shell("cat /root/file").as_str()), (Some("2"), "kept"));
    web.stop();
    fs::remove_file(web.rootfs().join("etc/os-release")).ok();
    assert_owned(&web, 165_536);
    // The original's own generation has the old ids.
    web.container().rollback(&mut ()).must("rollback");
    web.start();
    assert_eq!((web.version().as_deref(), ids(&web)), (Some("1"), 100_000));
    web.stop();
    web.destroy();
    assert_eq!(also.version().as_deref(), Some("1"));
    also.stop();
    also.destroy();
    lab.assert_nothing_left();
}

fn root_the_original_destroyed_unadopted(lab: &Lab) {
    let (web, db) = (made(lab, "web"), made(lab, "db"));
    web.destroy();
    assert!(!list(lab, "name").contains(web.name().as_str()));
    assert!(!web.folder().exists());
    // The name is free, and so is its address.
    let created =
        web.container().create(&CreateRequest::new(lab.file(web.name().as_str(), &web.file())), &mut ());
    assert_eq!(created.must("create").address, Some([10, 101, 0, 2].into()));
    web.destroy();
    db.destroy();
    lab.assert_nothing_left();
}

/// A record that names what nobody has claimed yet, and a folder that is still the guest's.
fn root_an_adoption_that_was_cut_off_is_completed(lab: &Lab) {
    let web = made(lab, "web");
    web.start();
    web.stop();
    let record = state(lab).join("records").join(format!("{}.toml", web.name()));
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains("adopted = \"done\""), "{text}");
    let claims_of = ["addresses/10.101.0.2", "ids/100000"].map(|claim| state(lab).join(claim));
    let cut_off = || {
        fs::write(&record, text.replace("\"done\"", "\"begun\"")).unwrap();
        for claim in &claims_of {
            fs::remove_file(claim).unwrap();
        }
        std::os::unix::fs::chown(web.folder(), Some(100_000), Some(100_000)).unwrap();
        fs::remove_dir(web.folder().join("locked")).unwrap();
    };
    cut_off();
    assert_eq!((web.state(), web.address().octets()), (State::Stopped, [10, 101, 0, 2]));
    web.start();
    assert!(claims_of.iter().all(|claim| claim.is_file()));
    assert_eq!(web.folder().metadata().unwrap().uid(), 0);
    assert_eq!(fs::read_to_string(&record).unwrap(), text.replace("begun", "done"));
    web.stop();
    cut_off();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_originals_start_and_end_with_the_host(lab: &Lab) {
    let (web, by_hand) = (lab.busybox("web"), made(lab, "hand"));
    make(lab, &web, "create", &web.file().keys("autostart = true;"), "");
    let (last, gone) = (lab.busybox("last"), lab.busybox("gone"));
    let after =
        |guest: &Guest<'_>| guest.file().keys(&format!("autostart = {{ after = [ \"{}\" ]; }};", web.name()));
    last.create_from(&after(&last));
    let started = lab.manager().autostart(&AutostartRequest::default(), &mut ()).must("autostart");
    assert_eq!(started.len(), 2, "{started:?}");
    assert!(started.iter().all(|one| matches!(one.outcome, AutostartOutcome::Started { .. })), "{started:?}");
    assert_eq!((web.state(), by_hand.state()), (State::Running, State::Stopped));
    // A half-made folder of somebody else is nobody's to start.
    fs::create_dir(gone.folder()).unwrap();
    fs::write(gone.folder().join("config"), "lxc.start.auto = 1\n").unwrap();
    by_hand.start();
    web.await_version();
    last.await_version();
    let ended = lab.manager().autostop(&AutostopRequest::default(), &mut ()).must("autostop");
    assert_eq!(ended.len(), 3, "{ended:?}");
    assert!(ended.iter().all(|one| matches!(one.outcome, AutostopOutcome::Stopped)), "{ended:?}");
    fs::remove_dir_all(gone.folder()).unwrap();
}

fn root_originals_are_updated_with_all_others(lab: &Lab) {
    let (web, own) = (made(lab, "web"), lab.busybox("own"));
    own.create();
    let lost = made(lab, "lost");
    fs::remove_file(lost.folder().join("nixConfigPath")).unwrap();
    let before = tree(lab.root());
    let request = UpdateAllRequest::new().with_dry_run(true);
    let planned = lab.manager().update_all(&request, &mut ()).must("plan");
    expect(lab, &planned, &[("lost", "failed"), ("own", "planned"), ("web", "planned")]);
    assert_eq!(tree(lab.root()), before);
    let applied = lab.manager().update_all(&UpdateAllRequest::default(), &mut ()).must("update");
    expect(lab, &applied, &[("lost", "failed"), ("own", "unchanged"), ("web", "updated")]);
    let why = chain(failure(lab, &applied, "lost"));
    assert!(why.contains("no container file"), "{why}");
    // It is one of ours, and all that it has is its own.
    let record = fs::read_to_string(state(lab).join(format!("records/{}.toml", web.name()))).unwrap();
    assert!(record.contains("adopted = \"done\""), "{record}");
    assert_eq!(claims(lab).get(&100_000).map(String::as_str), Some(".shared"));
    assert!(state(lab).join("addresses/10.101.0.2").is_file());
    assert_eq!(web.generations(), [1, 2]);
    assert!(web.generation_path(2).join("spec.json").exists());
    web.start();
    assert!(web.pings());
    web.stop();
}

fn root_the_resolvers_know_whom_a_start_adopts(lab: &Lab) {
    lab.manager().host_up().must("host up");
    let web = lab.busybox("web");
    make(lab, &web, "create", &web.file().keys("network.enableNat = true;"), "");
    let name = format!("{}.containers", web.name());
    assert_eq!(crate::names::ask(&name, "127.0.0.101"), ["NXDOMAIN"]);
    let known = || {
        let soon = std::time::Duration::from_secs(10);
        eventually("its name", soon, || crate::names::ask(&name, "127.0.0.101") == ["10.101.0.2"]);
        // Whom dnsmasq does not know gets no address of it.
        web.shell("ip link set internet up");
        let asks = "udhcpc -i internet -n -q -t 5 -T 1 -s /bin/true 2>&1";
        eventually("its lease", soon, || web.sh(asks).text().contains("lease of 10.202.0.10 obtained"));
    };
    web.start();
    known();
    web.stop();
    // What a kill between the record and the resolvers leaves out comes with the next start.
    let files = || {
        let all = tree(&state(lab).join("resolvers")).into_iter().map(|(file, ..)| file);
        all.filter(|file| file.ends_with(web.name().as_str())).collect::<Vec<PathBuf>>()
    };
    let all = files();
    assert!(all.len() >= 2, "{all:?}");
    all.iter().for_each(|file| fs::remove_file(file).unwrap());
    web.start();
    assert_eq!(files(), all);
    known();
    web.stop();
}
