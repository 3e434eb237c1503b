//! What a guest uses of what it is held to, as the files of its cgroups say.

use std::fs;
use std::path::PathBuf;

use super::figures::{memory_of, payloads_among, swap_of};
use crate::model::resources::{Measured, Pressure, Usage};

/// A limit from which on v1 means none: the largest multiple of a page that the kernel can count.
const NO_LIMIT: u64 = 1 << 62;

/// Reads them. What no controller counts is `None`.
#[must_use]
pub fn usage(cgroups: &[PathBuf]) -> Usage {
    let read =
        |file: &str| payloads_among(cgroups).find_map(|cgroup| fs::read_to_string(cgroup.join(file)).ok());
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    // "max" is no number.
    let most = |two: &str, one: &str| number(two).or_else(|| number(one)).filter(|most| *most < NO_LIMIT);
    let line = |file: &str, name: &str| {
        read(file)?.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let memory = most("memory.max", "memory.limit_in_bytes");
    let swap = number("memory.swap.max").or_else(|| {
        let both = number("memory.memsw.limit_in_bytes").filter(|most| *most < NO_LIMIT)?;
        Some(both.saturating_sub(memory?))
    });
    let nanoseconds = || Some(number("cpuacct.usage")? / 1000);
    Usage {
        memory: Measured { used: memory_of(cgroups), most: memory },
        swap: Measured { used: swap_of(cgroups), most: swap },
        pids: Measured { used: number("pids.current"), most: number("pids.max") },
        cpu_microseconds: line("cpu.stat", "usage_usec ").or_else(nanoseconds),
        cpus: cpus(read("cpu.max").as_deref(), number("cpu.cfs_quota_us"), number("cpu.cfs_period_us")),
        read_bytes: transferred(&read, "rbytes=", "Read "),
        written_bytes: transferred(&read, "wbytes=", "Write "),
        pressure: pressure(&read),
    }
}

/// Thousandths of a processor.
fn cpus(max: Option<&str>, quota: Option<u64>, period: Option<u64>) -> Option<u64> {
    let (quota, period) = match max.and_then(|max| max.trim().split_once(' ')) {
        Some((quota, period)) => (quota.parse().ok(), period.parse().ok()),
        None => (quota, period),
    };
    quota?.checked_mul(1000)?.checked_div(period?)
}

/// The sum over all devices.
fn transferred(read: &dyn Fn(&str) -> Option<String>, two: &str, one: &str) -> Option<u64> {
    if let Some(text) = read("io.stat") {
        let words = text.split_whitespace().filter_map(|word| word.strip_prefix(two)?.parse::<u64>().ok());
        return Some(words.sum());
    }
    // "8:0 Read 4096": a line a device and direction, and a total at the end.
    let text = read("blkio.throttle.io_service_bytes_recursive")?;
    let lines =
        text.lines().filter_map(|line| line.split_once(' ')?.1.strip_prefix(one)?.trim().parse::<u64>().ok());
    Some(lines.sum())
}

/// "some avg10=0.00 avg60=0.00 ...": the share of the last ten seconds in which something waited.
fn pressure(read: &dyn Fn(&str) -> Option<String>) -> Option<Pressure> {
    let of = |kind: &str| {
        let text = read(&format!("{kind}.pressure"))?;
        text.split_whitespace().find_map(|word| word.strip_prefix("avg10=")?.parse::<f64>().ok())
    };
    Some(Pressure { cpu: of("cpu")?, memory: of("memory")?, io: of("io")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with the files of a payload cgroup, as the kernel writes them.
    fn cgroup(name: &str, files: &[(&str, &str)]) -> Vec<PathBuf> {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("usage-{id}-{name}")).join("lxc.payload.web");
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        vec![folder]
    }

    #[test]
    fn version_two() {
        let cgroups = cgroup(
            "two",
            &[
                ("memory.current", "5000\n"),
                ("memory.stat", "anon 1\ninactive_file 1000\n"),
                ("memory.max", "8192\n"),
                ("memory.swap.max", "max\n"),
                ("pids.current", "7\n"),
                ("pids.max", "max\n"),
                ("cpu.stat", "usage_usec 42\nuser_usec 1\n"),
                ("cpu.max", "150000 100000\n"),
                ("io.stat", "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2 rios=1\n"),
                ("cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\n"),
                ("memory.pressure", "some avg10=0.00 avg60=0.00\n"),
                ("io.pressure", "some avg10=2.00 avg60=0.00\n"),
            ],
        );
        let usage = usage(&cgroups);
        assert_eq!(usage.memory, Measured { used: Some(4000), most: Some(8192) });
        assert_eq!(usage.swap.most, None);
        assert_eq!(usage.pids, Measured { used: Some(7), most: None });
        assert_eq!((usage.cpu_microseconds, usage.cpus), (Some(42), Some(1500)));
        assert_eq!((usage.read_bytes, usage.written_bytes), (Some(11), Some(22)));
        assert_eq!(usage.pressure, Some(Pressure { cpu: 1.5, memory: 0.0, io: 2.0 }));
        fs::remove_dir_all(cgroups[0].parent().unwrap()).unwrap();
    }

    #[test]
    fn version_one() {
        let cgroups = cgroup(
            "one",
            &[
                ("memory.usage_in_bytes", "5000\n"),
                ("memory.limit_in_bytes", "8192\n"),
                ("memory.memsw.limit_in_bytes", "10000\n"),
                ("memory.stat", "swap 3\ntotal_inactive_file 1000\n"),
                ("cpuacct.usage", "42000\n"),
                ("cpu.cfs_quota_us", "-1\n"),
                ("cpu.cfs_period_us", "100000\n"),
                (
                    "blkio.throttle.io_service_bytes_recursive",
                    "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n",
                ),
            ],
        );
        let usage = usage(&cgroups);
        assert_eq!(usage.memory, Measured { used: Some(4000), most: Some(8192) });
        assert_eq!(usage.swap, Measured { used: Some(3), most: Some(1808) });
        assert_eq!((usage.cpu_microseconds, usage.cpus), (Some(42), None));
        assert_eq!((usage.read_bytes, usage.written_bytes), (Some(10), Some(20)));
        assert_eq!(usage.pressure, None);
        fs::remove_dir_all(cgroups[0].parent().unwrap()).unwrap();
    }
}
