//! The faults of the shell original, each with a test that it has not come back. Numbers are those of the list of
//! faults: 8, 9, 12, 14, 15 and 16 are the command line's, the networks' or have tests beside the code.

use std::fs;
use std::process::Stdio;

use nixcloud_container::{CreateRequest, Error, Event, FailedActivation, UpdateRequest};

use crate::harness::{Kind, Lab, Must, scenarios};
use crate::session;

scenarios! {
    once: [
        root_field_01_nix_arguments_reach_nix,
        root_field_04_gateway_extra_config_and_name_count,
        root_field_05_destroy_removes_every_generation_link,
        root_field_06_update_without_a_file,
        root_field_07_the_saved_path_does_not_grow,
        root_field_08_parallel_creates,
        root_field_09_names_are_no_patterns,
        root_field_11_a_failed_create_leaves_nothing,
        root_field_12_a_uid_range_each,
        root_field_13_the_store_is_read_only,
    ],
    both: [
        root_field_02_exit_2_of_the_switch_is_a_failure,
        root_field_03_fixed_ip_reaches_the_guest,
        root_field_10_run_does_not_always_exit_0,
    ],
}

fn root_field_01_nix_arguments_reach_nix(lab: &Lab) {
    let web = lab.busybox("web");
    let folder = lab.path("/files/with blank");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("version.nix"), "\"7\"").unwrap();
    let file = web.file().version("${import <probe/version.nix>}");
    let mut request = web.request(&file);
    let error = web.container().create(&request, &mut ()).unwrap_err();
    assert!(error.details().unwrap().contains("probe"), "{:?}", error.details());
    request.nix_args = vec!["-I".to_owned(), format!("probe={}", folder.display())];
    web.container().create(&request, &mut ()).must("create");
    web.start();
    assert_eq!(web.version().as_deref(), Some("7"));
    // The next update remembers them.
    fs::write(folder.join("version.nix"), "\"8\"").unwrap();
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    assert_eq!(web.version().as_deref(), Some("8"));
    assert_eq!(web.container().status().must("status").nix_args, request.nix_args);
}

fn root_field_02_exit_2_of_the_switch_is_a_failure(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    // Not forced: an activation script that truly fails.
    let broken = "system.activationScripts.broken = \"exit 9\";";
    let error = web.try_update(&web.file().version("2").module(broken)).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Activation { outcome: FailedActivation::Failed { code: 2, .. }, restored: Some(_), .. }
        ),
        "{error:?}"
    );
    assert_eq!((web.generation(), web.version().as_deref()), (1, Some("1")));
}

fn root_field_03_fixed_ip_reaches_the_guest(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let created = web.create_from(&web.file().keys("network.ip = \"10.101.3.3\";"));
    assert_eq!(created.address, Some("10.101.3.3".parse().unwrap()));
    web.start();
    // Printed without quotes.
    assert_eq!(web.address().to_string(), "10.101.3.3");
    let addresses = web.shell("ip -4 -o addr show dev hostonly");
    assert_eq!(addresses.lines().count(), 1, "{addresses}");
    assert!(addresses.contains("inet 10.101.3.3/16 brd 10.101.255.255"), "{addresses}");
    assert!(web.pings());
    // It is no lease: the pool is untouched.
    let other = lab.busybox("other");
    other.create();
    assert_eq!(other.address().octets(), [10, 101, 0, 2]);
}

fn root_field_04_gateway_extra_config_and_name_count(lab: &Lab) {
    let web = lab.busybox("web");
    let file = web
        .file()
        .keys("name = \"other-name\"; network.ip = \"10.101.4.4\"; network.gateway = \"10.101.0.1\";")
        .extra("lxc.environment = COLOUR=blue");
    let mut notes = Vec::new();
    let mut observer = |event: Event| {
        if let Event::Note(note) = event {
            notes.push(note.to_string());
        }
    };
    web.container().create(&web.request(&file), &mut observer).must("create");
    assert!(notes.iter().any(|note| note.contains("`other-name`")), "{notes:?}");
    web.start();
    assert_eq!(web.shell("tr '\\0' '\\n' </proc/1/environ | grep COLOUR"), "COLOUR=blue");
    let routes = web.shell("ip route show default");
    assert!(routes.contains("via 10.101.0.1") && routes.contains("dev hostonly"), "{routes}");
}

fn root_field_05_destroy_removes_every_generation_link(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    for version in ["2", "3"] {
        web.update(&web.file().version(version));
    }
    let path = web.generation_path(1);
    let roots = || {
        let output =
            std::process::Command::new("nix-store").args(["-q", "--roots"]).arg(&path).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(&*lab.root().to_string_lossy())
    };
    assert!(roots(), "the generation is not rooted");
    web.start();
    web.stop();
    web.destroy();
    assert!(!roots(), "the generation is still rooted");
    lab.assert_nothing_left();
}

