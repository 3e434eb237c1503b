//! Rollbacks: to what worked, and for as long as somebody wants it so.

use nixcloud_container::generation::Health;
use nixcloud_container::{
    Cancel, Error, ErrorKind, Event, FailedActivation, Outcome, Phase, Planned, Selection, Switched,
    UpdateAllRequest, UpdateRequest,
};

use crate::harness::guest::id;
use crate::harness::{Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_rollback_goes_to_what_worked,
        root_a_rollback_of_a_stopped_container_boots_what_ran,
        root_a_rollback_goes_to_none_that_failed,
        root_an_activation_repeated_is_bad_while_its_unit_fails,
        root_a_rolled_back_container_is_pinned,
    ],
    both: [],
}

/// Rolls back, and what was told.
#[track_caller]
fn rollback(guest: &Guest<'_>) -> (Switched, String) {
    let mut notes = String::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push_str(&note.to_string());
            notes.push('\n');
        }
    };
    let switched = guest.container().rollback(&mut observer).must("rollback");
    (switched, notes)
}

fn health(guest: &Guest<'_>) -> Vec<Health> {
    guest.container().generations().must("generations").iter().map(|generation| generation.health).collect()
}

fn root_a_rollback_goes_to_what_worked(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let bad = web.file().version("2").module("standin.switchExit = 1;");
    web.try_update(&bad).unwrap_err();
    // One that is cut off after the profile was switched, and before anything of it was activated.
    let cancel = Cancel::new();
    let manager = lab.manager().clone().with_cancel(cancel.clone());
    let request = UpdateRequest::new(lab.file(web.name().as_str(), &web.file().version("3")));
    let mut observer = |event: Event| {
        if event == Event::Phase(Phase::Activate) {
            cancel.cancel();
        }
    };
    let error = manager.container(web.name().clone()).update(&request, &mut observer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_eq!((web.generation(), web.version().as_deref()), (1, Some("1")));
    web.update(&web.file().version("4"));
    assert_eq!(health(&web), [Health::Good, Health::Bad, Health::Undone, Health::Good]);
    let (switched, notes) = rollback(&web);
    assert_eq!((switched.from, switched.to, switched.activated), (id(4), id(1), true));
    assert_eq!(web.version().as_deref(), Some("1"));
    assert!(notes.contains("generation 1: 3 is undone, 2 is bad"), "{notes}");
}

fn root_a_rollback_of_a_stopped_container_boots_what_ran(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    // Nothing is known of either: the newest, and that is told.
    web.update(&web.file().version("2"));
    let (switched, notes) = rollback(&web);
    assert_eq!(switched.to, id(1));
    assert!(notes.contains("not known to have ever run"), "{notes}");
    web.start();
    // What the kernel remembers of names says nothing of whether it has run.
    std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap();
    web.stop();
    assert_eq!(health(&web), [Health::Good, Health::Untried]);
    web.update(&web.file().version("3"));
    assert_eq!((web.generation(), rollback(&web).0.to), (3, id(1)));
    web.start();
    assert_eq!(web.version().as_deref(), Some("1"));
}

fn root_a_rollback_goes_to_none_that_failed(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.try_update(&web.file().version("2").module("standin.switchExit = 4;")).unwrap_err();
    web.update(&web.file().version("3"));
    web.stop();
    let all_but = Selection::Ids(vec![id(1)]);
    web.container().delete_generations(&all_but, &mut ()).must("delete");
    let error = web.container().rollback(&mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(error.to_string().contains("2 is bad"), "{error}");
    assert!(error.hint().unwrap().contains("switch-generation NAME 2"), "{:?}", error.hint());
    assert_eq!(web.generation(), 3);
    // Who names it gets it.
    web.container().switch_generation(id(2), &mut ()).must("switch");
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_an_activation_repeated_is_bad_while_its_unit_fails(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.boot();
    let picky = "systemd.services.picky = { wantedBy = [ \"multi-user.target\" ]; \
                 script = \"test -e /run/wanted\"; serviceConfig.Type = \"oneshot\"; };";
    let file = web.file().version("2").module(picky);
    for attempt in ["first", "second"] {
        match web.try_update(&file).unwrap_err() {
            Error::Activation {
                outcome: FailedActivation::UnitsFailed { units, .. },
                restored: None,
                ..
            } => {
                assert_eq!(units[..], ["picky.service"], "{attempt}");
            }
            other => panic!("{attempt}: {other:?}"),
        }
        assert_eq!((web.generation(), health(&web)[1]), (2, Health::Bad), "{attempt}");
    }
    web.shell("touch /run/wanted");
    web.update(&file);
    assert_eq!(health(&web)[1], Health::Good);
}

fn root_a_rolled_back_container_is_pinned(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.create();
    db.create();
    web.update(&web.file().version("2"));
    db.update(&db.file().version("2"));
    rollback(&web);
    lab.file(db.name().as_str(), &db.file().version("3"));
    let applied = lab.manager().update_all(&UpdateAllRequest::default(), &mut ()).must("update");
    let of = |guest: &Guest<'_>| applied.containers.iter().find(|one| one.name == guest.name().as_str());
    let kept = of(&web).unwrap();
    assert!(matches!(kept.planned, Planned::Pinned { at, .. } if at == id(1)), "{kept:?}");
    assert!(matches!(kept.outcome, Outcome::Kept), "{kept:?}");
    assert!(matches!(of(&db).unwrap().outcome, Outcome::Updated(_)), "{applied:?}");
    assert_eq!((web.generation(), db.generation()), (1, 3));
    let told = lab.cli(["update", "--all"]).done();
    assert!(lab.plain(&told).contains("kept web at generation 1, where it is pinned"), "{told}");
    assert!(lab.line("list-generations @web").done().contains("current,pinned"));
    // By its name it is updated, and pinned no more.
    lab.line("update @web").done();
    assert_eq!((web.generation(), web.container().status().must("status").pinned), (2, false));
    assert_eq!(lab.cli(["update", "--all"]).done(), "2 unchanged");
}
