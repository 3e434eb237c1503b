//! Leases: addresses and id ranges, each claimed by the exclusive creation of a file named after it.
//!
//! The file holds its owner's name. Creation is atomic, so two creates at once never get the same one, and no
//! record has to be parsed to find a free one.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnetwork::Ipv4Network;

use crate::config::{HostConfig, Ids};
use crate::fs::claim::{self, Claim};
use crate::idmap::{IdMap, IdMapKind, RANGE};
use crate::layout::Layout;
use crate::name::ContainerName;

/// Owns the range that all `idmap = "shared"` containers use. No container can have this name.
const SHARED: &str = ".shared";

/// Claims addresses and id ranges.
#[derive(Debug, Clone, Copy)]
pub struct Leases<'a> {
    layout: &'a Layout,
    config: &'a HostConfig,
}

/// A claim that could not be made or given back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else has the address.
    #[error("address {address} belongs to container `{owner}`")]
    AddressTaken {
        /// The address.
        address: Ipv4Addr,
        /// Its owner.
        owner: String,
    },
    /// It is an address of the host.
    #[error("address {address} is the host's own, on {interface}")]
    HostAddress {
        /// The address.
        address: Ipv4Addr,
        /// Where the host has it.
        interface: String,
    },
    /// No address is left.
    #[error("no address of {pool} is free")]
    AddressesExhausted {
        /// The pool.
        pool: Ipv4Network,
    },
    /// Somebody else has the ids, or some of them.
    #[error("ids from {base} up belong to container `{owner}`")]
    IdsTaken {
        /// The first id.
        base: u32,
        /// Their owner.
        owner: String,
    },
    /// No id range is left.
    #[error("no range of {RANGE} ids from {first} up is free")]
    IdsExhausted {
        /// Where the search began.
        first: u32,
    },
    /// A file of ours or of the host cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A claim cannot be written or removed.
    #[error("cannot claim {what}")]
    Claim {
        /// What was to be claimed.
        what: String,
        /// Why.
        source: claim::Error,
    },
}

/// Addresses and ids that others of this host use; found by the caller, who knows the network and the LXC path.
#[derive(Debug, Clone, Default)]
pub struct Foreign {
    /// Addresses of the host, each with its interface.
    pub host_addresses: Vec<(Ipv4Addr, String)>,
    /// Addresses of LXC containers that are not ours, each with the container's name.
    pub addresses: Vec<(Ipv4Addr, String)>,
    /// Id ranges of LXC containers that are not ours: first and count.
    pub ids: Vec<(u64, u64)>,
}

impl<'a> Leases<'a> {
    /// The claims of one host.
    #[must_use]
    pub fn new(layout: &'a Layout, config: &'a HostConfig) -> Self {
        Self { layout, config }
    }

