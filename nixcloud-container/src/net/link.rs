//! Interfaces: looking them up, making a bridge, changing and deleting them.

use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkHeader, LinkInfo, LinkMessage,
};

use super::socket::{Error, Message, Netlink, text};

const RTM_NEWLINK: u16 = 16;
const HEADER: usize = 16;
const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_MCAST_MAX_GROUPS: u16 = 42;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_HASH_MAX: u16 = 27;

/// A network interface, as it was when asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Link {
    /// The kernel's number for it, in its network namespace.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The driver (`bridge`, `veth`, ...); `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Free text that an administrator or a program put on it.
    pub alias: Option<String>,
    /// Hardware address, for Ethernet-like interfaces.
    pub mac: Option<[u8; 6]>,
    /// Whether it is set up (not whether it has a carrier).
    pub up: bool,
    /// The index of the bridge or bond that it is a port of.
    pub master: Option<u32>,
    /// What matters of a bridge; `None` for anything else.
    pub bridge: Option<BridgeSettings>,
    /// What matters of a port of a bridge; `None` for anything else.
    pub port: Option<PortSettings>,
}

/// Settings of a bridge's port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PortSettings {
    /// Whether it and other isolated ports do not hear each other.
    pub isolated: bool,
    /// Whether it gets frames to MAC addresses that the bridge does not know.
    pub flood: bool,
    /// How many multicast groups it may take of the bridge's, 0 for all; `None` where the kernel (before 6.3) has no such
    /// limit.
    pub groups: Option<u32>,
}

/// Settings of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BridgeSettings {
    /// Whether the spanning tree protocol runs, be it the kernel's or a daemon's.
    pub stp: bool,
    /// How long a new port listens before it forwards, in hundredths of a second.
    pub forward_delay: u32,
    /// How many multicast groups all its ports may take together. With one more the kernel stops to tell who is in which.
    pub groups: u32,
}

/// What a bridge of ours has: no spanning tree, ports that forward at once.
pub(super) const SETTINGS: BridgeSettings = BridgeSettings { stp: false, forward_delay: 0, groups: 1 << 16 };

/// How many multicast groups a port may take. An ordinary guest takes one an IPv6 address, and a few to find services.
pub const GROUPS: u32 = 64;

impl Link {
    /// Whether it is a bridge.
    #[must_use]
    pub fn is_bridge(&self) -> bool {
        self.kind.as_deref() == Some("bridge")
    }
}

impl Netlink {
    /// The interface `name`; `None` if there is none. An alternative name finds it too: then [`Link::name`] differs.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, Error> {
        let action = format!("look up interface {name}");
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(checked(name)?), without_statistics()];
        match self.request(&action, RouteNetlinkMessage::GetLink(message)) {
            Ok(answers) => Ok(parse_all(&action, &answers)?.into_iter().next()),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The interface with this index; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>, Error> {
        let action = format!("look up interface number {index}");
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes = vec![without_statistics()];
        match self.request(&action, RouteNetlinkMessage::GetLink(message)) {
            Ok(answers) => Ok(parse_all(&action, &answers)?.into_iter().next()),
            Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets whether a port of a bridge is isolated, and whether it gets what is for unknown MAC addresses; and limits the
    /// multicast groups that it may take.
    ///
    /// # Errors
    ///
    /// [`Error`], with `EOPNOTSUPP` for what is no port.
    pub fn set_port(&mut self, name: &str, isolated: bool, flood: bool) -> Result<(), Error> {
        let data = vec![
            InfoBridgePort::Isolated(isolated),
            InfoBridgePort::UnicastFlood(flood),
            // A kernel that does not know it passes over it.
            InfoBridgePort::MulticastMaxGroups(GROUPS),
        ];
        let info = vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(data)),
        ];
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(checked(name)?), LinkAttribute::LinkInfo(info)];
        self.request(&format!("change bridge port {name}"), RouteNetlinkMessage::NewLink(message)).map(drop)
    }

    /// All interfaces.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn links(&mut self) -> Result<Vec<Link>, Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![without_statistics()];
        self.dump_links("list interfaces", message)
    }

    pub(super) fn dump_links(&mut self, action: &str, message: LinkMessage) -> Result<Vec<Link>, Error> {
        let answers = self.dump(action, &RouteNetlinkMessage::GetLink(message))?;
        parse_all(action, &answers)
    }

    /// The interfaces that are ports of the bridge with this index, by name.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn ports_of(&mut self, bridge: u32) -> Result<Vec<Link>, Error> {
        let mut links = self.links()?;
        links.retain(|link| link.master == Some(bridge));
        links.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(links)
    }

    /// Makes a bridge without spanning tree and forward delay, and puts `alias` on it. `mac` is its hardware
    /// address for good; without one it has that of a port and changes when ports come and go.
    ///
    /// These are two requests, since the kernel ignores an alias at creation: whoever is killed in between leaves
    /// a bridge with `mac` and without alias. If the alias fails, the bridge is deleted again.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] with `EEXIST` when the name is taken.
    pub fn add_bridge(&mut self, name: &str, alias: &str, mac: Option<[u8; 6]>) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(checked(name)?), bridge_info(settings())];
        message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
        self.create(&format!("add bridge {name}"), RouteNetlinkMessage::NewLink(message))?;
        let Err(failure) = self.set_alias(name, alias) else { return Ok(()) };
        if let Err(error) = self.delete_link(name) {
            tracing::warn!(name, %error, "a bridge without its mark stays behind");
        }
        Err(failure)
    }

    /// Switches the spanning tree and the forward delay of an existing bridge off. In this order and one by one: no
    /// delay is refused while the spanning tree runs, and the kernel looks at the delay first.
    pub(super) fn settle_bridge(&mut self, name: &str) -> Result<(), Error> {
        for setting in settings() {
            let mut message = LinkMessage::default();
            message.attributes = vec![LinkAttribute::IfName(checked(name)?), bridge_info(vec![setting])];
            self.request(&format!("change bridge {name}"), RouteNetlinkMessage::NewLink(message))?;
        }
        Ok(())
    }

    /// Sets an interface up.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn set_up(&mut self, name: &str) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        message.attributes = vec![LinkAttribute::IfName(checked(name)?)];
        self.request(&format!("set {name} up"), RouteNetlinkMessage::SetLink(message)).map(drop)
    }

    /// Puts an alias on an interface; an empty one takes it away.
    ///
    /// # Errors
    ///
    /// [`Error`], with `EINVAL` for more than 255 bytes.
    pub fn set_alias(&mut self, name: &str, alias: &str) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes =
            vec![LinkAttribute::IfName(checked(name)?), LinkAttribute::IfAlias(alias.to_owned())];
        self.request(&format!("mark {name}"), RouteNetlinkMessage::SetLink(message)).map(drop)
    }

    /// Deletes an interface.
    ///
    /// # Errors
    ///
    /// [`Error`], with `ENODEV` if there is none, `EOPNOTSUPP` for hardware.
    pub fn delete_link(&mut self, name: &str) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.attributes = vec![LinkAttribute::IfName(checked(name)?)];
        self.request(&format!("delete {name}"), RouteNetlinkMessage::DelLink(message)).map(drop)
    }
}

