//! What the changes of a plan would be refused for: names, addresses and ports of the host that somebody else has or that two of
//! the plan want, and states that allow no change. All of it is known before anything is built, so a plan says it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use super::Way;
use super::changes;
use super::item::{Hold, Item};
use crate::build::instantiate::Evaluated;
use crate::error::Error;
use crate::model::forward::{Forward, HostPort};
use crate::model::name::ContainerName;
use crate::model::observe::Observer;
use crate::model::spec::ContainerSpec;
use crate::model::state::{Action, Permission, State};
use crate::ops::claim;
use crate::ops::destroy;
use crate::ops::devices;
use crate::ops::limits;
use crate::store::claims::host_ports::{self, ForwardError};
use crate::store::claims::{Foreign, LeaseError, Leases};
use crate::store::presence;
use crate::store::record::Record;
use crate::store::routes;

/// What the claims on disk will be by the turn of one change: those before it have been made.
#[derive(Default)]
struct Claims {
    addresses: BTreeMap<IpAddr, ContainerName>,
    freed_addresses: BTreeSet<IpAddr>,
    ports: Vec<(HostPort, ContainerName)>,
}

impl Way<'_> {
    /// Goes through the changes in their order, and blocks those that would be refused.
    pub(super) fn foresee(self, items: &mut [Item], observer: &mut dyn Observer) -> Result<(), Error> {
        let foreign = claim::others(self.host)?;
        let ports = host_ports::claims(&self.host.layout)?;
        let mut claims = Claims { ports, ..Claims::default() };
        for index in changes::order(items) {
            let item = &mut items[index];
            if let Err(error) = self.one_foreseen(item, &foreign, &mut claims, observer) {
                item.block(error);
            }
        }
        Ok(())
    }

    fn one_foreseen(
        self,
        item: &Item,
        foreign: &Foreign,
        claims: &mut Claims,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let live = match &item.hold {
            Hold::Known(record) if item.goes() => {
                destroy::require_unmounted(self.host, &record.name)?;
                // A running one is shut down before.
                self.permitted(record, Action::Destroy, &[State::Running])?;
                claims.give_back(record, |_| false, |_| false);
                return Ok(());
            }
            Hold::Known(record) if item.is_change() => self.permitted(record, Action::Update, &[])?.is_live(),
            _ => false,
        };
        let (Some((name, _)), Some(spec), true) = (&item.wanted, item.spec(), item.is_change()) else {
            return Ok(());
        };
        let overrides = match &item.hold {
            Hold::Known(record) => limits::overrides(record, true),
            Hold::New(..) | Hold::Nothing => None,
        };
        limits::refuse_above(self.host, name, spec, overrides)?;
        // The change itself says it, once more.
        let mut nobody = ();
        let observer: &mut dyn Observer = if self.dry_run { observer } else { &mut nobody };
        let mut context = self.context(observer);
        limits::require(&mut context, name, spec, overrides)?;
        devices::require(&mut context, name, spec)?;
        let offered = item.evaluated.as_ref().is_some_and(Evaluated::takes_offer);
        let four = spec.effective.ip.filter(|_| !offered).map(IpAddr::from);
        let addresses: Vec<IpAddr> = four.into_iter().chain(spec.network.ip6.map(IpAddr::from)).collect();
        for address in &addresses {
            self.address_foreseen(name, *address, foreign, claims)?;
        }
        let ports: Vec<HostPort> = spec.network.forwards.iter().map(Forward::host).collect();
        routes::require_address(&self.host.config, &self.as_it_will_be(item, name, spec), spec)?;
        for port in &ports {
            claims.port_foreseen(name, *port)?;
        }
        claims.addresses.extend(addresses.iter().map(|address| (*address, name.clone())));
        claims.ports.extend(ports.iter().map(|port| (*port, name.clone())));
        if let Hold::Known(record) = &item.hold {
            // A running guest keeps the addresses that it was booted with until it ends.
            claims.give_back(
                record,
                |address| live || addresses.contains(address),
                |port| ports.contains(port),
            );
        }
        Ok(())
    }

    /// Whether a container's state lets it be changed so, as far as it does not pass by itself.
    fn permitted(self, record: &Record, action: Action, also: &[State]) -> Result<State, Error> {
        let state = presence::look(&self.host.layout, record)?.state;
        if state.permits(action) == Permission::Refused && !also.contains(&state) {
            return Err(Error::State { name: record.name.clone(), state, action });
        }
        Ok(state)
    }

    fn address_foreseen(
        self,
        name: &ContainerName,
        address: IpAddr,
        foreign: &Foreign,
        claims: &Claims,
    ) -> Result<(), Error> {
        if let Some(owner) = claims.addresses.get(&address).filter(|owner| *owner != name) {
            return Err(LeaseError::AddressTaken { address, owner: owner.to_string() }.into());
        }
        match Leases::new(&self.host.layout, &self.host.config).may_have(name, address, foreign) {
            Err(LeaseError::AddressTaken { .. }) if claims.freed_addresses.contains(&address) => Ok(()),
            other => Ok(other?),
        }
    }

    /// The record by the time that its ports are claimed: with an address on the bridge that leads out, where it wants one.
    fn as_it_will_be(self, item: &Item, name: &ContainerName, spec: &ContainerSpec) -> Record {
        let mut record = match &item.hold {
            Hold::Known(record) | Hold::New(_, record) => (**record).clone(),
            Hold::Nothing => Record::new(name.clone(), PathBuf::new(), Vec::new()),
        };
        if spec.network.enable_nat && record.internet.is_none() {
            record.internet = Some(self.host.config.network.internet.range().0);
        }
        record
    }
}

impl Claims {
    fn port_foreseen(&self, name: &ContainerName, port: HostPort) -> Result<(), ForwardError> {
        let meets = |(theirs, owner): &&(HostPort, ContainerName)| owner != name && theirs.overlaps(port);
        match self.ports.iter().find(meets) {
            Some((port, owner)) => Err(ForwardError::Taken { port: *port, owner: owner.to_string() }),
            None => Ok(()),
        }
    }

    /// What a container has, but for what it keeps, is free from here on.
    fn give_back(
        &mut self,
        record: &Record,
        keeps: impl Fn(&IpAddr) -> bool,
        keeps_port: impl Fn(&HostPort) -> bool,
    ) {
        let four = record.fixed.iter().copied().map(IpAddr::from);
        let all = four.chain(record.fixed6.iter().copied().map(IpAddr::from));
        self.freed_addresses.extend(all.filter(|address| !keeps(address)));
        self.ports.retain(|(port, owner)| *owner != record.name || keeps_port(port));
    }
}
