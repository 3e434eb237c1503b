//! What the kernel tells, and the time: which containers are to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use jiff::Timestamp;

use super::folders::News;
use super::known::Known;
use super::{FOLDERS, INSIDE, LONGEST_AGAIN, PENDING, TIMER, Watch, failed};
use crate::error::Error;
use crate::model::name::ContainerName;
use crate::ops::booting;
use crate::store::presence;
use crate::sys::inotify::Told;

impl Watch {
    pub(super) fn hear(&mut self, freeing: &BTreeSet<ContainerName>) -> Result<(), Error> {
        if self.missed {
            self.look_at_all()?;
            self.missed = false;
        }
        for number in self.ready.ready().map_err(failed)? {
            match number {
                PENDING | TIMER => {}
                FOLDERS => self.read_folders()?,
                INSIDE => self.read_inside()?,
                guest => self.guest_stirs(guest)?,
            }
        }
        for name in freeing {
            self.is_idle(name)?;
        }
        self.read_journal().map(drop)
    }

    fn read_folders(&mut self) -> Result<(), Error> {
        for news in self.folders.read().map_err(failed)? {
            match news {
                News::Container(name) if self.is_asked_for(&name) => drop(self.to_look_at.insert(name)),
                News::Lock(name) => {
                    // Whoever held it may have been killed: others say themselves that they are done. The kernel tells of the
                    // closed file before it frees the lock.
                    if !self.is_idle(&name)? {
                        self.freeing.insert(name);
                    }
                }
                News::Container(_) => {}
                News::All => self.look_at_all()?,
            }
        }
        Ok(())
    }

    /// Whether nobody changes a container; where somebody did, that is told.
    pub(super) fn is_idle(&mut self, name: &ContainerName) -> Result<bool, Error> {
        let busy = |known: &BTreeMap<_, Known>| known.get(name).and_then(|known| known.busy);
        let before = busy(&self.known);
        if before.is_none() {
            return Ok(true);
        }
        if presence::is_held(&self.host.layout, name) {
            return Ok(false);
        }
        // What it noted before it freed the lock comes first; then another may have begun already.
        self.read_journal()?;
        if busy(&self.known) == before {
            self.tell(name, |known, _, tell| known.idle(Timestamp::now(), tell));
        }
        Ok(true)
    }

    /// Something was missed: whatever is known, and whatever is there, is looked at.
    pub(super) fn look_at_all(&mut self) -> Result<(), Error> {
        let names = self.host.names()?.into_iter().filter(|name| self.is_asked_for(name)).collect::<Vec<_>>();
        self.to_look_at.extend(names);
        self.to_look_at.extend(self.known.keys().cloned());
        Ok(())
    }

    fn read_inside(&mut self) -> Result<(), Error> {
        let mut boots = BTreeSet::new();
        for told in self.inside.read().map_err(failed)? {
            match told {
                Told::Overflow => {
                    boots.extend(self.eyes.keys().cloned());
                    self.to_look_at.extend(self.eyes.keys().cloned());
                }
                Told::Change { watch, .. } => {
                    for (name, eyes) in &self.eyes {
                        if eyes.links == Some(watch) {
                            boots.insert(name.clone());
                        } else if eyes.cgroups.contains(&watch) {
                            self.to_look_at.insert(name.clone());
                        }
                    }
                }
                Told::Over { .. } => {}
            }
        }
        for name in boots {
            self.ask_whether_booted(&name);
        }
        Ok(())
    }

    /// Its init has ended, or its mounts have changed.
    fn guest_stirs(&mut self, number: u64) -> Result<(), Error> {
        let Some(name) = self.numbers.get(&number).cloned() else { return Ok(()) };
        let Some(eyes) = self.eyes.get_mut(&name) else { return Ok(()) };
        if eyes.init.is_alive() {
            eyes.follow_links(&self.inside).map_err(failed)?;
            self.ask_whether_booted(&name);
        } else {
            eyes.ended();
            self.to_look_at.insert(name);
        }
        Ok(())
    }

    fn ask_whether_booted(&mut self, name: &ContainerName) {
        let Some(init) = self.eyes.get(name).map(|eyes| eyes.init) else { return };
        if !init.is_alive() || booting::is_booting(&self.host, init) {
            return;
        }
        self.tell(name, |known, _, tell| known.ready(Timestamp::now(), tell));
        self.close_if_ready(name);
    }

    pub(super) fn close_if_ready(&mut self, name: &ContainerName) {
        let ready = self.known.get(name).and_then(|known| known.guest).is_some_and(|guest| guest.ready);
        if ready && let Some(eyes) = self.eyes.get_mut(name) {
            eyes.booted(&self.ready, &self.inside);
            self.booted_at.remove(name);
        }
    }

    /// Those whose lock is to be asked for once more by now.
    pub(super) fn time_is_up(&mut self) -> BTreeSet<ContainerName> {
        let now = Instant::now();
        let mut freeing = BTreeSet::new();
        if self.again_at.is_some_and(|at| at <= now) {
            self.to_look_at.append(&mut self.passing);
            freeing.append(&mut self.freeing);
            self.again_at = None;
            self.again = (self.again * 2).min(LONGEST_AGAIN);
        }
        let to_look_at = &mut self.to_look_at;
        self.booted_at.retain(|name, at| {
            let waits = *at > now;
            if !waits {
                to_look_at.insert(name.clone());
            }
            waits
        });
        freeing
    }
}
