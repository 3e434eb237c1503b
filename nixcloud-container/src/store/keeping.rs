//! Which generations the rules of a policy keep.

use jiff::{SignedDuration, Timestamp};

use crate::model::generation::{GenerationId, Health};
use crate::model::keep::Keep;

/// Those of `all`, oldest first, that no rule keeps. None where there is no rule: that says nothing of what may go.
pub(crate) fn leaves(
    keep: Keep,
    all: &[(GenerationId, Timestamp, Health)],
    now: Timestamp,
) -> Vec<GenerationId> {
    if keep.is_empty() {
        return Vec::new();
    }
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    let mut good = count(keep.good);
    let mut leaves = Vec::new();
    // When the one after it was made: until then it was current.
    let mut replaced = now;
    for (place, (id, made, health)) in all.iter().rev().enumerate() {
        let newest = place < count(keep.newest);
        // The calendar has an end, and no generation is older.
        let since =
            now.checked_sub(SignedDuration::from_hours(i64::from(keep.days) * 24)).unwrap_or(Timestamp::MIN);
        let young = keep.days > 0 && replaced >= since;
        let worked = *health == Health::Good && good > 0;
        if worked {
            good -= 1;
        }
        if !newest && !young && !worked {
            leaves.push(*id);
        }
        replaced = *made;
    }
    leaves.reverse();
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Generations from 1 on, of which each was made so many days ago, with their health.
    fn left(keep: Keep, all: &[(i64, Health)]) -> Vec<u64> {
        let now = Timestamp::from_second(2_000_000_000).unwrap();
        let all: Vec<_> = (1..)
            .zip(all)
            .map(|(id, (days, health))| {
                let made = now.checked_sub(SignedDuration::from_hours(days * 24)).unwrap();
                (GenerationId::new(id).unwrap(), made, *health)
            })
            .collect();
        leaves(keep, &all, now).iter().map(|id| id.get()).collect()
    }

    #[test]
    fn a_generation_is_kept_by_any_rule() {
        use Health::{Bad, Good, Untried};
        let all = [(90, Good), (60, Bad), (40, Good), (20, Untried), (10, Bad), (1, Bad)];
        assert_eq!(left(Keep::new(), &all), [] as [u64; 0], "without a rule nothing may go");
        assert_eq!(left(Keep::new().with_newest(2_u32), &all), [1, 2, 3, 4]);
        assert_eq!(left(Keep::new().with_newest(9_u32), &all), [] as [u64; 0]);
        // The third was the current one until twenty days ago.
        assert_eq!(left(Keep::new().with_days(30_u32), &all), [1, 2]);
        assert_eq!(left(Keep::new().with_days(5_u32), &all), [1, 2, 3, 4]);
        assert_eq!(left(Keep::new().with_good(1_u32), &all), [1, 2, 4, 5, 6]);
        assert_eq!(left(Keep::new().with_newest(1_u32).with_good(2_u32), &all), [2, 4, 5]);
        assert_eq!(left(Keep::new().with_days(u32::MAX), &all), [] as [u64; 0]);
        assert_eq!(left(Keep::new().with_days(30_u32), &[]), [] as [u64; 0]);
    }
}
