//! What others of this host have: LXC containers that are not ours, and the host's own addresses.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;

use crate::fs::error::FileError;
use crate::model::idmap::RANGE;
use crate::model::interface::InterfaceId;
use crate::model::layout::Layout;
use crate::net::{self, Netlink};
use crate::store::claims::Foreign;
use crate::store::legacy;
use crate::store::record::{Record, RecordError};

/// The host cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// The LXC path cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// Our own records cannot be listed.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The host's interfaces cannot be read.
    #[error("cannot read the host's interfaces and addresses")]
    Links(#[source] net::Error),
}

/// Looks at the host once, before anything is claimed.
pub(crate) fn scan(layout: &Layout) -> Result<Foreign, ForeignError> {
    let mut foreign = links()?;
    for name in containers(layout)? {
        // What the shell original made has its own, though nobody has adopted it yet.
        if let Ok(Some(record)) = name.parse().map_or(Ok(None), |name| legacy::record(layout, &name)) {
            let addresses = record.lease.into_iter().chain(record.fixed);
            foreign.addresses.extend(addresses.map(|address| (address.into(), name.clone())));
            foreign.ids.extend(record.ids.map(|ids| (ids.base().into(), RANGE.into())));
        }
        let config = layout.lxc_path().join(&name).join("config");
        // One that cannot be read is nobody's reason to fail.
        let text = std::fs::read(&config).unwrap_or_default();
        read_config(&name, &String::from_utf8_lossy(&text), &mut foreign);
    }
    Ok(foreign)
}

/// LXC containers of our path that have no record.
pub(crate) fn containers(layout: &Layout) -> Result<Vec<String>, ForeignError> {
    let ours: HashSet<String> = Record::names(layout)?.into_iter().map(String::from).collect();
    let path = layout.lxc_path();
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::new("read", path, source).into()),
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            !name.starts_with('.') && !ours.contains(name) && path.join(name).join("config").is_file()
        })
        .collect();
    names.sort();
    Ok(names)
}

/// What the interfaces of this network namespace have. What a container of ours has on the host's side is no address.
fn links() -> Result<Foreign, ForeignError> {
    let mut netlink = Netlink::open().map_err(ForeignError::Links)?;
    let links = netlink.links().map_err(ForeignError::Links)?;
    let addresses = netlink.all_addresses().map_err(ForeignError::Links)?;
    let interfaces = links.iter().filter_map(|link| InterfaceId::of_host_name(&link.name)).map(|(id, _)| id);
    let names: HashMap<u32, &str> = links.iter().map(|link| (link.index, link.name.as_str())).collect();
    let name = |index| names.get(&index).map_or_else(|| index.to_string(), |name| (*name).to_owned());
    Ok(Foreign {
        host_addresses: addresses.into_iter().map(|(index, address)| (address.ip(), name(index))).collect(),
        interfaces: interfaces.collect(),
        ..Foreign::default()
    })
}

/// The two things of a foreign configuration that concern us. LXC itself would open log files and print.
fn read_config(name: &str, text: &str, foreign: &mut Foreign) {
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if matches!(key, "lxc.idmap" | "lxc.id_map") {
            let mut fields = value.split_whitespace().skip(2).map(str::parse);
            if let (Some(Ok(start)), Some(Ok(count))) = (fields.next(), fields.next()) {
                foreign.ids.push((start, count));
            }
        } else if is_address(key) {
            let address = value.split(['/', ' ']).next().unwrap_or(value);
            if let Ok(address) = address.parse::<IpAddr>() {
                foreign.addresses.push((address, name.to_owned()));
            }
        }
    }
}

/// `lxc.net.N.ipv4.address`, and what it was called before LXC 3; the same for IPv6.
fn is_address(key: &str) -> bool {
    const KEYS: [&str; 4] = ["ipv4.address", "ipv4", "ipv6.address", "ipv6"];
    matches!(key, "lxc.network.ipv4" | "lxc.network.ipv6")
        || key
            .strip_prefix("lxc.net.")
            .and_then(|rest| rest.split_once('.'))
            .is_some_and(|(index, key)| KEYS.contains(&key) && index.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_addresses_of_other_containers_are_seen() {
        let text = "# x = y\nlxc.idmap = u 0 100000 65536\nlxc.id_map = g 0 300000 10\n\
                    lxc.net.0.ipv4.address = 10.101.0.7/16 10.101.255.255\nlxc.network.ipv4 = 10.101.0.8\n\
                    lxc.net.0.ipv4.gateway = 10.101.0.9\nlxc.net.x.ipv4.address = 10.101.0.10\n\
                    lxc.net.1.ipv6.address = 2001:db8::7/64\n";
        let mut foreign = Foreign::default();
        read_config("old", text, &mut foreign);
        assert_eq!(foreign.ids, [(100_000, 65_536), (300_000, 10)]);
        let addresses: Vec<String> = foreign.addresses.iter().map(|(a, n)| format!("{a} {n}")).collect();
        assert_eq!(addresses, ["10.101.0.7 old", "10.101.0.8 old", "2001:db8::7 old"]);
    }
}
