//! Who tidies up while others work: what is being made or removed is not taken for what was cut off.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

use nixcloud_container::{Action, DestroyRequest, Error, RunRequest, State};

use crate::apply::{apply as apply_set, expect, failure, request, set};
use crate::harness::{Guest, Lab, Must, scenarios};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

scenarios! {
    once: [
        root_what_is_being_created_is_not_destroyed,
        root_a_prune_leaves_what_another_apply_creates,
        root_a_forced_destroy_waits_for_the_create,
    ],
    both: [],
}

/// A module whose build takes so long, and was never done before.
fn slow(lab: &Lab, seconds: u32) -> String {
    format!("standin.buildSeconds = {seconds}; environment.etc.\"lab\".text = \"{}\";", lab.mark())
}

/// A command that creates `guest`, at work in its build.
fn creating(lab: &Lab, words: &[&str], guest: &Guest<'_>) -> Child {
    let mut command = lab.command(words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap());
    assert!(said.lines().map_while(Result::ok).any(|line| line.starts_with("building")), "it does not build");
    assert_eq!(guest.state(), State::Creating);
    child
}

fn root_what_is_being_created_is_not_destroyed(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file().module(&slow(lab, 2)));
    let mut create = creating(lab, &["create", web.name().as_str(), file.to_str().unwrap()], &web);
    assert_eq!(lab.line("state @web").done(), "creating");
    assert!(lab.cli(["list", "--json"]).done().contains("\"state\":\"creating\""));
    let error = web.container().destroy(DestroyRequest::new()).unwrap_err();
    assert!(
        matches!(error, Error::State { state: State::Creating, action: Action::Destroy, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("it is just being created"), "{error}");
    assert!(error.hint().unwrap().contains("--force"), "{:?}", error.hint());
    // Nor does who repairs all others wait for it.
    let told = lab.cli(["repair"]);
    assert!(told.code == 0 && web.state() == State::Creating, "{told:?}");
    let error =
        web.container().run(RunRequest::new(["true"]), nixcloud_container::Streams::Inherit).unwrap_err();
    assert!(matches!(error, Error::State { state: State::Creating, .. }), "{error:?}");
    assert!(create.wait().unwrap().success());
    assert_eq!(web.state(), State::Stopped);
    web.start();
}

fn root_a_prune_leaves_what_another_apply_creates(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let file = web.file().module(&slow(lab, 2));
    apply_set(lab, &set(lab, &[(&db, db.file())]));
    let all = set(lab, &[(&web, file), (&db, db.file())]);
    let mut apply = creating(lab, &["apply", all.to_str().unwrap()], &web);
    // Somebody applies a version without it meanwhile.
    let all = set(lab, &[(&db, db.file())]);
    let pruned = lab.manager().apply(&request(&all).with_prune(true), &mut ()).must("apply");
    expect(lab, &pruned, &[("web", "failed"), ("db", "unchanged")]);
    let error = failure(lab, &pruned, "web");
    assert!(matches!(error, Error::State { state: State::Creating, .. }), "{error:?}");
    assert!(apply.wait().unwrap().success());
    assert!(web.container().exists().must("exists"));
}

fn root_a_forced_destroy_waits_for_the_create(lab: &Lab) {
    let web = lab.busybox("web");
    let file = lab.file("web", &web.file().module(&slow(lab, 1)));
    let mut create = creating(lab, &["create", web.name().as_str(), file.to_str().unwrap()], &web);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
    assert!(create.wait().unwrap().success());
    lab.assert_nothing_left();
    // One that was cut off is nobody's.
    let file = lab.file("web", &web.file().module(&slow(lab, 30)));
    let mut create = creating(lab, &["create", web.name().as_str(), file.to_str().unwrap()], &web);
    // With Nix, as when the machine dies.
    killpg(Pid::from_raw(create.id().cast_signed()), Signal::SIGKILL).unwrap();
    create.wait().unwrap();
    assert_eq!(web.state(), State::Incomplete);
    web.destroy();
    lab.assert_nothing_left();
}
