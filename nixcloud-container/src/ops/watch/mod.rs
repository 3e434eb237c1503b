//! Watching: what happens to containers, as it happens.
//!
//! Three tell of it. The journal says what operations do, in order. Folders of records and notes say that something of a container
//! has changed (inotify), guests that they end (pidfds) or have booted; then the container is looked at, and what differs from
//! what is known has happened. Whatever the first two miss (a full disk, an overflow) a look finds.
//!
//! A look and the journal tell the same more than once; [`known`] takes it once. For that the journal is read to its end before each
//! look, and a look during which something was written there is taken again.

mod begin;
mod eyes;
mod folders;
mod hear;
mod known;
mod request;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::error::{self, Error};
use crate::fs::error::FileError;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::observe::Cancel;
use crate::model::occurrence::Occurrence;
use crate::ops::booting;
use crate::store::history::Generations;
use crate::store::journal;
use crate::store::presence::{self, Survey};
use crate::store::record::RecordPhase;
use crate::sys::inotify::Inotify;
use crate::sys::readiness::{Flag, Readiness, Timer};
use eyes::Eyes;
use folders::Folders;
pub(crate) use known::judged;
use known::{Known, Seen};
pub use request::WatchRequest;

/// How soon a cancelled token is noticed. No container is asked for that.
const TICK: Duration = Duration::from_millis(100);

/// How soon a container is looked at again that LXC is starting or ending: the first time, and at most.
const AGAIN: Duration = Duration::from_millis(10);
const LONGEST_AGAIN: Duration = Duration::from_secs(1);

/// How often a look is taken again during which an operation noted something.
const LOOKS: usize = 5;

/// So many containers are looked at one by one; of more a survey is made first.
const FEW: usize = 8;

/// By which numbers the descriptors are known; guests have those from `GUESTS` on.
const PENDING: u64 = 0;
const FOLDERS: u64 = 1;
const INSIDE: u64 = 2;
const TIMER: u64 = 3;
const GUESTS: u64 = 16;

/// What happens to the containers of a host, as it happens: see [`Manager::watch`](crate::Manager::watch).
#[derive(Debug)]
pub struct Watch {
    host: Arc<Host>,
    cancel: Cancel,
    request: WatchRequest,
    ready: Readiness,
    /// Set while there is something to be told that no other descriptor shows.
    pending: Flag,
    folders: Folders,
    /// Of what guests have a hand in: what they overflow is theirs alone.
    inside: Inotify,
    timer: Timer,
    journal: journal::Reader,
    known: BTreeMap<ContainerName, Known>,
    eyes: BTreeMap<ContainerName, Eyes>,
    /// Which guest a descriptor is of.
    numbers: BTreeMap<u64, ContainerName>,
    next_number: u64,
    told: VecDeque<Occurrence>,
    to_look_at: BTreeSet<ContainerName>,
    /// Those that are to be looked at again, since nobody tells when what LXC does is done.
    passing: BTreeSet<ContainerName>,
    /// Those whose lock was about to be freed, as it seems, and is asked for once more.
    freeing: BTreeSet<ContainerName>,
    /// Whether a turn failed: what it had heard is gone.
    missed: bool,
    again: Duration,
    again_at: Option<Instant>,
    /// When guests that still boot are taken for booted.
    booted_at: BTreeMap<ContainerName, Instant>,
}

/// A watch of the kernel's that fails.
fn failed(source: std::io::Error) -> Error {
    FileError::new("watch", "the host's containers", source).into()
}

pub(crate) fn watch(host: Arc<Host>, request: WatchRequest, cancel: Cancel) -> Result<Watch, Error> {
    let opened = || {
        let ready = Readiness::new()?;
        let (pending, timer, inside) = (Flag::new()?, Timer::new()?, Inotify::new()?);
        let folders = Folders::new(&host.layout)?;
        ready.add(&pending, PENDING)?;
        ready.add(folders.inotify(), FOLDERS)?;
        ready.add(&inside, INSIDE)?;
        ready.add(&timer, TIMER)?;
        Ok((ready, pending, timer, inside, folders))
    };
    let (ready, pending, timer, inside, folders) = opened().map_err(failed)?;
    // What happens from here on is told.
    let journal = journal::Reader::new(&host.layout);
    let mut watch = Watch {
        host,
        cancel,
        request,
        ready,
        pending,
        folders,
        inside,
        timer,
        journal,
        known: BTreeMap::new(),
        eyes: BTreeMap::new(),
        numbers: BTreeMap::new(),
        next_number: GUESTS,
        told: VecDeque::new(),
        to_look_at: BTreeSet::new(),
        passing: BTreeSet::new(),
        freeing: BTreeSet::new(),
        missed: false,
        again: AGAIN,
        again_at: None,
        booted_at: BTreeMap::new(),
    };
    watch.begin()?;
    Ok(watch)
}

