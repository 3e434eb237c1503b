//! What differs between two closures of the store, package by package.
//!
//! Names and versions are read off store paths by Nix's own rules: a version begins at the first dash that no letter follows, and a
//! last part of letters alone is the name of an output, so that the outputs of a package are one row.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::setters::setters;
use crate::model::words::words;

/// A package of the same versions whose size changes by less than this is only built anew.
const SAME: u64 = 8 * 1024;

/// The bytes of hash and dash before the name of a store path.
const HASH: usize = 33;

/// What becomes of a package from one closure to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PackageFate {
    /// The second closure alone has it.
    Added,
    /// The first closure alone has it.
    Removed,
    /// Both have it, in other versions or of another size.
    Changed,
}

words!(PackageFate {
    Added => "added",
    Removed => "removed",
    Changed => "changed",
});

/// A package that differs between two closures: all store paths of one name, whatever their versions and outputs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct PackageChange {
    /// Its name, without version and output: `glibc` of `glibc-2.38-44-bin`.
    pub name: String,
    /// What becomes of it.
    pub fate: PackageFate,
    /// Its versions in the first closure, sorted; an empty text stands for a path without one.
    pub before: Vec<String>,
    /// Its versions in the second closure.
    pub after: Vec<String>,
    /// The bytes that it has in the first closure.
    pub bytes_before: u64,
    /// The bytes that it has in the second closure.
    pub bytes_after: u64,
}

setters!(PackageChange: "Of no version and no size." (name: String, fate: PackageFate) {
    with_before => before: Vec<String>,
    with_after => after: Vec<String>,
    with_bytes_before => bytes_before: u64,
    with_bytes_after => bytes_after: u64,
});

/// What differs between two closures.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct ClosureChange {
    /// The packages that come, go or change, by name.
    pub packages: Vec<PackageChange>,
    /// How many packages more have other store paths, and neither another version nor a size that differs by 8 KiB.
    pub rebuilt: usize,
    /// The store paths of the first closure.
    pub paths_before: usize,
    /// The store paths of the second closure.
    pub paths_after: usize,
    /// The bytes of the first closure.
    pub bytes_before: u64,
    /// The bytes of the second closure.
    pub bytes_after: u64,
}

setters!(ClosureChange: "None, between two empty ones." {
    with_packages => packages: Vec<PackageChange>,
    with_rebuilt => rebuilt: usize,
    with_paths_before => paths_before: usize,
    with_paths_after => paths_after: usize,
    with_bytes_before => bytes_before: u64,
    with_bytes_after => bytes_after: u64,
});

/// One side of a package.
#[derive(Debug, Default)]
struct Side<'a> {
    paths: BTreeSet<&'a str>,
    versions: BTreeSet<&'a str>,
    bytes: u64,
}

impl ClosureChange {
    /// Compares two closures, each by the names of its paths in the store, `HASH-NAME`, with their sizes in bytes.
    pub(crate) fn between<'a>(before: &BTreeMap<&'a str, u64>, after: &BTreeMap<&'a str, u64>) -> Self {
        let mut all: BTreeMap<&str, [Side<'a>; 2]> = BTreeMap::new();
        for (number, closure) in [before, after].into_iter().enumerate() {
            for (path, bytes) in closure {
                let (name, version) = parts(path.get(HASH..).unwrap_or(path));
                let side = &mut all.entry(name).or_default()[number];
                side.paths.insert(path);
                side.versions.insert(version);
                side.bytes += bytes;
            }
        }
        let mut change = Self {
            paths_before: before.len(),
            paths_after: after.len(),
            bytes_before: before.values().sum(),
            bytes_after: after.values().sum(),
            ..Self::default()
        };
        for (name, [before, after]) in
            all.into_iter().filter(|(_, [before, after])| before.paths != after.paths)
        {
            let fate = if before.paths.is_empty() {
                PackageFate::Added
            } else if after.paths.is_empty() {
                PackageFate::Removed
            } else if before.versions != after.versions || before.bytes.abs_diff(after.bytes) >= SAME {
                PackageFate::Changed
            } else {
                change.rebuilt += 1;
                continue;
            };
            let versions =
                |side: &Side<'_>| side.versions.iter().map(|version| (*version).to_owned()).collect();
            change.packages.push(PackageChange {
                name: name.to_owned(),
                fate,
                before: versions(&before),
                after: versions(&after),
                bytes_before: before.bytes,
                bytes_after: after.bytes,
            });
        }
        change
    }
}

