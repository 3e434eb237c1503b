//! Every path of ours, from one root. Nothing else joins paths.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::model::config::HostConfig;
use crate::model::forward::HostPort;
use crate::model::interface::InterfaceId;
use crate::model::name::ContainerName;

/// Where everything is. Paths are canonical: LXC knows a container by the *string* of its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    lxc: PathBuf,
    profiles: PathBuf,
    state: PathBuf,
}

/// The state folder of Nix itself, where it keeps profiles and GC roots.
pub const NIX_STATE: &str = "/nix/var/nix";

/// What the file with a container's limits is called.
pub const LIMITS: &str = "limits";

/// The store that all containers share.
pub const NIX_STORE: &str = "/nix/store";

/// What the name of a GC root begins with that holds what a running guest sees.
pub const SHOWN_ROOT: &str = "shown-";

/// A folder of the layout that cannot be made canonical.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {}", .path.display())]
#[non_exhaustive]
pub struct LayoutError {
    /// The folder.
    pub path: PathBuf,
    /// What the kernel said.
    pub source: std::io::Error,
}

/// Symlinks resolved in the part of `path` that exists; the rest is kept as it is.
fn canonical(path: &Path) -> Result<PathBuf, LayoutError> {
    let mut missing = Vec::new();
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(mut whole) => {
                whole.extend(missing.iter().rev());
                return Ok(whole);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (existing.parent(), existing.file_name()) else {
                    return Err(LayoutError { path: path.to_owned(), source: error });
                };
                // A dangling symlink is not "missing": what it points to must not be made in its place.
                match existing.symlink_metadata() {
                    Ok(meta) if meta.is_symlink() => {
                        return Err(LayoutError { path: existing.to_owned(), source: error });
                    }
                    // Another process has made it since: it is looked at again.
                    Ok(_) => continue,
                    Err(_) => {}
                }
                missing.push(name);
                existing = parent;
            }
            Err(source) => return Err(LayoutError { path: path.to_owned(), source }),
        }
    }
}

impl Layout {
    /// The layout of a host configuration.
    ///
    /// # Errors
    /// When a folder that exists cannot be resolved, or a symlink on the way dangles.
    pub fn new(config: &HostConfig) -> Result<Self, LayoutError> {
        let under_root = |path: &Path| {
            let relative = path.strip_prefix("/").unwrap_or(path);
            canonical(&config.root.join(relative))
        };
        Ok(Self {
            lxc: under_root(&config.paths.lxc)?,
            profiles: under_root(&config.paths.profiles)?,
            state: under_root(&config.paths.state)?,
        })
    }

    /// The LXC path.
    #[must_use]
    pub fn lxc_path(&self) -> &Path {
        &self.lxc
    }

    /// The folder of a container in the LXC path.
    #[must_use]
    pub fn container_dir(&self, name: &ContainerName) -> PathBuf {
        self.lxc.join(name.as_str())
    }

    /// The LXC configuration of a container.
    #[must_use]
    pub fn lxc_config(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join("config")
    }

    /// The seccomp profile of a container. Beside its configuration: LXC reads it at each reboot and each entry, so that it
    /// outlives every upgrade of ours.
    #[must_use]
    pub fn seccomp(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join("seccomp")
    }

    /// The limits of a container's cgroups, for the program that LXC runs at each boot. Beside its configuration, by whose path
    /// that program finds it.
    #[must_use]
    pub fn limits(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join(LIMITS)
    }

    /// The root file system of a container.
    #[must_use]
    pub fn rootfs(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join("rootfs")
    }

    /// The empty folder where the worker's own mount namespace shows the locked read-only sources.
    #[must_use]
    pub fn locked(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join("locked")
    }

    /// Where LXC finds the program that sets the ports of a container: as it was at the start, for as long as the monitor is
    /// there, whatever becomes of its file on the host. Of the worker's own mount namespace, as all in that folder.
    #[must_use]
    pub fn kept_program(&self, name: &ContainerName) -> PathBuf {
        self.locked(name).join("program")
    }

