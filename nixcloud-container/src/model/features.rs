//! What a guest may do of the kernel beside what every guest may: the `features` of a container file.

use serde::{Deserialize, Serialize};

use crate::model::setters::setters;

/// The `features` of a container file. Each opens a part of the kernel that is shut otherwise; docs/security.md says what.
/// All of them wait for a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Features {
    /// Containers of its own: a user namespace in the guest can mount a `/proc`.
    pub nesting: bool,
    /// Keys of the kernel.
    pub keyring: bool,
    /// The system call `bpf`.
    pub bpf: bool,
    /// `io_uring`.
    pub io_uring: bool,
    /// User namespaces of its own; on, where the file does not say otherwise.
    pub user_namespaces: bool,
    /// Sockets to virtual machines and to the hypervisor.
    pub vsock: bool,
}

setters!(Features: "As of a file that says nothing." {
    with_nesting => nesting: bool,
    with_keyring => keyring: bool,
    with_bpf => bpf: bool,
    with_io_uring => io_uring: bool,
    with_user_namespaces => user_namespaces: bool,
    with_vsock => vsock: bool,
});

impl Default for Features {
    fn default() -> Self {
        Self {
            nesting: false,
            keyring: false,
            bpf: false,
            io_uring: false,
            user_namespaces: true,
            vsock: false,
        }
    }
}

impl Features {
    /// Those that are not as where the file says nothing, by the names of their keys.
    pub fn changed(self) -> impl Iterator<Item = (&'static str, bool)> {
        let Self { nesting, keyring, bpf, io_uring, user_namespaces, vsock } = self;
        let usual = Self::default();
        [
            ("features.nesting", nesting, usual.nesting),
            ("features.keyring", keyring, usual.keyring),
            ("features.bpf", bpf, usual.bpf),
            ("features.ioUring", io_uring, usual.io_uring),
            ("features.userNamespaces", user_namespaces, usual.user_namespaces),
            ("features.vsock", vsock, usual.vsock),
        ]
        .into_iter()
        .filter(|(_, has, usual)| has != usual)
        .map(|(key, has, _)| (key, has))
    }
}