/// Readable when [`Watch::try_next`] may have something.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

/// Waits for what happens next. It ends when the manager's token is cancelled, and never by itself.
impl Iterator for Watch {
    type Item = Result<Occurrence, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.cancel.is_cancelled() {
            if let Some(next) = self.next_within(TICK).transpose() {
                return Some(next);
            }
        }
        None
    }
}

impl Watch {
    /// What has happened since the last call; `None` where that is nothing. It waits for nothing but the answer of a monitor of
    /// LXC's, which takes less than a millisecond, and half a second at most where it hangs.
    ///
    /// # Errors
    /// When this user has used up the descriptors or inotify watches that the host allows. The watch goes on where it was.
    pub fn try_next(&mut self) -> Result<Option<Occurrence>, Error> {
        if self.told.is_empty() {
            self.turn()?;
        }
        let next = self.told.pop_front();
        self.pending.set(!self.told.is_empty()).map_err(failed)?;
        Ok(next)
    }

    /// As [`try_next`](Self::try_next), and waits for something to happen, at most for `limit`. A signal that the program handles may
    /// end the wait early.
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Occurrence>, Error> {
        if let Some(next) = self.try_next()? {
            return Ok(Some(next));
        }
        self.ready.wait(limit).map_err(failed)?;
        self.try_next()
    }

    /// Takes note of all that the kernel and the journal have to tell by now. What a turn that fails has heard is found by looking
    /// at everything in the next one, for which it wakes whoever waits.
    fn turn(&mut self) -> Result<(), Error> {
        let freeing = self.time_is_up();
        let turned = self.hear(&freeing).and_then(|()| self.look_at_those());
        self.missed |= turned.is_err();
        turned.and(self.set_timer())
    }

    fn is_asked_for(&self, name: &ContainerName) -> bool {
        self.request.names.is_empty() || self.request.names.contains(name)
    }

    /// Lets what is known of a container take note of something, and keeps what that tells.
    fn tell(&mut self, name: &ContainerName, note: impl FnOnce(&mut Known, known::How<'_>, known::Tell<'_>)) {
        let known = self.known.entry(name.clone()).or_default();
        let eyes = self.eyes.get(name);
        let told = &mut self.told;
        note(known, &|init| eyes.filter(|eyes| eyes.init == init).and_then(Eyes::ended), &mut |at, what| {
            told.push_back(Occurrence { name: name.clone(), at, what });
        });
    }

    /// Reads the journal to its end. The containers that it spoke of.
    fn read_journal(&mut self) -> Result<BTreeSet<ContainerName>, Error> {
        let mut spoken_of = BTreeSet::new();
        let (lines, lost) = self.journal.read();
        let mut opened = Ok(());
        for line in lines {
            if !self.is_asked_for(&line.name) {
                continue;
            }
            self.tell(&line.name, |known, how, tell| known.read(line.at, line.note, how, tell));
            // Before the next line: a guest may be there for a moment alone.
            opened = opened.and(self.open_eyes(&line.name));
            self.forget_if_gone(&line.name);
            spoken_of.insert(line.name);
        }
        if lost {
            self.look_at_all()?;
        }
        opened.map(|()| spoken_of)
    }

