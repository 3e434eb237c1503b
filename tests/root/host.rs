//! The host around the containers: other network namespaces, subordinate ids, other LXC containers, second managers.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nixcloud_container::{DestroyRequest, Error, ErrorKind, Listed, Part, State, Verdict};

use crate::harness::space::ip;
use crate::harness::{Kind, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_a_store_that_cannot_be_idmapped_is_mounted_without,
        root_from_another_network_nothing_is_started_twice_nor_removed,
        root_terminate_from_another_network,
        root_a_foreign_lxc_container_is_left_alone,
        root_a_foreign_lxc_containers_address_and_ids_are_respected,
        root_a_profile_of_somebody_else_is_refused,
        root_the_profile_of_a_guest_is_shown,
        root_host_up_and_down_leave_other_bridges_alone,
        root_what_is_in_the_way_of_a_network_is_told_and_leaves_the_other_alone,
    ],
    both: [
        root_an_empty_subuid,
        root_a_foreign_subuid,
    ],
}

fn act(lab: &Lab, netns: bool, verb: &str, guest: &crate::harness::Guest<'_>, file: Option<&Path>) -> Output {
    let mut command = lab.actor(netns, verb, guest);
    command.args(file).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, with: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(with), "{output:?}");
}

fn root_from_another_network_nothing_is_started_twice_nor_removed(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let unreachable = "state: Unreachable";
    let state = act(lab, true, "state", &web, None);
    assert_eq!(String::from_utf8_lossy(&state.stdout), "Unreachable\n", "{state:?}");
    refused(&act(lab, true, "start", &web, None), unreachable);
    refused(&act(lab, true, "destroy", &web, None), unreachable);
    refused(&act(lab, true, "stop", &web, None), unreachable);
    let two = lab.file(web.name().as_str(), &web.file().version("2"));
    refused(&act(lab, true, "update", &web, Some(&two)), unreachable);
    assert_eq!((web.state(), web.init(), web.generations()), (State::Running, init, vec![1]));
    assert!(web.rootfs().join("etc").is_dir());
    // From here the same calls are understood.
    let start = act(lab, false, "start", &web, None);
    let said = String::from_utf8_lossy(&start.stdout);
    assert!(said.starts_with("AlreadyRunning"), "{start:?}");
    // Without our own note of the start, the kernel still knows.
    let note = lab.path("/var/lib/nixcloud/container/running").join(format!("{}.toml", web.name()));
    fs::remove_file(&note).unwrap();
    refused(&act(lab, true, "start", &web, None), unreachable);
    refused(&act(lab, true, "destroy", &web, None), unreachable);
    web.stop();
    let destroyed = act(lab, true, "destroy", &web, None);
    assert!(destroyed.status.success(), "{destroyed:?}");
    lab.assert_nothing_left();
}

fn root_terminate_from_another_network(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let output = act(lab, true, "terminate", &web, None);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(web.state(), State::Stopped);
    web.start();
}

/// A file over another, in this scenario's mount namespace.
pub struct Over(&'static str);

impl Over {
    fn new(lab: &Lab, path: &'static str, text: &str) -> Self {
        let file = lab.path("/files").join(path.replace('/', "_"));
        fs::write(&file, text).unwrap();
        let none: Option<&str> = None;
        mount(Some(&file), path, none, MsFlags::MS_BIND, none).unwrap();
        Self(path)
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        umount2(self.0, MntFlags::MNT_DETACH).unwrap();
    }
}

pub fn subordinate_ids(lab: &Lab, text: &str) -> Vec<Over> {
    ["/etc/subuid", "/etc/subgid"].into_iter().map(|path| Over::new(lab, path, text)).collect()
}

fn root_an_empty_subuid(lab: &Lab, kind: Kind) {
    let _files = subordinate_ids(lab, "");
    let web = lab.guest("web", kind);
    web.boot();
    assert_eq!(web.container().status().must("status").ids.unwrap().base(), 100_000);
    web.stop();
}

fn root_a_foreign_subuid(lab: &Lab, kind: Kind) {
    // Root has a range of its own, so newuidmap would refuse every other one.
    let _files = subordinate_ids(lab, "ada:100000:65536\nroot:500000:65536\nbob:165537:10\n# no line\n");
    let web = lab.guest("web", kind);
    web.boot();
    let ids = web.container().status().must("status").ids.unwrap().base();
    assert_eq!(ids, 231_072, "it overlaps the range of another user");
    let map = fs::read_to_string(format!("/proc/{}/uid_map", web.init())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "231072", "65536"]);
    web.stop();
}

