//! Networks seen from outside: who reaches whom through the host, ports of the host, firewalls of others beside ours.

use std::fs;
use std::time::Duration;

use nixcloud_container::{
    Change, Error, Finding, HostChange, Manager, Part, Remedy, RunRequest, Verdict, config::Ipv6Config,
};

use crate::harness::space::{Echo, PORT, Space, ip, run};
use crate::harness::{Guest, Kind, Lab, Must, chain, eventually, scenarios};
use crate::names::guest_asks;

scenarios! {
    once: [
        root_only_enable_nat_leads_out_and_only_it_is_masqueraded,
        root_hostonly_is_not_forwarded_and_leads_to_one_address_of_the_host,
        root_ipv6_reaches_guests_and_back,
        root_a_forward_drop_of_others_is_passed_and_cleaned_up,
        root_a_forward_drop_of_the_old_iptables_is_passed,
        root_bridged_frames_and_the_hosts_services_pass_a_closed_firewall,
        root_a_flushed_ruleset_is_noticed_and_mended,
        root_host_down_leaves_nothing,
        root_parts_fail_alone_and_two_ups_agree,
        root_a_router_still_takes_advertisements,
        root_the_unit_follows_the_firewall,
    ],
    both: [],
}

pub const OUTSIDE: &str = "192.0.2.1:7";

/// The internet: a namespace behind the host's interface `up0`.
pub fn internet() -> Space {
    let space = Space::new("up0", "in0");
    ip("addr add 192.0.2.2/24 dev up0");
    ip("addr add 2001:db8:9::2/64 dev up0 nodad");
    space.ip("addr add 192.0.2.1/24 dev in0");
    space.ip("addr add 2001:db8:9::1/64 dev in0 nodad");
    ip("route add default via 192.0.2.1");
    ip("route add default via 2001:db8:9::1");
    // It knows the way to everything of the host: what does not arrive is not let through.
    for network in ["10.101.0.0/16", "10.202.0.0/16", "172.20.0.0/24"] {
        space.ip(&format!("route add {network} via 192.0.2.2"));
    }
    space.ip("route add 2001:db8:1::/64 via 2001:db8:9::2");
    space
}

/// What its DHCP client would do in a guest with `enableNat`.
pub fn lease(guest: &Space, address: &str) {
    guest.ip(&format!("addr replace {address}/16 dev internet"));
    guest.ip("route replace default via 10.202.0.1");
}

pub fn with_nat<'l>(lab: &'l Lab, name: &str, more: &str) -> Guest<'l> {
    let guest = lab.busybox(name);
    guest.create_from(&guest.file().keys(&format!("network.enableNat = true; {more}")));
    guest
}

