//! Tests of all claims, on a state folder of their own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::model::idmap::{IdMap, IdMapKind};

struct Host {
    _root: tempfile::TempDir,
    config: HostConfig,
    layout: Layout,
}

fn host() -> Host {
    let root = tempfile::tempdir().unwrap();
    let mut config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
    // Other tests and programs of this machine have containers.
    config.ids.skip_running = false;
    config.ids.foreign = vec![root.path().join("subuid"), root.path().join("subgid")];
    let layout = Layout::new(&config).unwrap();
    for dir in layout.state_dirs() {
        std::fs::create_dir_all(dir).unwrap();
    }
    Host { _root: root, config, layout }
}

fn lease(leases: &Leases<'_>, owner: &ContainerName, foreign: &Foreign) -> Result<Ipv4Addr, LeaseError> {
    leases.lease_address(owner, foreign, &mut |_| Ok(()))
}

fn ids(leases: &Leases<'_>, owner: &ContainerName, kind: IdMapKind, foreign: &Foreign) -> IdMap {
    leases.claim_ids::<LeaseError>(owner, kind, foreign, &mut |_| Ok(())).unwrap()
}

fn name(n: usize) -> ContainerName {
    format!("c{n}").parse().unwrap()
}

#[test]
fn the_lowest_free_address_is_given_and_given_again() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let none = Foreign::default();
    let ip = |last: u8| IpAddr::from([10, 101, 0, last]);
    for n in 0..3u8 {
        assert_eq!(lease(&leases, &name(n.into()), &none).unwrap(), ip(n + 2));
    }
    leases.free_address(&name(0), ip(3)).unwrap();
    assert_eq!(
        read_owner(&host.layout.address(ip(3))).unwrap().as_deref(),
        Some("c1"),
        "freed by a stranger"
    );
    leases.free_address(&name(1), ip(3)).unwrap();
    leases.free_address(&name(1), ip(3)).unwrap();
    leases.fix_address(&name(7), ip(5), &none).unwrap();
    leases.fix_address(&name(7), ip(5), &none).unwrap();
    assert_eq!(lease(&leases, &name(8), &none).unwrap(), ip(3));
    assert_eq!(lease(&leases, &name(9), &none).unwrap(), ip(6));
}

#[test]
fn what_is_claimed_was_intended_before() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let refused = |_| Err(LeaseError::IdsExhausted { pool: String::new() });
    assert!(leases.lease_address(&name(0), &Foreign::default(), &mut |_| refused(())).is_err());
    assert!(
        leases.claim_ids(&name(0), IdMapKind::Isolated, &Foreign::default(), &mut |_| refused(())).is_err()
    );
    assert_eq!(names::<Ipv4Addr>(&host.layout.addresses()).unwrap(), BTreeSet::new());
    assert_eq!(names::<u32>(&host.layout.ids()).unwrap(), BTreeSet::new());
}

#[test]
fn a_taken_address_names_its_owner() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let ip = IpAddr::from([10, 101, 0, 2]);
    lease(&leases, &name(1), &Foreign::default()).unwrap();
    let error = leases.fix_address(&name(2), ip, &Foreign::default()).unwrap_err();
    assert_eq!(error.to_string(), "address 10.101.0.2 belongs to container `c1`");
    let foreign = Foreign { host_addresses: vec![(ip, "eth0".into())], ..Foreign::default() };
    let error = leases.fix_address(&name(2), ip, &foreign).unwrap_err();
    assert_eq!(error.to_string(), "address 10.101.0.2 is the host's own, on eth0");
    assert_eq!(lease(&leases, &name(2), &foreign).unwrap(), Ipv4Addr::new(10, 101, 0, 3));
}

#[test]
fn a_full_pool_says_so() {
    let mut host = host();
    host.config.network.hostonly.address = "10.9.0.1/30".parse().unwrap();
    let leases = Leases::new(&host.layout, &host.config);
    lease(&leases, &name(1), &Foreign::default()).unwrap();
    let error = lease(&leases, &name(2), &Foreign::default()).unwrap_err();
    assert_eq!(error.to_string(), "no address of 10.9.0.1/30 is free");
}