/// An LXC container that somebody else made, with this configuration.
fn foreign(lab: &Lab, name: &str, config: &str) -> std::path::PathBuf {
    let folder = lab.path("/var/lib/lxc").join(name);
    fs::create_dir_all(folder.join("rootfs/etc")).unwrap();
    fs::write(folder.join("config"), config).unwrap();
    fs::write(folder.join("rootfs/etc/hostname"), "theirs\n").unwrap();
    folder
}

fn root_a_foreign_lxc_container_is_left_alone(lab: &Lab) {
    let theirs = lab.busybox("theirs");
    let config = "lxc.uts.name = theirs\nlxc.rootfs.path = dir:/nowhere\nthis line is broken\n";
    let folder = foreign(lab, theirs.name().as_str(), config);
    let ours = lab.busybox("ours");
    ours.boot();
    let list = lab.manager().list().must("list");
    let found: Vec<(&str, bool)> =
        list.iter().map(|listed| (listed.name(), matches!(listed, Listed::Foreign { .. }))).collect();
    assert_eq!(found, [(ours.name().as_str(), false), (theirs.name().as_str(), true)]);
    let container = theirs.container();
    let refusals: [(&str, Result<(), Error>); 6] = [
        ("create", theirs.try_create(&theirs.file()).map(drop)),
        ("start", container.start(&mut ()).map(drop)),
        ("stop", container.stop(None).map(drop)),
        ("terminate", container.terminate().map(drop)),
        ("destroy", container.destroy(DestroyRequest::new().with_force(true))),
        ("rollback", container.rollback(&mut ()).map(drop)),
    ];
    for (verb, refusal) in refusals {
        let error = refusal.expect_err(verb);
        assert!(matches!(error, Error::Foreign { .. }), "{verb}: {error:?}");
        assert_eq!(error.kind(), ErrorKind::Refused);
    }
    ours.stop();
    ours.destroy();
    assert_eq!(fs::read_to_string(folder.join("config")).unwrap(), config);
    assert_eq!(fs::read_to_string(folder.join("rootfs/etc/hostname")).unwrap(), "theirs\n");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    fs::remove_dir_all(folder).unwrap();
    lab.assert_nothing_left();
}

fn root_a_foreign_lxc_containers_address_and_ids_are_respected(lab: &Lab) {
    let theirs = lab.name("theirs");
    let folder = foreign(
        lab,
        theirs.as_str(),
        "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n\
         lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.101.0.2/16 10.101.255.255\n",
    );
    let ours = lab.busybox("ours");
    ours.create();
    assert_eq!(ours.address().octets(), [10, 101, 0, 3]);
    assert_eq!(ours.container().status().must("status").ids.unwrap().base(), 165_536);
    let fixed = lab.busybox("fixed");
    let error = fixed.try_create(&fixed.file().keys("network.ip = \"10.101.0.2\";")).unwrap_err();
    assert!(error.to_string().contains(theirs.as_str()), "{}", chain(&error));
    fs::remove_dir_all(folder).unwrap();
}

fn root_a_profile_of_somebody_else_is_refused(lab: &Lab) {
    let web = lab.busybox("web");
    let folder = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    fs::create_dir_all(&folder).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.join("profile")).unwrap();
    let error = web.try_create(&web.file()).unwrap_err();
    assert!(matches!(error, Error::Foreign { .. }), "{error:?}");
    assert!(folder.join("profile").is_symlink());
    fs::remove_dir_all(folder).unwrap();
    lab.assert_nothing_left();
}

