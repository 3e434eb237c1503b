//! `--dry-run`: nothing happens, whatever is given with it, and what is planned is what then happens.

use std::collections::BTreeMap;
use std::path::Path;

use nixcloud_container::{DestroyRequest, Planned, State};

use crate::apply::{apply, expect, failure, request, set, tree};
use crate::harness::{Guest, Kind, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_no_command_acts_on_a_dry_run,
        root_an_update_is_planned_as_it_is_done,
        root_a_plan_says_what_would_be_refused,
        root_a_plan_knows_what_is_free_by_then,
    ],
    both: [],
}

/// The commands with their options, as their help has them: of each option the long name, and whether it takes a value.
fn commands(lab: &Lab, call: &[String], found: &mut BTreeMap<Vec<String>, Vec<(String, bool)>>) {
    let help = lab.cli([call, &["--help".to_owned()]].concat()).done();
    let mut options = Vec::new();
    for line in help.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let (indent, lower) =
            (line.len() - line.trim_start().len(), |c: char| c.is_ascii_lowercase() || c == '-');
        if let Some((_, option)) = line.split_once("--").filter(|_| word.starts_with('-')) {
            let name: String = option.chars().take_while(|c| lower(*c)).collect();
            options.push((name.clone(), option[name.len()..].starts_with([' ', '=', '['])));
        } else if indent == 2
            && word.starts_with(lower)
            && word.chars().all(lower)
            && word != "nixcloud-container"
        {
            let call = [call, &[word.to_owned()]].concat();
            // In the text of an example or of a page it is no command.
            if lab.cli([&call[..], &["-h".to_owned()]].concat()).code == 0 && !found.contains_key(&call) {
                commands(lab, &call, found);
            }
        }
    }
    found.insert(call.to_vec(), options);
}

/// What there is of the lab's host, and the guest that runs on it.
fn seen(lab: &Lab, web: &Guest<'_>) -> String {
    format!("{:?} {:?} {:?}", tree(lab), web.init(), lab.manager().list().must("list").len())
}

