//! Golden tests of the rendering.

use super::*;
use crate::model::spec::{Autostart, Effective, NetworkSpec, SCHEMA};

fn spec() -> ContainerSpec {
    ContainerSpec {
        schema: SCHEMA,
        name: None,
        autostart: Autostart::default(),
        network: NetworkSpec::default(),
        resources: crate::model::resources::Resources::default(),
        features: crate::model::features::Features::default(),
        devices: crate::model::devices::Devices::default(),
        lxc_extra_config: String::new(),
        idmap: crate::model::idmap::IdMapKind::Isolated,
        store: None,
        effective: Effective { ip: Some("10.101.0.2".parse().unwrap()), prefix_length: Some(16) },
        original: false,
    }
}

/// A hybrid host, or one of cgroup v2 alone.
fn on(version: CgroupVersion) -> Controllers {
    Controllers { pids: Some(version), unified: true, ..Controllers::default() }
}

fn facts() -> HostFacts {
    HostFacts {
        lxc_config_dir: "/usr/share/lxc/config".into(),
        processes: 1 << 22,
        apparmor: AppArmor::Off,
        controllers: on(CgroupVersion::V1),
        idmapped_store: true,
    }
}

fn rendered(spec: &ContainerSpec, facts: &HostFacts) -> Result<Rendered, ExtraError> {
    rendered_with(spec, &[], facts)
}

fn rendered_with(
    spec: &ContainerSpec,
    items: &[(&str, &str)],
    facts: &HostFacts,
) -> Result<Rendered, ExtraError> {
    rendered_by("/opt/bin/nixcloud-container", spec, items, facts)
}

fn rendered_by(
    hook: &str,
    spec: &ContainerSpec,
    items: &[(&str, &str)],
    facts: &HostFacts,
) -> Result<Rendered, ExtraError> {
    let items: Vec<(String, String)> =
        items.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    // A root that exists nowhere, so that the text is the same on every machine.
    let config = HostConfig { root: "/srv/golden".into(), ..HostConfig::default() };
    let layout = Layout::new(&config).unwrap();
    let name = "web".parse().unwrap();
    let ids = IdMap::new(100_000).unwrap();
    let interface = InterfaceId::of(layout.lxc_path(), &name, 0);
    render(&Input {
        name: &name,
        spec,
        items: &items,
        ids,
        interface,
        internet: Some("10.202.0.10".parse().unwrap()),
        hook: Path::new(hook),
        layout: &layout,
        config: &config,
        facts,
    })
}

fn golden(spec: &ContainerSpec, facts: &HostFacts) -> String {
    // The architecture is the machine's.
    let arch = format!("lxc.arch = {}", std::env::consts::ARCH);
    rendered(spec, facts).unwrap().text.replace(&arch, "lxc.arch = ARCH")
}

#[test]
fn a_plain_container() {
    insta::assert_snapshot!(golden(&spec(), &facts()));
}

#[test]
fn everything_at_once() {
    let mut spec = spec();
    spec.network = NetworkSpec {
        bridge: Some("br-lab".parse().unwrap()),
        ip: Some("192.0.2.9".parse().unwrap()),
        prefix_length: Some(24),
        gateway: Some("192.0.2.1".parse().unwrap()),
        enable_nat: true,
        ..NetworkSpec::default()
    };
    spec.effective = Effective { ip: spec.network.ip, prefix_length: Some(24) };
    spec.store = Some(StoreView::Full);
    spec.lxc_extra_config =
        "lxc.cgroup2.memory.max = 1G\nlxc.mount.entry = /srv/my\\040data srv/data none rbind,ro,optional 0 0\n\
         lxc.mount.entry = /srv/rw srv/rw none bind 0 0"
            .into();
    let facts = HostFacts {
        apparmor: AppArmor::On,
        controllers: on(CgroupVersion::V2),
        idmapped_store: false,
        ..facts()
    };
    insta::assert_snapshot!(golden(&spec, &facts));
    let locked = rendered(&spec, &facts).unwrap().locked;
    assert_eq!(locked.len(), 3, "store, profile, and the read-only entry alone: {locked:?}");
    assert_eq!(locked[2].source, Path::new("/srv/my data"));
    assert!(locked[2].recursive && locked[2].optional);
}

/// Items come last, so that they count where both say something, and their mounts are locked as others are.
#[test]
fn items_come_after_the_container_files_own_lines() {
    let mut spec = spec();
    spec.lxc_extra_config = "lxc.group = a\nlxc.mount.entry = /a a none bind,ro 0 0".into();
    let items = [("lxc.group", "b"), ("lxc.mount.entry", "/b b none bind,ro 0 0")];
    let rendered = rendered_with(&spec, &items, &facts()).unwrap();
    let locked = "lxc.mount.entry = /srv/golden/var/lib/lxc/web/locked";
    let end = format!(
        "# Items that were given with the container file, on the command line.\nlxc.group = b\n\
         {locked}/item-2 b none bind,ro 0 0\n"
    );
    assert!(rendered.text.ends_with(&end), "{}", rendered.text);
    assert!(rendered.text.contains(&format!("{locked}/extra-2 a ")), "{}", rendered.text);
    assert_eq!(rendered.groups, ["a", "b"]);
    // With the profile; of the store the worker shows a part.
    assert_eq!((rendered.extra.len(), rendered.locked.len()), (4, 3));
    let error = rendered_with(&spec, &[("lxc.idmap", "u 0 0 1")], &facts()).unwrap_err();
    assert_eq!(error.number, None);
}

