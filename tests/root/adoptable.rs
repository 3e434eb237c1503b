//! Which containers of the shell original are adopted, and which are not.

use std::fs;
use std::os::unix::fs::symlink;

use nixcloud_container::{DestroyRequest, Error, ErrorKind, Listed, Manager};

use crate::adoption::{list, made, state, tree};
use crate::harness::{Lab, Must, chain, scenarios};
use crate::moving::{claims, ids};

scenarios! {
    once: [
        root_looking_adopts_nothing,
        root_lists_are_data,
        root_only_what_the_original_made_is_adopted,
        root_an_address_or_range_that_another_has_refuses_the_adoption,
    ],
    both: [],
}

fn root_looking_adopts_nothing(lab: &Lab) {
    let web = made(lab, "web");
    let manager: &Manager = lab.manager();
    let before = tree(lab.root());
    manager.list().must("list");
    assert_eq!(manager.names().must("names"), [web.name().clone()]);
    web.state();
    web.address();
    web.generations();
    web.container().interfaces().must("interfaces");
    let status = web.container().status().must("status");
    assert_eq!((status.autostart, status.ids.map(nixcloud_container::IdMap::base)), (false, Some(100_000)));
    assert!(status.file.ends_with(format!("{}-create.nix", web.name())), "{status:?}");
    assert!(matches!(
        web.container()
            .run(nixcloud_container::RunRequest::new(["true"]), nixcloud_container::Streams::Inherit),
        Err(Error::State { .. })
    ));
    assert_eq!(tree(lab.root()), before);
    // A name that is taken is taken; so are its address and its ids.
    let error = web.try_create(&web.file()).unwrap_err();
    assert!(matches!(error, Error::Exists { .. }), "{error:?}");
    let new = lab.busybox("new");
    new.create();
    assert_eq!((new.address().octets(), ids(&new)), ([10, 101, 0, 3], 165_536));
    new.destroy();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_lists_are_data(lab: &Lab) {
    let (web, db) = (made(lab, "web"), made(lab, "db"));
    let bait = lab.root().join("files/bait");
    let name = state(lab).join("name");
    let good = list(lab, "name");
    let (w, d) = (web.name(), db.name());
    let run = format!("$(touch {})", bait.display());
    let refused = |text: &str, what: &str| {
        fs::write(&name, text).unwrap();
        let error = web.container().start(&mut ()).unwrap_err();
        assert!(matches!(error, Error::Original(_)), "{text}: {error:?}");
        assert!(chain(&error).contains(what), "{text}: {}", chain(&error));
        assert!(error.hint().is_some());
        // It is shown as what it is, and neither as another's nor as free.
        let all = lab.manager().list().must("list");
        assert!(
            all.iter().any(|listed| matches!(listed, Listed::Broken { name, .. } if name == w)),
            "{all:?}"
        );
        assert!(web.try_create(&web.file()).is_err());
        assert_eq!(fs::read_to_string(&name).unwrap(), text, "the list was changed");
        assert!(!bait.exists(), "{text} was run");
        all
    };
    // One value is wrong: the other container is well.
    for value in [
        format!("\\{run}"),
        "0".into(),
        "65535".into(),
        "70000".into(),
        "-1".into(),
        "2 3".into(),
        String::new(),
    ] {
        let all = refused(&format!("declare -A names=([{w}]=\"{value}\" [{d}]=\"3\" )\n"), "which is none");
        assert!(
            all.iter().any(|listed| matches!(listed, Listed::Container(status) if status.name == *d)),
            "{all:?}"
        );
    }
    // It is no list at all.
    for text in [
        format!("declare -A names=([{w}]=\"{run}\" )\n"),
        format!("declare -A names=([{w}]=\"2\" )\ntouch {}\n", bait.display()),
        format!("touch {}\n", bait.display()),
        "\u{0}\u{1}garbage".to_owned(),
    ] {
        refused(&text, "declare -p names");
    }
    // Destroy of the one whose list is broken is refused; mended, all goes on.
    let error = web.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
    assert!(matches!(error, Error::Original(_)), "{error:?}");
    assert!(web.rootfs().join("etc").is_dir());
    fs::write(&name, good).unwrap();
    web.start();
    db.start();
    // Broken later, it is not in the way, and left as it is.
    fs::write(&name, "garbage").unwrap();
    web.stop();
    web.destroy();
    assert_eq!(fs::read_to_string(&name).unwrap(), "garbage");
    fs::remove_file(&name).unwrap();
    db.stop();
    db.destroy();
    assert!(!bait.exists());
    lab.assert_nothing_left();
}

/// What looks like it in part is somebody else's, and left alone.
fn root_only_what_the_original_made_is_adopted(lab: &Lab) {
    let web = made(lab, "web");
    let (config, profile) = (
        web.folder().join("config"),
        lab.path("/nix/var/nix/profiles/nixcloud-container").join(web.name().as_str()),
    );
    let foreign = |why: &str| {
        let all = lab.manager().list().must("list");
        assert!(matches!(&all[..], [Listed::Foreign { .. }]), "{why}: {all:?}");
        let error = web.container().destroy(DestroyRequest::new().with_force(true)).unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }), "{why}: {error:?}");
        assert!(matches!(web.container().start(&mut ()), Err(Error::Foreign { .. })), "{why}");
        assert!(web.rootfs().join("etc").is_dir());
    };
    let ours = || {
        let all = lab.manager().list().must("list");
        assert!(matches!(&all[..], [Listed::Container(_)]), "{all:?}");
    };
    let text = fs::read_to_string(&config).unwrap();
    // Its configuration is about something else.
    for other in [
        "lxc.uts.name = web\n".to_owned(),
        text.replace("-container/", "-container/x/../"),
        text.replace(web.name().as_str(), "other"),
    ] {
        fs::write(&config, &other).unwrap();
        if !other.contains("..") {
            foreign(&other);
        }
    }
    // The guest's root owned the folder: a file of its own counts for nothing.
    fs::write(&config, &text).unwrap();
    std::os::unix::fs::chown(&config, Some(100_000), Some(100_000)).unwrap();
    foreign("the configuration is the guest's");
    std::os::unix::fs::chown(&config, Some(0), Some(0)).unwrap();
    fs::rename(&config, web.folder().join("real")).unwrap();
    symlink(web.folder().join("real"), &config).unwrap();
    foreign("the configuration is a link");
    fs::rename(web.folder().join("real"), &config).unwrap();
    ours();
    // It is in none of the lists.
    let name = list(lab, "name");
    fs::write(state(lab).join("name"), "declare -A names=()\n").unwrap();
    foreign("no list");
    fs::write(state(lab).join("name"), name).unwrap();
    // It has no profile.
    fs::rename(&profile, profile.with_extension("away")).unwrap();
    foreign("no profile");
    fs::rename(profile.with_extension("away"), &profile).unwrap();
    // Written out instead of included, with the old mount line.
    fs::write(&config, fs::read_to_string(profile.join("profile/config")).unwrap()).unwrap();
    ours();
    web.start();
    web.stop();
    web.destroy();
    lab.assert_nothing_left();
}