    /// What LXC logged at the last start.
    #[must_use]
    pub fn lxc_log(&self, name: &ContainerName) -> PathBuf {
        self.container_dir(name).join("lxc.log")
    }

    /// The folder of a container's profile: `/init` in the guest.
    #[must_use]
    pub fn profile_dir(&self, name: &ContainerName) -> PathBuf {
        self.profiles.join(name.as_str())
    }

    /// The Nix profile of a container.
    #[must_use]
    pub fn profile(&self, name: &ContainerName) -> PathBuf {
        self.profile_dir(name).join("profile")
    }

    /// The GC root of the generation that the running guest was booted from.
    #[must_use]
    pub fn booted(&self, name: &ContainerName) -> PathBuf {
        self.profile_dir(name).join("booted")
    }

    /// The GC root of the program that sets the ports of the running guest, where that is of the store.
    #[must_use]
    pub fn program_root(&self, name: &ContainerName) -> PathBuf {
        self.profile_dir(name).join("program")
    }

    /// A GC root of what the running guest sees beside the generation that it was booted from. `package` is a name in the store.
    #[must_use]
    pub fn shown_root(&self, name: &ContainerName, package: &str) -> PathBuf {
        self.profile_dir(name).join(format!("{SHOWN_ROOT}{package}"))
    }

    /// The folder of the lists of what a container's packages need, one file a package.
    #[must_use]
    pub fn closures(&self, name: &ContainerName) -> PathBuf {
        self.state.join("closures").join(name.as_str())
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The folder of all records.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.state.join("records")
    }

    /// The record of a container.
    #[must_use]
    pub fn record(&self, name: &ContainerName) -> PathBuf {
        self.records().join(format!("{name}.toml"))
    }

    /// Where a damaged record is kept that was made anew. It is in no list of records.
    #[must_use]
    pub fn damaged_record(&self, name: &ContainerName) -> PathBuf {
        self.records().join(format!("{name}.toml.damaged"))
    }

