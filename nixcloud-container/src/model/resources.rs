//! What a container may use of the host: the limits of a container file, and where this host's kernel can hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::setters::setters;

/// The `resources` of a container file. What is `None` is not limited by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct Resources {
    /// Whether a limit that this host cannot hold is an error; otherwise it is told.
    pub required: bool,
    /// The most memory, in bytes: beyond it the guest's own processes are ended.
    pub memory: Option<u64>,
    /// The memory, in bytes, from which the guest is slowed down and has to give some back.
    pub memory_high: Option<u64>,
    /// The most swap space beside it, in bytes.
    pub swap: Option<u64>,
    /// Processor time, in thousandths of one processor.
    pub cpus: Option<u32>,
    /// The processors it runs on, as the kernel lists them: `0-3,8`.
    pub cpuset: Option<String>,
    /// Its share where processors are short: 1 to 10,000, where 100 is what others have.
    pub cpu_weight: Option<u16>,
    /// The most processes and threads.
    pub pids: Option<u32>,
    /// Its share of a busy disk: 1 to 10,000, where 100 is what others have.
    pub io_weight: Option<u16>,
    /// Limits by block device of the host.
    pub io: BTreeMap<String, IoLimits>,
    /// The most huge pages, in bytes, by their size as the kernel writes it: `2MB`.
    pub hugepages: BTreeMap<String, u64>,
    /// The most open files of one process. Waits for a restart.
    pub open_files: Option<u32>,
    /// The most cgroups of its own.
    pub cgroups: Option<u32>,
}

setters!(Resources: "No limits." {
    with_required => required: bool,
    with_memory => memory: Option<u64>,
    with_memory_high => memory_high: Option<u64>,
    with_swap => swap: Option<u64>,
    with_cpus => cpus: Option<u32>,
    with_cpuset => cpuset: Option<String>,
    with_cpu_weight => cpu_weight: Option<u16>,
    with_pids => pids: Option<u32>,
    with_io_weight => io_weight: Option<u16>,
    with_io => io: BTreeMap<String, IoLimits>,
    with_hugepages => hugepages: BTreeMap<String, u64>,
    with_open_files => open_files: Option<u32>,
    with_cgroups => cgroups: Option<u32>,
});

impl Default for Resources {
    fn default() -> Self {
        Self {
            required: true,
            memory: None,
            memory_high: None,
            swap: None,
            cpus: None,
            cpuset: None,
            cpu_weight: None,
            pids: None,
            io_weight: None,
            io: BTreeMap::new(),
            hugepages: BTreeMap::new(),
            open_files: None,
            cgroups: None,
        }
    }
}

/// What one block device does for a container in a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[non_exhaustive]
pub struct IoLimits {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Reads.
    pub read_ops: Option<u64>,
    /// Writes.
    pub write_ops: Option<u64>,
}

setters!(IoLimits: "No limits." {
    with_read_bytes => read_bytes: Option<u64>,
    with_write_bytes => write_bytes: Option<u64>,
    with_read_ops => read_ops: Option<u64>,
    with_write_ops => write_ops: Option<u64>,
});

impl IoLimits {
    /// The lower of each.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        let lower = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Self {
            read_bytes: lower(self.read_bytes, other.read_bytes),
            write_bytes: lower(self.write_bytes, other.write_bytes),
            read_ops: lower(self.read_ops, other.read_ops),
            write_ops: lower(self.write_ops, other.write_ops),
        }
    }
}

/// A number of bytes, as people write it: `512M`, `2G`, in powers of 1,024.
///
/// ```
/// use nixcloud_container::resources::Bytes;
///
/// assert_eq!("2G".parse(), Ok(Bytes(2 << 30)));
/// assert_eq!(Bytes(1536 << 20).to_string(), "1536M");
/// assert!("2 apples".parse::<Bytes>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A text that is no number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no size: a number of bytes, or one with K, M, G or T behind it, such as 512M")]
pub struct SizeError(pub String);

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let refuse = || SizeError(text.to_owned());
        let unit = |c: char| UNITS.iter().find(|(name, _)| *name == c).map(|(_, shift)| *shift);
        let (digits, shift) = match text.chars().next_back().and_then(unit) {
            Some(shift) => (&text[..text.len() - 1], shift),
            None => (text, 0),
        };
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(refuse());
        }
        let number: u64 = digits.parse().map_err(|_| refuse())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(refuse)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, shift) in UNITS {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{name}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Processor time, in thousandths of one processor, as people write it: a number of processors, or a percentage of one.
///
/// ```
/// use nixcloud_container::resources::CpuTime;
///
/// assert_eq!("150%".parse(), Ok(CpuTime(1500)));
/// assert_eq!(CpuTime(500).to_string(), "0.5");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuTime(pub u32);

/// A text that is no processor time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no processor time: a number of processors such as 2 or 0.5, or a percentage of one such as 150%"
)]
pub struct CpuTimeError(pub String);

