//! Whole sets of containers: applied, planned, pruned, cut off; and all that there are, updated.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nixcloud_container::{
    Applied, ApplyRequest, ApplySource, Error, Event, Outcome, Planned, State, UpdateAllRequest,
};
use serde_json::json;

use crate::harness::command::program as program_of_the_build;
use crate::harness::{File, Guest, Lab, Must, chain, eventually, scenarios};

scenarios! {
    once: [
        root_apply_creates_updates_and_leaves_alone,
        root_apply_removes_only_what_it_declared,
        root_apply_leaves_out_what_is_broken,
        root_a_dry_run_changes_nothing,
        root_apply_of_a_folder,
        root_apply_in_the_order_of_autostart,
        root_apply_gives_back_what_it_reserved,
        root_update_of_all,
        root_apply_in_words,
        root_eval_needs_no_root,
    ],
    both: [],
}

/// Writes a set of containers.
pub fn set(lab: &Lab, containers: &[(&Guest<'_>, File)]) -> PathBuf {
    let entries = containers.iter().map(|(guest, file)| format!("\"{}\" = {};\n", guest.name(), file.text()));
    lab.write("all", &format!("{{\n{}}}\n", entries.collect::<String>()))
}

pub fn request(path: &Path) -> ApplyRequest {
    ApplyRequest::new(ApplySource::Set(path.to_owned()))
}

#[track_caller]
pub fn apply(lab: &Lab, path: &Path) -> Applied {
    lab.manager().apply(&request(path), &mut ()).must("apply")
}

#[track_caller]
pub fn prune(lab: &Lab, path: &Path) -> Applied {
    lab.manager().apply(&request(path).with_prune(true), &mut ()).must("apply")
}

/// What became of each, in a word.
pub fn words(lab: &Lab, applied: &Applied) -> BTreeMap<String, &'static str> {
    let word = |outcome: &Outcome| match outcome {
        Outcome::Planned => "planned",
        Outcome::Created(_) => "created",
        Outcome::Updated(switched) if switched.activated => "in place",
        Outcome::Updated(_) => "updated",
        Outcome::Unchanged => "unchanged",
        Outcome::Removed => "removed",
        Outcome::Kept => "kept",
        Outcome::Failed(_) => "failed",
        other => panic!("{other:?}"),
    };
    applied.containers.iter().map(|one| (lab.plain(&one.name), word(&one.outcome))).collect()
}

#[track_caller]
pub fn expect(lab: &Lab, applied: &Applied, expected: &[(&str, &'static str)]) {
    let expected: BTreeMap<String, &str> =
        expected.iter().map(|(name, word)| ((*name).to_owned(), *word)).collect();
    let faults: Vec<String> =
        applied.failures().map(|(name, error)| format!("{name}: {}", chain(error))).collect();
    assert_eq!(words(lab, applied), expected, "{faults:?}");
}

#[track_caller]
pub fn failure<'a>(lab: &Lab, applied: &'a Applied, name: &str) -> &'a Error {
    let found = applied.failures().find(|(failed, _)| lab.plain(failed) == name);
    found.unwrap_or_else(|| panic!("{name} did not fail: {applied:?}")).1
}

/// Every file of the lab's host, with its inode and the times of its last changes.
pub fn tree(lab: &Lab) -> BTreeMap<PathBuf, (u64, i64, i64, i64)> {
    fn walk(path: &Path, found: &mut BTreeMap<PathBuf, (u64, i64, i64, i64)>) {
        let Ok(about) = fs::symlink_metadata(path) else { return };
        found.insert(path.to_owned(), (about.ino(), about.mtime(), about.mtime_nsec(), about.ctime_nsec()));
        if about.is_dir() {
            fs::read_dir(path).unwrap().flatten().for_each(|entry| walk(&entry.path(), found));
        }
    }
    let mut found = BTreeMap::new();
    ["/var", "/nix"].iter().for_each(|top| walk(&lab.path(top), &mut found));
    found
}

fn root_apply_creates_updates_and_leaves_alone(lab: &Lab) {
    let (web, db, mail) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("mail"));
    let fixed = db.file().keys("network.ip = \"10.101.9.9\";");
    let all = set(lab, &[(&web, web.file()), (&db, fixed.clone()), (&mail, mail.file())]);
    expect(lab, &apply(lab, &all), &[("web", "created"), ("db", "created"), ("mail", "created")]);
    assert_eq!(db.address().octets(), [10, 101, 9, 9]);
    // Addresses are leased by name; the one that db did not need is free again.
    let mut addresses = [web.address().octets()[3], mail.address().octets()[3]];
    addresses.sort_unstable();
    assert!(addresses[1] <= 4, "{addresses:?}");
    assert_eq!(fs::read_dir(lab.path("/var/lib/nixcloud/container/addresses")).unwrap().count(), 3);
    let init = web.start();
    db.start();

    // The same again: nothing is done, and nothing is activated.
    let before = tree(lab);
    let mut events = Vec::new();
    let applied = lab.manager().apply(&request(&all), &mut |event| events.push(event)).must("apply");
    expect(lab, &applied, &[("web", "unchanged"), ("db", "unchanged"), ("mail", "unchanged")]);
    let quiet = |event: &Event| !matches!(event, Event::Activation { .. } | Event::BuildStarted { .. });
    assert!(events.iter().all(quiet), "{events:?}");
    let changed: Vec<PathBuf> = tree(lab)
        .into_iter()
        .filter(|(path, seen)| before.get(path) != Some(seen))
        .map(|(path, _)| path)
        .collect();
    let of_work = |path: &PathBuf| path.ends_with("work") || path.ends_with("locks");
    assert!(changed.iter().all(of_work), "{changed:?}");

    // One changes, and runs.
    let again = [(&web, web.file().version("2")), (&db, fixed), (&mail, mail.file())];
    let all = set(lab, &again);
    expect(lab, &apply(lab, &all), &[("web", "in place"), ("db", "unchanged"), ("mail", "unchanged")]);
    assert_eq!((web.version().as_deref(), web.init(), web.generations()), (Some("2"), init, vec![1, 2]));
    assert_eq!((mail.state(), mail.generations()), (State::Stopped, vec![1]));

    // Each knows where it comes from.
    lab.write("all", &fs::read_to_string(&all).unwrap().replace("version 2", "version 3"));
    web.container().update(&Default::default(), &mut ()).must("update");
    assert_eq!(web.version().as_deref(), Some("3"));
    assert_eq!(
        lab.plain(web.container().status().must("status").file.to_str().unwrap()),
        "/lab/files/all.nix#web"
    );
    assert_eq!(web.container().status().must("status").declared.as_deref(), all.to_str());
    web.container().rollback(&mut ()).must("rollback");
    expect(lab, &apply(lab, &all), &[("web", "in place"), ("db", "unchanged"), ("mail", "unchanged")]);
}

