//! Whose a container is: of a set that is named by a link, that was moved, or that is another copy.

use std::fs;
use std::os::unix::fs::symlink;

use nixcloud_container::Error;

use crate::apply::{apply, expect, failure, request};
use crate::harness::{Lab, Must, scenarios};

scenarios! {
    once: [
        root_a_link_to_a_set_is_that_set,
        root_a_copy_of_a_set_takes_its_containers_over,
    ],
    both: [],
}

fn root_a_link_to_a_set_is_that_set(lab: &Lab) {
    let web = lab.busybox("web");
    let files = lab.root().join("files");
    let (folder, link) = (files.join("all"), files.join("link"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(format!("{}.nix", web.name())), web.file().text()).unwrap();
    symlink(&folder, &link).unwrap();
    expect(lab, &apply(lab, &link), &[("web", "created")]);
    expect(lab, &apply(lab, &folder), &[("web", "unchanged")]);
    expect(lab, &apply(lab, &link), &[("web", "unchanged")]);
    assert_eq!(web.container().status().must("status").declared.as_deref(), folder.to_str());
    // A file of a set, and one that an earlier version noted by its link.
    let set = crate::apply::set(lab, &[(&web, web.file())]);
    let other = files.join("other.nix");
    symlink(&set, &other).unwrap();
    let taken = request(&set).with_take_over(true);
    expect(lab, &lab.manager().apply(&taken, &mut ()).must("apply"), &[("web", "unchanged")]);
    expect(lab, &apply(lab, &other), &[("web", "unchanged")]);
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name()));
    let text = fs::read_to_string(&record).unwrap();
    let old = text
        .replace(&format!("source = \"{}\"", set.display()), &format!("source = \"{}\"", other.display()));
    assert_ne!(old, text);
    fs::write(&record, old).unwrap();
    expect(lab, &apply(lab, &set), &[("web", "unchanged")]);
}

fn root_a_copy_of_a_set_takes_its_containers_over(lab: &Lab) {
    let (web, db, hand) = (lab.busybox("web"), lab.busybox("db"), lab.busybox("hand"));
    hand.create();
    let all = crate::apply::set(lab, &[(&web, web.file()), (&db, db.file())]);
    apply(lab, &all);
    let files = [(&web, web.file()), (&hand, hand.file())];
    let entries: String =
        files.iter().map(|(guest, file)| format!("\"{}\" = {};\n", guest.name(), file.text())).collect();
    let copy = lab.write("copy", &format!("{{\n{entries}}}\n"));
    let applied = apply(lab, &copy);
    expect(lab, &applied, &[("web", "failed"), ("hand", "failed")]);
    for name in ["web", "hand"] {
        let error = failure(lab, &applied, name);
        assert!(matches!(error, Error::NotDeclared { .. }), "{error:?}");
        assert!(error.hint().unwrap().contains("apply --take-over"), "{:?}", error.hint());
    }
    // What the other set has beside them stays its own: a prune does not take it over.
    let path = copy.to_str().unwrap();
    let told = lab.cli(["apply", "--take-over", "--prune", path]);
    let said = lab.plain(&told.stderr);
    assert!(said.contains("`web` is taken over: `/lab/files/all.nix` declared it"), "{said}");
    assert!(said.contains("`hand` is taken over: it was made by hand"), "{said}");
    assert_eq!(told.code, 0, "{told:?}");
    let declared = |guest: &crate::harness::Guest<'_>| guest.container().status().must("status").declared;
    assert_eq!([&web, &hand].map(declared), [Some(path.to_owned()), Some(path.to_owned())]);
    assert_eq!(declared(&db).as_deref(), all.to_str());
    // From now on it is the other set that may not.
    let applied = apply(lab, &all);
    expect(lab, &applied, &[("web", "failed"), ("db", "unchanged")]);
}
