//! Plans of one container: what is foretold is what then happens, and nothing is left of the telling.

use std::fs;
use std::path::PathBuf;

use nixcloud_container::{
    Error, Event, FailedActivation, KeyChange, Manager, PackageFate, PendingRestart, Plan, PlanRequest,
    PlanTarget, PlanVerdict, PlannedUnits, Selection, SwitchRequest, UnitChange, UnitPlan, UpdateRequest,
    Updated,
};

use crate::apply::tree;
use crate::crash;
use crate::harness::guest::id;
use crate::harness::{File, Guest, Kind, Lab, Must, chain, eventually, scenarios};
use crate::store::{assert_shown, file, package, rooted};

scenarios! {
    once: [
        root_a_plan_foretells_what_waits_for_a_restart,
        root_a_plan_of_a_guest_that_does_not_run,
        root_a_plan_is_refused_as_the_change_is,
        root_a_killed_plan_leaves_nothing,
        root_a_guest_that_hangs_in_a_plan_is_cut_off,
        root_a_guest_lies_in_a_plan_within_bounds,
        root_a_plan_of_a_rollback_is_what_it_then_does,
        root_the_plan_of_the_command_line,
    ],
    both: [
        root_an_update_does_what_its_plan_said,
    ],
}

/// The plan of an update to `file`.
fn try_plan(lab: &Lab, guest: &Guest<'_>, file: &File) -> Result<Plan, Error> {
    plan_by(lab.manager(), lab, guest, file)
}

fn plan_by(manager: &Manager, lab: &Lab, guest: &Guest<'_>, file: &File) -> Result<Plan, Error> {
    let update = UpdateRequest::new(lab.file(guest.name().as_str(), file));
    manager.container(guest.name().clone()).plan(&PlanRequest::new(PlanTarget::Update(update)), &mut ())
}

#[track_caller]
fn plan(lab: &Lab, guest: &Guest<'_>, file: &File) -> Plan {
    try_plan(lab, guest, file).must("plan")
}

/// What a plan said of units, and what a switch then said, in the same words.
fn foretold(plan: &Plan) -> &UnitPlan {
    match &plan.units {
        PlannedUnits::Told(units) => units,
        other => panic!("{other:?}"),
    }
}

fn sorted(mut units: Vec<String>) -> Vec<String> {
    units.sort();
    units.dedup();
    units
}

/// Updates, and tells what became of units.
fn units_of_update(lab: &Lab, guest: &Guest<'_>, file: &File) -> (UnitPlan, Vec<PendingRestart>) {
    let (mut stop, mut start) = (Vec::new(), Vec::new());
    let mut units = UnitPlan::new();
    let mut observer = |event: Event| {
        if let Event::Units { change, names, .. } = event {
            match change {
                UnitChange::Stopping => stop.extend(names),
                UnitChange::Starting => start.extend(names),
                UnitChange::Restarting => units.restart.extend(names),
                UnitChange::Reloading => units.reload.extend(names),
                UnitChange::Kept => units.keep.extend(names),
                _ => {}
            }
        }
    };
    let request = UpdateRequest::new(lab.file(guest.name().as_str(), file));
    let updated = guest.container().update(&request, &mut observer).must("update");
    let Updated::Switched(switched) = updated else { panic!("{updated:?}") };
    let (both, stop): (Vec<_>, Vec<_>) = stop.into_iter().partition(|unit| start.contains(unit));
    start.retain(|unit| !both.contains(unit));
    units.restart.extend(both);
    let units =
        units.clone().with_stop(sorted(stop)).with_start(sorted(start)).with_restart(sorted(units.restart));
    (units, switched.pending_restart)
}

/// A service beside the one that says its version.
fn service(name: &str, lines: &str) -> String {
    format!(
        "systemd.services.{name} = {{ wantedBy = [ \"multi-user.target\" ]; script = \"exec sleep 100000\"; {lines} }};"
    )
}

