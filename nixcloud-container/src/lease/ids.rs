//! Ranges of user and group ids.

use std::io;

use super::{Foreign, LeaseError, Leases, names, read_owner};
use crate::config::Ids;
use crate::idmap::{IdMap, IdMapKind, RANGE};
use crate::name::ContainerName;

/// Owns the range that all `idmap = "shared"` containers use. No container can have this name.
const SHARED: &str = ".shared";

impl Leases<'_> {
    /// Claims ids: the lowest range from `ids.first` up that no container and no other user of the host has, or the
    /// one that shared containers have in common. `intend` is told each range before it is tried, as with
    /// [`lease_address`](Self::lease_address). For shared ids the caller holds the host lock until the container's
    /// record names them: whoever looks for their last user has to see it.
    ///
    /// # Errors
    /// When none is free, `intend` fails, or the claim cannot be written.
    pub fn claim_ids<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        kind: IdMapKind,
        foreign: &Foreign,
        intend: &mut dyn FnMut(IdMap) -> Result<(), E>,
    ) -> Result<IdMap, E> {
        let owner = match kind {
            IdMapKind::Isolated => owner.as_str(),
            IdMapKind::Shared => SHARED,
        };
        let taken = names::<u32>(&self.layout.ids())?;
        if kind == IdMapKind::Shared {
            for base in &taken {
                if read_owner(&self.layout.id_range(*base))?.as_deref() == Some(SHARED)
                    && let Ok(map) = IdMap::new(*base)
                {
                    intend(map)?;
                    return Ok(map);
                }
            }
        }
        let mut others: Vec<(u64, u64)> =
            taken.iter().map(|base| (u64::from(*base), u64::from(RANGE))).collect();
        others.extend(&foreign.ids);
        others.extend(subordinate_ids(&self.config.ids)?);
        others.sort_unstable();
        let first = self.config.ids.first;
        for map in free_ranges(first, &others) {
            intend(map)?;
            let base = map.base();
            if self.claim(&self.layout.id_range(base), owner, &format!("ids from {base}"))? {
                return Ok(map);
            }
        }
        Err(LeaseError::IdsExhausted { first }.into())
    }

    /// Gives a container's own ids back. The shared range stays claimed: other containers' files belong to it.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    pub fn free_ids(&self, owner: &ContainerName, ids: IdMap) -> Result<(), LeaseError> {
        self.release(&self.layout.id_range(ids.base()), owner.as_str(), &format!("ids from {}", ids.base()))
    }

    /// Gives the shared range back, when its last container is gone.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    pub fn free_shared_ids(&self, ids: IdMap) -> Result<(), LeaseError> {
        self.release(&self.layout.id_range(ids.base()), SHARED, "the shared ids")
    }
}

/// The ranges from `first` up, lowest first, that overlap none of `others`, which are sorted. They stay on the grid from
/// `first` up, so that a freed one fits the next container. One walk over the others serves them all.
fn free_ranges(first: u32, others: &[(u64, u64)]) -> impl Iterator<Item = IdMap> {
    let (first, range) = (u64::from(first), u64::from(RANGE));
    let (mut base, mut at) = (first, 0);
    std::iter::from_fn(move || {
        // What begins before the end of this place is either over before it, or pushes it on; never both later.
        while let Some((start, count)) = others.get(at).filter(|(start, _)| *start < base + range) {
            let end = start.saturating_add(*count);
            if end > base {
                base = first.saturating_add((end - first).div_ceil(range).saturating_mul(range));
            }
            at += 1;
        }
        let map = u32::try_from(base).ok().and_then(|base| IdMap::new(base).ok())?;
        base += range;
        Some(map)
    })
}

/// What `/etc/subuid` and `/etc/subgid` give to users other than root. Root's lines are there for us.
fn subordinate_ids(ids: &Ids) -> Result<Vec<(u64, u64)>, LeaseError> {
    let mut ranges = Vec::new();
    for path in &ids.foreign {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(LeaseError::Read { path: path.clone(), source }),
        };
        for line in text.lines() {
            let mut fields = line.trim().split(':');
            let (Some(user), Some(start), Some(count), None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if user == "root" || user == "0" {
                continue;
            }
            if let (Ok(start), Ok(count)) = (start.parse(), count.parse()) {
                ranges.push((start, count));
            }
        }
    }
    Ok(ranges)
}