#[test]
fn addressing_left_to_the_bridge() {
    let mut spec = spec();
    spec.network.bridge = Some("br-lab".parse().unwrap());
    spec.effective = Effective::default();
    let text = golden(&spec, &facts());
    assert!(text.contains("lxc.net.0.link = br-lab\n") && !text.contains("ipv4"), "{text}");
}

/// No source that the guest may only read is ever named to LXC by its own path.
#[test]
fn read_only_sources_come_from_the_locked_folder_alone() {
    let mut spec = spec();
    spec.lxc_extra_config = "lxc.mount.entry = /etc/ssl etc/ssl none bind,ro,create=dir 0 0".into();
    for line in golden(&spec, &facts()).lines().filter(|line| line.contains("ro,") || line.contains("idmap="))
    {
        assert!(line.starts_with("lxc.mount.entry = /srv/golden/var/lib/lxc/web/locked/"), "{line}");
    }
}

fn differing(running: &[(String, String)], next: &[(String, String)]) -> Vec<PendingRestart> {
    compare((StoreView::Full, running), (StoreView::Full, next))
}

/// With idmapped mounts and without: then LXC's item is the same.
#[test]
fn another_view_of_the_store_waits_for_a_restart() {
    for idmapped_store in [true, false] {
        let items = |store| {
            let spec = ContainerSpec { store: Some(store), ..spec() };
            (store, rendered(&spec, &HostFacts { idmapped_store, ..facts() }).unwrap().items)
        };
        let (full, closure) = (items(StoreView::Full), items(StoreView::Closure));
        assert_eq!(full.1 == closure.1, !idmapped_store);
        let pending = compare((full.0, &full.1), (closure.0, &closure.1));
        let [one] = &pending[..] else { panic!("{pending:?}") };
        assert_eq!(
            (one.key.as_str(), one.running.concat(), one.next.concat()),
            ("store", "full".into(), "closure".into())
        );
        assert_eq!(compare((closure.0, &closure.1), (closure.0, &closure.1)), []);
    }
}

#[test]
fn only_differing_settings_wait_for_a_restart() {
    let items = |spec: &ContainerSpec| rendered(spec, &facts()).unwrap().items;
    let a = items(&spec());
    assert_eq!(differing(&a, &a), []);
    let mut other = spec();
    other.network.enable_nat = true;
    other.effective.ip = Some("10.101.0.3".parse().unwrap());
    let pending = differing(&a, &items(&other));
    let keys: Vec<&str> = pending.iter().map(|p| p.key.as_str()).collect();
    assert!(keys.contains(&"lxc.net.0.ipv4.address") && keys.contains(&"lxc.net.1.type"), "{keys:?}");
    assert!(!keys.contains(&"lxc.uts.name"));
}

#[test]
fn items_of_one_boot_are_judged_as_lines_are() {
    let config = HostConfig::default();
    let folder = Path::new("/l x/locked");
    let judged = |key: &str, value: &str| {
        let mut locked = Vec::new();
        items(&[(key.to_owned(), value.to_owned())], &config, folder, &mut locked)
            .map(|items| (items, locked))
    };
    for (key, value) in [
        ("lxc.idmap", ""),
        ("lxc.hook.mount", "/x"),
        ("lxc.environment", "A=1\nlxc.idmap ="),
        ("lxc.environment", ""),
        ("lxc.environment", "'A=1'"),
        ("lxc.mount.entry", "/x nix/store none bind 0 0"),
        ("lxc.console.path", "none"),
    ] {
        let error = judged(key, value).unwrap_err();
        assert_eq!((error.key.as_str(), error.value.as_str()), (key, value));
    }
    let (kept, locked) =
        judged(" lxc.mount.entry ", "/my\\040data srv/data none rbind,ro,optional 0 0").unwrap();
    assert_eq!(kept[0].1, "/l\\040x/locked/boot-0 srv/data none rbind,ro,optional 0 0");
    assert_eq!((locked[0].source.as_path(), locked[0].name.as_str()), (Path::new("/my data"), "boot-0"));
    assert!(locked[0].recursive && locked[0].optional);
    let allowing = HostConfig { allow_lxc_keys: vec!["lxc.hook.*".to_owned()], ..HostConfig::default() };
    let hook = [("lxc.hook.mount".to_owned(), "/x".to_owned())];
    assert_eq!(items(&hook, &allowing, folder, &mut Vec::new()).unwrap(), hook);
    assert!(allows(&allowing, "lxc.hook.mount") && !allows(&allowing, "lxc.namespace.share.net"));
}

