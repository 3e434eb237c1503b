//! The pools: addresses, ids and interfaces of many containers, each with one owner.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use nixcloud_container::{ContainerName, Error, ErrorKind};

use crate::harness::{Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_200_parallel_creates_share_nothing,
        root_an_internet_address_is_claimed_and_kept,
        root_a_fixed_ipv6_address_has_one_owner,
        root_a_reserved_address_waits_for_its_container,
    ],
    both: [],
}

/// So many processes at once.
const PROCESSES: usize = 200;

/// The values of a key in a container's LXC configuration and record.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))?;
    Some(line.trim().trim_matches('"').to_owned())
}

fn record(lab: &Lab, name: &ContainerName) -> String {
    fs::read_to_string(lab.path("/var/lib/nixcloud/container/records").join(format!("{name}.toml"))).unwrap()
}

fn claims(lab: &Lab, folder: &str) -> BTreeSet<String> {
    fs::read_dir(lab.path("/var/lib/nixcloud/container").join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Each in a process of its own, every second one with a way out.
fn root_200_parallel_creates_share_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    let files =
        [lab.file("inside", &web.file()), lab.file("outside", &web.file().keys("network.enableNat = true;"))];
    let guests: Vec<_> = (0..PROCESSES).map(|n| lab.busybox(&format!("c{n}"))).collect();
    let creates: Vec<_> = guests
        .iter()
        .enumerate()
        .map(|(n, guest)| {
            let mut command = lab.actor(false, "create", guest);
            command.arg(&files[n % 2]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for create in creates {
        let output = create.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let (mut addresses, mut outside) = (BTreeSet::new(), BTreeSet::new());
    let (mut ids, mut macs, mut interfaces) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (n, guest) in guests.iter().enumerate() {
        let (config, record) = (guest.config(), record(lab, guest.name()));
        assert!(addresses.insert(value(&record, "lease").unwrap()));
        assert!(ids.insert(value(&record, "ids").unwrap()));
        for index in 0..=n % 2 {
            assert!(macs.insert(value(&config, &format!("lxc.net.{index}.hwaddr")).unwrap()));
            assert!(interfaces.insert(value(&config, &format!("lxc.net.{index}.veth.pair")).unwrap()));
        }
        let internet = value(&record, "internet");
        assert_eq!(internet.is_some(), n % 2 == 1);
        outside.extend(internet);
    }
    assert_eq!((addresses.len(), outside.len(), ids.len()), (PROCESSES, PROCESSES / 2, PROCESSES));
    // The lowest ones, without a gap.
    let expected: BTreeSet<String> = (2..202).map(|last| format!("10.101.0.{last}")).collect();
    assert_eq!(addresses, expected);
    let expected: BTreeSet<String> = (10..110).map(|last| format!("10.202.0.{last}")).collect();
    assert_eq!(outside, expected);
    assert_eq!(claims(lab, "ids").len(), PROCESSES);
    assert_eq!(claims(lab, "interfaces").len(), PROCESSES);
    let all: BTreeSet<String> = addresses.union(&outside).cloned().collect();
    assert_eq!(claims(lab, "addresses"), all);
}

fn root_an_internet_address_is_claimed_and_kept(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let internet = |name: &ContainerName| value(&record(lab, name), "internet");
    web.create();
    assert_eq!(internet(web.name()), None);
    let outside = web.file().version("2").keys("network.enableNat = true;");
    web.update(&outside);
    assert_eq!(internet(web.name()).as_deref(), Some("10.202.0.10"));
    // A container without it may have that address nowhere.
    let taken = db.try_create(&db.file().keys("network.ip = \"10.202.0.10\";")).unwrap_err();
    assert_eq!(chain(&taken), format!("address 10.202.0.10 belongs to container `{}`", web.name()));
    db.create_from(&db.file().keys("network.enableNat = true;"));
    assert_eq!(internet(db.name()).as_deref(), Some("10.202.0.11"));
    // A rollback and back again find the same one.
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(internet(web.name()).as_deref(), Some("10.202.0.10"));
    web.update(&outside.version("3"));
    assert_eq!(internet(web.name()).as_deref(), Some("10.202.0.10"));
    web.destroy();
    assert!(!claims(lab, "addresses").contains("10.202.0.10"));
    web.create_from(&web.file().keys("network.enableNat = true;"));
    assert_eq!(internet(web.name()).as_deref(), Some("10.202.0.10"));
}

fn root_a_fixed_ipv6_address_has_one_owner(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let with = |address: &str| web.file().keys(&format!("network.ip6 = \"{address}\";"));
    web.create_from(&with("2001:db8:7::5/64"));
    let taken = db.try_create(&with("2001:db8:7::5")).unwrap_err();
    assert_eq!(chain(&taken), format!("address 2001:db8:7::5 belongs to container `{}`", web.name()));
    assert_eq!(taken.kind(), ErrorKind::Refused);
    web.update(&with("2001:db8:7::6/64").version("2"));
    assert_eq!(claims(lab, "addresses").len(), 2, "the lease and the new one");
    db.create_from(&with("2001:db8:7::5"));
    // A rollback to what is another's by now names it.
    let refused = web.container().rollback(&mut ()).unwrap_err();
    assert_eq!(chain(&refused), format!("address 2001:db8:7::5 belongs to container `{}`", db.name()));
    assert!(claims(lab, "addresses").contains("2001:db8:7::6"));
}

fn root_a_reserved_address_waits_for_its_container(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    db.create();
    let address = "10.101.0.9".parse().unwrap();
    let manager = lab.manager_with(|config| {
        config.network.reserved.insert(db.name().clone(), address);
    });
    let fixed = web.request(&web.file().keys("network.ip = \"10.101.0.9\";"));
    let refused = manager.container(web.name().clone()).create(&fixed, &mut ()).unwrap_err();
    assert!(matches!(refused, Error::Lease(_)), "{refused:?}");
    assert_eq!(chain(&refused), format!("address 10.101.0.9 is reserved for container `{}`", db.name()));
    // One that was there before moves with its next generation.
    let container = manager.container(db.name().clone());
    container.update(&Default::default(), &mut ()).must("update");
    assert_eq!(container.status().must("status").address, Some(address));
    assert_eq!(claims(lab, "addresses"), ["10.101.0.9".to_owned()].into());
    container.rollback(&mut ()).must("rollback");
    assert_eq!(container.status().must("status").address, Some("10.101.0.2".parse().unwrap()));
}
