//! What containers keep goes only when somebody wants that.

use std::fs;

use nixcloud_container::DestroyRequest;
use serde_json::json;

use crate::apply::{apply, set};
use crate::harness::pty::Pty;
use crate::harness::{Guest, Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_prune_is_confirmed,
        root_a_prune_of_all_is_confirmed_by_their_number,
        root_several_are_destroyed_when_it_is_confirmed,
    ],
    both: [],
}

/// Puts a file of 3 MiB where the guest's own are.
fn keep(guest: &Guest<'_>) {
    fs::write(guest.rootfs().join("root/kept"), vec![1; 3 << 20]).unwrap();
}

fn there(guests: &[&Guest<'_>]) -> Vec<bool> {
    guests.iter().map(|guest| guest.rootfs().join("root/kept").exists()).collect()
}

fn root_a_prune_is_confirmed(lab: &Lab) {
    let guests = ["web", "db", "mail"].map(|name| lab.busybox(name));
    let [web, db, mail] = &guests;
    let all = set(lab, &[(web, web.file()), (db, db.file()), (mail, mail.file())]);
    apply(lab, &all);
    guests.iter().for_each(keep);
    db.start();
    let all = set(lab, &[(web, web.file())]);
    let path = all.to_str().unwrap();
    // Without anybody to ask it is refused, before anything is done.
    let told = lab.cli(["apply", "--prune", path]);
    assert_eq!((told.code, there(&[web, db, mail])), (1, vec![true; 3]), "{told:?}");
    let said = lab.plain(&told.stderr);
    assert!(said.contains("2 containers would be destroyed with their files: db: "), "{said}");
    assert!(said.contains("mail: 1 file, 3.0 MiB, in /lab/var/lib/lxc/mail/rootfs"), "{said}");
    assert!(said.contains("hint: nothing was changed; `--yes` destroys them"), "{said}");
    assert!(said.contains("with its files: 1, 3.0 MiB"), "{said}");
    let told = lab.cli(["apply", "--json", "--prune", path]);
    let failed: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(failed["error"]["kind"], "refused");
    let told = lab.cli(["apply", "--json", "--prune", "--dry-run", path]).done();
    let planned: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&planned["containers"][1]["planned"], &planned["containers"][1]["files"]),
        (&json!("remove"), &json!(1))
    );
    // On a terminal it is asked, and only a yes is one.
    for (answer, code) in [("n\r", 1), ("\r", 1), ("y\r", 0)] {
        assert_eq!(there(&[web, db, mail]), [true; 3], "{answer:?}");
        let mut terminal = Pty::spawn(&lab.command(["apply", "--prune", path]), 24, 100);
        terminal.awaits("Destroy them? [y/N] ");
        terminal.types(answer);
        assert_eq!(terminal.exit().code(), Some(code), "{}", terminal.screen());
    }
    assert_eq!(there(&[web, db, mail]), [true, false, false]);
    web.container().destroy(DestroyRequest::new().with_force(true)).must("destroy");
}

fn root_a_prune_of_all_is_confirmed_by_their_number(lab: &Lab) {
    let (web, db) = (lab.busybox("web"), lab.busybox("db"));
    let all = set(lab, &[(&web, web.file()), (&db, db.file())]);
    apply(lab, &all);
    keep(&web);
    let none = set(lab, &[]);
    let command = || lab.command(["apply", "--prune", none.to_str().unwrap()]);
    // Ctrl-C is no answer either.
    for (answer, code) in [("y\r", 1), ("\x03", 130), ("2\r", 0)] {
        assert_eq!(there(&[&web]), [true], "{answer:?}");
        let mut terminal = Pty::spawn(&command(), 24, 100);
        terminal.awaits("No container would be left. Type 2 to destroy them: ");
        terminal.types(answer);
        assert_eq!(terminal.exit().code(), Some(code), "{}", terminal.screen());
    }
    assert!(there(&[&web]) == [false] && !db.container().exists().must("exists"));
    apply(lab, &set(lab, &[(&web, web.file())]));
    lab.cli(["apply", "--prune", "-y", set(lab, &[]).to_str().unwrap()]).done();
    lab.assert_nothing_left();
}

fn root_several_are_destroyed_when_it_is_confirmed(lab: &Lab) {
    let guests = ["web-1", "web-2", "db"].map(|name| lab.busybox(name));
    let [one, two, db] = &guests;
    guests.iter().for_each(|guest| {
        guest.create();
        keep(guest);
    });
    let names = || lab.plain(&lab.cli(["list"]).done());
    let many = format!("{} {}", one.name(), db.name());
    for line in ["destroy web-*", "destroy --all", &format!("destroy {many}")] {
        let told = lab.line(line);
        assert_eq!((told.code, names().as_str()), (1, "db\nweb-1\nweb-2"), "{line}: {told:?}");
        assert!(told.stderr.contains("would be destroyed with their files"), "{line}: {told:?}");
    }
    // A name that is none is told before anything goes; so is a pattern that nothing is like.
    for line in ["destroy @web-1 @gone --yes", "destroy mail* --yes"] {
        let told = lab.line(line);
        assert_eq!((told.code, names().as_str()), (1, "db\nweb-1\nweb-2"), "{line}: {told:?}");
    }
    // One that cannot go keeps no other.
    two.start();
    let told = lab.line("destroy web-* --yes");
    assert_eq!((told.code, names().as_str()), (1, "db\nweb-2"), "{told:?}");
    assert_eq!(lab.plain(&told.stdout), "destroyed web-1\n1 destroyed, 1 failed\n");
    assert!(told.stderr.contains("it is running"), "{told:?}");
    let mut terminal = Pty::spawn(&lab.command(["destroy", "--all", "--force"]), 24, 100);
    terminal.awaits("Type 2 to destroy them: ");
    terminal.types("2\r");
    assert_eq!(terminal.exit().code(), Some(0), "{}", terminal.screen());
    // One that is named goes as ever.
    db.create();
    lab.line("destroy @db").done();
    lab.assert_nothing_left();
}
