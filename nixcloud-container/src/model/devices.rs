//! Devices of the host in a guest: what a container file asks for, and what becomes of it on a host.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::setters::setters;

/// The `devices` of a container file, by the paths of the host: a device, a folder with devices, or several by a trailing `*`.
pub type Devices = BTreeMap<String, Device>;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Device {
    /// Where the guest has it; where the host has it when not given.
    pub path: Option<String>,
    /// Whose it is, as the guest counts users.
    pub owner: u16,
    /// Its group, as the guest counts groups.
    pub group: u16,
    /// Who may open it; what is usual for such a device when not given.
    pub mode: Option<DeviceMode>,
    /// Whether the container does not start without it; otherwise that it is missing is told.
    pub required: bool,
}

impl Default for Device {
    fn default() -> Self {
        Self { path: None, owner: 0, group: 0, mode: None, required: true }
    }
}

setters!(Device: "Where the host has it, for the guest's root." {
    with_path => path: Option<String>,
    with_owner => owner: u16,
    with_group => group: u16,
    with_mode => mode: Option<DeviceMode>,
    with_required => required: bool,
});

/// Who may open a device, as `chmod` takes it: `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceMode(u16);

impl DeviceMode {
    /// Its owner and its group.
    pub const OWNER_AND_GROUP: Self = Self(0o660);
    /// Everybody, as hosts have `/dev/net/tun`, `/dev/fuse` and `/dev/kvm`.
    pub const ALL: Self = Self(0o666);

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

impl fmt::Display for DeviceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl TryFrom<String> for DeviceMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits =
            text.len() == 4 && text.starts_with('0') && text.bytes().all(|c| matches!(c, b'0'..=b'7'));
        let bits = u16::from_str_radix(&text, 8).ok().filter(|_| digits);
        bits.map(Self).ok_or("a mode is four octal digits, of which the first is 0: 0660")
    }
}

impl From<DeviceMode> for String {
    fn from(mode: DeviceMode) -> Self {
        mode.to_string()
    }
}

/// A device node of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DeviceNode {
    /// The key of the container file that asks for it, below `devices`.
    pub key: String,
    /// Where the guest has it.
    pub path: String,
    /// The host's node, behind all links.
    pub host: PathBuf,
    /// Whether it is a block device; otherwise a character device.
    pub block: bool,
    /// The kernel's number of its driver.
    pub major: u32,
    /// The driver's number of it.
    pub minor: u32,
    /// Whose it is, as the guest counts users.
    pub owner: u16,
    /// Its group, as the guest counts groups.
    pub group: u16,
    /// Who may open it.
    pub mode: DeviceMode,
}

impl DeviceNode {
    /// A character device of the guest's root, at its path on the host.
    #[must_use]
    pub fn new(key: impl Into<String>, host: impl Into<PathBuf>, major: u32, minor: u32) -> Self {
        let (key, host) = (key.into(), host.into());
        let (path, mode) = (host.display().to_string(), DeviceMode::OWNER_AND_GROUP);
        Self { key, path, host, block: false, major, minor, owner: 0, group: 0, mode }
    }

    /// As the kernel's rules of cgroups name it: `c 10:200`.
    #[must_use]
    pub fn numbers(&self) -> String {
        format!("{} {}:{}", if self.block { 'b' } else { 'c' }, self.major, self.minor)
    }

    /// The rule of a cgroup that opens it.
    #[must_use]
    pub fn rule(&self) -> String {
        format!("{} rwm", self.numbers())
    }
}

setters!(DeviceNode {
    with_path => path: String,
    with_block => block: bool,
    with_owner => owner: u16,
    with_group => group: u16,
    with_mode => mode: DeviceMode,
});

/// In one line, as what waits for a restart is told.
impl fmt::Display for DeviceNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, owner, group, mode, .. } = self;
        write!(f, "{path} ({}, {owner}:{group}, {mode})", self.numbers())
    }
}

/// Why a container cannot have a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeviceFault {
    /// This host does not have it.
    Missing,
    /// It is something else.
    NoDevice,
    /// It leads out of `/dev`.
    Outside,
    /// The host's configuration has to name it.
    NotAllowed,
    /// It is the host itself.
    Never,
    /// It would stand in the place of something that every guest has.
    Taken,
    /// Two of them would have one path.
    Twice,
    /// This system's root cannot make device nodes: it is root of a container itself.
    NoNodes,
    /// The container has a table of mounts of its own, in the place of the one by which a guest gets its devices.
    OwnTable,
}

