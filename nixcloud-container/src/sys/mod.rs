//! The kernel: processes, cgroups, pidfds, user namespaces, mounts, terminals, and programs that are run. The second door to what is
//! unsafe.
#![expect(unsafe_code, reason = "the door to what of the kernel the nix crate leaves unsafe")]

pub mod cgroup;
mod child;
pub mod device;
pub mod handed;
pub mod inherited;
pub(crate) mod inotify;
pub mod mount;
pub mod pidfd;
pub mod proc;
pub mod process;
pub(crate) mod readiness;
pub mod reporter;
pub mod terminal;
pub mod tool;
pub mod userns;

pub(crate) use child::all_end_within;