impl FromStr for CpuTime {
    type Err = CpuTimeError;

    fn from_str(text: &str) -> Result<Self, CpuTimeError> {
        thousandths(text).map(Self).ok_or_else(|| CpuTimeError(text.to_owned()))
    }
}

/// "1.5" or "150%" as thousandths of a processor.
fn thousandths(text: &str) -> Option<u32> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1000), |percent| (percent, 10));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|c| c.is_ascii_digit());
    if whole.is_empty() || whole.len() > 6 || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u32 = format!("{fraction:0<3}").parse().ok()?;
    let all = whole.parse::<u32>().ok()?.checked_mul(scale)?.checked_add(fraction * scale / 1000)?;
    (all >= 10).then_some(all)
}

impl fmt::Display for CpuTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = format!(".{:03}", self.0 % 1000);
        write!(f, "{}{}", self.0 / 1000, fraction.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// What limits of memory are rounded to: the kernel counts pages, of which the largest are so large.
pub(crate) const PAGE: u64 = 64 << 10;

/// The memory that guests leave to their host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Reserve {
    /// A sixteenth, at least 256 MiB, at most 2 GiB, and no more than a quarter.
    #[default]
    Auto,
    /// So much; nothing sets no limit.
    Bytes(Bytes),
}

impl Reserve {
    /// What all guests together may have of so much memory; `None` without a limit.
    #[must_use]
    pub fn leaves(self, all: u64) -> Option<u64> {
        let kept = match self {
            Self::Auto => (all / 16).clamp(256 << 20, 2 << 30).min(all / 4),
            Self::Bytes(Bytes(0)) => return None,
            // Guests with nothing would be ended at once.
            Self::Bytes(Bytes(kept)) => kept.min(all / 4 * 3),
        };
        Some((all - kept) / PAGE * PAGE)
    }
}

impl TryFrom<String> for Reserve {
    type Error = SizeError;

    fn try_from(text: String) -> Result<Self, SizeError> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Bytes) }
    }
}

impl From<Reserve> for String {
    fn from(reserve: Reserve) -> Self {
        match reserve {
            Reserve::Auto => "auto".to_owned(),
            Reserve::Bytes(bytes) => bytes.to_string(),
        }
    }
}

/// A version of the kernel's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupVersion {
    /// One hierarchy a controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// Which controllers the kernel has, and on which version of cgroups each of them is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Controllers {
    /// Of memory.
    pub memory: Option<CgroupVersion>,
    /// Whether swap space is counted with it.
    pub swap: bool,
    /// Of processor time.
    pub cpu: Option<CgroupVersion>,
    /// Of processors.
    pub cpuset: Option<CgroupVersion>,
    /// Of processes.
    pub pids: Option<CgroupVersion>,
    /// The processors that there are; empty where that is not known.
    pub processors: BTreeSet<u16>,
    /// Of block devices.
    pub io: Option<CgroupVersion>,
    /// The file that holds a weight for them, where there is one.
    pub io_weight: Option<String>,
    /// Whether there is a hierarchy of cgroup v2.
    pub unified: bool,
    /// Of huge pages.
    pub hugetlb: Option<CgroupVersion>,
    /// Of devices: on v2 a program of BPF.
    pub devices: Option<CgroupVersion>,
}

setters!(Controllers: "A host that can hold nothing." {
    with_memory => memory: Option<CgroupVersion>,
    with_swap => swap: bool,
    with_cpu => cpu: Option<CgroupVersion>,
    with_cpuset => cpuset: Option<CgroupVersion>,
    with_pids => pids: Option<CgroupVersion>,
    with_processors => processors: BTreeSet<u16>,
    with_io => io: Option<CgroupVersion>,
    with_io_weight => io_weight: Option<String>,
    with_unified => unified: bool,
    with_hugetlb => hugetlb: Option<CgroupVersion>,
    with_devices => devices: Option<CgroupVersion>,
});

