//! Limits that somebody set by hand, in place of those of a generation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::resources::{Bytes, CpuTime, Resources};

/// What was set: the keys of `resources` that have one value, with their values as they were typed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Whether they outlive the generation that they were set for.
    #[serde(default)]
    pub keep: bool,
    /// The keys and their values.
    pub values: BTreeMap<String, String>,
}

/// A key or value that cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// There is no such key, or it has more than one value.
    #[error("`{key}` cannot be set: {} can", KEYS.join(", "))]
    #[non_exhaustive]
    Key {
        /// The key as given.
        key: String,
    },
    /// The value is none of that key's.
    #[error("`{key}` cannot be `{value}`: {why}")]
    #[non_exhaustive]
    Value {
        /// The key.
        key: String,
        /// The value as given.
        value: String,
        /// What the value of this key is to be.
        why: &'static str,
    },
}

/// The value that takes a limit away.
pub const NONE: &str = "none";

/// The keys that can be set: what the kernel changes while the guest runs.
pub const KEYS: [&str; 9] =
    ["memory", "memoryHigh", "swap", "cpus", "cpuset", "cpuWeight", "pids", "ioWeight", "cgroups"];

impl Overrides {
    /// Whether somebody said that nothing is to limit it.
    #[must_use]
    pub fn lifts(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| value == NONE)
    }

    /// What a generation's resources come to with them.
    ///
    /// # Errors
    /// When a value is none of its key's.
    pub fn onto(&self, resources: &Resources) -> Result<Resources, SetError> {
        let mut result = resources.clone();
        for (key, value) in &self.values {
            set(&mut result, key, value)?;
        }
        Ok(result)
    }
}

fn set(resources: &mut Resources, key: &str, value: &str) -> Result<(), SetError> {
    let refuse = |why| SetError::Value { key: key.to_owned(), value: value.to_owned(), why };
    let given = (value != NONE).then_some(value);
    let size = || match given.map(str::parse::<Bytes>) {
        None => Ok(None),
        Some(Ok(Bytes(bytes))) => Ok(Some(bytes)),
        Some(Err(_)) => {
            Err(refuse("a size is a number of bytes, or one with K, M, G or T behind it, such as 512M"))
        }
    };
    let weight = || match given.map(str::parse::<u16>) {
        None => Ok(None),
        Some(Ok(weight @ 1..=10_000)) => Ok(Some(weight)),
        Some(_) => Err(refuse("a weight is 1 to 10000")),
    };
    let number = |most: u32, why| match given.map(str::parse::<u32>) {
        None => Ok(None),
        Some(Ok(number)) if (1..=most).contains(&number) => Ok(Some(number)),
        Some(_) => Err(refuse(why)),
    };
    match key {
        "memory" => resources.memory = size()?,
        "memoryHigh" => resources.memory_high = size()?,
        "swap" => resources.swap = size()?,
        "cpus" => {
            let why =
                "a number of processors such as 2 or 0.5, or a percentage of one such as 150%; at least 0.01";
            let time = |text: &str| text.parse::<CpuTime>().map_err(|_| refuse(why));
            resources.cpus = given.map(time).transpose()?.map(|time| time.0);
        }
        "cpuset" => resources.cpuset = given.map(str::to_owned),
        "cpuWeight" => resources.cpu_weight = weight()?,
        "ioWeight" => resources.io_weight = weight()?,
        "pids" => resources.pids = number(1 << 22, "a number of processes, 1 to 4194304")?,
        "cgroups" => resources.cgroups = number(4096, "a number of cgroups, 1 to 4096")?,
        _ => return Err(SetError::Key { key: key.to_owned() }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(key: &str, value: &str) -> Result<Resources, SetError> {
        Overrides { keep: false, values: [(key.to_owned(), value.to_owned())].into() }
            .onto(&Resources { memory: Some(1), ..Resources::default() })
    }

    #[test]
    fn each_key_is_set_and_taken_away() {
        assert_eq!(with("memory", "2G").unwrap().memory, Some(2 << 30));
        assert_eq!(with("memory", NONE).unwrap().memory, None);
        for key in KEYS {
            let some = if key == "cpuset" { "0" } else { "100" };
            let (set, none) = (with(key, some).unwrap(), with(key, NONE).unwrap());
            assert_ne!(set, none, "{key}");
        }
        for (text, thousandths) in [("2", 2000), ("0.5", 500), ("150%", 1500), ("12.5%", 125), ("0.01", 10)] {
            assert_eq!(with("cpus", text).unwrap().cpus, Some(thousandths), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for (key, value) in [
            ("memory", "2 G"),
            ("memory", ""),
            ("cpus", "0"),
            ("cpus", "-1"),
            ("cpus", "1.0001"),
            ("cpus", "%"),
            ("cpuWeight", "0"),
            ("cpuWeight", "10001"),
            ("pids", "0"),
            ("cgroups", "5000"),
            ("openFiles", "4096"),
            ("io", "1"),
        ] {
            with(key, value).unwrap_err();
        }
    }
}