pub fn end(guests: &[&Guest<'_>]) {
    for guest in guests {
        guest.terminate();
        guest.destroy();
    }
    ip("link del up0");
}

fn root_only_enable_nat_leads_out_and_only_it_is_masqueraded(lab: &Lab) {
    let internet = internet();
    let _echo = Echo::start(&internet, PORT);
    let out = with_nat(lab, "out", "");
    let inside = Space::of(out.start());
    lease(&inside, "10.202.0.10");
    assert_eq!(inside.tcp(OUTSIDE).as_deref(), Some("192.0.2.2"));
    assert_eq!(inside.udp(OUTSIDE).as_deref(), Some("192.0.2.2"));
    // An address that is not of its network does not get out, with whatever name.
    inside.ip("addr add 172.20.0.9/24 dev internet");
    assert_eq!(inside.udp_from("172.20.0.9", OUTSIDE), None);

    // Others of the host are seen as who they are: a network of somebody else's, and the host itself.
    let lan = Space::new("lan0", "in1");
    ip("link add other0 type bridge");
    ip("link set other0 up");
    ip("link set lan0 master other0");
    ip("addr add 172.20.0.1/24 dev other0");
    lan.ip("addr add 172.20.0.2/24 dev in1");
    lan.ip("route add default via 172.20.0.1");
    assert_eq!(lan.tcp(OUTSIDE).as_deref(), Some("172.20.0.2"));
    let here = Space::here();
    assert_eq!(here.udp_from("172.20.0.1", OUTSIDE).as_deref(), Some("172.20.0.1"));
    assert_eq!(here.udp_from("10.202.0.1", OUTSIDE).as_deref(), Some("10.202.0.1"));

    // Nobody outside reaches it, unless it asked.
    let _own = Echo::start(&inside, PORT);
    assert_eq!(internet.tcp("10.202.0.10:7"), None);
    assert!(here.tcp("10.202.0.10:7").is_some(), "the host itself does");
    assert_eq!(lan.tcp("10.202.0.10:7"), None);
    ip("link del lan0");
    ip("link del other0");
    drop(_own);
    drop(inside);
    end(&[&out]);
}

fn root_hostonly_is_not_forwarded_and_leads_to_one_address_of_the_host(lab: &Lab) {
    let internet = internet();
    let here = Space::here();
    let (_there, _own) = (Echo::start(&internet, PORT), Echo::start(&here, PORT));
    let web = lab.busybox("web");
    web.boot();
    let inside = Space::of(web.init());
    inside.ip("route add default via 10.101.0.1");
    assert_eq!(inside.tcp(OUTSIDE), None);
    assert_eq!(inside.udp(OUTSIDE), None);
    let address = web.address();
    assert_eq!(inside.tcp("10.101.0.1:7"), Some(address.to_string()));
    for other in ["10.202.0.1:7", "192.0.2.2:7"] {
        assert_eq!(inside.tcp(other), None, "{other}");
    }
    let _guests = Echo::start(&inside, PORT);
    let to = format!("{address}:7");
    assert_eq!(internet.tcp(&to), None);
    assert_eq!(here.tcp(&to).as_deref(), Some("10.101.0.1"));
    // Nor is there a way around, from one bridge to the other or from guest to guest by way of the host.
    let out = with_nat(lab, "out", "");
    let second = Space::of(out.start());
    lease(&second, "10.202.0.10");
    second.ip("addr del 10.101.0.3/16 dev hostonly");
    assert_eq!(second.tcp(&to), None);
    let next = lab.busybox("next");
    next.boot();
    let third = Space::of(next.init());
    third.ip(&format!("route add {address}/32 via 10.101.0.1"));
    assert_eq!(third.tcp(&to), None);
    drop((_guests, inside, second, third));
    end(&[&web, &out, &next]);
}

/// A host to which a prefix is routed.
pub fn with_ipv6(lab: &Lab) -> Manager {
    lab.manager_with(|config| {
        config.network.internet.uplink = Some("up0".parse().unwrap());
        config.network.internet.ipv6 = Some(Ipv6Config::new("2001:db8:1::1/64".parse().unwrap()));
    })
}

/// What router advertisement and DHCPv6 do in a guest.
pub fn lease6(guest: &Space) {
    guest.ip("addr add 2001:db8:1::a/64 dev internet nodad");
    guest.ip("route replace default via 2001:db8:1::1");
    // Without a link-local address nobody asks for neighbours.
    let tentative = || ip("-6 addr show tentative").contains("inet6");
    eventually("all addresses are known to be free", Duration::from_secs(10), || !tentative());
}

fn root_ipv6_reaches_guests_and_back(lab: &Lab) {
    let internet = internet();
    let _echo = Echo::start(&internet, PORT);
    let manager = with_ipv6(lab);
    manager.host_up().must("host up");
    assert!(manager.host_check().iter().all(|finding| finding.verdict != Verdict::Wrong));
    let out = with_nat(lab, "out", "");
    let inside = Space::of(out.start_by(&manager));
    let _own = Echo::start(&inside, PORT);
    lease6(&inside);
    lease(&inside, "10.202.0.10");
    assert_eq!(inside.tcp("[2001:db8:9::1]:7").as_deref(), Some("2001:db8:1::a"), "no NAT");
    assert_eq!(internet.tcp("[2001:db8:1::a]:7").as_deref(), Some("2001:db8:9::1"));
    assert_eq!(internet.udp("[2001:db8:1::a]:7").as_deref(), Some("2001:db8:9::1"));
    assert_eq!(inside.tcp(OUTSIDE).as_deref(), Some("192.0.2.2"));
    // The way out is the uplink alone.
    let lan = Space::new("lan0", "in1");
    ip("addr add 172.20.0.1/24 dev lan0");
    lan.ip("addr add 172.20.0.2/24 dev in1");
    lan.ip("route add default via 172.20.0.1");
    let _lan = Echo::start(&lan, PORT);
    assert_eq!(inside.tcp("172.20.0.2:7"), None);
    ip("link del lan0");
    drop((_own, inside));
    end(&[&out]);
}

fn root_a_forward_drop_of_others_is_passed_and_cleaned_up(lab: &Lab) {
    beside_iptables(lab, "iptables-nft", "ip6tables-nft");
}

fn root_a_forward_drop_of_the_old_iptables_is_passed(lab: &Lab) {
    beside_iptables(lab, "iptables-legacy", "ip6tables-legacy");
}

/// What Docker does beside us, and what becomes of it.
fn beside_iptables(lab: &Lab, four: &str, six: &str) {
    let internet = internet();
    let _echo = Echo::start(&internet, PORT);
    let out = with_nat(lab, "out", "network.forwards = [ { hostPort = 9090; containerPort = 7; } ];");
    let inside = Space::of(out.start());
    lease(&inside, "10.202.0.10");
    let _own = Echo::start(&inside, PORT);
    let manager = lab.manager();
    for words in
        ["-N DOCKER-USER", "-A DOCKER-USER -j RETURN", "-P FORWARD DROP", "-A FORWARD -j DOCKER-USER"]
    {
        run(four, words);
    }
    run(four, "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT");
    run(six, "-P FORWARD DROP");
    let before = (run(four, "-S"), run(six, "-S"));
    assert_eq!(inside.tcp(OUTSIDE), None, "{four} drops it");
    let wrong: Vec<Finding> =
        manager.host_check().into_iter().filter(|f| f.verdict == Verdict::Wrong).collect();
    assert!(wrong.iter().all(|finding| finding.part == Part::Firewall) && wrong.len() == 2, "{wrong:?}");

    let changes = manager.host_up().must("up");
    let added = changes.iter().filter(|change| change.part == Part::Firewall);
    assert_eq!(added.map(|change| change.change).collect::<Vec<_>>(), [Change::Made; 2]);
    assert_eq!(run(four, "-S").matches("--comment nixcloud-container").count(), 1);
    assert_eq!(inside.tcp(OUTSIDE).as_deref(), Some("192.0.2.2"), "{four}");
    assert_eq!(internet.tcp("192.0.2.2:9090").as_deref(), Some("192.0.2.1"), "{four}");
    assert_eq!(internet.tcp("10.202.0.10:7"), None, "our own table still decides");
    assert!(manager.host_check().iter().all(|finding| finding.verdict != Verdict::Wrong));
    let kept = |change: &HostChange| change.change == Change::Kept;
    assert!(manager.host_up().must("up").iter().all(kept));

    // Somebody takes it away; then the policy itself goes.
    run(four, "-F FORWARD");
    assert!(manager.host_up().must("up").iter().any(|change| change.change == Change::Mended));
    assert_eq!(inside.tcp(OUTSIDE).as_deref(), Some("192.0.2.2"), "{four}");
    run(four, "-A FORWARD -j DOCKER-USER");
    run(four, "-A FORWARD -i docker0 ! -o docker0 -j ACCEPT");
    out.terminate();
    manager.host_down().must("down");
    assert_eq!((run(four, "-S"), run(six, "-S")), before);
    manager.host_up().must("up");
    run(four, "-P FORWARD ACCEPT");
    run(six, "-P FORWARD ACCEPT");
    let gone = manager.host_up().must("up");
    let gone = gone.iter().filter(|change| change.part == Part::Firewall);
    assert_eq!(gone.map(|change| change.change).collect::<Vec<_>>(), [Change::Removed; 2]);
    drop((_own, inside));
    out.destroy();
    ip("link del up0");
}

/// `bridge-nf-call-iptables`, which Docker sets, shows netfilter what a bridge passes from port to port; and a firewall
/// that lets nothing in would keep guests from name server and DHCP.
fn root_bridged_frames_and_the_hosts_services_pass_a_closed_firewall(lab: &Lab) {
    let guests = ["one", "two"].map(|name| lab.busybox(name));
    for guest in &guests {
        guest.create_from(&guest.file().keys("network.isolated = false;"));
    }
    let spaces = guests.each_ref().map(|guest| Space::of(guest.start()));
    fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "1").unwrap();
    let here = Space::here();
    let echoes = [Echo::start(&spaces[1], PORT), Echo::start(&here, PORT)];
    let to = format!("{}:7", guests[1].address());
    let seen = Some(guests[0].address().to_string());
    assert_eq!(spaces[0].tcp(&to), seen, "our own table lets it pass");
    for words in ["-P FORWARD DROP", "-P INPUT DROP", "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"]
    {
        run("iptables", words);
    }
    let host = || guest_asks(&guests[0], "host.containers", "10.101.0.1");
    assert_eq!((spaces[0].tcp(&to), spaces[0].connects("10.101.0.1:53")), (None, false));
    assert_ne!(host(), ["10.101.0.1"]);
    lab.manager().host_up().must("up");
    assert_eq!(spaces[0].tcp(&to), seen);
    assert!(spaces[0].connects("10.101.0.1:53"), "our dnsmasq, by TCP");
    assert_eq!(host(), ["10.101.0.1"]);
    assert_eq!(spaces[0].tcp("10.101.0.1:7"), None, "all else is the firewall's to decide");
    drop((echoes, spaces));
    for guest in &guests {
        guest.terminate();
        guest.destroy();
    }
}

