//! What the cgroups of guests and of their monitors are called.
//!
//! ```text
//! nixcloud-guests/lxc.payload.web.4f1d0a93c2be-6b1e0c2f91     the guest `web` of one root, one start
//! lxc.monitor.web.4f1d0a93c2be-6b1e0c2f91                     LXC's monitor of it
//! lxc.payload.web    lxc.payload.web-1                        what LXC chooses by itself: anybody's `web`, or one called `web-1`
//! ```
//!
//! LXC is told the first two (`lxc.cgroup.dir.container`, `lxc.cgroup.dir.monitor`): no dot is in a container's name, so
//! that nobody else's cgroups are called like that, and LXC, which takes such a name or fails, appends nothing to it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{first_and_last_place, one_place, places};
use crate::model::fingerprint::hex;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::sys::proc;

/// What payload cgroups are called, before the container's name; tools that count memory know guests by it.
pub(super) const PAYLOAD: &str = "lxc.payload.";

/// The same of monitors.
pub(super) const MONITOR: &str = "lxc.monitor.";

/// The cgroup in which all payload cgroups lie that we chose: what all guests together may use is held there.
pub(super) const GUESTS: &str = "nixcloud-guests";

/// The keys by which LXC is told both.
const KEYS: [&str; 2] = ["lxc.cgroup.dir.container", "lxc.cgroup.dir.monitor"];

/// How many hexadecimal digits stand for a root.
const ROOT_DIGITS: usize = 12;

/// What tells the cgroups of one root from those of others: two of them on one host may have a container of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(String);

impl Root {
    /// That of a layout. The state folder itself counts, too: its path may be another folder in another mount namespace.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let mut hash = Sha256::new();
        hash.update(layout.lxc_path().as_os_str().as_encoded_bytes());
        if let Ok(meta) = fs::metadata(layout.state()) {
            hash.update(b"\0");
            hash.update(meta.dev().to_be_bytes());
            hash.update(meta.ino().to_be_bytes());
        }
        Self(hex(&hash.finalize())[..ROOT_DIGITS].to_owned())
    }

    /// Whether what follows [`PAYLOAD`] or [`MONITOR`] was chosen by us for this container.
    #[must_use]
    pub fn chose(&self, found: &str, name: &str) -> bool {
        rest(found, name).and_then(|rest| rest.strip_prefix(self.0.as_str())).is_some_and(is_start)
    }
}

/// Whether the payload cgroup of that name may be a container's of this name: one that we chose, for whichever root (the state
/// folder may have been another when the guest was started), or one that LXC chose for whoever has the name.
#[must_use]
pub fn may_be(found: &str, name: &str) -> bool {
    is_lxcs(found, name)
        || rest(found, name)
            .is_some_and(|rest| rest.split_at_checked(ROOT_DIGITS).is_some_and(|(_, start)| is_start(start)))
}

/// What follows a container's name in a name that we chose.
fn rest<'a>(found: &'a str, name: &str) -> Option<&'a str> {
    found.strip_prefix(name)?.strip_prefix('.')
}

fn is_start(text: &str) -> bool {
    let hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    text.strip_prefix('-').is_some_and(|start| !start.is_empty() && start.chars().all(hex))
}

/// Whether LXC itself would call a cgroup of `name` so: it appends `-1`, `-2` ... where the name is taken.
fn is_lxcs(found: &str, name: &str) -> bool {
    match found.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|n| n.parse::<u32>().is_ok()),
        None => false,
    }
}

/// The cgroups of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair(String);

impl Pair {
    /// The items of LXC's configuration that say so.
    #[must_use]
    pub fn items(&self) -> [(String, String); 2] {
        let payload = format!("{GUESTS}/{PAYLOAD}{}", self.0);
        let monitor = format!("{MONITOR}{}", self.0);
        [(KEYS[0].to_owned(), payload), (KEYS[1].to_owned(), monitor)]
    }

    /// Where they will be, on each hierarchy that LXC may use.
    #[must_use]
    pub fn folders(&self) -> Vec<PathBuf> {
        let [payload, monitor] = self.items();
        places().iter().flat_map(|place| [place.join(&payload.1), place.join(&monitor.1)]).collect()
    }
}

/// A container, as far as its cgroups go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    root: Root,
    name: String,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.root.0)
    }
}

impl Owner {
    /// A container of a layout.
    #[must_use]
    pub fn of(layout: &Layout, name: &ContainerName) -> Self {
        Self { root: Root::of(layout), name: name.to_string() }
    }

    /// Names for a start and for its second try, which no start of this boot has had: the container's lock is held.
    #[must_use]
    pub fn starts(&self) -> [Pair; 2] {
        let now = proc::uptime().as_nanos();
        [0, 1].map(|attempt| Pair(format!("{self}-{:x}", now + attempt)))
    }

