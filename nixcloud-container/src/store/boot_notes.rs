//! What a guest was booted with, typed: nothing of it is read back from the text that LXC got.

use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::bridge_port::{BridgePort, HOOK};
use crate::model::spec::ContainerSpec;
use crate::render::{self, Rendered};

/// What a guest was booted with. It has all this until it ends, whatever its current generation says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootNotes {
    /// Its addresses, but for those that DHCP gives it.
    pub addresses: Vec<IpAddr>,
    /// Its groups (`lxc.group`).
    pub groups: Vec<String>,
    /// Its LXC configuration, without the items of that boot alone.
    pub items: Vec<(String, String)>,
    /// Its ports at bridges; none without isolation.
    pub bridge_ports: Vec<BridgePort>,
}

impl BootNotes {
    /// Of a configuration that is about to boot.
    #[must_use]
    pub fn of(spec: &ContainerSpec, rendered: &Rendered) -> Self {
        let (four, six) = (spec.effective.ip.map(IpAddr::from), spec.network.ip6.map(IpAddr::from));
        Self {
            addresses: four.into_iter().chain(six).collect(),
            groups: rendered.groups.clone(),
            items: rendered.items.clone(),
            bridge_ports: rendered.bridge_ports.clone(),
        }
    }

    /// Of the text that older versions noted, and of the addresses that the last of them noted beside it.
    fn of_text(text: &str, addresses: Option<Vec<IpAddr>>) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let items: Vec<(String, String)> = lines
            .filter_map(|line| {
                let (key, value) = line.split_once('=')?;
                // Which program sets a port does not count.
                let value = value.rfind(HOOK).map_or(value, |at| &value[at..]);
                Some((key.trim().to_owned(), value.trim().to_owned()))
            })
            .collect();
        let bridge_ports = items.iter().filter_map(|(_, value)| {
            let (interface, policy) = value.strip_prefix(HOOK)?.trim().split_once(' ')?;
            Some(BridgePort { interface: interface.to_owned(), policy: policy.trim().parse().ok()? })
        });
        // Those before had the addresses nowhere else.
        let words = || text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == ':'));
        Self {
            addresses: addresses.unwrap_or_else(|| words().filter_map(|word| word.parse().ok()).collect()),
            groups: render::groups(&items),
            bridge_ports: bridge_ports.collect(),
            items,
        }
    }
}

/// A note of a boot that an older version wrote, whose guest may run still: with what it was booted with as it is noted today.
/// `None` where it is no such note.
pub(super) fn upgraded<T: DeserializeOwned>(text: &str) -> Option<T> {
    let mut note: toml::Table = text.parse().ok()?;
    let config = note.remove("config")?;
    let addresses = note.remove("addresses").map(toml::Value::try_into).transpose().ok()?;
    let notes = BootNotes::of_text(config.as_str()?, addresses);
    note.insert("notes".to_owned(), toml::Value::try_from(notes).ok()?);
    note.try_into().ok()
}