fn root_a_flushed_ruleset_is_noticed_and_mended(lab: &Lab) {
    let internet = internet();
    let _echo = Echo::start(&internet, PORT);
    let out = with_nat(lab, "out", "network.forwards = [ { hostPort = 9090; containerPort = 7; } ];");
    let inside = Space::of(out.start());
    let init = out.init();
    lease(&inside, "10.202.0.10");
    let _own = Echo::start(&inside, PORT);
    assert!(inside.tcp(OUTSIDE).is_some() && internet.tcp("192.0.2.2:9090").is_some());
    let verdict = || {
        let findings = lab.manager().host_check();
        findings.into_iter().find(|finding| finding.part == Part::Filter).unwrap()
    };
    assert_eq!(verdict().verdict, Verdict::Good);
    // The first line of Debian's nftables.conf.
    run("nft", "flush ruleset");
    let found = verdict();
    assert_eq!((found.verdict, found.mend), (Verdict::Wrong, Some(Remedy::HostUp.into())));
    assert_eq!(internet.tcp("192.0.2.2:9090"), None);
    let told = lab.line("host check");
    assert!(told.code == 1 && told.stdout.contains("mend: `nixcloud-container host up`"), "{told:?}");
    lab.line("host up").done();
    assert_eq!(verdict().verdict, Verdict::Good);
    assert!(inside.tcp(OUTSIDE).is_some() && internet.tcp("192.0.2.2:9090").is_some());
    assert_eq!(out.init(), init);
    // A rule or an element that somebody takes away is missed, too.
    run("nft", "flush chain inet nixcloud-container through_the_host");
    assert_eq!(verdict().verdict, Verdict::Wrong);
    assert_eq!(filter(&lab.manager().host_up().must("up")), Change::Mended);
    run("nft", "flush map inet nixcloud-container tcp4");
    assert_eq!(verdict().verdict, Verdict::Wrong);
    assert_eq!(filter(&lab.manager().host_up().must("up")), Change::Mended);
    assert_eq!(filter(&lab.manager().host_up().must("up")), Change::Kept);
    drop((_own, inside));
    end(&[&out]);
}

