//! What a port lets through, as programs of the kernel's classic packet filter.
//!
//! | module | owns |
//! |---|---|
//! | [`asm`] | instructions and jumps |
//! | `address` | comparing addresses |
//! | [`from_guest`] | what a guest may send |
//! | [`to_guest`] | what it may be sent |

mod address;
pub mod asm;
pub mod from_guest;
pub mod to_guest;

use ipnetwork::IpNetwork;

use crate::model::interface::Mac;

/// The offsets of an Ethernet frame.
const DESTINATION: u32 = 0;
const SOURCE: u32 = 6;
const TYPE: u32 = 12;
const HEAD: u32 = 14;

const IPV4: u32 = 0x0800;
const IPV6: u32 = 0x86dd;

/// Where addresses are in a packet.
const V4_SOURCE: u32 = HEAD + 12;
const V4_DESTINATION: u32 = HEAD + 16;
const V6_SOURCE: u32 = HEAD + 8;
const V6_DESTINATION: u32 = HEAD + 24;

/// What a program depends on that is the bridge's, as it is when the program is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bridge {
    /// The MAC addresses by which a guest can reach the host: the bridge's and the port's.
    pub macs: Vec<Mac>,
    /// The host's addresses on the bridge.
    pub addresses: Vec<IpNetwork>,
}

#[cfg(test)]
mod tests;
