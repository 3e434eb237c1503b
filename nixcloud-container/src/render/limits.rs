//! The limits of a container file, as files of the guest's cgroup on the hierarchies that this host has.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{CGROUPS, HostFacts};
use crate::model::resources::{CgroupVersion, Controllers, IoLimits, Limit, Resources, Unheld, processors};

/// The period in which processor time is counted, in microseconds: the kernel's own default.
const PERIOD: u64 = 100_000;

/// The least processor time in a period that the kernel takes.
const LEAST_QUOTA: u64 = 1_000;

/// Finds the major and minor number of a block device, or says why there are none.
pub type FindDevice<'a> = &'a dyn Fn(&str) -> Result<(u32, u32), String>;

/// As items of an LXC configuration. What is on a hierarchy of v2 beside those of v1 LXC would not find: the program that it
/// runs at each boot writes it.
#[must_use]
pub fn items(limits: &[Limit], facts: &HostFacts) -> Vec<(String, String)> {
    let of = |Limit { version, file, value, .. }: &Limit| {
        let prefix = if *version == CgroupVersion::V1 { "lxc.cgroup" } else { "lxc.cgroup2" };
        (format!("{prefix}.{file}"), value.clone())
    };
    limits
        .iter()
        .filter(|limit| {
            limit.version == CgroupVersion::V1 || facts.controllers.pids != Some(CgroupVersion::V1)
        })
        .map(of)
        .collect()
}

/// What the kernel holds of `resources`, in the order in which it is to be written, and what it cannot. `device` finds the
/// numbers of a block device.
#[must_use]
pub fn limits(
    resources: &Resources,
    controllers: &Controllers,
    device: FindDevice<'_>,
) -> (Vec<Limit>, Vec<Unheld>) {
    let mut all = All::default();
    memory(&mut all, resources, controllers);
    of_processors(&mut all, resources, controllers);
    if let Some(pids) = resources.pids
        && let Some(version) = all.on("pids", controllers.pids, "processes")
    {
        all.hold("pids", version, "pids.max", pids);
    }
    block_devices(&mut all, resources, controllers, device);
    for (size, bytes) in &resources.hugepages {
        let key = format!("hugepages.{size:?}");
        if let Some(version) = all.on(&key, controllers.hugetlb, "huge pages") {
            let file = if version == CgroupVersion::V1 { "limit_in_bytes" } else { "max" };
            all.hold(&key, version, &format!("hugetlb.{size}.{file}"), bytes);
        }
    }
    if let Some(most) = resources.cgroups {
        if controllers.unified {
            all.hold("cgroups", CgroupVersion::V2, "cgroup.max.descendants", most);
        } else {
            all.refuse("cgroups", "this kernel has no hierarchy of cgroup v2, and on v1 guests make none");
        }
    }
    (all.held, all.unheld)
}

#[derive(Default)]
struct All {
    held: Vec<Limit>,
    unheld: Vec<Unheld>,
}

impl All {
    fn hold(&mut self, key: &str, version: CgroupVersion, file: &str, value: impl std::fmt::Display) {
        let (key, file) = (key.to_owned(), file.to_owned());
        self.held.push(Limit { key, version, file, value: format!("{value}") });
    }

    fn refuse(&mut self, key: &str, why: impl Into<String>) {
        self.unheld.push(Unheld { key: key.to_owned(), why: why.into() });
    }

    /// Where a controller is; refused where it is nowhere.
    fn on(&mut self, key: &str, controller: Option<CgroupVersion>, of: &str) -> Option<CgroupVersion> {
        if controller.is_none() {
            self.refuse(
                key,
                format!("this kernel has no controller of {of} on any mounted hierarchy of cgroups"),
            );
        }
        controller
    }
}