impl fmt::Display for DeviceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "this host does not have it",
            Self::NoDevice => "it is no device",
            Self::Outside => "it leads out of /dev",
            Self::NotAllowed => "it is none of the devices that surely do no harm, and the host configuration does not name it",
            Self::Never => "who has it has the host",
            Self::Taken => "every guest has something of its own there: `path` gives it another place",
            Self::Twice => "another one has its path in the guest",
            Self::NoNodes => "root of this system cannot make device nodes",
            Self::OwnTable => "the container has `lxc.mount.fstab`, in whose place guests get their devices",
        })
    }
}

/// What every guest has below `/dev` already, or where a device would stand in the way of what it has there.
const TAKEN: &[&str] = &[
    "console",
    "core",
    "fd",
    "full",
    "hugepages",
    "initctl",
    "kmsg",
    "log",
    "lxc",
    "mqueue",
    "null",
    "ptmx",
    "pts",
    "random",
    "shm",
    "stderr",
    "stdin",
    "stdout",
    "tty",
    "urandom",
    "zero",
    ".lxc",
];

/// Why this cannot be a path of a device: what a container file names, on the host or in the guest.
pub(crate) fn wrong_path(path: &str, in_guest: bool) -> Option<&'static str> {
    let Some(inside) = path.strip_prefix("/dev/").filter(|inside| !inside.is_empty()) else {
        return Some("it is no path below /dev");
    };
    let plain = Path::new(inside).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || inside.contains("//") || inside.ends_with('/') || path.contains(char::is_control) {
        return Some("it is to be a plain path, without `.`, `..` and empty parts");
    }
    // A node has its path as its name, in which a `/` and a `%` are three characters.
    if path.len() + 2 * path.matches(['/', '%']).count() > 250 {
        return Some("it is too long");
    }
    let first = inside.split('/').next().unwrap_or(inside);
    let is_terminal = first.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_digit()));
    if in_guest && (TAKEN.contains(&first) || is_terminal) {
        return Some("every guest has that of its own: `path` gives it another one");
    }
    if in_guest && path.contains('*') {
        return Some("a `*` stands for names of the host, at the end of a key");
    }
    None
}

/// The folder of a key that stands for several devices by a trailing `*`, and what their names begin with.
#[must_use]
pub fn pattern(key: &str) -> Option<(&str, &str)> {
    key.strip_suffix('*')?.rsplit_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_four_digits() {
        let mode = |text: &str| DeviceMode::try_from(text.to_owned());
        assert_eq!(mode("0640").unwrap().bits(), 0o640);
        assert_eq!(mode("0640").unwrap().to_string(), "0640");
        for bad in ["640", "4755", "0668", "06600", "", "+066"] {
            mode(bad).unwrap_err();
        }
    }

    #[test]
    fn paths_stay_in_dev_and_off_what_guests_have() {
        for good in [
            "/dev/net/tun",
            "/dev/dri/renderD128",
            "/dev/ttyUSB0",
            "/dev/ttyS0",
            "/dev/serial/by-id/usb-a_b-if00",
        ] {
            assert_eq!(wrong_path(good, true), None, "{good}");
        }
        for bad in [
            "/etc/passwd",
            "/dev",
            "/dev/",
            "/dev/../etc",
            "/dev//kvm",
            "/dev/kvm/",
            "dev/kvm",
            "/dev/./kvm",
            "/dev/a\nb",
        ] {
            assert!(wrong_path(bad, false).is_some(), "{bad}");
        }
        let deep = |parts| format!("/dev{}", "/abcd".repeat(parts));
        assert_eq!(wrong_path(&deep(33), true), None);
        assert_eq!(wrong_path(&deep(40), true), Some("it is too long"), "its node's name would be");
        for taken in ["/dev/null", "/dev/pts/0", "/dev/shm/x", "/dev/tty1", "/dev/tty", "/dev/a*"] {
            assert_eq!(wrong_path(taken, false), None, "{taken}");
            assert!(wrong_path(taken, true).is_some(), "{taken}");
        }
        assert_eq!(pattern("/dev/dri/card*"), Some(("/dev/dri", "card")));
        assert_eq!(pattern("/dev/dri/*"), Some(("/dev/dri", "")));
        assert_eq!(pattern("/dev/kvm"), None);
    }
}