/// Fault 12 of the shell original: one uid range for all.
#[test]
fn field_12_each_container_has_ids_of_its_own() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let foreign = Foreign { ids: vec![(231_072, 10)], ..Foreign::default() };
    std::fs::write(
        &host.config.ids.foreign[0],
        "nixcloud-container:100000:65536\nbob:165536:65536\nbroken\n",
    )
    .unwrap();
    let get = |n, kind| ids(&leases, &name(n), kind, &foreign).base();
    assert_eq!(get(1, IdMapKind::Isolated), 100_000);
    assert_eq!(get(2, IdMapKind::Isolated), 296_608, "bob has 165536, another container 231072");
    assert_eq!(get(3, IdMapKind::Shared), 362_144);
    assert_eq!(get(4, IdMapKind::Shared), 362_144);
    leases.free_ids(&name(4), IdMap::new(362_144).unwrap()).unwrap();
    assert_eq!(get(5, IdMapKind::Shared), 362_144);
    leases.free_ids(&name(1), IdMap::new(100_000).unwrap()).unwrap();
    assert_eq!(get(6, IdMapKind::Isolated), 100_000);
}

/// Incus's line of root, and one that a version of ours wrote under that name.
#[test]
fn ids_that_root_has_for_others_are_left_to_them() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let [file, _] = &host.config.ids.foreign[..] else { panic!() };
    std::fs::write(file, "root:100000:65536\nroot:165536:65536\nroot:1000000:1000000000\n").unwrap();
    let noted = format!("[[line]]\nfile = {file:?}\nfirst = 100000\ncount = 65536\n");
    std::fs::write(host.layout.subids(), noted).unwrap();
    let given: Vec<u32> =
        (0..8).map(|n| ids(&leases, &name(n), IdMapKind::Isolated, &Foreign::default()).base()).collect();
    let expected = [100_000, 231_072, 296_608, 362_144, 427_680, 1_879_048_192, 1_879_113_728, 1_879_179_264];
    assert_eq!(given, expected);
}

#[test]
fn ids_that_a_container_has_are_held_once() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let range = |base| IdMap::new(base).unwrap();
    let held = |n, kind, base| leases.hold_ids(&name(n), kind, range(base)).unwrap();
    assert_eq!(held(1, IdMapKind::Isolated, 100_000), None);
    assert_eq!(held(1, IdMapKind::Isolated, 100_000), None);
    assert_eq!(held(2, IdMapKind::Isolated, 100_000).as_deref(), Some("c1"));
    assert_eq!(held(2, IdMapKind::Isolated, 100_001).as_deref(), Some("c1"), "they overlap");
    assert_eq!(held(3, IdMapKind::Shared, 300_000), None);
    assert_eq!(held(4, IdMapKind::Shared, 300_000), None);
    assert_eq!(held(4, IdMapKind::Isolated, 300_000).as_deref(), Some(".shared"));
}

/// Fault 8 of the shell original: of two parallel creates one failed.
#[test]
fn field_08_parallel_claims_never_meet() {
    let host = host();
    let got = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (host, got) = (&host, &got);
            scope.spawn(move || {
                let leases = Leases::new(&host.layout, &host.config);
                for n in 0..25 {
                    let owner = name(thread * 100 + n);
                    let address = lease(&leases, &owner, &Foreign::default()).unwrap();
                    let ids = ids(&leases, &owner, IdMapKind::Isolated, &Foreign::default());
                    got.lock().unwrap().push((address, ids));
                }
            });
        }
    });
    let got = got.into_inner().unwrap();
    let addresses: BTreeSet<_> = got.iter().map(|(address, _)| *address).collect();
    let ids: BTreeSet<_> = got.iter().map(|(_, ids)| *ids).collect();
    assert_eq!((addresses.len(), ids.len()), (200, 200));
    assert_eq!(addresses.last(), Some(&Ipv4Addr::new(10, 101, 0, 201)), "no gap");
}

#[test]
fn every_address_of_a_16_but_three_is_for_containers() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let pool = host.config.network.hostonly.address;
    let last = Ipv4Addr::new(10, 101, 255, 254);
    let usable: Vec<Ipv4Addr> = pool
        .iter()
        .filter(|address| ![pool.network(), pool.ip(), pool.broadcast()].contains(address))
        .collect();
    assert_eq!(usable.len(), 65_533);
    let all_but_last = usable.into_iter().filter(|address| *address != last);
    let theirs = all_but_last.map(|address| (address.into(), "old".to_owned())).collect();
    let foreign = Foreign { addresses: theirs, ..Foreign::default() };
    assert_eq!(lease(&leases, &name(1), &foreign).unwrap(), last);
    let error = lease(&leases, &name(2), &foreign).unwrap_err();
    assert_eq!(error.to_string(), "no address of 10.101.0.1/16 is free");
}

