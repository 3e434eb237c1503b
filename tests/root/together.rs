//! All that the networks of a host do, on one guest at once, and what a hostile neighbour makes of it.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;

use nixcloud_container::{Part, State, StopRequest, Verdict};

use crate::harness::frames::{BROADCAST, Mac, Tap, dhcp, ip4};
use crate::harness::space::{Echo, PORT, Space, run};
use crate::harness::{Guest, Kind, Lab, Must, chain, eventually, scenarios};
use crate::names::{Outside, SOON, await_internet, guest_asks};

scenarios! {
    once: [
        root_a_guest_does_not_speak_for_another_by_dhcp,
        root_an_address_stays_with_the_guest_that_uses_it,
    ],
    both: [root_everything_together],
}

/// What a container of ours is to be able to do, and what not, each time that something has happened to it.
struct Whole<'l> {
    lab: &'l Lab,
    web: Guest<'l>,
    other: Guest<'l>,
    outside: Outside,
}

impl Whole<'_> {
    /// DHCP, NAT, names, a port of the host, isolation.
    fn holds(&self, when: &str) {
        let Self { lab, web, other, outside } = self;
        await_internet(web, "10.202.0.10");
        await_internet(other, "10.202.0.11");
        let owner =
            fs::read_to_string(lab.path("/var/lib/nixcloud/container/addresses/10.202.0.10")).unwrap();
        assert_eq!(owner.trim(), web.name().as_str(), "{when}");
        assert_eq!(guest_asks(web, "example.org", ""), ["203.0.113.7"], "{when}");
        assert_eq!(guest_asks(web, "host.containers", ""), ["10.202.0.1"], "{when}");
        let (inside, second) = (Space::of(web.init()), Space::of(other.init()));
        let _echoes = [&outside.space, &inside, &second].map(|space| Echo::start(space, PORT));
        assert_eq!(inside.tcp("192.0.2.2:7").as_deref(), Some("192.0.2.1"), "{when}: out by NAT");
        assert_eq!(inside.udp("192.0.2.2:7").as_deref(), Some("192.0.2.1"), "{when}: out by NAT");
        assert_eq!(outside.space.tcp("192.0.2.1:8080").as_deref(), Some("192.0.2.2"), "{when}: the port");
        self.is_isolated(&inside, &second, when);
        let wrong: Vec<_> = lab
            .manager()
            .host_check()
            .into_iter()
            .filter(|finding| finding.verdict == Verdict::Wrong && finding.part != Part::Limit)
            .collect();
        assert!(wrong.is_empty(), "{when}: {wrong:?}");
    }

    /// From neither guest is anything of the other reached; their own network works.
    fn is_isolated(&self, inside: &Space, second: &Space, when: &str) {
        let hostonly =
            |guest: &Guest<'_>| if guest.name() == self.web.name() { "10.101.0.2" } else { "10.101.0.3" };
        // All at once: each takes as long as an answer may.
        thread::scope(|scope| {
            for (from, addresses) in [
                (inside, ["10.202.0.11", hostonly(&self.other)]),
                (second, ["10.202.0.10", hostonly(&self.web)]),
            ] {
                for address in addresses {
                    let to = format!("{address}:7");
                    scope.spawn(move || {
                        assert_eq!((from.udp(&to), from.tcp(&to)), (None, None), "{when}: {to}");
                    });
                }
                // Nor by the port that leads to it from outside.
                scope.spawn(move || assert_eq!(from.tcp("192.0.2.1:8080"), None, "{when}: by the port"));
            }
        });
        let here = Space::here();
        assert!(
            here.tcp("10.202.0.10:7").is_some() && here.tcp("10.101.0.3:7").is_some(),
            "{when}: the host"
        );
    }
}

