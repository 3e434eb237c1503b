//! Containers that the shell original made, on a tree of its files that a script makes: `tests/original/make.sh`.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nixcloud_container::{
    AutostartOutcome, AutostartRequest, AutostopOutcome, AutostopRequest, CreateRequest, DestroyRequest,
    Error, ErrorKind, Event, Listed, Manager, Observer, Part, State, UpdateAllRequest, UpdateRequest,
    Verdict,
};

use crate::apply::{expect, failure};
use crate::harness::guest::ping;
use crate::harness::{File, Guest, Lab, Must, chain, eventually, scenarios};
use crate::moving::{assert_owned, claims, ids};

scenarios! {
    once: [
        root_adopted_and_its_whole_life,
        root_looking_adopts_nothing,
        root_two_that_share_the_old_range,
        root_the_line_that_the_original_needed_is_no_fault,
        root_adopted_with_a_fixed_address_and_a_nat_interface,
        root_adopted_while_it_runs,
        root_lines_of_the_original_are_kept_as_far_as_they_are_safe,
        root_lists_are_data,
        root_only_what_the_original_made_is_adopted,
        root_an_address_or_range_that_another_has_refuses_the_adoption,
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
fn make(lab: &Lab, guest: &Guest<'_>, verb: &str, file: &File, extra: &str) -> PathBuf {
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

fn state(lab: &Lab) -> PathBuf {
    lab.path("/var/lib/nixcloud/container")
}

fn list(lab: &Lab, file: &str) -> String {
    fs::read_to_string(state(lab).join(file)).unwrap()
}

/// All below the lab's folder but the container files, with what says that it was changed.
fn tree(folder: &Path) -> Vec<(PathBuf, i64, i64, u32, u32)> {
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
struct Notes(Vec<String>);

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

fn root_looking_adopts_nothing(lab: &Lab) {
    let web = made(lab, "web");
    let manager: &Manager = lab.manager();
    let before = tree(lab.root());
    manager.list().must("list");
    assert_eq!(manager.names().must("names"), [web.name().clone()]);
    web.state();
    web.address();
    web.generations();
    web.container().interfaces().must("interfaces");
    let status = web.container().status().must("status");
    assert_eq!((status.autostart, status.ids.map(nixcloud_container::IdMap::base)), (false, Some(100_000)));
    assert!(status.file.ends_with(format!("{}-create.nix", web.name())), "{status:?}");
    assert!(matches!(
        web.container()
            .run(nixcloud_container::RunRequest::new(["true"]), nixcloud_container::Streams::Inherit),
        Err(Error::State { .. })
    ));
    assert_eq!(tree(lab.root()), before);
    // A name that is taken is taken; so are its address and its ids.
    let error = web.try_create(&web.file()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error:?}");
    let new = lab.busybox("new");
    new.create();
    assert_eq!((new.address().octets(), ids(&new)), ([10, 101, 0, 3], 165_536));
    new.destroy();
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

fn root_lists_are_data(lab: &Lab) {
    let (web, db) = (made(lab, "web"), made(lab, "db"));
    let bait = lab.root().join("files/bait");
    let name = state(lab).join("name");
    let good = list(lab, "name");
    let (w, d) = (web.name(), db.name());
    let run = format!("$(touch {})", bait.display());
    let refused = |text: &str, what: &str| {
        fs::write(&name, text).unwrap();
        let error = web.container().start(&mut ()).unwrap_err();
        assert!(matches!(error, Error::Original(_)), "{text}: {error:?}");
        assert!(chain(&error).contains(what), "{text}: {}", chain(&error));
        assert!(error.hint().is_some());
        // It is shown as what it is, and neither as another's nor as free.
        let all = lab.manager().list().must("list");
        assert!(
            all.iter().any(|listed| matches!(listed, Listed::Broken { name, .. } if name == w)),
            "{all:?}"
        );
        assert!(web.try_create(&web.file()).is_err());
        assert_eq!(fs::read_to_string(&name).unwrap(), text, "the list was changed");
        assert!(!bait.exists(), "{text} was run");
        all
    };
    // One value is wrong: the other container is well.
    for value in [
        format!("\\{run}"),
        "0".into(),
        "65535".into(),
        "70000".into(),
        "-1".into(),
        "2 3".into(),
        String::new(),
    ] {
        let all = refused(&format!("declare -A names=([{w}]=\"{value}\" [{d}]=\"3\" )\n"), "which is none");
        assert!(
            all.iter().any(|listed| matches!(listed, Listed::Container(status) if status.name == *d)),
            "{all:?}"
        );
    }
    // It is no list at all.
    for text in [
        format!("declare -A names=([{w}]=\"{run}\" )\n"),
        format!("declare -A names=([{w}]=\"2\" )\ntouch {}\n", bait.display()),
        format!("touch {}\n", bait.display()),
        "\u{0}\u{1}garbage".to_owned(),
    ] {
        refused(&text, "declare -p names");
    }
    // Destroy of the one whose list is broken is refused; mended, all goes on.
    let error = web.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
    assert!(matches!(error, Error::Original(_)), "{error:?}");
    assert!(web.rootfs().join("etc").is_dir());
    fs::write(&name, good).unwrap();
    web.start();
    db.start();
    // Broken later, it is not in the way, and left as it is.
    fs::write(&name, "garbage").unwrap();
    web.stop();
    web.destroy();
    assert_eq!(fs::read_to_string(&name).unwrap(), "garbage");
    fs::remove_file(&name).unwrap();
    db.stop();
    db.destroy();
    assert!(!bait.exists());
    lab.assert_nothing_left();
}

/// What looks like it in part is somebody else's, and left alone.
fn root_only_what_the_original_made_is_adopted(lab: &Lab) {
    let web = made(lab, "web");
    let (config, profile) = (
        web.folder().join("config"),
        lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str()),
    );
    let foreign = |why: &str| {
        let all = lab.manager().list().must("list");
        assert!(matches!(&all[..], [Listed::Foreign { .. }]), "{why}: {all:?}");
        let error = web.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{why}: {error:?}");
        assert!(matches!(web.container().start(&mut ()), Err(Error::Foreign { .. })), "{why}");
        assert!(web.rootfs().join("etc").is_dir());
    };
    let ours = || {
        let all = lab.manager().list().must("list");
        assert!(matches!(&all[..], [Listed::Container(_)]), "{all:?}");
    };
    let text = fs::read_to_string(&config).unwrap();
    // Its configuration is about something else.
    for other in [
        "lxc.uts.name = web\n".to_owned(),
        text.replace("-container/", "-container/x/../"),
        text.replace(web.name().as_str(), "other"),
    ] {
        fs::write(&config, &other).unwrap();
        if !other.contains("..") {
            foreign(&other);
        }
    }
    // The guest's root owned the folder: a file of its own counts for nothing.
    fs::write(&config, &text).unwrap();
    std::os::unix::fs::chown(&config, Some(100_000), Some(100_000)).unwrap();
    foreign("the configuration is the guest's");
    std::os::unix::fs::chown(&config, Some(0), Some(0)).unwrap();
    fs::rename(&config, web.folder().join("real")).unwrap();
    symlink(web.folder().join("real"), &config).unwrap();
    foreign("the configuration is a link");
    fs::rename(web.folder().join("real"), &config).unwrap();
    ours();
    // It is in none of the lists.
    let name = list(lab, "name");
    fs::write(state(lab).join("name"), "declare -A names=()\n").unwrap();
    foreign("no list");
    fs::write(state(lab).join("name"), name).unwrap();
    // It has no profile.
    fs::rename(&profile, profile.with_extension("away")).unwrap();
    foreign("no profile");
    fs::rename(profile.with_extension("away"), &profile).unwrap();
    // Written out instead of included, with the old mount line.
    fs::write(&config, fs::read_to_string(profile.join("profile/config")).unwrap()).unwrap();
    ours();
    web.start();
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_an_address_or_range_that_another_has_refuses_the_adoption(lab: &Lab) {
    // As on a host where ours came first and did not know.
    let own = lab.busybox("own");
    own.create();
    assert_eq!((own.address().octets(), ids(&own)), ([10, 101, 0, 2], 100_000));
    let web = made(lab, "web");
    let before = tree(&web.folder());
    let error = web.container().start(&mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(chain(&error), format!("ids from 100000 up belong to container `{}`", own.name()));
    // What the hint says.
    own.update(&crate::moving::shared(&own, "2").keys("network.ip = \"10.101.9.9\";"));
    own.update(&own.file().version("3").keys("network.ip = \"10.101.9.9\";"));
    assert_ne!(ids(&own), 100_000);
    fs::write(lab.path("/var/lib/nixcloud/container/addresses/10.101.0.2"), own.name().as_str()).unwrap();
    let error = web.container().start(&mut ()).unwrap_err();
    assert_eq!(chain(&error), format!("address 10.101.0.2 belongs to container `{}`", own.name()));
    // It is the original's as before, and nothing is claimed for it.
    assert!(!lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name())).exists());
    assert_eq!(claims(lab).into_keys().collect::<Vec<_>>(), [ids(&own)]);
    assert_eq!(tree(&web.folder()), before);
    fs::remove_file(lab.path("/var/lib/nixcloud/container/addresses/10.101.0.2")).unwrap();
    web.start();
    web.stop();
    web.destroy();
    own.destroy();
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
