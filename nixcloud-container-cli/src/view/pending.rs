//! What of LXC's side of a running container waits for a restart.

use nixcloud_container::PendingRestart;
use serde::Serialize;

/// An item of LXC's configuration that is another one at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Pending {
    /// The LXC key; `store` where it is how much of the store the guest sees.
    key: String,
    /// All its values in the running guest.
    running: Vec<String>,
    /// All its values at the next start.
    next: Vec<String>,
    /// The values that the running guest has and the next start has not.
    removed: Vec<String>,
    /// The values that the next start has and the running guest has not.
    added: Vec<String>,
}

impl From<&PendingRestart> for Pending {
    fn from(pending: &PendingRestart) -> Self {
        Self::new(pending.key.clone(), pending.running.clone(), pending.next.clone())
    }
}

impl Pending {
    fn new(key: String, running: Vec<String>, next: Vec<String>) -> Self {
        let (removed, added) = (beyond(&running, &next), beyond(&next, &running));
        Self { key, running, next, removed, added }
    }

    /// A line each, `pending restart: KEY: old -> new`, with the values that differ alone; an interface that comes or goes
    /// is one line.
    pub(crate) fn words(all: &[Self]) -> Vec<String> {
        let mut lines: Vec<String> = all.iter().map(|one| one.in_words(all)).collect();
        lines.dedup();
        lines
    }

    fn in_words(&self, all: &[Self]) -> String {
        let words =
            self.interface(all).unwrap_or_else(|| match (self.removed.join(", "), self.added.join(", ")) {
                (removed, added) if removed.is_empty() && added.is_empty() => {
                    format!("the order of {}", self.key)
                }
                (removed, added) if removed.is_empty() => format!("{} gets {added}", self.key),
                (removed, added) if added.is_empty() => format!("{} loses {removed}", self.key),
                (removed, added) => format!("{}: {removed} -> {added}", self.key),
            });
        format!("pending restart: {words}")
    }

    /// About an interface as a whole, or what its port lets through: a command line of ours that nobody reads.
    fn interface(&self, all: &[Self]) -> Option<String> {
        let (number, item) = self.key.strip_prefix("lxc.net.")?.split_once('.')?;
        let of = |item: &str| all.iter().find(|one| one.key == format!("lxc.net.{number}.{item}"));
        let name = |values: fn(&Self) -> &Vec<String>| of("name").map(|one| values(one).concat());
        match of("type") {
            Some(kind) if kind.running.is_empty() => {
                let bridge = of("link").map(|one| one.next.concat()).unwrap_or_default();
                Some(format!("interface {} on {bridge} comes", name(|one| &one.next)?))
            }
            Some(kind) if kind.next.is_empty() => {
                Some(format!("interface {} goes", name(|one| &one.running)?))
            }
            _ if item == "script.up" && !self.running.is_empty() && !self.next.is_empty() => {
                Some(format!("what the port of lxc.net.{number} lets through"))
            }
            _ => None,
        }
    }
}

/// What `of` has more often than `than`: of a key with many values, those that differ.
fn beyond(of: &[String], than: &[String]) -> Vec<String> {
    let mut rest: Vec<&String> = than.iter().collect();
    let differs = |value: &&String| match rest.iter().position(|other| other == value) {
        Some(at) => {
            rest.swap_remove(at);
            false
        }
        None => true,
    };
    of.iter().filter(differs).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_changes_tell_both_values() {
        let change = Pending::new("lxc.net.0.link".into(), vec!["a".into()], vec![]);
        assert_eq!(Pending::words(&[change]), ["pending restart: lxc.net.0.link loses a"]);
        let change = Pending::new("lxc.net.0.link".into(), vec!["a".into()], vec!["b".into()]);
        assert_eq!(Pending::words(&[change]), ["pending restart: lxc.net.0.link: a -> b"]);
    }

    #[test]
    fn of_many_values_those_that_differ_are_told() {
        let pending = |running: &[&str], next: &[&str]| {
            let values = |all: &[&str]| all.iter().map(|value| (*value).to_owned()).collect();
            Pending::words(&[Pending::new("k".into(), values(running), values(next))]).concat()
        };
        assert_eq!(pending(&["a", "b", "c"], &["a", "c"]), "pending restart: k loses b");
        assert_eq!(pending(&["a", "c"], &["a", "b", "c"]), "pending restart: k gets b");
        assert_eq!(pending(&["a", "b"], &["a", "x"]), "pending restart: k: b -> x");
        assert_eq!(pending(&["a", "a"], &["a"]), "pending restart: k loses a");
        assert_eq!(pending(&["a", "b"], &["b", "a"]), "pending restart: the order of k");
    }

    #[test]
    fn an_interface_that_comes_or_goes_is_one_line() {
        let items = [("link", "br"), ("name", "internet"), ("script.up", "-- nci x"), ("type", "veth")];
        let mut all =
            items.map(|(item, value)| Pending::new(format!("lxc.net.1.{item}"), vec![], vec![value.into()]));
        assert_eq!(Pending::words(&all), ["pending restart: interface internet on br comes"]);
        for one in &mut all {
            std::mem::swap(&mut one.running, &mut one.next);
        }
        assert_eq!(Pending::words(&all), ["pending restart: interface internet goes"]);
        let policy = Pending::new("lxc.net.0.script.up".into(), vec!["one".into()], vec!["other".into()]);
        let wanted = ["pending restart: what the port of lxc.net.0 lets through"];
        assert_eq!(Pending::words(&[policy]), wanted);
    }
}