fn root_apply_removes_only_what_it_declared(lab: &Lab) {
    let (web, db, hand) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("hand"));
    hand.create();
    let all = set(lab, &[(&web, web.file()), (&db, db.file()), (&hand, hand.file().version("2"))]);
    let applied = apply(lab, &all);
    expect(lab, &applied, &[("web", "created"), ("db", "created"), ("hand", "failed")]);
    let error = failure(lab, &applied, "hand");
    assert!(matches!(error, Error::NotDeclared { by: None, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("destroy"), "{:?}", error.hint());
    assert_eq!(hand.generations(), [1]);
    // Another source has no say in them, and does not miss them.
    let other = lab.write("other", &format!("{{ \"{}\" = {}; }}", web.name(), web.file().text()));
    let applied = prune(lab, &other);
    expect(lab, &applied, &[("web", "failed")]);
    let error = failure(lab, &applied, "web");
    assert!(matches!(error, Error::NotDeclared { by: Some(by), .. } if by.ends_with("all.nix")), "{error:?}");

    db.start();
    let all = set(lab, &[(&web, web.file())]);
    expect(lab, &apply(lab, &all), &[("web", "unchanged"), ("db", "kept")]);
    assert_eq!(db.state(), State::Running);
    let dry = request(&all).with_dry_run(true).with_prune(true);
    let planned = lab.manager().apply(&dry, &mut ()).must("plan");
    expect(lab, &planned, &[("web", "planned"), ("db", "planned")]);
    assert!(
        planned.containers.iter().any(|one| matches!(one.planned, Planned::Remove { .. })),
        "{planned:?}"
    );
    expect(lab, &prune(lab, &all), &[("web", "unchanged"), ("db", "removed")]);
    assert!(!db.container().exists().must("exists"));
    assert!(hand.container().exists().must("exists"));
    // And the last one.
    let all = set(lab, &[]);
    expect(lab, &prune(lab, &all), &[("web", "removed")]);
    hand.destroy();
    lab.assert_nothing_left();
}

fn root_apply_leaves_out_what_is_broken(lab: &Lab) {
    let guests = ["a", "b", "c", "d", "e"].map(|name| lab.busybox(name));
    let [good, option, syntax, build, key] = &guests;
    let bad = lab.write("bad", "{ configuration = { ");
    let text = format!(
        "{{\n\"{}\" = {};\n\"{}\" = {};\n\"{}\" = {};\n\"{}\" = {};\n\"{}\" = {};\n\"no name\" = {{ }};\n}}",
        good.name(),
        good.file().text(),
        option.name(),
        option.file().module("services.nothing.enable = true;").text(),
        syntax.name(),
        bad.display(),
        build.name(),
        build.file().module("standin.buildFails = true;").text(),
        key.name(),
        key.file().keys("autostrat = true;").text(),
    );
    let all = lab.write("all", &text);
    let applied = apply(lab, &all);
    let expected =
        [("b", "failed"), ("c", "failed"), ("d", "failed"), ("e", "failed"), ("no name", "failed")];
    expect(lab, &applied, &[&[("a", "created")], &expected[..]].concat());
    let says = |name: &str, words: &str| {
        let error = chain(failure(lab, &applied, name));
        assert!(error.contains(words), "{name}: {error}");
    };
    says("b", "services.nothing");
    says("c", "syntax error");
    says("d", "cannot build");
    says("e", "autostrat");
    says("no name", "container name");
    let place = failure(lab, &applied, "b").excerpt().join("\n");
    assert!(place.contains("all.nix"), "{place}");
    let records = fs::read_dir(lab.path("/var/lib/nixcloud/container/records")).unwrap().count();
    let leased = fs::read_dir(lab.path("/var/lib/nixcloud/container/addresses")).unwrap().count();
    assert_eq!((records, leased), (1, 1), "something is left of those that failed");
    // One that exists stays as it is.
    good.start();
    let all = set(lab, &[(good, good.file().version("2").module("services.nothing.enable = true;"))]);
    let applied = apply(lab, &all);
    expect(lab, &applied, &[("a", "failed")]);
    assert_eq!((good.version().as_deref(), good.generations()), (Some("1"), vec![1]));
    // So it does where its activation fails, and the next one gets its turn.
    let bad = good.file().version("2").module("standin.switchExit = 1;");
    let all = set(lab, &[(good, bad), (option, option.file())]);
    let applied = apply(lab, &all);
    expect(lab, &applied, &[("a", "failed"), ("b", "created")]);
    assert_eq!(good.version().as_deref(), Some("1"));
}

fn root_a_dry_run_changes_nothing(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let dry = |path: &Path| {
        let before = tree(lab);
        let planned =
            lab.manager().apply(&request(path).with_dry_run(true).with_prune(true), &mut ()).must("plan");
        let after = tree(lab);
        let changed: Vec<&PathBuf> = after
            .iter()
            .filter(|(path, seen)| before.get(*path) != Some(*seen))
            .map(|(path, _)| path)
            .collect();
        assert!(changed.is_empty() && before.len() == after.len(), "{changed:?}");
        planned.containers.iter().map(|one| one.planned).collect::<Vec<_>>()
    };
    let all = set(lab, &[(&web, web.file()), (&db, db.file())]);
    // On a host that has nothing at all yet.
    assert_eq!(dry(&all), [Planned::Create, Planned::Create]);
    apply(lab, &all);
    web.start();
    assert_eq!(dry(&all), [Planned::Unchanged, Planned::Unchanged]);
    let all = set(lab, &[(&web, web.file().version("2"))]);
    let wanted = json!([{ "remove": { "data": { "files": 0, "bytes": 0 } } }, { "update": { "from": 1 } }]);
    assert_eq!(serde_json::to_value(dry(&all)).unwrap(), wanted);
    // An evaluation alone, too.
    let before = tree(lab);
    let request =
        nixcloud_container::EvalRequest::new(lab.file("one", &web.file().keys("network.enableNat = true;")));
    let evaluation = lab.manager().eval(&request, &mut ()).must("eval");
    assert_eq!((evaluation.name.as_str(), evaluation.leased), ("one", true));
    assert_eq!(evaluation.spec.effective.ip.unwrap().octets(), [10, 101, 255, 254]);
    assert!(!evaluation.derivation.exists(), "it was written: {}", evaluation.derivation.display());
    assert_eq!(tree(lab), before);
}

fn root_apply_of_a_folder(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let folder = lab.root().join("files/all");
    fs::create_dir_all(folder.join(db.name().as_str())).unwrap();
    fs::write(folder.join("_common.nix"), "{ }").unwrap();
    fs::write(folder.join("README"), "no container").unwrap();
    let file = folder.join(format!("{}.nix", web.name()));
    fs::write(&file, web.file().text()).unwrap();
    fs::write(folder.join(db.name().as_str()).join("default.nix"), db.file().text()).unwrap();
    expect(lab, &apply(lab, &folder), &[("web", "created"), ("db", "created")]);
    assert_eq!(web.container().status().must("status").file, file);
    // The same folder by another way to write it.
    let again = folder.join("../all/.");
    let planned = lab.cli(["apply", "--dry-run", again.to_str().unwrap()]);
    assert_eq!(planned.done(), "there is nothing to do: 2 unchanged");
    let told = Lab::told(lab.command(["apply", "--dry-run", "all/"]).current_dir(lab.root().join("files")));
    assert_eq!((told.code, told.stdout.as_str()), (0, "there is nothing to do: 2 unchanged\n"), "{told:?}");
    fs::remove_file(&file).unwrap();
    expect(lab, &prune(lab, &folder), &[("web", "removed"), ("db", "unchanged")]);
    fs::write(folder.join(format!("{}.nix", db.name())), "{ }").unwrap();
    let applied = apply(lab, &folder);
    expect(lab, &applied, &[("db", "failed")]);
    assert!(chain(failure(lab, &applied, "db")).contains("both "), "{applied:?}");
}

fn root_apply_in_the_order_of_autostart(lab: &Lab) {
    let (a, b, c) = (lab.busybox("a"), lab.busybox("b"), lab.busybox("c"));
    let after =
        |guest: &Guest<'_>, names: &str| guest.file().keys(&format!("autostart.after = [ {names} ];"));
    let all = set(
        lab,
        &[
            (&a, after(&a, &format!("\"{}\"", c.name()))),
            (&b, b.file().keys("autostart.order = -5;")),
            (&c, after(&c, "\"elsewhere\"")),
        ],
    );
    let mut order = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Container { name, number, of, .. } = event {
            order.push((lab.plain(name.as_str()), number, of));
        }
    };
    lab.manager().apply(&request(&all), &mut observer).must("apply");
    let expected = [("b", 1, 3), ("c", 2, 3), ("a", 3, 3)];
    assert_eq!(order, expected.map(|(name, number, of)| (name.to_owned(), number, of)));
}

