//! Start and end with the host: all containers whose current generation says so, in their order.
//!
//! ```text
//! specs --plan--> order, tiers, what cannot be followed --schedule--> whose turn it is --crew--> threads, each with one
//!       (pure)                                             (pure)                               start or stop
//! ```

mod crew;
mod plan;
mod schedule;
mod start;
mod stop;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::error::Error;
use crate::host::Host;
use crate::model::name::ContainerName;
use crate::model::spec::Autostart;
use crate::store::history::Generations;
pub use plan::AfterError;
use plan::{Plan, Wish};
pub(crate) use start::start_all;
pub use start::{AutostartOutcome, AutostartRequest, Autostarted};
pub(crate) use stop::stop_all;
pub use stop::{AutostopOutcome, AutostopRequest, Autostopped};

/// The containers of a host by what they say about its start.
struct Gathered {
    wishes: Vec<Wish>,
    /// They do not start with the host.
    others: BTreeSet<ContainerName>,
    /// They may: what they say cannot be read.
    broken: Vec<(ContainerName, Error)>,
}

impl Gathered {
    fn new(host: &Host) -> Result<Self, Error> {
        let mut all = Self { wishes: Vec::new(), others: BTreeSet::new(), broken: Vec::new() };
        for name in host.names()? {
            match read(host, &name) {
                Ok(Some(said)) if said.enable => all.wishes.push(Wish {
                    name,
                    order: said.order,
                    delay: Duration::from_secs(said.delay.into()),
                    after: said.after,
                }),
                Ok(Some(_)) => drop(all.others.insert(name)),
                Ok(None) => {}
                Err(error) => all.broken.push((name, error)),
            }
        }
        Ok(all)
    }

    fn plan(&mut self) -> Plan {
        let broken = self.broken.iter().map(|(name, _)| name.clone()).collect();
        Plan::new(std::mem::take(&mut self.wishes), &self.others, &broken)
    }
}

/// What the generation of a container says that boots at its next start; `None` of one that is being made or removed.
fn read(host: &Host, name: &ContainerName) -> Result<Option<Autostart>, Error> {
    let record = match host.record(name) {
        // Destroyed since the folder was read.
        Err(Error::NotFound { .. }) => return Ok(None),
        other => other?,
    };
    let generations = Generations::new(&host.layout, name);
    if record.phase.is_unfinished() {
        return Ok(None);
    }
    let boots = generations.counting(&record)?.0.map_or_else(|| generations.current(), Ok)?;
    Ok(Some(generations.spec(boots)?.autostart))
}
