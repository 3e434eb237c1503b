//! Limits of a container as the host's configuration writes them: the keys of `resources`, with sizes and processor time as
//! people write them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ConfigError;
use crate::model::resources::{Bytes, CpuTime, IoLimits, Resources};
use crate::model::setters::setters;
use crate::model::spec;

/// What a container has by default, or at most. What is `None` is not said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Allowance {
    /// Memory.
    pub memory: Option<Bytes>,
    /// Memory from which on it is slowed down.
    pub memory_high: Option<Bytes>,
    /// Swap space.
    pub swap: Option<Bytes>,
    /// Processor time.
    pub cpus: Option<CpuTime>,
    /// Processors: `0-3,8`.
    pub cpuset: Option<String>,
    /// Its share where processors are short; others have 100.
    pub cpu_weight: Option<u16>,
    /// Processes and threads; of the ceilings, beside [`Limits::pids`](super::Limits::pids).
    pub pids: Option<u32>,
    /// Its share of a busy disk; others have 100.
    pub io_weight: Option<u16>,
    /// Open files of one process.
    pub open_files: Option<u32>,
    /// Cgroups of its own.
    pub cgroups: Option<u32>,
    /// What block devices of the host do for it in a second.
    pub io: BTreeMap<String, DeviceAllowance>,
    /// Huge pages by their size.
    pub hugepages: BTreeMap<String, Bytes>,
}

setters!(Allowance: "Nothing is said of any limit." {
    with_memory => memory: Option<Bytes>,
    with_memory_high => memory_high: Option<Bytes>,
    with_swap => swap: Option<Bytes>,
    with_cpus => cpus: Option<CpuTime>,
    with_cpuset => cpuset: Option<String>,
    with_cpu_weight => cpu_weight: Option<u16>,
    with_pids => pids: Option<u32>,
    with_io_weight => io_weight: Option<u16>,
    with_open_files => open_files: Option<u32>,
    with_cgroups => cgroups: Option<u32>,
    with_io => io: BTreeMap<String, DeviceAllowance>,
    with_hugepages => hugepages: BTreeMap<String, Bytes>,
});

/// What one block device does for a container in a second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct DeviceAllowance {
    /// Bytes read.
    pub read_bytes: Option<Bytes>,
    /// Bytes written.
    pub write_bytes: Option<Bytes>,
    /// Reads.
    pub read_ops: Option<u64>,
    /// Writes.
    pub write_ops: Option<u64>,
}

setters!(DeviceAllowance: "Nothing is said of the device." {
    with_read_bytes => read_bytes: Option<Bytes>,
    with_write_bytes => write_bytes: Option<Bytes>,
    with_read_ops => read_ops: Option<u64>,
    with_write_ops => write_ops: Option<u64>,
});

impl Allowance {
    /// As a container file asks for it.
    pub(super) fn resources(&self) -> Resources {
        let bytes = |size: Option<Bytes>| size.map(|Bytes(bytes)| bytes);
        let device = |limits: &DeviceAllowance| IoLimits {
            read_bytes: bytes(limits.read_bytes),
            write_bytes: bytes(limits.write_bytes),
            read_ops: limits.read_ops,
            write_ops: limits.write_ops,
        };
        Resources {
            required: true,
            memory: bytes(self.memory),
            memory_high: bytes(self.memory_high),
            swap: bytes(self.swap),
            cpus: self.cpus.map(|CpuTime(thousandths)| thousandths),
            cpuset: self.cpuset.clone(),
            cpu_weight: self.cpu_weight,
            pids: self.pids,
            io_weight: self.io_weight,
            io: self.io.iter().map(|(path, limits)| (path.clone(), device(limits))).collect(),
            hugepages: self.hugepages.iter().map(|(size, Bytes(bytes))| (size.clone(), *bytes)).collect(),
            open_files: self.open_files,
            cgroups: self.cgroups,
        }
    }

    /// Checks the values of a table of that name.
    pub(super) fn check(&self, table: &'static str) -> Result<(), ConfigError> {
        spec::check_resources(&self.resources()).map_err(|source| ConfigError::Allowance { table, source })
    }
}

/// The text of a value that may be a number, too.
struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Text("a size such as \"512M\""))?;
        text.parse().map_err(de::Error::custom)
    }
}

impl Serialize for CpuTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CpuTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Text("a number of processors, or a percentage of one"))?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostConfig;
    use super::*;

    const SOME: &str = "[limits.ceilings]\nmemory = \"2G\"\nswap = 0\ncpus = 0.5\ncpuset = \"0-3\"\npids = 7\n\
                        io = { \"/dev/sda\" = { readBytes = \"10M\", writeOps = 5 } }\nhugepages = { 2MB = \"4M\" }";

    #[test]
    fn values_are_numbers_or_texts_and_survive_toml() {
        let config = HostConfig::from_toml(SOME).unwrap();
        let Allowance { memory, swap, cpus, .. } = config.limits.ceilings;
        assert_eq!((memory, swap, cpus), (Some(Bytes(2 << 30)), Some(Bytes(0)), Some(CpuTime(500))));
        let text = toml::to_string(&config).unwrap();
        assert_eq!(HostConfig::from_toml(&text).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (bad, named) in [
            ("[limits.defaults]\nmemory = \"2 G\"", "is no size"),
            ("[limits.defaults]\nmemory = true", "a size such as"),
            ("[limits.defaults]\nmemory = \"1K\"", "`limits.defaults`: resources.memory cannot be 1K"),
            ("[limits.ceilings]\ncpus = 0", "is no processor time"),
            ("[limits.ceilings]\ncpus = -1", "is no processor time"),
            ("[limits.ceilings]\npids = 0", "`limits.ceilings`: resources.pids cannot be 0"),
            ("[limits.ceilings]\ncpuset = \"a\"", "resources.cpuset cannot be a"),
            ("[limits.ceilings]\nio = { sda = { readOps = 1 } }", "resources.io cannot be sda"),
            ("[limits.ceilings]\nmemory_high = \"1G\"", "memoryHigh"),
            (
                "[limits.defaults]\nmemory = \"2G\"\n[limits.ceilings]\nmemory = \"1G\"",
                "limits.defaults.memory cannot be 2G: the ceiling is 1G",
            ),
        ] {
            let message = HostConfig::from_toml(bad).unwrap_err().to_string();
            assert!(message.contains(named), "{bad}: {message}");
        }
    }
}
