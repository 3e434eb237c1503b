use super::*;
use crate::net::testing::{in_own_netns, ip};

const POLICY: &str =
    "mac=02:4e:00:00:00:01,isolated,ip=10.101.0.2,pass=10.101.0.1/32,drop=0.0.0.0/0,host=fd00::/64";

/// A bridge with a port `p0`, whose other end is `g0`.
fn port() -> Netlink {
    let mut netlink = Netlink::open().unwrap();
    netlink.add_bridge("br0", "mark", None).unwrap();
    ip("link add p0 type veth peer name g0");
    ip("link set p0 master br0");
    netlink
}

fn tc(args: &str) -> String {
    let output = std::process::Command::new("tc").args(args.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "tc {args}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn root_a_port_is_set_and_looked_at() {
    in_own_netns(|| {
        let mut netlink = port();
        let policy: PortPolicy = POLICY.parse().unwrap();
        let all = [Fault::Sends, Fault::Gets, Fault::Isolation, Fault::Flood];
        // Kernels before 6.3 limit no groups.
        let found = faults(&mut netlink, "p0", &policy).unwrap();
        assert!(found == all || found == [&all[..], &[Fault::Groups]].concat(), "{found:?}");
        for _ in 0..2 {
            set(&mut netlink, "p0", &policy).unwrap();
            assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), []);
        }
        let shown = ip("-d link show p0");
        assert!(shown.contains("isolated on") && shown.contains(" flood off"), "{shown}");
        let filters = tc("filter show dev p0 ingress");
        assert_eq!(filters.matches("bytecode").count(), 2, "{filters}");
        assert_eq!(tc("filter show dev p0 egress").matches("bytecode").count(), 1);
        let output =
            std::process::Command::new("bridge").args(["fdb", "show", "dev", "p0"]).output().unwrap();
        let fdb = String::from_utf8(output.stdout).unwrap();
        // Where in the line a word stands depends on the tool's version.
        let pinned = fdb.lines().find(|line| line.starts_with("02:4e:00:00:00:01 ")).unwrap();
        assert!(pinned.contains(" sticky") && pinned.contains(" static"), "{fdb}");
    });
}

#[test]
fn root_whatever_somebody_changes_is_found_and_mended() {
    in_own_netns(|| {
        let mut netlink = port();
        let policy: PortPolicy = POLICY.parse().unwrap();
        set(&mut netlink, "p0", &policy).unwrap();
        for (change, expected) in [
            ("qdisc del dev p0 clsact", vec![Fault::Sends, Fault::Gets]),
            ("filter del dev p0 ingress prio 1", vec![Fault::Sends]),
            ("filter del dev p0 ingress prio 2", vec![Fault::Sends]),
            ("filter del dev p0 egress", vec![Fault::Gets]),
            (
                "filter replace dev p0 ingress prio 1 handle 1 protocol all bpf bytecode 1,6\u{a0}0\u{a0}0\u{a0}1",
                vec![Fault::Sends],
            ),
        ] {
            let arguments = change.split(' ').map(|word| word.replace('\u{a0}', " "));
            let output = std::process::Command::new("tc").args(arguments).output().unwrap();
            assert!(output.status.success(), "{change}: {output:?}");
            assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), expected, "{change}");
            set(&mut netlink, "p0", &policy).unwrap();
            assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), [], "{change}");
        }
        for (change, expected) in [
            ("link set p0 type bridge_slave isolated off", vec![Fault::Isolation]),
            ("link set p0 type bridge_slave flood on", vec![Fault::Flood]),
            // The host's address is in the program, for a policy that asks for it.
            ("addr add fd00::1/64 dev br0 nodad", vec![Fault::Moved]),
        ] {
            ip(change);
            assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), expected, "{change}");
            set(&mut netlink, "p0", &policy).unwrap();
            assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), [], "{change}");
        }
        let open: PortPolicy = POLICY.replace("isolated", "open").parse().unwrap();
        let other = [Fault::Sends, Fault::Gets, Fault::Isolation];
        assert_eq!(faults(&mut netlink, "p0", &open).unwrap(), other);
        ip("link set p0 nomaster");
        assert_eq!(faults(&mut netlink, "p0", &policy).unwrap(), [Fault::NoPort]);
        assert!(matches!(set(&mut netlink, "p0", &policy), Err(Error::NoPort { .. })));
        assert!(matches!(set(&mut netlink, "p9", &policy), Err(Error::Missing { .. })));
    });
}
