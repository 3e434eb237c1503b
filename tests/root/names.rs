//! Our dnsmasqs: names of containers, addresses by DHCP, router advertisements and DHCPv6, and what becomes of them when
//! one dies.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nixcloud_container::{Change, Manager, Origin, Part, StopRequest, Verdict};

use crate::harness::space::{Space, ip};
use crate::harness::{Guest, Kind, Lab, Must, chain, eventually, scenarios};

scenarios! {
    once: [
        root_an_mtu_is_that_of_both_ends_and_told_by_dhcp,
        root_guests_know_each_other_by_name_where_they_may,
        root_an_address_that_was_given_back_is_leased_again,
        root_names_that_dns_takes_for_each_other_are_refused,
        root_a_new_container_on_a_reused_address_is_reached_at_once,
        root_ipv6_by_router_advertisement_and_dhcp,
        root_a_dnsmasq_that_dies_comes_back,
        root_a_dnsmasq_that_was_stopped_is_seen_and_replaced,
        root_host_down_leaves_no_dnsmasq,
        root_a_foreign_server_on_all_addresses_is_told,
    ],
    both: [root_an_address_comes_by_dhcp],
}

pub const SOON: Duration = Duration::from_secs(20);

/// What a program prints.
fn out(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// What a name server answers: addresses of a name, or why there are none.
fn asked(answer: &str) -> Vec<String> {
    // After a blank line; before it the server tells of itself.
    let (_, answer) = answer.split_once("\n\n").unwrap_or_default();
    let mut found: Vec<String> = answer
        .lines()
        .filter_map(|line| {
            line.strip_prefix("Address: ").or(line
                .rsplit_once(": ")
                .filter(|(_, why)| why.bytes().all(|b| b.is_ascii_uppercase()))
                .map(|(_, why)| why))
        })
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

pub fn ask(name: &str, server: &str) -> Vec<String> {
    asked(&out("busybox", &["nslookup", name, server]))
}

pub fn guest_asks(guest: &Guest<'_>, name: &str, server: &str) -> Vec<String> {
    asked(&guest.sh(&format!("nslookup {name} {server} 2>&1")).text())
}

/// Until a guest has its addresses, and a name server from DHCP.
pub fn await_internet(guest: &Guest<'_>, address: &str) {
    eventually("the guest has its address by DHCP", SOON, || {
        guest.sh("ip -4 -o address show dev internet").text().contains(&format!(" {address}/16 "))
    });
}

/// Another host, in a network namespace of its own: it stands for all that is outside.
pub struct Outside {
    pub space: Space,
    daemon: Option<Child>,
}

impl Outside {
    /// Linked to this host, which is 192.0.2.1 and 2001:db8:f::1 there; itself .2 and ::2.
    pub fn new() -> Self {
        let space = Space::new("up0", "in0");
        ip("addr add 192.0.2.1/24 dev up0");
        ip("addr add 2001:db8:f::1/64 dev up0 nodad");
        space.ip("addr add 192.0.2.2/24 dev in0");
        space.ip("addr add 2001:db8:f::2/64 dev in0 nodad");
        space.ip("-6 route add default via 2001:db8:f::1");
        Self { space, daemon: None }
    }

    /// A name server there, which this host asks.
    pub fn serve_names(&mut self, lab: &Lab) {
        let options = [
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
            "--pid-file=",
            "--bind-interfaces",
            "--listen-address=192.0.2.2",
            "--host-record=example.org,203.0.113.7",
            "--local=/example.org/",
        ];
        self.daemon = Some(self.space.run(|| Command::new("dnsmasq").args(options).spawn().unwrap()));
        let file = lab.path("/files/resolv.conf");
        fs::write(&file, "nameserver 192.0.2.2\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let none: Option<&str> = None;
        mount(Some(&file), "/etc/resolv.conf", none, MsFlags::MS_BIND, none).unwrap();
        eventually("the name server outside", SOON, || ask("example.org", "192.0.2.2") == ["203.0.113.7"]);
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        if let Some(daemon) = &mut self.daemon {
            let _ = daemon.kill();
            let _ = daemon.wait();
            let _ = nix::mount::umount("/etc/resolv.conf");
        }
        ip("link del up0");
    }
}

/// An address as it is shown.
type Shown = (String, String, Origin, bool);

fn own((interface, address, origin, live): (&str, &str, Origin, bool)) -> Shown {
    (interface.to_owned(), address.to_owned(), origin, live)
}

/// All addresses of a guest, seen from outside.
fn all(guest: &Guest<'_>) -> Vec<Shown> {
    let all = guest.container().all_addresses().must("all addresses").into_iter();
    all.map(|at| (at.interface, at.address.to_string(), at.origin, at.live)).collect()
}

fn root_an_address_comes_by_dhcp(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create_from(&web.file().keys("network.enableNat = true;"));
    web.start();
    await_internet(&web, "10.202.0.10");
    assert_eq!(
        all(&web),
        [
            ("hostonly", "10.101.0.2/16", Origin::Leased, true),
            ("internet", "10.202.0.10/16", Origin::Dhcp, true)
        ]
        .map(own)
    );
    assert_eq!(web.shell("cat /etc/resolv.conf"), "nameserver 10.202.0.1");
    assert!(web.shell("ip route").contains("default via 10.202.0.1 dev internet"));
    // A reboot from inside, and a host that is set up again, change nothing.
    web.container().stop_with(&StopRequest::new().with_reboot(true)).must("reboot");
    web.await_version();
    await_internet(&web, "10.202.0.10");
    lab.manager().host_up().must("host up");
    assert_eq!(guest_asks(&web, "host.containers", "10.202.0.1"), ["10.202.0.1"]);
    web.stop();
    assert!(all(&web).iter().all(|(.., live)| !live) && all(&web).len() == 2);
}

fn root_an_mtu_is_that_of_both_ends_and_told_by_dhcp(lab: &Lab) {
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    web.create_from(&web.file().keys("network = { enableNat = true; mtu = 1400; };"));
    other.create_from(&other.file().keys("network.enableNat = true;"));
    other.start();
    web.start();
    await_internet(&web, "10.202.0.10");
    assert_eq!(web.shell("cat /sys/class/net/hostonly/mtu /sys/class/net/internet/mtu"), "1400\n1400");
    let config = std::fs::read_to_string(lab.path(&format!("/var/lib/lxc/{}/config", web.name()))).unwrap();
    let pairs = config.lines().filter_map(|line| line.split_once(".veth.pair = "));
    let ends: Vec<String> = pairs
        .map(|(_, pair)| std::fs::read_to_string(format!("/sys/class/net/{pair}/mtu")).unwrap())
        .collect();
    assert_eq!(ends, ["1400\n", "1400\n"]);
    let asked = |guest: &Guest<'_>| {
        guest.shell(
            "printf '#!/bin/sh\\necho told=$mtu.\\n' >/tmp/told; chmod +x /tmp/told; \
             udhcpc -i internet -n -q -f -O mtu -s /tmp/told 2>&1",
        )
    };
    assert!(asked(&web).contains("told=1400."), "{}", asked(&web));
    assert!(asked(&other).contains("told=."), "{}", asked(&other));
}

fn root_guests_know_each_other_by_name_where_they_may(lab: &Lab) {
    let mut outside = Outside::new();
    outside.serve_names(lab);
    // It reads that file when it begins.
    lab.manager().host_down().must("host down");
    lab.manager().host_up().must("host up");
    let (open, shut, asker) = (lab.busybox("open"), lab.busybox("shut"), lab.busybox("asker"));
    open.create_from(&open.file().keys("network.enableNat = true; network.isolated = false;"));
    shut.create_from(&shut.file().keys("network.enableNat = true;"));
    asker.create_from(&asker.file().keys("network.enableNat = true;"));
    asker.start();
    await_internet(&asker, "10.202.0.12");
    let name = |guest: &Guest<'_>| format!("{}.containers", guest.name());
    // By the server that DHCP gave, each bridge with its own addresses.
    for (server, of_open, of_host) in
        [("", "10.202.0.10", "10.202.0.1"), ("10.101.0.1", "10.101.0.2", "10.101.0.1")]
    {
        eventually("an open one is known", SOON, || guest_asks(&asker, &name(&open), server) == [of_open]);
        assert_eq!(guest_asks(&asker, &name(&shut), server), ["NXDOMAIN"]);
        assert_eq!(guest_asks(&asker, "host.containers", server), [of_host]);
        // The bare name, to whom no search domain helps.
        if server.is_empty() {
            assert_eq!(guest_asks(&asker, open.name().as_str(), server), [of_open]);
            assert_ne!(guest_asks(&asker, shut.name().as_str(), server), ["10.202.0.11"]);
        }
    }
    assert_eq!(guest_asks(&asker, "example.org", ""), ["203.0.113.7"]);
    assert_eq!(guest_asks(&asker, "example.org", "10.101.0.1"), ["REFUSED"]);
    // The host knows all, and asks nobody else there.
    assert_eq!(ask(&name(&open), "127.0.0.101"), ["10.101.0.2"]);
    assert_eq!(ask(&name(&shut), "127.0.0.101"), ["10.101.0.3"]);
    assert_eq!(ask("example.org", "127.0.0.101"), ["REFUSED"]);
    // Names follow the generation.
    shut.update(&shut.file().version("2").keys("network.enableNat = true; network.isolated = false;"));
    eventually("it is open now", SOON, || guest_asks(&asker, &name(&shut), "") == ["10.202.0.11"]);
    shut.container().rollback(&mut ()).must("rollback");
    eventually("it is shut again", SOON, || guest_asks(&asker, &name(&shut), "") == ["NXDOMAIN"]);
    open.destroy();
    eventually("it is gone", SOON, || {
        guest_asks(&asker, &name(&open), "") == ["NXDOMAIN"]
            && ask(&name(&open), "127.0.0.101") == ["NXDOMAIN"]
    });
    assert_eq!(guest_asks(&asker, &name(&open), "10.101.0.1"), ["NXDOMAIN"]);
    asker.stop();
}

fn root_names_that_dns_takes_for_each_other_are_refused(lab: &Lab) {
    let web = lab.busybox("fld_1");
    web.create();
    let create = |name: &str| {
        let container = lab.manager().container(name.parse().unwrap());
        chain(&container.create(&web.request(&web.file()), &mut ()).unwrap_err())
    };
    for (from, to) in [("fld", "FLD"), ("_", "-")] {
        let name = web.name().as_str().replacen(from, to, 1);
        let said = create(&name);
        assert!(said.contains("would answer for each other"), "{said}");
        assert!(!lab.path("/var/lib/lxc").join(&name).exists());
    }
    for name in ["host", "Host", "LOCALHOST"] {
        let said = create(name);
        assert!(said.contains("a name of the host"), "{said}");
    }
    assert_eq!(ask("host.containers", "127.0.0.101"), ["10.101.0.1"]);
    web.destroy();
    lab.assert_nothing_left();
}

/// The host believes for 40 s that an address is where it was.
fn root_a_new_container_on_a_reused_address_is_reached_at_once(lab: &Lab) {
    let six = "fd00:7::2";
    ip("addr add fd00:7::1/64 dev brNC-hostonly nodad");
    let keys = format!("network.enableNat = true; network.ip6 = \"{six}/64\";");
    let reached = |guest: &Guest<'_>| {
        let inside = Space::of(guest.init());
        inside.ip("addr replace 10.202.0.10/16 dev internet");
        let free = || {
            let shown = inside.ip("-6 addr show dev hostonly");
            shown.contains(six) && !shown.contains("tentative")
        };
        eventually("its addresses are known to be free", SOON, free);
        let pinged = ["10.101.0.2", "10.202.0.10", six].map(|address| {
            let said = out("busybox", &["ping", "-c1", "-W3", address]);
            (address, said.contains(" 0% packet loss"))
        });
        assert!(pinged.iter().all(|(_, reached)| *reached), "{}: {pinged:?}", guest.name());
    };
    for name in ["one", "two"] {
        let guest = lab.busybox(name);
        guest.create_from(&guest.file().keys(&keys));
        guest.start();
        reached(&guest);
        guest.terminate();
        guest.destroy();
        // What the host remembers of it goes with it.
        let left = ip("neigh show") + &ip("-6 neigh show");
        let its = |line: &&str| line.contains(" lladdr 02:4e:") || line.contains(" lladdr 06:4e:");
        assert_eq!(left.lines().filter(its).collect::<Vec<_>>(), [""; 0]);
    }
    // One whose MAC address changes.
    let guest = lab.busybox("three");
    guest.create_from(&guest.file().keys(&keys));
    guest.start();
    reached(&guest);
    guest.update(&guest.file().version("2").keys(&format!("{keys} network.isolated = false;")));
    guest.stop();
    guest.start();
    reached(&guest);
    guest.stop();
}

/// dnsmasq remembers for an hour who had it.
fn root_an_address_that_was_given_back_is_leased_again(lab: &Lab) {
    let nat = |guest: &Guest<'_>| {
        guest.create_from(&guest.file().keys("network.enableNat = true;"));
        guest.start();
        await_internet(guest, "10.202.0.10");
        guest.terminate();
        guest.destroy();
    };
    nat(&lab.busybox("one"));
    nat(&lab.busybox("two"));
    lab.assert_nothing_left();
}