#[test]
fn the_internet_bridge_has_a_range_of_its_own_and_shares_the_claims() {
    let mut host = host();
    host.config.network.internet.first = Some([10, 202, 0, 10].into());
    host.config.network.internet.last = Some([10, 202, 0, 13].into());
    let leases = Leases::new(&host.layout, &host.config);
    let get = |n, foreign: &Foreign| leases.lease_internet::<LeaseError>(&name(n), foreign, &mut |_| Ok(()));
    let none = Foreign::default();
    let ip = |last: u8| Ipv4Addr::new(10, 202, 0, last);
    // One that is fixed on another bridge, and one of the host: neither is given.
    leases.fix_address(&name(9), ip(10).into(), &none).unwrap();
    let foreign = Foreign { host_addresses: vec![(ip(12).into(), "eth1".into())], ..Foreign::default() };
    assert_eq!(get(1, &foreign).unwrap(), ip(11));
    assert_eq!(get(2, &foreign).unwrap(), ip(13));
    let error = get(3, &foreign).unwrap_err();
    assert_eq!(error.to_string(), "no address of 10.202.0.10 to 10.202.0.13 is free");
    leases.free_address(&name(9), ip(10).into()).unwrap();
    assert_eq!(get(3, &foreign).unwrap(), ip(10));
}

#[test]
fn a_reserved_address_is_for_one_name_alone() {
    let mut host = host();
    let ip = |last: u8| Ipv4Addr::new(10, 101, 0, last);
    host.config.network.reserved.insert("web".parse().unwrap(), ip(2));
    let leases = Leases::new(&host.layout, &host.config);
    let none = Foreign::default();
    assert_eq!(lease(&leases, &name(1), &none).unwrap(), ip(3));
    let error = leases.fix_address(&name(1), ip(2).into(), &none).unwrap_err();
    assert_eq!(error.to_string(), "address 10.101.0.2 is reserved for container `web`");
    let web: ContainerName = "web".parse().unwrap();
    assert_eq!(lease(&leases, &web, &none).unwrap(), ip(2));
    leases.fix_address(&web, ip(2).into(), &none).unwrap();
    // Somebody who had it before the reservation keeps it, and is named.
    host.config.network.reserved.insert("web".parse().unwrap(), ip(3));
    let leases = Leases::new(&host.layout, &host.config);
    leases.fix_address(&name(1), ip(3).into(), &none).unwrap();
    let error = lease(&leases, &web, &none).unwrap_err();
    assert_eq!(error.to_string(), "address 10.101.0.3 belongs to container `c1`");
}

#[test]
fn no_container_has_an_address_that_is_for_something_else() {
    let mut host = host();
    host.config.network.internet.ipv6 = Some(crate::model::config::Ipv6Config {
        address: "2001:db8:1::1/64".parse().unwrap(),
        name_servers: vec![],
    });
    let leases = Leases::new(&host.layout, &host.config);
    let host_addresses = vec![("2001:db8::1".parse().unwrap(), "eth0".into())];
    let foreign = Foreign { host_addresses, ..Foreign::default() };
    let refused = |address: &str| {
        leases.fix_address(&name(1), address.parse().unwrap(), &foreign).unwrap_err().to_string()
    };
    // The bridges need not be there for that.
    assert_eq!(refused("10.101.0.1"), "address 10.101.0.1 is the host's own, on brNC-hostonly");
    assert_eq!(refused("10.202.0.1"), "address 10.202.0.1 is the host's own, on brNC-internet");
    assert_eq!(refused("2001:db8::1"), "address 2001:db8::1 is the host's own, on eth0");
    for address in ["10.101.0.0", "10.202.255.255"] {
        assert!(refused(address).contains("not one of a host"), "{address}");
    }
    let routed = refused("2001:db8:1::99");
    assert!(routed.contains("in 2001:db8:1::1/64, where containers"), "{routed}");
    leases.fix_address(&name(1), "2001:db8:2::99".parse().unwrap(), &foreign).unwrap();
    let taken = leases.fix_address(&name(2), "2001:db8:2::99".parse().unwrap(), &foreign).unwrap_err();
    assert_eq!(taken.to_string(), "address 2001:db8:2::99 belongs to container `c1`");
}

