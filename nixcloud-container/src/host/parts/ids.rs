//! The ids of containers in `/etc/subuid` and `/etc/subgid`, so that `adduser` gives them to nobody else.
//!
//! Lines of a name of our own, for what the pool may use and nobody has. Which lines are ours is noted before they are
//! written: `host down` takes exactly those out.

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::host::Host;
use crate::model::hint::Remedy;
use crate::model::host_report::{Change, Finding, HostChange, Part, Verdict};
use crate::model::idmap::{IdMap, RANGE};
use crate::store::claims::Leases;
use crate::store::record::Record;
use crate::store::subid::{self, Entry, OURS};
use crate::store::subid_notes::Notes;

/// How many ranges of each part of the pool are reserved at least. `adduser` stops with an error when 100000 to 600100000 is full (9,155 ranges):
/// this leaves it more than half.
const RANGES: u64 = 4096;

/// With more containers than that, so many ranges more at a time.
const STEP: u64 = 1024;

/// A file as it is: the lines that we put there, and all others.
struct Looked {
    file: PathBuf,
    ours: Vec<Entry>,
    others: Vec<Entry>,
}

/// The files of this host. A try-out below a folder leaves those of the host that it is on alone.
fn look(host: &Host, notes: &Notes) -> Result<Vec<Looked>, Error> {
    let mut looked = Vec::new();
    for file in &host.config.ids.foreign {
        if !host.is_whole() && !file.starts_with(&host.config.root) {
            continue;
        }
        // Where there is none nobody is given ids, and to make one would change that.
        let Some(mut others) = subid::entries(file)? else { continue };
        let mut ours = Vec::new();
        for line in notes.of(file) {
            if let Some(at) = others.iter().position(|other| *other == line) {
                ours.push(others.remove(at));
            }
        }
        looked.push(Looked { file: file.clone(), ours, others });
    }
    Ok(looked)
}

/// The lines that a file should have of us: what the pool may use and what containers have, without what anybody has in
/// any of the files, and what is kept for us in this one by others (the host module of NixOS).
fn wanted(host: &Host, file: &Looked, all: &[Looked]) -> Result<Vec<Entry>, Error> {
    let claimed = Leases::new(&host.layout, &host.config).claimed_ids()?;
    let users = all.iter().flat_map(|looked| &looked.others).filter(|entry| !entry.is_ours());
    let taken = users.chain(file.others.iter().filter(|entry| entry.is_ours()));
    let taken: Vec<_> = taken.map(|entry| (entry.first, entry.first.saturating_add(entry.count))).collect();
    let spans = spans(&host.config.ids.pool(), &claimed);
    Ok(spans.into_iter().flat_map(|(first, end)| gaps(first, end, taken.clone())).collect())
}

/// What is to be reserved, each with its end: the pool, as far as it is used or may soon be, and what containers were given
/// when the pool was another one.
fn spans(pool: &[[u32; 2]], claimed: &[IdMap]) -> Vec<(u64, u64)> {
    let range = u64::from(RANGE);
    let ends = claimed.iter().map(|ids| u64::from(ids.base()) + range);
    let mut spans: Vec<(u64, u64)> = ends.clone().map(|end| (end - range, end)).collect();
    spans.extend(pool.iter().map(|&[first, last]| {
        let (first, end) = (u64::from(first), u64::from(last) + 1);
        let highest = ends.clone().filter(|used| *used > first && *used <= end).max();
        let used = highest.map_or(0, |used| (used - first).div_ceil(range));
        let ranges = if used <= RANGES { RANGES } else { used.next_multiple_of(STEP) };
        (first, end.min(first + ranges * range))
    }));
    spans.sort_unstable();
    spans.into_iter().fold(Vec::new(), |mut merged, (first, end)| {
        match merged.last_mut() {
            Some((_, before)) if *before >= first => *before = end.max(*before),
            _ => merged.push((first, end)),
        }
        merged
    })
}