/// The name and the version of a store path's name. Without a version nothing is taken for an output: `hello-world` is a name.
fn parts(name: &str) -> (&str, &str) {
    let begins = |(at, _): &(usize, &str)| {
        name[at + 1..].chars().next().is_some_and(|next| !next.is_ascii_alphabetic())
    };
    let Some((at, _)) = name.match_indices('-').find(begins) else { return (name, "") };
    let (name, version) = (&name[..at], &name[at + 1..]);
    let is_output = |part: &str| {
        ["lib32", "lib64"].contains(&part)
            || !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    match version.rsplit_once('-') {
        Some((version, output)) if !version.is_empty() && is_output(output) => (name, version),
        _ => (name, version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_versions_are_read_as_nix_does() {
        let is = |name: &str, wanted: (&str, &str)| assert_eq!(parts(name), wanted, "{name}");
        is("glibc-2.38-44", ("glibc", "2.38-44"));
        is("glibc-2.38-44-bin", ("glibc", "2.38-44"));
        is("gcc-13.2.0-lib", ("gcc", "13.2.0"));
        is("wine-9.0-lib64", ("wine", "9.0"));
        is("hello", ("hello", ""));
        is("hello-world", ("hello-world", ""));
        is("unit-nginx.service", ("unit-nginx.service", ""));
        is("nixos-system-web-24.11.710", ("nixos-system-web", "24.11.710"));
        is("python3.12-requests-2.32", ("python3.12-requests", "2.32"));
        is("X-Restart-Triggers-nginx", ("X-Restart-Triggers-nginx", ""));
        is("lib-0-unstable-2024-01-01", ("lib", "0-unstable-2024-01-01"));
        is("odd-", ("odd-", ""));
        is("a--b", ("a", "-b"));
    }

    /// Closures of these names, each by its letter of hash, with its size in KiB.
    fn between(before: &[(char, &str, u64)], after: &[(char, &str, u64)]) -> ClosureChange {
        let [before, after] = [before, after].map(|closure| {
            let path = |(hash, name, kib): &(char, &str, u64)| {
                (format!("{}-{name}", hash.to_string().repeat(32)), kib * 1024)
            };
            closure.iter().map(path).collect::<BTreeMap<String, u64>>()
        });
        let [before, after] = [&before, &after]
            .map(|closure| closure.iter().map(|(path, bytes)| (path.as_str(), *bytes)).collect());
        ClosureChange::between(&before, &after)
    }

    #[test]
    fn packages_come_go_change_and_are_built_anew() {
        let before = [
            ('a', "same-1.0", 5),
            ('b', "glibc-2.37", 100),
            ('c', "glibc-2.37-bin", 10),
            ('d', "gone-1", 7),
            ('f', "etc", 1),
            ('g', "grows-1", 10),
        ];
        let after = [
            ('a', "same-1.0", 5),
            ('h', "glibc-2.38", 120),
            ('i', "glibc-2.38-bin", 10),
            ('j', "glibc-2.37", 100),
            ('k', "new", 3),
            ('l', "etc", 2),
            ('m', "grows-1", 18),
        ];
        let change = between(&before, &after);
        let told: Vec<String> = change
            .packages
            .iter()
            .map(|one| {
                let (before, after) = (one.before.join(" "), one.after.join(" "));
                format!("{} {} [{before}] [{after}] {}", one.fate, one.name, one.bytes_after / 1024)
            })
            .collect();
        assert_eq!(
            told,
            [
                "changed glibc [2.37] [2.37 2.38] 230",
                "removed gone [1] [] 0",
                "changed grows [1] [1] 18",
                "added new [] [] 3",
            ]
        );
        assert_eq!((change.rebuilt, change.paths_before, change.paths_after), (1, 6, 7));
        assert_eq!((change.bytes_before / 1024, change.bytes_after / 1024), (133, 258));
        assert_eq!(between(&before, &before).packages, []);
    }
}
