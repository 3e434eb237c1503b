//! From nothing to a running guest, and back to nothing.

use nixcloud_container::{Error, State};

use crate::harness::{Kind, Lab, Must, scenarios};

scenarios! {
    once: [root_a_new_host_has_an_empty_list],
    both: [root_create_start_destroy],
}

fn root_a_new_host_has_an_empty_list(lab: &Lab) {
    assert!(lab.manager().list().must("list").is_empty());
    let nobody = lab.busybox("nobody");
    assert!(!nobody.container().exists().must("exists"));
    assert!(matches!(nobody.container().state(), Err(Error::NotFound { .. })));
}

fn root_create_start_destroy(lab: &Lab, kind: Kind) {
    let web = lab.guest("web", kind);
    let created = web.create();
    assert_eq!(created.generation.get(), 1);
    assert_eq!(created.address, Some("10.101.0.2".parse().unwrap()));
    assert_eq!(web.state(), State::Stopped);
    web.start();
    assert_eq!(web.state(), State::Running);
    assert_eq!(web.version().as_deref(), Some("1"));
    web.stop();
    assert_eq!(web.state(), State::Stopped);
    web.destroy();
    lab.assert_nothing_left();
}
