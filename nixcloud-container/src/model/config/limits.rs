//! What the host's configuration limits every container to: what each has by default, and what none is given more of.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::allowance::Allowance;
use crate::model::resources::{Bytes, CpuTime, IoLimits, PAGE, Reserve, Resources, processors};
use crate::model::setters::setters;

/// What every container is limited to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Processes and threads a container may have, and no more than a quarter of what the kernel has for all; 0 sets no
    /// limit.
    pub pids: u32,
    /// The memory that all containers together leave to the host: `"auto"` (a sixteenth, at least 256M, at most 2G, and no more
    /// than a quarter), a size such as `"1G"` (three quarters of all at most), or `"0"`, which sets no limit.
    pub reserve: Reserve,
    /// How much of what all containers together may have one can have that asks for no amount and has no default, in percent:
    /// the others have the rest at least. 100 sets no limit.
    pub share: u8,
    /// Connections that a container may begin, by one of its addresses, with the host or by way of it at a time; 0 sets
    /// no limit.
    pub connections: u32,
    /// What a container has whose file says nothing of it, by the keys of `resources`.
    pub defaults: Allowance,
    /// The most that a container may have, by the same keys.
    pub ceilings: Allowance,
}

setters!(Limits: "All defaults." {
    with_pids => pids: u32,
    with_reserve => reserve: Reserve,
    with_share => share: u8,
    with_connections => connections: u32,
    with_defaults => defaults: Allowance,
    with_ceilings => ceilings: Allowance,
});

impl Default for Limits {
    fn default() -> Self {
        Self {
            pids: 16_384,
            reserve: Reserve::Auto,
            share: 87,
            connections: 8192,
            defaults: Allowance::default(),
            ceilings: Allowance::default(),
        }
    }
}

/// What one container can have of this machine by what the machine has, whatever the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Share {
    /// The most processes and threads.
    pub processes: u32,
    /// Memory, in bytes, that all containers together may have; `None` where nobody counts it.
    pub together: Option<u64>,
}

setters!(Share: "A machine without end." {
    with_processes => processes: u32,
    with_together => together: Option<u64>,
});

impl Default for Share {
    fn default() -> Self {
        Self { processes: u32::MAX, together: None }
    }
}

/// What a container has of what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Granted {
    /// Its limits: what it asks for or else the defaults, within the ceilings.
    pub resources: Resources,
    /// What it asks for above a ceiling.
    pub above: Vec<Above>,
}

setters!(Granted: "All that was asked for." (resources: Resources) {
    with_above => above: Vec<Above>,
});

/// Something that is asked for above a ceiling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Above {
    /// The key of the container file, below `resources`.
    pub key: String,
    /// The value that is asked for, as the container file has it.
    pub asked: String,
    /// The most that there is.
    pub most: String,
}

setters!(Above: "A limit that is asked for above what is given." (key: String, asked: String, most: String) {});

