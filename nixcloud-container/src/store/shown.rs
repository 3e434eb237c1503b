//! What a running guest sees of the store, where it does not see all of it: noted of each boot.

use serde::{Deserialize, Serialize};

use crate::nix::StorePath;
use crate::sys::proc::Process;

/// What a guest sees, by the packages whose closures those are.
///
/// It may run what it was booted from and what was activated since; and it boots the current generation if it reboots from
/// inside. All of that is shown, and what is shown is rooted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The packages that are shown, or may be: noted before they are.
    pub packages: Vec<StorePath>,
    /// The one that the guest was booted from; several where that is not known.
    pub booted: Vec<StorePath>,
    /// The one that was activated last; several from the beginning of an activation to its good end.
    pub activated: Vec<StorePath>,
    /// The one that the guest boots if it reboots; `None` while that is being changed.
    pub next: Option<StorePath>,
    /// The init that this was noted of.
    pub init: Option<Process>,
}

impl Shown {
    /// Of a guest that boots `package`.
    pub(crate) fn booting(package: StorePath) -> Self {
        Self {
            packages: vec![package.clone()],
            booted: vec![package.clone()],
            activated: Vec::new(),
            next: Some(package),
            init: None,
        }
    }

    /// Takes note of the init that the guest has now. Another one than before has booted what was to be booted next; where
    /// that was being changed meanwhile, any that is shown.
    pub(crate) fn seen(&mut self, init: Process) {
        if self.init.is_some_and(|before| before != init) {
            self.booted = self.next.as_ref().map_or_else(|| self.packages.clone(), |next| vec![next.clone()]);
            self.activated.clear();
        }
        self.init = Some(init);
    }

    /// What is to be shown: what the guest may run, and what it boots next.
    pub(crate) fn needed(&self) -> Vec<StorePath> {
        let mut needed: Vec<StorePath> =
            self.booted.iter().chain(&self.activated).chain(&self.next).cloned().collect();
        needed.sort();
        needed.dedup();
        needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str) -> StorePath {
        format!("/nix/store/4pdrk2l54x8lw75fdyqhqcq15xwk0kyk-{name}").parse().unwrap()
    }

    fn names(packages: &[StorePath]) -> Vec<&str> {
        packages.iter().map(StorePath::name).collect()
    }

    fn init(pid: i32) -> Process {
        Process { pid, start: 1 }
    }

    #[test]
    fn a_reboot_is_into_what_was_next() {
        let mut shown = Shown::booting(package("one"));
        shown.seen(init(7));
        assert_eq!(names(&shown.needed()), ["one"]);
        // An update: booted from one, runs two.
        (shown.next, shown.activated) = (Some(package("two")), vec![package("two")]);
        shown.packages.push(package("two"));
        assert_eq!(names(&shown.needed()), ["one", "two"]);
        shown.seen(init(7));
        assert_eq!(names(&shown.needed()), ["one", "two"]);
        shown.seen(init(8));
        assert_eq!(names(&shown.needed()), ["two"]);
    }

    #[test]
    fn a_reboot_into_what_nobody_knows_keeps_all() {
        let mut shown = Shown::booting(package("one"));
        shown.seen(init(7));
        shown.packages.push(package("two"));
        shown.next = None;
        // Meanwhile the profile led to two, and was put back.
        shown.seen(init(8));
        shown.next = Some(package("one"));
        assert_eq!(names(&shown.needed()), ["one", "two"]);
    }
}