/// What there is of work in progress, and of roots that lead to it.
fn work(lab: &Lab) -> Vec<PathBuf> {
    let folder = lab.path("/var/lib/nixcloud/container/work");
    let mut found: Vec<PathBuf> =
        fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let roots = fs::read_dir("/nix/var/nix/gcroots/auto").into_iter().flatten().flatten();
    let ours = |root: PathBuf| fs::read_link(root).is_ok_and(|to| to.starts_with(&folder));
    found.extend(roots.map(|entry| entry.path()).filter(|root| ours(root.clone())));
    found
}

/// That a guest which runs generation 1 is as if nobody had planned.
#[track_caller]
fn assert_nothing_of_a_plan(lab: &Lab, guest: &Guest<'_>) {
    assert_shown(guest, &[1]);
    assert_eq!(rooted(lab, guest), [package(guest, 1)].into());
    assert_eq!(guest.generations(), [1]);
    assert_eq!(work(lab), [] as [PathBuf; 0]);
    let lists = lab.path("/var/lib/nixcloud/container/closures").join(guest.name().as_str());
    let lists: Vec<_> = fs::read_dir(lists).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(lists, [package(guest, 1).as_str()]);
    let record = fs::read_to_string(
        lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", guest.name())),
    );
    assert!(record.is_ok_and(|record| !record.contains("unsettled = true")));
}

fn root_an_update_does_what_its_plan_said(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let reload = "reloadIfChanged = true; serviceConfig.ExecReload = \"/run/current-system/sw/bin/true\";";
    let more = |file: File, version: &str| {
        if kind == Kind::Busybox {
            return file;
        }
        let text = |lines: &str| format!("environment.VERSION = \"{version}\"; {lines}");
        file.module(&service("reloaded", &text(reload)))
            .module(&service("kept", &text("restartIfChanged = false;")))
            .module(&service("restarted", &text("stopIfChanged = false;")))
    };
    web.create_from(&more(file(&web, "1"), "1").module(&service("gone", "")).module(&service("stays", "")));
    let init = web.start();
    let next = more(file(&web, "2"), "2")
        .module(&service("fresh", ""))
        .module(&service("stays", ""))
        .keys("resources.memory = \"256M\";");
    let plan = plan(lab, &web, &next);
    assert_nothing_of_a_plan(lab, &web);
    assert_eq!((web.version().as_deref(), web.init()), (Some("1"), init));
    assert_eq!((plan.verdict, plan.from, plan.to), (PlanVerdict::Live, Some(id(1)), None));
    assert_eq!(plan.changes, [KeyChange::new("resources.memory").with_to("256M".to_owned())]);
    let units = foretold(&plan);
    let is = |units: &[String], wanted: &[&str]| {
        for unit in wanted {
            assert!(units.contains(&format!("{unit}.service")), "{unit}: {plan:?}");
        }
    };
    is(&units.restart, &["greeting"]);
    is(&units.stop, &["gone"]);
    is(&units.start, &["fresh"]);
    if kind == Kind::Systemd {
        is(&units.reload, &["reloaded"]);
        is(&units.keep, &["kept"]);
        is(&units.restart, &["restarted"]);
    }
    // What the store says, too: what only one of both has, and the size of all.
    let packages = plan.packages.clone().unwrap();
    assert!(packages.bytes_after > 0 && packages.paths_after > 4, "{packages:?}");
    let fresh = packages.packages.iter().find(|package| package.name.contains("fresh"));
    assert!(
        fresh.is_some_and(|fresh| fresh.fate == PackageFate::Added && fresh.bytes_after > 0),
        "{packages:?}"
    );
    let (units, pending) = units_of_update(lab, &web, &next);
    assert_eq!(*foretold(&plan), units);
    assert_eq!(plan.pending_restart, pending);
    assert_eq!(plan.package, web.generation_path(2));
    assert_eq!(crate::limits::memory(&web), (256 << 20).to_string());
    // Once more it is what it is.
    let plan = self::plan(lab, &web, &next);
    assert_eq!(plan.verdict, PlanVerdict::Nothing, "{plan:?}");
    assert!(plan.packages.is_some_and(|packages| packages.packages.is_empty() && packages.rebuilt == 0));
    assert_shown(&web, &[1, 2]);
}

