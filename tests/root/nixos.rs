//! What NixOS sets and starts by default, in an unprivileged guest: the stand-in's systemd guest has it, too.

use std::process::Command;
use std::time::{Duration, Instant};

use nixcloud_container::{Error, Event, FailedActivation, UpdateRequest, Updated, generation::Health};

use crate::harness::guest::id;
use crate::harness::{Guest, Kind, Lab, Must, runner, scenarios};

scenarios! {
    once: [
        root_nixos_defaults_leave_a_guest_running_and_every_update_at_0,
        root_nixos_of_20_09_leaves_a_guest_running_and_every_update_at_0,
        root_a_users_own_value_beats_ours,
        root_units_that_had_failed_blame_no_generation,
        root_a_systemctl_that_hangs_holds_up_no_update,
        root_a_generation_that_reports_nothing_is_judged_by_nixos_words,
    ],
    both: [
        root_a_failed_unit_hides_no_failed_activation,
    ],
}

/// A service that fails at once, as `wantedBy = multi-user.target` starts it.
fn failing(name: &str) -> String {
    format!(
        "systemd.services.{name} = {{ wantedBy = [ \"multi-user.target\" ]; script = \"exit 9\"; \
         serviceConfig.Type = \"oneshot\"; }};"
    )
}

/// What systemd calls the guest, once it has booted.
fn condition(guest: &Guest<'_>) -> String {
    guest.sh("systemctl is-system-running --wait").text().trim().to_owned()
}

fn failed_units(guest: &Guest<'_>) -> String {
    guest.sh("systemctl list-units --state=failed --plain --no-legend").text()
}

/// By the command, as an admin sees it: `running`, and 0 of each change.
fn runs_and_changes_at_0(lab: &Lab, web: &Guest<'_>, arguments: &[&str]) {
    let name = web.name().to_string();
    let change = |words: &[&str]| {
        let told = lab.cli([words, &["--json"]].concat());
        assert_eq!(told.code, 0, "{words:?}: {told:?}");
        let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!(said["activated"], true, "{told:?}");
        assert_eq!(said["failed_before"], serde_json::json!([]), "{told:?}");
        assert_eq!(condition(web), "running", "{words:?}: {}", failed_units(web));
    };
    let update = |version: &str| {
        let file = lab.file(&name, &web.file().version(version));
        change(&[&["update", &name, file.to_str().unwrap()], arguments].concat());
        assert_eq!(web.version().as_deref(), Some(version));
    };
    assert_eq!(condition(web), "running", "{}", failed_units(web));
    update("2");
    update("3");
    change(&["rollback", &name]);
    change(&["switch-generation", &name, "3"]);
    web.stop();
    web.start();
    assert_eq!(condition(web), "running", "{}", failed_units(web));
    let list = web.container().generations().must("generations");
    assert!(list.iter().all(|generation| generation.health != Health::Bad), "{list:?}");
    // It was set, not left out.
    assert_eq!(web.shell("cat /proc/sys/net/ipv4/ping_group_range"), "0\t65535");
}

fn root_nixos_defaults_leave_a_guest_running_and_every_update_at_0(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    web.create_from(&web.file().keys("network.ip = \"10.101.3.3\";"));
    web.start();
    let set = web.shell("cat /etc/sysctl.d/60-nixos.conf");
    for key in ["kernel.kptr_restrict=1", "kernel.pid_max=4194304", "vm.max_map_count=1048576"] {
        assert!(set.lines().any(|line| line == key), "{set}");
    }
    runs_and_changes_at_0(lab, &web, &[]);
}

/// A stand-in that plays another release.
fn release(lab: &Lab, release: &str) -> String {
    let standin = std::env::var(runner::STANDIN).unwrap();
    let tree = lab.path(&format!("/files/nixpkgs-{release}"));
    assert!(
        Command::new("cp").arg("-R").args([standin.as_ref(), tree.as_os_str()]).status().unwrap().success()
    );
    let file = tree.join("release.nix");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(file, format!("\"{release}\"")).unwrap();
    tree.display().to_string()
}

/// Its scripted network fails where LXC has set the address already.
fn root_nixos_of_20_09_leaves_a_guest_running_and_every_update_at_0(lab: &Lab) {
    let nixpkgs = format!("nixpkgs={}", release(lab, "20.09"));
    let web = lab.guest("web", Kind::Systemd);
    let mut request = web.request(&web.file().keys("network.ip = \"10.101.3.3\";"));
    request.nix_args = vec!["-I".to_owned(), nixpkgs];
    web.container().create(&request, &mut ()).must("create");
    web.start();
    assert_eq!(condition(&web), "running", "{}", failed_units(&web));
    let addresses = web.shell("ip -4 -o addr show dev hostonly");
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
    assert!(addresses.contains("inet 10.101.3.3/16"), "{addresses}");
    assert!(web.pings());
    // Set anew from inside, by the switch that changes the unit.
    web.update(&web.file().version("2").keys("network.ip = \"10.101.3.4\";"));
    web.stop();
    web.start();
    assert_eq!(condition(&web), "running", "{}", failed_units(&web));
    assert!(web.pings());
    runs_and_changes_at_0(lab, &web, &[]);
}