/// With the clients of systemd-networkd: busybox has none for DHCPv6.
fn root_ipv6_by_router_advertisement_and_dhcp(lab: &Lab) {
    let outside = Outside::new();
    let manager = lab.manager_with(|config| config.network.internet.ipv6 = Some(prefix()));
    manager.host_up().must("host up");
    let web = lab.guest("web", Kind::Systemd);
    let file = web.file().keys("network.enableNat = true;").module(
        r#"environment.etc."systemd/network/internet.network".text = "[Match]\nName=internet\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n";
    systemd.services.networkd = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.ReadOnlyPaths = "/sys";
      script = "exec /usr/lib/systemd/systemd-networkd";
    };"#,
    );
    manager.container(web.name().clone()).create(&web.request(&file), &mut ()).must("create");
    web.start_by(&manager);
    let addresses = || web.sh("ip -6 -o address show dev internet scope global").text();
    eventually("its IPv6 address", SOON, || addresses().contains(" 2001:db8:1::a/128 "));
    // The one that we know, and none that it made itself.
    assert_eq!(addresses().lines().count(), 1, "{}", addresses());
    assert!(web.shell("ip -6 route").contains("default via fe80::"));
    let servers = || web.sh("cat /run/systemd/netif/links/*").text();
    eventually("its name servers", SOON, || {
        servers().lines().any(|line| line.starts_with("DNS=") && line.contains("2001:db8:1::1"))
    });
    assert_eq!(guest_asks(&web, "host.containers", "2001:db8:1::1"), ["10.202.0.1", "2001:db8:1::1"]);
    eventually("a ping from outside", SOON, || {
        outside
            .space
            .run(|| out("busybox", &["ping6", "-c1", "-W1", "2001:db8:1::a"]))
            .contains(" 0% packet loss")
    });
    let shown = manager.container(web.name().clone()).all_addresses().must("all addresses");
    assert!(
        shown
            .iter()
            .any(|at| at.address.to_string() == "2001:db8:1::a/128" && at.live && at.origin == Origin::Dhcp)
    );
    assert!(web.sh("ping6 -c1 -W2 2001:db8:f::2").exit.success());
    web.stop();
    // The same after a restart.
    web.start_by(&manager);
    eventually("its IPv6 address again", SOON, || addresses().contains(" 2001:db8:1::a/128 "));
    web.terminate();
}

