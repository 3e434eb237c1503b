//! What differs between the configuration of a running guest and that of its next start.

use std::collections::BTreeMap;

/// A setting that differs between the configuration a guest was booted with and the one it would boot with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PendingRestart {
    /// The LXC key.
    pub key: String,
    /// Its values in the running guest.
    pub running: Vec<String>,
    /// Its values at the next start.
    pub next: Vec<String>,
}

/// Compares the items of two configurations key by key; the order of keys does not count.
#[must_use]
pub fn compare(running: &[(String, String)], next: &[(String, String)]) -> Vec<PendingRestart> {
    fn by_key(items: &[(String, String)]) -> BTreeMap<&str, Vec<&str>> {
        let mut map: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, value) in items {
            map.entry(key).or_default().push(value);
        }
        map
    }
    fn owned(values: Vec<&str>) -> Vec<String> {
        values.into_iter().map(str::to_owned).collect()
    }
    let (mut old, new) = (by_key(running), by_key(next));
    let mut pending = Vec::new();
    for (key, next) in new {
        let running = old.remove(key).unwrap_or_default();
        if running != next {
            pending.push(PendingRestart { key: key.to_owned(), running: owned(running), next: owned(next) });
        }
    }
    for (key, running) in old {
        pending.push(PendingRestart { key: key.to_owned(), running: owned(running), next: Vec::new() });
    }
    pending.sort_by(|a, b| a.key.cmp(&b.key));
    pending
}