fn root_field_06_update_without_a_file(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    lab.file(web.name().as_str(), &web.file().version("2"));
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    web.start();
    assert_eq!(web.version().as_deref(), Some("2"));
}

fn root_field_07_the_saved_path_does_not_grow(lab: &Lab) {
    let web = lab.busybox("web");
    web.create();
    let record = lab.path("/var/lib/nixcloud/container/records").join(format!("{}.toml", web.name()));
    let size = || fs::metadata(&record).unwrap().len();
    let path = lab.file(web.name().as_str(), &web.file()).display().to_string();
    web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    let first = size();
    for _ in 0..3 {
        web.container().update(&UpdateRequest::default(), &mut ()).must("update");
    }
    assert_eq!(size(), first);
    assert_eq!(fs::read_to_string(&record).unwrap().matches(&path).count(), 1);
    assert_eq!(web.container().status().must("status").file.display().to_string(), path);
}

fn root_field_08_parallel_creates(lab: &Lab) {
    let guests: Vec<_> = ["a", "b", "c", "d"].map(|name| lab.busybox(name)).into_iter().collect();
    let spawn = |guest: &crate::harness::Guest<'_>| {
        let mut command = lab.actor(false, "create", guest);
        command.arg(guest.request(&guest.file()).file);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // The last one twice: the second waits, and is then told that the name is taken.
    let children: Vec<_> = guests.iter().chain(guests.last()).map(spawn).collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let good = outputs.iter().filter(|output| output.status.success()).count();
    assert_eq!(good, 4, "{outputs:?}");
    let refusal = outputs.iter().find(|output| !output.status.success()).unwrap();
    assert!(String::from_utf8_lossy(&refusal.stderr).contains("Exists"), "{refusal:?}");
    let mut addresses: Vec<u8> = guests.iter().map(|guest| guest.address().octets()[3]).collect();
    let mut ids: Vec<u32> =
        guests.iter().map(|guest| guest.container().status().must("status").ids.unwrap().base()).collect();
    addresses.sort_unstable();
    ids.sort_unstable();
    assert_eq!(addresses, [2, 3, 4, 5]);
    assert_eq!(ids, [100_000, 165_536, 231_072, 296_608]);
}

fn root_field_09_names_are_no_patterns(lab: &Lab) {
    let (web, web1) = (lab.busybox("web"), lab.busybox("web1"));
    web.create();
    web1.create();
    for bad in ["w.*", "web.", "../web", "", "-web", "a/b", "web\n"] {
        assert!(bad.parse::<nixcloud_container::ContainerName>().is_err(), "{bad:?}");
    }
    web.destroy();
    assert!(web1.container().exists().must("exists") && !web.container().exists().must("exists"));
    assert_eq!(web1.address().octets(), [10, 101, 0, 3]);
}

fn root_field_10_run_does_not_always_exit_0(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    web.boot();
    session::exit_codes(&web);
}

fn root_field_11_a_failed_create_leaves_nothing(lab: &Lab) {
    let web = lab.busybox("web");
    for bad in ["standin.buildFails = true;", "standin.stage2 = \"none\";", "networking.hostname = \"x\";"] {
        web.try_create(&web.file().module(bad)).unwrap_err();
        lab.assert_nothing_left();
    }
    let request = CreateRequest::new(lab.write("syntax", "{ this is no Nix"));
    web.container().create(&request, &mut ()).unwrap_err();
    lab.assert_nothing_left();
}

fn root_field_12_a_uid_range_each(lab: &Lab) {
    let (one, two, shared) = (lab.busybox("one"), lab.busybox("two"), lab.busybox("shared"));
    let (also, ids) = (lab.busybox("also"), |guest: &crate::harness::Guest<'_>| {
        guest.container().status().must("status").ids.unwrap().base()
    });
    one.create();
    two.create();
    for guest in [&shared, &also] {
        guest.create_from(&guest.file().keys("idmap = \"shared\";"));
    }
    assert_eq!([&one, &two, &shared, &also].map(ids), [100_000, 165_536, 231_072, 231_072]);
    shared.start();
    also.start();
    shared.stop();
    shared.destroy();
    assert!(also.pings());
}

fn root_field_13_the_store_is_read_only(lab: &Lab) {
    let web = lab.busybox("web");
    // The original's own spelling.
    let error = web.try_create(&web.file().extra("lxc.mount.entry = /srv srv none bind.ro 0 0")).unwrap_err();
    assert!(error.to_string().contains("bind,ro"), "{error}");
    web.boot();
    let mounts = web.shell("cat /proc/self/mountinfo");
    for place in ["/nix/store", "/init"] {
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(place)).unwrap();
        assert!(line.split(' ').nth(5).unwrap().split(',').any(|flag| flag == "ro"), "{line}");
    }
    assert!(!web.sh(": >/nix/store/x").exit.success());
}