fn root_everything_together(lab: &Lab, kind: Kind) {
    let mut outside = Outside::new();
    outside.serve_names(lab);
    // Our name server reads where to ask when it begins.
    lab.manager().host_down().must("host down");
    lab.manager().host_up().must("host up");
    let (web, other) = (lab.guest("web", kind), lab.busybox("other"));
    let forwards = "network.forwards = [ { hostPort = 8080; containerPort = 7; } ];";
    web.create_from(&web.file().keys(&format!("network.enableNat = true; {forwards}")));
    other.create_from(&other.file().keys("network.enableNat = true;"));
    web.start();
    other.start();
    let whole = Whole { lab, web, other, outside };
    whole.holds("at first");

    let web = &whole.web;
    let init = web.init();
    web.shell(match kind {
        Kind::Busybox => "rm /run/greeting; kill -INT 1",
        Kind::Systemd => "kill -INT 1",
    });
    eventually("it rebooted", SOON, || {
        web.state() == State::Running && web.container().status().must("status").init_pid != Some(init)
    });
    web.await_version();
    whole.holds("after a reboot from inside");

    run("nft", "flush ruleset");
    let (inside, second) = (Space::of(web.init()), Space::of(whole.other.init()));
    let echoes = [&inside, &second].map(|space| Echo::start(space, PORT));
    whole.is_isolated(&inside, &second, "without a table");
    drop((echoes, inside, second));
    let check = lab.manager().host_check();
    let flushed = |finding: &nixcloud_container::Finding| {
        finding.part == Part::Filter && finding.verdict == Verdict::Wrong
    };
    assert!(check.iter().any(flushed), "{check:?}");
    lab.manager().host_up().must("host up");
    whole.holds("after the rules were flushed");

    let Whole { web, other, outside, .. } = whole;
    for guest in [&web, &other] {
        guest.terminate();
        guest.destroy();
    }
    assert!(!run("nft", "list ruleset").contains("8080"));
    drop(outside);
    lab.assert_nothing_left();
}

/// dnsmasq gives an address that its client declines to nobody for ten minutes; the client is who the message says.
fn root_a_guest_does_not_speak_for_another_by_dhcp(lab: &Lab) {
    let (bad, web) = (lab.busybox("bad"), lab.busybox("web"));
    for guest in [&bad, &web] {
        guest.create_from(&guest.file().keys("network.enableNat = true;"));
    }
    bad.start();
    await_internet(&bad, "10.202.0.10");
    let config = web.config();
    let line = config.lines().find_map(|line| line.strip_prefix("lxc.net.1.hwaddr = ")).unwrap();
    let bytes: Vec<u8> = line.split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    let theirs: Mac = bytes.try_into().unwrap();
    let (host, address) = (Ipv4Addr::new(10, 202, 0, 1), Ipv4Addr::new(10, 202, 0, 11));
    let tap = Tap::of(bad.init(), "internet");
    // The cookie; a decline, of this address, to this server.
    let options =
        [&[99, 130, 83, 99, 53, 1, 4, 50, 4][..], &address.octets(), &[54, 4], &host.octets(), &[255]];
    let message = dhcp(theirs, &options.concat());
    let bridge = Tap::here("brNC-internet");
    for (source, target) in
        [(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST), (Ipv4Addr::new(10, 202, 0, 10), host)]
    {
        tap.send(&ip4((BROADCAST, tap.mac), source, target, 17, &message));
        tap.send(&ip4((bridge.mac, tap.mac), source, target, 17, &message));
    }
    web.start();
    await_internet(&web, "10.202.0.11");
    for guest in [&bad, &web] {
        guest.terminate();
    }
}

/// What a running guest was booted with is nobody else's before it ends, whatever its newest generation says.
fn root_an_address_stays_with_the_guest_that_uses_it(lab: &Lab) {
    let (old, new) = (lab.busybox("old"), lab.busybox("new"));
    let at = |guest: &Guest<'_>, number: u8| {
        guest
            .file()
            .keys(&format!("network.ip = \"10.101.7.{number}\"; network.ip6 = \"fd00:7::{number}/64\";"))
    };
    old.create_from(&at(&old, 1));
    old.start();
    old.update(&at(&old, 2).version("2"));
    let taken = new.try_create(&at(&new, 1)).unwrap_err();
    assert_eq!(chain(&taken), format!("address 10.101.7.1 belongs to container `{}`", old.name()));
    // Nor by a reboot from inside, which changes nothing of its port.
    old.container().stop_with(&StopRequest::new().with_reboot(true)).must("reboot");
    old.await_version();
    old.update(&at(&old, 2).version("3"));
    assert!(new.try_create(&at(&new, 1)).is_err());
    // From its end on it is free, also where it ended by itself.
    old.stop();
    old.start();
    new.create_from(&at(&new, 1));
    new.start();
    assert!(old.pings() && new.pings());
    for guest in [&old, &new] {
        guest.terminate();
        guest.destroy();
    }
    lab.assert_nothing_left();
}
