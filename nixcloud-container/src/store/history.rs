//! The generations of one container, over its Nix profile.

use std::io;
use std::path::{Path, PathBuf};

use crate::fs::error::FileError;
use crate::model::generation::{Generation, GenerationId, Health, Selection, passed_over};
use crate::model::layout::{Layout, NIX_STATE, SHOWN_ROOT};
use crate::model::name::ContainerName;
use crate::model::spec::{ContainerSpec, SpecError};
use crate::nix::{self, Profile, ProfileGeneration, StorePath, roots};
use crate::store::closures;
use crate::store::keeping;
use crate::store::legacy::{self, OriginalError};
use crate::store::record::Record;

/// A generation that cannot be read or chosen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerationsError {
    /// The profile cannot be read.
    #[error("cannot read the generations")]
    Profile(#[source] nix::profile::Error),
    /// A root of the garbage collector cannot be made or removed.
    #[error("cannot change the roots of the garbage collector")]
    Roots(#[source] nix::roots::Error),
    /// A generation's spec cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// What the shell original built cannot be read.
    #[error(transparent)]
    Original(#[from] OriginalError),
    /// A generation's spec is not one.
    #[error("generation {id} has a spec that cannot be used")]
    #[non_exhaustive]
    Spec {
        /// The generation.
        id: GenerationId,
        /// The error that this one follows from.
        source: SpecError,
    },
    /// No generation has this number.
    #[error("there is no generation {id}")]
    #[non_exhaustive]
    Missing {
        /// The number.
        id: GenerationId,
        /// The generations that exist.
        have: Vec<GenerationId>,
    },
    /// The profile has no current generation.
    #[error("{} leads to no generation", .profile.display())]
    #[non_exhaustive]
    NoCurrent {
        /// The profile's link.
        profile: PathBuf,
    },
    /// There is no older generation to roll back to.
    #[error("no generation is older than the current one, {current}")]
    #[non_exhaustive]
    NoOlder {
        /// The current one.
        current: GenerationId,
    },
    /// There are older generations than the current one, and none that a rollback may choose.
    #[error("no generation older than {current} has worked ({})", passed_over(.older))]
    #[non_exhaustive]
    NoneWorked {
        /// The current one.
        current: GenerationId,
        /// The older ones with what is known of each, newest first.
        older: Vec<(GenerationId, Health)>,
    },
    /// The current or the booted generation was to be deleted.
    #[error("generation {id} is {why} and cannot be deleted")]
    #[non_exhaustive]
    Protected {
        /// The generation.
        id: GenerationId,
        /// `current` or `booted`.
        why: &'static str,
    },
}

/// The generations of one container.
#[derive(Debug, Clone)]
pub(crate) struct Generations {
    layout: Layout,
    name: ContainerName,
}

impl Generations {
    pub(crate) fn new(layout: &Layout, name: &ContainerName) -> Self {
        Self { layout: layout.clone(), name: name.clone() }
    }

    fn profile(&self) -> Result<Profile, GenerationsError> {
        Profile::new(self.layout.profile(&self.name)).map_err(GenerationsError::Profile)
    }

    fn all(&self) -> Result<Vec<ProfileGeneration>, GenerationsError> {
        self.profile()?.generations().map_err(GenerationsError::Profile)
    }

    fn ids(&self) -> Result<Vec<GenerationId>, GenerationsError> {
        Ok(self.all()?.iter().filter_map(|generation| GenerationId::new(generation.id).ok()).collect())
    }

    /// The current generation.
    pub(crate) fn current(&self) -> Result<GenerationId, GenerationsError> {
        let profile = self.profile()?;
        let current = profile.current().map_err(GenerationsError::Profile)?;
        // A link to a generation that was taken away leads nowhere.
        let current = current.filter(|id| profile.link(*id).symlink_metadata().is_ok());
        let none = || GenerationsError::NoCurrent { profile: profile.path().to_owned() };
        current.and_then(|id| GenerationId::new(id).ok()).ok_or_else(none)
    }

    /// The generation that boots at the next start, and the one that has not proved itself, see [`Record::counting`].
    pub(crate) fn counting(
        &self,
        record: &Record,
    ) -> Result<(Option<GenerationId>, Option<GenerationId>), GenerationsError> {
        let current = self.profile()?.current().map_err(GenerationsError::Profile)?;
        let current = current.and_then(|id| GenerationId::new(id).ok());
        let (counts, unproved) = record.counting(current);
        // Where somebody has deleted it, the current one is all there is.
        let is_there = |id: GenerationId| self.link(id).is_ok();
        Ok(if unproved.is_none() || counts.is_some_and(is_there) {
            (counts, unproved)
        } else {
            (current, None)
        })
    }

    /// Where a rollback goes.
    pub(crate) fn rollback(&self, record: &Record) -> Result<Rollback, GenerationsError> {
        let current = self.current()?;
        let mut older: Vec<(GenerationId, Health)> =
            self.ids()?.into_iter().filter(|id| *id < current).map(|id| (id, record.health(id))).collect();
        older.reverse();
        Rollback::choose(current, older)
    }

    /// Whether there is none at all: the profile is lost.
    pub(crate) fn are_lost(&self) -> bool {
        self.all().is_ok_and(|all| all.is_empty())
    }

    /// All links, oldest first, each with whether it leads to something.
    pub(crate) fn links(&self) -> Result<Vec<(GenerationId, PathBuf, bool)>, GenerationsError> {
        let all = self.all()?.into_iter().filter_map(|generation| {
            let is_there = generation.target.symlink_metadata().is_ok();
            Some((GenerationId::new(generation.id).ok()?, generation.link, is_there))
        });
        Ok(all.collect())
    }

    /// When each was made, oldest first.
    pub(crate) fn made(&self) -> Result<Vec<jiff::Timestamp>, GenerationsError> {
        Ok(self.all()?.iter().map(|generation| generation.created).collect())
    }

    /// The link of an existing generation.
    pub(crate) fn link(&self, id: GenerationId) -> Result<PathBuf, GenerationsError> {
        let found = self.all()?.into_iter().find(|generation| generation.id == id.get());
        match found {
            Some(generation) => Ok(generation.link),
            None => Err(GenerationsError::Missing { id, have: self.ids()? }),
        }
    }

    /// What a generation is: a store path.
    pub(crate) fn target(&self, id: GenerationId) -> Result<PathBuf, GenerationsError> {
        let path = self.link(id)?;
        Ok(std::fs::read_link(&path).map_err(FileError::at("read", &path))?)
    }

    /// The spec that a generation was built with.
    pub(crate) fn spec(&self, id: GenerationId) -> Result<ContainerSpec, GenerationsError> {
        let path = self.profile()?.link(id.get()).join("spec.json");
        let json = match std::fs::read(&path) {
            Ok(json) => json,
            // Whether the generation is there at all is asked only now: most often it is.
            Err(source) => {
                let built = legacy::spec(&self.layout, &self.name, &self.link(id)?)?;
                return Ok(built.ok_or(FileError::new("read", &path, source))?);
            }
        };
        ContainerSpec::from_json(&json).map_err(|source| GenerationsError::Spec { id, source })
    }

    /// All generations as they are shown, oldest first.
    pub(crate) fn list(
        &self,
        record: &Record,
        booted: Option<GenerationId>,
    ) -> Result<Vec<Generation>, GenerationsError> {
        let (current, unproved) = self.counting(record)?;
        let mut list = Vec::new();
        for found in self.all()? {
            let Ok(id) = GenerationId::new(found.id) else { continue };
            list.push(Generation {
                id,
                created: found.created,
                current: current == Some(id),
                pinned: record.pinned && current == Some(id),
                unproved: unproved == Some(id),
                booted: booted == Some(id),
                system_version: system_version(&found.target),
                health: record.health(id),
                path: found.target,
            });
        }
        Ok(list)
    }

    /// The numbers that a selection means; the current and the booted one are never among them.
    pub(crate) fn select(
        &self,
        selection: &Selection,
        booted: &[GenerationId],
        health: &dyn Fn(GenerationId) -> Health,
    ) -> Result<Vec<GenerationId>, GenerationsError> {
        let current = self.current()?;
        let all = self.all()?;
        let known = |id: &GenerationId| all.iter().any(|generation| generation.id == id.get());
        let protected = |id: GenerationId| id == current || booted.contains(&id);
        let ids = all
            .iter()
            .filter_map(|generation| Some((GenerationId::new(generation.id).ok()?, generation.created)));
        let chosen: Vec<GenerationId> = match selection {
            Selection::Ids(asked) => {
                for id in asked {
                    if !known(id) {
                        return Err(GenerationsError::Missing { id: *id, have: self.ids()? });
                    }
                    if *id == current {
                        return Err(GenerationsError::Protected { id: *id, why: "current" });
                    }
                    if booted.contains(id) {
                        return Err(GenerationsError::Protected { id: *id, why: "booted" });
                    }
                }
                asked.clone()
            }
            Selection::Old => ids.map(|(id, _)| id).collect(),
            Selection::OlderThanDays(days) => {
                let age = jiff::SignedDuration::from_hours(i64::from(*days) * 24);
                // Before the calendar begins there were no generations.
                let limit = jiff::Timestamp::now().checked_sub(age).unwrap_or(jiff::Timestamp::MIN);
                let mut old: Vec<GenerationId> =
                    ids.filter(|(_, made)| *made < limit).map(|(id, _)| id).collect();
                // The newest of them was the active one at that time: it stays, as with Nix.
                old.pop();
                old
            }
            Selection::Keep(keep) => {
                let all: Vec<_> = ids.map(|(id, made)| (id, made, health(id))).collect();
                keeping::leaves(*keep, &all, jiff::Timestamp::now())
            }
            Selection::KeepNewest(count) => {
                let mut up_to_current: Vec<GenerationId> =
                    ids.map(|(id, _)| id).filter(|id| *id <= current).collect();
                up_to_current.truncate(up_to_current.len().saturating_sub(*count as usize));
                up_to_current
            }
        };
        let mut chosen: Vec<GenerationId> = chosen.into_iter().filter(|id| !protected(*id)).collect();
        chosen.sort_unstable();
        chosen.dedup();
        Ok(chosen)
    }

    /// The package that a generation is.
    pub(crate) fn package(&self, id: GenerationId) -> Result<StorePath, GenerationsError> {
        let link = self.link(id)?;
        Ok(std::fs::read_link(&link)
            .and_then(|target| StorePath::try_from(target.as_path()).map_err(io::Error::other))
            .map_err(FileError::at("read", &link))?)
    }

    /// All packages, of whichever generation.
    pub(crate) fn packages(&self) -> Result<Vec<StorePath>, GenerationsError> {
        let all = self.all()?.into_iter();
        Ok(all.filter_map(|generation| StorePath::try_from(generation.target.as_path()).ok()).collect())
    }

    /// Keeps what a running guest sees of the store beside the generation that it was booted from.
    pub(crate) fn root_shown(&self, package: &StorePath) -> Result<(), GenerationsError> {
        if std::fs::read_link(self.layout.booted(&self.name)).is_ok_and(|booted| booted == package.as_path())
        {
            return Ok(());
        }
        let root = self.layout.shown_root(&self.name, closures::base_name(package));
        roots::add(&root, package, Path::new(NIX_STATE)).map_err(GenerationsError::Roots)
    }

    /// The packages that are rooted since a running guest sees them.
    pub(crate) fn rooted_shown(&self) -> Result<Vec<StorePath>, GenerationsError> {
        let folder = self.layout.profile_dir(&self.name);
        let entries = std::fs::read_dir(&folder).map_err(FileError::at("read", &folder))?;
        let is_shown = |link: &PathBuf| {
            let name = link.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with(SHOWN_ROOT) || *link == self.layout.booted(&self.name)
        };
        let links = entries.flatten().map(|entry| entry.path()).filter(is_shown);
        let target = |link| StorePath::try_from(std::fs::read_link(link).ok()?.as_path()).ok();
        let mut packages: Vec<StorePath> = links.filter_map(target).collect();
        packages.sort();
        packages.dedup();
        Ok(packages)
    }

    /// Lets go what it sees of others than these.
    pub(crate) fn unroot_shown(&self, but: &[StorePath]) -> Result<(), GenerationsError> {
        let Ok(entries) = std::fs::read_dir(self.layout.profile_dir(&self.name)) else { return Ok(()) };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(package) = name.to_str().and_then(|name| name.strip_prefix(SHOWN_ROOT)) else {
                continue;
            };
            if !but.iter().any(|kept| closures::base_name(kept) == package) {
                roots::remove(&entry.path(), Path::new(NIX_STATE)).map_err(GenerationsError::Roots)?;
            }
        }
        Ok(())
    }

    /// Keeps the closure that a guest was booted from, whatever happens to its generation.
    pub(crate) fn root_booted(&self, id: GenerationId) -> Result<(), GenerationsError> {
        self.root_booted_package(&self.package(id)?)
    }

    /// The same of a package.
    pub(crate) fn root_booted_package(&self, package: &StorePath) -> Result<(), GenerationsError> {
        let booted = self.layout.booted(&self.name);
        if std::fs::read_link(&booted).is_ok_and(|target| target == package.as_path()) {
            return Ok(());
        }
        roots::add(&booted, package, Path::new(NIX_STATE)).map_err(GenerationsError::Roots)
    }

    /// Keeps the program that LXC runs when that guest reboots, with all that it needs.
    pub(crate) fn root_program(&self, program: &StorePath) -> Result<(), GenerationsError> {
        let root = self.layout.program_root(&self.name);
        roots::add(&root, program, Path::new(NIX_STATE)).map_err(GenerationsError::Roots)
    }

    /// Lets both go, and what it saw.
    pub(crate) fn unroot_booted(&self) -> Result<(), GenerationsError> {
        for root in [self.layout.booted(&self.name), self.layout.program_root(&self.name)] {
            roots::remove(&root, Path::new(NIX_STATE)).map_err(GenerationsError::Roots)?;
        }
        self.unroot_shown(&[])
    }

    /// Fault 5 of the shell original: destroy left the generation links for ever.
    pub(crate) fn remove_all(&self) -> Result<(), GenerationsError> {
        self.unroot_booted()?;
        self.profile()?.remove_all(Path::new(NIX_STATE)).map_err(GenerationsError::Profile).map(drop)
    }
}

/// Where a rollback goes, and what it leaves out on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollback {
    pub(crate) to: GenerationId,
    pub(crate) health: Health,
    /// Those between it and the current one, newest first.
    pub(crate) passed: Vec<(GenerationId, Health)>,
}

