//! What a container needs that is not its own: folders, bridges, what its file mounts. A start refuses what is missing, and
//! what comes before a start tells of it.

use crate::error::Error;
use crate::host::Host;
use crate::host::context::Context;
use crate::host::parts;
use crate::model::name::{ContainerName, InterfaceName};
use crate::model::note::{GuestNote, NetworkNote};
use crate::model::spec::ContainerSpec;
use crate::net::Netlink;
use crate::render::warnings;
use crate::render::{self, Rendered};

/// Tells what of the container's network is seldom meant, and what it needs and does not find.
pub(crate) fn tell(
    context: &mut Context<'_>,
    spec: &ContainerSpec,
    rendered: &Rendered,
) -> Result<(), Error> {
    let host = context.host;
    for warning in warnings::of(&host.config, spec) {
        context.tell(warning);
    }
    // Not refused: a host is prepared, and its disks are mounted, before or after the container is made.
    for bridge in missing_bridges(host, spec)? {
        context.tell(NetworkNote::NoBridge { ours: is_ours(host, &bridge), bridge });
    }
    for path in rendered.needed.iter().filter(|path| path.metadata().is_err()) {
        context.tell(GuestNote::NoMountSource { path: path.clone() });
    }
    Ok(())
}

/// LXC's own lines of a missing root file system name half of it.
pub(crate) fn require_folders(host: &Host, name: &ContainerName) -> Result<(), Error> {
    let folders = [host.layout.rootfs(name), host.layout.locked(name)];
    match folders.into_iter().find(|folder| !folder.is_dir()) {
        Some(path) => Err(Error::Lost { name: name.clone(), path }),
        None => Ok(()),
    }
}

/// LXC's own message for a missing bridge is "failed to create network devices".
pub(crate) fn require_bridges(host: &Host, spec: &ContainerSpec) -> Result<(), Error> {
    parts::require_own(host, &bridges(host, spec))?;
    match missing_bridges(host, spec)?.into_iter().next() {
        Some(bridge) => Err(Error::NoBridge { ours: is_ours(host, &bridge), bridge }),
        None => Ok(()),
    }
}

/// What the container file mounts has to be there; LXC's own message names the guest's side of it alone.
pub(crate) fn require_sources(name: &ContainerName, rendered: &Rendered) -> Result<(), Error> {
    for path in &rendered.needed {
        if let Err(source) = path.metadata() {
            return Err(Error::MountSource { name: name.clone(), path: path.clone(), source });
        }
    }
    Ok(())
}

/// Whether preparing the host makes a bridge.
fn is_ours(host: &Host, bridge: &InterfaceName) -> bool {
    let network = &host.config.network;
    *bridge == network.hostonly.bridge || *bridge == network.internet.bridge
}

/// The bridges that a container is on.
fn bridges<'a>(host: &'a Host, spec: &'a ContainerSpec) -> Vec<&'a InterfaceName> {
    let second = spec.network.enable_nat.then_some(&host.config.network.internet.bridge);
    std::iter::once(render::bridge(spec, &host.config)).chain(second).collect()
}

/// The bridges that a container needs and that are not there.
fn missing_bridges(host: &Host, spec: &ContainerSpec) -> Result<Vec<InterfaceName>, Error> {
    let mut netlink = Netlink::open()?;
    let mut missing = Vec::new();
    for bridge in bridges(host, spec) {
        if netlink.link(bridge.as_str())?.is_none() {
            missing.push(bridge.clone());
        }
    }
    Ok(missing)
}
