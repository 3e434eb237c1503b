//! What the answers look like, as tables and as JSON. `INSTA_UPDATE=always` writes the snapshots anew.

use nixcloud_container::generation::Health;
use nixcloud_container::{
    Change, Created, Exit, Generation, GenerationId, HostChange, IdMap, Listed, Part, PendingRestart, State,
    Status, Switched,
};

use super::*;

fn id(number: u64) -> GenerationId {
    GenerationId::new(number).unwrap()
}

fn pending() -> PendingRestart {
    let values = |value: &str| vec![value.to_owned()];
    PendingRestart { key: "lxc.net.0.link".into(), running: values("brNC-hostonly"), next: values("br7") }
}

fn status(name: &str) -> Status {
    Status {
        name: name.parse().unwrap(),
        state: State::Stopped,
        booting: false,
        address: Some([10, 101, 0, 2].into()),
        generation: Some(id(1)),
        unproved: None,
        booted: None,
        autostart: false,
        ids: Some(IdMap::new(100_000).unwrap()),
        memory: None,
        swap: None,
        init_pid: None,
        started: None,
        created: "2026-11-22T10:00:00Z".parse().unwrap(),
        file: "/etc/containers/web.nix".into(),
        nix_args: vec![],
        pinned: false,
        declared: None,
        lxc_items: vec![],
        groups: vec![],
        pending_restart: vec![],
    }
}

fn running(name: &str) -> Status {
    Status {
        state: State::Running,
        generation: Some(id(12)),
        unproved: Some(id(13)),
        booted: Some(id(11)),
        autostart: true,
        memory: Some(61_341_696),
        swap: Some(4096),
        init_pid: Some(4711),
        started: Some("2026-11-22T10:00:01.5Z".parse().unwrap()),
        nix_args: vec!["-I".into(), "nixpkgs=/srv/nixpkgs".into()],
        pinned: true,
        declared: Some("/etc/containers/all.nix".into()),
        lxc_items: vec![("lxc.group".into(), "shop".into())],
        groups: vec!["all".into(), "shop".into()],
        pending_restart: vec![pending()],
        ..status(name)
    }
}

fn list() -> ListView {
    let broken = nixcloud_container::Error::NeedsRoot;
    ListView::of(&[
        Listed::Container(Box::new(running("a-rather-long-name"))),
        Listed::Broken { name: "broken".parse().unwrap(), error: broken },
        Listed::Container(Box::new(Status { address: None, ..status("db") })),
        Listed::Foreign { name: "debian".into() },
    ])
}

fn generations() -> GenerationsView {
    let generation = |number, current, booted, health| Generation {
        id: id(number),
        created: "2026-11-22T10:00:00Z".parse().unwrap(),
        current,
        unproved: number == 11,
        pinned: current,
        booted,
        system_version: (number > 1).then(|| "26.05.20261101.abcdef".to_owned()),
        health,
        path: format!("/nix/store/{number}-nixcloud-container-web").into(),
    };
    let list = [
        generation(1, false, false, Health::Good),
        generation(11, false, true, Health::Bad),
        generation(12, true, false, Health::Untried),
    ];
    GenerationsView::of(&"web".parse().unwrap(), &list)
}

#[test]
fn tables() {
    insta::assert_snapshot!("list", list().table().join("\n"));
    let lines = generations().lines(&jiff::tz::TimeZone::UTC);
    insta::assert_snapshot!("list-generations", lines.join("\n"));
}

#[test]
fn objects() {
    let name = "web".parse().unwrap();
    let switched = Switched {
        name: "web".parse().unwrap(),
        from: id(1),
        to: id(2),
        activated: true,
        pending_restart: vec![pending()],
        failed_before: vec!["old.service".to_owned()],
    };
    let created =
        Created { name: "web".parse().unwrap(), generation: id(1), address: Some([10, 101, 0, 2].into()) };
    let bridges = [HostChange { part: Part::Bridge, name: "brNC-hostonly".to_owned(), change: Change::Made }];
    let said = (Captured::new(b"out\n".to_vec(), false), Captured::new(b"\xff".to_vec(), true));
    let mut text = String::new();
    let mut show = |command: &str, object: serde_json::Result<String>| {
        text.push_str(&format!("# nixcloud-container --json {command}\n{}\n\n", object.unwrap()));
    };
    show("list", serde_json::to_string_pretty(&list()));
    show("state web", serde_json::to_string_pretty(&ContainerView::from(&running("web"))));
    show("create web web.nix", serde_json::to_string_pretty(&ChangeView::created(&created, false)));
    show("update web", serde_json::to_string_pretty(&ChangeView::updated(&switched)));
    show("list-generations web", serde_json::to_string_pretty(&generations()));
    show("start web", serde_json::to_string_pretty(&PowerView::new(&name, Outcome::Started).with_init(7)));
    show("run web false", serde_json::to_string_pretty(&RunView::new(&name, Exit::Signal(9), Some(said))));
    show("host up", serde_json::to_string_pretty(&HostView::of(&bridges)));
    insta::assert_snapshot!("json", text.trim_end());
}
