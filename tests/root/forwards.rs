//! Ports of the host that lead to containers.

use std::fs;

use nixcloud_container::{Error, Event, Finding, Part, UpdateRequest, Verdict};

use crate::filter::{end, internet, lease, lease6, with_ipv6, with_nat};
use crate::harness::space::{Echo, PORT, Space, ip, run};
use crate::harness::{Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_ports_of_the_host_lead_to_containers,
        root_ports_of_the_host_by_ipv6,
        root_a_port_of_one_address_leads_from_it_alone,
        root_ports_come_and_go_with_generations,
        root_a_port_has_one_owner_and_listeners_are_noticed,
    ],
    both: [],
}

fn root_ports_of_the_host_lead_to_containers(lab: &Lab) {
    let internet = internet();
    let here = Space::here();
    let forwards = |port: u16| {
        format!(
            "network.forwards = [ {{ hostPort = {port}; containerPort = {PORT}; }} \
             {{ hostPort = {port}; containerPort = {PORT}; protocol = \"udp\"; }} ];"
        )
    };
    let web = lab.busybox("web");
    web.create_from(&web.file().keys(&forwards(8080)));
    let out = with_nat(lab, "out", &forwards(9090));
    let (inside, second) = (Space::of(web.start()), Space::of(out.start()));
    lease(&second, "10.202.0.10");
    let _echoes = (Echo::start(&inside, PORT), Echo::start(&second, PORT));
    // A guest without a way out answers to its host; one with NAT sees who asks.
    assert_eq!(internet.tcp("192.0.2.2:8080").as_deref(), Some("10.101.0.1"));
    assert_eq!(internet.udp("192.0.2.2:8080").as_deref(), Some("10.101.0.1"));
    assert_eq!(internet.tcp("192.0.2.2:9090").as_deref(), Some("192.0.2.1"));
    assert_eq!(internet.udp("192.0.2.2:9090").as_deref(), Some("192.0.2.1"));
    // The host by its own addresses, but not by the loopback; guests not at all.
    for address in ["192.0.2.2", "10.101.0.1"] {
        assert_eq!(here.tcp(&format!("{address}:8080")).as_deref(), Some("10.101.0.1"), "{address}");
    }
    assert!(here.tcp("192.0.2.2:9090").is_some() && here.udp("192.0.2.2:9090").is_some());
    // By its address on the other bridge as well: the guest there sends nothing to that network.
    for address in ["10.101.0.1", "10.202.0.1"] {
        assert!(here.tcp(&format!("{address}:9090")).is_some(), "{address}");
        assert!(here.udp(&format!("{address}:9090")).is_some(), "{address}");
    }
    assert_eq!(here.tcp("127.0.0.1:8080"), None);
    assert_eq!(second.tcp("192.0.2.2:8080"), None);
    assert_eq!(inside.tcp("10.101.0.1:9090"), None);
    // Ports beside them lead nowhere.
    assert_eq!(internet.tcp("192.0.2.2:7"), None);
    let check = lab.manager().host_check();
    let leads: Vec<&str> = check
        .iter()
        .filter(|finding| finding.part == Part::Forward)
        .map(|finding| finding.name.as_str())
        .collect();
    assert_eq!(leads, ["tcp-8080", "tcp-9090", "udp-8080", "udp-9090"]);
    drop((_echoes, inside, second));
    web.terminate();
    web.destroy();
    assert!(!run("nft", "list ruleset").contains("8080"));
    end(&[&out]);
}

fn root_ports_of_the_host_by_ipv6(lab: &Lab) {
    let internet = internet();
    let manager = with_ipv6(lab);
    manager.host_up().must("host up");
    let out = lab.busybox("out");
    let container = manager.container(out.name().clone());
    let file = out
        .file()
        .keys("network = { enableNat = true; forwards = [ { hostPort = 9090; containerPort = 7; } ]; };");
    container.create(&out.request(&file), &mut ()).must("create");
    let inside = Space::of(out.start_by(&manager));
    lease(&inside, "10.202.0.10");
    lease6(&inside);
    let _own = Echo::start(&inside, PORT);
    assert_eq!(internet.tcp("[2001:db8:9::2]:9090").as_deref(), Some("2001:db8:9::1"));
    assert_eq!(internet.tcp("192.0.2.2:9090").as_deref(), Some("192.0.2.1"));
    assert!(Space::here().tcp("[2001:db8:9::2]:9090").is_some());
    drop((_own, inside));
    out.terminate();
    container.destroy(nixcloud_container::DestroyRequest::default()).must("destroy");
    assert!(!run("nft", "list ruleset").contains("9090"));
    ip("link del up0");
}