fn root_a_plan_foretells_what_waits_for_a_restart(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let next = file(&web, "2").extra("lxc.environment = COLOUR=red").keys("resources.openFiles = 5000;");
    let plan = plan(lab, &web, &next);
    assert_eq!(plan.verdict, PlanVerdict::Restart);
    let keys: Vec<&str> = plan.pending_restart.iter().map(|pending| pending.key.as_str()).collect();
    assert!(keys.contains(&"lxc.environment"), "{keys:?}");
    assert_eq!(plan.pending_restart, web.update(&next).pending_restart);
    // A system that the guest's init cannot be switched to.
    let other = file(&web, "3").module("standin.initInterface = \"2\";");
    let plan = self::plan(lab, &web, &other);
    assert_eq!((plan.verdict, &plan.units), (PlanVerdict::Restart, &PlannedUnits::NeedsRestart));
    let error = web.try_update(&other).unwrap_err();
    assert!(
        matches!(&error, Error::Activation { outcome: FailedActivation::NeedsRestart, .. }),
        "{}",
        chain(&error)
    );
    let error = |file: &File| chain(&web.try_update(file).unwrap_err());
    // One that a check before the switch refuses.
    let other = file(&web, "4").module("standin.switchInhibitors = { dbus = \"2\"; };");
    let plan = self::plan(lab, &web, &other);
    assert!(
        matches!(&plan.units, PlannedUnits::Refused { line, .. } if line.contains("switchInhibitors")),
        "{plan:?}"
    );
    assert_eq!(plan.verdict, PlanVerdict::Refused);
    assert!(error(&other).contains("put back") || web.generation() == 3);
}

fn root_a_plan_of_a_guest_that_does_not_run(lab: &Lab) {
    let (web, new) = (lab.busybox("web"), lab.busybox("new"));
    web.create_from(&file(&web, "1"));
    let same = plan(lab, &web, &file(&web, "1"));
    assert_eq!((same.verdict, same.units), (PlanVerdict::Nothing, PlannedUnits::Unasked));
    let next = plan(lab, &web, &file(&web, "2").keys("autostart = true;"));
    assert_eq!((next.verdict, &next.units), (PlanVerdict::NextStart, &PlannedUnits::Unasked));
    let change = KeyChange::new("autostart.enable").with_from("false".to_owned()).with_to("true".to_owned());
    assert_eq!(next.changes, [change]);
    assert_eq!((web.generations(), work(lab)), (vec![1], Vec::new()));
    let created = plan(lab, &new, &file(&new, "1"));
    assert_eq!((created.verdict, created.state, created.from), (PlanVerdict::Create, None, None));
    let packages = created.packages.unwrap();
    assert!(packages.packages.iter().all(|package| package.fate == PackageFate::Added), "{packages:?}");
    assert!(!new.container().exists().must("exists"));
    assert_eq!(work(lab), [] as [PathBuf; 0]);
    // One that only looks builds nothing.
    let before = tree(lab);
    let update = UpdateRequest::new(lab.file(web.name().as_str(), &file(&web, "never-built")));
    let look = PlanRequest::new(PlanTarget::Update(update)).with_look_only(true);
    let looked = web.container().plan(&look, &mut ()).must("plan");
    assert_eq!((looked.verdict, looked.packages), (PlanVerdict::NextStart, None));
    assert!(!looked.package.exists());
    assert_eq!(tree(lab), before);
}

fn root_a_plan_is_refused_as_the_change_is(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    db.create_from(&db.file().keys("network.ip = \"10.101.7.7\";"));
    web.create_from(&file(&web, "1"));
    web.start();
    let refused = [
        file(&web, "2").keys("network.ip = \"10.101.7.7\";"),
        file(&web, "2").extra("lxc.idmap = u 0 0 1"),
        file(&web, "2").keys("devices.\"/dev/none-such\" = {};"),
        file(&web, "2").module("standin.buildFails = true;"),
    ];
    for file in &refused {
        let foretold = try_plan(lab, &web, file).unwrap_err();
        let told = web.try_update(file).unwrap_err();
        assert_eq!(chain(&foretold), chain(&told));
    }
    web.container().freeze().must("freeze");
    let next = file(&web, "2");
    assert_eq!(chain(&try_plan(lab, &web, &next).unwrap_err()), chain(&web.try_update(&next).unwrap_err()));
    web.container().unfreeze().must("unfreeze");
    assert_nothing_of_a_plan(lab, &web);
}