fn settings() -> Vec<InfoBridge> {
    vec![
        InfoBridge::StpState(BridgeStpState::Disabled),
        InfoBridge::ForwardDelay(SETTINGS.forward_delay),
        InfoBridge::MulticastHashMax(SETTINGS.groups),
    ]
}

fn bridge_info(data: Vec<InfoBridge>) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(InfoData::Bridge(data))])
}

/// Counters are most of an answer, and nobody here reads them.
pub(super) fn without_statistics() -> LinkAttribute {
    LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])
}

/// What the kernel takes for a name (dev_valid_name), and no control characters. A NUL would cut the name short and
/// name another interface.
fn checked(name: &str) -> Result<String, Error> {
    let odd =
        |byte: u8| byte == b'/' || byte == b':' || byte.is_ascii_whitespace() || byte.is_ascii_control();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.bytes().any(odd) {
        return Err(Error::BadName { name: name.to_owned() });
    }
    Ok(name.to_owned())
}

fn parse_all(action: &str, answers: &[Message]) -> Result<Vec<Link>, Error> {
    answers
        .iter()
        .filter(|answer| answer.kind == RTM_NEWLINK)
        .map(|answer| {
            parse(&answer.payload)
                .map_err(|source| Error::Decode { action: action.to_owned(), source: source.into() })
        })
        .collect()
}

