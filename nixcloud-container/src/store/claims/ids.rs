//! Ranges of user and group ids.

use super::{Foreign, LeaseError, Leases, names, read_owner};
use crate::model::idmap::{IdMap, IdMapKind, RANGE};
use crate::model::name::ContainerName;
use crate::store::subid;
use crate::store::subid_notes::Notes;
use crate::sys::proc;

/// Owns the range that all `idmap = "shared"` containers use. No container can have this name.
pub(crate) const SHARED: &str = ".shared";

impl Leases<'_> {
    /// Claims ids: the lowest range of the pool that no container, no other user of the host and no process of it
    /// has, or the one that shared containers have in common. `intend` is told each range before it is tried, as with
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
        let owner = owner_of(owner, kind);
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
        others.extend(self.subordinate_ids()?);
        if self.config.ids.skip_running {
            others.extend(proc::ids_in_use());
        }
        others.sort_unstable();
        let pool = self.config.ids.pool();
        for map in pool.iter().flat_map(|part| free_ranges(*part, &others)) {
            intend(map)?;
            let base = map.base();
            if self.claim(&self.layout.id_range(base), owner, &format!("ids from {base}"))? {
                return Ok(map);
            }
        }
        let pool: Vec<String> = pool.iter().map(|[first, last]| format!("{first} to {last}")).collect();
        Err(LeaseError::IdsExhausted { pool: pool.join(" and ") }.into())
    }

    /// Claims these very ids, which a container has already: one of us may have been killed before it claimed them.
    /// `Some` is who has them, or some of them.
    ///
    /// # Errors
    /// When the claims cannot be read or written.
    pub fn hold_ids(
        &self,
        owner: &ContainerName,
        kind: IdMapKind,
        ids: IdMap,
    ) -> Result<Option<String>, LeaseError> {
        let owner = owner_of(owner, kind);
        let taken = names::<u32>(&self.layout.ids())?;
        for base in taken.into_iter().filter(|base| ids.overlaps((*base).into(), RANGE.into())) {
            match read_owner(&self.layout.id_range(base))? {
                Some(theirs) if base != ids.base() || theirs != owner => return Ok(Some(theirs)),
                _ => {}
            }
        }
        let path = self.layout.id_range(ids.base());
        let new = self.claim(&path, owner, &format!("ids from {}", ids.base()))?;
        Ok(if new { None } else { read_owner(&path)?.filter(|theirs| theirs != owner) })
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

    /// All ranges that are claimed, lowest first.
    ///
    /// # Errors
    /// When the folder of claims cannot be read.
    pub fn claimed_ids(&self) -> Result<Vec<IdMap>, LeaseError> {
        Ok(names::<u32>(&self.layout.ids())?.into_iter().filter_map(|base| IdMap::new(base).ok()).collect())
    }

    /// What `/etc/subuid` and `/etc/subgid` give to anybody but us: to users, and to root, which means containers of Incus,
    /// LXD and LXC.
    fn subordinate_ids(&self) -> Result<Vec<(u64, u64)>, LeaseError> {
        let notes = Notes::load(&self.layout.subids())?;
        let mut ranges = Vec::new();
        for path in &self.config.ids.foreign {
            let ours = notes.of(path);
            let entries = subid::entries(path)?.unwrap_or_default();
            let others = entries.iter().filter(|entry| !entry.is_ours() && !ours.contains(entry));
            ranges.extend(others.map(|entry| (entry.first, entry.count)));
        }
        Ok(ranges)
    }

    /// Who claimed a range: a container's name, or that of the shared ones.
    ///
    /// # Errors
    /// When the claim cannot be read.
    pub fn owner_of_ids(&self, ids: IdMap) -> Result<Option<String>, LeaseError> {
        read_owner(&self.layout.id_range(ids.base()))
    }
}

fn owner_of(name: &ContainerName, kind: IdMapKind) -> &str {
    match kind {
        IdMapKind::Isolated => name.as_str(),
        IdMapKind::Shared => SHARED,
    }
}

/// The ranges from `first` to `last`, lowest first, that overlap none of `others`, which are sorted. They stay on the grid
/// from `first` up, so that a freed one fits the next container. One walk over the others serves them all.
fn free_ranges([first, last]: [u32; 2], others: &[(u64, u64)]) -> impl Iterator<Item = IdMap> {
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
        (base <= u64::from(last) + 1).then_some(map)
    })
}
