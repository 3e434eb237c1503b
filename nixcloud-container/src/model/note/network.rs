//! What is told of networks.

use std::fmt;
use std::net::Ipv4Addr;

use ipnetwork::Ipv4Network;

use crate::model::forward::HostPort;
use crate::model::name::{ContainerName, InterfaceName};

/// What is told of a container's networks.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkNote {
    /// The container's address is not in the network of its bridge: the host does not reach it by itself.
    #[non_exhaustive]
    AddressElsewhere {
        /// The address.
        ip: Ipv4Addr,
        /// The network of the bridge.
        network: Ipv4Network,
        /// The bridge.
        bridge: InterfaceName,
    },
    /// The container's gateway is not in the container's network.
    #[non_exhaustive]
    GatewayElsewhere {
        /// The gateway.
        gateway: Ipv4Addr,
        /// The container's network.
        network: Ipv4Network,
    },
    /// A bridge that the container does not start without does not exist.
    #[non_exhaustive]
    NoBridge {
        /// The bridge.
        bridge: InterfaceName,
        /// Whether preparing the host makes it; otherwise the container file names it.
        ours: bool,
    },
    /// The networks of the host are not up: ports of the host will lead to the container when they are.
    #[non_exhaustive]
    NotUp {
        /// The container.
        name: ContainerName,
        /// The ports.
        ports: Vec<HostPort>,
    },
    /// The host does not have the address of a port: it will lead to the container when the host has it.
    #[non_exhaustive]
    AddressAbsent {
        /// The container.
        name: ContainerName,
        /// The port.
        port: HostPort,
    },
    /// A program of the host listens on a port that leads to the container, and is reached by the loopback addresses alone.
    #[non_exhaustive]
    PortInUse {
        /// The container.
        name: ContainerName,
        /// The port.
        port: HostPort,
    },
    /// The host's name servers could not be told of the container.
    #[non_exhaustive]
    NamesUntold {
        /// The container.
        name: ContainerName,
        /// The failure with its causes.
        why: String,
    },
    /// The host's packet filter could not be told of the container's ports.
    #[non_exhaustive]
    PortsUntold {
        /// The container.
        name: ContainerName,
        /// The failure with its causes.
        why: String,
    },
}

impl fmt::Display for NetworkNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressElsewhere { ip, network, bridge } => write!(
                f,
                "`network.ip` {ip} is not in {network}, the network of {bridge}: the host does not reach it by itself"
            ),
            Self::GatewayElsewhere { gateway, network } => {
                write!(f, "`network.gateway` {gateway} is not in {network}, the container's own network")
            }
            Self::NoBridge { bridge, ours } => {
                let whose = if *ours {
                    "the host is not prepared for containers"
                } else {
                    "`network.bridge` names it"
                };
                write!(
                    f,
                    "the container does not start without the bridge {bridge}, which does not exist ({whose})"
                )
            }
            Self::NotUp { name, ports } => {
                let ports: Vec<String> = ports.iter().map(|port| port.words()).collect();
                let ports = ports.join(", ");
                write!(f, "the networks of this host are not up: {ports} will lead to `{name}` when they are")
            }
            Self::AddressAbsent { name, port } => write!(
                f,
                "{} will lead to `{name}` when the host has that address, which it has not now",
                port.words()
            ),
            Self::PortInUse { name, port } => write!(
                f,
                "a program of the host listens on {}, which leads to `{name}`: that program is reached by the \
                 loopback addresses alone",
                port.words()
            ),
            Self::NamesUntold { name, why } => {
                write!(f, "the host's name servers are not told of `{name}`: {why}")
            }
            Self::PortsUntold { name, why } => {
                write!(f, "the host's ports may not lead to `{name}`: {why}")
            }
        }
    }
}