fn root_apply_gives_back_what_it_reserved(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let fixed = "network.ip = \"10.101.7.7\";";
    let all = set(lab, &[(&web, web.file().keys(fixed)), (&db, db.file().keys(fixed))]);
    // In the order of their names.
    let applied = apply(lab, &all);
    expect(lab, &applied, &[("db", "created"), ("web", "failed")]);
    let error = failure(lab, &applied, "web");
    assert!(error.to_string().contains(&format!("`{}`", db.name())), "{error}");
    assert!(!web.container().exists().must("exists"));
    // From a fixed address to a leased one: the plan had none to offer.
    let all = set(lab, &[(&db, db.file())]);
    expect(lab, &apply(lab, &all), &[("db", "updated")]);
    assert_eq!(db.address().octets(), [10, 101, 0, 2]);
    expect(lab, &apply(lab, &all), &[("db", "unchanged")]);
    // The host configuration says now which one it is to be.
    let reserved = [10, 101, 0, 77].into();
    let host = lab.manager_with(|config| {
        config.network.reserved.insert(db.name().clone(), reserved);
    });
    let again = || host.apply(&request(&all), &mut ()).must("apply");
    expect(lab, &again(), &[("db", "updated")]);
    assert_eq!(db.address(), reserved);
    expect(lab, &again(), &[("db", "unchanged")]);
    // A set that is none.
    let error = lab.manager().apply(&request(&lab.file("one", &web.file())), &mut ()).unwrap_err();
    assert!(chain(&error).contains("set of containers"), "{}", chain(&error));
    prune(lab, &set(lab, &[]));
    lab.assert_nothing_left();
}

