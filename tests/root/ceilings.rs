//! What the host's configuration gives to each container, by default and at most.

use nixcloud_container::config::Allowance;
use nixcloud_container::resources::{Bytes, CpuTime};
use nixcloud_container::{CreateRequest, Error, ErrorKind, EvalRequest, Event, Manager, SetRequest};
use nixcloud_container::{Part, UpdateRequest, Verdict};

use crate::harness::{Guest, Lab, Must, chain, scenarios};
use crate::limits::{held, memory, processor_time};

scenarios! {
    once: [
        root_a_container_has_the_defaults_of_its_host,
        root_what_asks_above_a_ceiling_is_refused_with_the_figures,
        root_a_ceiling_that_was_lowered_holds_what_was_there_before,
    ],
    both: [],
}

/// A host that gives no more than this to any.
fn with_ceilings(lab: &Lab) -> Manager {
    lab.manager_with(|config| {
        config.limits.ceilings.memory = Some(Bytes(256 << 20));
        config.limits.ceilings.pids = Some(200);
        config.limits.defaults.cpus = Some(CpuTime(500));
    })
}

fn root_a_container_has_the_defaults_of_its_host(lab: &Lab) {
    let host = with_ceilings(lab);
    let web = lab.busybox("web");
    let file = lab.file(web.name().as_str(), &web.file());
    host.container(web.name().clone()).create(&CreateRequest::new(file), &mut ()).must("create");
    web.start_by(&host);
    // What it says nothing of: the default, and else the ceiling.
    assert!(processor_time(&web).starts_with("50000"), "{}", processor_time(&web));
    assert_eq!(memory(&web), (256 << 20).to_string());
    assert_eq!(held(&web, ["pids.max", "pids.max"]), "200");
    // The container's own word counts before the default, and `none` takes the default away, not the ceiling.
    let change = |key: &str, value: &str| {
        let request = SetRequest::new().limit(key, value);
        host.container(web.name().clone()).set(&request, &mut ()).must("set");
    };
    change("cpus", "1");
    assert!(processor_time(&web).starts_with("100000"), "{}", processor_time(&web));
    change("cpus", "none");
    assert!(["max 100000", "-1"].contains(&processor_time(&web).as_str()), "{}", processor_time(&web));
    change("memory", "none");
    assert_eq!(memory(&web), (256 << 20).to_string());
}

fn asks(lab: &Lab, web: &Guest<'_>, version: &str, memory: &str) -> std::path::PathBuf {
    let keys = format!("resources = {{ memory = \"{memory}\"; pids = 150; }};");
    lab.file(web.name().as_str(), &web.file().version(version).keys(&keys))
}

fn root_what_asks_above_a_ceiling_is_refused_with_the_figures(lab: &Lab) {
    let host = with_ceilings(lab);
    let web = lab.busybox("web");
    let container = host.container(web.name().clone());
    let refused = |error: Error, asked: &str| {
        assert!(matches!(&error, Error::LimitAbove { .. }), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Input);
        let told = chain(&error);
        let expected =
            format!("asks for more than this host gives: `resources.memory` {asked}, at most 256M");
        assert!(told.contains(&expected), "{told}");
    };
    let large = asks(lab, &web, "1", "512M");
    refused(host.eval(&EvalRequest::new(&large), &mut ()).expect_err("above the ceiling"), "512M");
    refused(container.create(&CreateRequest::new(&large), &mut ()).expect_err("above the ceiling"), "512M");
    lab.assert_nothing_left();
    container.create(&CreateRequest::new(asks(lab, &web, "1", "128M")), &mut ()).must("create");
    web.start_by(&host);
    let update = UpdateRequest::new(asks(lab, &web, "2", "1G"));
    refused(container.update(&update, &mut ()).expect_err("above the ceiling"), "1G");
    assert_eq!(web.generation(), 1);
    let set = |value: &str| container.set(&SetRequest::new().limit("memory", value), &mut ());
    refused(set("300M").expect_err("above the ceiling"), "300M");
    assert_eq!(memory(&web), (128 << 20).to_string());
    set("200M").must("set");
    assert_eq!(memory(&web), (200 << 20).to_string());
}

fn root_a_ceiling_that_was_lowered_holds_what_was_there_before(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&web.file().keys("resources = { memory = \"512M\"; pids = 150; openFiles = 4096; };"));
    web.start();
    web.update(&web.file().version("2").keys("resources.memory = \"128M\";"));
    let host = lab.manager_with(|config| {
        config.limits.ceilings = Allowance::default();
        config.limits.ceilings.memory = Some(Bytes(256 << 20));
        config.limits.ceilings.open_files = Some(2048);
    });
    let container = host.container(web.name().clone());
    let found = |host: &Manager| {
        let findings = host.host_check();
        let of = findings
            .into_iter()
            .filter(|found| found.part == Part::Limit && found.name == web.name().as_str());
        of.map(|found| (found.verdict, found.what)).collect::<Vec<_>>()
    };
    assert_eq!(found(&host), []);
    // What once was accepted comes back, and within the ceiling.
    container.rollback(&mut ()).must("rollback");
    assert_eq!(memory(&web), (256 << 20).to_string());
    let told = found(&host);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].1.contains("`resources.memory` 512M, at most 256M"), "{told:?}");
    assert_eq!(told[0].0, Verdict::Off);
    assert_eq!(found(lab.manager()), []);
    // Something else can be changed; nothing above the ceiling is set.
    let set = |key: &str, value: &str| container.set(&SetRequest::new().limit(key, value), &mut ());
    set("pids", "100").must("set");
    assert!(matches!(set("memory", "300M"), Err(Error::LimitAbove { .. })));
    web.terminate();
    let mut notes = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    container.start(&mut observer).must("start");
    web.await_version();
    assert_eq!(memory(&web), (256 << 20).to_string());
    let limits = web.shell("grep 'Max open files' /proc/1/limits");
    assert_eq!(limits.split_whitespace().nth(4), Some("2048"));
    assert!(notes.iter().any(|note| note.contains("`resources.memory` 512M and has 256M")), "{notes:?}");
}
