//! The pools: addresses, ids and interfaces of many containers, each with one owner.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use nixcloud_container::{ContainerName, Error, ErrorKind, Listed, State, UpdateRequest};

use nixcloud_container_tests::many::Original;

use crate::harness::{Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_200_parallel_creates_share_nothing,
        root_an_internet_address_is_claimed_and_kept,
        root_a_fixed_ipv6_address_has_one_owner,
        root_a_running_guest_keeps_its_fixed_ipv6_address_without_isolation,
        root_a_reserved_address_waits_for_its_container,
        root_host_up_keeps_ids_from_users,
        root_what_incus_has_stays_its_own,
        root_ids_in_use_are_passed_over,
        root_two_roots_of_one_machine_are_told_apart,
        root_a_create_among_hundreds,
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
    // Where the host has moved the range, the next generation has an address of the new one.
    let moved = lab.manager_with(|config| config.network.internet.first = Some([10, 202, 7, 1].into()));
    moved.container(web.name().clone()).update(&Default::default(), &mut ()).must("update");
    assert_eq!(internet(web.name()).as_deref(), Some("10.202.7.1"));
    assert!(!claims(lab, "addresses").contains("10.202.0.10"));
    web.destroy();
    assert!(!claims(lab, "addresses").contains("10.202.7.1"));
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

/// Nothing in LXC's configuration names it then.
fn root_a_running_guest_keeps_its_fixed_ipv6_address_without_isolation(lab: &Lab) {
    let manager = lab.manager_with(|config| config.network.isolation = false);
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let with = |address: &str| web.file().keys(&format!("network.ip6 = \"{address}\";"));
    let web_there = manager.container(web.name().clone());
    web_there.create(&web.request(&with("2001:db8:7::5/64")), &mut ()).must("create");
    web.start_by(&manager);
    let file = Some(lab.file(web.name().as_str(), &with("2001:db8:7::6/64").version("2")));
    web_there.update(&UpdateRequest::default().with_file(file), &mut ()).must("update");
    let db_there = manager.container(db.name().clone());
    let taken = db_there.create(&db.request(&with("2001:db8:7::5")), &mut ()).unwrap_err();
    assert_eq!(chain(&taken), format!("address 2001:db8:7::5 belongs to container `{}`", web.name()));
    web.terminate();
    db_there.create(&db.request(&with("2001:db8:7::5")), &mut ()).must("create");
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

/// A file of the lab in place of `/etc/subuid`.
fn subid_file(lab: &Lab, name: &str, text: &str) -> std::path::PathBuf {
    let file = lab.path("/etc").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    file
}

fn root_host_up_keeps_ids_from_users(lab: &Lab) {
    use nixcloud_container::{Change, Part, Verdict};
    let before = "ada:100000:65536\nroot:1000000:70000\n\n# kept\nbob:500000:65536";
    let (subuid, subgid) = (subid_file(lab, "subuid", before), subid_file(lab, "subgid", before));
    let missing = lab.path("/etc/none");
    let files = vec![subuid.clone(), subgid.clone(), missing.clone(), "/etc/subuid".into()];
    let theirs = fs::read_to_string("/etc/subuid").ok();
    let manager = lab.manager_with(|config| config.ids.foreign = files);
    let of = |part| {
        move |changes: Vec<nixcloud_container::HostChange>| -> Vec<Change> {
            changes.into_iter().filter(|change| change.part == part).map(|change| change.change).collect()
        }
    };
    let ids = of(Part::Ids);
    let findings = || {
        let mut findings = manager.host_check();
        findings.retain(|finding| finding.part == Part::Ids);
        findings
    };
    assert!(findings().iter().all(|finding| finding.verdict == Verdict::Wrong) && findings().len() == 2);
    assert_eq!(ids(manager.host_up().must("host up")), [Change::Made, Change::Made]);
    assert_eq!(ids(manager.host_up().must("host up")), [Change::Kept, Change::Kept]);
    assert!(findings().iter().all(|finding| finding.verdict == Verdict::Good));
    // What nobody has, by a name that neither Incus nor LXC looks for.
    let after =
        format!("{before}\nnixcloud-container:165536:334464\nnixcloud-container:1879048192:268304384\n");
    for file in [&subuid, &subgid] {
        assert_eq!(fs::read_to_string(file).unwrap(), after);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o7777, 0o664);
    }
    // A container is where the lines are, and a user who is given its ids all the same is told of.
    let web = lab.busybox("web");
    let container = manager.container(web.name().clone());
    container.create(&web.request(&web.file()), &mut ()).must("create");
    assert_eq!(container.status().must("status").ids.unwrap().base(), 165_536);
    fs::write(&subuid, format!("{after}eve:200000:10\n")).unwrap();
    let told = findings();
    let wrong: Vec<&str> = told
        .iter()
        .filter(|finding| finding.verdict == Verdict::Wrong)
        .map(|finding| finding.what.as_str())
        .collect();
    let expected = format!("`eve:200000:10` has ids of container `{}`, from 165536 up", web.name());
    assert!(wrong.contains(&expected.as_str()), "{wrong:?}");
    assert_eq!(ids(manager.host_up().must("host up")), [Change::Mended, Change::Mended]);
    // Down takes out what is ours, and nothing else.
    assert_eq!(ids(manager.host_down().must("host down")), [Change::Removed, Change::Removed]);
    assert_eq!(fs::read_to_string(&subuid).unwrap(), format!("{before}\neve:200000:10\n"));
    assert_eq!(fs::read_to_string(&subgid).unwrap(), format!("{before}\n"));
    assert_eq!(ids(manager.host_down().must("host down")), []);
    manager.host_up().must("host up");
    // The host's own `useradd` goes round them.
    for file in ["passwd", "group", "shadow", "gshadow"] {
        subid_file(lab, file, "");
    }
    let mut useradd = Command::new("useradd");
    useradd.arg("--prefix").arg(lab.root()).args(["--no-create-home", "carl"]);
    assert!(useradd.status().unwrap().success());
    assert!(fs::read_to_string(&subuid).unwrap().contains("\ncarl:565536:65536\n"));
    // It sorts the file, and ours are known all the same.
    assert_eq!(ids(manager.host_down().must("host down")), [Change::Removed, Change::Removed]);
    assert!(!fs::read_to_string(&subuid).unwrap().contains("nixcloud-container"));
    // A try-out makes no file and leaves the host's own alone.
    assert!(!missing.exists());
    assert_eq!(fs::read_to_string("/etc/subuid").ok(), theirs);
    assert!(!lab.path("/var/lib/nixcloud/container/subids.toml").exists());
}

/// Incus has a line of root, and systemd-nspawn picks from what is between the parts of the pool. A version of ours wrote lines
/// of root, too.
fn root_what_incus_has_stays_its_own(lab: &Lab) {
    use nixcloud_container::{Part, Verdict};
    let incus = "root:1000000:1000000000\n";
    let old = format!("{incus}root:100000:900000\n");
    let files = vec![subid_file(lab, "subuid", &old), subid_file(lab, "subgid", &old)];
    let notes = lab.path("/var/lib/nixcloud/container/subids.toml");
    let noted =
        files.iter().map(|file| format!("[[line]]\nfile = {file:?}\nfirst = 100000\ncount = 900000\n"));
    fs::write(&notes, noted.collect::<String>()).unwrap();
    let manager = lab.manager_with(|config| config.ids.foreign = files.clone());
    let guests: Vec<_> = (0..8).map(|n| lab.busybox(&format!("c{n}"))).collect();
    let bases = guests.iter().map(|guest| {
        let container = manager.container(guest.name().clone());
        container.create(&guest.request(&guest.file()), &mut ()).must("create");
        container.status().must("status").ids.unwrap().base()
    });
    let bases: Vec<u32> = bases.collect();
    let low = (0..6).map(|n| 100_000 + n * 65_536);
    assert_eq!(bases, low.chain([1_879_048_192, 1_879_113_728]).collect::<Vec<_>>());
    manager.host_up().must("host up");
    // The sixth one is not wholly in the first part: a range is never cut.
    let ours = "nixcloud-container:100000:424288\nnixcloud-container:1879048192:268304384\n";
    for file in &files {
        assert_eq!(fs::read_to_string(file).unwrap(), format!("{incus}{ours}"));
    }
    let wrong = |manager: &nixcloud_container::Manager| -> Vec<String> {
        let findings = manager.host_check().into_iter();
        let wrong = findings
            .filter(|finding| finding.part == Part::Ids && finding.verdict == Verdict::Wrong)
            .map(|finding| finding.what);
        wrong.collect()
    };
    assert_eq!(wrong(&manager), Vec::<String>::new());
    // A container that has its ids from a pool of before keeps them; that Incus may give them, too, is told.
    let before = lab.manager_with(|config| {
        config.ids.foreign = Vec::new();
        config.ids.first = Some(1_000_000);
    });
    let late = lab.busybox("late");
    before.container(late.name().clone()).create(&late.request(&late.file()), &mut ()).must("create");
    assert_eq!(late.container().status().must("status").ids.unwrap().base(), 1_000_000);
    let told = format!("`root:1000000:1000000000` has ids of container `{}`, from 1000000 up", late.name());
    assert_eq!(wrong(&manager), [told.clone(), told]);
    manager.host_up().must("host up");
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), format!("{incus}{ours}"));
    manager.host_down().must("host down");
    assert_eq!(fs::read_to_string(&files[0]).unwrap(), incus);
    assert!(!notes.exists());
}