pub fn filter(changes: &[HostChange]) -> Change {
    changes.iter().find(|change| change.part == Part::Filter).unwrap().change
}

/// All that a host has of networks: rules, interfaces with their addresses and routes, settings.
pub fn host() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (program, words) in
        [("nft", "list ruleset"), ("ip", "-o link"), ("ip", "-o addr"), ("ip", "route"), ("ip", "rule")]
    {
        all.extend(run(program, words).lines().map(str::to_owned));
    }
    let mut folders = vec![std::path::PathBuf::from("/proc/sys/net/ipv4"), "/proc/sys/net/ipv6".into()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(value) = fs::read_to_string(&path) {
                all.push(format!("{} = {}", path.display(), value.trim()));
            }
        }
    }
    all.sort();
    all
}

fn root_host_down_leaves_nothing(lab: &Lab) {
    let manager = with_ipv6(lab);
    manager.host_down().must("down");
    for (forwarding, redirects) in [("0", "1"), ("0", "0"), ("1", "0")] {
        fs::write("/proc/sys/net/ipv4/ip_forward", forwarding).unwrap();
        fs::write("/proc/sys/net/ipv4/conf/all/accept_redirects", redirects).unwrap();
        run("nft", "add table inet theirs");
        let before = host();
        manager.host_up().must("up");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
        assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/conf/brNC-internet/rp_filter").unwrap(), "1\n");
        assert_ne!(host(), before);
        manager.host_up().must("up");
        manager.host_down().must("down");
        let after = host();
        let differs: Vec<&String> = after.iter().filter(|line| !before.contains(line)).collect();
        assert!(differs.is_empty() && after.len() == before.len(), "{forwarding} {redirects}: {differs:#?}");
    }
    // Somebody who translates addresses counts on a host that forwards.
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    manager.host_up().must("up");
    run("nft", "add chain inet theirs nat { type nat hook postrouting priority 100 ; }");
    run("nft", "add rule inet theirs nat oifname docker0 masquerade");
    let down = manager.host_down().must("down");
    assert!(
        down.iter().any(|change| change.name == "net.ipv4.ip_forward" && change.change == Change::Foreign)
    );
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
    run("nft", "delete table inet theirs");
    // With a container attached it takes nothing away at all.
    lab.manager().host_up().must("up");
    let web = lab.busybox("web");
    web.boot();
    let before = host();
    let error = lab.manager().host_down().unwrap_err();
    let user = format!("is in use by container `{}` (nci-", web.name());
    assert!(error.to_string().contains(&user), "{}", chain(&error));
    assert_eq!(host(), before);
    web.terminate();
    web.destroy();
}