fn root_update_of_all(lab: &Lab) {
    let (web, db, old) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("old"));
    let all = set(lab, &[(&db, db.file())]);
    apply(lab, &all);
    web.boot();
    old.create();
    let update = || lab.manager().update_all(&UpdateAllRequest::default(), &mut ()).must("update");
    let unchanged = [("web", "unchanged"), ("db", "unchanged"), ("old", "unchanged")];
    expect(lab, &update(), &unchanged);
    // One from a set, one from a file of its own that runs, one whose file is gone.
    set(lab, &[(&db, db.file().version("2"))]);
    lab.file(web.name().as_str(), &web.file().version("2"));
    fs::remove_file(&old.container().status().must("status").file).unwrap();
    let planned = lab.manager().update_all(&UpdateAllRequest::new().with_dry_run(true), &mut ()).must("plan");
    expect(lab, &planned, &[("web", "planned"), ("db", "planned"), ("old", "failed")]);
    let applied = update();
    expect(lab, &applied, &[("web", "in place"), ("db", "updated"), ("old", "failed")]);
    assert!(chain(failure(lab, &applied, "old")).contains("cannot find the container file"), "{applied:?}");
    assert_eq!((web.version().as_deref(), db.generations()), (Some("2"), vec![1, 2]));
    // What apply declared is still its own.
    expect(lab, &prune(lab, &set(lab, &[])), &[("db", "removed")]);
}

