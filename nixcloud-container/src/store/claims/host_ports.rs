//! Ports of the host that lead to containers. A port is claimed by the exclusive creation of a file named after it, as
//! addresses are.

use std::io;
use std::path::PathBuf;

use crate::fs::claim::{self, Claim};
use crate::fs::error::FileError;
use crate::model::forward::HostPort;
use crate::model::layout::Layout;
use crate::model::name::ContainerName;
use crate::store::history::GenerationsError;
use crate::store::record::RecordError;

/// A port that cannot be forwarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// Another container has the port.
    #[error("{} of the host leads to container `{owner}` already", .port.words())]
    #[non_exhaustive]
    Taken {
        /// The port.
        port: HostPort,
        /// Whose it is.
        owner: String,
    },
    /// Its claim says of nobody that he has it.
    #[error("{} names no container", .path.display())]
    #[non_exhaustive]
    Damaged {
        /// The claim.
        path: PathBuf,
    },
    /// The container has no address that is known here.
    #[error(
        "no port of the host can lead to container `{name}`: its bridge gives it an address that is not known here"
    )]
    #[non_exhaustive]
    NoAddress {
        /// The container.
        name: ContainerName,
    },
    /// The container has no address of the family that a port of the host is to lead from.
    #[error("{} of the host cannot lead to container `{name}`, of which no {} address is known here", .port.words(), family(*.port))]
    #[non_exhaustive]
    NoAddressOf {
        /// The container.
        name: ContainerName,
        /// The port.
        port: HostPort,
    },
    /// The folder of claims, or one of them, cannot be read.
    #[error(transparent)]
    Read(#[from] FileError),
    /// A claim cannot be written or removed.
    #[error("cannot claim {} of the host", .port.words())]
    #[non_exhaustive]
    Claim {
        /// The port.
        port: HostPort,
        /// The error that this one follows from.
        source: claim::Error,
    },
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The generations of a container cannot be read.
    #[error(transparent)]
    Generations(#[from] GenerationsError),
}

fn family(port: HostPort) -> &'static str {
    if port.listen.is_some_and(|listen| listen.is_ipv6()) { "IPv6" } else { "IPv4" }
}

/// Claims a port. Claiming one's own again is no error.
///
/// # Errors
/// When another container has it, by name, or the claim cannot be written.
pub(crate) fn claim(layout: &Layout, owner: &ContainerName, port: HostPort) -> Result<(), ForwardError> {
    match claim::create(&layout.host_port(port), owner.as_str().as_bytes()) {
        Ok(Claim::New | Claim::Ours) => Ok(()),
        Ok(Claim::Held { contents }) => {
            let owner = String::from_utf8_lossy(&contents).trim().to_owned();
            if owner.parse::<ContainerName>().is_err() {
                return Err(ForwardError::Damaged { path: layout.host_port(port) });
            }
            Err(ForwardError::Taken { port, owner })
        }
        Err(source) => Err(ForwardError::Claim { port, source }),
    }
}

/// That ports that were just claimed meet none of another container's: claims are told apart by their names alone. Of two
/// that claim such ports in one moment both may be refused.
///
/// # Errors
/// When another container has one, by name.
pub(crate) fn require_sole(
    layout: &Layout,
    owner: &ContainerName,
    ports: impl Iterator<Item = HostPort>,
) -> Result<(), ForwardError> {
    let mut others = claims(layout)?;
    others.retain(|(_, theirs)| theirs != owner);
    for port in ports {
        // They are sorted by protocol and port first.
        let from =
            others.partition_point(|(other, _)| (other.protocol, other.port) < (port.protocol, port.port));
        let same = others[from..]
            .iter()
            .take_while(|(other, _)| (other.protocol, other.port) == (port.protocol, port.port));
        if let Some((port, owner)) = same.into_iter().find(|(other, _)| other.overlaps(port)) {
            return Err(ForwardError::Taken { port: *port, owner: owner.to_string() });
        }
    }
    Ok(())
}

/// Gives a port back. One that is not the owner's stays.
///
/// # Errors
/// When the claim cannot be removed.
pub(crate) fn free(layout: &Layout, owner: &ContainerName, port: HostPort) -> Result<(), ForwardError> {
    claim::release(&layout.host_port(port), owner.as_str().as_bytes())
        .map(drop)
        .map_err(|source| ForwardError::Claim { port, source })
}

/// The ports that are claimed, each with its owner.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn claims(layout: &Layout) -> Result<Vec<(HostPort, ContainerName)>, ForwardError> {
    let folder = layout.host_ports();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FileError::new("read", &folder, source).into()),
    };
    let ports = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<HostPort>().ok());
    let mut claims = Vec::new();
    for port in ports {
        let path = layout.host_port(port);
        match std::fs::read_to_string(&path) {
            Ok(owner) => claims.extend(owner.trim().parse().ok().map(|owner| (port, owner))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(FileError::new("read", &path, source).into()),
        }
    }
    claims.sort();
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::config::HostConfig;

    fn lab() -> (tempfile::TempDir, Layout) {
        let root = tempfile::tempdir().unwrap();
        let config = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let layout = Layout::new(&config).unwrap();
        for folder in layout.state_dirs() {
            std::fs::create_dir_all(folder).unwrap();
        }
        (root, layout)
    }

    fn port(text: &str) -> HostPort {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_has_one_owner_who_is_named() {
        let (_root, layout) = lab();
        let (web, db): (ContainerName, ContainerName) = ("web".parse().unwrap(), "db".parse().unwrap());
        claim(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &db, port("udp-80")).unwrap();
        let error = claim(&layout, &db, port("tcp-80")).unwrap_err();
        assert_eq!(error.to_string(), "tcp port 80 of the host leads to container `web` already");
        free(&layout, &db, port("tcp-80")).unwrap();
        assert_eq!(
            claims(&layout).unwrap(),
            [(port("tcp-80"), web.clone()), (port("udp-80"), db.clone())],
            "freed by a stranger"
        );
        free(&layout, &web, port("tcp-80")).unwrap();
        free(&layout, &web, port("tcp-80")).unwrap();
        claim(&layout, &db, port("tcp-80")).unwrap();
    }

    #[test]
    fn ports_that_meet_have_one_owner_and_others_have_several() {
        let (_root, layout) = lab();
        let (web, db): (ContainerName, ContainerName) = ("web".parse().unwrap(), "db".parse().unwrap());
        let sole = |owner: &ContainerName, ports: &[&str]| {
            require_sole(&layout, owner, ports.iter().map(|text| port(text)))
                .map_err(|error| error.to_string())
        };
        for text in ["tcp-80@192.0.2.1", "tcp-443", "udp-80"] {
            claim(&layout, &web, port(text)).unwrap();
        }
        sole(&web, &["tcp-80@192.0.2.1", "tcp-443"]).unwrap();
        sole(&db, &["tcp-80@192.0.2.2", "tcp-80@2001:db8::1", "tcp-81"]).unwrap();
        let refusal =
            |place: &str| Err(format!("tcp port {place} of the host leads to container `web` already"));
        assert_eq!(sole(&db, &["tcp-81", "tcp-80"]), refusal("192.0.2.1:80"));
        assert_eq!(sole(&db, &["tcp-443@192.0.2.1"]), refusal("443"));
    }
}
