//! The spec: a container file in its evaluated, typed form. The serde contract with `nix/containers.nix`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::devices::{Devices, pattern, wrong_path};
use crate::model::features::Features;
use crate::model::forward::{Forward, HostPort};
use crate::model::idmap::IdMapKind;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::resources::{Bytes, Resources, processors};
use crate::model::setters::setters;
use crate::model::store_view::StoreView;

/// The schema of requests, answers and `spec.json` that this version speaks.
pub const SCHEMA: u32 = 1;

/// What a container file says beside its NixOS configuration.
///
/// A generation carries it as `spec.json`, so that a rollback brings back the network and limits of that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct ContainerSpec {
    /// The schema that the spec was written in.
    pub schema: u32,
    /// The name that the file proposes.
    pub name: Option<ContainerName>,
    /// Whether and how it starts with the host.
    pub autostart: Autostart,
    /// The container's network.
    pub network: NetworkSpec,
    /// What it may use of the host.
    #[serde(default)]
    pub resources: Resources,
    /// What it may do of the kernel beside what every guest may.
    #[serde(default)]
    pub features: Features,
    /// Devices of the host that it gets.
    #[serde(default)]
    pub devices: Devices,
    /// Lines for the LXC configuration, checked before use.
    pub lxc_extra_config: String,
    /// Whose ids it uses.
    pub idmap: IdMapKind,
    /// How much of the host's store it sees; what the host configuration says when not given.
    #[serde(default)]
    pub store: Option<StoreView>,
    /// What the system was built with.
    pub effective: Effective,
    /// Whether it is no spec, but what the LXC configuration of the shell original comes to that a generation was built
    /// with: the guest's init is then the system's own, and lines that are refused are left out.
    #[serde(skip)]
    pub original: bool,
}

setters!(ContainerSpec: "As of a file that says nothing." {
    with_schema => schema: u32,
    with_name => name: Option<ContainerName>,
    with_autostart => autostart: Autostart,
    with_network => network: NetworkSpec,
    with_resources => resources: Resources,
    with_features => features: Features,
    with_devices => devices: Devices,
    with_lxc_extra_config => lxc_extra_config: String,
    with_idmap => idmap: IdMapKind,
    with_store => store: Option<StoreView>,
    with_effective => effective: Effective,
    with_original => original: bool,
});

/// Start with the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Autostart {
    /// Whether it starts with the host.
    pub enable: bool,
    /// Lower starts earlier.
    pub order: i64,
    /// Seconds to wait after it was started, before the next.
    pub delay: u32,
    /// Containers that must run before it.
    pub after: Vec<ContainerName>,
}

setters!(Autostart: "Not with the host." {
    with_enable => enable: bool,
    with_order => order: i64,
    with_delay => delay: u32,
    with_after => after: Vec<ContainerName>,
});

/// The network part of a container file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct NetworkSpec {
    /// A bridge in place of the standard one.
    pub bridge: Option<InterfaceName>,
    /// A fixed address.
    pub ip: Option<Ipv4Addr>,
    /// The prefix length that the fixed address carries.
    pub prefix_length: Option<u8>,
    /// The guest's default gateway.
    pub gateway: Option<Ipv4Addr>,
    /// Whether there is a second interface, `internet`.
    pub enable_nat: bool,
    /// A fixed IPv6 address of the first interface.
    #[serde(default)]
    pub ip6: Option<Ipv6Addr>,
    /// The prefix length that it carries.
    #[serde(default)]
    pub prefix_length6: Option<u8>,
    /// The guest's default gateway for IPv6.
    #[serde(default)]
    pub gateway6: Option<Ipv6Addr>,
    /// Whether no other container of its bridges reaches it, nor it them.
    #[serde(default = "isolated")]
    pub isolated: bool,
    /// How large packets are on its interfaces, in bytes.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub forwards: Vec<Forward>,
}

setters!(NetworkSpec: "An address of the pool on the standard bridge, kept from other containers." {
    with_bridge => bridge: Option<InterfaceName>,
    with_ip => ip: Option<Ipv4Addr>,
    with_prefix_length => prefix_length: Option<u8>,
    with_gateway => gateway: Option<Ipv4Addr>,
    with_enable_nat => enable_nat: bool,
    with_ip6 => ip6: Option<Ipv6Addr>,
    with_prefix_length6 => prefix_length6: Option<u8>,
    with_gateway6 => gateway6: Option<Ipv6Addr>,
    with_isolated => isolated: bool,
    with_mtu => mtu: Option<u16>,
    with_forwards => forwards: Vec<Forward>,
});

