//! Which user ids of the host processes have.

use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{FileId, Process};
use crate::model::idmap::IdMap;

/// The ids of this host that processes in other user namespaces have, each range with its first and its count: containers,
/// of whichever program, that run now.
#[must_use]
pub fn ids_in_use() -> Vec<(u64, u64)> {
    let mut seen: HashSet<FileId> = FileId::of(Path::new("/proc/self/ns/user")).into_iter().collect();
    let mut ranges = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.path();
        if !entry.file_name().as_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // One that has ended meanwhile has no ids any more.
        let Ok(namespace) = FileId::of(&process.join("ns/user")) else { continue };
        if seen.insert(namespace) {
            for map in ["uid_map", "gid_map"] {
                ranges.extend(mapped(&fs::read_to_string(process.join(map)).unwrap_or_default()));
            }
        }
    }
    ranges
}

/// A process of this host that has one of these ids, by the owner of its folder: one call of the kernel for each process.
#[must_use]
pub fn with_ids(ids: IdMap) -> Option<Process> {
    fs::read_dir("/proc").into_iter().flatten().flatten().find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let owner = entry.metadata().ok()?.uid();
        if ids.overlaps(owner.into(), 1) {
            Process::now(pid).filter(|process| process.is_alive())
        } else {
            None
        }
    })
}

/// What a map of ids gives away. Ids that are the same inside are no container's: a sandbox that keeps those of its host.
fn mapped(map: &str) -> impl Iterator<Item = (u64, u64)> {
    map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map_while(|field| field.parse::<u64>().ok());
        let (inside, outside, count) = (fields.next()?, fields.next()?, fields.next()?);
        (inside != outside).then_some((outside, count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_container_are_in_use_and_those_of_a_sandbox_are_not() {
        let given = |map: &str| mapped(map).collect::<Vec<_>>();
        assert_eq!(given("         0     100000      65536\n"), [(100_000, 65_536)]);
        // Of a user without rights, who was given some.
        assert_eq!(given("0 1000 1\n1 165536 65536\n"), [(1000, 1), (165_536, 65_536)]);
        assert_eq!(given("0 0 4294967295\n"), []);
        assert_eq!(given("1000 1000 1\nbroken\n"), []);
    }
}
