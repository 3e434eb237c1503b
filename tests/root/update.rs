//! New generations and old ones: stopped, and in place while the guest runs.

use nixcloud_container::{
    Collected, Error, ErrorKind, Event, FailedActivation, GcRequest, Keep, Manager, Selection, State,
    UpdateRequest, Updated, generation::Health,
};

use crate::harness::guest::id;
use crate::harness::{Guest, Kind, Lab, Must, scenarios};

scenarios! {
    once: [
        root_update_creates_what_does_not_exist,
        root_update_to_the_same_is_the_same_generation,
        root_what_lxc_cannot_change_live_waits_for_a_restart,
        root_rollback_to_an_address_that_another_has_is_refused,
        root_delete_generations_spares_current_and_booted,
        root_gc_leaves_what_a_rule_keeps,
        root_only_the_changed_service_is_restarted,
        root_a_frozen_guest_is_not_updated,
        root_generations_that_do_not_exist_are_named,
    ],
    both: [
        root_update_while_stopped_boots_at_the_next_start,
        root_update_while_running_is_in_place,
        root_rollback_while_stopped,
        root_rollback_while_running_is_in_place,
        root_switch_exit_1_puts_the_old_generation_back,
        root_switch_exit_2_puts_the_old_generation_back,
        root_switch_exit_3_puts_the_old_generation_back,
        root_switch_exit_77_puts_the_old_generation_back,
        root_switch_exit_4_stays_and_names_units,
        root_switch_exit_100_waits_for_a_restart,
        root_a_unit_that_truly_fails_is_named,
    ],
}

fn root_update_while_stopped_boots_at_the_next_start(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    web.stop();
    let mut activated = false;
    let file = Some(lab.file(web.name().as_str(), &web.file().version("2")));
    let request = UpdateRequest::default().with_file(file);
    let mut observer = |event: Event| activated |= matches!(event, Event::Activation { .. });
    let updated = web.container().update(&request, &mut observer).must("update");
    let Updated::Switched(switched) = updated else { panic!("{updated:?}") };
    assert_eq!((switched.from, switched.to, switched.activated), (id(1), id(2), false));
    assert!(!activated && switched.pending_restart.is_empty());
    assert_eq!((web.generation(), web.state()), (2, State::Stopped));
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
    assert_eq!(web.container().status().must("status").booted, Some(id(2)));
}

fn root_update_while_running_is_in_place(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let mut lines = Vec::new();
    let file = Some(lab.file(web.name().as_str(), &web.file().version("2")));
    let request = UpdateRequest::default().with_file(file);
    let mut observer = |event: Event| {
        if let Event::Activation { line, .. } = event {
            lines.push(line);
        }
    };
    let updated = web.container().update(&request, &mut observer).must("update");
    let Updated::Switched(switched) = updated else { panic!("{updated:?}") };
    assert_eq!((switched.from, switched.to, switched.activated), (id(1), id(2), true));
    assert!(lines.iter().any(|line| line.contains("greeting.service")), "{lines:?}");
    assert_eq!(web.init(), init, "the guest was restarted");
    assert_eq!(web.shell("cat /run/greeting"), "version 2 of guest");
    let status = web.container().status().must("status");
    assert_eq!((status.generation, status.booted), (Some(id(2)), Some(id(1))));
    let list = web.container().generations().must("generations");
    assert_eq!(list[1].health, Health::Good);
    assert!(list[0].booted && !list[0].current && list[1].current && !list[1].booted);
}