impl Limits {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.defaults.check("defaults")?;
        self.ceilings.check("ceilings")?;
        if !(1..=100).contains(&self.share) {
            let (key, value) = ("limits.share", self.share.to_string());
            return Err(ConfigError::Value { key, value, why: "it is a percentage, 1 to 100" });
        }
        // As if a container asked for them.
        let granted = self.grant(&self.defaults.resources(), &|_| false, Share::default());
        match granted.above.into_iter().next() {
            Some(Above { key, asked, most }) => Err(ConfigError::Ceiling { key, value: asked, most }),
            None => Ok(()),
        }
    }

    /// The memory of one container that says nothing of it and has no default.
    #[must_use]
    pub fn memory_of_one(&self, together: u64) -> Option<u64> {
        (self.share < 100).then(|| together / 100 * u64::from(self.share) / PAGE * PAGE)
    }

    /// What a container has that asks for `asked`. `lifts` says which of the defaults somebody took away; `share` is what one
    /// can have of this machine.
    #[must_use]
    pub fn grant(&self, asked: &Resources, lifts: &dyn Fn(&str) -> bool, share: Share) -> Granted {
        let (mut defaults, mut ceilings) = (self.defaults.resources(), self.ceilings.resources());
        defaults.memory =
            defaults.memory.or_else(|| share.together.and_then(|together| self.memory_of_one(together)));
        if self.pids > 0 {
            ceilings.pids = Some(ceilings.pids.unwrap_or(u32::MAX).min(self.pids).min(share.processes));
        }
        let mut judge = Judge { lifts, above: Vec::new() };
        let (a, d, c) = (asked, &defaults, &ceilings);
        let bytes = |bytes: u64| Bytes(bytes).to_string();
        let time = |time: u32| CpuTime(time).to_string();
        let memory = judge.one("memory", a.memory, d.memory, c.memory, bytes);
        let high = judge.one("memoryHigh", a.memory_high, d.memory_high, c.memory_high, bytes);
        let resources = Resources {
            required: a.required,
            memory,
            // Beyond the most there is nothing to be slowed down for.
            memory_high: high.map(|high| memory.map_or(high, |most| most.min(high))),
            swap: judge.one("swap", a.swap, d.swap, c.swap, bytes),
            cpus: judge.one("cpus", a.cpus, d.cpus, c.cpus, time),
            cpuset: judge.cpuset(a.cpuset.as_ref(), d.cpuset.as_ref(), c.cpuset.as_ref()),
            cpu_weight: judge.weight("cpuWeight", a.cpu_weight, d.cpu_weight, c.cpu_weight),
            // Who asks for nothing has what its LXC configuration says, which is no more.
            pids: judge
                .one("pids", a.pids, d.pids, c.pids, |number| number.to_string())
                .filter(|_| a.pids.or(d.pids).or(self.ceilings.pids).is_some()),
            io_weight: judge.weight("ioWeight", a.io_weight, d.io_weight, c.io_weight),
            io: judge.io(&a.io, &d.io, &c.io),
            hugepages: judge.hugepages(&a.hugepages, &d.hugepages, &c.hugepages),
            open_files: judge
                .one("openFiles", a.open_files, d.open_files, c.open_files, |number| number.to_string()),
            cgroups: judge.one("cgroups", a.cgroups, d.cgroups, c.cgroups, |number| number.to_string()),
        };
        Granted { resources, above: judge.above }
    }
}

/// What a cgroup has that nobody gave a weight.
const USUAL_WEIGHT: u16 = 100;

/// Goes through what is asked for, and notes what is too much.
struct Judge<'a> {
    lifts: &'a dyn Fn(&str) -> bool,
    above: Vec<Above>,
}

