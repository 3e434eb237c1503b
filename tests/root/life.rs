//! From nothing to a running guest, and back to nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use nixcloud_container::{
    DestroyRequest, Error, ErrorKind, Listed, Selection, StartOutcome, State, StopOutcome, UpdateRequest,
};

use crate::harness::guest::{id, ping};
use crate::harness::{Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_new_host_has_an_empty_list,
        root_nothing_is_known_of_an_unknown_name,
        root_a_freed_address_is_given_out_again,
        root_a_folder_is_a_container_file,
    ],
    both: [
        root_create_makes_what_is_expected_and_destroy_removes_it,
        root_create_again_is_refused,
        root_the_service_in_the_guest_runs,
        root_ping_both_ways,
        root_start_when_it_runs,
        root_guests_are_nobody_on_the_host,
        root_stop_or_terminate_and_start_at_once,
        root_a_running_container_is_destroyed_only_by_force,
    ],
}

fn root_a_new_host_has_an_empty_list(lab: &Lab) {
    assert!(lab.manager().list().must("list").is_empty());
}

fn root_nothing_is_known_of_an_unknown_name(lab: &Lab) {
    let nobody = lab.busybox("nobody");
    let container = nobody.container();
    assert!(!container.exists().must("exists"));
    let refusals: [(&str, Result<(), Error>); 13] = [
        ("state", container.state().map(drop)),
        ("status", container.status().map(drop)),
        ("addresses", container.addresses().map(drop)),
        ("generations", container.generations().map(drop)),
        ("start", container.start(&mut ()).map(drop)),
        ("stop", container.stop(None).map(drop)),
        ("terminate", container.terminate().map(drop)),
        ("freeze", container.freeze()),
        ("unfreeze", container.unfreeze()),
        ("destroy", container.destroy(DestroyRequest::new().with_force(true))),
        ("update", container.update(&UpdateRequest::default(), &mut ()).map(drop)),
        ("rollback", container.rollback(&mut ()).map(drop)),
        ("delete-generations", container.delete_generations(&Selection::Old, &mut ()).map(drop)),
    ];
    for (verb, refusal) in refusals {
        match refusal {
            Err(Error::NotFound { name, .. }) if name == *nobody.name() => {}
            other => panic!("{verb}: {other:?}"),
        }
    }
    lab.assert_nothing_left();
}