/// Two roots on one machine do not see each other's claims.
fn root_ids_in_use_are_passed_over(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.boot();
    let ids = web.container().status().must("status").ids.unwrap();
    let second = |skip_running| {
        let root = lab.path("/second");
        lab.manager_with(|config| {
            config.root = root;
            config.ids.skip_running = skip_running;
        })
    };
    let created = |skip_running| {
        let manager = second(skip_running);
        let container = manager.container(db.name().clone());
        container.create(&db.request(&db.file()), &mut ()).must("create");
        let given = container.status().must("status").ids.unwrap();
        container.destroy(nixcloud_container::DestroyRequest::new().with_force(true)).must("destroy");
        given
    };
    assert_eq!(created(false), ids);
    assert!(!created(true).overlaps(ids.base().into(), 65_536));
    web.stop();
}

/// Neither sees what the other has given: the bridges say whose they are, and processes which ids they have.
fn root_two_roots_of_one_machine_are_told_apart(lab: &Lab) {
    use nixcloud_container::{DestroyRequest, Part, Verdict};
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    let second = |skip_running| {
        let root = lab.path("/second");
        lab.manager_with(|config| {
            config.root = root;
            config.ids.skip_running = skip_running;
        })
    };
    let manager = second(true);
    // As if no guest of anybody's ran when it was made: it has the same of everything.
    let careless = second(false);
    careless.container(db.name().clone()).create(&db.request(&db.file()), &mut ()).must("create");
    let container = manager.container(db.name().clone());
    let status = container.status().must("status");
    assert_eq!(status.ids, web.container().status().must("status").ids);
    web.start();
    let theirs = format!("is for the containers of {}", lab.path("/var/lib/nixcloud/container").display());
    let refused = |what: &str, error: Option<Error>| {
        let error = error.unwrap_or_else(|| panic!("{what} is not refused"));
        assert!(
            error.to_string().contains(&theirs) && error.kind() == ErrorKind::Refused,
            "{what}: {}",
            chain(&error)
        );
    };
    refused("start", container.start(&mut ()).err());
    refused("host up", manager.host_up().err());
    refused("host down", manager.host_down().err());
    let wrong = |finding: &nixcloud_container::Finding| {
        finding.part == Part::Bridge && finding.verdict == Verdict::Wrong && finding.what.contains(&theirs)
    };
    assert!(manager.host_check().iter().any(wrong));
    assert!(
        !lab.manager()
            .host_check()
            .iter()
            .any(|finding| finding.part == Part::Bridge && finding.verdict != Verdict::Good)
    );
    assert!(web.pings());
    // On a bridge of the administrator's the ids are the same all the same.
    for line in ["link add br-admin type bridge", "link set br-admin up"] {
        assert!(Command::new("ip").args(line.split(' ')).status().unwrap().success());
    }
    let file =
        lab.file("admin", &db.file().keys("network.bridge = \"br-admin\"; network.ip = \"192.0.2.9/24\";"));
    let request = nixcloud_container::UpdateRequest::new(file);
    container.update(&request, &mut ()).must("update");
    let error = container.start(&mut ()).unwrap_err();
    assert!(
        matches!(&error, Error::IdsInUse { base, .. } if Some(*base) == status.ids.map(nixcloud_container::IdMap::base)),
        "{}",
        chain(&error)
    );
    assert_eq!(container.state().must("state"), State::Stopped);
    // Who knows what that means says so.
    careless.container(db.name().clone()).start(&mut ()).must("start");
    container.destroy(DestroyRequest::new().with_force(true)).must("destroy");
    assert!(Command::new("ip").args(["link", "del", "br-admin"]).status().unwrap().success());
    web.stop();
    // Of a root that is gone nobody's bridge is left.
    let alias = ["link", "set", "brNC-hostonly", "alias", "nixcloud-container /no/such/root"];
    assert!(Command::new("ip").args(alias).status().unwrap().success());
    lab.manager().host_up().must("host up");
    web.start();
    assert!(web.pings());
    web.stop();
}

