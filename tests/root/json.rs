//! `--json`: what every command prints on real containers holds to the schemas in `docs/json`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{File, Guest, Kind, Lab, Told, scenarios};

scenarios! {
    once: [
        root_json_of_a_broken_record_and_a_foreign_container,
        root_json_of_a_watched_list,
        root_json_of_apply_and_eval,
    ],
    both: [root_json_of_every_command],
}

/// The object that was printed, which holds to its schema.
#[track_caller]
fn object(told: &Told, schema: &str) -> Value {
    assert_eq!(told.stdout.lines().count(), 1, "one object on one line: {told:?}");
    let value: Value = serde_json::from_str(&told.stdout).unwrap_or_else(|error| panic!("{error}: {told:?}"));
    holds(&value, schema);
    value
}

#[track_caller]
pub fn holds(value: &Value, schema: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/json/{schema}.schema.json"));
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    closed(&mut schema);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let faults: Vec<String> = validator.iter_errors(value).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{}: {faults:?}\n{value:#}", path.display());
}

/// A program ignores fields that it does not know; here each must be documented.
fn closed(schema: &mut Value) {
    if let Value::Object(map) = schema {
        // A container in a list is the container and its kind: only both together are whole.
        let part = map.get_mut("$defs").and_then(|defs| defs.as_object_mut()?.remove("ContainerView"));
        map.values_mut().for_each(closed);
        if let (Some(part), Some(Value::Object(defs))) = (part, map.get_mut("$defs")) {
            defs.insert("ContainerView".to_owned(), part);
        }
        if map.contains_key("properties") {
            map.insert("unevaluatedProperties".to_owned(), Value::Bool(false));
        }
    } else if let Value::Array(list) = schema {
        list.iter_mut().for_each(closed);
    }
}

fn root_json_of_every_command(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let file = lab.file("web", &web.file());
    let name = web.name().as_str();
    let said = |line: &str, schema: &str| {
        let told = lab.line(&format!("--json {line}"));
        assert_eq!(told.code, 0, "{line}: {told:?}");
        object(&told, schema)
    };

    let up = said("host up", "host");
    assert_eq!(up["changes"][0]["change"], "kept");
    assert_eq!(said("host check", "check")["good"], true);
    assert_eq!(said("list", "list"), json!({"containers": []}));

    let created = said(&format!("create @web {}", file.display()), "change");
    assert_eq!(created["action"], "created");
    assert_eq!((&created["generation"], &created["from"]), (&json!(1), &Value::Null));

    let stopped = said("state @web", "state");
    assert_eq!((&stopped["state"], &stopped["memory"]), (&json!("stopped"), &Value::Null));
    assert_eq!(stopped["file"], json!(file));

    let started = said("start @web", "power");
    assert_eq!(started["outcome"], "started");
    assert_eq!(said("start @web", "power")["outcome"], "already-running");
    web.await_version();
    let running = said("state @web", "state");
    assert_eq!((&running["state"], &running["init_pid"]), (&json!("running"), &started["init_pid"]));
    assert!(running["memory"].as_u64().unwrap() > 10_000, "{running}");
    assert_eq!(running["address"], created["address"]);

    let listed = said("list", "list");
    assert_eq!(listed["containers"][0]["kind"], "container");
    assert_eq!(listed["containers"][0]["name"], name);
    let shown = said("show-ip @web", "addresses");
    assert_eq!(shown["addresses"], json!([created["address"]]));
    let first = &shown["all"][0];
    assert_eq!((&first["interface"], &first["address"]), (&json!("hostonly"), &created["address"]));
    assert_eq!(
        (&first["origin"], &first["family"], &first["live"]),
        (&json!("leased"), &json!("ipv4"), &json!(true))
    );
    assert_eq!(first["prefix_length"], 16);
    assert_eq!(said("exists @web", "exists")["exists"], true);

    let ran = said("run @web echo hello", "run");
    assert_eq!((&ran["exit_code"], &ran["stdout"]["text"]), (&json!(0), &json!("hello\n")));
    let told = lab.cli(["--json", "run", name, "sh", "-c", "printf '\\377'; echo oops >&2; kill -9 $$"]);
    let killed = object(&told, "run");
    assert_eq!((told.code, &killed["signal"]), (137, &json!(9)));
    assert_eq!((&killed["stdout"]["lossy"], &killed["stderr"]["text"]), (&json!(true), &json!("oops\n")));
    // A background child holds the pipe; the answer does not wait for it.
    let told = lab.cli(["--json", "run", name, "sh", "-c", "sleep 60 & echo here"]);
    assert_eq!(object(&told, "run")["stdout"]["text"], "here\n");

    assert_eq!(said("freeze @web", "power")["outcome"], "frozen");
    assert_eq!(said("unfreeze @web", "power")["outcome"], "running");
    assert_eq!(said("kill @web -s rtmin+20", "kill")["signal"], "SIGRTMIN+20");

    lab.file("web", &web.file().version("2"));
    let updated = said("update @web", "change");
    assert_eq!((&updated["from"], &updated["generation"]), (&json!(1), &json!(2)));
    assert_eq!(updated["activated"], true);
    let generations = said("list-generations @web", "generations");
    assert_eq!(generations["generations"][1]["current"], true);
    assert_eq!(generations["generations"][0]["booted"], true);
    assert_eq!(said("rollback @web", "change")["action"], "rolled-back");
    assert_eq!(said("switch-generation @web 2", "change")["action"], "switched");
    assert_eq!(said("restart @web", "power")["outcome"], "restarted");
    assert_eq!(said("delete-generations @web 1", "deleted")["deleted"], json!([1]));

    let gone = said("gc --all --keep 1 --dry-run", "gc");
    assert_eq!((&gone["dry_run"], &gone["containers"][0]["deleted"]), (&json!(true), &json!([])));

    // What a failed activation came to.
    lab.file("web", &web.file().version("3").module("standin.switchExit = 4;"));
    let told = lab.line("--json update @web");
    let failed = object(&told, "error");
    assert_eq!((told.code, &failed["error"]["kind"]), (1, &json!("activation")));
    let activation = &failed["error"]["activation"];
    assert_eq!((&activation["outcome"], &activation["restored"]), (&json!("units-failed"), &Value::Null));
    assert_eq!(said("rollback @web", "change")["generation"], 2);

    // A failure is an object too; its words are on stderr all the same.
    let told = lab.line("--json destroy @web");
    let failed = object(&told, "error");
    assert_eq!((told.code, &failed["error"]["kind"]), (1, &json!("refused")));
    assert!(failed["error"]["hint"].as_str().unwrap().contains("stop"), "{failed}");
    assert!(told.stderr.starts_with("error: "), "{told:?}");

    assert_eq!(said("stop @web", "power")["outcome"], "stopped");
    assert_eq!(said("stop @web", "power")["outcome"], "not-running");
    assert_eq!(said("autostart", "autostart")["started"], json!([]));
    said("start @web", "power");
    assert_eq!(said("autostop --kill", "autostop")["stopped"], json!([name]));
    said("start @web", "power");
    assert_eq!(said("terminate @web", "power")["outcome"], "terminated");
    assert_eq!(said("destroy @web", "destroyed")["destroyed"], true);
    let told = lab.line("--json exists @web");
    assert_eq!((told.code, &object(&told, "exists")["exists"]), (1, &json!(false)));
    let told = lab.line("--json state @web");
    assert_eq!((told.code, &object(&told, "error")["error"]["kind"]), (1, &json!("not-found")));
}

fn root_json_of_a_broken_record_and_a_foreign_container(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name()));
    let good = fs::read(&record).unwrap();
    fs::write(&record, "schema = 99\n").unwrap();
    let foreign = lab.path("/var/lib/lxc/debian");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("config"), "lxc.uts.name = debian\n").unwrap();

    let told = lab.line("--json list");
    let list = object(&told, "list");
    assert_eq!(told.code, 0, "{told:?}");
    let kinds: Vec<_> = list["containers"].as_array().unwrap().iter().map(|row| &row["kind"]).collect();
    assert_eq!(kinds, ["foreign", "broken"], "{list}");
    assert!(list["containers"][1]["error"]["message"].is_string());

    fs::remove_dir_all(&foreign).unwrap();
    fs::write(&record, good).unwrap();
}

