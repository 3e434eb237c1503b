//! Reading a host configuration, and what it cannot be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{DEFAULT_PATH, HostConfig};
use crate::model::spec::SpecError;

/// A host configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the host configuration {}", .path.display())]
    #[non_exhaustive]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// What a file says cannot be used.
    #[error("the host configuration {} is not valid", .path.display())]
    #[non_exhaustive]
    File {
        /// The file.
        path: PathBuf,
        /// The error that this one follows from.
        source: Box<ConfigError>,
    },
    /// It is not TOML, or has a key or value that does not belong there.
    #[error("{}", .0.to_string().trim_end())]
    Toml(toml::de::Error),
    /// A value that cannot be.
    #[error("{key} cannot be {value}: {why}")]
    #[non_exhaustive]
    Value {
        /// The key.
        key: &'static str,
        /// The value that it has.
        value: String,
        /// Why not.
        why: &'static str,
    },
    /// A limit of all containers that cannot be.
    #[error("`limits.{table}`: {source}")]
    #[non_exhaustive]
    Allowance {
        /// The table that it is in.
        table: &'static str,
        /// The error that this one follows from.
        source: SpecError,
    },
    /// A default that no container is given.
    #[error("limits.defaults.{key} cannot be {value}: the ceiling is {most}")]
    #[non_exhaustive]
    Ceiling {
        /// The key.
        key: String,
        /// The default.
        value: String,
        /// What `limits.ceilings` or `limits.pids` says.
        most: String,
    },
}

impl HostConfig {
    /// Reads the file at `path`; with `None` the one at [`DEFAULT_PATH`], whose absence means all defaults.
    ///
    /// # Errors
    /// When the file cannot be read or is not valid.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let file = path.unwrap_or(Path::new(DEFAULT_PATH));
        match std::fs::read_to_string(file) {
            Ok(text) => Self::from_toml(&text)
                .map_err(|error| ConfigError::File { path: file.to_owned(), source: Box::new(error) }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && path.is_none() => {
                Ok(Self::default())
            }
            Err(source) => Err(ConfigError::Read { path: file.to_owned(), source }),
        }
    }

    /// Reads a configuration from TOML.
    ///
    /// # Errors
    /// When it is not valid.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(ConfigError::Toml)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let absolute = |key, path: &Path| {
            if path.is_absolute() && !path.components().any(|part| part == std::path::Component::ParentDir) {
                Ok(())
            } else {
                let why = "an absolute path without `..` is needed";
                Err(ConfigError::Value { key, value: path.display().to_string(), why })
            }
        };
        absolute("root", &self.root)?;
        absolute("paths.lxc", &self.paths.lxc)?;
        absolute("paths.profiles", &self.paths.profiles)?;
        absolute("paths.state", &self.paths.state)?;
        let (hostonly, internet) = (&self.network.hostonly, &self.network.internet);
        for (key, address) in [("network.hostonly", hostonly.address), ("network.internet", internet.address)]
        {
            if !(8..=30).contains(&address.prefix()) {
                return Err(ConfigError::Value {
                    key,
                    value: address.to_string(),
                    why: "its prefix length is to be 8 to 30",
                });
            }
            if address.ip() == address.network() || address.ip() == address.broadcast() {
                let why = "it is the address of the network or of the broadcast, not of the host";
                return Err(ConfigError::Value { key, value: address.to_string(), why });
            }
        }
        if self.network.hostonly.bridge == self.network.internet.bridge {
            let value = self.network.internet.bridge.to_string();
            let why = "both networks would share one bridge";
            return Err(ConfigError::Value { key: "network.internet.bridge", value, why });
        }
        if hostonly.address.overlaps(internet.address) {
            let value = internet.address.to_string();
            let why = "both networks would have the same addresses";
            return Err(ConfigError::Value { key: "network.internet.address", value, why });
        }
        internet.check()?;
        let mut reserved = BTreeSet::new();
        for address in self.network.reserved.values() {
            if !reserved.insert(address) {
                let why = "it is kept for two containers";
                return Err(ConfigError::Value { key: "network.reserved", value: address.to_string(), why });
            }
            let network = hostonly.address;
            if !network.contains(*address)
                || [network.network(), network.ip(), network.broadcast()].contains(address)
            {
                let why = "it is no address of a container in the host-only network";
                return Err(ConfigError::Value { key: "network.reserved", value: address.to_string(), why });
            }
        }
        if let Some(value) = self.allow_devices.iter().find(|path| !path.starts_with("/dev/")) {
            let why = "a device of the host is a path below /dev";
            return Err(ConfigError::Value { key: "allow_devices", value: value.clone(), why });
        }
        self.limits.check()?;
        self.ids.check()
    }
}
