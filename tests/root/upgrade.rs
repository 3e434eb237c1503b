//! A guest that an older version started, and that runs while this one takes over.

use std::fs;

use nixcloud_container::{Part, State, Verdict};

use crate::harness::{Guest, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_a_guest_that_an_older_version_started_is_known,
    ],
    both: [],
}

/// The note of the running guest.
fn note(lab: &Lab, web: &Guest<'_>) -> std::path::PathBuf {
    lab.path("/var/lib/nixcloud/container/running").join(format!("{}.toml", web.name()))
}

/// The note as the version before wrote it: the text that LXC got, and the addresses.
fn made_older(lab: &Lab, web: &Guest<'_>, config: &str) {
    let path = note(lab, web);
    let mut older: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
    let notes = older.remove("notes").expect("what it was booted with");
    older.insert("config".to_owned(), config.into());
    older.insert("addresses".to_owned(), notes["addresses"].clone());
    fs::write(&path, toml::to_string(&older).unwrap()).unwrap();
}

fn root_a_guest_that_an_older_version_started_is_known(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let with = |ip: &str| web.file().keys(&format!("network.ip = \"{ip}\";")).extra("lxc.group = shops");
    web.create_from(&with("10.101.7.5"));
    let init = web.start();
    let booted = web.config();
    made_older(lab, &web, &booted);

    let status = web.container().status().must("status");
    assert_eq!(
        (status.state, status.init_pid, status.booted),
        (State::Running, Some(init), status.generation)
    );
    assert_eq!((status.groups, status.pending_restart), (vec!["shops".to_owned()], vec![]));
    let good = || {
        let findings = lab.manager().host_check();
        let of_web = findings.into_iter().filter(|finding| {
            finding.part == Part::BridgePort && finding.what.contains(&format!("`{}`", web.name()))
        });
        of_web.map(|finding| finding.verdict).collect::<Vec<_>>()
    };
    assert_eq!(good(), [Verdict::Good]);

    // It has its address until it ends, and what waits for a restart is known.
    let switched = web.update(&with("10.101.7.6").version("2"));
    let pending: Vec<&str> = switched.pending_restart.iter().map(|pending| pending.key.as_str()).collect();
    assert_eq!(pending, ["lxc.net.0.ipv4.address", "lxc.net.0.script.up"]);
    let taken = db.try_create(&db.file().keys("network.ip = \"10.101.7.5\";")).unwrap_err();
    assert_eq!(chain(&taken), format!("address 10.101.7.5 belongs to container `{}`", web.name()));
    // The update has noted the boot as it is noted today.
    let noted: toml::Table = fs::read_to_string(note(lab, &web)).unwrap().parse().unwrap();
    assert!(noted.contains_key("notes") && !noted.contains_key("config"), "{noted}");
    assert_eq!(good(), [Verdict::Good]);

    made_older(lab, &web, &booted);
    web.stop();
    assert_eq!(web.state(), State::Stopped);
    db.create_from(&db.file().keys("network.ip = \"10.101.7.5\";"));
    web.start();
    assert_eq!(web.container().status().must("status").pending_restart, []);
}