fn resolvers(manager: &Manager) -> Vec<(String, Verdict, String)> {
    let findings = manager.host_check().into_iter();
    findings
        .filter(|finding| finding.part == Part::Resolver)
        .map(|finding| (finding.name, finding.verdict, finding.what))
        .collect()
}

fn all_good(manager: &Manager) -> bool {
    let found = resolvers(manager);
    assert_eq!(found.len(), 3, "{found:?}");
    found.iter().all(|(_, verdict, _)| *verdict == Verdict::Good)
}

fn folder(lab: &Lab) -> PathBuf {
    lab.path("/var/lib/nixcloud/container/resolvers")
}

fn pid(lab: &Lab, resolver: &str) -> i32 {
    fs::read_to_string(folder(lab).join(format!("{resolver}.pid"))).unwrap().trim().parse().unwrap()
}

fn kill(pid: i32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn parent(pid: i32) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}

fn root_a_dnsmasq_that_dies_comes_back(lab: &Lab) {
    assert!(all_good(lab.manager()));
    let before = pid(lab, "internet");
    kill(before);
    eventually("it is started again", SOON, || all_good(lab.manager()) && pid(lab, "internet") != before);
    assert_eq!(ask("host.containers", "10.202.0.1"), ["10.202.0.1"]);
    // None of them runs with the rights of root.
    let status = fs::read_to_string(format!("/proc/{}/status", pid(lab, "hostonly"))).unwrap();
    assert!(status.lines().any(|line| line.starts_with("Uid:\t65534\t")), "{status}");
    // Its supervisor as well: that is told, and `host up` mends it.
    kill(parent(pid(lab, "internet")));
    eventually("its end is noticed", SOON, || {
        resolvers(lab.manager()).iter().all(|(_, verdict, what)| {
            *verdict == Verdict::Wrong && what.contains("nobody would start it again")
        })
    });
    lab.manager().host_up().must("host up");
    assert!(all_good(lab.manager()));
    let before = pid(lab, "host");
    kill(before);
    eventually("it is started again", SOON, || all_good(lab.manager()) && pid(lab, "host") != before);
}

