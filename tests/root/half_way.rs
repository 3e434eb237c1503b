//! A switch that cannot be brought to its end: it is undone, or told and undone by the next operation.

use std::path::PathBuf;

use nixcloud_container::{Error, Event, Phase, UpdateRequest, generation::Health};

use crate::harness::guest::id;
use crate::harness::space::run;
use crate::harness::{Guest, Lab, Must, chain, scenarios};

scenarios! {
    once: [
        root_an_update_that_cannot_be_noted_is_put_back,
        root_an_update_that_was_cut_off_is_shown_and_rolled_back_once,
    ],
    both: [],
}

/// Folders that nobody can write to, root neither.
struct Held(Vec<PathBuf>);

impl Held {
    fn hold(&self, held: bool) {
        for folder in &self.0 {
            run("chattr", &format!("{} {}", if held { "+i" } else { "-i" }, folder.display()));
        }
    }
}

impl Drop for Held {
    /// A scenario that fails can be tidied up.
    fn drop(&mut self) {
        for folder in &self.0 {
            let _ = std::process::Command::new("chattr").arg("-i").arg(folder).status();
        }
    }
}

fn records(lab: &Lab) -> PathBuf {
    lab.path("/var/lib/nixcloud/container/records")
}

fn request(lab: &Lab, web: &Guest<'_>, version: &str) -> UpdateRequest {
    UpdateRequest::new(lab.file(web.name().as_str(), &web.file().version(version)))
}

fn root_an_update_that_cannot_be_noted_is_put_back(lab: &Lab) {
    let web = lab.busybox("web");
    let init = web.boot();
    let held = Held(vec![records(lab)]);
    let mut told = Vec::new();
    // From when the guest has it until it is undone.
    let mut observer = |event: Event| match event {
        Event::Health { health: Health::Good, .. } => held.hold(true),
        Event::Phase(Phase::Undo) => held.hold(false),
        Event::Note(note) => told.push(note.to_string()),
        _ => {}
    };
    let error = web.container().update(&request(lab, &web, "2"), &mut observer).unwrap_err();
    assert!(matches!(error, Error::Record(_)), "{error:?}");
    assert_eq!(told, [format!("generation 1 of `{}` is put back", web.name())]);
    assert_eq!((web.generation(), web.version().as_deref(), web.init()), (1, Some("1"), init));
    let generations = web.container().generations().must("generations");
    assert!(!generations.iter().any(|generation| generation.unproved), "{generations:?}");
    web.update(&web.file().version("3"));
    assert_eq!(web.version().as_deref(), Some("3"));
}

fn root_an_update_that_was_cut_off_is_shown_and_rolled_back_once(lab: &Lab) {
    let web = lab.busybox("web");
    web.boot();
    web.update(&web.file().version("2"));
    // It ends as it would if it were killed: nothing can be written any more, the undoing neither.
    let profile = lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str());
    let held = Held(vec![records(lab), profile]);
    let mut observer = |event: Event| {
        if let Event::Health { .. } = event {
            held.hold(true);
        }
    };
    let error = web.container().update(&request(lab, &web, "3"), &mut observer).unwrap_err();
    held.hold(false);
    assert!(chain(&error).contains("and undoing it failed too"), "{error}");
    let status = web.container().status().must("status");
    assert_eq!((status.generation, status.unproved), (Some(id(2)), Some(id(3))));
    let shown: Vec<(u64, bool, bool)> = web
        .container()
        .generations()
        .must("generations")
        .iter()
        .map(|generation| (generation.id.get(), generation.current, generation.unproved))
        .collect();
    assert_eq!(shown, [(1, false, false), (2, true, false), (3, false, true)]);
    // Back from what was seen last, and no further.
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!((switched.from, switched.to), (id(3), id(2)));
    assert_eq!((web.generation(), web.version().as_deref()), (2, Some("2")));
    let switched = web.container().rollback(&mut ()).must("rollback");
    assert_eq!((switched.from, switched.to), (id(2), id(1)));
}