fn root_apply_in_words(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let all = set(lab, &[(&web, web.file()), (&db, db.file().module("services.nothing.enable = true;"))]);
    let path = all.to_str().unwrap();
    let told = lab.cli(["apply", path]);
    assert_eq!(told.code, 1, "{told:?}");
    let (out, err) = (lab.plain(&told.stdout), lab.plain(&told.stderr));
    assert_eq!(out, "created web (generation 1, 10.101.0.3)\n1 created, 1 failed\n");
    assert!(err.contains("PLAN     CONTAINER\nblocked  db\ncreate   web\n"), "{err}");
    assert!(
        err.contains("error: db: evaluation failed: The option `services.nothing' does not exist"),
        "{err}"
    );
    let told = lab.cli(["apply", "--dry-run", path]);
    assert_eq!((told.code, told.stdout.as_str()), (1, ""), "{told:?}");
    set(lab, &[(&web, web.file().version("2")), (&db, db.file())]);
    let told = lab.cli(["apply", "--dry-run", path]);
    assert_eq!(lab.plain(&told.done()), "create db\nupdate web");
    assert_eq!(
        lab.plain(&lab.cli(["apply", path]).done()),
        "created db (generation 1, 10.101.0.2)\nupdated web: generation 1 -> 2, booted at the next start\n1 created, 1 updated"
    );
    assert_eq!(lab.cli(["update", "--all"]).done(), "2 unchanged");
    assert_eq!(lab.cli(["update", "--all", "-q"]).done(), "");
    assert_eq!(lab.cli(["update"]).code, 2);
    assert_eq!(lab.line("update --all @web").code, 2);
    assert_eq!(lab.cli(["apply"]).code, 2);

    let one = lab.file("one", &web.file().keys("name = \"shop\";"));
    let told = lab.cli(["eval", one.to_str().unwrap()]).done();
    assert!(lab.plain(&told).starts_with("shop: /lab/files/one.nix is right\n"), "{told}");
    assert!(told.contains("  derivation    "), "{told}");
    let told = lab.cli(["eval", "--name", "other", one.to_str().unwrap()]);
    assert!(told.stdout.starts_with("other: ") && told.stderr.contains("calls itself `shop`"), "{told:?}");
    let wrong = lab.file("wrong", &web.file().extra("lxc.idmap = u 0 0 1"));
    let told = lab.cli(["eval", wrong.to_str().unwrap()]);
    assert!(told.code == 1 && told.stderr.contains("lxc.idmap"), "{told:?}");
}

