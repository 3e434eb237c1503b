//! show-ip.

use std::net::IpAddr;

use nixcloud_container::Address;
use serde::Serialize;

use super::{Table, View};
use crate::screen::printer::{Printer, Tone};

/// The addresses of a container.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Addresses {
    /// Its name.
    name: String,
    /// The one that it is reached by from the host; none for one that does not run and whose bridge gives it one.
    addresses: Vec<IpAddr>,
    /// All that it is to have, and those beside that the running guest has.
    all: Vec<AddressView>,
    /// Whether people want to see all.
    #[serde(skip)]
    show_all: bool,
}

/// An address of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AddressView {
    /// The name of the interface in the guest.
    interface: String,
    /// The address.
    address: IpAddr,
    /// The length of its prefix.
    prefix_length: u8,
    /// `ipv4` or `ipv6`.
    family: &'static str,
    /// `leased` from the pool, `fixed` by the container file, by `dhcp` (DHCPv6 likewise), or of the `guest` itself.
    origin: &'static str,
    /// Whether the running guest has it now.
    live: bool,
}

impl From<&Address> for AddressView {
    fn from(address: &Address) -> Self {
        Self {
            interface: address.interface.clone(),
            address: address.address.ip(),
            prefix_length: address.address.prefix(),
            family: if address.address.is_ipv4() { "ipv4" } else { "ipv6" },
            origin: address.origin.as_str(),
            live: address.live,
        }
    }
}

impl Addresses {
    /// `all` are looked for where they are told: in JSON, or with `show_all`.
    pub(crate) fn new(name: String, addresses: Vec<IpAddr>, all: &[Address], show_all: bool) -> Self {
        Self { name, addresses, all: all.iter().map(AddressView::from).collect(), show_all }
    }

    /// The table of all, with its heading.
    pub(crate) fn table(&self) -> Vec<String> {
        let mut table = Table::new(&["INTERFACE", "ADDRESS", "FAMILY", "ORIGIN", "LIVE"]);
        for view in &self.all {
            let live = if view.live { "yes" } else { "no" };
            let address = format!("{}/{}", view.address, view.prefix_length);
            let words = [view.interface.as_str(), &address, view.family, view.origin, live];
            table.row(words.map(str::to_owned));
        }
        table.lines()
    }
}

impl View for Addresses {
    fn tell(&self, printer: &Printer) {
        if self.addresses.is_empty() && self.all.is_empty() {
            let text = format!("{} has its address from its bridge's network, by DHCP", self.name);
            printer.note(Tone::Hint, "note", &text);
        } else if self.show_all {
            for line in self.table() {
                printer.answer(line);
            }
        } else {
            for address in &self.addresses {
                printer.answer(address.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nixcloud_container::Origin;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn all_are_a_table() {
        let at = |interface: &str, address: &str, origin: Origin, live: bool| -> Address {
            from_value(json!({ "interface": interface, "address": address, "origin": origin, "live": live }))
                .unwrap()
        };
        let all = [
            at("hostonly", "10.101.0.2/16", Origin::Leased, true),
            at("internet", "2001:db8:1::a/128", Origin::Dhcp, false),
        ];
        let view = Addresses::new("web".into(), vec!["10.101.0.2".parse().unwrap()], &all, true);
        assert_eq!(
            view.table(),
            [
                "INTERFACE  ADDRESS            FAMILY  ORIGIN  LIVE",
                "hostonly   10.101.0.2/16      ipv4    leased  yes",
                "internet   2001:db8:1::a/128  ipv6    dhcp    no"
            ]
        );
    }
}