fn isolated() -> bool {
    true
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            bridge: None,
            ip: None,
            prefix_length: None,
            gateway: None,
            enable_nat: false,
            ip6: None,
            prefix_length6: None,
            gateway6: None,
            isolated: true,
            mtu: None,
            forwards: Vec::new(),
        }
    }
}

/// The address that the system was built with: fixed or leased; none where the bridge leaves it to DHCP.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Effective {
    /// The address.
    pub ip: Option<Ipv4Addr>,
    /// The prefix length of the address, in bits.
    pub prefix_length: Option<u8>,
}

setters!(Effective: "No address." {
    with_ip => ip: Option<Ipv4Addr>,
    with_prefix_length => prefix_length: Option<u8>,
});

/// A spec that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// It is not the JSON that was agreed.
    #[error("the spec is not what nix/containers.nix writes")]
    Json(#[from] serde_json::Error),
    /// A newer tool wrote it.
    #[error("the spec has schema {found}, this version reads up to {SCHEMA}")]
    #[non_exhaustive]
    Newer {
        /// The schema found.
        found: u32,
    },
    /// A field holds a value that cannot be.
    #[error("{field} cannot be {value}: {why}")]
    #[non_exhaustive]
    Value {
        /// The field as the container file spells it.
        field: &'static str,
        /// The value that it has.
        value: String,
        /// Why not.
        why: &'static str,
    },
}

impl Default for ContainerSpec {
    fn default() -> Self {
        Self {
            schema: SCHEMA,
            name: None,
            autostart: Autostart::default(),
            network: NetworkSpec::default(),
            resources: Resources::default(),
            features: Features::default(),
            devices: Devices::new(),
            lxc_extra_config: String::new(),
            idmap: IdMapKind::default(),
            store: None,
            effective: Effective::default(),
            original: false,
        }
    }
}

impl ContainerSpec {
    /// How much of the store it sees on a host whose configuration says `host`.
    #[must_use]
    pub fn store_view(&self, host: StoreView) -> StoreView {
        self.store.unwrap_or(host)
    }

    /// Reads a spec of this or an older schema and checks what types alone cannot.
    ///
    /// # Errors
    /// When it is not a spec, a newer one, or holds an impossible value.
    pub fn from_json(json: &[u8]) -> Result<Self, SpecError> {
        #[derive(Deserialize)]
        struct Probe {
            schema: u32,
        }
        let read = serde_json::from_slice::<Self>(json);
        // The number alone where it cannot be read: a newer spec has fields that this version calls unknown.
        let found = match &read {
            Ok(spec) => spec.schema,
            Err(_) => serde_json::from_slice::<Probe>(json)?.schema,
        };
        if found > SCHEMA {
            return Err(SpecError::Newer { found });
        }
        let spec = read?;
        spec.check()?;
        Ok(spec)
    }

    /// Checks what types alone cannot.
    ///
    /// # Errors
    /// When a field holds an impossible value.
    pub fn check(&self) -> Result<(), SpecError> {
        let network = &self.network;
        if let Some(prefix) = network.prefix_length
            && !(1..=30).contains(&prefix)
        {
            let why = "a prefix length is 1 to 30";
            return Err(SpecError::Value { field: "network.ip", value: format!("/{prefix}"), why });
        }
        for (field, address) in [("network.ip", network.ip), ("network.gateway", network.gateway)] {
            if let Some(address) = address
                && (address.is_unspecified()
                    || address.is_loopback()
                    || address.is_multicast()
                    || address.is_broadcast())
            {
                let why = "it is not the address of a host";
                return Err(SpecError::Value { field, value: address.to_string(), why });
            }
        }
        if let Some(prefix) = network.prefix_length6
            && !(1..=127).contains(&prefix)
        {
            let why = "a prefix length is 1 to 127";
            return Err(SpecError::Value { field: "network.ip6", value: format!("/{prefix}"), why });
        }
        if let Some(address) = network.ip6
            && (address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some())
        {
            let why = "it is not the address of a host";
            return Err(SpecError::Value { field: "network.ip6", value: address.to_string(), why });
        }
        if let Some(address) = network.gateway6
            && (address.is_unspecified() || address.is_loopback() || address.is_multicast())
        {
            let why = "it is not the address of a host";
            return Err(SpecError::Value { field: "network.gateway6", value: address.to_string(), why });
        }
        check_resources(&self.resources)?;
        check_devices(&self.devices)?;
        forwards(&network.forwards)
    }
}

