use std::net::IpAddr;
use std::path::Path;

use super::*;
use crate::model::bridge_port::{BridgePort, HOOK};
use crate::model::config::HostConfig;
use crate::store::boot_notes::BootNotes;
use crate::sys::proc::{FileId, Process};

fn layout(root: &Path) -> Layout {
    let layout = Layout::new(&HostConfig { root: root.to_owned(), ..HostConfig::default() }).unwrap();
    for dir in layout.state_dirs() {
        std::fs::create_dir_all(dir).unwrap();
    }
    layout
}

#[test]
fn a_record_survives_its_file() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let name: ContainerName = "web".parse().unwrap();
    assert_eq!(Record::load(&layout, &name).unwrap(), None);
    let mut record = Record::new(name.clone(), "/etc/web.nix".into(), vec!["-I".into(), "a=b c".into()]);
    record.phase = RecordPhase::Switching { from: GenerationId::new(3).unwrap() };
    record.lease = Some("10.101.0.2".parse().unwrap());
    record.declared = Some(Declared { source: "/etc/all.nix".into(), built: false, ephemeral: true });
    record.ids = Some(IdMap::new(100_000).unwrap());
    let other = IdMap::new(300_000).unwrap();
    record.moving = Some(Moving { ids: other, idmap: IdMapKind::Shared, begun: true });
    assert_eq!(
        (record.ids_for(IdMapKind::Isolated), record.ids_for(IdMapKind::Shared)),
        (record.ids, Some(other))
    );
    assert!(record.claims(other));
    let three = GenerationId::new(3).unwrap();
    record.lxc_items = vec![("lxc.group".into(), "a".into())];
    record.note_items(three);
    record.note_health(three, Health::Good);
    assert_eq!((record.items_of(three), record.health(three)), (record.lxc_items.clone(), Health::Good));
    record.save(&layout).unwrap();
    assert_eq!(Record::load(&layout, &name).unwrap(), Some(record));
    assert_eq!(Record::names(&layout).unwrap(), std::slice::from_ref(&name));
    Record::delete(&layout, &name).unwrap();
    Record::delete(&layout, &name).unwrap();
    assert!(Record::names(&layout).unwrap().is_empty());
}

#[test]
fn newer_damaged_and_misplaced_records_are_named() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let name: ContainerName = "web".parse().unwrap();
    std::fs::write(layout.record(&name), "schema = 9\ncolour = 1\n").unwrap();
    assert!(matches!(Record::load(&layout, &name), Err(RecordError::Newer { found: 9, .. })));
    std::fs::write(layout.record(&name), "schema = 1\nna").unwrap();
    assert!(matches!(Record::load(&layout, &name), Err(RecordError::Damaged { .. })));
    Record::new("other".parse().unwrap(), "/x".into(), Vec::new()).save(&layout).unwrap();
    let other = layout.record(&"other".parse().unwrap());
    std::fs::rename(other, layout.record(&name)).unwrap();
    assert!(matches!(Record::load(&layout, &name), Err(RecordError::Misplaced { .. })));
}

#[test]
fn a_run_of_another_boot_is_of_no_use() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let name: ContainerName = "web".parse().unwrap();
    let run = Run {
        boot_id: "a".into(),
        init: Some(Process { pid: 5, start: 6 }),
        monitor: None,
        netns: FileId { dev: 4, ino: 7 },
        started: Timestamp::UNIX_EPOCH,
        generation: None,
        switched: false,
        cgroups: vec!["/sys/fs/cgroup/lxc.payload.web".into()],
        signals: Signals { halt: "SIGRTMIN+4".parse().ok(), reboot: None },
        notes: BootNotes {
            addresses: vec!["2001:db8::5".parse().unwrap()],
            groups: vec!["a".into()],
            items: vec![("lxc.a".into(), "\"quoted\" # no comment".into())],
            bridge_ports: vec![BridgePort {
                interface: "nc00c0ffee".into(),
                policy: "mac=02:4e:00:c0:ff:ee,isolated,ip=10.101.0.2,any6".parse().unwrap(),
            }],
        },
        shown: None,
        devices: Some(GuestDevices { unsure: false, rules: true, nodes: vec![], waiting: vec![] }),
    };
    run.save(&layout, &name).unwrap();
    assert_eq!(Run::load(&layout, &name, "a").unwrap(), Some(run));
    assert_eq!(Run::load(&layout, &name, "b").unwrap(), None);
    std::fs::write(layout.run(&name), "boot_id = \"a").unwrap();
    assert_eq!(Run::load(&layout, &name, "a").unwrap(), None);
}

/// A note as the versions before wrote it; `addresses` came later than the rest.
fn older(addresses: &str) -> String {
    let policy = "mac=02:4e:00:c0:ff:ee,isolated,ip=10.101.0.2,any6";
    let config = [
        "# 10.9.9.9 is in no item",
        "lxc.group = a",
        "lxc.group =  b",
        "lxc.net.0.ipv4.address = 10.101.0.2/16 10.101.255.255",
        &format!("lxc.net.0.script.up = '/opt/it is/worker' {HOOK} nc00c0ffee {policy}"),
        "lxc.hook.mount =",
    ];
    let lines = [
        "boot_id = \"a\"",
        "started = \"1970-01-01T00:00:00Z\"",
        "generation = 3",
        "switched = false",
        &format!("config = \"\"\"\n{}\n\"\"\"", config.join("\n")),
        "cgroups = []",
        addresses,
        "init = { pid = 5, start = 6 }",
        "netns = { dev = 4, ino = 7 }",
        "signals = {}",
    ];
    lines.join("\n")
}

#[test]
fn a_note_of_an_older_version_is_of_a_guest_that_may_run_still() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let name: ContainerName = "web".parse().unwrap();
    let load = |text: String| {
        std::fs::write(layout.run(&name), text).unwrap();
        Run::load(&layout, &name, "a").unwrap()
    };
    let run = load(older("addresses = [\"10.101.0.2\", \"fd00::5\"]")).unwrap();
    assert_eq!((run.init, run.generation), (Some(Process { pid: 5, start: 6 }), GenerationId::new(3).ok()));
    let notes = &run.notes;
    assert_eq!(notes.addresses, ["10.101.0.2".parse::<IpAddr>().unwrap(), "fd00::5".parse().unwrap()]);
    assert_eq!(notes.groups, ["a", "b"]);
    let [port] = &notes.bridge_ports[..] else { panic!("{notes:?}") };
    assert_eq!((port.interface.as_str(), port.policy.isolated), ("nc00c0ffee", true));
    let script = ("lxc.net.0.script.up".to_owned(), format!("{HOOK} nc00c0ffee {}", port.policy));
    assert!(notes.items.contains(&script), "{notes:?}");
    assert!(notes.items.contains(&("lxc.hook.mount".to_owned(), String::new())), "{notes:?}");
    // It is written as notes are today.
    run.save(&layout, &name).unwrap();
    assert_eq!(Run::load(&layout, &name, "a").unwrap(), Some(run));
    // Before that the addresses were in the text alone: better one too many than one that is another's by now.
    let run = load(older("")).unwrap();
    assert!(run.notes.addresses.contains(&"10.101.0.2".parse().unwrap()), "{run:?}");
    assert_eq!(load(older("colour = 1")), None);
}
