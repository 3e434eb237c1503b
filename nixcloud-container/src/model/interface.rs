//! The identity of a container's interfaces on the host: their names there and their MAC addresses.
//!
//! Both are made of one number, so that whoever sees a name or a frame knows whose it is. The prefixes are fixed: the
//! packet filter tells the frames and ports of containers from all others by them.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::name::ContainerName;

/// What the names and MAC addresses of one container's interfaces are made of. Exactly one container of a host has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InterfaceId(u32);

/// Which of a container's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The first one, `hostonly` in the guest: on the standard bridge or on that of `network.bridge`.
    First,
    /// The second one, `internet` in the guest: there with `network.enableNat`.
    Second,
}

impl Slot {
    /// Both, in the order of LXC's numbers.
    pub const ALL: [Self; 2] = [Self::First, Self::Second];

    /// LXC's number of it: the `N` of `lxc.net.N`.
    #[must_use]
    pub const fn index(self) -> u8 {
        match self {
            Self::First => 0,
            Self::Second => 1,
        }
    }

    /// What the host's names of such interfaces begin with.
    #[must_use]
    pub const fn name_prefix(self) -> &'static str {
        match self {
            Self::First => "nci-",
            Self::Second => "ncn-",
        }
    }
}

/// The first two bytes of a container's MAC address, without [`SECOND`] and [`OPEN`]: locally administered, unicast.
/// Nothing else of ours has them, bridges neither.
pub const MAC_PREFIX: u32 = 0x024e;
/// Set in those two bytes for a container's second interface.
pub const SECOND: u32 = 0x0400;
/// Set in those two bytes where other containers may reach it (`network.isolated = false`): its frames say so.
pub const OPEN: u32 = 0x0800;
/// Leaves what all containers' MAC addresses have in common.
pub const MAC_MASK: u32 = 0xffff ^ (SECOND | OPEN);

impl InterfaceId {
    /// The identity that follows from the LXC path and the name. Where another container has it already, the next
    /// `attempt` gives another one.
    #[must_use]
    pub fn of(lxc_path: &Path, name: &ContainerName, attempt: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(lxc_path.as_os_str().as_encoded_bytes());
        hash.update(b"\0");
        hash.update(name.as_str().as_bytes());
        if attempt > 0 {
            hash.update(b"\0");
            hash.update(attempt.to_be_bytes());
        }
        let digest: [u8; 32] = hash.finalize().into();
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }

    /// The number itself.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// The host's name of an interface: 12 of the 15 characters that the kernel allows.
    #[must_use]
    pub fn host_name(self, slot: Slot) -> String {
        format!("{}{self}", slot.name_prefix())
    }

    /// The MAC address of an interface in the guest, stable over restarts as long as it stays isolated or open. Ports of
    /// other containers tell by it whether they let its frames through.
    #[must_use]
    pub fn mac(self, slot: Slot, isolated: bool) -> Mac {
        let second = if slot == Slot::Second { SECOND } else { 0 };
        let open = if isolated { 0 } else { OPEN };
        let ([.., a, b], [c, d, e, f]) = ((MAC_PREFIX | second | open).to_be_bytes(), self.0.to_be_bytes());
        Mac([a, b, c, d, e, f])
    }

    /// Whose interface has this name on the host, and which of its interfaces it is; `None` for one that is no
    /// container's.
    #[must_use]
    pub fn of_host_name(name: &str) -> Option<(Self, Slot)> {
        Slot::ALL
            .into_iter()
            .find_map(|slot| name.strip_prefix(slot.name_prefix())?.parse().ok().map(|id| (id, slot)))
    }
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A text that is no identity of interfaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not 8 hexadecimal digits")]
pub struct InterfaceIdError {
    text: String,
}

impl FromStr for InterfaceId {
    type Err = InterfaceIdError;