#[test]
fn no_two_containers_have_one_interface_identity() {
    let host = host();
    let leases = Leases::new(&host.layout, &host.config);
    let get = |n, foreign: &Foreign| {
        leases.claim_interface::<LeaseError>(&name(n), foreign, &mut |_| Ok(())).unwrap()
    };
    let plain = |n, attempt| InterfaceId::of(host.layout.lxc_path(), &name(n), attempt);
    let none = Foreign::default();
    assert_eq!((get(1, &none), get(1, &none)), (plain(1, 0), plain(1, 0)));
    // As if another name had the same hash.
    std::fs::write(host.layout.interface(plain(2, 0)), "c1").unwrap();
    assert_eq!((get(2, &none), get(2, &none)), (plain(2, 1), plain(2, 1)));
    // A guest of another LXC path runs with it.
    let foreign = Foreign { interfaces: [plain(3, 0)].into(), ..Foreign::default() };
    assert_eq!(get(3, &foreign), plain(3, 1));
    leases.free_interface(&name(1), plain(2, 0)).unwrap();
    leases.free_interface(&name(2), plain(1, 0)).unwrap();
    assert!(host.layout.interface(plain(1, 0)).exists(), "freed by a stranger");
    leases.free_interface(&name(2), plain(2, 1)).unwrap();
    assert_eq!(get(2, &none), plain(2, 0));
}

/// What somebody does with the addresses.
#[derive(Debug, Clone)]
enum Step {
    Lease(usize),
    Internet(usize),
    Fix(usize, u8),
    Free(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..40usize).prop_map(Step::Lease),
        3 => (0..40usize).prop_map(Step::Internet),
        2 => (0..40usize, 0..40u8).prop_map(|(owner, last)| Step::Fix(owner, last)),
        3 => (0..40u8).prop_map(Step::Free),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_range_never_overlaps_another_user(starts in prop::collection::vec((0u64..2_000_000, 1u64..200_000), 0..12)) {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let foreign = Foreign { ids: starts.clone(), ..Foreign::default() };
        let map = ids(&leases, &name(0), IdMapKind::Isolated, &foreign);
        for (start, count) in &starts {
            prop_assert!(!map.overlaps(*start, *count));
        }
        // The lowest: every earlier place on the grid is taken.
        let grid = host.config.ids.pool().into_iter().flat_map(|[first, last]| {
            (first..=last - (RANGE - 1)).step_by(RANGE as usize)
        });
        for base in grid.take_while(|base| *base < map.base()) {
            let earlier = IdMap::new(base).unwrap();
            prop_assert!(starts.iter().any(|(start, count)| earlier.overlaps(*start, *count)));
        }
    }

    #[test]
    fn an_address_has_one_owner_and_the_lowest_free_one_is_given(
        steps in prop::collection::vec(step(), 1..60),
        hosts in prop::collection::btree_set(0u8..32, 0..3),
    ) {
        let mut host = host();
        // Both networks are one after the other: 10.9.0.0 to .15 and .16 to .31.
        host.config.network.hostonly.address = "10.9.0.1/28".parse().unwrap();
        host.config.network.internet.address = "10.9.0.18/28".parse().unwrap();
        let leases = Leases::new(&host.layout, &host.config);
        let ip = |last: u8| Ipv4Addr::new(10, 9, 0, last);
        let foreign = Foreign {
            host_addresses: hosts.iter().map(|last| (ip(*last).into(), "eth0".into())).collect(),
            ..Foreign::default()
        };
        let nobodys: BTreeSet<u8> = hosts.into_iter().chain([0, 1, 15, 16, 18, 31]).collect();
        let mut owners: BTreeMap<u8, usize> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Lease(owner) | Step::Internet(owner) => {
                    let inside = matches!(step, Step::Lease(_));
                    let lowest = (if inside { 0..16 } else { 16..32 })
                        .find(|last| !nobodys.contains(last) && !owners.contains_key(last));
                    let got = if inside {
                        lease(&leases, &name(owner), &foreign)
                    } else {
                        leases.lease_internet(&name(owner), &foreign, &mut |_| Ok::<_, LeaseError>(()))
                    };
                    prop_assert_eq!(got.ok(), lowest.map(ip));
                    owners.extend(lowest.map(|last| (last, owner)));
                }
                Step::Fix(owner, last) => {
                    let before = owners.get(&last).copied();
                    let fixed = leases.fix_address(&name(owner), ip(last).into(), &foreign);
                    let may = !nobodys.contains(&last) && before.is_none_or(|theirs| theirs == owner);
                    prop_assert_eq!(fixed.is_ok(), may, "{:?}", fixed);
                    if may {
                        owners.insert(last, owner);
                    }
                }
                Step::Free(last) => {
                    // A stranger's hand first.
                    leases.free_address(&name(99), ip(last).into()).unwrap();
                    if let Some(owner) = owners.remove(&last) {
                        leases.free_address(&name(owner), ip(last).into()).unwrap();
                    }
                }
            }
            for last in 0..40 {
                let owner = read_owner(&host.layout.address(ip(last).into())).unwrap();
                prop_assert_eq!(owner, owners.get(&last).map(|owner| name(*owner).to_string()));
            }
        }
    }
}
