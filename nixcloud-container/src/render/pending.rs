//! What differs between the configuration of a running guest and that of its next start.

use std::collections::BTreeMap;

use crate::model::setters::setters;
use crate::model::store_view::StoreView;

/// A setting that differs between the configuration a guest was booted with and the one it would boot with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PendingRestart {
    /// The LXC key; `store` where it is how much of the store the guest sees.
    pub key: String,
    /// Its values in the running guest.
    pub running: Vec<String>,
    /// Its values at the next start.
    pub next: Vec<String>,
}

setters!(PendingRestart: "A key, of which neither side has a value." (key: String) {
    with_running => running: Vec<String>,
    with_next => next: Vec<String>,
});

/// Compares two configurations, each by how much of the store the guest sees and by its items, key by key; the order of keys does
/// not count. LXC's item for the store is the same for both views where mounts cannot be idmapped, and says nothing of them where
/// they can: the views are compared in its place.
#[must_use]
pub fn compare(
    running: (StoreView, &[(String, String)]),
    next: (StoreView, &[(String, String)]),
) -> Vec<PendingRestart> {
    let other_view = running.0 != next.0;
    let by_key = |items: &[(String, String)]| {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in items.iter().filter(|item| !(other_view && is_of_the_store(item))) {
            map.entry(key.clone()).or_default().push(value.clone());
        }
        map
    };
    let (mut old, new) = (by_key(running.1), by_key(next.1));
    let mut pending = Vec::new();
    for (key, next) in new {
        let running = old.remove(&key).unwrap_or_default();
        if running != next {
            pending.push(PendingRestart { key, running, next });
        }
    }
    for (key, running) in old {
        pending.push(PendingRestart { key, running, next: Vec::new() });
    }
    if other_view {
        let (running, next) = (vec![running.0.to_string()], vec![next.0.to_string()]);
        pending.push(PendingRestart { key: STORE.to_owned(), running, next });
    }
    pending.sort_by(|a, b| a.key.cmp(&b.key));
    pending
}

/// The key of a container file.
const STORE: &str = "store";

fn is_of_the_store((key, value): &(String, String)) -> bool {
    key == "lxc.mount.entry" && value.split(' ').nth(1) == Some(super::STORE_TARGET)
}