/// What of `first..end` is in none of `taken`, as far as a container's ids fit into it.
fn gaps(first: u64, end: u64, mut taken: Vec<(u64, u64)>) -> Vec<Entry> {
    taken.sort_unstable();
    taken.push((end, end));
    let (mut at, mut gaps) = (first, Vec::new());
    for (from, to) in taken {
        let from = from.min(end);
        if from >= at + u64::from(RANGE) {
            gaps.push(Entry { user: OURS.to_owned(), first: at, count: from - at });
        }
        at = at.max(to);
    }
    gaps
}

fn changed(file: &Path, change: Change) -> HostChange {
    HostChange { part: Part::Ids, name: file.display().to_string(), change }
}

pub(super) fn up(host: &Host) -> Result<Vec<HostChange>, Error> {
    let path = host.layout.subids();
    let mut notes = Notes::load(&path)?;
    let all = look(host, &notes)?;
    let mut changes = Vec::new();
    for looked in &all {
        let wanted = wanted(host, looked, &all)?;
        let change = if looked.ours == wanted {
            Change::Kept
        } else {
            let stay = |line: &&Entry| !wanted.contains(line);
            let both: Vec<Entry> = wanted.iter().chain(looked.ours.iter().filter(stay)).cloned().collect();
            notes.with(&looked.file, &both).save(&path)?;
            subid::edit(&looked.file, &looked.ours, &wanted)?;
            if looked.ours.is_empty() { Change::Made } else { Change::Mended }
        };
        notes = notes.with(&looked.file, &wanted);
        changes.push(changed(&looked.file, change));
    }
    notes.save(&path)?;
    Ok(changes)
}

pub(super) fn down(host: &Host) -> Result<Vec<HostChange>, Error> {
    let path = host.layout.subids();
    let mut notes = Notes::load(&path)?;
    let mut changes = Vec::new();
    for file in notes.files() {
        let gone = subid::edit(&file, &notes.of(&file), &[])?;
        changes.push(changed(&file, if gone { Change::Removed } else { Change::Absent }));
        notes = notes.with(&file, &[]);
    }
    notes.save(&path)?;
    Ok(changes)
}

pub(super) fn check(host: &Host) -> Result<Vec<Finding>, Error> {
    let all = look(host, &Notes::load(&host.layout.subids())?)?;
    let mut findings = Vec::new();
    for looked in &all {
        let covered = looked.ours == wanted(host, looked, &all)?;
        findings.push(Finding {
            part: Part::Ids,
            name: looked.file.display().to_string(),
            verdict: if covered { Verdict::Good } else { Verdict::Wrong },
            what: if covered {
                "the ids of containers are given to nobody else".to_owned()
            } else {
                "`adduser` may give ids of containers to a user".to_owned()
            },
            mend: (!covered).then(|| Remedy::HostUp.into()),
        });
    }
    findings.extend(conflicts(host, &all)?);
    Ok(findings)
}

/// Containers whose ids a user was given since.
fn conflicts(host: &Host, all: &[Looked]) -> Result<Vec<Finding>, Error> {
    let leases = Leases::new(&host.layout, &host.config);
    let claimed = leases.claimed_ids()?;
    let mut findings = Vec::new();
    for looked in all {
        for entry in looked.others.iter().filter(|entry| !entry.is_ours()) {
            let meets = |ids: &&IdMap| ids.overlaps(entry.first, entry.count);
            let Some(ids) = claimed.iter().find(meets) else { continue };
            let owner = leases.owner_of_ids(*ids)?.unwrap_or_default();
            if entry.is_roots() && is_of_the_original(host, entry, *ids) {
                findings.push(Finding {
                    part: Part::Ids,
                    name: looked.file.display().to_string(),
                    verdict: Verdict::Off,
                    what: format!(
                        "`{entry}` is what the shell original needed for the containers that were adopted, and we need it no \
                         more"
                    ),
                    mend: Some("take that line out, unless other containers of LXC, Incus or LXD have these ids".into()),
                });
                continue;
            }
            let mend = if entry.is_roots() {
                // Where LXC, Incus or LXD look for what their containers may have.
                format!(
                    "containers of LXC, Incus or LXD may get the same: take that line out where there are none; else an \
                     update of `{owner}` with `idmap = \"shared\"`, and one without, gives it other ids"
                )
            } else {
                format!(
                    "take that line out, or destroy the container: {} is who its files belong to",
                    entry.user
                )
            };
            let what = format!("`{entry}` has ids of container `{owner}`, from {} up", ids.base());
            findings.push(Finding::wrong(Part::Ids, looked.file.display().to_string(), what, mend));
        }
    }
    Ok(findings)
}