fn root_rollback_while_stopped(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.create();
    web.update(&web.file().version("2"));
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!((switched.from, switched.to, switched.activated), (id(2), id(1), false));
    web.start();
    assert_eq!(web.version().as_deref(), Some("1"));
    // And forward again, by number.
    web.stop();
    web.container().switch_generation(id(2), &mut ()).must("switch");
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_rollback_while_running_is_in_place(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    web.update(&web.file().version("2"));
    assert_eq!(web.version().as_deref(), Some("2"));
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!((switched.from, switched.to, switched.activated), (id(2), id(1), true));
    assert_eq!((web.version().as_deref(), web.init()), (Some("1"), init));
    web.container().switch_generation(id(2), &mut ()).must("switch");
    assert_eq!((web.version().as_deref(), web.init()), (Some("2"), init));
    assert_eq!(web.generations(), [1, 2]);
}

/// Exit 1, 2, 3 and others: the generation before is put back and activated again.
fn put_back(lab: &Lab, kind: Kind, code: i32) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let bad = web.file().version("2").module(&format!("standin.switchExit = {code};"));
    let error = web.try_update(&bad).unwrap_err();
    match &error {
        Error::Activation {
            generation,
            outcome: FailedActivation::Failed { code: said, .. },
            restored,
            ..
        } => {
            assert_eq!((*generation, *said, *restored), (id(2), code, Some(id(1))));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((web.generation(), web.init()), (1, init));
    assert_eq!(web.version().as_deref(), Some("1"), "the old service does not run");
    let list = web.container().generations().must("generations");
    assert_eq!((list.len(), list[1].health), (2, Health::Bad));
    assert!(list[0].current && list[0].booted);
    // The bad one never is what boots.
    web.stop();
    web.start();
    assert_eq!(web.version().as_deref(), Some("1"));
    assert_eq!(web.shell("readlink /run/current-system"), web.shell("readlink /run/booted-system"));
}

fn root_switch_exit_1_puts_the_old_generation_back(lab: &Lab, kind: Kind) {
    put_back(lab, kind, 1);
}

fn root_switch_exit_2_puts_the_old_generation_back(lab: &Lab, kind: Kind) {
    put_back(lab, kind, 2);
}

fn root_switch_exit_3_puts_the_old_generation_back(lab: &Lab, kind: Kind) {
    put_back(lab, kind, 3);
}

fn root_switch_exit_77_puts_the_old_generation_back(lab: &Lab, kind: Kind) {
    put_back(lab, kind, 77);
}

fn root_switch_exit_4_stays_and_names_units(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let error = web.try_update(&web.file().version("2").module("standin.switchExit = 4;")).unwrap_err();
    match &error {
        Error::Activation {
            generation,
            outcome: FailedActivation::UnitsFailed { units, .. },
            restored: None,
            ..
        } => {
            assert_eq!((*generation, &units[..]), (id(2), &["standin-forced.service".to_owned()][..]));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((web.generation(), web.version().as_deref(), web.init()), (2, Some("2"), init));
    assert_eq!(web.container().generations().must("generations")[1].health, Health::Bad);
}

fn root_switch_exit_100_waits_for_a_restart(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let init = web.boot();
    let error =
        web.try_update(&web.file().version("2").module("standin.initInterface = \"2\";")).unwrap_err();
    assert!(
        matches!(&error, Error::Activation { outcome: FailedActivation::NeedsRestart, restored: None, .. }),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("restart"), "{:?}", error.hint());
    assert_eq!((web.generation(), web.version().as_deref(), web.init()), (2, Some("1"), init));
    assert_eq!(web.container().generations().must("generations")[1].health, Health::Untried);
    web.stop();
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_a_unit_that_truly_fails_is_named(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let broken = "systemd.services.broken = { wantedBy = [ \"multi-user.target\" ]; script = \"exit 9\"; \
                  serviceConfig.Type = \"oneshot\"; };";
    let error = web.try_update(&web.file().version("2").module(broken)).unwrap_err();
    match &error {
        Error::Activation {
            outcome: FailedActivation::UnitsFailed { units, .. }, restored: None, ..
        } => {
            assert_eq!(units[..], ["broken.service"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((web.generation(), web.version().as_deref()), (2, Some("2")));
}

fn root_update_creates_what_does_not_exist(lab: &Lab) {
    let web = lab.busybox("web");
    let request = UpdateRequest::new(web.request(&web.file()).file);
    match web.container().update(&request, &mut ()).must("update") {
        Updated::Created(created) => assert_eq!((&created.name, created.generation), (web.name(), id(1))),
        other => panic!("{other:?}"),
    }
    web.start();
}

fn root_update_to_the_same_is_the_same_generation(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let switched = web.update(&web.file());
    assert_eq!((switched.from, switched.to), (id(1), id(1)));
    assert_eq!((web.generations(), web.init()), (vec![1], init));
    let error = web.container().rollback(&mut ()).unwrap_err();
    assert_eq!(error.kind(), nixcloud_container::ErrorKind::NotFound, "{error:?}");
}

fn root_what_lxc_cannot_change_live_waits_for_a_restart(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let switched = web.update(&web.file().version("2").extra("lxc.environment = COLOUR=red"));
    let keys = |pending: &[nixcloud_container::PendingRestart]| -> Vec<String> {
        pending.iter().map(|pending| pending.key.clone()).collect()
    };
    assert_eq!(keys(&switched.pending_restart), ["lxc.environment"]);
    assert_eq!(keys(&web.container().status().must("status").pending_restart), ["lxc.environment"]);
    assert_eq!(web.version().as_deref(), Some("2"));
    let environment = "tr '\\0' '\\n' </proc/1/environ | grep COLOUR || echo none";
    assert_eq!(web.shell(environment), "none");
    web.stop();
    web.start();
    assert_eq!(web.shell(environment), "COLOUR=red");
    assert!(web.container().status().must("status").pending_restart.is_empty());
    // The rolled-back generation brings its own lines back.
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!(keys(&switched.pending_restart), ["lxc.environment"]);
    assert!(!web.config().contains("COLOUR"));
}

fn root_rollback_to_an_address_that_another_has_is_refused(lab: &Lab) {
    let (one, two) = (lab.busybox("one"), lab.busybox("two"));
    let fixed = "network.ip = \"10.101.7.7\";";
    one.create_from(&one.file().keys(fixed));
    let error = two.try_create(&two.file().keys(fixed)).unwrap_err();
    assert!(error.to_string().contains(&format!("`{}`", one.name())), "{error}");
    assert_eq!(error.kind(), nixcloud_container::ErrorKind::Refused);
    one.update(&one.file().version("2"));
    assert_ne!(one.address().octets(), [10, 101, 7, 7]);
    two.create_from(&two.file().keys(fixed));
    for refused in [one.container().rollback(&mut ()), one.container().switch_generation(id(1), &mut ())] {
        let error = refused.unwrap_err();
        assert!(error.to_string().contains(&format!("`{}`", two.name())), "{error}");
        assert_eq!(one.generation(), 2);
    }
    two.destroy();
    one.container().rollback(&mut ()).must("rollback");
    assert_eq!(one.address().octets(), [10, 101, 7, 7]);
    one.start();
    assert!(one.pings());
    // A host's own address is nobody's.
    let error = two.try_create(&two.file().keys("network.ip = \"10.101.0.1\";")).unwrap_err();
    assert!(error.to_string().contains("the host's own"), "{error}");
}

fn root_delete_generations_spares_current_and_booted(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    for version in ["2", "3", "4"] {
        web.update(&web.file().version(version));
    }
    let delete = |selection: Selection| web.container().delete_generations(&selection, &mut ());
    for protected in [1, 4] {
        let error = delete(Selection::Ids(vec![id(protected)])).unwrap_err();
        assert_eq!(error.kind(), nixcloud_container::ErrorKind::Refused, "{error:?}");
    }
    let error = delete(Selection::Ids(vec![id(9)])).unwrap_err();
    assert_eq!(error.kind(), nixcloud_container::ErrorKind::NotFound, "{error:?}");
    assert_eq!(web.generations(), [1, 2, 3, 4]);
    assert_eq!(delete(Selection::Ids(vec![id(2)])).must("delete"), [id(2)]);
    assert_eq!(web.generations(), [1, 3, 4]);
    assert!(delete(Selection::OlderThanDays(1)).must("delete").is_empty());
    assert_eq!(delete(Selection::Old).must("delete"), [id(3)]);
    assert_eq!(web.generations(), [1, 4]);
    assert_eq!(web.version().as_deref(), Some("4"), "something was activated");
    web.stop();
    assert_eq!(delete(Selection::Old).must("delete"), [id(1)]);
    web.update(&web.file().version("5"));
    assert_eq!(delete(Selection::KeepNewest(1)).must("delete"), [id(4)]);
    assert_eq!(web.generations(), [5]);
    web.start();
}

fn root_gc_leaves_what_a_rule_keeps(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    web.boot();
    db.create();
    db.update(&db.file().version("2"));
    for version in ["2", "3"] {
        web.update(&web.file().version(version));
    }
    // A fourth that does not do, and is current all the same.
    web.try_update(&web.file().version("4").module("standin.switchExit = 4;")).unwrap_err();
    assert_eq!((web.generations(), web.generation()), (vec![1, 2, 3, 4], 4));
    let gone = |manager: &Manager, request: GcRequest| -> Vec<(String, Vec<u64>)> {
        let all = manager.gc(&request, &mut ()).must("gc").into_iter();
        let of = |one: Collected| {
            let ids = one.outcome.must("gc of one").iter().map(|id| id.get()).collect();
            (lab.plain(one.name.as_str()), ids)
        };
        all.map(of).collect()
    };
    let both =
        |db: &[u64], web: &[u64]| vec![("db".to_owned(), db.to_vec()), ("web".to_owned(), web.to_vec())];

    let error = lab.manager().gc(&GcRequest::new(), &mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let told = lab.line("gc --all");
    assert!(told.code == 1 && told.stderr.contains("keep_good"), "{told:?}");
    assert_eq!(lab.line("gc").code, 2);

    // The first one is what the guest was booted with, the third what to go back to.
    let by_config = lab.manager_with(|config| config.generations = Keep::new().with_good(1_u32));
    assert_eq!(gone(&by_config, GcRequest::new().with_dry_run(true)), both(&[1], &[2]));
    assert_eq!((db.generations(), web.generations()), (vec![1, 2], vec![1, 2, 3, 4]));
    let told = lab.line("gc @web --keep-good 1 --keep-days 1 --dry-run").done();
    assert_eq!(told, "all generations are worth keeping", "they are of today");
    assert_eq!(gone(&by_config, GcRequest::new()), both(&[1], &[2]));
    assert_eq!((db.generations(), web.generations()), (vec![2], vec![1, 3, 4]));
    web.container().rollback(&mut ()).must("rollback");
    assert_eq!((web.generation(), web.version().as_deref()), (3, Some("3")));

    // One that cannot be read is told, and keeps nobody from theirs.
    web.stop();
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", db.name()));
    let text = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, "no record").unwrap();
    let told = lab.line("gc --all --keep 2");
    assert_eq!((told.code, web.generations()), (1, vec![3, 4]), "{told:?}");
    assert!(told.stdout.contains("deleted generation 1 of web"), "{}", told.stdout);
    assert!(told.stderr.contains(db.name().as_str()), "{}", told.stderr);
    std::fs::write(&record, text).unwrap();
}

fn root_only_the_changed_service_is_restarted(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let other =
        "systemd.services.other = { wantedBy = [ \"multi-user.target\" ]; script = \"exec sleep 100000\"; };";
    web.create_from(&web.file().module(other));
    web.start();
    let pid = |web: &Guest<'_>, unit: &str| web.shell(&format!("systemctl show -p MainPID --value {unit}"));
    let (before, greeting) = (pid(&web, "other"), pid(&web, "greeting"));
    assert_ne!(before, "0");
    web.update(&web.file().version("2").module(other));
    assert_eq!(pid(&web, "other"), before);
    assert_ne!(pid(&web, "greeting"), greeting);
    assert_eq!(web.shell("systemctl is-system-running || :"), "running");
}

fn root_a_frozen_guest_is_not_updated(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.container().freeze().must("freeze");
    let error = web.try_update(&web.file().version("2")).unwrap_err();
    assert!(matches!(error, Error::State { state: State::Frozen, .. }), "{error:?}");
    assert_eq!(web.generations(), [1]);
    web.container().unfreeze().must("unfreeze");
    web.update(&web.file().version("2"));
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_generations_that_do_not_exist_are_named(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let error = web.container().switch_generation(id(9), &mut ()).unwrap_err();
    assert_eq!(error.kind(), nixcloud_container::ErrorKind::NotFound, "{error:?}");
    assert!(error.hint().unwrap().contains("1"), "{:?}", error.hint());
}