fn memory(all: &mut All, resources: &Resources, controllers: &Controllers) {
    let version = controllers.memory;
    if let Some(high) = resources.memory_high
        && let Some(version) = all.on("memoryHigh", version, "memory")
    {
        match version {
            CgroupVersion::V2 => all.hold("memoryHigh", version, "memory.high", high),
            CgroupVersion::V1 => {
                all.refuse("memoryHigh", "memory is on cgroup v1 here, which has no such limit");
            }
        }
    }
    if let Some(most) = resources.memory
        && let Some(version) = all.on("memory", version, "memory")
    {
        let file = if version == CgroupVersion::V1 { "memory.limit_in_bytes" } else { "memory.max" };
        all.hold("memory", version, file, most);
    }
    let Some(swap) = resources.swap else { return };
    match (all.on("swap", version, "memory"), resources.memory) {
        (None, _) => {}
        (Some(_), _) if !controllers.swap => all.refuse("swap", "this kernel does not count swap space"),
        (Some(CgroupVersion::V2), _) => all.hold("swap", CgroupVersion::V2, "memory.swap.max", swap),
        (Some(CgroupVersion::V1), Some(memory)) => {
            all.hold("swap", CgroupVersion::V1, "memory.memsw.limit_in_bytes", memory.saturating_add(swap));
        }
        (Some(CgroupVersion::V1), None) => {
            all.refuse("swap", "memory is on cgroup v1 here, which limits swap space with `memory` alone");
        }
    }
}

fn of_processors(all: &mut All, resources: &Resources, controllers: &Controllers) {
    if let Some(thousandths) = resources.cpus
        && let Some(version) = all.on("cpus", controllers.cpu, "processor time")
    {
        let quota = (u64::from(thousandths) * PERIOD / 1000).max(LEAST_QUOTA);
        match version {
            CgroupVersion::V1 => {
                all.hold("cpus", version, "cpu.cfs_period_us", PERIOD);
                all.hold("cpus", version, "cpu.cfs_quota_us", quota);
            }
            CgroupVersion::V2 => all.hold("cpus", version, "cpu.max", format_args!("{quota} {PERIOD}")),
        }
    }
    if let Some(weight) = resources.cpu_weight
        && let Some(version) = all.on("cpuWeight", controllers.cpu, "processor time")
    {
        match version {
            // 100 is to be what a cgroup has that nobody set: 1,024 shares.
            CgroupVersion::V1 => {
                all.hold("cpuWeight", version, "cpu.shares", (u64::from(weight) * 1024 / 100).max(2));
            }
            CgroupVersion::V2 => all.hold("cpuWeight", version, "cpu.weight", weight),
        }
    }
    if let Some(list) = &resources.cpuset
        && let Some(version) = all.on("cpuset", controllers.cpuset, "processors")
    {
        let there = &controllers.processors;
        let missing =
            processors(list).unwrap_or_default().into_iter().find(|processor| !there.contains(processor));
        match missing {
            Some(missing) if !there.is_empty() => {
                all.refuse("cpuset", format!("there is no processor {missing}"));
            }

            _ => all.hold("cpuset", version, "cpuset.cpus", list),
        }
    }
}

fn block_devices(all: &mut All, resources: &Resources, controllers: &Controllers, device: FindDevice<'_>) {
    if let Some(weight) = resources.io_weight
        && let Some(version) = all.on("ioWeight", controllers.io, "block devices")
    {
        match &controllers.io_weight {
            // BFQ counts to 1,000 on v1.
            Some(file) if version == CgroupVersion::V1 => {
                all.hold("ioWeight", version, file, weight.min(1000));
            }
            Some(file) => all.hold("ioWeight", version, file, weight),
            None => all.refuse("ioWeight", "this kernel has no weights of block devices: BFQ is not there"),
        }
    }
    // A disk may have several names: each says what it does at most.
    let mut disks = BTreeMap::<(u32, u32), (String, CgroupVersion, IoLimits)>::new();
    for (path, limits) in &resources.io {
        let key = format!("io.{path:?}");
        let Some(version) = all.on(&key, controllers.io, "block devices") else { continue };
        match device(path) {
            Err(why) => all.refuse(&key, why),
            Ok(numbers) => {
                let disk = disks.entry(numbers).or_insert((key, version, *limits));
                disk.2 = disk.2.within(*limits);
            }
        }
    }
    for (numbers, (key, version, limits)) in disks {
        one_device(all, &key, version, numbers, &limits);
    }
}

