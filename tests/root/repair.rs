//! What is damaged or lost of a container has a way out: it is found, made anew of the rest, and never in the way of an end.

use std::fs;
use std::path::{Path, PathBuf};

use nixcloud_container::{
    DestroyRequest, Error, Listed, Part, Repair, RepairOutcome, RepairRequest, State, StopOutcome,
    UpdateRequest, Verdict,
};

use crate::harness::{Guest, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_a_damaged_record_is_made_anew,
        root_a_guest_ends_and_goes_without_its_record,
        root_claims_that_say_something_else_are_put_right,
        root_a_lost_profile_leads_to_a_generation_again,
        root_lost_folders_are_made_anew,
    ],
    both: [],
}

fn state(lab: &Lab, path: &str) -> PathBuf {
    lab.path("/var/lib/nixcloud/container").join(path)
}

fn record(lab: &Lab, web: &Guest<'_>) -> PathBuf {
    state(lab, &format!("records/{}.toml", web.name()))
}

/// What is done to a record, by its path and what is in it.
type Damage = fn(&Path, &str);

/// All that a record can be.
fn damages() -> Vec<(&'static str, Damage)> {
    fn with(path: &Path, text: &str, from: &str, to: &str) {
        assert!(text.contains(from), "{text}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }
    vec![
        ("empty", |path, _| fs::write(path, "").unwrap()),
        ("half", |path, text| fs::write(path, &text[..120]).unwrap()),
        ("garbage", |path, _| fs::write(path, [0x9f, 0, 0xff, 0x0a, 0x3d].repeat(60)).unwrap()),
        ("of zeros", |path, _| fs::write(path, [0; 400]).unwrap()),
        ("of a wrong type", |path, text| with(path, text, "lease = \"", "lease = 5 # \"")),
        ("with an unknown key", |path, text| fs::write(path, format!("hello = 1\n{text}")).unwrap()),
        ("of another container", |path, text| with(path, text, "name = \"web", "name = \"other")),
        ("lost", |path, _| fs::remove_file(path).unwrap()),
        ("a folder", |path, _| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ]
}

/// What `host check` says of containers.
fn wrong(lab: &Lab) -> Vec<String> {
    let findings = lab.manager().host_check();
    let ours = findings.into_iter().filter(|finding| finding.part == Part::Container);
    ours.filter(|finding| finding.verdict == Verdict::Wrong)
        .map(|finding| format!("{}; {}", finding.what, finding.mend.unwrap_or_default()))
        .collect()
}

#[track_caller]
fn repair(lab: &Lab, request: &RepairRequest) -> Vec<Repair> {
    lab.manager().repair(request, &mut ()).must("repair")
}

/// Finds something wrong, mends all of it, and then finds nothing.
#[track_caller]
fn mended(lab: &Lab, web: &Guest<'_>) -> Vec<Repair> {
    let found = wrong(lab);
    assert!(!found.is_empty());
    let repairs = repair(lab, &RepairRequest::of(web.name().clone()));
    assert!(!repairs.is_empty());
    for repair in &repairs {
        assert!(matches!(repair.outcome, RepairOutcome::Mended), "{repair:?}");
    }
    assert_eq!(wrong(lab), [""; 0]);
    assert!(repair_again(lab).is_empty());
    repairs
}

fn repair_again(lab: &Lab) -> Vec<Repair> {
    repair(lab, &RepairRequest::new().with_dry_run(true))
}

fn root_a_damaged_record_is_made_anew(lab: &Lab) {
    let web = lab.busybox("web");
    web.create_from(
        &web.file().keys("network.enableNat = true; network.forwards = [ { hostPort = 8080; } ];"),
    );
    web.update(
        &web.file()
            .version("2")
            .keys("network.enableNat = true; network.forwards = [ { hostPort = 8080; } ];"),
    );
    let status = web.container().status().must("status");
    let path = record(lab, &web);
    let whole = fs::read_to_string(&path).unwrap();
    for (what, damage) in damages() {
        damage(&path, &whole);
        let error = web.container().status().unwrap_err();
        let told = chain(&error);
        assert!(told.contains(&path.display().to_string()), "{what}: {told}");
        let hint = error.hint().unwrap_or_default();
        assert!(hint.contains(&format!("repair {}", web.name())), "{what}: {hint}");
        // Asked what it would do, it does nothing.
        let planned = repair_again(lab);
        assert!(
            planned.iter().all(|one| matches!(one.outcome, RepairOutcome::Planned)),
            "{what}: {planned:?}"
        );
        web.container().status().unwrap_err();
        mended(lab, &web);
        let anew = web.container().status().must("status");
        assert_eq!(
            (anew.address, anew.ids, anew.generation),
            (status.address, status.ids, status.generation),
            "{what}"
        );
        let text = fs::read_to_string(&path).unwrap();
        for key in ["internet", "ports", "lease"] {
            let line = |text: &str| text.lines().find(|line| line.starts_with(key)).map(str::to_owned);
            assert_eq!(line(&text), line(&whole), "{what}");
        }
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_file(&path).unwrap();
    mended(lab, &web);
    // What nothing but the record knew is asked for.
    let error = web.container().update(&UpdateRequest::default(), &mut ()).unwrap_err();
    assert!(matches!(error, Error::NoFile { .. }), "{error:?}");
    web.update(&web.file().version("3"));
    web.start();
    assert_eq!(web.version().as_deref(), Some("3"));
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_a_guest_ends_and_goes_without_its_record(lab: &Lab) {
    let other = lab.busybox("other");
    other.boot();
    for (what, damage) in
        damages().into_iter().filter(|(what, _)| ["garbage", "lost", "a folder"].contains(what))
    {
        let web = lab.busybox("web");
        web.boot();
        let path = record(lab, &web);
        damage(&path, &fs::read_to_string(&path).unwrap());
        // It is one of ours that is broken, and no stranger.
        let listed = lab.manager().list().must("list");
        let ours = listed.iter().find(|one| one.name() == web.name().as_str());
        assert!(matches!(ours, Some(Listed::Broken { .. })), "{what}: {listed:?}");
        assert_eq!(web.container().terminate().must(what), StopOutcome::Stopped, "{what}");
        assert_eq!(web.container().terminate().must(what), StopOutcome::NotRunning, "{what}");
        web.container().destroy(DestroyRequest::new()).unwrap_err();
        web.container().destroy(DestroyRequest::new().with_force(true)).must(what);
        assert!(!web.container().exists().must("exists"), "{what}");
        web.boot();
        damage(&path, &fs::read_to_string(&path).unwrap());
        web.container().destroy(DestroyRequest::new().with_force(true)).must(what);
    }
    assert_eq!(other.state(), State::Running);
    // What a newer version wrote is no damage: the guest ends, and nothing goes that this version may not know of.
    let path = record(lab, &other);
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.replacen("schema = ", "schema = 9", 1)).unwrap();
    let error = other.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
    assert!(chain(&error).contains("reads up to"), "{}", chain(&error));
    assert_eq!(other.container().terminate().must("terminate"), StopOutcome::Stopped);
    fs::write(&path, whole).unwrap();
    other.destroy();
    lab.assert_nothing_left();
}

fn root_claims_that_say_something_else_are_put_right(lab: &Lab) {
    let (web, other) = (lab.busybox("web"), lab.busybox("other"));
    web.create_from(&web.file().keys("network.forwards = [ { hostPort = 8080; } ];"));
    other.create();
    let address = state(lab, "addresses/10.101.0.2");
    let ids = state(lab, "ids/100000");
    let port = state(lab, "ports/tcp-8080");
    let interface = fs::read_dir(state(lab, "interfaces"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| fs::read_to_string(path).unwrap() == web.name().as_str())
        .unwrap();
    for claim in [&address, &ids, &port, &interface] {
        for damage in [None, Some(""), Some("no name!"), Some(other.name().as_str())] {
            match damage {
                None => fs::remove_file(claim).unwrap(),
                Some(text) => fs::write(claim, text).unwrap(),
            }
            let repairs = repair(lab, &RepairRequest::new());
            let good = |one: &Repair| matches!(one.outcome, RepairOutcome::Mended) && one.path == **claim;
            assert!(repairs.len() == 1 && repairs.iter().all(good), "{damage:?}: {repairs:?}");
            assert_eq!(fs::read_to_string(claim).unwrap(), web.name().as_str());
        }
    }
    // The ids that are shared are claimed for all that share them.
    let shared = lab.busybox("shared");
    shared.create_from(&shared.file().keys("idmap = \"shared\";"));
    let claim = state(lab, "ids/231072");
    for damage in ["", web.name().as_str()] {
        fs::write(&claim, damage).unwrap();
        mended(lab, &shared);
        assert_eq!(fs::read_to_string(&claim).unwrap(), ".shared");
    }
    fs::remove_file(&claim).unwrap();
    mended(lab, &shared);
    shared.destroy();
    assert!(!claim.exists());
    // What nobody has is not lost for ever.
    let third = lab.busybox("third");
    for lost in ["addresses/10.101.0.4", "ports/tcp-8081", "ids/231072"] {
        fs::write(state(lab, lost), "").unwrap();
    }
    let file = third.file().keys("network.ip = \"10.101.0.4\"; network.forwards = [ { hostPort = 8081; } ];");
    let error = third.try_create(&file).unwrap_err();
    assert!(chain(&error).contains("addresses/10.101.0.4"), "{error}");
    assert!(error.hint().unwrap_or_default().contains("repair"), "{error:?}");
    assert_eq!(wrong(lab).len(), 3);
    // Of one container nothing else is touched.
    assert!(repair(lab, &RepairRequest::of(web.name().clone())).is_empty());
    assert_eq!(repair(lab, &RepairRequest::new()).len(), 3);
    assert_eq!(wrong(lab), [""; 0]);
    third.create_from(&file);
    for guest in [web, other, third] {
        guest.destroy();
    }
    lab.assert_nothing_left();
}

fn root_a_lost_profile_leads_to_a_generation_again(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    web.update(&web.file().version("2"));
    fs::write(web.rootfs().join("kept"), "data").unwrap();
    let folder = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    let profile = folder.join("profile");
    let lead = |target: Option<&str>| {
        fs::remove_file(&profile).unwrap();
        if let Some(target) = target {
            std::os::unix::fs::symlink(target, &profile).unwrap();
        }
    };
    for target in [None, Some("profile-77-link"), Some("/nix/store/00000000000000000000000000000000-gone")] {
        lead(target);
        let error = web.container().start(&mut ()).unwrap_err();
        assert!(chain(&error).contains(&folder.display().to_string()), "{error}");
        mended(lab, &web);
        assert_eq!(web.generation(), 2, "{target:?}");
    }
    // A generation that is not in the store is none.
    fs::remove_file(folder.join("profile-2-link")).unwrap();
    std::os::unix::fs::symlink(
        "/nix/store/00000000000000000000000000000000-gone",
        folder.join("profile-2-link"),
    )
    .unwrap();
    mended(lab, &web);
    assert_eq!((web.generation(), web.generations()), (1, vec![1]));
    // With all of it gone there is the container file.
    fs::remove_dir_all(&folder).unwrap();
    let error = web.container().start(&mut ()).unwrap_err();
    assert!(error.hint().unwrap_or_default().contains(&format!("update {}", web.name())), "{error:?}");
    let repairs = repair(lab, &RepairRequest::new());
    let left = |one: &Repair| {
        matches!(one.outcome, RepairOutcome::Left) && one.mend.contains(&format!("update {}", web.name()))
    };
    assert!(repairs.len() == 1 && repairs.iter().all(left), "{repairs:?}");
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    assert_eq!(wrong(lab), [""; 0]);
    web.start();
    assert_eq!((web.version().as_deref(), web.shell("cat /kept").as_str()), (Some("2"), "data"));
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_lost_folders_are_made_anew(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let (folder, lock) = (web.folder(), state(lab, &format!("locks/{}", web.name())));
    // A folder in the place of the lock is in nobody's way.
    fs::create_dir(&lock).unwrap();
    assert!(!wrong(lab).is_empty());
    web.start();
    web.terminate();
    let lose: [(&str, &dyn Fn()); 3] = [
        ("rootfs", &|| fs::remove_dir_all(folder.join("rootfs")).unwrap()),
        ("locked", &|| fs::remove_dir(folder.join("locked")).unwrap()),
        ("all", &|| fs::remove_dir_all(&folder).unwrap()),
    ];
    for (what, lose) in lose {
        lose();
        let error = web.container().start(&mut ()).unwrap_err();
        assert!(matches!(error, Error::Lost { .. }), "{what}: {error:?}");
        if what == "all" {
            let error = web.try_update(&web.file().version("2")).unwrap_err();
            assert!(matches!(error, Error::Lost { .. }), "{error:?}");
        }
        mended(lab, &web);
        web.start();
        web.terminate();
    }
    fs::remove_file(folder.join("config")).unwrap();
    mended(lab, &web);
    // A backup that was unpacked without moving the ids.
    let chown = |path: &Path, id: u32| std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    let (rootfs, file) = (web.rootfs(), web.rootfs().join("srv-file"));
    fs::write(&file, "data").unwrap();
    chown(&file, 1000);
    chown(&rootfs, 0);
    mended(lab, &web);
    web.start();
    assert_eq!(web.shell("stat -c '%u %a' /srv-file"), "1000 644");
    // A guest that runs keeps what it has.
    fs::remove_file(folder.join("config")).unwrap();
    mended(lab, &web);
    assert_eq!(web.shell("cat /srv-file"), "data");
    web.terminate();
    web.destroy();
    lab.assert_nothing_left();
}
