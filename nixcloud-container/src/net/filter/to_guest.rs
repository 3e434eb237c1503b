//! What a guest may be sent: nothing by containers that it is kept from, and nothing that the host forwards to it where
//! it forwards nothing.
//!
//! The bridge keeps isolated ports from each other, but lets an isolated one and an open one talk, in both directions.
//! Frames of containers are told by their source MAC address, which [`from_guest`](super::from_guest) makes honest.

use super::address::{Load, if_in};
use super::asm::{Assembler, Program};
use super::{IPV4, IPV6, SOURCE, TYPE, V4_SOURCE, V6_SOURCE};
use crate::model::bridge_port::PortPolicy;
use crate::model::interface::{MAC_MASK, MAC_PREFIX, SECOND};

/// The program, which answers `pass` or `drop`.
#[must_use]
pub fn program(policy: &PortPolicy, pass: u32, drop: u32) -> Program {
    let mut asm = Assembler::new(pass, drop);
    // An isolated guest hears no container; an open one does not hear those that are isolated.
    let container = if policy.isolated { MAC_MASK } else { 0xffff ^ SECOND };
    asm.half(SOURCE);
    asm.and(container);
    asm.must_not_be(MAC_PREFIX);
    if policy.from.is_empty() {
        asm.pass();
        return asm.finish();
    }
    let (v4, v6) = (asm.label(), asm.label());
    asm.half(TYPE);
    asm.if_is(IPV4, v4);
    asm.if_is(IPV6, v6);
    asm.pass();
    for (label, at, is_v6) in [(v4, V4_SOURCE, false), (v6, V6_SOURCE, true)] {
        asm.here(label);
        let good = asm.label();
        for network in policy.from.iter().filter(|network| network.is_ipv6() == is_v6) {
            if_in(&mut asm, Load::At(at), *network, good);
        }
        asm.refuse();
        asm.here(good);
        asm.pass();
    }
    asm.finish()
}