fn root_parts_fail_alone_and_two_ups_agree(lab: &Lab) {
    lab.manager().host_down().must("down");
    fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    let broken = lab.manager_with(|config| config.tools.nft = "/nowhere/nft".into());
    let error = broken.host_up().unwrap_err();
    let Error::HostParts { done, failures, .. } = &error else { panic!("{}", chain(&error)) };
    assert!(done.iter().filter(|change| change.part == Part::Bridge).count() == 2, "{done:?}");
    assert_eq!(failures.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [Part::Filter]);
    assert!(error.hint().unwrap().contains("nftables"), "{error}");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "0\n", "unguarded");
    let found = broken.host_check();
    assert!(found.iter().any(|finding| finding.part == Part::Filter && finding.verdict == Verdict::Wrong));
    broken.host_down().must("down");

    let manager = lab.manager();
    let outcomes: Vec<Vec<HostChange>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| manager.host_up().must("up"))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made = outcomes.iter().filter(|changes| filter(changes) == Change::Made).count();
    let kept = outcomes.iter().filter(|changes| filter(changes) == Change::Kept).count();
    assert_eq!((made, kept), (1, 3));
}

/// Forwarding for IPv6 would make the host deaf to the router that it has its own way out from.
fn root_a_router_still_takes_advertisements(lab: &Lab) {
    let router = Space::new("up0", "in0");
    router.ip("addr add 2001:db8:9::1/64 dev in0 nodad");
    let pid = lab.root().join("files/router.pid");
    router.run(|| {
        run(
            "dnsmasq",
            &format!(
                "--conf-file=/dev/null --port=0 --interface=in0 --bind-interfaces --enable-ra --user=root \
                 --dhcp-range=2001:db8:9::,ra-only,64,300 --ra-param=in0,4,300 --pid-file={}",
                pid.display()
            ),
        )
    });
    let has_route = || run("ip", "-6 route show default").contains("proto ra");
    eventually("an advertisement came", Duration::from_secs(30), has_route);
    let accepts = || fs::read_to_string("/proc/sys/net/ipv6/conf/up0/accept_ra").unwrap();
    assert_eq!(accepts(), "1\n");
    let manager = with_ipv6(lab);
    manager.host_up().must("up");
    assert_eq!(accepts(), "2\n");
    assert!(has_route(), "it was not thrown away");
    manager.host_down().must("down");
    assert_eq!(accepts(), "1\n");
    let pid = fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM).unwrap();
    ip("link del up0");
}

/// The unit that is shipped, under a real systemd, beside a firewall's unit that wipes and loads.
fn root_the_unit_follows_the_firewall(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.boot();
    let unit = include_str!("../../systemd/nixcloud-container-network.service");
    let ours = unit.replace("/usr/bin/nixcloud-container", "/run/says ours");
    let theirs = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/run/says theirs load\n\
                  ExecReload=/run/says theirs reload\nExecStop=/run/says theirs flush\n[Install]\n";
    let says = "#!/bin/sh\necho \"$*\" >>/run/said\n";
    let put = |path: &str, text: &str| {
        let request = RunRequest::new(["/bin/sh", "-c", &format!("cat >{path}")]);
        assert!(web.try_run(request, text.as_bytes()).must("run").exit.success());
    };
    put("/run/says", says);
    web.shell("chmod 755 /run/says");
    put("/run/systemd/system/nixcloud-container-network.service", &ours);
    put("/run/systemd/system/nftables.service", theirs);
    web.shell("systemctl daemon-reload && systemctl enable --runtime nixcloud-container-network.service");
    // What a unit only wants, systemctl does not wait for.
    let wait = "until systemctl list-jobs | grep -q '^No jobs'; do sleep 0.05; done";
    let said =
        |command: &str| web.shell(&format!("rm -f /run/said; systemctl {command}; {wait}; cat /run/said"));
    assert_eq!(said("start nftables"), "theirs load\nours host up");
    assert_eq!(said("reload nftables"), "theirs reload\nours host up");
    assert_eq!(said("restart nftables"), "theirs flush\ntheirs load\nours host up");
    assert_eq!(said("stop nftables"), "theirs flush");
    assert_eq!(said("start nftables"), "theirs load\nours host up");
    // Stopped by itself it takes nothing away.
    assert_eq!(said("stop nixcloud-container-network; touch /run/said"), "");
    web.terminate();
    web.destroy();
}