fn root_a_killed_plan_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let next = |version: &str| {
        let file = file(&web, version).module("standin.dryActivate = \"sleep 0.3\";");
        lab.file(web.name().as_str(), &file)
    };
    let usual = crash::usual(lab, "plan", &web, Some(&next("0")));
    assert_nothing_of_a_plan(lab, &web);
    let mut seen = 0;
    for at in 0..crash::MOMENTS {
        crash::kill(lab, "plan", &web, Some(&next(&format!("killed-{at}"))), at, usual);
        seen += usize::from(!work(lab).is_empty());
        // What asks in the guest ends with who asked.
        eventually("it ended", std::time::Duration::from_secs(20), || {
            !web.shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' '").contains("dry-activate\u{20}")
        });
        // Another operation on this container, which has nothing to do.
        web.container().delete_generations(&Selection::Old, &mut ()).must("delete");
        assert_nothing_of_a_plan(lab, &web);
        assert_eq!(web.version().as_deref(), Some("1"), "moment {at}");
    }
    assert!(seen > 0, "no plan was killed while it held a root");
    // Also a start of it.
    crash::kill(lab, "plan", &web, Some(&next("last")), crash::MOMENTS - 3, usual);
    web.terminate();
    web.start();
    assert_nothing_of_a_plan(lab, &web);
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_guest_that_hangs_in_a_plan_is_cut_off(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let hangs = file(&web, "2").module("standin.dryActivate = \"exec sleep 100000\";");
    let manager = lab.manager_with(|config| config.timeouts.activate = 1);
    let plan = plan_by(&manager, lab, &web, &hangs).must("plan");
    assert!(
        matches!(&plan.units, PlannedUnits::Unknown { why, .. } if why.contains("within 1 s")),
        "{plan:?}"
    );
    assert_eq!(plan.verdict, PlanVerdict::Live);
    assert_nothing_of_a_plan(lab, &web);
    assert_eq!(web.sh("ps | grep '[s]leep 100000' | wc -l").text(), "1", "only its service sleeps");
}

fn root_a_guest_lies_in_a_plan_within_bounds(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1"));
    web.start();
    let odd = r#"standin.dryActivate = ''
      printf '\033]0;x\007would reload the following units: \033[2J;$(reboot).service, odd.service\n'
      printf 'would start the following units: \033[1mbold.service, -rf, ok@1.service, a/b.service\n'
      printf '\033[2Jerror: \007no\n'
      exit 0'';"#;
    let told = plan(lab, &web, &file(&web, "2").module(odd));
    let units = foretold(&told);
    assert!(units.reload.is_empty(), "{units:?}");
    assert!(units.start.contains(&"ok@1.service".to_owned()) && !format!("{told:?}").contains('\u{1b}'));
    let fails = odd.replace("exit 0", "exit 7");
    let told = plan(lab, &web, &file(&web, "3").module(&fails));
    assert_eq!(told.units, unknown("it ends with 7: [2Jerror: no"));
    let shouts = "standin.dryActivate = \"yes would start the following units: a.service\";";
    let told = plan(lab, &web, &file(&web, "4").module(shouts));
    assert_eq!(told.units, unknown("it says more than 1048576 bytes"));
    assert_nothing_of_a_plan(lab, &web);
}

/// As it is stored.
fn unknown(why: &str) -> PlannedUnits {
    serde_json::from_value(serde_json::json!({ "unknown": { "why": why } })).unwrap()
}