/// Takes the copies away, also where the scenario fails: to destroy each would take minutes.
struct Many<'a>(Original<'a>);

impl Drop for Many<'_> {
    fn drop(&mut self) {
        self.0.clear().unwrap();
    }
}

/// `make bench` says how long it takes with 10,000.
fn root_a_create_among_hundreds(lab: &Lab) {
    const COUNT: u32 = 500;
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    let many = Many(Original { root: lab.root(), name: web.name().as_str() });
    many.0.multiply(COUNT, |n| format!("m{n:05}")).unwrap();
    let list = lab.manager().list().must("list");
    assert_eq!(list.len(), 501);
    assert!(list.is_sorted_by_key(|listed| listed.name().to_owned()));
    let ids_of = |n: u32| {
        let base = if n < 6 { 100_000 } else { 1_879_048_192 - 6 * 65_536 };
        base + n * 65_536
    };
    for (n, listed) in (1..=COUNT).zip(&list) {
        let Listed::Container(status) = listed else { panic!("{listed:?}") };
        let address = std::net::Ipv4Addr::from(u32::from_be_bytes([10, 101, 0, 2]) + n);
        assert_eq!((status.name.as_str(), status.state), (format!("m{n:05}").as_str(), State::Stopped));
        assert_eq!((status.address, status.ids.unwrap().base()), (Some(address), ids_of(n)));
    }
    // A gap is filled, and else the next one is claimed.
    for claim in ["addresses/10.101.0.252".to_owned(), format!("ids/{}", ids_of(250))] {
        fs::remove_file(lab.path("/var/lib/nixcloud/container").join(claim)).unwrap();
    }
    db.create();
    let claimed = |guest: &crate::harness::Guest<'_>| {
        let status = guest.container().status().must("status");
        (status.address.unwrap().to_string(), status.ids.unwrap().base())
    };
    assert_eq!(claimed(&db), ("10.101.0.252".to_owned(), ids_of(250)));
    let next = lab.busybox("next");
    next.create();
    assert_eq!(claimed(&next), ("10.101.1.247".to_owned(), ids_of(501)));
    // The running one among them is seen.
    next.start();
    let list = lab.manager().list().must("list");
    let running = list
        .iter()
        .filter(|listed| matches!(listed, Listed::Container(status) if status.state == State::Running));
    assert_eq!(running.map(Listed::name).collect::<Vec<_>>(), [next.name().as_str()]);
    next.stop();
    next.destroy();
    db.destroy();
}
