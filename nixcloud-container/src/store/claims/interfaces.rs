//! Interface identities: what follows from a container's name, unless another container has that already.

use super::{Foreign, LeaseError, Leases, read_owner};
use crate::model::interface::InterfaceId;
use crate::model::name::ContainerName;

/// How many are tried. With 10,000 containers the first is taken once in 400,000 creates.
const ATTEMPTS: u32 = 100;

impl Leases<'_> {
    /// Claims the first free identity of a container. `intend` is told each before it is tried, as with
    /// [`lease_address`](Self::lease_address).
    ///
    /// # Errors
    /// When none is free, `intend` fails, or the claim cannot be written.
    pub fn claim_interface<E: From<LeaseError>>(
        &self,
        owner: &ContainerName,
        foreign: &Foreign,
        intend: &mut dyn FnMut(InterfaceId) -> Result<(), E>,
    ) -> Result<InterfaceId, E> {
        for attempt in 0..ATTEMPTS {
            let id = InterfaceId::of(self.layout.lxc_path(), owner, attempt);
            let path = self.layout.interface(id);
            let owns = read_owner(&path)?;
            if owns.as_deref() == Some(owner.as_str()) {
                intend(id)?;
                return Ok(id);
            }
            // Containers of another LXC path have claims of their own; while they run they are seen.
            if owns.is_some() || foreign.interfaces.contains(&id) {
                continue;
            }
            intend(id)?;
            if self.claim(&path, owner.as_str(), &format!("interface names with {id}"))? {
                return Ok(id);
            }
        }
        Err(LeaseError::InterfacesExhausted.into())
    }

    /// Gives an identity back. One that is not the owner's stays.
    ///
    /// # Errors
    /// When the claim cannot be removed.
    pub fn free_interface(&self, owner: &ContainerName, id: InterfaceId) -> Result<(), LeaseError> {
        self.release(&self.layout.interface(id), owner.as_str(), &format!("interface names with {id}"))
    }
}
