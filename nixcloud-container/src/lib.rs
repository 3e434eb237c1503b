//! Unprivileged NixOS containers on LXC.

pub mod fs;
pub mod lxc;
pub mod net;
pub mod nix;
pub mod observe;