    /// The folder of what is known of running guests.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state.join("running")
    }

    /// What is known of a container's running guest.
    #[must_use]
    pub fn run(&self, name: &ContainerName) -> PathBuf {
        self.runs().join(format!("{name}.toml"))
    }

    /// The folder of address claims, one file an address, IPv4 and IPv6 of all bridges.
    #[must_use]
    pub fn addresses(&self) -> PathBuf {
        self.state.join("addresses")
    }

    /// The claim of an address.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> PathBuf {
        self.addresses().join(address.to_string())
    }

    /// The folder of id range claims, one file a first id.
    #[must_use]
    pub fn ids(&self) -> PathBuf {
        self.state.join("ids")
    }

    /// The claim of the id range that begins at `base`.
    #[must_use]
    pub fn id_range(&self, base: u32) -> PathBuf {
        self.ids().join(base.to_string())
    }

    /// The folder of claims of the host's ports, one file a port.
    #[must_use]
    pub fn host_ports(&self) -> PathBuf {
        self.state.join("ports")
    }

    /// The claim of a port of the host.
    #[must_use]
    pub fn host_port(&self, port: HostPort) -> PathBuf {
        self.host_ports().join(port.to_string())
    }

    /// The folder of claims of interface identities, one file each.
    #[must_use]
    pub fn interfaces(&self) -> PathBuf {
        self.state.join("interfaces")
    }

    /// The claim of an interface identity.
    #[must_use]
    pub fn interface(&self, id: InterfaceId) -> PathBuf {
        self.interfaces().join(id.to_string())
    }

    /// The folder of the locks of containers.
    #[must_use]
    pub fn container_locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// The lock of a container: held while it is changed.
    #[must_use]
    pub fn container_lock(&self, name: &ContainerName) -> PathBuf {
        self.container_locks().join(name.as_str())
    }

    /// The lock of the pools: held while the users of the shared ids are counted. The dot keeps it apart from names.
    #[must_use]
    pub fn host_lock(&self) -> PathBuf {
        self.state.join("locks").join(".host")
    }

    /// The lock of the host's networks: held while they, or our rules of the packet filter, are changed.
    #[must_use]
    pub fn network_lock(&self) -> PathBuf {
        self.state.join("locks").join(".network")
    }

    /// The folder of the journal of what is done to containers. Nobody needs it: it is made by who writes there, where there is room.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// The newer part of the journal, to whose end lines are added.
    #[must_use]
    pub fn journal_now(&self) -> PathBuf {
        self.journal().join("now")
    }

    /// The part of the journal before that.
    #[must_use]
    pub fn journal_before(&self) -> PathBuf {
        self.journal().join("before")
    }

    /// The folder of work in progress of a container: the request to Nix and the roots of its build.
    #[must_use]
    pub fn work(&self, name: &ContainerName) -> PathBuf {
        self.state.join("work").join(name.as_str())
    }

    /// The folder of notes of settings of the kernel that we changed, one file a setting.
    #[must_use]
    pub fn sysctl(&self) -> PathBuf {
        self.state.join("sysctl")
    }

    /// The note of the lines of `/etc/subuid` and `/etc/subgid` that are ours.
    #[must_use]
    pub fn subids(&self) -> PathBuf {
        self.state.join("subids.toml")
    }

    /// The folder of what our dnsmasqs work with. It is there while the networks of the host are up.
    #[must_use]
    pub fn resolvers(&self) -> PathBuf {
        self.state.join("resolvers")
    }

    /// The configuration of one.
    #[must_use]
    pub fn resolver_config(&self, resolver: &str) -> PathBuf {
        self.resolvers().join(format!("{resolver}.conf"))
    }

    /// The number of its process, which it writes itself.
    #[must_use]
    pub fn resolver_pid(&self, resolver: &str) -> PathBuf {
        self.resolvers().join(format!("{resolver}.pid"))
    }

    /// What it said when it was last started.
    #[must_use]
    pub fn resolver_log(&self, resolver: &str) -> PathBuf {
        self.resolvers().join(format!("{resolver}.log"))
    }

    /// The folder of the names that it tells, one file a container.
    #[must_use]
    pub fn resolver_names(&self, resolver: &str) -> PathBuf {
        self.resolvers().join(resolver)
    }

    /// The folder of DHCP leases, one file a container.
    #[must_use]
    pub fn resolver_leases(&self) -> PathBuf {
        self.resolvers().join("leases")
    }

    /// The folders that must exist before anything is kept, outermost first.
    pub(crate) fn state_dirs(&self) -> [PathBuf; 9] {
        [
            self.records(),
            self.addresses(),
            self.ids(),
            self.host_ports(),
            self.interfaces(),
            self.runs(),
            self.state.join("locks"),
            self.state.join("work"),
            self.state.join("closures"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn under(root: &Path) -> Result<Layout, LayoutError> {
        Layout::new(&HostConfig { root: root.to_owned(), ..HostConfig::default() })
    }

    #[test]
    fn one_root_moves_everything() {
        let root = tempfile::tempdir().unwrap();
        let layout = under(root.path()).unwrap();
        let base = root.path().canonicalize().unwrap();
        let name: ContainerName = "web".parse().unwrap();
        assert_eq!(layout.lxc_config(&name), base.join("var/lib/lxc/web/config"));
        assert_eq!(layout.profile(&name), base.join("nix/var/nix/profiles/nixcloud-container/web/profile"));
        assert_eq!(layout.record(&name), base.join("var/lib/nixcloud/container/records/web.toml"));
    }

    #[test]
    fn symlinks_are_resolved_to_one_string_and_dangling_ones_refused() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().canonicalize().unwrap();
        std::fs::create_dir(base.join("real")).unwrap();
        std::os::unix::fs::symlink("real", base.join("var")).unwrap();
        assert_eq!(under(&base).unwrap().lxc_path(), base.join("real/lib/lxc"));
        std::fs::remove_dir(base.join("real")).unwrap();
        assert!(under(&base).is_err());
    }
}