fn root_no_command_acts_on_a_dry_run(lab: &Lab) {
    let (web, db, new) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("new"));
    let all = set(lab, &[(&db, db.file())]);
    apply(lab, &all);
    web.boot();
    // What each would do: one is updated in place, one goes, one comes.
    let next = lab.file(web.name().as_str(), &web.file().version("2"));
    let all = set(lab, &[(&new, new.file())]);
    let manifest = lab.root().join("files/manifest.json");
    std::fs::write(&manifest, "{\"schema\":1,\"containers\":{}}").unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (web_name, new_name) = (web.name().to_string(), new.name().to_string());
    // How those commands are called that take `--dry-run`: one that is new belongs here.
    let calls: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::from([
        ("apply", vec![vec![text(&all)]]),
        ("create", vec![vec![new_name.clone(), text(&next)]]),
        ("delete-generations", vec![vec![web_name.clone(), "old".to_owned()]]),
        ("destroy", vec![vec![web_name.clone()], vec![db.name().to_string()]]),
        (
            "gc",
            vec![
                vec![web_name.clone(), "--keep-good=1".to_owned()],
                vec!["--all".to_owned(), "--keep-good=1".to_owned()],
            ],
        ),
        ("repair", vec![vec![web_name.clone()], Vec::new()]),
        ("rollback", vec![vec![web_name.clone()]]),
        ("switch-generation", vec![vec![web_name.clone(), "1".to_owned()]]),
        ("update", vec![vec![web_name], vec![new_name, text(&next)], vec!["--all".to_owned()]]),
    ]);
    let value = |option: &str| match option {
        "built" => text(&manifest),
        "config" => text(&lab.config_file()),
        _ => String::new(),
    };
    // And what is to be repaired: a claim that names nobody, and a configuration that is lost.
    std::fs::write(lab.path("/var/lib/nixcloud/container/addresses/10.101.9.9"), "").unwrap();
    std::fs::remove_file(db.folder().join("config")).unwrap();
    let mut found = BTreeMap::new();
    commands(lab, &[], &mut found);
    assert!(found.len() > 20, "{:?}", found.keys());
    let before = seen(lab, &web);
    let dry = || "--dry-run".to_owned();
    let mut planned = 0;
    for (call, options) in found.iter().filter(|(call, _)| !call.is_empty()) {
        let takes = options.iter().any(|(option, _)| option == "dry-run");
        let calls = match calls.get(call[0].as_str()).filter(|_| takes) {
            Some(calls) => calls.clone(),
            None if takes => panic!("how is {call:?} called?"),
            None => vec![Vec::new()],
        };
        for (which, words) in calls.iter().enumerate() {
            // Alone, and with each other option.
            for option in std::iter::once(None).chain(options.iter().map(Some)) {
                let given = match option {
                    Some((option, _)) if ["dry-run", "help", "version"].contains(&option.as_str()) => {
                        continue;
                    }
                    // Those of all commands with one call of each.
                    Some((option, _))
                        if which > 0 && ["json", "quiet", "verbose", "config"].contains(&option.as_str()) =>
                    {
                        continue;
                    }
                    Some((option, true)) => vec![format!("--{option}={}", value(option))],
                    Some((option, false)) => vec![format!("--{option}")],
                    None => Vec::new(),
                };
                let line = [&call[..], &given, &[dry()], words].concat();
                let told = lab.cli(&line);
                assert!(takes || told.code == 2, "{line:?} is not refused: {told:?}");
                planned += usize::from(takes && told.code == 0);
            }
            assert_eq!(seen(lab, &web), before, "{call:?} with `--dry-run` acts");
        }
    }
    assert!(planned > 10, "only {planned} were planned");
    assert!(lab.cli(["repair"]).done().contains("rendered anew"));
    assert_eq!(web.version().as_deref(), Some("1"));
    db.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

fn root_an_update_is_planned_as_it_is_done(lab: &Lab) {
    let (web, new) = (lab.busybox("web"), lab.busybox("new"));
    web.boot();
    let plan = |line: &str| lab.line(&format!("update {line} --dry-run"));
    let told = plan("@web");
    assert_eq!(lab.plain(&told.stdout), "update web\n", "{told:?}");
    assert!(told.stderr.contains("which is activated again"), "{told:?}");
    let next = lab.file("next", &web.file().version("2"));
    assert_eq!(lab.plain(&plan(&format!("@web {}", next.display())).done()), "update web");
    assert_eq!(lab.plain(&plan(&format!("@new {}", next.display())).done()), "create new");
    assert_eq!(plan("@new").code, 1);
    // Items beside the file are judged as the update judges them.
    let refused = lab.cli(["update", web.name().as_str(), "--dry-run", "-l", "-s 'lxc.idmap=u 0 0 1'"]);
    assert!(refused.code == 1 && refused.stderr.contains("lxc.idmap"), "{refused:?}");
    web.container().freeze().must("freeze");
    let frozen = plan("@web");
    assert!(frozen.code == 1 && frozen.stderr.contains("it is frozen"), "{frozen:?}");
    web.container().unfreeze().must("unfreeze");
    assert_eq!((web.generations(), web.version().as_deref()), (vec![1], Some("1")));
    assert!(!new.container().exists().must("exists"));
    web.stop();
    assert_eq!(plan("@web").done(), "there is nothing to do: 1 unchanged");
}