    fn look_at_those(&mut self) -> Result<(), Error> {
        let names: Vec<_> = std::mem::take(&mut self.to_look_at).into_iter().collect();
        let survey = self.survey(&names)?;
        for (index, name) in names.iter().enumerate() {
            if let Err(error) = self.look_closely(name, survey.as_ref()) {
                // They wait for the next turn.
                self.to_look_at.extend(names[index..].iter().cloned());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Of many containers, what hints at guests is asked at once.
    fn survey(&self, names: &[ContainerName]) -> Result<Option<Survey>, Error> {
        if names.len() <= FEW {
            return Ok(None);
        }
        let mut survey = Survey::new(&self.host.layout)?;
        survey.ask(&self.host.layout, names.iter().map(ContainerName::as_str));
        Ok(Some(survey))
    }

    fn look_closely(&mut self, name: &ContainerName, survey: Option<&Survey>) -> Result<(), Error> {
        let mut survey = survey;
        let mut seen = self.look(name, survey);
        for _ in 0..LOOKS {
            if !self.read_journal()?.contains(name) {
                break;
            }
            // It was made before that was written.
            survey = None;
            seen = self.look(name, survey);
        }
        let seen = match seen {
            Err(error) if error.lacks_descriptors() => return Err(error),
            seen => seen,
        };
        let at = Timestamp::now();
        let mut passes = false;
        self.tell(name, |known, how, tell| match seen {
            Ok(Some(seen)) => passes = known.look(at, &seen, how, tell),
            Ok(None) => known.gone(at, how, tell),
            Err(error) => known.unreadable(at, error::chain(&error), tell),
        });
        if passes {
            self.passing.insert(name.clone());
        } else {
            self.passing.remove(name);
        }
        self.open_eyes(name)?;
        let is_seen =
            self.known.get(name).is_none_or(|known| known.guest.is_none()) || self.eyes.contains_key(name);
        if !is_seen && self.to_look_at.remove(name) {
            // Its init has ended, and nobody tells when LXC is done with it.
            self.passing.insert(name.clone());
        }
        self.is_idle(name)?;
        self.forget_if_gone(name);
        Ok(())
    }

    /// `None` where there is no such container of ours.
    fn look(&self, name: &ContainerName, survey: Option<&Survey>) -> Result<Option<Seen>, Error> {
        let layout = &self.host.layout;
        let record = match self.host.record(name) {
            Err(Error::NotFound { .. } | Error::Foreign { .. }) => return Ok(None),
            other => other?,
        };
        let here = match survey {
            Some(survey) => presence::look_in(survey, layout, &record)?,
            None => presence::look_on(layout, &record)?,
        };
        let (generation, _) = Generations::new(layout, name).counting(&record).unwrap_or_default();
        Ok(Some(Seen {
            created: record.created,
            whole: match record.phase {
                RecordPhase::Creating => Some(false),
                RecordPhase::Destroying => None,
                RecordPhase::Ready | RecordPhase::Switching { .. } => Some(true),
            },
            state: here.state,
            init: here.init,
            rebooted: here.rebooted && here.run.is_some(),
            generation,
            booted: here.booted(),
            booting: here.init.is_some_and(|init| booting::is_booting(&self.host, init)),
        }))
    }

    /// Looks at the guest that a container has by now, and no more at the one that it had.
    fn open_eyes(&mut self, name: &ContainerName) -> Result<(), Error> {
        let guest = self.known.get(name).and_then(|known| known.guest);
        if self.eyes.get(name).map(|eyes| eyes.init) == guest.map(|guest| guest.init) {
            self.close_if_ready(name);
            return Ok(());
        }
        if let Some(eyes) = self.eyes.remove(name) {
            eyes.close(&self.ready, &self.inside);
            self.numbers.retain(|_, of| of != name);
            self.booted_at.remove(name);
        }
        let Some(guest) = guest else { return Ok(()) };
        let number = self.next_number;
        self.next_number += 1;
        let opened = Eyes::open(guest.init, number, !guest.ready, &self.ready, &self.inside).map_err(failed);
        // Whether it has booted by now, or has ended already, is asked once it is watched.
        self.to_look_at.insert(name.clone());
        let Some(eyes) = opened? else { return Ok(()) };
        if !guest.ready {
            let left = self.host.config.timeouts.boot().saturating_sub(guest.init.age());
            // Ages are whole seconds.
            let at = Instant::now().checked_add(left + Duration::from_secs(1));
            self.booted_at.extend(at.map(|at| (name.clone(), at)));
        }
        self.numbers.insert(number, name.clone());
        self.eyes.insert(name.clone(), eyes);
        Ok(())
    }

    /// What is gone takes no room.
    fn forget_if_gone(&mut self, name: &ContainerName) {
        let is_gone =
            |known: &Known| known.there == Some(false) && known.busy.is_none() && known.guest.is_none();
        if self.known.get(name).is_some_and(is_gone) {
            self.known.remove(name);
        }
    }

    fn set_timer(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.passing.is_empty() && self.freeing.is_empty() && !self.missed {
            (self.again, self.again_at) = (AGAIN, None);
        } else if self.again_at.is_none() {
            self.again_at = Some(now + self.again);
        }
        // What is to be looked at since a guest was found meanwhile is looked at in the next turn.
        let next = (!self.to_look_at.is_empty() && !self.missed).then_some(now);
        let times = [self.again_at, next].into_iter().flatten().chain(self.booted_at.values().copied());
        self.timer.set(times.min().map(|at| at.saturating_duration_since(now))).map_err(failed)
    }
}