/// Below it the kernel ends init before it has done anything.
const LEAST_MEMORY: u64 = 4 << 20;

/// Checks of limits what types alone cannot.
///
/// # Errors
/// When one of them cannot be.
pub(crate) fn check_resources(resources: &Resources) -> Result<(), SpecError> {
    let refuse = |field, value: String, why| Err(SpecError::Value { field, value, why });
    let Resources { memory, memory_high, cpuset, io, hugepages, .. } = resources;
    if let (Some(most), Some(high)) = (memory, memory_high)
        && high > most
    {
        return refuse(
            "resources.memoryHigh",
            Bytes(*high).to_string(),
            "it is more than `resources.memory`",
        );
    }
    if let Some(memory) = memory
        && *memory < LEAST_MEMORY
    {
        return refuse("resources.memory", Bytes(*memory).to_string(), "no guest boots with less than 4M");
    }
    if let Some(list) = cpuset
        && processors(list).is_none()
    {
        return refuse("resources.cpuset", list.clone(), "it is no list of processors such as 0-3,8");
    }
    let bounded = [
        ("resources.cpus", resources.cpus, 10..=1_000_000_000, "it is to be at least 0.01 of a processor"),
        ("resources.cpuWeight", resources.cpu_weight.map(u32::from), 1..=10_000, "a weight is 1 to 10000"),
        ("resources.pids", resources.pids, 1..=1 << 22, "it is to be 1 to 4194304"),
        ("resources.ioWeight", resources.io_weight.map(u32::from), 1..=10_000, "a weight is 1 to 10000"),
        ("resources.openFiles", resources.open_files, 64..=524_288, "it is to be 64 to 524288"),
        ("resources.cgroups", resources.cgroups, 1..=4096, "it is to be 1 to 4096"),
    ];
    for (field, value, bounds, why) in bounded {
        if let Some(value) = value.filter(|value| !bounds.contains(value)) {
            return refuse(field, value.to_string(), why);
        }
    }
    // They become words of the kernel's, and of LXC's configuration.
    if let Some(path) = io.keys().find(|path| !path.starts_with("/dev/") || path.contains(char::is_control)) {
        return refuse("resources.io", path.clone(), "it is no block device of the host, such as /dev/sda");
    }
    let is_size = |size: &&String| {
        size.strip_suffix("KB").or(size.strip_suffix("MB")).or(size.strip_suffix("GB")).is_some_and(
            |number| !number.is_empty() && number.len() < 8 && number.bytes().all(|c| c.is_ascii_digit()),
        )
    };
    if let Some(size) = hugepages.keys().find(|size| !is_size(size)) {
        return refuse("resources.hugepages", size.clone(), "it is no size of huge pages such as 2MB");
    }
    Ok(())
}

/// That they are below `/dev`, on the host and in the guest, and not what every guest has.
fn check_devices(devices: &Devices) -> Result<(), SpecError> {
    let refuse = |field, value: &String, why| Err(SpecError::Value { field, value: value.clone(), why });
    for (key, device) in devices {
        if let Some(why) = wrong_path(key, false) {
            return refuse("devices", key, why);
        }
        let (field, path) = match &device.path {
            Some(path) => ("devices.DEVICE.path", path),
            None => ("devices", key),
        };
        // A pattern stands for names, any of which will do here.
        let one = pattern(path)
            .filter(|_| device.path.is_none())
            .map(|(folder, start)| format!("{folder}/{start}x"));
        if let Some(why) = wrong_path(one.as_ref().unwrap_or(path), true) {
            return refuse(field, path, why);
        }
    }
    Ok(())
}