fn root_json_of_a_watched_list(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let mut command = lab.command(["--json", "list", "--watch=1"]);
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut state = || {
        let list: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        holds(&list, "list");
        list["containers"][0]["state"].as_str().map(str::to_owned)
    };
    assert_eq!(state().as_deref(), Some("stopped"));
    web.start();
    let next = state();
    assert!(matches!(next.as_deref(), Some("starting" | "running")), "{next:?}");
    // Its reader goes: that is its end, and no failure.
    drop(lines);
    assert!(watch.wait().unwrap().success());
}

fn root_json_of_apply_and_eval(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let all = |files: &[(&Guest<'_>, File)]| crate::apply::set(lab, files).display().to_string();
    let wrong = || db.file().module("services.nothing.enable = true;");
    let path = all(&[(&web, web.file()), (&db, wrong())]);
    let told = lab.line(&format!("--json apply {path}"));
    let applied = object(&told, "apply");
    assert_eq!((told.code, &applied["failed"], &applied["dry_run"]), (1, &json!(1), &json!(false)));
    let (failed, created) = (&applied["containers"][0], &applied["containers"][1]);
    assert_eq!((&failed["planned"], &failed["outcome"]), (&json!("blocked"), &json!("failed")));
    assert_eq!(failed["error"]["kind"], "input");
    assert_eq!((&created["outcome"], &created["generation"]), (&json!("created"), &json!(1)));
    web.start();
    let path = all(&[(&web, web.file().version("2").extra("lxc.environment = A=b"))]);
    let told = lab.line(&format!("--json apply --prune --dry-run {path}"));
    let planned = object(&told, "apply");
    assert_eq!((told.code, &planned["containers"][0]["planned"]), (0, &json!("update")));
    let told = lab.line(&format!("--json apply {path}"));
    let updated = &object(&told, "apply")["containers"][0];
    assert_eq!((&updated["from"], &updated["generation"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&updated["activated"], &updated["pending_restart"][0]["key"]),
        (&json!(true), &json!("lxc.environment"))
    );
    let told = lab.line("--json update --all");
    let all = object(&told, "apply");
    assert_eq!((&all["source"], &all["containers"][0]["outcome"]), (&Value::Null, &json!("unchanged")));

    let file = lab.file("one", &web.file().keys("network.ip = \"10.101.4.4/24\";"));
    let told = lab.line(&format!("--json eval {}", file.display()));
    let evaluated = object(&told, "eval");
    assert_eq!((told.code, &evaluated["name"], &evaluated["leased"]), (0, &json!("one"), &json!(false)));
    assert_eq!(evaluated["spec"]["effective"], json!({ "ip": "10.101.4.4", "prefixLength": 24 }));
    let told = lab.line(&format!("--json eval {}", lab.file("wrong", &wrong()).display()));
    assert_eq!((told.code, &object(&told, "error")["error"]["kind"]), (1, &json!("input")));
}