impl Rollback {
    /// The newest of the older ones that has worked; where none is known to have, the newest of which nothing is known.
    /// Never one that failed: the user may name it, a rollback is to help. `older` is newest first.
    fn choose(current: GenerationId, older: Vec<(GenerationId, Health)>) -> Result<Self, GenerationsError> {
        if older.is_empty() {
            return Err(GenerationsError::NoOlder { current });
        }
        let newest = |wanted: Health| older.iter().position(|(_, health)| *health == wanted);
        let Some(at) = newest(Health::Good).or_else(|| newest(Health::Untried)) else {
            return Err(GenerationsError::NoneWorked { current, older });
        };
        let (to, health) = older[at];
        Ok(Self { to, health, passed: older[..at].to_vec() })
    }
}

/// What the system calls itself.
fn system_version(container: &Path) -> Option<String> {
    let text = std::fs::read_to_string(container.join("container/nixos-version")).ok()?;
    let version = text.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> GenerationId {
        GenerationId::new(number).unwrap()
    }

    fn chosen(older: &[(u64, Health)]) -> Result<(u64, usize), String> {
        let older = older.iter().map(|(number, health)| (id(*number), *health)).collect();
        match Rollback::choose(id(9), older) {
            Ok(rollback) => Ok((rollback.to.get(), rollback.passed.len())),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_rollback_goes_to_what_worked() {
        use Health::{Bad, Good, Undone, Untried};
        assert_eq!(chosen(&[(8, Good), (7, Good)]), Ok((8, 0)));
        assert_eq!(chosen(&[(8, Bad), (7, Undone), (6, Untried), (5, Good), (4, Good)]), Ok((5, 3)));
        assert_eq!(chosen(&[(8, Bad), (7, Untried), (6, Untried)]), Ok((7, 1)));
        assert_eq!(
            chosen(&[(8, Bad), (7, Undone)]),
            Err("no generation older than 9 has worked (8 is bad, 7 is undone)".to_owned())
        );
        assert_eq!(chosen(&[]), Err("no generation is older than the current one, 9".to_owned()));
    }
}
