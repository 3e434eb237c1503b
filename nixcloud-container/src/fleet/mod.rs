//! Many containers at once: what a set declares, and what starts with the host.

pub mod apply;
pub mod autostart;
pub mod gc;