/// That each port of the host is in it once, and on addresses that something comes to.
fn forwards(forwards: &[Forward]) -> Result<(), SpecError> {
    let mut taken = std::collections::BTreeMap::<_, Vec<HostPort>>::new();
    for forward in forwards {
        let host = forward.host();
        let refuse = |why| {
            let value = format!("{} {}", host.protocol, host.place());
            Err(SpecError::Value { field: "network.forwards", value, why })
        };
        if host.listen.is_some_and(|listen| {
            let mapped = matches!(listen, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
            listen.is_unspecified() || listen.is_loopback() || listen.is_multicast() || mapped
        }) {
            return refuse(
                "`listen` is an address that others reach the host by; without it all of them lead there",
            );
        }
        let others = taken.entry((host.protocol, host.port)).or_default();
        if others.iter().any(|other| other.overlaps(host)) {
            return refuse("that port of the host is in it twice");
        }
        others.push(host);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"{"schema":1,"name":null,"autostart":{"enable":false,"order":0,"delay":0,"after":[]},
        "network":{"bridge":null,"ip":null,"prefixLength":null,"gateway":null,"enableNat":false},
        "lxcExtraConfig":"","idmap":"isolated","effective":{"ip":"10.101.0.2","prefixLength":16}}"#;

    #[test]
    fn the_normal_form_is_read() {
        let spec = ContainerSpec::from_json(PLAIN.as_bytes()).unwrap();
        assert_eq!(spec.effective.ip, Some("10.101.0.2".parse().unwrap()));
        let again = serde_json::to_vec(&spec).unwrap();
        assert_eq!(ContainerSpec::from_json(&again).unwrap(), spec);
    }

    #[test]
    fn what_came_later_has_a_default() {
        let spec = ContainerSpec::from_json(PLAIN.as_bytes()).unwrap();
        assert_eq!(spec.network, NetworkSpec::default());
        assert!(spec.network.isolated);
    }

    #[test]
    fn forwards_and_ipv6_are_checked() {
        let with = |more: &str| {
            let json = PLAIN.replacen("\"enableNat\":false", &format!("\"enableNat\":false,{more}"), 1);
            ContainerSpec::from_json(json.as_bytes()).map(drop).map_err(|error| error.to_string())
        };
        let forward = r#"{"hostPort":80,"containerPort":8080,"protocol":"tcp"}"#;
        with(&format!("\"forwards\":[{forward}]")).unwrap();
        let twice = with(&format!("\"forwards\":[{forward},{forward}]")).unwrap_err();
        assert_eq!(twice, "network.forwards cannot be tcp 80: that port of the host is in it twice");
        with(r#""forwards":[{"hostPort":0,"containerPort":1,"protocol":"tcp"}]"#).unwrap_err();
        let at = |listen: &str| forward.replacen('}', &format!(",\"listen\":\"{listen}\"}}"), 1);
        with(&format!("\"forwards\":[{},{}]", at("192.0.2.1"), at("2001:db8::1"))).unwrap();
        let twice = with(&format!("\"forwards\":[{},{forward}]", at("192.0.2.1"))).unwrap_err();
        assert_eq!(twice, "network.forwards cannot be tcp 80: that port of the host is in it twice");
        for bad in ["0.0.0.0", "127.0.0.1", "::1", "::", "ff02::1", "::ffff:192.0.2.1", "192.0.2"] {
            with(&format!("\"forwards\":[{}]", at(bad))).unwrap_err();
        }
        with(r#""ip6":"2001:db8::5","prefixLength6":64"#).unwrap();
        with(r#""gateway6":"fe80::1""#).unwrap();
        with(r#""gateway6":"ff02::1""#).unwrap_err();
        for bad in ["fe80::1", "::1", "ff02::1", "::", "::ffff:10.0.0.1"] {
            with(&format!("\"ip6\":\"{bad}\"")).unwrap_err();
        }
    }

    #[test]
    fn a_newer_schema_is_refused_by_its_number() {
        let newer = PLAIN.replacen("\"schema\":1", "\"schema\":7,\"colour\":1", 1);
        assert!(matches!(ContainerSpec::from_json(newer.as_bytes()), Err(SpecError::Newer { found: 7 })));
    }

    #[test]
    fn unknown_fields_and_impossible_values_are_refused() {
        let unknown = PLAIN.replacen("\"name\"", "\"colour\":1,\"name\"", 1);
        assert!(matches!(ContainerSpec::from_json(unknown.as_bytes()), Err(SpecError::Json(_))));
        let bad = PLAIN.replacen("\"ip\":null", "\"ip\":\"127.0.0.1\"", 1);
        let error = ContainerSpec::from_json(bad.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "network.ip cannot be 127.0.0.1: it is not the address of a host");
    }
}
