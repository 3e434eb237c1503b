//! Declarations of liblxc, made by bindgen from the installed headers: names, types, no policy.
//!
//! # The struct grows
//!
//! [`lxc_container`] is a table of function pointers that liblxc allocates and that grows at its end: 568 bytes in
//! 4.0.5 to 5.0, 584 in 6.0. The library that runs may be older than the headers that these bindings come from, the
//! SONAME is the same. A member past the end of the running library's struct is then *not* `None`: it is memory that
//! belongs to somebody else. So:
//!
//! 1. Touch a `*mut lxc_container` member by member, never as a whole: do not copy, compare, print or `read` it. (It has
//!    no `Copy` and no `Debug` for that reason.)
//! 2. Members up to `devpts_fd` ([`LAST_OF_4_0_7`]) have been at the same offset since 4.0.5, which inserted one before
//!    `init_pidfd`, and may be called when [`lxc_get_version`] says 4.0.7 or later, which this crate is for.
//! 3. `set_timeout` and `rcv_timeout` need a running library of 6.0.0 or later, whatever the headers say.
//!
//! [`lxc_attach_options_t`] has no size field; it has been 96 bytes since 4.0.7.
//!
//! # Where the bindings come from
//!
//! `build.rs` says which variables steer it. Its cfgs (`lxc_4_0_7`, `lxc_5_0`, `lxc_6_0`, `lxc_6_0_6`) name the headers,
//! not the library that runs; build scripts of dependents see `DEP_LXC_VERSION`. Without libclang or liblxc the
//! committed bindings are used (`lxc_pregenerated`); `regenerate.sh` renews them. liblxc (LGPL-2.1-or-later) is linked
//! dynamically only: by the `extern` block, or when it is first used, by [`liblxc`].

mod attach;
mod loaded;

#[allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    rust_2018_idioms,
    unreachable_pub,
    reason = "generated: which of these it breaks depends on the headers and on bindgen"
)]
mod bindings {
    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use attach::*;
pub use bindings::*;
pub use libloading::Error as LoadError;
pub use loaded::{Liblxc, liblxc};

/// The offset of the last member that a running library of 4.0.7 has, of this crate's target: whoever calls a member proves, when
/// that is compiled, that it is no further on.
///
/// ```
/// const _: () = assert!(core::mem::offset_of!(lxc_sys::lxc_container, devpts_fd) <= lxc_sys::LAST_OF_4_0_7);
/// ```
pub const LAST_OF_4_0_7: usize = core::mem::offset_of!(lxc_container, devpts_fd);

/// Whether these are the committed bindings rather than those of the installed headers.
pub const PREGENERATED: bool = cfg!(lxc_pregenerated);
