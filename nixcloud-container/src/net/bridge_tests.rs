//! Bridges of a network namespace that has nothing else.

use super::*;
use crate::model::interface::Mac;
use crate::net::testing::{in_own_netns, ip};

fn mark() -> String {
    mark_of(Path::new("/proc"))
}

fn spec() -> BridgeSpec {
    let address = "10.101.0.1/16".parse().unwrap();
    BridgeSpec { name: "brNC-hostonly".to_owned(), address, address6: None, mark: mark() }
}

fn addresses(netlink: &mut Netlink, name: &str) -> Vec<String> {
    let index = netlink.link(name).unwrap().unwrap().index;
    let v4 = netlink.addresses(index).unwrap().into_iter().filter(IpNetwork::is_ipv4);
    v4.map(|address| address.to_string()).collect()
}

#[test]
fn the_mac_is_local_unicast_and_follows_the_name() {
    assert_eq!(mac_of("a")[0] & 3, 2);
    assert_eq!(mac_of("a"), mac_of("a"));
    assert_ne!(mac_of("a"), mac_of("b"));
    // The packet filter takes frames with those addresses for a container's.
    assert!((0..2000).all(|n| !Mac(mac_of(&format!("br{n}"))).is_ours()));
}

#[test]
fn root_it_is_made_once_and_removed_once() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Created);
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Unchanged);
        let link = netlink.link("brNC-hostonly").unwrap().unwrap();
        assert!(link.up && owner(&link, &mark()) == Owner::Ours);
        assert_eq!((link.alias.as_deref(), link.bridge), (Some(mark().as_str()), Some(SETTINGS)));
        assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"]);
        assert!(remove(&mut netlink, "brNC-hostonly", &mark()).unwrap());
        assert!(!remove(&mut netlink, "brNC-hostonly", &mark()).unwrap());
        assert_eq!(netlink.links().unwrap().len(), 1);
    });
}

#[test]
fn root_an_ipv6_address_is_given_beside() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Created);
        let six = "2001:db8:1::1/64".parse().unwrap();
        let both = BridgeSpec { address6: Some(six), ..spec() };
        assert_eq!(ensure(&mut netlink, &both).unwrap(), Ensured::Completed);
        assert_eq!(ensure(&mut netlink, &both).unwrap(), Ensured::Unchanged);
        let index = netlink.link("brNC-hostonly").unwrap().unwrap().index;
        assert!(netlink.addresses(index).unwrap().contains(&IpNetwork::V6(six)));
    });
}

#[test]
fn root_what_a_killed_process_left_is_completed() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        let mac = mac_of("brNC-hostonly").map(|byte| format!("{byte:02x}")).join(":");
        ip(&format!("link add brNC-hostonly address {mac} type bridge"));
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Completed);
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Unchanged);
        // Each thing alone that a hand may have changed.
        for change in [
            "link set brNC-hostonly down",
            "link set brNC-hostonly type bridge stp_state 1",
            "addr del 10.101.0.1/16 dev brNC-hostonly",
            "addr add 10.101.0.1/24 dev brNC-hostonly",
        ] {
            ip(change);
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Completed, "{change}");
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Unchanged, "{change}");
            assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"], "{change}");
        }
    });
}

#[test]
fn root_what_is_not_ours_is_left_alone() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        ip("link add brNC-hostonly type bridge");
        let foreign = |has_address, up| Ensured::Foreign { has_address, up };
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), foreign(false, false));
        assert!(matches!(remove(&mut netlink, "brNC-hostonly", &mark()), Err(Error::NotOurs { .. })));
        assert_eq!(addresses(&mut netlink, "brNC-hostonly"), Vec::<String>::new());
        ip("addr add 10.101.0.1/16 dev brNC-hostonly");
        ip("link set brNC-hostonly up alias theirs");
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), foreign(true, true));
        assert!(matches!(remove(&mut netlink, "brNC-hostonly", &mark()), Err(Error::NotOurs { .. })));

        ip("link add v0 type veth peer name v1");
        let veth = BridgeSpec { name: "v0".to_owned(), ..spec() };
        let error = ensure(&mut netlink, &veth).unwrap_err();
        assert_eq!(error.to_string(), "interface v0 is not a bridge but veth");
        assert!(matches!(remove(&mut netlink, "v0", &mark()), Err(Error::NotABridge { .. })));
        assert!(matches!(remove(&mut netlink, "lo", &mark()), Err(Error::NotABridge { kind: None, .. })));
    });
}