    /// One spelling an identity, since it names a file and an interface.
    fn from_str(text: &str) -> Result<Self, InterfaceIdError> {
        let id = u32::from_str_radix(text, 16).ok().map(Self).filter(|id| id.to_string() == text);
        id.ok_or_else(|| InterfaceIdError { text: text.to_owned() })
    }
}

/// A MAC address, shown as `02:4e:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it is one that we give to interfaces of containers.
    #[must_use]
    pub fn is_ours(self) -> bool {
        let [a, b, ..] = self.0;
        u32::from_be_bytes([0, 0, a, b]) & MAC_MASK == MAC_PREFIX
    }

    /// The link-local IPv6 address that the kernel makes of it.
    #[must_use]
    pub fn link_local(self) -> Ipv6Addr {
        let [a, b, c, d, e, f] = self.0;
        Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
    }
}

/// A text that is no MAC address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no MAC address")]
pub struct MacError {
    text: String,
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let read = || {
            let mut bytes = text.split(':').map(|digits| u8::from_str_radix(digits, 16).ok());
            let mut mac = [0; 6];
            for byte in &mut mac {
                *byte = bytes.next()??;
            }
            bytes.next().is_none().then_some(Self(mac))
        };
        read().filter(|mac| mac.to_string() == text).ok_or_else(|| MacError { text: text.to_owned() })
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str, attempt: u32) -> InterfaceId {
        InterfaceId::of(Path::new("/var/lib/lxc"), &name.parse().unwrap(), attempt)
    }

    #[test]
    fn names_and_addresses_follow_from_the_container() {
        let web = id("web", 0);
        assert_eq!(web, id("web", 0));
        assert_ne!(web, id("web", 1));
        assert_ne!(web, InterfaceId::of(Path::new("/srv/lxc"), &"web".parse().unwrap(), 0));
        let web: InterfaceId = "00c0ffee".parse().unwrap();
        assert_eq!(web.host_name(Slot::First), "nci-00c0ffee");
        for (slot, isolated, mac) in [
            (Slot::First, true, "02:4e:00:c0:ff:ee"),
            (Slot::Second, true, "06:4e:00:c0:ff:ee"),
            (Slot::First, false, "0a:4e:00:c0:ff:ee"),
            (Slot::Second, false, "0e:4e:00:c0:ff:ee"),
        ] {
            assert_eq!(web.mac(slot, isolated).to_string(), mac);
            assert_eq!(mac.parse(), Ok(web.mac(slot, isolated)));
            assert!(web.mac(slot, isolated).is_ours());
        }
        assert!(!Mac([0x02, 0x4f, 0, 0, 0, 1]).is_ours() && !Mac([0x03, 0x4e, 0, 0, 0, 1]).is_ours());
        for bad in ["", "02:4e:00:c0:ff", "02:4e:00:c0:ff:ee:00", "02:4e:0:c0:ff:ee", "02:4E:00:c0:ff:ee"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert_eq!(web.mac(Slot::First, true).link_local().to_string(), "fe80::4e:ff:fec0:ffee");
    }

    #[test]
    fn interface_names_fit_the_kernel_differ_and_are_read_back() {
        let mut seen = std::collections::HashSet::new();
        for n in 0..500 {
            let id = id(&format!("c{n}"), 0);
            for slot in Slot::ALL {
                let name = id.host_name(slot);
                assert!(name.len() <= 15);
                assert_eq!(InterfaceId::of_host_name(&name), Some((id, slot)));
                // Locally administered, and no group address.
                for isolated in [true, false] {
                    assert_eq!(id.mac(slot, isolated).0[0] & 0b11, 0b10);
                    assert!(seen.insert(id.mac(slot, isolated).to_string()));
                }
                assert!(seen.insert(name));
            }
        }
    }

    #[test]
    fn an_identity_has_one_spelling() {
        for bad in ["", "1", "00C0FFEE", "+0c0ffee", "000c0ffee", "00c0ffe.", "../c0ffe"] {
            assert!(bad.parse::<InterfaceId>().is_err(), "{bad}");
        }
        assert_eq!(InterfaceId::of_host_name("eth0"), None);
        assert_eq!(InterfaceId::of_host_name("nci-xyz"), None);
    }
}