/// What a running guest uses, beside what it is held to. What the kernel of this host does not count is `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Memory, in bytes: used without the page cache that has not been used for a while, which the limit counts, too.
    pub memory: Measured,
    /// Swap space, in bytes.
    pub swap: Measured,
    /// Processes and threads.
    pub pids: Measured,
    /// Processor time since it was started, in microseconds.
    pub cpu_microseconds: Option<u64>,
    /// The processor time that it may have, in thousandths of a processor.
    pub cpus: Option<u64>,
    /// Bytes read from block devices.
    pub read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub written_bytes: Option<u64>,
    /// How much of it waits, where the kernel says.
    pub pressure: Option<Pressure>,
}

setters!(Usage: "Nothing is known." {
    with_memory => memory: Measured,
    with_swap => swap: Measured,
    with_pids => pids: Measured,
    with_cpu_microseconds => cpu_microseconds: Option<u64>,
    with_cpus => cpus: Option<u64>,
    with_read_bytes => read_bytes: Option<u64>,
    with_written_bytes => written_bytes: Option<u64>,
    with_pressure => pressure: Option<Pressure>,
});

/// A figure and its limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Measured {
    /// The amount that is used.
    pub used: Option<u64>,
    /// The amount that may be used.
    pub most: Option<u64>,
}

setters!(Measured: "Nothing is known." {
    with_used => used: Option<u64>,
    with_most => most: Option<u64>,
});

/// The share of the last ten seconds in which something in the guest waited, in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pressure {
    /// For a processor.
    pub cpu: f64,
    /// For memory.
    pub memory: f64,
    /// For block devices.
    pub io: f64,
}

setters!(Pressure: "Nobody waits." {
    with_cpu => cpu: f64,
    with_memory => memory: f64,
    with_io => io: f64,
});

/// The processors in a list as the kernel writes it: `0-3,8`. `None` where it is no such list.
#[must_use]
pub fn processors(list: &str) -> Option<BTreeSet<u16>> {
    // The kernel counts no more; a range that ends later would only take memory.
    let number = |text: &str| text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse::<u16>().ok())?;
    let mut found = BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        found.extend(first..=last);
    }
    Some(found)
}

/// One limit, as the kernel takes it: a file of the guest's cgroup and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// The key of the container file that asks for it, below `resources`.
    pub key: String,
    /// The version of cgroups whose file it is.
    pub version: CgroupVersion,
    /// The file.
    pub file: String,
    /// The text that is written into the file.
    pub value: String,
}

setters!(Limit: "A limit as the kernel takes it." (key: String, version: CgroupVersion, file: String, value: String) {});

/// A limit that this host cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct Unheld {
    /// The key of the container file, below `resources`.
    pub key: String,
    /// Why not.
    pub why: String,
}

setters!(Unheld: "A limit that is not held, and why." (key: String, why: String) {});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(processors("0-2,8"), Some([0, 1, 2, 8].into()));
        for bad in ["", "1-", "-1", "3-1", "a", "1,,2", "70000", " 1"] {
            assert_eq!(processors(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_host_keeps_some() {
        let gib = |n: u64| n << 30;
        assert_eq!(Reserve::Auto.leaves(gib(64)), Some(gib(62)));
        assert_eq!(Reserve::Auto.leaves(gib(16)), Some(gib(15)));
        assert_eq!(Reserve::Auto.leaves(512 << 20), Some(384 << 20));
        let kept = |text: &str| Reserve::try_from(text.to_owned()).unwrap();
        assert_eq!(kept("0").leaves(gib(1)), None);
        assert_eq!(kept("3G").leaves(gib(16)), Some(gib(13)));
        assert_eq!(kept("20G").leaves(gib(16)), Some(gib(4)));
        Reserve::try_from("some".to_owned()).unwrap_err();
    }

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("1K", 1024), ("3T", 3 << 40)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string().parse(), Ok(Bytes(bytes)));
        }
        for bad in ["", "G", "-1", "1.5G", "1g", "1 G", "99999999999T", "+1", "٣"] {
            bad.parse::<Bytes>().unwrap_err();
        }
    }
}
