//! What the answers look like, as tables and as JSON. `INSTA_UPDATE=always` writes the snapshots anew.

use nixcloud_container::devices::DeviceNode;
use nixcloud_container::generation::Health;
use nixcloud_container::{
    Change, Created, Exit, Generation, GenerationId, HostChange, IdMap, Listed, Part, PendingRestart, State,
    Status, Switched,
};
use serde_json::{from_value, json};

use super::*;

fn id(number: u64) -> GenerationId {
    GenerationId::new(number).unwrap()
}

fn pending() -> PendingRestart {
    let values = |value: &str| vec![value.to_owned()];
    from_value(json!({ "key": "lxc.net.0.link", "running": values("brNC-hostonly"), "next": values("br7") }))
        .unwrap()
}

fn status(name: &str) -> Status {
    from_value(json!({
        "name": name,
        "state": State::Stopped,
        "booting": false,
        "address": "10.101.0.2",
        "generation": id(1),
        "autostart": false,
        "ids": IdMap::new(100_000).unwrap(),
        "created": "2026-11-22T10:00:00Z",
        "file": "/etc/containers/web.nix",
        "nix_args": [],
        "pinned": false,
        "lxc_items": [],
        "groups": [],
        "devices": [],
        "pending_restart": [],
    }))
    .unwrap()
}

fn running(name: &str) -> Status {
    let mut status = status(name);
    status.state = State::Running;
    status.generation = Some(id(12));
    status.unproved = Some(id(13));
    status.booted = Some(id(11));
    status.autostart = true;
    status.memory = Some(61_341_696);
    status.swap = Some(4096);
    status.init_pid = Some(4711);
    status.started = Some("2026-11-22T10:00:01.5Z".parse().unwrap());
    status.nix_args = vec!["-I".into(), "nixpkgs=/srv/nixpkgs".into()];
    status.pinned = true;
    status.declared = Some("/etc/containers/all.nix".into());
    status.lxc_items = vec![("lxc.group".into(), "shop".into())];
    status.groups = vec!["all".into(), "shop".into()];
    status.apparmor = Some("lxc-web_</var/lib/lxc>//&:lxc-web_<-var-lib-lxc>:unconfined (enforce)".into());
    status.devices = vec![DeviceNode::new("/dev/net/tun", "/dev/net/tun", 10, 200).with_group(7_u16)];
    status.pending_restart = vec![pending()];
    status
}

fn list() -> ListView {
    let broken = nixcloud_container::Error::NeedsRoot;
    let mut db = status("db");
    db.address = None;
    ListView::of(&[
        Listed::Container(Box::new(running("a-rather-long-name"))),
        Listed::broken("broken".parse().unwrap(), broken),
        Listed::Container(Box::new(db)),
        Listed::foreign("debian"),
    ])
}

fn generations() -> GenerationsView {
    let generation = |number: u64, current: bool, booted: bool, health: Health| -> Generation {
        from_value(json!({
            "id": number,
            "created": "2026-11-22T10:00:00Z",
            "current": current,
            "unproved": number == 11,
            "pinned": current,
            "booted": booted,
            "system_version": (number > 1).then_some("26.05.20261101.abcdef"),
            "health": health,
            "path": format!("/nix/store/{number}-nixcloud-container-web"),
        }))
        .unwrap()
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
    let switched: Switched = from_value(json!({
        "name": "web", "from": 1, "to": 2, "activated": true,
        "pending_restart": [pending()], "failed_before": ["old.service"],
    }))
    .unwrap();
    let created: Created =
        from_value(json!({ "name": "web", "generation": 1, "address": "10.101.0.2" })).unwrap();
    let bridges: [HostChange; 1] =
        from_value(json!([{ "part": Part::Bridge, "name": "brNC-hostonly", "change": Change::Made }]))
            .unwrap();
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
