//! liblxc, loaded when it is first used.
//!
//! It brings eight libraries, whose loading is a third of what a short command costs: a program that calls liblxc in one of
//! its processes alone uses this, and calls nothing of the `extern` block, so that it is not linked.

use core::ffi::{c_char, c_int};
use std::sync::OnceLock;

use libloading::{Error, Library};

use crate::{lxc_container, lxc_log};

/// Its name, the same from 1.1 to 7.0.
const SONAME: &str = "liblxc.so.1";

/// What the `extern` block has under these names, by their types there (`tests/smoke.rs` holds them together).
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the functions of liblxc are documented there")]
pub struct Liblxc {
    pub lxc_get_version: unsafe extern "C" fn() -> *const c_char,
    pub lxc_log_init: unsafe extern "C" fn(*mut lxc_log) -> c_int,
    pub lxc_container_new: unsafe extern "C" fn(*const c_char, *const c_char) -> *mut lxc_container,
    pub lxc_container_put: unsafe extern "C" fn(*mut lxc_container) -> c_int,
    pub lxc_config_item_is_supported: unsafe extern "C" fn(*const c_char) -> bool,
}

/// liblxc: loaded by the first call, and never unloaded. Where the build found it outside the system's own folders, as Nix
/// has it, it is looked for there first.
///
/// # Errors
/// The loader's own words: it is not there, or lacks a function. The first answer stays.
pub fn liblxc() -> Result<&'static Liblxc, &'static Error> {
    // With the library, which is never dropped here: its functions are handed out without a lifetime.
    static LOADED: OnceLock<Result<(Library, Liblxc), Error>> = OnceLock::new();
    LOADED.get_or_init(load).as_ref().map(|(_, lxc)| lxc)
}

fn load() -> Result<(Library, Liblxc), Error> {
    let folders = option_env!("LXC_SYS_FOLDERS").unwrap_or_default();
    let mut files = std::env::split_paths(folders).map(|folder| folder.join(SONAME));
    let file = files.find(|file| file.exists()).unwrap_or_else(|| SONAME.into());
    // SAFETY: liblxc and what it needs have no constructors but those that linking would have run as well.
    let library = unsafe { Library::new(file) }?;
    // SAFETY: the types are those of the headers.
    let lxc = unsafe {
        Liblxc {
            lxc_get_version: *library.get("lxc_get_version")?,
            lxc_log_init: *library.get("lxc_log_init")?,
            lxc_container_new: *library.get("lxc_container_new")?,
            lxc_container_put: *library.get("lxc_container_put")?,
            lxc_config_item_is_supported: *library.get("lxc_config_item_is_supported")?,
        }
    };
    Ok((library, lxc))
}