/// What NixOS gives is 0 to 2147483647: with it systemd-sysctl fails, which shows that the guest has the trait, that the
/// user has the last word, and that no later generation is blamed.
fn root_a_users_own_value_beats_ours(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let file = web.file().module("boot.kernel.sysctl.\"net.ipv4.ping_group_range\" = \"0 2147483647\";");
    web.create_from(&file);
    web.start();
    assert_eq!(condition(&web), "degraded");
    assert!(failed_units(&web).starts_with("systemd-sysctl.service"), "{}", failed_units(&web));
    let switched = web.try_update(&file.clone().version("2")).must("update");
    assert_eq!(switched.failed_before, ["systemd-sysctl.service"]);
    // Without it, the unit is mended by the switch.
    let switched = web.try_update(&web.file().version("3")).must("update");
    assert_eq!((&switched.failed_before[..], condition(&web)), (&[][..], "running".to_owned()));
}

fn root_units_that_had_failed_blame_no_generation(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let file = web.file().module(&failing("old"));
    web.create_from(&file);
    web.start();
    assert_eq!(condition(&web), "degraded");

    let (mut notes, mut health) = (Vec::new(), Vec::new());
    let request = UpdateRequest::new(lab.file(web.name().as_str(), &file.clone().version("2")));
    let mut observer = |event: Event| match event {
        Event::Note(note) => notes.push(note.to_string()),
        Event::Health { health: now, .. } => health.push(now),
        _ => {}
    };
    let updated = web.container().update(&request, &mut observer).must("update");
    let Updated::Switched(switched) = updated else { panic!("{updated:?}") };
    assert_eq!((switched.to, &switched.failed_before[..]), (id(2), &["old.service".to_owned()][..]));
    assert_eq!(health, [Health::Good]);
    assert!(notes.iter().any(|note| note.contains("old.service")), "{notes:?}");
    let told = lab.cli(["rollback", web.name().as_str(), "--json"]);
    assert_eq!(told.code, 0, "{told:?}");
    let said: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(said["failed_before"], serde_json::json!(["old.service"]));

    // One more is of this generation, and the only one that is.
    let error = web.try_update(&file.version("3").module(&failing("new"))).unwrap_err();
    match &error {
        Error::Activation {
            outcome: FailedActivation::UnitsFailed { units, .. }, restored: None, ..
        } => {
            assert_eq!(units[..], ["new.service"]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(web.container().generations().must("generations")[2].health, Health::Bad);
}

fn root_a_systemctl_that_hangs_holds_up_no_update(lab: &Lab) {
    let web = lab.guest("web", Kind::Systemd);
    let hangs = "environment.systemPackages = [ (pkgs.writeScriptBin \"systemctl\" \
                 \"#!${pkgs.runtimeShell}\\nexec sleep 7654\\n\") ];";
    let file = web.file().module(hangs);
    web.create_from(&file);
    web.start();
    let begin = Instant::now();
    // It looks as if the guest were starting, which is waited for, too.
    let manager = lab.manager_with(|config| config.timeouts.boot = 5);
    let request = UpdateRequest::new(lab.file(web.name().as_str(), &file.version("2")));
    manager.container(web.name().clone()).update(&request, &mut ()).must("update");
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(4) && took < Duration::from_secs(50), "{took:?}");
    assert_eq!(web.version().as_deref(), Some("2"));
    assert!(web.sh("pgrep -f 'sleep 765[4]'").text().is_empty(), "what hangs was left");
}

fn put_back(web: &Guest<'_>, error: &Error) {
    assert!(
        matches!(
            error,
            Error::Activation { outcome: FailedActivation::Failed { code: 2, .. }, restored: Some(_), .. }
        ),
        "{error:?}"
    );
    assert_eq!((web.generation(), web.version().as_deref()), (1, Some("1")));
}

fn root_a_failed_unit_hides_no_failed_activation(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    let broken = "system.activationScripts.broken = \"exit 9\";";
    let bad = web.file().version("2").module(broken).module(&failing("broken"));
    put_back(&web, &web.try_update(&bad).unwrap_err());
    // A failed unit alone is one.
    let error = web.try_update(&web.file().version("3").module(&failing("broken"))).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Activation { outcome: FailedActivation::UnitsFailed { .. }, restored: None, .. }
        ),
        "{error:?}"
    );
}

/// Generations that earlier versions built, and those whose user took the report away.
fn root_a_generation_that_reports_nothing_is_judged_by_nixos_words(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    let silent = "system.activationScripts.zzz-nixcloud-container = lib.mkForce \"\"; \
                  system.activationScripts.broken = \"exit 9\";";
    let bad = web.file().version("2").module(silent).module(&failing("broken"));
    put_back(&web, &web.try_update(&bad).unwrap_err());
}