fn root_host_up_and_down_leave_other_bridges_alone(lab: &Lab) {
    let ip = |args: &str| {
        let status = std::process::Command::new("ip").args(args.split(' ')).status().unwrap();
        assert!(status.success(), "ip {args}");
    };
    let manager = lab.manager();
    use nixcloud_container::{Change, Part};
    let changes = |changes: Vec<nixcloud_container::HostChange>| -> Vec<Change> {
        let bridges = changes.into_iter().filter(|change| change.part == Part::Bridge);
        bridges.map(|change| change.change).collect()
    };
    assert_eq!(changes(manager.host_up().must("up")), [Change::Kept, Change::Kept]);
    assert_eq!(changes(manager.host_down().must("down")), [Change::Removed, Change::Removed]);
    assert_eq!(changes(manager.host_down().must("down")), [Change::Absent, Change::Absent]);
    // One that somebody else made, with the name and address of ours: used, never removed.
    ip("link add brNC-hostonly type bridge");
    ip("addr add 10.101.0.1/16 dev brNC-hostonly");
    ip("link set brNC-hostonly up");
    assert_eq!(changes(manager.host_up().must("up")), [Change::Foreign, Change::Made]);
    let web = lab.guest("web", Kind::Busybox);
    web.boot();
    assert!(web.pings());
    web.stop();
    assert_eq!(changes(manager.host_down().must("down")), [Change::Removed, Change::Foreign]);
    ip("link del brNC-hostonly");
    manager.host_up().must("up");
}

/// An overlay has no idmapped mounts: the store is then shown without the guest's ids, read-only all the same.
fn root_a_store_that_cannot_be_idmapped_is_mounted_without(lab: &Lab) {
    let empty = lab.root().join("files/empty");
    fs::create_dir(&empty).unwrap();
    let lower = format!("lowerdir={}:/nix/store", empty.display());
    let none = nix::mount::MsFlags::empty();
    let (part, all) = (lab.busybox("part"), lab.busybox("all"));
    part.create();
    all.create_from(&all.file().keys("store = \"full\";"));
    for web in [&part, &all] {
        nix::mount::mount(Some("overlay"), "/nix/store", Some("overlay"), none, Some(lower.as_str()))
            .unwrap();
        let mut notes = Vec::new();
        let mut observer = |event| {
            if let nixcloud_container::Event::Note(note) = event {
                notes.push(note.to_string());
            }
        };
        let started = web.container().start(&mut observer).must("start");
        assert!(matches!(started, nixcloud_container::StartOutcome::Started { .. }), "{started:?}");
        assert!(notes.iter().any(|note| note.contains("guest's ids")), "{notes:?}");
        web.await_version();
        assert!(!web.config().contains("idmap=container"), "{}", web.config());
        assert_ne!(web.sh("mount -o remount,bind,rw /nix/store").exit, nixcloud_container::Exit::Code(0));
        web.stop();
        // It is known for this boot: the next start does not try.
        let mut notes = 0;
        web.container().start(&mut |_| notes += 1).must("start");
        assert_eq!(notes, 0);
        web.stop();
        nix::mount::umount("/nix/store").unwrap();
        fs::remove_file(lab.path("/var/lib/nixcloud/container/running/.store-not-idmapped")).unwrap();
    }
    fs::remove_dir(&empty).unwrap();
}