/// All files and links below `folder`, relative to it, sorted; folders end with a slash.
fn files(folder: &Path) -> Vec<String> {
    fn walk(top: &Path, folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            if entry.file_type().unwrap().is_dir() {
                found.push(format!("{name}/"));
                walk(top, &path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}

fn root_create_makes_what_is_expected_and_destroy_removes_it(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let name = web.name();
    let created = web.create();
    assert_eq!((created.generation, created.address), (id(1), Some("10.101.0.2".parse().unwrap())));
    assert_eq!(web.state(), State::Stopped);
    assert!(web.container().exists().must("exists"));
    let state = lab.path("/var/lib/nixcloud/container");
    // Without what is the host's.
    let of_host = |file: &str| {
        ["nix/", "sysctl/", "resolvers/", "journal/"].into_iter().any(|folder| file.starts_with(folder))
    };
    let known: Vec<String> = files(&state).into_iter().filter(|file| !of_host(file)).collect();
    let config = web.config();
    let identity = config.lines().find_map(|line| line.strip_prefix("lxc.net.0.veth.pair = nci-")).unwrap();
    let expected = [
        "addresses/".to_owned(),
        "addresses/10.101.0.2".to_owned(),
        "closures/".to_owned(),
        format!("closures/{name}/"),
        format!("closures/{name}/{}", crate::store::package(&web, 1)),
        "ids/".to_owned(),
        "ids/100000".to_owned(),
        "interfaces/".to_owned(),
        format!("interfaces/{identity}"),
        "locks/".to_owned(),
        "ports/".to_owned(),
        "records/".to_owned(),
        format!("records/{name}.toml"),
        "running/".to_owned(),
        "work/".to_owned(),
    ];
    assert_eq!(known, expected);
    assert_eq!(fs::read_to_string(state.join("addresses/10.101.0.2")).unwrap().trim(), name.as_str());
    let lxc = files(&lab.path("/var/lib/lxc"));
    let outside: Vec<&String> = lxc.iter().filter(|file| !file.contains("/rootfs/")).collect();
    let ours = ["", "config", "locked/", "seccomp"].map(|file| format!("{name}/{file}"));
    assert_eq!(outside, ours.iter().collect::<Vec<_>>());
    let profile = files(&lab.path("/nix/var/nix/profiles/nixcloud-container"));
    assert_eq!(profile, [format!("{name}/"), format!("{name}/profile"), format!("{name}/profile-1-link")]);
    // The rootfs is the guest's and holds no file yet.
    let rootfs = web.rootfs();
    assert!(files(&rootfs).iter().all(|file| file.ends_with('/')), "{:?}", files(&rootfs));
    assert_eq!(fs::metadata(&rootfs).unwrap().uid(), 100_000);
    // Other users of the host have no way in: guests can make set-uid files of their own users.
    assert_eq!(fs::metadata(web.folder()).unwrap().mode() & 0o7777, 0o710);
    let list = lab.manager().list().must("list");
    assert!(
        matches!(&list[..], [Listed::Container(status)] if status.name == *name && status.state == State::Stopped)
    );

    web.start();
    web.stop();
    web.destroy();
    assert!(lab.manager().list().must("list").is_empty());
    lab.assert_nothing_left();
}

fn root_create_again_is_refused(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    let before = files(&lab.path("/var"));
    let error = web.try_create(&web.file().version("2")).unwrap_err();
    assert!(matches!(&error, Error::Exists { name, .. } if name == web.name()), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.hint().unwrap().contains("update"), "{:?}", error.hint());
    assert_eq!(files(&lab.path("/var")), before);
    assert_eq!(web.generations(), [1]);
    web.start();
    assert!(matches!(web.try_create(&web.file().version("2")), Err(Error::Exists { .. })));
    assert_eq!(web.version().as_deref(), Some("1"));
}

fn root_the_service_in_the_guest_runs(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    assert_eq!(web.state(), State::Running);
    assert_eq!(web.version().as_deref(), Some("1"));
    assert_eq!(web.shell("readlink /run/current-system"), web.shell("readlink /run/booted-system"));
    let status = web.container().status().must("status");
    assert_eq!((status.booted, status.generation), (Some(id(1)), Some(id(1))));
    assert!(status.pending_restart.is_empty(), "{:?}", status.pending_restart);
    let booted = web.container().generations().must("generations");
    assert!(booted.len() == 1 && booted[0].booted && booted[0].current);
}

fn root_ping_both_ways(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    assert!(web.pings(), "the host does not reach the guest");
    web.shell("ping -c1 -W1 10.101.0.1");
    // Set from outside and inside: once, with the broadcast of its network.
    let addresses = web.shell("ip -4 addr show dev hostonly");
    let lines: Vec<&str> = addresses.lines().filter(|line| line.contains("inet ")).map(str::trim).collect();
    assert_eq!(lines.len(), 1, "{addresses}");
    assert!(lines[0].starts_with("inet 10.101.0.2/16 brd 10.101.255.255"), "{addresses}");
    web.stop();
    assert!(!ping("10.101.0.2".parse().unwrap()), "a stopped guest answers");
}

fn root_start_when_it_runs(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    assert!(matches!(web.container().start(&mut ()).must("start"), StartOutcome::AlreadyRunning { .. }));
    assert_eq!(web.init(), init);
    web.stop();
    assert_eq!(web.container().stop(None).must("stop"), StopOutcome::NotRunning);
    assert_eq!(web.container().terminate().must("terminate"), StopOutcome::NotRunning);
}

fn root_guests_are_nobody_on_the_host(lab: &Lab, kind: Kind) {
    let (one, two) = (lab.guest("one", kind), lab.guest("two", kind));
    let uids = [one.boot(), two.boot()].map(|init| {
        let metadata = fs::metadata(format!("/proc/{init}")).unwrap();
        assert_eq!(metadata.uid(), metadata.gid());
        let map = fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap();
        let fields: Vec<u32> = map.split_whitespace().map(|field| field.parse().unwrap()).collect();
        assert_eq!(fields, [0, metadata.uid(), 65_536]);
        metadata.uid()
    });
    assert_eq!(uids, [100_000, 165_536]);
    // As root of the guest sees it: the store is root's, its own files are its own.
    assert_eq!(one.shell("id -u; id -g; stat -c %u /nix/store; stat -c %u:%g /root"), "0\n0\n0\n0:0");
    // No process of the guest is of the host's root, whoever starts it.
    one.shell("sleep 1000 >/dev/null 2>&1 & echo $!");
    let cgroup = nixcloud_container::cgroup::payloads(one.name().as_str());
    assert!(!cgroup.is_empty());
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(cgroups) = fs::read_to_string(entry.path().join("cgroup")) else { continue };
        if cgroups.contains(&format!("lxc.payload.{}", one.name())) {
            let uid = entry.metadata().unwrap().uid();
            assert!((100_000..165_536).contains(&uid), "{:?} has uid {uid}", entry.path());
        }
    }
}

fn root_stop_or_terminate_and_start_at_once(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let mut last = web.boot();
    for round in 0..10 {
        let begin = Instant::now();
        if round % 2 == 0 {
            web.terminate();
            assert!(begin.elapsed().as_secs() < 5, "terminate took {:?}", begin.elapsed());
        } else {
            web.stop();
        }
        assert_eq!(web.state(), State::Stopped, "round {round}");
        let init = web.start_only();
        assert_ne!(init, last, "round {round}");
        assert_eq!((web.state(), web.init()), (State::Running, init), "round {round}");
        last = init;
        // An init that does not listen yet cannot be asked to stop.
        web.await_version();
    }
}

fn root_a_running_container_is_destroyed_only_by_force(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert!(matches!(error, Error::State { state: State::Running, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("--force"), "{:?}", error.hint());
    assert_eq!(web.init(), init);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy --force");
    assert!(!web.container().exists().must("exists"));
    lab.assert_nothing_left();
}

fn root_a_freed_address_is_given_out_again(lab: &Lab) {
    let [a, b, c] = ["a", "b", "c"].map(|name| lab.busybox(name));
    for guest in [&a, &b, &c] {
        guest.create();
    }
    assert_eq!([&a, &b, &c].map(|guest| guest.address().octets()[3]), [2, 3, 4]);
    b.destroy();
    let d = lab.busybox("d");
    d.create();
    assert_eq!(d.address().octets(), [10, 101, 0, 3]);
    let ids =
        |guest: &crate::harness::Guest<'_>| guest.container().status().must("status").ids.unwrap().base();
    assert_eq!([ids(&a), ids(&d), ids(&c)], [100_000, 165_536, 231_072]);
}

fn root_a_folder_is_a_container_file(lab: &Lab) {
    let web = lab.busybox("web");
    let folder = lab.path("/files/folder");
    fs::create_dir(&folder).unwrap();
    fs::rename(web.request(&web.file()).file, folder.join("default.nix")).unwrap();
    let request = nixcloud_container::CreateRequest::new(folder);
    web.container().create(&request, &mut ()).must("create");
    web.start();
}