fn one_device(
    all: &mut All,
    key: &str,
    version: CgroupVersion,
    (major, minor): (u32, u32),
    limits: &IoLimits,
) {
    let IoLimits { read_bytes, write_bytes, read_ops, write_ops } = *limits;
    let each = [
        (read_bytes, "rbps", "blkio.throttle.read_bps_device"),
        (write_bytes, "wbps", "blkio.throttle.write_bps_device"),
        (read_ops, "riops", "blkio.throttle.read_iops_device"),
        (write_ops, "wiops", "blkio.throttle.write_iops_device"),
    ];
    let mut line = format!("{major}:{minor}");
    for (value, word, file) in each {
        let Some(value) = value else { continue };
        // Writing to a String cannot fail.
        let _ = write!(line, " {word}={value}");
        if version == CgroupVersion::V1 {
            all.hold(key, version, file, format_args!("{major}:{minor} {value}"));
        }
    }
    if version == CgroupVersion::V2 && line.contains(' ') {
        all.hold(key, version, "io.max", line);
    }
}

/// What a file is to have when nothing limits it any more.
#[must_use]
pub fn cleared(limit: &Limit) -> String {
    let device = limit.value.split(' ').next().unwrap_or_default();
    match (limit.version, limit.file.as_str()) {
        (_, "cgroup.max.descendants") => CGROUPS.to_string(),
        (_, "cpu.shares") => "1024".to_owned(),
        (_, "cpu.weight" | "io.weight" | "io.bfq.weight" | "blkio.bfq.weight") => "100".to_owned(),
        (_, "blkio.weight") => "500".to_owned(),
        (_, "cpu.cfs_period_us") => PERIOD.to_string(),
        (_, "cpuset.cpus") => String::new(),
        (_, "io.max") => format!("{device} rbps=max wbps=max riops=max wiops=max"),
        (CgroupVersion::V1, file) if file.starts_with("blkio.throttle.") => format!("{device} 0"),
        (CgroupVersion::V1, file) if file != "pids.max" => "-1".to_owned(),
        _ => "max".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Resources {
        Resources {
            memory: Some(2 << 30),
            memory_high: Some(1 << 30),
            swap: Some(0),
            cpus: Some(1500),
            cpuset: Some("0-1".to_owned()),
            cpu_weight: Some(50),
            pids: Some(500),
            io_weight: Some(2000),
            io: [(
                "/dev/sda".to_owned(),
                IoLimits { read_bytes: Some(1 << 20), write_ops: Some(9), ..IoLimits::default() },
            )]
            .into(),
            hugepages: [("2MB".to_owned(), 4 << 20)].into(),
            cgroups: Some(7),
            ..Resources::default()
        }
    }

    fn on(version: CgroupVersion, weight: Option<&str>) -> Controllers {
        let there = Some(version);
        Controllers {
            devices: None,
            memory: there,
            swap: true,
            cpu: there,
            cpuset: there,
            pids: there,
            io: there,
            io_weight: weight.map(str::to_owned),
            hugetlb: there,
            processors: [0, 1].into(),
            unified: true,
        }
    }

    fn lines(limits: &[Limit]) -> Vec<String> {
        limits.iter().map(|limit| format!("{} = {}", limit.file, limit.value)).collect()
    }

    #[test]
    fn every_key_on_both_versions() {
        let device = |_: &str| Ok((8, 0));
        let (two, none) = limits(&everything(), &on(CgroupVersion::V2, Some("io.weight")), &device);
        assert_eq!(none, []);
        assert_eq!(
            lines(&two),
            [
                "memory.high = 1073741824",
                "memory.max = 2147483648",
                "memory.swap.max = 0",
                "cpu.max = 150000 100000",
                "cpu.weight = 50",
                "cpuset.cpus = 0-1",
                "pids.max = 500",
                "io.weight = 2000",
                "io.max = 8:0 rbps=1048576 wiops=9",
                "hugetlb.2MB.max = 4194304",
                "cgroup.max.descendants = 7",
            ]
        );
        let (one, none) = limits(&everything(), &on(CgroupVersion::V1, Some("blkio.bfq.weight")), &device);
        assert_eq!(none.iter().map(|unheld| unheld.key.as_str()).collect::<Vec<_>>(), ["memoryHigh"]);
        assert_eq!(
            lines(&one),
            [
                "memory.limit_in_bytes = 2147483648",
                "memory.memsw.limit_in_bytes = 2147483648",
                "cpu.cfs_period_us = 100000",
                "cpu.cfs_quota_us = 150000",
                "cpu.shares = 512",
                "cpuset.cpus = 0-1",
                "pids.max = 500",
                "blkio.bfq.weight = 1000",
                "blkio.throttle.read_bps_device = 8:0 1048576",
                "blkio.throttle.write_iops_device = 8:0 9",
                "hugetlb.2MB.limit_in_bytes = 4194304",
                "cgroup.max.descendants = 7",
            ]
        );
        assert_eq!(cleared(&one[0]), "-1");
        assert_eq!(cleared(&one[8]), "8:0 0");
        assert_eq!(cleared(&two[8]), "8:0 rbps=max wbps=max riops=max wiops=max");
        assert_eq!(cleared(&two[1]), "max");
    }

    #[test]
    fn what_cannot_be_held_is_named() {
        let device = |path: &str| Err(format!("{path} is not there"));
        let (held, unheld) = limits(&everything(), &Controllers::default(), &device);
        assert_eq!(held, []);
        let keys: Vec<&str> = unheld.iter().map(|unheld| unheld.key.as_str()).collect();
        let all = [
            "memoryHigh",
            "memory",
            "swap",
            "cpus",
            "cpuWeight",
            "cpuset",
            "pids",
            "ioWeight",
            "io.\"/dev/sda\"",
            "hugepages.\"2MB\"",
            "cgroups",
        ];
        assert_eq!(keys, all);
        let (_, unheld) = limits(&everything(), &on(CgroupVersion::V2, None), &device);
        let why: Vec<&str> = unheld.iter().map(|unheld| unheld.why.as_str()).collect();
        assert_eq!(
            why,
            ["this kernel has no weights of block devices: BFQ is not there", "/dev/sda is not there"]
        );
        let far = Resources { cpuset: Some("1-2".to_owned()), ..Resources::default() };
        let refused = &limits(&far, &on(CgroupVersion::V2, None), &device).1[0];
        assert_eq!((refused.key.as_str(), refused.why.as_str()), ("cpuset", "there is no processor 2"));
        // Two names of one disk.
        let rate = |bytes| IoLimits { read_bytes: Some(bytes), ..IoLimits::default() };
        let io = [("/dev/a".to_owned(), rate(9)), ("/dev/b".to_owned(), rate(7))].into();
        let (held, _) =
            limits(&Resources { io, ..Resources::default() }, &on(CgroupVersion::V2, None), &|_: &str| {
                Ok((8, 0))
            });
        assert_eq!(lines(&held), ["io.max = 8:0 rbps=7"]);
        // Swap alone has no file on v1.
        let alone = Resources { swap: Some(1), ..Resources::default() };
        assert_eq!(limits(&alone, &on(CgroupVersion::V1, None), &device).1[0].key, "swap");
    }
}
