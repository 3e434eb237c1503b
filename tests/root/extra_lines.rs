//! Lines of LXC's configuration that a container file or a hand adds: checked, refused, kept.

use std::fs;

use nixcloud_container::{Error, ErrorKind, Event};

use crate::harness::{Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_refused_extra_line_leaves_nothing,
        root_extra_lines_that_undo_the_protection_are_refused,
        root_a_value_that_liblxc_refuses_is_named,
        root_the_host_can_allow_a_key,
        root_a_hand_edited_configuration_is_kept_and_reported,
        root_an_unknown_key_of_the_file_is_named,
    ],
    both: [],
}

fn root_a_refused_extra_line_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let error = web.try_create(&web.file().extra("lxc.idmap =")).unwrap_err();
    assert!(matches!(error, Error::Extra(_)), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Input);
    lab.assert_nothing_left();
}

fn root_extra_lines_that_undo_the_protection_are_refused(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let before = web.config();
    for line in [
        "lxc.idmap = u 0 0 4294967295",
        "lxc.rootfs.path = dir:/",
        "lxc.hook.pre-start = /bin/sh",
        "lxc.include = /etc/passwd",
        "lxc.apparmor.profile = unconfined",
        "lxc.cap.keep = sys_admin",
        "lxc.mount.auto = sys:rw",
        "lxc.mount.entry = /etc nix/store none bind 0 0",
        "lxc.mount.entry = /etc srv/etc none bind,idmap=container 0 0",
        "lxc.net.0.type = none",
        "lxc.cgroup.dir = /",
    ] {
        let error = web.try_update(&web.file().extra(line)).unwrap_err();
        assert!(matches!(error, Error::Extra(_)), "{line}: {error:?}");
        let key = line.split(' ').next().unwrap();
        assert!(error.to_string().contains(key), "{error}");
    }
    assert_eq!((web.generations(), web.config()), (vec![1], before));
    web.start();
}

fn root_a_value_that_liblxc_refuses_is_named(lab: &Lab) {
    let web = lab.busybox("web");
    for (line, key) in [
        ("lxc.signal.halt = SIGNONSENSE", "lxc.signal.halt"),
        ("lxc.prlimit.nofile = many", "lxc.prlimit.nofile"),
        ("lxc.net.2.type = veth\\nlxc.net.2.ipv4.address = 10.1.1.x/24", "lxc.net.2.ipv4.address"),
    ] {
        match web.try_create(&web.file().extra(line)).unwrap_err() {
            Error::ExtraRefused { key: refused, value, why, .. } => {
                assert_eq!(refused, key, "{value}: {why}");
            }
            other => panic!("{line}: {other:?}"),
        }
        lab.assert_nothing_left();
    }
    let lines = "lxc.prlimit.nofile = 1234\\nlxc.cgroup2.memory.max = 1G\\nlxc.net.2.type = empty";
    web.create_from(&web.file().extra(lines));
    web.start();
    assert_eq!(web.shell("grep 'open files' /proc/1/limits | tr -s ' ' | cut -d' ' -f4,5"), "1234 1234");
}

fn root_the_host_can_allow_a_key(lab: &Lab) {
    let web = lab.busybox("web");
    let file = web.file().extra("lxc.cap.drop = sys_time");
    let error = web.try_create(&file).unwrap_err();
    assert!(matches!(error, Error::Extra(_)), "{error:?}");
    let manager = lab.manager_with(|config| config.allow_lxc_keys = vec!["lxc.cap.drop".to_owned()]);
    manager.container(web.name().clone()).create(&web.request(&file), &mut ()).must("create");
    assert!(web.config().contains("lxc.cap.drop = sys_time"));
}

fn root_a_hand_edited_configuration_is_kept_and_reported(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let config = web.folder().join("config");
    let rendered = web.config();
    let edited = format!("{rendered}lxc.environment = BY_HAND=1\n");
    fs::write(&config, &edited).unwrap();
    let mut notes = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().start(&mut observer).must("start");
    assert!(notes.iter().any(|note| note.contains("edited by hand")), "{notes:?}");
    assert_eq!(
        (web.config(), fs::read_to_string(config.with_extension("edited")).unwrap()),
        (rendered, edited)
    );
    // Said once.
    web.await_version();
    web.stop();
    notes.clear();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().start(&mut observer).must("start");
    assert!(notes.is_empty(), "{notes:?}");
}

fn root_an_unknown_key_of_the_file_is_named(lab: &Lab) {
    let web = lab.busybox("web");
    let error = web.try_create(&web.file().keys("autostrat = true;")).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("autostrat") && said.contains("autostart") && said.contains(web.name().as_str()),
        "{said}"
    );
    assert_eq!(error.details(), None, "the trace leads into our own expression");
    lab.assert_nothing_left();
}