/// It is there, has its address, and does nothing.
fn root_a_dnsmasq_that_was_stopped_is_seen_and_replaced(lab: &Lab) {
    let stop = |pid: i32| {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGSTOP).unwrap();
    };
    let pids = || ["hostonly", "internet", "host"].map(|resolver| pid(lab, resolver));
    let before = pids();
    before.into_iter().for_each(stop);
    let found = resolvers(lab.manager());
    assert!(
        found.iter().all(|(_, verdict, what)| *verdict == Verdict::Wrong && what.contains("does not answer")),
        "{found:?}"
    );
    let changes = lab.manager().host_up().must("host up");
    let mended = changes.iter().filter(|change| change.part == Part::Resolver);
    assert!(mended.clone().all(|change| change.change == Change::Mended), "{changes:?}");
    assert_eq!(mended.count(), 3);
    assert!(all_good(lab.manager()));
    assert!(pids().iter().all(|pid| !before.contains(pid)));
    assert_eq!(ask("host.containers", "10.202.0.1"), ["10.202.0.1"]);
    // Nor does a supervisor that was stopped.
    stop(parent(pid(lab, "internet")));
    let found = resolvers(lab.manager());
    assert!(found.iter().all(|(_, _, what)| what.contains("nobody would start it again")), "{found:?}");
    lab.manager().host_up().must("host up");
    assert!(all_good(lab.manager()));
}

