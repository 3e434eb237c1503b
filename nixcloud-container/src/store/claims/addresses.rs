//! Addresses: one folder of claims for all bridges, so that no two containers have the same one anywhere.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::Ipv4Network;

use super::{Foreign, LeaseError, Leases, names, read_owner};
use crate::model::name::ContainerName;

impl Leases<'_> {
    /// Claims an address of the host-only pool: the one that the host configuration keeps for this owner, else the
    /// lowest free one. `intend` is told each address before it is tried, and notes it durably: so no claim is ever
    /// without somebody who would give it back.
    ///
    /// # Errors
    /// When none is free, somebody has the reserved one, `intend` fails, or the claim cannot be written.
    pub fn lease_address<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        foreign: &Foreign,
        intend: &mut dyn FnMut(Ipv4Addr) -> Result<(), E>,
    ) -> Result<Ipv4Addr, E> {
        if let Some(reserved) = self.reserved(owner) {
            intend(reserved)?;
            self.fix_address(owner, reserved.into(), foreign)?;
            return Ok(reserved);
        }
        let pool = self.config.network.hostonly.address;
        self.lowest_free(owner, pool.iter(), &pool.to_string(), foreign, intend)
    }

    /// Claims the lowest free address of the range of the bridge that leads out; as
    /// [`lease_address`](Self::lease_address).
    ///
    /// # Errors
    /// When none is free, `intend` fails, or the claim cannot be written.
    pub fn lease_internet<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        foreign: &Foreign,
        intend: &mut dyn FnMut(Ipv4Addr) -> Result<(), E>,
    ) -> Result<Ipv4Addr, E> {
        let (first, last) = self.config.network.internet.range();
        let range = (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from);
        self.lowest_free(owner, range, &format!("{first} to {last}"), foreign, intend)
    }

    fn lowest_free<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        range: impl Iterator<Item = Ipv4Addr>,
        pool: &str,
        foreign: &Foreign,
        intend: &mut dyn FnMut(Ipv4Addr) -> Result<(), E>,
    ) -> Result<Ipv4Addr, E> {
        let mut taken = names::<Ipv4Addr>(&self.layout.addresses())?;
        let others = foreign.host_addresses.iter().chain(&foreign.addresses);
        taken.extend(others.filter_map(|(address, _)| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        }));
        taken.extend(
            self.networks()
                .into_iter()
                .flat_map(|(_, network)| [network.network(), network.ip(), network.broadcast()]),
        );
        taken.extend(self.config.network.reserved.values());
        for address in range.filter(|address| !taken.contains(address)) {
            intend(address)?;
            // Another create may have been quicker since the folder was read: then the next one.
            if self.claim(&self.layout.address(address.into()), owner.as_str(), &address.to_string())? {
                return Ok(address);
            }
        }
        Err(LeaseError::AddressesExhausted { pool: pool.to_owned() }.into())
    }

    /// Claims a fixed address, of whichever bridge. Claiming one's own again is no error.
    ///
    /// # Errors
    /// When somebody else has it or it is kept for somebody else, by name; when it is no address for a container; or
    /// when the claim cannot be written.
    pub fn fix_address(
        &self,
        owner: &ContainerName,
        address: IpAddr,
        foreign: &Foreign,
    ) -> Result<(), LeaseError> {
        refuse_strangers(owner, address, foreign)?;
        let path = self.layout.address(address);
        // What the host configuration forbids since it was claimed does not take it from its owner.
        if read_owner(&path)?.as_deref() != Some(owner.as_str()) {
            self.refuse(owner, address)?;
        }
        loop {
            if self.claim(&path, owner.as_str(), &address.to_string())? {
                return Ok(());
            }
            match read_owner(&path)? {
                Some(theirs) if theirs == owner.as_str() => return Ok(()),
                Some(theirs) if theirs.parse::<ContainerName>().is_err() => {
                    return Err(LeaseError::Damaged { path });
                }
                Some(owner) => return Err(LeaseError::AddressTaken { address, owner }),
                // Freed in between.
                None => {}
            }
        }
    }

    /// Whether a container may have a fixed address as things are now. Nothing is claimed.
    ///
    /// # Errors
    /// As [`fix_address`](Self::fix_address).
    pub fn may_have(
        &self,
        owner: &ContainerName,
        address: IpAddr,
        foreign: &Foreign,
    ) -> Result<(), LeaseError> {
        refuse_strangers(owner, address, foreign)?;
        match read_owner(&self.layout.address(address))? {
            Some(theirs) if theirs == owner.as_str() => Ok(()),
            theirs => {
                self.refuse(owner, address)?;
                theirs.map_or(Ok(()), |owner| Err(LeaseError::AddressTaken { address, owner }))
            }
        }
    }

    /// Gives an address back. One that is not the owner's stays.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    pub fn free_address(&self, owner: &ContainerName, address: IpAddr) -> Result<(), LeaseError> {
        self.release(&self.layout.address(address), owner.as_str(), &address.to_string())
    }

    /// The address that the host configuration keeps for a container.
    #[must_use]
    pub fn reserved(&self, owner: &ContainerName) -> Option<Ipv4Addr> {
        self.config.network.reserved.get(owner).copied()
    }

    /// The other container that it keeps an address for.
    #[must_use]
    pub fn reserved_for_another(&self, owner: &ContainerName, address: IpAddr) -> Option<&ContainerName> {
        let mut reserved = self.config.network.reserved.iter();
        reserved
            .find(|(name, theirs)| *name != owner && IpAddr::V4(**theirs) == address)
            .map(|(name, _)| name)
    }

    /// What the host configuration says against an address. The bridges need not be up.
    fn refuse(&self, owner: &ContainerName, address: IpAddr) -> Result<(), LeaseError> {
        if let Some(name) = self.reserved_for_another(owner, address) {
            return Err(LeaseError::AddressReserved { address, name: name.clone() });
        }
        for (bridge, network) in self.networks() {
            if address == IpAddr::V4(network.ip()) {
                return Err(LeaseError::HostAddress { address, interface: bridge.to_owned() });
            }
            let ends = [network.network(), network.broadcast()];
            if ends.into_iter().any(|end| address == IpAddr::V4(end)) {
                return Err(LeaseError::NetworkAddress { address, network: network.into() });
            }
        }
        if let (IpAddr::V6(inside), Some(ipv6)) = (address, &self.config.network.internet.ipv6)
            && ipv6.address.contains(inside)
        {
            let prefix = ipv6.address;
            return Err(LeaseError::RoutedPrefix { address, prefix });
        }
        Ok(())
    }

    /// The networks of our bridges.
    fn networks(&self) -> [(&str, Ipv4Network); 2] {
        let networks = &self.config.network;
        [
            (networks.hostonly.bridge.as_str(), networks.hostonly.address),
            (networks.internet.bridge.as_str(), networks.internet.address),
        ]
    }
}

/// What the host has, and what containers have that are none of ours.
fn refuse_strangers(owner: &ContainerName, address: IpAddr, foreign: &Foreign) -> Result<(), LeaseError> {
    if let Some((_, interface)) = foreign.host_addresses.iter().find(|(theirs, _)| *theirs == address) {
        return Err(LeaseError::HostAddress { address, interface: interface.clone() });
    }
    // One that the shell original made is a stranger until it is adopted.
    let is_theirs = |(theirs, name): &&(IpAddr, String)| *theirs == address && name != owner.as_str();
    match foreign.addresses.iter().find(is_theirs) {
        Some((_, owner)) => Err(LeaseError::AddressTaken { address, owner: owner.clone() }),
        None => Ok(()),
    }
}