    /// Whether a cgroup is one that we chose for it.
    #[must_use]
    pub fn chose(&self, cgroup: &Path) -> bool {
        kinded(cgroup).is_some_and(|found| self.root.chose(found, &self.name))
    }

    /// Those of its cgroups that we chose and that are there, of all starts, on all hierarchies.
    #[must_use]
    pub fn own(&self, search: Search) -> Vec<PathBuf> {
        search.list(&|found| self.root.chose(found, &self.name))
    }

    /// The payload cgroups in which it may live, on one hierarchy, since a guest is on all of them. Whose a process there is, its
    /// marks say.
    #[must_use]
    pub fn payloads_once(&self) -> Vec<PathBuf> {
        let mut found = listed(&one_place(), &|found| may_be(found, &self.name));
        found.retain(|cgroup| is_payload(cgroup));
        found
    }

    /// The cgroups for guests and monitors of this name that LXC chose by itself, on all hierarchies: whose they are their
    /// names do not say.
    #[must_use]
    pub fn chosen_by_lxc(&self, search: Search) -> Vec<PathBuf> {
        search.list(&|found| is_lxcs(found, &self.name))
    }
}

/// How thoroughly is looked for cgroups of which no note says that they are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// On two hierarchies, and on the others where one of those has something: where many guests run, each costs time.
    Quick,
    /// On all.
    Whole,
}

impl Search {
    fn list(self, wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
        if self == Self::Quick && listed(&first_and_last_place(), wanted).is_empty() {
            return Vec::new();
        }
        listed(&places(), wanted)
    }
}

/// What follows the kind in the name of a cgroup for a guest or a monitor.
fn kinded(cgroup: &Path) -> Option<&str> {
    let name = cgroup.file_name()?.to_str()?;
    [PAYLOAD, MONITOR].into_iter().find_map(|kind| name.strip_prefix(kind))
}

/// Whether a cgroup is for a guest, and not for its monitor.
#[must_use]
pub fn is_payload(cgroup: &Path) -> bool {
    cgroup.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(PAYLOAD.as_bytes()))
}

/// What is in these places, and in the cgroup of all guests there.
fn within(places: &[PathBuf]) -> impl Iterator<Item = std::io::Result<fs::DirEntry>> {
    places.iter().flat_map(|place| [place.clone(), place.join(GUESTS)]).flat_map(fs::read_dir).flatten()
}

fn listed(places: &[PathBuf], wanted: &dyn Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = within(places).flatten();
    entries.map(|entry| entry.path()).filter(|path| kinded(path).is_some_and(wanted)).collect()
}

/// The payload cgroups, of whichever root, that may be those of a container of this name.
#[must_use]
pub fn payloads(name: &str) -> Vec<PathBuf> {
    let mut found = listed(&places(), &|found| may_be(found, name));
    found.retain(|cgroup| is_payload(cgroup));
    found
}

/// What follows `lxc.payload.` in the names of all payload cgroups on one hierarchy.
#[must_use]
pub fn all_payloads_once() -> BTreeSet<String> {
    let places = one_place();
    let entries = within(&places).flatten();
    entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix(PAYLOAD)?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_cgroup_it_is_only_where_we_chose_it() {
        let root = Root("0123456789ab".to_owned());
        let owner = |name: &str| Owner { root: root.clone(), name: name.to_owned() };
        let [first, second] = owner("web").starts();
        assert_ne!(first, second);
        let [payload, monitor] = first.items();
        assert_eq!(payload.0, "lxc.cgroup.dir.container");
        for (_, cgroup) in [&payload, &monitor] {
            assert!(owner("web").chose(Path::new(cgroup)), "{cgroup}");
            assert!(!owner("web-1").chose(Path::new(cgroup)) && !owner("we").chose(Path::new(cgroup)));
            let other = Owner { root: Root("ba9876543210".to_owned()), name: "web".to_owned() };
            assert!(!other.chose(Path::new(cgroup)), "{cgroup}");
        }
        // Anybody's, or of one whose name is longer.
        for cgroup in ["lxc.payload.web", "lxc.payload.web-1", "lxc.payload.web.0123456789ab", "lxc.pivot"] {
            assert!(!owner("web").chose(Path::new(cgroup)), "{cgroup}");
        }
        assert!(is_lxcs("web", "web") && is_lxcs("web-12", "web"));
        assert!(!is_lxcs("web-x", "web") && !is_lxcs("web.0123456789ab-1", "web") && !is_lxcs("webs", "web"));
        let found = kinded(Path::new(&payload.1)).unwrap();
        assert!(may_be(found, "web") && may_be("web-3", "web") && !may_be(found, "web-1"));
    }
}