fn root_eval_needs_no_root(lab: &Lab) {
    struct Daemon(std::process::Child);
    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    // Whoever is not root asks Nix's daemon. It lets anybody in who is a user of the host.
    let socket = lab.root().join("nix-daemon/socket");
    let variables = [("NIX_REMOTE", "daemon"), ("NIX_DAEMON_SOCKET_PATH", socket.to_str().unwrap())];
    let mut daemon = Command::new("nix-daemon");
    daemon.env(variables[1].0, variables[1].1).stdout(Stdio::null()).stderr(Stdio::null());
    let _daemon = Daemon(daemon.spawn().unwrap());
    eventually("the daemon listens", Duration::from_secs(10), || socket.exists());
    // Folders of the build are not for everybody.
    let program = lab.root().join("nixcloud-container");
    fs::copy(program_of_the_build(), &program).unwrap();
    let file = lab.file("web", &lab.busybox("web").file());
    let home = lab.root().join("home");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    let eval = |file: &Path| {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program)
            .arg("eval")
            .arg(file);
        command.env("NIXCLOUD_CONTAINER_CONFIG", lab.config_file()).env("HOME", &home).envs(variables);
        Lab::told(command.env("TMPDIR", &home).stdin(Stdio::null()))
    };
    let told = eval(&file).done();
    assert!(told.contains("-nixcloud-container-web.drv"), "{told}");
    assert_eq!(
        fs::read_dir(&home)
            .unwrap()
            .filter(|entry| !entry.as_ref().unwrap().path().ends_with(".cache"))
            .count(),
        0
    );
    let told = eval(&lab.write("wrong", "{ autostrat = true; configuration = { }; }"));
    assert!(told.code == 1 && told.stderr.contains("did you mean `autostart`?"), "{told:?}");
}