fn root_what_is_in_the_way_of_a_network_is_told_and_leaves_the_other_alone(lab: &Lab) {
    let manager = lab.manager();
    let wrong = |bridge: &str| {
        let findings = manager.host_check();
        let found = findings.into_iter().find(|f| f.part == Part::Bridge && f.name == bridge).unwrap();
        (found.verdict == Verdict::Wrong).then(|| (found.what, found.mend.unwrap_or_default().to_string()))
    };
    ip("link add d0 type veth peer name d9");
    ip("link set d0 up");
    ip("addr add 192.0.2.1/24 dev d0");
    // What is there before our bridges: a network, a route, in another table as well.
    for (set, unset, words) in [
        ("addr add 10.101.7.1/24 dev d0", "addr del 10.101.7.1/24 dev d0", "interface d0 has 10.101.7.1/24"),
        (
            "route add 10.101.9.0/24 via 192.0.2.9",
            "route del 10.101.9.0/24",
            "the route 10.101.9.0/24 leads to d0",
        ),
        (
            "route add 10.101.0.0/16 via 192.0.2.9 table 7007",
            "route del 10.101.0.0/16 table 7007",
            "the route 10.101.0.0/16 of table 7007 leads to d0",
        ),
    ] {
        manager.host_down().must("down");
        ip(set);
        let error = manager.host_up().unwrap_err();
        assert!(chain(&error).contains(words), "{set}: {}", chain(&error));
        assert!(error.hint().unwrap().contains("network.hostonly.address"), "{set}");
        assert_eq!(wrong("brNC-internet"), None, "{set}");
        let (what, mend) = wrong("brNC-hostonly").unwrap();
        assert!(what.contains(words), "{set}: {what}");
        assert!(mend.contains("network.hostonly.address"), "{set}: {mend}");
        ip(unset);
        manager.host_up().must("up");
        assert_eq!(wrong("brNC-hostonly"), None, "{unset}");
    }
    // A rule that takes all of it elsewhere, while the bridge is up.
    ip("route add default via 192.0.2.9 table 7007");
    ip("rule add to 10.101.0.0/16 lookup 7007");
    let (what, _) = wrong("brNC-hostonly").unwrap();
    assert!(what.contains("ip rule") && what.contains("leads to d0"), "{what}");
    ip("rule del to 10.101.0.0/16 lookup 7007");
    assert_eq!(wrong("brNC-hostonly"), None);
    // A bridge of somebody else's by our name, and something that is none: `host up` would leave both alone.
    manager.host_down().must("down");
    ip("link add brNC-hostonly type bridge");
    let _ = manager.host_up();
    let (what, mend) = wrong("brNC-hostonly").unwrap();
    assert!(what.contains("somebody else made it"), "{what}");
    assert!(mend.contains("ip addr add 10.101.0.1/16 dev brNC-hostonly"), "{mend}");
    ip("link set brNC-hostonly up");
    ip("addr add 10.101.0.1/16 dev brNC-hostonly");
    assert_eq!(wrong("brNC-hostonly"), None, "as it says");
    manager.host_down().must("down");
    ip("link del brNC-hostonly");
    ip("link add brNC-hostonly type veth peer name d7");
    manager.host_up().unwrap_err();
    let (_, mend) = wrong("brNC-hostonly").unwrap();
    assert!(mend.contains("network.hostonly.bridge"), "{mend}");
    ip("link del brNC-hostonly");
    ip("link del d0");
    manager.host_up().must("up");
}

/// AppArmor's profile, on a kernel that has it (`make vm-attack`); and that there is none, on one that has not.
fn root_the_profile_of_a_guest_is_shown(lab: &Lab) {
    let is_on =
        fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.trim() == "Y");
    let found = || {
        let findings = lab.manager().host_check();
        let finding = findings.into_iter().find(|finding| finding.name == "AppArmor").unwrap();
        assert_eq!(finding.part, Part::Lxc);
        finding.verdict
    };
    let web = lab.busybox("web");
    web.boot();
    let profile = || web.container().status().must("status").apparmor;
    if !is_on {
        assert_eq!((profile(), found()), (None, Verdict::Off));
        return;
    }
    let has = profile().unwrap();
    assert!(has.contains(web.name().as_str()) && has.ends_with("(enforce)"), "{has}");
    assert_eq!(found(), Verdict::Good);
    web.terminate();
    // Without its compiler LXC would start nobody.
    let parser = Path::new("/usr/sbin/apparmor_parser");
    mount(Some("/dev/null"), parser, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    web.start();
    assert_eq!((profile().as_deref(), found()), (Some("unconfined"), Verdict::Wrong));
    umount2(parser, MntFlags::empty()).unwrap();
}