/// Reads just what [`Link`] holds: an attribute of a newer kernel that the packet crate does not know or rejects
/// must not hide an interface.
fn parse(payload: &[u8]) -> Result<Link, DecodeError> {
    let header = LinkHeader::parse(payload)?;
    let mut link = Link {
        index: header.index,
        name: String::new(),
        kind: None,
        alias: None,
        mac: None,
        up: header.flags.contains(LinkFlags::Up),
        master: None,
        bridge: None,
        port: None,
    };
    let (mut data, mut port_data, mut is_port) = (None, None, false);
    for attribute in NlasIterator::new(payload.get(HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            IFLA_IFNAME => link.name = text(value),
            IFLA_IFALIAS => link.alias = Some(text(value)),
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MASTER => link.master = number(&attribute),
            IFLA_LINKINFO => {
                for inner in NlasIterator::new(value) {
                    let inner = inner?;
                    match inner.kind() {
                        IFLA_INFO_KIND => link.kind = Some(text(inner.value())),
                        IFLA_INFO_DATA => data = Some(inner.value().to_vec()),
                        IFLA_INFO_SLAVE_KIND => is_port = text(inner.value()) == "bridge",
                        IFLA_INFO_SLAVE_DATA => port_data = Some(inner.value().to_vec()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if link.is_bridge() {
        link.bridge = Some(parse_bridge(&data.unwrap_or_default())?);
    }
    if is_port {
        link.port = Some(parse_port(&port_data.unwrap_or_default())?);
    }
    Ok(link)
}

fn parse_port(data: &[u8]) -> Result<PortSettings, DecodeError> {
    let mut settings = PortSettings::default();
    for attribute in NlasIterator::new(data) {
        let attribute = attribute?;
        let set = attribute.value().first().is_some_and(|byte| *byte != 0);
        match attribute.kind() {
            IFLA_BRPORT_ISOLATED => settings.isolated = set,
            IFLA_BRPORT_UNICAST_FLOOD => settings.flood = set,
            IFLA_BRPORT_MCAST_MAX_GROUPS => settings.groups = number(&attribute),
            _ => {}
        }
    }
    Ok(settings)
}

fn parse_bridge(data: &[u8]) -> Result<BridgeSettings, DecodeError> {
    // A kernel without such a table has nothing to set.
    let mut settings = BridgeSettings { groups: SETTINGS.groups, ..BridgeSettings::default() };
    for attribute in NlasIterator::new(data) {
        let attribute = attribute?;
        match attribute.kind() {
            IFLA_BR_FORWARD_DELAY => settings.forward_delay = number(&attribute).unwrap_or(0),
            IFLA_BR_MCAST_HASH_MAX => settings.groups = number(&attribute).unwrap_or(0),
            IFLA_BR_STP_STATE => settings.stp = number(&attribute) != Some(0),
            _ => {}
        }
    }
    Ok(settings)
}

fn number(attribute: &NlaBuffer<&[u8]>) -> Option<u32> {
    attribute.value().try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{in_own_netns, ip};

    #[test]
    fn names_that_would_reach_another_interface_are_refused() {
        for name in ["", ".", "..", "a/b", "a b", "a:b", "br0\0x", "sixteen-bytes-xx", "a\u{1b}"] {
            assert!(matches!(checked(name), Err(Error::BadName { .. })), "{name:?}");
        }
        checked("fifteen-bytes-x").unwrap();
    }

    #[test]
    fn loopback_is_seen_without_root() {
        let mut netlink = Netlink::open().unwrap();
        let lo = netlink.link("lo").unwrap().unwrap();
        assert_eq!((lo.index, lo.name.as_str(), lo.kind.as_deref()), (1, "lo", None));
        assert!(netlink.links().unwrap().iter().any(|link| link.name == "lo"));
        assert_eq!(netlink.link("nc-no-such").unwrap(), None);
    }

    #[test]
    fn root_a_bridge_is_made_marked_changed_and_deleted() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            let mac = [2, 0x11, 0x22, 0x33, 0x44, 0x55];
            netlink.add_bridge("br0", "mark", Some(mac)).unwrap();
            let made = netlink.link("br0").unwrap().unwrap();
            assert_eq!(made.alias.as_deref(), Some("mark"));
            assert_eq!((made.mac, made.up, made.master), (Some(mac), false, None));
            assert_eq!(made.bridge, Some(SETTINGS));
            let shown = ip("-d link show br0");
            assert!(shown.contains("forward_delay 0 ") && shown.contains("stp_state 0 "), "{shown}");

            let taken = netlink.add_bridge("br0", "mark", None).unwrap_err();
            assert_eq!(taken.errno(), Some(libc::EEXIST));
            assert!(taken.to_string().starts_with("cannot add bridge br0"), "{taken}");

            ip("link set br0 type bridge stp_state 1 forward_delay 700");
            let changed = netlink.link("br0").unwrap().unwrap().bridge.unwrap();
            assert_eq!((changed.stp, changed.forward_delay), (true, 700));
            netlink.settle_bridge("br0").unwrap();
            netlink.set_up("br0").unwrap();
            let settled = netlink.link("br0").unwrap().unwrap();
            assert_eq!((settled.bridge, settled.up), (Some(SETTINGS), true));

            ip("link add v0 type veth peer name v1");
            ip("link set v0 master br0");
            let ports: Vec<_> = netlink.ports_of(made.index).unwrap().into_iter().map(|p| p.name).collect();
            assert_eq!(ports, ["v0"]);
            netlink.delete_link("br0").unwrap();
            assert_eq!(netlink.link("br0").unwrap(), None);
            assert_eq!(netlink.delete_link("br0").unwrap_err().errno(), Some(libc::ENODEV));
        });
    }

    #[test]
    fn root_an_alias_that_the_kernel_refuses_leaves_no_bridge() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            let refused = netlink.add_bridge("br0", &"x".repeat(300), None).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "cannot mark br0 (Attribute failed policy validation)",
                "{refused:?}"
            );
            assert_eq!(netlink.link("br0").unwrap(), None);
        });
    }

    #[test]
    fn root_many_interfaces_come_in_many_messages() {
        in_own_netns(|| {
            let mut netlink = Netlink::open().unwrap();
            for at in 0..300 {
                netlink.add_bridge(&format!("br{at}"), "mark", None).unwrap();
            }
            let links = netlink.links().unwrap();
            assert_eq!(links.iter().filter(|link| link.alias.as_deref() == Some("mark")).count(), 300);
        });
    }
}
