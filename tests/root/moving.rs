//! A container that changes from shared ids to ids of its own, and back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nixcloud_container::State;

use crate::harness::{File, Guest, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_stopped_container_moves_to_ids_of_its_own_and_back,
        root_a_running_guest_keeps_its_ids_until_it_is_restarted,
        root_a_change_of_ids_that_comes_to_nothing_leaves_no_claim,
        root_a_hostile_rootfs_is_moved_and_nothing_beside_it,
        root_the_first_and_the_last_with_shared_ids,
    ],
    both: [],
}

pub fn shared(guest: &Guest<'_>, version: &str) -> File {
    guest.file().version(version).keys("idmap = \"shared\";")
}

pub fn ids(guest: &Guest<'_>) -> u32 {
    guest.container().status().must("status").ids.unwrap().base()
}

/// The ranges that are claimed, and by whom.
pub fn claims(lab: &Lab) -> BTreeMap<u32, String> {
    let folder = lab.path("/var/lib/nixcloud/container/ids");
    let entries = fs::read_dir(folder).unwrap().flatten();
    entries
        .map(|entry| {
            let owner = fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().to_str().unwrap().parse().unwrap(), owner)
        })
        .collect()
}

fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(all(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// Every file of the rootfs belongs to the range that begins at `base`.
#[track_caller]
pub fn assert_owned(guest: &Guest<'_>, base: u32) {
    let range = base..base + 65_536;
    for path in all(&guest.rootfs()) {
        let found = path.symlink_metadata().unwrap();
        assert!(
            range.contains(&found.uid()) && range.contains(&found.gid()),
            "{}: {found:?}",
            path.display()
        );
    }
    let folder = guest.folder().metadata().unwrap();
    assert_eq!((folder.uid(), folder.gid(), folder.mode() & 0o7777), (0, base, 0o710));
}

fn root_a_stopped_container_moves_to_ids_of_its_own_and_back(lab: &Lab) {
    let (web, also) = (lab.busybox("web"), lab.busybox("also"));
    web.create_from(&shared(&web, "1"));
    also.create_from(&shared(&also, "1"));
    also.start();
    web.start();
    web.shell("mkdir -p /srv/a && echo x >/srv/a/tool && chmod 4711 /srv/a/tool && chown 33:44 /srv/a");
    web.shell("echo y >/srv/a/group && chown 7:8 /srv/a/group && chmod 2755 /srv/a/group");
    let facts = "stat -c '%n %u %g %a' /srv/a /srv/a/tool /srv/a/group /etc /tmp /root";
    let before = web.shell(facts);
    web.stop();
    assert_eq!((ids(&web), ids(&also)), (100_000, 100_000));
    let switched = web.update(&web.file().version("2"));
    assert!(switched.pending_restart.is_empty(), "{switched:?}");
    assert_eq!(ids(&web), 165_536);
    assert_owned(&web, 165_536);
    assert!(web.config().contains("lxc.idmap = u 0 165536 65536"), "{}", web.config());
    web.start();
    assert_eq!((web.version().as_deref(), web.shell(facts)), (Some("2"), before.clone()));
    let map = fs::read_to_string(format!("/proc/{}/uid_map", web.init())).unwrap();
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), ["0", "165536", "65536"]);
    assert_eq!(also.version().as_deref(), Some("1"), "the other one was touched");
    web.stop();
    // A generation keeps its own kind.
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(ids(&web), 100_000);
    assert_owned(&web, 100_000);
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), [(100_000, ".shared".to_owned())]);
    web.start();
    assert_eq!((web.version().as_deref(), web.shell(facts)), (Some("1"), before));
    web.stop();
    web.destroy();
    also.terminate();
    also.destroy();
    lab.assert_nothing_left();
}