impl Judge<'_> {
    /// What there is of one key.
    fn one<T: Ord + Copy>(
        &mut self,
        key: &str,
        asked: Option<T>,
        default: Option<T>,
        ceiling: Option<T>,
        shown: impl Fn(T) -> String,
    ) -> Option<T> {
        let value = asked.or_else(|| default.filter(|_| !(self.lifts)(key)));
        let Some(most) = ceiling else { return value };
        if asked.is_some_and(|asked| asked > most) {
            let asked = asked.map(&shown).unwrap_or_default();
            self.above.push(Above { key: key.to_owned(), asked, most: shown(most) });
        }
        Some(value.map_or(most, |value| value.min(most)))
    }

    /// As [`one`](Self::one), of a weight: who asks for none has the usual one, not as much as a ceiling allows.
    fn weight(
        &mut self,
        key: &str,
        asked: Option<u16>,
        default: Option<u16>,
        ceiling: Option<u16>,
    ) -> Option<u16> {
        if asked.is_none() && (default.is_none() || (self.lifts)(key)) {
            return ceiling.filter(|most| *most < USUAL_WEIGHT);
        }
        self.one(key, asked, default, ceiling, |number| number.to_string())
    }

    /// Of processors, those that the ceiling has, too; all of them where there is no such one.
    fn cpuset(
        &mut self,
        asked: Option<&String>,
        default: Option<&String>,
        ceiling: Option<&String>,
    ) -> Option<String> {
        let key = "cpuset";
        let value = asked.or_else(|| default.filter(|_| !(self.lifts)(key)));
        let Some(most) = ceiling else { return value.cloned() };
        let Some(value) = value else { return Some(most.clone()) };
        let of = |list: &String| processors(list).unwrap_or_default();
        let within: BTreeSet<u16> = of(value).intersection(&of(most)).copied().collect();
        if within == of(value) {
            return Some(value.clone());
        }
        if let Some(asked) = asked {
            self.above.push(Above { key: key.to_owned(), asked: asked.clone(), most: most.clone() });
        }
        let list = within.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        Some(if list.is_empty() { most.clone() } else { list })
    }

    fn io(
        &mut self,
        asked: &BTreeMap<String, IoLimits>,
        defaults: &BTreeMap<String, IoLimits>,
        ceilings: &BTreeMap<String, IoLimits>,
    ) -> BTreeMap<String, IoLimits> {
        let devices: BTreeSet<&String> = asked.keys().chain(defaults.keys()).chain(ceilings.keys()).collect();
        let of = |limits: &BTreeMap<String, IoLimits>, device: &String| {
            limits.get(device).copied().unwrap_or_default()
        };
        let mut all = BTreeMap::new();
        for device in devices {
            let (a, d, c) = (of(asked, device), of(defaults, device), of(ceilings, device));
            let key = |last: &str| format!("io.{device:?}.{last}");
            let bytes = |bytes: u64| Bytes(bytes).to_string();
            let limits = IoLimits {
                read_bytes: self.one(&key("readBytes"), a.read_bytes, d.read_bytes, c.read_bytes, bytes),
                write_bytes: self.one(&key("writeBytes"), a.write_bytes, d.write_bytes, c.write_bytes, bytes),
                read_ops: self
                    .one(&key("readOps"), a.read_ops, d.read_ops, c.read_ops, |number| number.to_string()),
                write_ops: self.one(&key("writeOps"), a.write_ops, d.write_ops, c.write_ops, |number| {
                    number.to_string()
                }),
            };
            all.insert(device.clone(), limits);
        }
        all
    }

    fn hugepages(
        &mut self,
        asked: &BTreeMap<String, u64>,
        defaults: &BTreeMap<String, u64>,
        ceilings: &BTreeMap<String, u64>,
    ) -> BTreeMap<String, u64> {
        let sizes: BTreeSet<&String> = asked.keys().chain(defaults.keys()).chain(ceilings.keys()).collect();
        let of = |limits: &BTreeMap<String, u64>, size: &String| limits.get(size).copied();
        let mut all = BTreeMap::new();
        for size in sizes {
            let key = format!("hugepages.{size:?}");
            let (a, d, c) = (of(asked, size), of(defaults, size), of(ceilings, size));
            let most = self.one(&key, a, d, c, |bytes| Bytes(bytes).to_string());
            all.extend(most.map(|most| (size.clone(), most)));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::HostConfig;
    use super::*;

    fn limits(toml: &str) -> Limits {
        HostConfig::from_toml(toml).unwrap().limits
    }

    fn nothing(_: &str) -> bool {
        false
    }

    fn share(processes: u32) -> Share {
        Share::new().with_processes(processes)
    }

    #[test]
    fn who_says_nothing_of_memory_leaves_some_to_the_others() {
        let machine = Share::new().with_together(Some(1000 << 20));
        let of =
            |toml: &str, asked: &Resources| limits(toml).grant(asked, &nothing, machine).resources.memory;
        let silent = Resources::default();
        assert_eq!(of("", &silent), Some(870 << 20));
        assert_eq!(of("limits.share = 50", &silent), Some(500 << 20));
        assert_eq!(of("limits.share = 100", &silent), None);
        assert_eq!(of("limits.defaults.memory = \"2G\"", &silent), Some(2 << 30));
        assert_eq!(of("limits.ceilings.memory = \"2G\"", &silent), Some(870 << 20));
        assert_eq!(of("limits.ceilings.memory = \"64M\"", &silent), Some(64 << 20));
        // Who asks for more has asked.
        assert_eq!(of("", &Resources { memory: Some(2 << 30), ..Resources::default() }), Some(2 << 30));
        let lifted = limits("").grant(&silent, &|key| key == "memory", machine);
        assert_eq!(lifted.resources.memory, None);
        assert_eq!(limits("").grant(&silent, &nothing, Share::new()).resources.memory, None);
        assert!(HostConfig::from_toml("limits.share = 0").is_err());
        assert!(HostConfig::from_toml("limits.share = 101").is_err());
    }

    #[test]
    fn what_is_not_asked_for_is_the_default_and_never_more_than_the_ceiling() {
        let limits = limits(
            "limits.pids = 900\n[limits.defaults]\nmemory = \"2G\"\nmemoryHigh = \"1G\"\ncpus = 1.5\n\
             [limits.ceilings]\nmemory = \"4G\"\nswap = 0\ncpuset = \"0-3\"\nopenFiles = 4096\ncpuWeight = 200",
        );
        let plain = limits.grant(&Resources::default(), &nothing, share(1000));
        assert_eq!(plain.above, []);
        let granted = Resources {
            memory: Some(2 << 30),
            memory_high: Some(1 << 30),
            swap: Some(0),
            cpus: Some(1500),
            cpuset: Some("0-3".to_owned()),
            open_files: Some(4096),
            ..Resources::default()
        };
        assert_eq!(plain.resources, granted);
        // Less memory than the default has high.
        let small = Resources { memory: Some(256 << 20), ..Resources::default() };
        assert_eq!(limits.grant(&small, &nothing, share(1000)).resources.memory_high, Some(256 << 20));
        // Without the defaults the ceiling is left.
        let lifted = limits.grant(&Resources::default(), &|key| key == "memory", share(1000));
        assert_eq!((lifted.resources.memory, lifted.above), (Some(4 << 30), vec![]));
    }

    #[test]
    fn what_is_asked_for_above_a_ceiling_is_told_with_its_figures() {
        let limits = limits(
            "limits.pids = 900\n[limits.ceilings]\nmemory = \"4G\"\ncpus = \"150%\"\ncpuset = \"0-3\"\ncpuWeight = 50\n\
             hugepages = { 2MB = \"8M\" }\nio = { \"/dev/sda\" = { readBytes = \"1M\", writeOps = 9 } }",
        );
        let asked = Resources {
            memory: Some(8 << 30),
            cpus: Some(2000),
            cpuset: Some("2-5".to_owned()),
            pids: Some(800),
            hugepages: [("2MB".to_owned(), 16 << 20)].into(),
            io: [(
                "/dev/sda".to_owned(),
                IoLimits { read_bytes: Some(2 << 20), read_ops: Some(1), ..IoLimits::default() },
            )]
            .into(),
            ..Resources::default()
        };
        let granted = limits.grant(&asked, &nothing, share(700));
        let line = |above: &Above| format!("{} {} {}", above.key, above.asked, above.most);
        assert_eq!(
            granted.above.iter().map(line).collect::<Vec<_>>(),
            [
                "memory 8G 4G",
                "cpus 2 1.5",
                "cpuset 2-5 0-3",
                "pids 800 700",
                "io.\"/dev/sda\".readBytes 2M 1M",
                "hugepages.\"2MB\" 16M 8M",
            ]
        );
        let resources = granted.resources;
        assert_eq!(
            (resources.memory, resources.cpus, resources.pids),
            (Some(4 << 30), Some(1500), Some(700))
        );
        assert_eq!((resources.cpuset.as_deref(), resources.cpu_weight), (Some("2,3"), Some(50)));
        let disk = resources.io["/dev/sda"];
        assert_eq!((disk.read_bytes, disk.read_ops, disk.write_ops), (Some(1 << 20), Some(1), Some(9)));
    }
}
