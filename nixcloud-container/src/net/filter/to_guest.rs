//! What a guest may be sent by other containers.
//!
//! The bridge keeps isolated ports from each other, but lets an isolated one and an open one talk, in both directions.
//! Frames of containers are told by their source MAC address, which [`from_guest`](super::from_guest) makes honest.

use super::asm::{Assembler, Program};
use super::SOURCE;
use crate::interface::{MAC_MASK, MAC_PREFIX, SECOND};
use crate::port::PortPolicy;

/// The program, which answers `pass` or `drop`.
#[must_use]
pub fn program(policy: &PortPolicy, pass: u32, drop: u32) -> Program {
    let mut asm = Assembler::new(pass, drop);
    // An isolated guest hears no container; an open one does not hear those that are isolated.
    let container = if policy.isolated { MAC_MASK } else { 0xffff ^ SECOND };
    asm.half(SOURCE);
    asm.and(container);
    asm.must_not_be(MAC_PREFIX);
    asm.pass();
    asm.finish()
}