fn root_a_running_guest_keeps_its_ids_until_it_is_restarted(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&shared(&web, "1"));
    let init = web.start();
    let switched = web.update(&web.file().version("2"));
    assert!(switched.activated);
    let keys: Vec<&str> = switched.pending_restart.iter().map(|pending| pending.key.as_str()).collect();
    assert_eq!(keys, ["lxc.idmap"]);
    assert_eq!((web.init(), ids(&web), web.version().as_deref()), (init, 100_000, Some("2")));
    // The ids that it will have are claimed already; going back gives them back.
    let both = [(100_000, ".shared".to_owned()), (165_536, web.name().to_string())];
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), both);
    assert_eq!(web.container().status().must("status").pending_restart.len(), 1);
    let back = web.container().rollback(&mut ()).must("rollback");
    assert!(back.pending_restart.is_empty(), "{back:?}");
    assert_eq!(claims(lab).len(), 1);
    assert_owned(&web, 100_000);
    web.update(&web.file().version("3"));
    // A reboot from inside keeps LXC's configuration, and its new cgroups can be entered.
    let reboot = nixcloud_container::StopRequest::new().with_reboot(true);
    web.container().stop_with(&reboot).must("reboot");
    web.await_version();
    assert_eq!(ids(&web), 100_000);
    web.stop();
    web.start();
    assert_eq!((ids(&web), web.version().as_deref()), (165_536, Some("3")));
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), [(165_536, web.name().to_string())]);
    assert_owned(&web, 165_536);
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_change_of_ids_that_comes_to_nothing_leaves_no_claim(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    web.try_update(&shared(&web, "2").module("standin.buildFails = true;")).unwrap_err();
    web.try_update(&shared(&web, "2").extra("lxc.idmap =")).unwrap_err();
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), [(100_000, web.name().to_string())]);
    web.start();
    web.try_update(&shared(&web, "2").module("standin.switchExit = 1;")).unwrap_err();
    assert_eq!(claims(lab).len(), 1);
    assert_eq!((ids(&web), web.version().as_deref()), (100_000, Some("1")));
    web.stop();
    web.start();
    assert_owned(&web, 100_000);
    web.stop();
}

fn root_a_hostile_rootfs_is_moved_and_nothing_beside_it(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&shared(&web, "1"));
    let host = lab.root().join("files/host");
    fs::create_dir(&host).unwrap();
    fs::write(host.join("shadow"), "precious").unwrap();
    std::os::unix::fs::chown(host.join("shadow"), Some(100_000), Some(100_000)).unwrap();
    web.start();
    web.shell("mkdir /d && chmod 0 /d && mkdir -p /var/deep && cd /var/deep && i=0 && while [ $i -lt 150 ]; do mkdir d$i && cd d$i; i=$((i+1)); done");
    web.stop();
    // Links as a guest may plant them: it knows the host's paths by guessing.
    symlink(&host, web.rootfs().join("srv")).unwrap();
    symlink(host.join("shadow"), web.rootfs().join("shadow")).unwrap();
    symlink("/", web.rootfs().join("root/all")).unwrap();
    fs::write(web.rootfs().join("of-the-host"), "").unwrap();
    for link in ["srv", "shadow", "root/all"] {
        std::os::unix::fs::lchown(web.rootfs().join(link), Some(100_000), Some(100_000)).unwrap();
    }
    let mut notes = Vec::new();
    let file = Some(lab.file(web.name().as_str(), &web.file().version("2")));
    let request = nixcloud_container::UpdateRequest::default().with_file(file);
    let mut observer = |event| {
        if let nixcloud_container::Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().update(&request, &mut observer).must("update");
    assert!(notes.iter().any(|note| note.contains("1 of them") && note.contains("of-the-host")), "{notes:?}");
    let owner = |path: &Path| path.symlink_metadata().unwrap().uid();
    assert_eq!((owner(&host.join("shadow")), owner(&host)), (100_000, 0));
    assert_eq!(owner(&web.rootfs().join("of-the-host")), 0);
    for link in ["srv", "shadow", "root/all"] {
        assert_eq!(owner(&web.rootfs().join(link)), 165_536, "{link}");
    }
    assert_eq!(web.rootfs().join("d").metadata().unwrap().mode() & 0o7777, 0);
    fs::set_permissions(web.rootfs().join("d"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(web.rootfs().join("of-the-host")).unwrap();
    assert_owned(&web, 165_536);
    web.destroy();
    fs::remove_dir_all(host).unwrap();
    lab.assert_nothing_left();
}

fn root_the_first_and_the_last_with_shared_ids(lab: &Lab) {
    let (one, two) = (lab.busybox("one"), lab.busybox("two"));
    one.create();
    two.create();
    assert_eq!((ids(&one), ids(&two)), (100_000, 165_536));
    one.update(&shared(&one, "2"));
    two.update(&shared(&two, "2"));
    // The shared range was claimed while both still had their own.
    assert_eq!((ids(&one), ids(&two)), (231_072, 231_072));
    one.container().rollback(&mut ()).must("rollback");
    assert_eq!(ids(&one), 100_000, "the lowest that is free");
    two.destroy();
    assert_eq!(claims(lab).into_iter().collect::<Vec<_>>(), [(100_000, one.name().to_string())]);
    one.start();
    assert_eq!(one.state(), State::Running);
    one.stop();
    one.destroy();
    lab.assert_nothing_left();
}