fn root_an_address_or_range_that_another_has_refuses_the_adoption(lab: &Lab) {
    // As on a host where ours came first and did not know.
    let own = lab.busybox("own");
    own.create();
    assert_eq!((own.address().octets(), ids(&own)), ([10, 101, 0, 2], 100_000));
    let web = made(lab, "web");
    let before = tree(&web.folder());
    let error = web.container().start(&mut ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(chain(&error), format!("ids from 100000 up belong to container `{}`", own.name()));
    // What the hint says.
    own.update(&crate::moving::shared(&own, "2").keys("network.ip = \"10.101.9.9\";"));
    own.update(&own.file().version("3").keys("network.ip = \"10.101.9.9\";"));
    assert_ne!(ids(&own), 100_000);
    fs::write(lab.path("/var/lib/nixcloud/container/addresses/10.101.0.2"), own.name().as_str()).unwrap();
    let error = web.container().start(&mut ()).unwrap_err();
    assert_eq!(chain(&error), format!("address 10.101.0.2 belongs to container `{}`", own.name()));
    // It is the original's as before, and nothing is claimed for it.
    assert!(!lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name())).exists());
    assert_eq!(claims(lab).into_keys().collect::<Vec<_>>(), [ids(&own)]);
    assert_eq!(tree(&web.folder()), before);
    fs::remove_file(lab.path("/var/lib/nixcloud/container/addresses/10.101.0.2")).unwrap();
    web.start();
    web.stop();
    web.destroy();
    own.destroy();
    lab.assert_nothing_left();
}
