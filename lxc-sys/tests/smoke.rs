//! The bindings against the library that runs: no root, no container.

use core::mem::{offset_of, size_of};
use std::ffi::CStr;

use lxc_sys::{lxc_attach_options_t, lxc_container};

/// The committed bindings, whichever this build uses.
const COMMITTED: &str = include_str!("../src/pregenerated.rs");
/// Those that this build uses.
const USED: &str = include_str!(concat!(env!("OUT_DIR"), "/bindings.rs"));

fn runtime() -> String {
    // SAFETY: takes nothing, returns a static string of the library's.
    let version = unsafe { lxc_sys::lxc_get_version() };
    assert!(!version.is_null());
    // SAFETY: not NULL, NUL-terminated, static.
    unsafe { CStr::from_ptr(version) }.to_str().unwrap().to_owned()
}

#[test]
fn links_and_names_a_version_that_is_new_enough() {
    let text = runtime();
    let numbers: Vec<u32> = text.split(['.', '-']).take(3).filter_map(|part| part.parse().ok()).collect();
    assert!(numbers.as_slice() >= [4, 0, 7].as_slice(), "liblxc {text}");
}

/// The members that the library calls, at the offsets that every release from 4.0.7 to 7.0 has.
#[test]
#[cfg(target_pointer_width = "64")]
fn members_are_where_every_release_has_them() {
    assert_eq!(offset_of!(lxc_container, daemonize), 68);
    assert_eq!(offset_of!(lxc_container, config_path), 72);
    assert_eq!(offset_of!(lxc_container, is_defined), 80);
    assert_eq!(offset_of!(lxc_container, state), 88);
    assert_eq!(offset_of!(lxc_container, seccomp_notify_fd), 536);
    assert_eq!(offset_of!(lxc_container, seccomp_notify_fd_active), 544);
    assert_eq!(offset_of!(lxc_container, init_pidfd), 552);
    assert_eq!(offset_of!(lxc_container, devpts_fd), 560);
    assert_eq!(lxc_sys::LAST_OF_4_0_7, 560);
    assert!(size_of::<lxc_container>() >= 568);
}

#[test]
#[cfg(target_pointer_width = "64")]
fn attach_options_have_the_shape_of_4_0_7() {
    assert_eq!(size_of::<lxc_attach_options_t>(), 96);
    assert_eq!(offset_of!(lxc_attach_options_t, lsm_label), 72);
    assert_eq!(offset_of!(lxc_attach_options_t, groups), 80);
}

#[test]
fn attach_default_is_that_of_the_header() {
    let options = lxc_sys::lxc_attach_options_default();
    assert_eq!(options.attach_flags, 0xFFFF);
    assert_eq!((options.namespaces, options.personality), (-1, -1));
    assert_eq!((options.uid, options.gid), (u32::MAX, u32::MAX));
    assert_eq!(options.env_policy, lxc_sys::LXC_ATTACH_KEEP_ENV);
    assert_eq!((options.stdin_fd, options.stdout_fd, options.stderr_fd, options.log_fd), (0, 1, 2, -9));
    assert!(options.initial_cwd.is_null() && options.lsm_label.is_null() && options.groups.list.is_null());
}

#[test]
fn config_keys_can_be_asked_for() {
    // SAFETY: a NUL-terminated string that outlives the call.
    assert!(unsafe { lxc_sys::lxc_config_item_is_supported(c"lxc.uts.name".as_ptr()) });
    // SAFETY: as above.
    assert!(!unsafe { lxc_sys::lxc_config_item_is_supported(c"lxc.no.such.key".as_ptr()) });
}

/// A derived `Debug` or `Copy` of the struct would read what an older library never allocated.
#[test]
fn the_container_struct_cannot_be_read_whole() {
    let (_, after) = USED.split_once("pub struct lxc_container {").expect("the struct is bound");
    let before = &USED[..USED.len() - after.len()];
    let attributes = before.rsplit_once("#[repr(C)]").expect("it is repr(C)").1;
    assert!(!attributes.contains("derive"), "{attributes}");
    assert!(!USED.contains(": _bindgen_ty"), "a constant has a type of no name");
}

fn version_in(text: &str) -> &str {
    let (_, rest) = text.split_once("pub const LXC_VERSION: ").expect("the version is bound");
    rest.split('"').nth(1).expect("a string").trim_end_matches("\\0")
}

/// White space and trailing commas depend on whether rustfmt is there; nothing else does.
fn tokens(text: &str) -> String {
    let mut tokens: String = text
        .lines()
        .filter(|line| !line.starts_with("//"))
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    for close in [")", "]", "}", ">"] {
        tokens = tokens.replace(&format!(",{close}"), close);
    }
    tokens
}

/// Renewed by `regenerate.sh`; CI runs `regenerate.sh --check`.
#[test]
fn committed_bindings_equal_fresh_ones() {
    let (committed, used) = (version_in(COMMITTED), version_in(USED));
    assert!(COMMITTED.starts_with(&format!(
        "// Made by regenerate.sh from the headers of liblxc {committed}. Do not edit."
    )));
    if lxc_sys::PREGENERATED {
        eprintln!("not compared: this build uses the committed bindings");
    } else if committed != used {
        eprintln!("not compared: the committed bindings are of liblxc {committed}, the headers of {used}");
    } else {
        assert!(tokens(COMMITTED) == tokens(USED), "src/pregenerated.rs is out of date: run regenerate.sh");
    }
}

/// The functions that are loaded have the types that the headers give them, and are those that linking finds.
#[test]
fn what_is_loaded_is_what_would_be_linked() {
    let lxc = lxc_sys::liblxc().unwrap();
    let linked = lxc_sys::Liblxc {
        lxc_get_version: lxc_sys::lxc_get_version,
        lxc_log_init: lxc_sys::lxc_log_init,
        lxc_container_new: lxc_sys::lxc_container_new,
        lxc_container_put: lxc_sys::lxc_container_put,
        lxc_config_item_is_supported: lxc_sys::lxc_config_item_is_supported,
    };
    // Debug prints the addresses.
    assert_eq!(format!("{lxc:?}"), format!("{linked:?}"));
}
