//! Parts of the kernel that a container file asks for: each is shut without, and open with, after a restart.

use crate::attack::probe;
use crate::harness::{Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_feature_waits_for_a_restart_also_from_inside,
    ],
    both: [
        root_features_are_shut_unless_they_are_asked_for,
    ],
}

/// What is tried, by the key that opens it. `bpf` is the host's to allow: whether a call comes as far as its rights.
const TRIED: [(&str, &str); 9] = [
    ("keyring", "/root/probe keyctl"),
    ("keyring", "/root/probe add-key"),
    ("bpf", "/root/probe bpf-reached"),
    ("ioUring", "/root/probe io_uring"),
    ("userNamespaces", "/root/probe userns"),
    ("userNamespaces", "/root/probe userns-unshare"),
    ("userNamespaces", "/root/probe userns-clone3"),
    ("nesting", "unshare -U -r -m -p -f sh -c 'mount -t proc proc /proc'"),
    ("vsock", "/root/probe socket 40"),
];
/// Whatever is asked for.
const NEVER: [&str; 6] = [
    "/root/probe socket 38",
    "/root/probe socket 44 3",
    "/root/probe socket 16777216",
    "/root/probe lease /root/probe",
    "/root/probe perf",
    "/root/probe userfaultfd",
];

/// The keys whose attempts all come through.
fn open(guest: &Guest<'_>) -> Vec<&'static str> {
    let came = |what: &str| guest.sh(&format!("{what} >/dev/null 2>&1")).exit.success();
    for what in NEVER {
        assert!(!came(what), "{what}");
    }
    let mut open: Vec<&str> = Vec::new();
    for key in ["bpf", "ioUring", "keyring", "nesting", "userNamespaces", "vsock"] {
        let tried = TRIED.iter().filter(|(of, _)| *of == key).map(|(_, what)| (*what, came(what)));
        let tried: Vec<(&str, bool)> = tried.collect();
        assert!(tried.iter().all(|(_, through)| *through == tried[0].1), "{key}: {tried:?}");
        open.extend(tried[0].1.then_some(key));
    }
    open
}

fn root_features_are_shut_unless_they_are_asked_for(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    probe(lab, &web);
    assert_eq!(open(&web), ["userNamespaces"]);
    web.terminate();
    for key in ["bpf", "ioUring", "keyring", "nesting", "vsock"] {
        web.update(&web.file().version(key).keys(&format!("features.{key} = true;")));
        web.start();
        let mut expected = vec![key, "userNamespaces"];
        expected.sort_unstable();
        assert_eq!(open(&web), expected, "features.{key}");
        web.terminate();
    }
    web.update(&web.file().version("none").keys("features = { userNamespaces = false; nesting = true; };"));
    web.start();
    assert_eq!(open(&web), [] as [&str; 0]);
}

fn root_a_feature_waits_for_a_restart_also_from_inside(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    probe(lab, &web);
    let switched = web.update(&web.file().version("2").keys("features.ioUring = true;"));
    let waits: Vec<_> =
        switched.pending_restart.iter().map(|one| (one.key.as_str(), one.next.clone())).collect();
    assert_eq!(waits, [("features.ioUring", vec!["true".to_owned()])]);
    // What it was booted with counts for whoever enters it, too, and for its reboots.
    assert_eq!(open(&web), ["userNamespaces"]);
    web.reboots();
    assert_eq!(open(&web), ["userNamespaces"]);
    assert_eq!(web.container().status().must("status").pending_restart.len(), 1);
    web.terminate();
    web.start();
    assert_eq!(open(&web), ["ioUring", "userNamespaces"]);
    // A generation has its own.
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(open(&web), ["ioUring", "userNamespaces"]);
    web.terminate();
    web.start();
    assert_eq!(open(&web), ["userNamespaces"]);
}
