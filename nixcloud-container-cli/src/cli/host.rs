//! host.

use clap::Subcommand;

/// What is to be done with the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub(crate) enum HostCommand {
    /// Make what is missing; what is there stays
    ///
    /// Bridges, packet filter, forwarding, names and addresses for guests, ids kept from users of the host, limits of the
    /// kernel. Running containers notice nothing. It is what nixcloud-container-network.service does at boot.
    Up,
    /// Remove what `host up` made
    ///
    /// Settings of the kernel get the values back that they had. It is refused, and changes nothing, while a container is
    /// attached to one of the bridges.
    Down,
    /// Say what is missing or wrong, and how to mend it; exit with 1 then
    ///
    /// It changes nothing. What is `off` is a matter of choice, and no reason to exit with 1.
    Check,
}