/// The policies of both interfaces, as one would read them.
fn policies(network: NetworkSpec, ip: Option<&str>, config: impl FnOnce(&mut HostConfig)) -> Vec<String> {
    let mut host = HostConfig { root: "/srv/golden".into(), ..HostConfig::default() };
    config(&mut host);
    let layout = Layout::new(&host).unwrap();
    let name = "web".parse().unwrap();
    let mut spec = spec();
    spec.effective = Effective { ip: ip.map(|ip| ip.parse().unwrap()), prefix_length: ip.map(|_| 16) };
    spec.network = network;
    let input = Input {
        name: &name,
        spec: &spec,
        items: &[],
        ids: IdMap::new(100_000).unwrap(),
        interface: "00c0ffee".parse().unwrap(),
        internet: Some("10.202.0.10".parse().unwrap()),
        hook: Path::new("/opt/it's here/worker"),
        layout: &layout,
        config: &host,
        facts: &facts(),
    };
    let ports = render(&input).unwrap().bridge_ports;
    ports.into_iter().map(|port| format!("{} {}", port.interface, port.policy)).collect()
}

#[test]
fn policies_of_ports() {
    let bridge = |name: &str| NetworkSpec { bridge: Some(name.parse().unwrap()), ..NetworkSpec::default() };
    let ip6 = NetworkSpec {
        ip6: Some("fd00::5".parse().unwrap()),
        prefix_length6: Some(64),
        ..NetworkSpec::default()
    };
    let nat = NetworkSpec { enable_nat: true, isolated: false, ..NetworkSpec::default() };
    let plain = |_: &mut HostConfig| {};
    let with_ipv6 = |config: &mut HostConfig| {
        config.network.internet.ipv6 = Some(crate::model::config::Ipv6Config {
            address: "2001:db8::1/64".parse().unwrap(),
            name_servers: vec![],
        });
    };
    let home = Some("10.101.0.2");
    let all = [
        ("plain", policies(NetworkSpec::default(), home, plain)),
        ("a fixed IPv6 address", policies(ip6, home, plain)),
        ("open, both interfaces, IPv6", policies(nat, home, with_ipv6)),
        ("a bridge that gives addresses", policies(bridge("br-lab"), None, plain)),
        ("a bridge with a fixed address", policies(bridge("br-lab"), Some("172.16.0.9"), with_ipv6)),
        (
            "an open one there",
            policies(NetworkSpec { isolated: false, ..bridge("br-lab") }, Some("172.16.0.9"), plain),
        ),
        ("no isolation", policies(NetworkSpec::default(), home, |config| config.network.isolation = false)),
    ];
    let text: String =
        all.iter().map(|(what, ports)| format!("{what}:\n  {}\n", ports.join("\n  "))).collect();
    insta::assert_snapshot!(text.replace(",", "\n    "));
}

#[test]
fn another_program_that_sets_ports_is_no_change() {
    let one = rendered(&spec(), &facts()).unwrap();
    let moved = rendered_by("/run/else where", &spec(), &[], &facts()).unwrap();
    assert_ne!(one.text, moved.text);
    assert_eq!(differing(&one.items, &moved.items), []);
    let mut other = spec();
    other.network.isolated = !other.network.isolated;
    let changed = rendered(&other, &facts()).unwrap();
    let pending = differing(&one.items, &changed.items);
    let port = pending.iter().find(|pending| pending.key == "lxc.net.0.script.up").unwrap();
    let [port] = &port.next[..] else { panic!("{port:?}") };
    assert!(port.starts_with("--nixcloud-port ") && port.contains(",open,"), "{port}");
}

/// What is noted of a boot is what the text says, read as LXC reads it.
#[test]
fn the_items_are_those_of_the_text() {
    let mut spec = spec();
    spec.network.enable_nat = true;
    let rendered = rendered_with(&spec, &[("lxc.group", "a")], &facts()).unwrap();
    let lines = rendered.text.lines().filter(|line| !line.starts_with('#'));
    let read: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim().trim_start_matches("/opt/bin/nixcloud-container ")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    assert_eq!(rendered.items, read);
    assert_eq!(rendered.bridge_ports.len(), 2);
}

#[test]
fn interfaces_at_our_bridges_are_ours() {
    let with = |line: &str| {
        let mut spec = spec();
        spec.lxc_extra_config = line.to_owned();
        rendered(&spec, &facts()).map(drop).map_err(|error| error.to_string())
    };
    with("lxc.net.2.link = br-other").unwrap();
    for bridge in ["brNC-hostonly", "brNC-internet"] {
        let why = with(&format!("lxc.net.2.link = {bridge}")).unwrap_err();
        assert!(why.contains("`network.*`"), "{why}");
    }
}
