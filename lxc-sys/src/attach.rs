//! What bindgen cannot give of `<lxc/attach_options.h>`: the flags and the default options.
//!
//! `wrapper.h` holds a static assertion for every number here, so that a header that disagrees stops the build.

use core::ffi::{c_int, c_long};
use core::ptr;

use crate::{LXC_ATTACH_KEEP_ENV, lxc_attach_options_t, lxc_groups_t};

/// Move the attached process into the container's cgroups (and so under its limits). On by default.
pub const LXC_ATTACH_MOVE_TO_CGROUP: c_int = 0x0000_0001;
/// Drop the capabilities that the container dropped. On by default.
pub const LXC_ATTACH_DROP_CAPABILITIES: c_int = 0x0000_0002;
/// Set the personality. On by default.
pub const LXC_ATTACH_SET_PERSONALITY: c_int = 0x0000_0004;
/// Change the LSM profile at exec. On by default.
pub const LXC_ATTACH_LSM_EXEC: c_int = 0x0000_0008;
/// Remount `/proc` and `/sys` where the mount namespace is not entered.
pub const LXC_ATTACH_REMOUNT_PROC_SYS: c_int = 0x0001_0000;
/// Change the LSM profile at once; liblxc does not use it.
pub const LXC_ATTACH_LSM_NOW: c_int = 0x0002_0000;
/// Set `PR_SET_NO_NEW_PRIVS`.
pub const LXC_ATTACH_NO_NEW_PRIVS: c_int = 0x0004_0000;
/// Give the attached process a terminal of the container's own, which the caller then serves.
pub const LXC_ATTACH_TERMINAL: c_int = 0x0008_0000;
/// Use `lsm_label`.
pub const LXC_ATTACH_LSM_LABEL: c_int = 0x0010_0000;
/// Use `groups`.
pub const LXC_ATTACH_SETGROUPS: c_int = 0x0020_0000;
/// Everything that is on by default.
pub const LXC_ATTACH_DEFAULT: c_int = 0x0000_FFFF;
/// Let liblxc find out the personality.
pub const LXC_ATTACH_DETECT_PERSONALITY: c_long = !0;

/// `LXC_ATTACH_OPTIONS_DEFAULT` as the header has it.
///
/// liblxc writes into the options that it is given (and into one static struct of its own where it is given NULL, so
/// that the next caller inherits the namespaces of the last): make new ones for each call.
#[must_use]
pub const fn lxc_attach_options_default() -> lxc_attach_options_t {
    lxc_attach_options_t {
        attach_flags: LXC_ATTACH_DEFAULT,
        namespaces: -1,
        personality: LXC_ATTACH_DETECT_PERSONALITY,
        initial_cwd: ptr::null_mut(),
        uid: !0,
        gid: !0,
        env_policy: LXC_ATTACH_KEEP_ENV,
        extra_env_vars: ptr::null_mut(),
        extra_keep_env: ptr::null_mut(),
        stdin_fd: 0,
        stdout_fd: 1,
        stderr_fd: 2,
        // -EBADF
        log_fd: -9,
        lsm_label: ptr::null_mut(),
        groups: lxc_groups_t { size: 0, list: ptr::null_mut() },
    }
}