fn root_a_plan_of_a_rollback_is_what_it_then_does(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(&file(&web, "1").keys("resources.memory = \"256M\";"));
    web.start();
    web.update(&file(&web, "2").extra("lxc.environment = COLOUR=red"));
    web.update(&file(&web, "3"));
    let asks = |request: SwitchRequest, look_only: bool| {
        let request = PlanRequest::new(PlanTarget::Switch(request)).with_look_only(look_only);
        web.container().plan(&request, &mut ()).must("plan")
    };
    let back = asks(SwitchRequest::new(), false);
    assert_eq!((back.from, back.to, back.verdict), (Some(id(3)), Some(id(2)), PlanVerdict::Restart));
    assert!(foretold(&back).restart.contains(&"greeting.service".to_owned()));
    let before = tree(lab);
    let looked = asks(SwitchRequest::new(), true);
    assert_eq!(tree(lab), before);
    assert_eq!(looked, back.clone().with_units(PlannedUnits::Unasked));
    assert_shown(&web, &[1, 3]);
    let one = asks(SwitchRequest::new().with_to(id(1)), false);
    assert_eq!((one.to, one.verdict), (Some(id(1)), PlanVerdict::Live));
    assert_eq!(one.changes, [KeyChange::new("resources.memory").with_to("256M".to_owned())]);
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!((switched.from, switched.to), (id(3), id(2)));
    assert_eq!(switched.pending_restart, back.pending_restart);
}

fn root_the_plan_of_the_command_line(lab: &Lab) {
    let (web, new) = (lab.busybox("web"), lab.busybox("new"));
    web.create_from(&file(&web, "1"));
    web.start();
    let next = lab.file("next", &file(&web, "2").keys("resources.memory = \"256M\";"));
    let next = next.display();
    let told = lab.plain(&lab.line(&format!("plan @web {next}")).done());
    for line in [
        "units, in the guest's own words:",
        "  restart  greeting.service",
        "resources.memory: - -> 256M",
        "live: `update web /lab/files/next.nix` does all of it in the running guest",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}: {told}");
    }
    assert!(told.contains("closure: "), "{told}");
    let code = |line: String| lab.line(&line).code;
    assert_eq!(code(format!("plan @web {next} --exit-code")), 10);
    assert_eq!(code("plan @web --exit-code".to_owned()), 0);
    assert_eq!(code(format!("plan @new {next} --exit-code")), 13);
    assert_eq!(code("plan @new".to_owned()), 1);
    let json: serde_json::Value =
        serde_json::from_str(&lab.line(&format!("plan @web {next} --json")).done()).unwrap();
    crate::json::holds(&json, "plan");
    assert_eq!((&json["verdict"], &json["units"]["known"]), (&"live".into(), &"told".into()), "{json}");
    assert_eq!(json["units"]["restart"], serde_json::json!(["greeting.service"]));
    assert_nothing_of_a_plan(lab, &web);
    // What others say in a dry run is what they then do.
    assert_eq!(code(format!("update @web {next}")), 0);
    let told = lab.plain(&lab.line("rollback @web --dry-run").done());
    assert!(told.ends_with("live: `rollback web` does all of it in the running guest"), "{told}");
    let told = lab.line("switch-generation @web 7 --dry-run");
    assert!(told.code == 1 && told.stderr.contains("there is no generation 7"), "{told:?}");
    let told = lab.plain(&lab.line("delete-generations @web old --dry-run").done());
    assert_eq!(told, "web has no such generation to delete", "the booted one and the current one stay");
    web.stop();
    let told = lab.plain(&lab.line("delete-generations @web old --dry-run").done());
    assert_eq!((told.as_str(), web.generations()), ("would delete generation 1 of web", vec![1, 2]));
    assert_eq!(lab.plain(&lab.line("delete-generations @web old").done()), "deleted generation 1 of web");
    assert_eq!(lab.plain(&lab.line("destroy @web --dry-run").done()), "remove web");
    web.start();
    let told = lab.line("destroy @web --dry-run");
    let refused = lab.line("destroy @web");
    assert_eq!((told.code, refused.code), (1, 1));
    assert!(
        told.stderr.contains("it is running") && refused.stderr.contains("it is running"),
        "{told:?} {refused:?}"
    );
    assert_eq!(lab.plain(&lab.line("destroy @web --dry-run --force").done()), "remove web");
    assert_eq!(web.version().as_deref(), Some("2"));
    let told = lab.line(&format!("create @web {next} --dry-run"));
    assert!(told.code == 1 && told.stderr.contains("exists"), "{told:?}");
    let told = lab.plain(&lab.line(&format!("create @new {next} --dry-run")).done());
    assert!(told.ends_with("create: `create new /lab/files/next.nix` makes new"), "{told}");
    assert!(!new.container().exists().must("exists"));
}
