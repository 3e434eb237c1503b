//! Tests of all claims, on a state folder of their own.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::idmap::{IdMap, IdMapKind};

struct Host {
    _root: tempfile::TempDir,
    config: HostConfig,
    layout: Layout,
}

fn host() -> Host {
    let root = tempfile::tempdir().unwrap();
    let mut config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
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
    let refused = |_| Err(LeaseError::IdsExhausted { first: 0 });
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
    std::fs::write(&host.config.ids.foreign[0], "root:100000:65536\nbob:165536:65536\nbroken\n").unwrap();
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
        let mut base = host.config.ids.first;
        while base < map.base() {
            let earlier = IdMap::new(base).unwrap();
            prop_assert!(starts.iter().any(|(start, count)| earlier.overlaps(*start, *count)));
            base += RANGE;
        }
    }
}
