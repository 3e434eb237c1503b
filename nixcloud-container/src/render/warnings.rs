//! What a container file may say of its network and seldom means. It is told and not refused: what is around the container
//! is the administrator's.

use ipnetwork::Ipv4Network;

use crate::model::config::HostConfig;
use crate::model::note::NetworkNote;
use crate::model::spec::ContainerSpec;

/// What is told of it.
pub(crate) fn of(config: &HostConfig, spec: &ContainerSpec) -> Vec<NetworkNote> {
    let mut warnings = Vec::new();
    let Some((ip, length)) = spec.effective.ip.zip(spec.effective.prefix_length) else { return warnings };
    let hostonly = &config.network.hostonly;
    if spec.network.bridge.is_none() && !hostonly.address.contains(ip) {
        let (network, bridge) = (network(hostonly.address), hostonly.bridge.clone());
        warnings.push(NetworkNote::AddressElsewhere { ip, network, bridge });
    }
    if let (Some(gateway), Ok(own)) = (spec.network.gateway, Ipv4Network::new(ip, length))
        && !own.contains(gateway)
    {
        warnings.push(NetworkNote::GatewayElsewhere { gateway, network: network(own) });
    }
    warnings
}

/// An address of a host, as the network that it is in.
fn network(address: Ipv4Network) -> Ipv4Network {
    Ipv4Network::new(address.network(), address.prefix()).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::idmap::IdMapKind;
    use crate::model::spec::{Autostart, Effective, NetworkSpec, SCHEMA};

    fn warned(ip: &str, gateway: Option<&str>, bridge: Option<&str>) -> Vec<String> {
        let spec = ContainerSpec {
            schema: SCHEMA,
            name: None,
            autostart: Autostart::default(),
            network: NetworkSpec {
                gateway: gateway.map(|address| address.parse().unwrap()),
                bridge: bridge.map(|name| name.parse().unwrap()),
                ..NetworkSpec::default()
            },
            resources: crate::model::resources::Resources::default(),
            features: crate::model::features::Features::default(),
            devices: crate::model::devices::Devices::default(),
            lxc_extra_config: String::new(),
            idmap: IdMapKind::Isolated,
            store: None,
            effective: Effective { ip: Some(ip.parse().unwrap()), prefix_length: Some(16) },
            original: false,
        };
        of(&HostConfig::default(), &spec).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_address_elsewhere_is_told_on_the_standard_bridge_alone() {
        assert_eq!(warned("10.101.7.7", None, None), [""; 0]);
        assert_eq!(warned("192.168.7.7", None, Some("br-office")), [""; 0]);
        assert_eq!(
            warned("192.168.7.7", None, None),
            [
                "`network.ip` 192.168.7.7 is not in 10.101.0.0/16, the network of brNC-hostonly: the host does not reach \
              it by itself"
            ]
        );
    }

    #[test]
    fn a_gateway_elsewhere_is_told() {
        assert_eq!(warned("10.101.7.7", Some("10.101.0.1"), None), [""; 0]);
        assert_eq!(
            warned("10.9.0.2", Some("10.55.0.1"), Some("br-office")),
            ["`network.gateway` 10.55.0.1 is not in 10.9.0.0/16, the container's own network"]
        );
    }
}
