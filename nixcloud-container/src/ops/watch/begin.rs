//! How a watch begins: with what the journal knows already, and with each container as it is.

use jiff::Timestamp;

use super::{Watch, failed};
use crate::error::Error;
use crate::fs::lock;
use crate::model::name::ContainerName;
use crate::model::occurrence::{Busy, Occurred, Occurrence};
use crate::store::presence::{self, Survey};

impl Watch {
    /// What the journal knows already, and each container as it is.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let since = self.request.since;
        for line in self.journal.read().0 {
            if !self.is_asked_for(&line.name) {
                continue;
            }
            let known = self.known.entry(line.name.clone()).or_default();
            if since.is_some_and(|since| line.at >= since) {
                let told = &mut self.told;
                known.read(line.at, line.note, &|_| None, &mut |at, what| {
                    told.push_back(Occurrence { name: line.name.clone(), at, what });
                });
            } else {
                known.read(line.at, line.note, &|_| None, &mut |_, _| {});
                known.set_before();
            }
        }
        let names: Vec<_> = self.host.names()?.into_iter().filter(|name| self.is_asked_for(name)).collect();
        // Those that the journal knows and that are no more, or not yet.
        let others: Vec<_> =
            self.known.keys().filter(|name| names.binary_search(name).is_err()).cloned().collect();
        let survey = self.survey(&names)?;
        for name in names {
            self.begin_with(name, survey.as_ref())?;
        }
        for name in others {
            if since.is_some() {
                self.begin_busy(&name);
                self.to_look_at.insert(name);
            } else {
                if let Some(known) = self.known.get_mut(&name) {
                    known.keep_busy();
                }
                self.begin_busy(&name);
            }
        }
        self.pending.set(!self.told.is_empty()).map_err(failed)?;
        self.set_timer()
    }

    fn begin_with(&mut self, name: ContainerName, survey: Option<&Survey>) -> Result<(), Error> {
        let seen = self.look(&name, survey);
        let known = self.known.entry(name.clone()).or_default();
        // What the journal has told of is compared with what is; what it has not has not changed.
        let changed = self.request.since.is_some() && known.there.is_some();
        match seen {
            Ok(Some(seen)) if !changed => {
                if known.adopt(&seen) {
                    self.passing.insert(name.clone());
                }
                if self.request.since.is_none() && seen.whole != Some(false) {
                    let what = Occurred::Found {
                        state: seen.state,
                        booting: seen.booting,
                        generation: seen.generation,
                        init: seen.init.map(|init| init.pid),
                    };
                    self.told.push_back(Occurrence { name: name.clone(), at: Timestamp::now(), what });
                }
                self.begin_busy(&name);
                self.open_eyes(&name)
            }
            // It is looked at once more, as at any other time.
            seen => {
                if let Ok(Some(seen)) = seen {
                    known.compare(&seen);
                }
                self.begin_busy(&name);
                self.to_look_at.insert(name);
                Ok(())
            }
        }
    }

    /// Whoever holds it now, as far as that is noted.
    fn begin_busy(&mut self, name: &ContainerName) {
        let Some(known) = self.known.get_mut(name) else { return };
        let (at, told) = (Timestamp::now(), &mut self.told);
        let mut tell = |at, what| told.push_back(Occurrence { name: name.clone(), at, what });
        if !presence::is_held(&self.host.layout, name) {
            if self.request.since.is_some() {
                known.idle(at, &mut tell);
            }
            known.busy = None;
            return;
        }
        let path = self.host.layout.container_lock(name);
        let pid = lock::holder(&path);
        if known.busy.is_none_or(|busy| pid.is_some() && busy.pid != pid) {
            let since = path.metadata().and_then(|meta| meta.modified()).ok();
            let since = since.and_then(|since| Timestamp::try_from(since).ok()).unwrap_or(at);
            known.busy = Some(Busy { operation: None, pid, since });
        }
        if let Some(busy) = known.busy.filter(|_| self.request.since.is_none()) {
            tell(busy.since, Occurred::Busy(busy));
        }
    }
}