fn root_host_down_leaves_no_dnsmasq(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("network.enableNat = true;"));
    let pids = ["hostonly", "internet", "host"].map(|resolver| pid(lab, resolver));
    let changes = |changes: Vec<nixcloud_container::HostChange>| -> Vec<Change> {
        let ours = changes.into_iter().filter(|change| change.part == Part::Resolver);
        ours.map(|change| change.change).collect()
    };
    assert_eq!(changes(lab.manager().host_up().must("up")), [Change::Kept; 3]);
    assert_eq!(["hostonly", "internet", "host"].map(|resolver| pid(lab, resolver)), pids);
    // Another configuration: that one alone begins anew.
    let other = lab.manager_with(|config| config.network.internet.ipv6 = Some(prefix()));
    assert_eq!(changes(other.host_up().must("up")), [Change::Kept, Change::Mended, Change::Kept]);
    assert!(all_good(&other) && !all_good(lab.manager()));
    assert_eq!(changes(other.host_down().must("down")), [Change::Removed; 3]);
    assert!(!folder(lab).exists());
    let left = crate::harness::leaks::neighbours();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(changes(other.host_down().must("down")), [Change::Absent; 3]);
    // What changes meanwhile is known when it is up again.
    web.destroy();
    let db = lab.busybox("db");
    db.create();
    assert!(!folder(lab).exists());
    lab.manager().host_up().must("up");
    assert_eq!(ask(&format!("{}.containers", db.name()), "127.0.0.101"), ["10.101.0.2"]);
    assert_eq!(ask(&format!("{}.containers", web.name()), "127.0.0.101"), ["NXDOMAIN"]);
}

fn root_a_foreign_server_on_all_addresses_is_told(lab: &Lab) {
    lab.manager().host_down().must("host down");
    // The one thing that dnsmasq on a bridge cannot live beside.
    let foreign = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53)).unwrap();
    let error = lab.manager().host_up().unwrap_err();
    assert!(chain(&error).contains("dnsmasq does not start on 10.101.0.1: "), "{}", chain(&error));
    assert!(chain(&error).contains("in use"), "{}", chain(&error));
    assert!(error.hint().is_some_and(|hint| hint.contains("listens on all addresses")), "{error:?}");
    let found = resolvers(lab.manager());
    assert!(
        found.iter().any(|(_, verdict, what)| *verdict == Verdict::Wrong && what.contains("in use")),
        "{found:?}"
    );
    let check = lab.manager().host_check();
    let mends: Vec<String> =
        check.into_iter().filter_map(|finding| Some(finding.mend?.to_string())).collect();
    assert!(mends.iter().any(|mend| mend.contains("listens on all addresses")), "{mends:?}");
    drop(foreign);
    lab.manager().host_up().must("host up");
    assert!(all_good(lab.manager()));
}

fn prefix() -> nixcloud_container::config::Ipv6Config {
    nixcloud_container::config::Ipv6Config::new("2001:db8:1::1/64".parse().unwrap())
}