fn root_a_port_of_one_address_leads_from_it_alone(lab: &Lab) {
    let internet = internet();
    ip("addr add 192.0.2.3/24 dev up0");
    let at = |address: &str| {
        format!(
            "network.forwards = [ {{ hostPort = 8080; containerPort = {PORT}; listen = \"{address}\"; }} ];"
        )
    };
    let all = format!("network.forwards = [ {{ hostPort = 8080; containerPort = {PORT}; }} ];");
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create_from(&web.file().keys(&at("192.0.2.2")));
    let first = Space::of(web.start());
    let _echo = Echo::start(&first, PORT);
    let asked = |address: &str| internet.tcp(&format!("{address}:8080"));
    assert!(asked("192.0.2.2").is_some());
    assert_eq!(asked("192.0.2.3"), None);
    // The port of the other address is another's to have, that of all addresses is not.
    let error = db.try_create(&db.file().keys(&all)).unwrap_err();
    let told = format!("tcp port 192.0.2.2:8080 of the host leads to container `{}` already", web.name());
    assert_eq!(chain(&error), told);
    let six = db.try_create(&db.file().keys(&at("2001:db8:9::2"))).unwrap_err();
    assert!(chain(&six).contains("of which no IPv6 address is known here"), "{}", chain(&six));
    db.create_from(&db.file().keys(&at("192.0.2.3")));
    let second = Space::of(db.start());
    assert_eq!(asked("192.0.2.3"), None, "nothing listens there yet");
    let _other = Echo::start(&second, PORT);
    assert!(asked("192.0.2.2").is_some() && asked("192.0.2.3").is_some());
    let error = web.try_update(&web.file().version("2").keys(&all)).unwrap_err();
    assert!(
        chain(&error).contains(&format!("leads to container `{}` already", db.name())),
        "{}",
        chain(&error)
    );
    assert!(asked("192.0.2.2").is_some());
    // An address that the host has no more.
    ip("addr del 192.0.2.3/24 dev up0");
    let findings = lab.manager().host_check();
    let wrong: Vec<&str> = findings
        .iter()
        .filter(|finding| finding.part == Part::Forward && finding.verdict == Verdict::Wrong)
        .map(|finding| finding.name.as_str())
        .collect();
    assert_eq!(wrong, ["tcp-8080@192.0.2.3"]);
    drop((_echo, _other, first, second));
    end(&[&web, &db]);
}

fn root_ports_come_and_go_with_generations(lab: &Lab) {
    let web = lab.busybox("web");
    let with = |port: u16| {
        web.file()
            .version(&port.to_string())
            .keys(&format!("network.forwards = [ {{ hostPort = {port}; containerPort = 7; }} ];"))
    };
    let ports = || -> Vec<String> {
        let folder = lab.path("/var/lib/nixcloud/container/ports");
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let rules = |port: u16| run("nft", "list ruleset").contains(&format!("{port} : 10.101.0.2 . 7"));
    web.create_from(&with(8001));
    web.start();
    assert_eq!(ports(), ["tcp-8001"]);
    assert!(rules(8001));
    web.update(&with(8002));
    assert_eq!(ports(), ["tcp-8002"]);
    assert!(rules(8002) && !rules(8001));
    // A generation that does not work out leaves those of the one before.
    let failing = with(8003).module("standin.switchExit = 3;");
    assert!(matches!(web.try_update(&failing), Err(Error::Activation { .. })));
    assert_eq!(ports(), ["tcp-8002"]);
    assert!(rules(8002) && !rules(8003));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!(ports(), ["tcp-8001"]);
    assert!(rules(8001) && !rules(8002));
    // While the networks are down, ports are claimed all the same; `host up` lets them lead there.
    web.stop();
    lab.manager().host_down().must("down");
    let mut notes = Vec::new();
    let mut observer = |event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    let file = Some(lab.file(web.name().as_str(), &with(8004)));
    web.container().update(&UpdateRequest::default().with_file(file), &mut observer).must("update");
    assert!(notes.iter().any(|note| note.contains("tcp port 8004 will lead to")), "{notes:?}");
    lab.manager().host_up().must("up");
    assert!(rules(8004) && ports() == ["tcp-8004"]);
    web.destroy();
    assert!(ports().is_empty() && !rules(8004));
    lab.assert_nothing_left();
}

fn root_a_port_has_one_owner_and_listeners_are_noticed(lab: &Lab) {
    let forward = "network.forwards = [ { hostPort = 8080; } ];";
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let listener = std::net::TcpListener::bind("0.0.0.0:8080").unwrap();
    let mut notes = Vec::new();
    let mut observer = |event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().create(&web.request(&web.file().keys(forward)), &mut observer).must("create");
    assert!(notes.iter().any(|note| note.contains("listens on tcp port 8080")), "{notes:?}");
    let wrong = |finding: &Finding| finding.part == Part::Forward && finding.verdict == Verdict::Wrong;
    assert!(lab.manager().host_check().iter().any(wrong));
    drop(listener);
    assert!(!lab.manager().host_check().iter().any(wrong));

    let error = db.try_create(&db.file().keys(forward)).unwrap_err();
    let told = format!("tcp port 8080 of the host leads to container `{}` already", web.name());
    assert_eq!(chain(&error), told);
    db.create();
    let error = db.try_update(&db.file().keys(forward)).unwrap_err();
    assert_eq!(chain(&error), told);
    assert_eq!(db.generations(), [1]);
    // The same port by another protocol is another port.
    db.update(&db.file().keys("network.forwards = [ { hostPort = 8080; protocol = \"udp\"; } ];"));
    web.destroy();
    db.update(&db.file().keys(forward));
    // One whose address is nobody's to know cannot have a port.
    ip("link add br7 type bridge");
    let far = lab.busybox("far");
    let error = far.try_create(
        &far.file().keys(&format!("network.bridge = \"br7\"; {}", forward.replace("8080", "81"))),
    );
    let error = error.unwrap_err();
    assert!(chain(&error).contains("not known here") && error.hint().is_some(), "{}", chain(&error));
    ip("link del br7");
    db.destroy();
    lab.assert_nothing_left();
}
