//! Integration tests of nixcloud-container; they are all in the test targets `root` and `floors`.
//!
//! `cargo test -p nixcloud-container-tests --test root` runs the scenarios on real LXC and real Nix. They need root;
//! for other users, or where LXC or Nix is missing, each is *ignored*, never green.

pub mod many;
pub mod pages;
