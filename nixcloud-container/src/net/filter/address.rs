//! Comparing addresses, word by word.

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::asm::{Assembler, Label};

/// Where an address is.
#[derive(Clone, Copy)]
pub(super) enum Load {
    /// So far from the frame's beginning.
    At(u32),
    /// So far from where X points.
    AtX(u32),
}

impl Load {
    fn word(self, asm: &mut Assembler, number: u32) {
        match self {
            Self::At(at) => asm.word(at + 4 * number),
            Self::AtX(at) => asm.word_at_x(at + 4 * number),
        }
    }
}

/// The network that is one address.
pub(super) fn one(address: IpAddr) -> IpNetwork {
    IpNetwork::from(address)
}

/// Goes on at a label if it is this address.
pub(super) fn if_address(asm: &mut Assembler, load: Load, address: Ipv6Addr, label: Label) {
    if_in(asm, load, one(address.into()), label);
}

/// The words of a network's address with their masks, without those that say nothing.
fn words(network: IpNetwork) -> Vec<(u32, u32)> {
    match network {
        IpNetwork::V4(network) => vec![(u32::from(network.network()), u32::from(network.mask()))],
        IpNetwork::V6(network) => {
            let split = |address: Ipv6Addr| {
                let bits = u128::from(address);
                // The shift leaves exactly one word.
                [96, 64, 32, 0].map(|shift| u32::try_from(bits >> shift & 0xffff_ffff).unwrap_or(0))
            };
            split(network.network()).into_iter().zip(split(network.mask())).collect()
        }
    }
}

/// Goes on at a label if an address is in a network.
pub(super) fn if_in(asm: &mut Assembler, load: Load, network: IpNetwork, label: Label) {
    let other = asm.label();
    for (number, (value, mask)) in (0..).zip(words(network)) {
        if mask == 0 {
            continue;
        }
        load.word(asm, number);
        if mask != u32::MAX {
            asm.and(mask);
        }
        asm.if_not(value, other);
    }
    asm.jump(label);
    asm.here(other);
}
