//! What is to become of each container. New ones get their name and address here, since the address goes into the system.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::item::{Hold, Item, What};
use super::wanted::{By, Member, Wanted};
use super::{Outcome, Way};
use crate::build;
use crate::build::evaluator;
use crate::build::extra_check;
use crate::build::instantiate::{self, Asked, Evaluated, Instantiator};
use crate::error::Error;
use crate::model::idmap::IdMapKind;
use crate::model::name::ContainerName;
use crate::model::note::DeclarationNote;
use crate::model::observe::{self, Event, Observer, Phase, Planned};
use crate::model::occurrence::Operation;
use crate::model::state::Action;
use crate::nix::StorePath;
use crate::ops::claim;
use crate::ops::create;
use crate::ops::destroy;
use crate::ops::inspect;
use crate::ops::lxc_config::GivenItems;
use crate::store::claims::Leases;
use crate::store::history::Generations;
use crate::store::presence;
use crate::store::record::{Record, RecordPhase};

impl Way<'_> {
    /// Plans, and says so. Nothing is reserved any more for those that something stands in the way of.
    pub(super) fn plan(
        self,
        wanted: Wanted,
        instantiator: &Instantiator<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(Vec<Item>, Option<By>), Error> {
        let Wanted { by, members, pinned } = wanted;
        let mut items = self.survey(members, by.as_ref(), observer)?;
        let planned = self.planned(&mut items, by.as_ref(), instantiator, observer);
        self.give_back(&mut items, |item| planned.is_err() || item.planned == Planned::Blocked);
        planned?;
        items.extend(pinned.iter().map(|record| self.pinned(record)));
        items.sort_by(|a, b| a.name.cmp(&b.name));
        let planned = items.iter().map(|item| (item.name.clone(), item.planned)).collect();
        observer.event(Event::Planned(planned));
        Ok((items, by))
    }

    /// What is to become of each, and of those that are declared no more.
    fn planned(
        self,
        items: &mut Vec<Item>,
        by: Option<&By>,
        instantiator: &Instantiator<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        self.evaluate(items, instantiator, observer)?;
        for item in &mut *items {
            if let Err(error) = self.decide(item) {
                item.block(error);
            }
        }
        let declared: BTreeSet<String> = items.iter().map(|item| item.name.clone()).collect();
        items.extend(self.orphans(&declared, by)?);
        self.foresee(items, observer)
    }

    /// Left at the generation that somebody chose.
    fn pinned(self, record: &Record) -> Item {
        let name = record.name.to_string();
        let current = match record.phase {
            // A change of it was cut off: the next one that names it goes back there.
            RecordPhase::Switching { from } => Ok(from),
            _ => Generations::new(&self.host.layout, &record.name).current(),
        };
        match current {
            Ok(at) => Item::new(name, None, Planned::Pinned { at }),
            Err(error) => Item::blocked(name, error.into()),
        }
    }

    /// Looks at what there is, and reserves what there is to be.
    fn survey(
        self,
        members: Vec<Member>,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Item>, Error> {
        let mut items: Vec<Item> = Vec::new();
        for member in members {
            let (name, what) = match member.what {
                Ok(found) => found,
                Err(error) => {
                    items.push(Item::blocked(member.name, error));
                    continue;
                }
            };
            let mut item = Item::new(member.name, Some((name.clone(), what)), Planned::Create);
            match self.hold(&item, &name, by, observer).and_then(|hold| self.unlike(&items, &name, hold)) {
                Ok(hold) => item.hold = hold,
                Err(Error::Cancelled) => {
                    self.give_back(&mut items, |_| true);
                    return Err(Error::Cancelled);
                }
                Err(error) => item.block(error),
            }
            items.push(item);
        }
        Ok(items)
    }

    /// Of two new ones whose names would answer for each other the second cannot be made. Outside of a dry run the first has
    /// its name by now.
    fn unlike(self, items: &[Item], name: &ContainerName, hold: Hold) -> Result<Hold, Error> {
        let new = items.iter().filter(|item| matches!(item.hold, Hold::Nothing) && item.is_change());
        let mut others = new.filter_map(|item| item.wanted.as_ref().map(|(name, _)| name));
        match others.find(|other| other.is_alike(name)).filter(|_| matches!(hold, Hold::Nothing)) {
            Some(other) => Err(Error::Alike { name: name.clone(), other: other.clone() }),
            None => Ok(hold),
        }
    }

    fn hold(
        self,
        item: &Item,
        name: &ContainerName,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Result<Hold, Error> {
        if let Some(known) = self.known(name, by)? {
            if by.is_some_and(|by| !by.owns(&known)) {
                let from = known.declared.as_ref().map(|declared| declared.source.clone());
                observer.event(DeclarationNote::TakenOver { name: name.clone(), from }.into());
            }
            return Ok(Hold::Known(Box::new(known)));
        }
        // Of those that there are, none is made: it was destroyed meanwhile.
        if by.is_none() && !self.creates {
            return Err(Error::NotFound { name: name.clone() });
        }
        if self.dry_run {
            create::refuse(self.host, name)?;
            return Ok(Hold::Nothing);
        }
        let mut context = self.context(observer);
        let lock = context.lock(name, Operation::Create)?;
        // Another apply may have been quicker.
        if let Some(known) = self.known(name, by)? {
            return Ok(Hold::Known(Box::new(known)));
        }
        let declared = item.wanted.as_ref().and_then(|(_, what)| by.map(|by| by.declared(what)));
        let Some(order) = item.order(declared) else { return Ok(Hold::Nothing) };
        let mut record = create::begin(&mut context, name, &order, &GivenItems::default())?;
        if item.source().is_some() {
            let leased = claim::others(self.host)
                .and_then(|foreign| build::lease_for_evaluation(self.host, &mut record, &foreign));
            if let Err(failure) = leased {
                return Err(failure.undone(destroy::remains(self.host, record)));
            }
        }
        Ok(Hold::New(lock, Box::new(record)))
    }

    /// The container, if it exists and is for us to change; `None` where there is none, or only the remains of one.
    fn known(self, name: &ContainerName, by: Option<&By>) -> Result<Option<Record>, Error> {
        let record = match self.host.record(name) {
            Ok(record) => record,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(by) = by
            && !self.take_over
            && !by.owns(&record)
        {
            let by = record.declared.map(|declared| declared.source);
            return Err(Error::NotDeclared { name: name.clone(), by });
        }
        Ok(Some(record)
            .filter(|record| !matches!(record.phase, RecordPhase::Creating | RecordPhase::Destroying)))
    }

    /// One run of Nix for all that have the same arguments.
    fn evaluate(
        self,
        items: &mut [Item],
        instantiator: &Instantiator<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let placeholder = evaluator::placeholder(&self.host.config);
        let leases = Leases::new(&self.host.layout, &self.host.config);
        let mut groups: BTreeMap<&[String], Vec<Asked<'_>>> = BTreeMap::new();
        for item in items.iter().filter(|item| item.planned != Planned::Blocked) {
            let Some((name, source)) = item.source() else { continue };
            let asked = match &item.hold {
                Hold::Nothing => Asked {
                    name,
                    source,
                    ip: leases.reserved(name).or(Some(placeholder)),
                    idmap: IdMapKind::default(),
                },
                Hold::New(_, record) => Asked::of(record, source),
                Hold::Known(record) => {
                    // Who is to get another address does not keep this one.
                    let stays =
                        |lease: &Ipv4Addr| leases.reserved_for_another(name, (*lease).into()).is_none();
                    let lease = leases.reserved(name).or(record.lease.filter(stays));
                    Asked { ip: lease.or(Some(placeholder)), ..Asked::of(record, source) }
                }
            };
            groups.entry(&source.nix_args).or_default().push(asked);
        }
        if groups.is_empty() {
            return Ok(());
        }
        let mut results: BTreeMap<ContainerName, Result<Evaluated, Error>> = BTreeMap::new();
        observe::phase(Phase::Evaluate, observer, |observer| {
            for asked in groups.values() {
                results.extend(instantiator.containers(asked, observer, self.cancel)?);
            }
            Ok::<(), Error>(())
        })?;
        for item in items {
            let Some((name, result)) = item.source().and_then(|(name, _)| results.remove_entry(name)) else {
                continue;
            };
            // Else the operation itself does it.
            let checked = result.and_then(|evaluated| {
                if self.dry_run {
                    let host = self.host;
                    let items = self.items.unwrap_or(match &item.hold {
                        Hold::Known(record) => &record.lxc_items,
                        Hold::New(..) | Hold::Nothing => &[],
                    });
                    extra_check::of_file(&host.worker, &host.config, &evaluated.spec, items, self.cancel)?;
                }
                Ok(evaluated)
            });
            match checked {
                Ok(evaluated) => {
                    instantiate::note_name(&name, &evaluated.spec, observer);
                    item.evaluated = Some(evaluated);
                }
                Err(error) => item.block(error),
            }
        }
        Ok(())
    }

    fn decide(self, item: &mut Item) -> Result<(), Error> {
        let (Hold::Known(record), true) = (&item.hold, item.planned != Planned::Blocked) else {
            return Ok(());
        };
        let out: Option<&StorePath> = match &item.wanted {
            Some((_, What::Package { package, .. })) => Some(&package.out),
            _ => item.evaluated.as_ref().map(|evaluated| &evaluated.out),
        };
        let generations = Generations::new(&self.host.layout, &record.name);
        let from = generations.current()?;
        let same = out.is_some_and(|out| generations.target(from).is_ok_and(|now| now == out.as_path()));
        item.planned = if same && record.phase == RecordPhase::Ready {
            Planned::Unchanged
        } else {
            Planned::Update { from }
        };
        Ok(())
    }

    /// Removes what was reserved for the items that `wanted` likes.
    pub(super) fn give_back(self, items: &mut [Item], wanted: impl Fn(&Item) -> bool) {
        for item in items.iter_mut().filter(|item| wanted(item)) {
            if let Hold::New(_lock, record) = std::mem::replace(&mut item.hold, Hold::Nothing)
                && let Err(undo) = destroy::remains(self.host, *record)
            {
                let failure = match std::mem::replace(&mut item.outcome, Outcome::Planned) {
                    Outcome::Failed(failure) => failure.undone(Err(undo)),
                    _ => undo,
                };
                item.block(failure);
            }
        }
    }

    /// What the same source declared before, and declares no more.
    fn orphans(self, declared: &BTreeSet<String>, by: Option<&By>) -> Result<Vec<Item>, Error> {
        let Some(by) = by else { return Ok(Vec::new()) };
        let mut orphans = Vec::new();
        for name in Record::names(&self.host.layout)? {
            if declared.contains(name.as_str()) {
                continue;
            }
            // One that cannot be read is nobody's.
            let Ok(Some(record)) = Record::load(&self.host.layout, &name) else { continue };
            if !by.owns(&record) {
                continue;
            }
            // Somebody else applies another version of the source, and is at it.
            if record.phase == RecordPhase::Creating
                && let Some(state) = presence::in_hands(&self.host.layout, &record)
            {
                let busy = Error::State { name: name.clone(), state, action: Action::Destroy };
                orphans.push(Item::blocked(name.to_string(), busy));
                continue;
            }
            let goes = self.prune || record.declared.as_ref().is_some_and(|declared| declared.ephemeral);
            let planned = if goes {
                Planned::Remove { data: inspect::data_of(self.host, &name, self.cancel) }
            } else {
                Planned::Orphaned
            };
            let mut item = Item::new(name.to_string(), None, planned);
            item.hold = Hold::Known(Box::new(record));
            orphans.push(item);
        }
        Ok(orphans)
    }
}