#[test]
fn root_a_bridge_of_another_root_is_left_alone() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        // Folders that are there on every machine.
        let theirs = BridgeSpec { mark: mark_of(Path::new("/sys")), ..spec() };
        ensure(&mut netlink, &theirs).unwrap();
        let error = ensure(&mut netlink, &spec()).unwrap_err();
        assert_eq!(error.to_string(), "bridge brNC-hostonly is for the containers of /sys");
        assert!(require_own(&mut netlink, "brNC-hostonly", &mark()).is_err());
        assert!(matches!(remove(&mut netlink, "brNC-hostonly", &mark()), Err(Error::NotOurs { .. })));
        assert_eq!(ensure(&mut netlink, &theirs).unwrap(), Ensured::Unchanged);
        // As versions before this one marked it, and of a root that is gone.
        for alias in [MARK.to_owned(), mark_of(Path::new("/no such root"))] {
            netlink.set_alias("brNC-hostonly", &alias).unwrap();
            require_own(&mut netlink, "brNC-hostonly", &mark()).unwrap();
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Completed, "{alias}");
            assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Unchanged, "{alias}");
        }
        let long = mark_of(Path::new(&format!("/{}", "long/".repeat(60))));
        assert!(long.len() <= ALIAS && long != mark_of(Path::new(&format!("/{}", "long/".repeat(61)))));
        netlink.set_alias("brNC-hostonly", &long).unwrap();
        assert!(require_own(&mut netlink, "brNC-hostonly", &mark()).is_err());
        netlink.set_alias("brNC-hostonly", &mark()).unwrap();
        assert!(remove(&mut netlink, "brNC-hostonly", &mark()).unwrap());
    });
}

#[test]
fn root_a_conflict_names_the_other_interface_and_makes_nothing() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        ip("link add lan0 type veth peer name lan1");
        ip("addr add 10.101.5.5/24 dev lan0");
        let error = ensure(&mut netlink, &spec()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bridge brNC-hostonly cannot have 10.101.0.1/16: interface lan0 has 10.101.5.5/24"
        );
        assert_eq!(netlink.link("brNC-hostonly").unwrap(), None);
        ip("addr flush dev lan0");
        ip("addr add 10.0.0.5/8 dev lan0");
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Created);
    });
}

#[test]
fn root_a_bridge_with_ports_is_not_removed() {
    in_own_netns(|| {
        let mut netlink = Netlink::open().unwrap();
        ensure(&mut netlink, &spec()).unwrap();
        for port in ["nci-b", "nci-a"] {
            ip(&format!("link add {port} type veth peer name p{port}"));
            ip(&format!("link set {port} master brNC-hostonly"));
        }
        let error = remove(&mut netlink, "brNC-hostonly", &mark()).unwrap_err();
        assert_eq!(error.to_string(), "bridge brNC-hostonly is in use by nci-a, nci-b");
        // The ports do not take its hardware address away.
        assert_eq!(netlink.link("brNC-hostonly").unwrap().unwrap().mac, Some(mac_of("brNC-hostonly")));
        ip("link del nci-a");
        ip("link del nci-b");
        assert!(remove(&mut netlink, "brNC-hostonly", &mark()).unwrap());
    });
}

#[test]
fn root_many_at_once_agree() {
    in_own_netns(|| {
        // Threads inherit the namespace.
        let outcomes: Vec<Ensured> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| ensure(&mut Netlink::open().unwrap(), &spec()).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(!outcomes.iter().any(|outcome| matches!(outcome, Ensured::Foreign { .. })), "{outcomes:?}");
        assert_eq!(outcomes.iter().filter(|&&outcome| outcome == Ensured::Created).count(), 1);
        let mut netlink = Netlink::open().unwrap();
        assert_eq!(ensure(&mut netlink, &spec()).unwrap(), Ensured::Unchanged);
        assert_eq!(addresses(&mut netlink, "brNC-hostonly"), ["10.101.0.1/16"]);
    });
}