/// Whether a line of root's is the one by which the original's containers, which keep their ids, were started.
fn is_of_the_original(host: &Host, entry: &Entry, ids: IdMap) -> bool {
    let same = entry.first == u64::from(ids.base()) && entry.count == u64::from(RANGE);
    same && Record::names(&host.layout).unwrap_or_default().iter().any(|name| {
        Record::load(&host.layout, name)
            .ok()
            .flatten()
            .is_some_and(|record| record.adopted.is_some() && record.claims(ids))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bounds(entries: &[Entry]) -> Vec<(u64, u64)> {
        entries.iter().map(|entry| (entry.first, entry.first + entry.count)).collect()
    }

    #[test]
    fn what_nobody_has_is_reserved() {
        let gaps = |taken: &[(u64, u64)]| bounds(&gaps(100_000, 1_000_000, taken.to_vec()));
        assert_eq!(gaps(&[]), [(100_000, 1_000_000)]);
        // The first user of a Debian host.
        assert_eq!(gaps(&[(100_000, 165_536)]), [(165_536, 1_000_000)]);
        assert_eq!(
            gaps(&[(300_000, 400_000), (350_000, 360_000)]),
            [(100_000, 300_000), (400_000, 1_000_000)]
        );
        // Too small for a container.
        assert_eq!(gaps(&[(100_010, 900_000)]), [(900_000, 1_000_000)]);
        assert_eq!(gaps(&[(0, 5_000_000)]), []);
        assert_eq!(gaps(&[(2_000_000, 3_000_000)]), [(100_000, 1_000_000)]);
    }

    #[test]
    fn what_containers_have_is_reserved_wherever_it_is() {
        let ids = |base| IdMap::new(base).unwrap();
        let pool = [[100_000, 524_287], [2_000_000, u32::MAX - 1]];
        let reserved = |claimed: &[IdMap]| spans(&pool, claimed);
        let second = (2_000_000, 2_000_000 + 4096 * 65_536);
        assert_eq!(reserved(&[ids(100_000)]), [(100_000, 524_288), second]);
        // From a pool of before: right behind the first part, and by itself.
        let given = [ids(493_216), ids(1_000_000)];
        assert_eq!(reserved(&given), [(100_000, 558_752), (1_000_000, 1_065_536), second]);
        // With more than 4096 there are 1024 more at a time.
        let second = (2_000_000, 2_000_000 + 5120 * 65_536);
        assert_eq!(reserved(&[ids(2_000_000 + 4096 * 65_536)]), [(100_000, 524_288), second]);
    }

    proptest! {
        #[test]
        fn each_free_id_is_reserved_once_and_no_other(
            users in prop::collection::vec((0u64..3_000_000, 1u64..400_000), 0..10),
        ) {
            let taken: Vec<_> = users.iter().map(|(first, count)| (*first, first + count)).collect();
            let gaps = bounds(&gaps(100_000, 2_000_000, taken.clone()));
            let inside = |spans: &[(u64, u64)], id: u64| spans.iter().filter(|(a, b)| (*a..*b).contains(&id)).count();
            let fits = |id: u64| {
                // The whole gap around it.
                let from = taken.iter().map(|(_, to)| *to).filter(|to| *to <= id).max().unwrap_or(0).max(100_000);
                let to = taken.iter().map(|(from, _)| *from).filter(|from| *from > id).min().unwrap_or(2_000_000).min(2_000_000);
                to - from >= u64::from(RANGE)
            };
            for id in (0..3_000_000).step_by(9_973) {
                let free = (100_000..2_000_000).contains(&id) && inside(&taken, id) == 0;
                prop_assert_eq!(inside(&gaps, id), usize::from(free && fits(id)), "{}", id);
            }
        }
    }
}