    /// Claims the lowest free address of the host-only pool. `intend` is told each address before it is tried, and
    /// notes it durably: so no claim is ever without somebody who would give it back.
    ///
    /// # Errors
    /// When none is free, `intend` fails, or the claim cannot be written.
    pub fn lease_address<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        foreign: &Foreign,
        intend: &mut dyn FnMut(Ipv4Addr) -> Result<(), E>,
    ) -> Result<Ipv4Addr, E> {
        let pool = self.config.network.hostonly.address;
        let mut taken = names::<Ipv4Addr>(&self.layout.addresses())?;
        taken.extend(foreign.host_addresses.iter().map(|(address, _)| *address));
        taken.extend(foreign.addresses.iter().map(|(address, _)| *address));
        taken.extend([pool.network(), pool.ip(), pool.broadcast()]);
        for address in pool.iter().filter(|address| !taken.contains(address)) {
            intend(address)?;
            // Another create may have been quicker since the folder was read: then the next one.
            if self.claim(&self.layout.address(address), owner.as_str(), &address.to_string())? {
                return Ok(address);
            }
        }
        Err(LeaseError::AddressesExhausted { pool }.into())
    }

    /// Claims a fixed address. Claiming one's own again is no error.
    ///
    /// # Errors
    /// When somebody else has it, by name, or the claim cannot be written.
    pub fn fix_address(
        &self,
        owner: &ContainerName,
        address: Ipv4Addr,
        foreign: &Foreign,
    ) -> Result<(), LeaseError> {
        if let Some((_, interface)) = foreign.host_addresses.iter().find(|(theirs, _)| *theirs == address) {
            return Err(LeaseError::HostAddress { address, interface: interface.clone() });
        }
        if let Some((_, owner)) = foreign.addresses.iter().find(|(theirs, _)| *theirs == address) {
            return Err(LeaseError::AddressTaken { address, owner: owner.clone() });
        }
        let path = self.layout.address(address);
        loop {
            if self.claim(&path, owner.as_str(), &address.to_string())? {
                return Ok(());
            }
            match read_owner(&path)? {
                Some(theirs) if theirs == owner.as_str() => return Ok(()),
                Some(owner) => return Err(LeaseError::AddressTaken { address, owner }),
                // Freed in between.
                None => {}
            }
        }
    }

    /// Gives an address back. One that is not the owner's stays.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    pub fn free_address(&self, owner: &ContainerName, address: Ipv4Addr) -> Result<(), LeaseError> {
        self.release(&self.layout.address(address), owner.as_str(), &address.to_string())
    }

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
        others.extend(subordinate_ids(&self.config.ids)?);
        others.sort_unstable();
        let first = self.config.ids.first;
        let mut base = u64::from(first);
        loop {
            let map = u32::try_from(base).ok().and_then(|base| IdMap::new(base).ok());
            let Some(map) = map else { return Err(LeaseError::IdsExhausted { first }.into()) };
            if let Some((start, count)) = others.iter().find(|(start, count)| map.overlaps(*start, *count)) {
                // Ranges stay on the grid from `first` up, so that a freed one fits the next container.
                let past = (start.saturating_add(*count)).saturating_sub(u64::from(first));
                base = u64::from(first)
                    .saturating_add(past.div_ceil(u64::from(RANGE)).saturating_mul(RANGE.into()));
                continue;
            }
            intend(map)?;
            if self.claim(&self.layout.id_range(map.base()), owner, &format!("ids from {base}"))? {
                return Ok(map);
            }
            base += u64::from(RANGE);
        }
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

    /// Whether the claim is new, and so ours alone.
    fn claim(&self, path: &Path, owner: &str, what: &str) -> Result<bool, LeaseError> {
        claim::create(path, owner.as_bytes())
            .map(|claim| claim == Claim::New)
            .map_err(|source| LeaseError::Claim { what: what.to_owned(), source })
    }

    fn release(&self, path: &Path, owner: &str, what: &str) -> Result<(), LeaseError> {
        claim::release(path, owner.as_bytes())
            .map(drop)
            .map_err(|source| LeaseError::Claim { what: what.to_owned(), source })
    }
}

fn owner_of(name: &ContainerName, kind: IdMapKind) -> &str {
    match kind {
        IdMapKind::Isolated => name.as_str(),
        IdMapKind::Shared => SHARED,
    }
}

/// The claims of a folder, by file name alone.
fn names<T: std::str::FromStr + Ord>(folder: &Path) -> Result<BTreeSet<T>, LeaseError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(source) => Err(LeaseError::Read { path: folder.to_owned(), source }),
    }
}