fn root_a_plan_says_what_would_be_refused(lab: &Lab) {
    let hand = lab.busybox("hand");
    let port =
        |number: u16| format!("network.forwards = [ {{ hostPort = {number}; containerPort = 80; }} ];");
    hand.create_from(&hand.file().keys("network.ip = \"10.101.7.7\";").keys(&port(8080)));
    let guests = ["a", "b", "c", "d", "e", "f_f", "f-f"].map(|name| lab.busybox(name));
    let keys = [
        port(8080),
        "network.ip = \"10.101.7.7\";".to_owned(),
        port(9090),
        port(9090),
        "network.ip = \"10.101.0.1\";".to_owned(),
        String::new(),
        String::new(),
    ];
    let files: Vec<_> =
        guests.iter().zip(&keys).map(|(guest, keys)| (guest, guest.file().keys(keys))).collect();
    let all = set(lab, &files);
    let dry = request(&all).with_dry_run(true);
    let planned = lab.manager().apply(&dry, &mut ()).must("plan");
    let expected = [
        ("a", "failed"),
        ("b", "failed"),
        ("c", "planned"),
        ("d", "failed"),
        ("e", "failed"),
        ("f-f", "planned"),
        ("f_f", "failed"),
    ];
    expect(lab, &planned, &expected);
    let says = |name: &str, words: &str| {
        let error = lab.plain(&chain(failure(lab, &planned, name)));
        assert!(error.contains(words), "{name}: {error}");
    };
    says("a", "tcp port 8080 of the host leads to container `hand` already");
    says("b", "10.101.7.7");
    says("d", "leads to container `c` already");
    says("e", "10.101.0.1");
    says("f_f", "would answer for each other");
    // What is done is what was planned, with the same words.
    let applied = apply(lab, &all);
    let done = expected.map(|(name, word)| (name, if word == "planned" { "created" } else { word }));
    expect(lab, &applied, &done);
    for (name, word) in expected {
        if word == "failed" {
            let error = |of| chain(failure(lab, of, name));
            assert_eq!(error(&planned), error(&applied));
        }
    }
}

fn root_a_plan_knows_what_is_free_by_then(lab: &Lab) {
    let (old, web, db) = (lab.busybox("old"), lab.busybox("web"), lab.guest("db", Kind::Busybox));
    let keys = |ip: u8, port: u16| {
        format!(
            "network.ip = \"10.101.7.{ip}\"; network.forwards = [ {{ hostPort = {port}; containerPort = 80; }} ];"
        )
    };
    let all = set(lab, &[(&old, old.file().keys(&keys(7, 8080))), (&web, web.file().keys(&keys(8, 9090)))]);
    apply(lab, &all);
    // One goes, and what it had is another's, whose own is a third one's.
    let files = [(&db, db.file().keys(&keys(8, 9090))), (&web, web.file().keys(&keys(7, 8080)))];
    let all = set(lab, &[&files[..], &[]].concat());
    let way = |dry_run| request(&all).with_dry_run(dry_run).with_prune(true);
    let planned = lab.manager().apply(&way(true), &mut ()).must("plan");
    // In the order of the names: what web has is not free yet when it is db's turn.
    expect(lab, &planned, &[("old", "planned"), ("web", "planned"), ("db", "failed")]);
    let applied = lab.manager().apply(&way(false), &mut ()).must("apply");
    expect(lab, &applied, &[("old", "removed"), ("web", "updated"), ("db", "failed")]);
    let planned = lab.manager().apply(&way(true), &mut ()).must("plan");
    expect(lab, &planned, &[("web", "planned"), ("db", "planned")]);
    assert_eq!(planned.containers[0].planned, Planned::Create);
    expect(lab, &apply(lab, &all), &[("web", "unchanged"), ("db", "created")]);
    // A frozen one is not shut down, so it does not go.
    web.start();
    web.container().freeze().must("freeze");
    let none = set(lab, &[]);
    let dry = request(&none).with_dry_run(true).with_prune(true);
    let planned = lab.manager().apply(&dry, &mut ()).must("plan");
    expect(lab, &planned, &[("db", "planned"), ("web", "failed")]);
    web.container().unfreeze().must("unfreeze");
    assert_eq!(web.state(), State::Running);
}
