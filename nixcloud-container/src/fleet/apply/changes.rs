//! The changes of a plan: built in one go, then made one after the other. One that fails stops no other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::Path;

use super::item::{Hold, Item};
use super::wanted::By;
use super::{Outcome, Way};
use crate::error::Error;
use crate::host::context::Context;
use crate::model::name::ContainerName;
use crate::model::observe::{Event, Observer, Phase, Planned};
use crate::model::occurrence::Operation;
use crate::model::spec::ContainerSpec;
use crate::model::state::State;
use crate::nix::StorePath;
use crate::ops::adopt;
use crate::ops::create;
use crate::ops::destroy::{self, DestroyRequest};
use crate::ops::power::{self, StopRequest};
use crate::ops::update::{self, UpdateRequest};
use crate::store::presence;
use crate::store::record::{Record, RecordPhase};
use crate::worker::LogRequest;

impl Way<'_> {
    /// Does what is planned. Each item tells what came of it.
    pub(super) fn change(
        self,
        by: Option<&By>,
        items: &mut [Item],
        work: &Path,
        observer: &mut dyn Observer,
    ) {
        self.build(items, work, observer);
        let order = order(items);
        let of = items.iter().filter(|item| item.is_change() || item.goes()).count();
        let mut number = 0;
        for index in order {
            let item = &mut items[index];
            if item.is_change() || item.goes() {
                number += 1;
                if let Ok(name) = item.name.parse::<ContainerName>() {
                    observer.event(Event::Container { name, number, of });
                }
            }
            let outcome = if self.cancel.is_cancelled() && item.planned != Planned::Blocked {
                Some(Err(Error::Cancelled))
            } else {
                self.one(item, by, observer)
            };
            if let Some(outcome) = outcome {
                item.outcome = outcome.unwrap_or_else(Outcome::Failed);
            }
        }
        // Those that a Ctrl-C came before.
        self.give_back(items, |_| true);
    }

    /// Builds all that changes in one run of Nix. Where that fails, each is built on its own when it is its turn, and
    /// those that can be are in the store by then.
    fn build(self, items: &mut [Item], work: &Path, observer: &mut dyn Observer) {
        let mut groups: BTreeMap<Vec<String>, Vec<usize>> = BTreeMap::new();
        for (index, item) in items.iter().enumerate().filter(|(_, item)| item.is_change()) {
            if let Some((_, source)) = item.source() {
                groups.entry(source.nix_args.clone()).or_default().push(index);
            }
        }
        if groups.is_empty() {
            return;
        }
        // What fails is told when it fails alone.
        let _failed = self.context(observer).phase(Phase::Build, |context| {
            for (number, indexes) in groups.values().enumerate() {
                let drvs: Vec<StorePath> = indexes
                    .iter()
                    .filter_map(|index| Some(items[*index].evaluated.as_ref()?.drv.clone()))
                    .collect();
                let Some((_, source)) = items[indexes[0]].source() else { continue };
                let root = work.join(format!("result-{number}"));
                let nix = self.host.nix();
                let built = nix.realise_all(&drvs, &root, &source.user, context.observer, self.cancel);
                match built {
                    Ok(()) => indexes.iter().for_each(|index| items[*index].held = true),
                    Err(error) => tracing::debug!(%error, "not all could be built in one go"),
                }
            }
            if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        });
    }

    /// `None` where there is nothing to do and nothing to tell.
    fn one(
        self,
        item: &mut Item,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Option<Result<Outcome, Error>> {
        match item.planned {
            Planned::Create => self.create(item, by, observer),
            Planned::Update { .. } => self.update(item, by, observer),
            Planned::Unchanged => Some(self.note(item, by, observer)),
            Planned::Remove { .. } => self.remove(item, by, observer),
            Planned::Orphaned | Planned::Pinned { .. } => Some(Ok(Outcome::Kept)),
            Planned::Blocked => None,
        }
    }

    fn create(
        self,
        item: &mut Item,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Option<Result<Outcome, Error>> {
        let Hold::New(_lock, record) = std::mem::replace(&mut item.hold, Hold::Nothing) else { return None };
        let declared = item.wanted.as_ref().and_then(|(_, what)| by.map(|by| by.declared(what)));
        let order = item.order(declared)?;
        let log = LogRequest::default();
        Some(create::complete(&mut self.context(observer), *record, &order, &log).map(Outcome::Created))
    }

    fn update(
        self,
        item: &Item,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Option<Result<Outcome, Error>> {
        let (name, what) = item.wanted.as_ref()?;
        let order = item.order(by.map(|by| by.declared(what)))?;
        Some((|| {
            let context = &mut self.context(observer);
            let _lock = context.lock(name, Operation::Update)?;
            let record = self.still(name, by, context)?;
            update::update_locked(context, record, &order, &UpdateRequest::default()).map(Outcome::Updated)
        })())
    }

    /// The record of a container whose lock is held, if it is still one for us to change. What the shell original made is
    /// adopted.
    fn still(
        self,
        name: &ContainerName,
        by: Option<&By>,
        context: &mut Context<'_>,
    ) -> Result<Record, Error> {
        let record = adopt::record(context, name)?;
        if !self.take_over && by.is_some_and(|by| !by.owns(&record)) {
            let by = record.declared.map(|declared| declared.source);
            return Err(Error::NotDeclared { name: name.clone(), by });
        }
        Ok(record)
    }

    /// The same generation may have another file, or other arguments.
    fn note(self, item: &Item, by: Option<&By>, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let (Hold::Known(known), Some((name, what))) = (&item.hold, &item.wanted) else {
            return Ok(Outcome::Unchanged);
        };
        let Some(order) = item.order(by.map(|by| by.declared(what))) else { return Ok(Outcome::Unchanged) };
        let noted = |record: &Record| {
            let mut noted = record.clone();
            order.note(&mut noted);
            (noted != *record).then_some(noted)
        };
        if noted(known).is_some() {
            let context = &mut self.context(observer);
            let _lock = context.lock(name, Operation::Update)?;
            if let Some(record) = noted(&self.still(name, by, context)?) {
                record.save(&self.host.layout)?;
            }
        }
        Ok(Outcome::Unchanged)
    }

    /// A running one is shut down cleanly before.
    fn remove(
        self,
        item: &Item,
        by: Option<&By>,
        observer: &mut dyn Observer,
    ) -> Option<Result<Outcome, Error>> {
        let Hold::Known(known) = &item.hold else { return None };
        Some((|| {
            let context = &mut self.context(observer);
            let _lock = context.lock(&known.name, Operation::Destroy)?;
            let alone = Way { take_over: false, ..self };
            let record = match alone.still(&known.name, by, context) {
                Err(Error::NotFound { .. }) => return Ok(Outcome::Removed),
                other => other?,
            };
            let here = presence::look(&self.host.layout, &record)?;
            if here.state == State::Running
                && matches!(record.phase, RecordPhase::Ready | RecordPhase::Switching { .. })
            {
                let request = StopRequest { wait: true, ..StopRequest::default() };
                power::stop_locked(self.host, &record, &request, self.cancel)?;
            }
            destroy::destroy_locked(self.host, record, DestroyRequest { force: false }, self.cancel)?;
            Ok(Outcome::Removed)
        })())
    }
}

/// The order of the changes: after what each is to run after, and by its own order; what goes, goes first, so that
/// addresses are free again.
pub(super) fn order(items: &[Item]) -> Vec<usize> {
    let is_first = Item::goes;
    let first = items.iter().enumerate().filter(|(_, item)| is_first(item)).map(|(index, _)| index);
    let rest: Vec<(usize, &str, Option<&ContainerSpec>)> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| !is_first(item))
        .map(|(index, item)| (index, item.name.as_str(), item.spec()))
        .collect();
    first.chain(sorted(&rest)).collect()
}

/// Where the `after` of some go in a circle, those come last, by their order alone.
fn sorted(items: &[(usize, &str, Option<&ContainerSpec>)]) -> Vec<usize> {
    let known: BTreeSet<&str> = items.iter().map(|(_, name, _)| *name).collect();
    let rank = |spec: Option<&ContainerSpec>| spec.map_or(0, |spec| spec.autostart.order);
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (_, name, spec) in items {
        let after = spec.map(|spec| spec.autostart.after.as_slice()).unwrap_or_default();
        let after =
            after.iter().map(ContainerName::as_str).filter(|other| known.contains(other) && other != name);
        waits.insert(name, after.collect());
    }
    let mut ready: BinaryHeap<Reverse<(i64, &str, usize)>> = BinaryHeap::new();
    let mut order = Vec::new();
    let mut left: BTreeMap<&str, (i64, usize)> =
        items.iter().map(|(index, name, spec)| (*name, (rank(*spec), *index))).collect();
    loop {
        let free: Vec<&str> = left.keys().copied().filter(|name| waits[name].is_empty()).collect();
        for name in free {
            if let Some((rank, index)) = left.remove(name) {
                ready.push(Reverse((rank, name, index)));
            }
        }
        let Some(Reverse((_, name, index))) = ready.pop() else { break };
        order.push(index);
        waits.values_mut().for_each(|after| {
            after.remove(name);
        });
    }
    let mut circle: Vec<(i64, &str, usize)> =
        left.into_iter().map(|(name, (rank, index))| (rank, name, index)).collect();
    circle.sort_unstable();
    order.extend(circle.into_iter().map(|(_, _, index)| index));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::idmap::IdMapKind;
    use crate::model::spec::{Autostart, Effective, NetworkSpec};

    fn spec(order: i64, after: &[&str]) -> ContainerSpec {
        ContainerSpec {
            schema: 1,
            name: None,
            autostart: Autostart {
                enable: true,
                order,
                delay: 0,
                after: after.iter().map(|name| name.parse().unwrap()).collect(),
            },
            network: NetworkSpec::default(),
            resources: crate::model::resources::Resources::default(),
            features: crate::model::features::Features::default(),
            devices: crate::model::devices::Devices::default(),
            lxc_extra_config: String::new(),
            idmap: IdMapKind::default(),
            store: None,
            effective: Effective::default(),
            original: false,
        }
    }

    fn check(items: &[(&str, i64, &[&str])], expected: &[&str]) {
        let specs: Vec<ContainerSpec> = items.iter().map(|(_, order, after)| spec(*order, after)).collect();
        let given: Vec<(usize, &str, Option<&ContainerSpec>)> =
            items.iter().enumerate().map(|(index, (name, ..))| (index, *name, Some(&specs[index]))).collect();
        let names: Vec<&str> = sorted(&given).into_iter().map(|index| items[index].0).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn what_others_need_comes_first() {
        check(&[("a", 0, &["c"]), ("b", 0, &[]), ("c", 0, &["b", "elsewhere"])], &["b", "c", "a"]);
        check(&[("a", 2, &[]), ("b", 1, &[]), ("c", -1, &["a"])], &["b", "a", "c"]);
        check(&[("a", 0, &["a"]), ("b", 0, &[])], &["a", "b"]);
    }

    #[test]
    fn a_circle_comes_last_and_whole() {
        check(&[("a", 1, &["b"]), ("b", 0, &["a"]), ("c", 5, &[])], &["c", "b", "a"]);
    }
}