fn read_owner(path: &Path) -> Result<Option<String>, LeaseError> {
    match std::fs::read_to_string(path) {
        Ok(owner) => Ok(Some(owner.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LeaseError::Read { path: path.to_owned(), source }),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Host {
        _root: tempfile::TempDir,
        config: HostConfig,
        layout: Layout,
    }

    fn host() -> Host {
        let root = tempfile::tempdir().unwrap();
        let mut config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        config.ids.foreign = vec![root.path().join("subuid"), root.path().join("subgid")];
        let layout = Layout::new(&config).unwrap();
        for dir in layout.state_dirs() {
            std::fs::create_dir_all(dir).unwrap();
        }
        Host { _root: root, config, layout }
    }

    fn lease(leases: &Leases<'_>, owner: &ContainerName, foreign: &Foreign) -> Result<Ipv4Addr, LeaseError> {
        leases.lease_address(owner, foreign, &mut |_| Ok(()))
    }

    fn ids(leases: &Leases<'_>, owner: &ContainerName, kind: IdMapKind, foreign: &Foreign) -> IdMap {
        leases.claim_ids::<LeaseError>(owner, kind, foreign, &mut |_| Ok(())).unwrap()
    }

    fn name(n: usize) -> ContainerName {
        format!("c{n}").parse().unwrap()
    }

    #[test]
    fn the_lowest_free_address_is_given_and_given_again() {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let none = Foreign::default();
        let ip = |last: u8| Ipv4Addr::new(10, 101, 0, last);
        for n in 0..3u8 {
            assert_eq!(lease(&leases, &name(n.into()), &none).unwrap(), ip(n + 2));
        }
        leases.free_address(&name(0), ip(3)).unwrap();
        assert_eq!(
            read_owner(&host.layout.address(ip(3))).unwrap().as_deref(),
            Some("c1"),
            "freed by a stranger"
        );
        leases.free_address(&name(1), ip(3)).unwrap();
        leases.free_address(&name(1), ip(3)).unwrap();
        leases.fix_address(&name(7), ip(5), &none).unwrap();
        leases.fix_address(&name(7), ip(5), &none).unwrap();
        assert_eq!(lease(&leases, &name(8), &none).unwrap(), ip(3));
        assert_eq!(lease(&leases, &name(9), &none).unwrap(), ip(6));
    }

    #[test]
    fn what_is_claimed_was_intended_before() {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let refused = |_| Err(LeaseError::IdsExhausted { first: 0 });
        assert!(leases.lease_address(&name(0), &Foreign::default(), &mut |_| refused(())).is_err());
        assert!(
            leases
                .claim_ids(&name(0), IdMapKind::Isolated, &Foreign::default(), &mut |_| refused(()))
                .is_err()
        );
        assert_eq!(names::<Ipv4Addr>(&host.layout.addresses()).unwrap(), BTreeSet::new());
        assert_eq!(names::<u32>(&host.layout.ids()).unwrap(), BTreeSet::new());
    }

    #[test]
    fn a_taken_address_names_its_owner() {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let ip = Ipv4Addr::new(10, 101, 0, 2);
        lease(&leases, &name(1), &Foreign::default()).unwrap();
        let error = leases.fix_address(&name(2), ip, &Foreign::default()).unwrap_err();
        assert_eq!(error.to_string(), "address 10.101.0.2 belongs to container `c1`");
        let foreign = Foreign { host_addresses: vec![(ip, "eth0".into())], ..Foreign::default() };
        let error = leases.fix_address(&name(2), ip, &foreign).unwrap_err();
        assert_eq!(error.to_string(), "address 10.101.0.2 is the host's own, on eth0");
        assert_eq!(lease(&leases, &name(2), &foreign).unwrap(), Ipv4Addr::new(10, 101, 0, 3));
    }

    #[test]
    fn a_full_pool_says_so() {
        let mut host = host();
        host.config.network.hostonly.address = "10.9.0.1/30".parse().unwrap();
        let leases = Leases::new(&host.layout, &host.config);
        lease(&leases, &name(1), &Foreign::default()).unwrap();
        let error = lease(&leases, &name(2), &Foreign::default()).unwrap_err();
        assert_eq!(error.to_string(), "no address of 10.9.0.1/30 is free");
    }

    /// Fault 12 of the shell original: one uid range for all.
    #[test]
    fn field_12_each_container_has_ids_of_its_own() {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let foreign = Foreign { ids: vec![(231_072, 10)], ..Foreign::default() };
        std::fs::write(&host.config.ids.foreign[0], "root:100000:65536\nbob:165536:65536\nbroken\n").unwrap();
        let get = |n, kind| ids(&leases, &name(n), kind, &foreign).base();
        assert_eq!(get(1, IdMapKind::Isolated), 100_000);
        assert_eq!(get(2, IdMapKind::Isolated), 296_608, "bob has 165536, another container 231072");
        assert_eq!(get(3, IdMapKind::Shared), 362_144);
        assert_eq!(get(4, IdMapKind::Shared), 362_144);
        leases.free_ids(&name(4), IdMap::new(362_144).unwrap()).unwrap();
        assert_eq!(get(5, IdMapKind::Shared), 362_144);
        leases.free_ids(&name(1), IdMap::new(100_000).unwrap()).unwrap();
        assert_eq!(get(6, IdMapKind::Isolated), 100_000);
    }

    #[test]
    fn ids_that_a_container_has_are_held_once() {
        let host = host();
        let leases = Leases::new(&host.layout, &host.config);
        let range = |base| IdMap::new(base).unwrap();
        let held = |n, kind, base| leases.hold_ids(&name(n), kind, range(base)).unwrap();
        assert_eq!(held(1, IdMapKind::Isolated, 100_000), None);
        assert_eq!(held(1, IdMapKind::Isolated, 100_000), None);
        assert_eq!(held(2, IdMapKind::Isolated, 100_000).as_deref(), Some("c1"));
        assert_eq!(held(2, IdMapKind::Isolated, 100_001).as_deref(), Some("c1"), "they overlap");
        assert_eq!(held(3, IdMapKind::Shared, 300_000), None);
        assert_eq!(held(4, IdMapKind::Shared, 300_000), None);
        assert_eq!(held(4, IdMapKind::Isolated, 300_000).as_deref(), Some(SHARED));
    }

    /// Fault 8 of the shell original: of two parallel creates one failed.
    #[test]
    fn field_08_parallel_claims_never_meet() {
        let host = host();
        let got = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (host, got) = (&host, &got);
                scope.spawn(move || {
                    let leases = Leases::new(&host.layout, &host.config);
                    for n in 0..25 {
                        let owner = name(thread * 100 + n);
                        let address = lease(&leases, &owner, &Foreign::default()).unwrap();
                        let ids = ids(&leases, &owner, IdMapKind::Isolated, &Foreign::default());
                        got.lock().unwrap().push((address, ids));
                    }
                });
            }
        });
        let got = got.into_inner().unwrap();
        let addresses: BTreeSet<_> = got.iter().map(|(address, _)| *address).collect();
        let ids: BTreeSet<_> = got.iter().map(|(_, ids)| *ids).collect();
        assert_eq!((addresses.len(), ids.len()), (200, 200));
        assert_eq!(addresses.last(), Some(&Ipv4Addr::new(10, 101, 0, 201)), "no gap");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_range_never_overlaps_another_user(starts in prop::collection::vec((0u64..2_000_000, 1u64..200_000), 0..12)) {
            let host = host();
            let leases = Leases::new(&host.layout, &host.config);
            let foreign = Foreign { ids: starts.clone(), ..Foreign::default() };
            let map = ids(&leases, &name(0), IdMapKind::Isolated, &foreign);
            for (start, count) in &starts {
                prop_assert!(!map.overlaps(*start, *count));
            }
            // The lowest: every earlier place on the grid is taken.
            let mut base = host.config.ids.first;
            while base < map.base() {
                let earlier = IdMap::new(base).unwrap();
                prop_assert!(starts.iter().any(|(start, count)| earlier.overlaps(*start, *count)));
                base += RANGE;
            }
        }
    }
}
