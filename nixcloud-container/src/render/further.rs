//! Interfaces of the container file's own lines, beside the two that `network.*` describes.

use crate::model::interface::{InterfaceId, Mac};

/// Types of interfaces that have a MAC address of their own.
const WITH_MAC: [&str; 2] = ["veth", "macvlan"];

/// Items that give each further interface of `items` its MAC address, unless they say one. LXC makes one up at each boot, and
/// whoever gives addresses by it, or knows the guest by it, takes the guest for another.
#[must_use]
pub fn macs(items: &[(String, String)], id: InterfaceId) -> Vec<(String, String)> {
    let hwaddr = |number: &str| format!("lxc.net.{number}.hwaddr");
    let mut macs: Vec<(String, String)> = Vec::new();
    for (key, value) in items {
        let number = key.strip_prefix("lxc.net.").and_then(|rest| rest.strip_suffix(".type"));
        let Some((number, index)) = number.and_then(|number| Some((number, number.parse::<u32>().ok()?)))
        else {
            continue;
        };
        let key = hwaddr(number);
        let said = items.iter().any(|(theirs, mac)| *theirs == key && !mac.is_empty());
        if WITH_MAC.contains(&value.as_str()) && !said && !macs.iter().any(|(ours, _)| *ours == key) {
            macs.push((key, mac(id, index).to_string()));
        }
    }
    macs
}

/// Locally administered, and neither one of an interface or a bridge of ours: what is said of those does not hold for it.
fn mac(id: InterfaceId, index: u32) -> Mac {
    use sha2::{Digest, Sha256};
    let digest: [u8; 32] = Sha256::digest(format!("{id} interface {index}")).into();
    Mac([0x16, digest[0], digest[1], digest[2], digest[3], digest[4]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_of_its_own_that_lasts() {
        let items = |lines: &[(&str, &str)]| -> Vec<(String, String)> {
            lines.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let id: InterfaceId = "00c0ffee".parse().unwrap();
        let given = items(&[
            ("lxc.net.2.type", "veth"),
            ("lxc.net.3.type", "macvlan"),
            ("lxc.net.4.type", "veth"),
            ("lxc.net.4.hwaddr", "02:00:00:00:00:01"),
            ("lxc.net.5.type", "empty"),
            ("lxc.net.2.type", "veth"),
            ("lxc.environment", "A=b"),
        ]);
        let made = macs(&given, id);
        assert_eq!(
            made.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["lxc.net.2.hwaddr", "lxc.net.3.hwaddr"]
        );
        assert_ne!(made[0].1, made[1].1);
        assert_eq!(macs(&given, id), made);
        assert_ne!(macs(&given, "00c0ffef".parse().unwrap())[0].1, made[0].1);
        assert!((0..2000).all(|index| !mac(id, index).is_ours()));
    }
}
