//! Devices of the host: which there are, and which of them surely do no harm in a guest.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::model::devices::{DeviceFault, DeviceMode};

/// A device node of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostDevice {
    /// Where it is, behind all links.
    pub path: PathBuf,
    /// Whether it is a block device.
    pub block: bool,
    /// The kernel's number of its driver.
    pub major: u32,
    /// The driver's number of it.
    pub minor: u32,
}

/// Whether a device may be shown to a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// To anyone who asks for it.
    Free,
    /// Where the host's configuration names it.
    Named,
    /// To nobody.
    Never,
}

const MEM: u32 = 1;
const MISC: u32 = 10;
const MSR: u32 = 202;
const DRI: u32 = 226;

const TUN: u32 = 200;
const FUSE: u32 = 229;
const KVM: u32 = 232;

/// What nobody is given, by the names that it is known by.
const NOBODYS: [&str; 3] = ["/dev/mem", "/dev/kmem", "/dev/port"];

/// The first and the last minor number of render nodes: those that draw, and set no screen. Beyond are such of any kind.
const RENDER: u32 = 128;
const RENDER_LAST: u32 = 191;

/// What the kernel says of terminals.
#[derive(Debug, Default)]
pub struct Terminals {
    /// The numbers of serial lines: a driver's, and from which to which.
    serial: Vec<(u32, u32, u32)>,
    /// Those that are the host's console.
    consoles: Vec<(u32, u32)>,
}

impl Terminals {
    /// As the kernel has them now. What it does not say, nobody is given.
    #[must_use]
    pub fn now() -> Self {
        match (fs::read_to_string("/proc/tty/drivers"), fs::read_to_string("/proc/consoles")) {
            (Ok(drivers), Ok(consoles)) => Self::of(&drivers, &consoles),
            _ => Self::default(),
        }
    }

    fn of(drivers: &str, consoles: &str) -> Self {
        let serial = drivers.lines().filter_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            // The driver's name may have blanks.
            let [.., major, minors, "serial"] = words.as_slice() else { return None };
            let (first, last) = minors.split_once('-').unwrap_or((minors, minors));
            Some((major.parse().ok()?, first.parse().ok()?, last.parse().ok()?))
        });
        let consoles = consoles.lines().filter_map(|line| {
            let (major, minor) = line.split_whitespace().last()?.split_once(':')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        Self { serial: serial.collect(), consoles: consoles.collect() }
    }

    /// Whether it is a serial line, and not one on which the host speaks.
    fn is_free(&self, major: u32, minor: u32) -> bool {
        self.serial.iter().any(|(of, first, last)| *of == major && (*first..=*last).contains(&minor))
            && !self.consoles.contains(&(major, minor))
    }
}

impl HostDevice {
    /// What is at a path, behind all links.
    ///
    /// # Errors
    /// That there is nothing, no device, or one elsewhere than in `/dev`.
    pub fn at(path: &Path) -> Result<Self, DeviceFault> {
        // Also where the host does not have it: to be told of it only when it comes would be too late.
        if NOBODYS.iter().any(|nobodys| path == Path::new(nobodys)) {
            return Err(DeviceFault::Never);
        }
        let path = fs::canonicalize(path).map_err(|_| DeviceFault::Missing)?;
        if !path.starts_with("/dev/") {
            return Err(DeviceFault::Outside);
        }
        let found = fs::symlink_metadata(&path).map_err(|_| DeviceFault::Missing)?;
        let kind = found.file_type();
        if !kind.is_char_device() && !kind.is_block_device() {
            return Err(DeviceFault::NoDevice);
        }
        let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
        Ok(Self { path, block: kind.is_block_device(), major, minor })
    }

    /// Whether a guest may have it.
    #[must_use]
    pub fn judge(&self, terminals: &Terminals) -> Judgement {
        match (self.block, self.major, self.minor) {
            // Memory, ports and registers of the machine: /dev/mem, /dev/kmem, /dev/port, /dev/cpu/N/msr.
            (false, MEM, 1 | 2 | 4) | (false, MSR, _) => Judgement::Never,
            // What every guest has: null, zero, full, random, urandom.
            (false, MEM, 3 | 5 | 7 | 8 | 9)
            | (false, MISC, TUN | FUSE | KVM)
            | (false, DRI, RENDER..=RENDER_LAST) => Judgement::Free,
            (false, major, minor) if terminals.is_free(major, minor) => Judgement::Free,
            _ => Judgement::Named,
        }
    }

    /// Who may open it where nobody says.
    #[must_use]
    pub fn usual_mode(&self) -> DeviceMode {
        match (self.block, self.major, self.minor) {
            (false, MISC, TUN | FUSE | KVM) => DeviceMode::ALL,
            _ => DeviceMode::OWNER_AND_GROUP,
        }
    }
}

/// The names of the devices in a folder of the host's, in order; of those alone that begin with `start`.
///
/// # Errors
/// When it cannot be read.
pub fn in_folder(folder: &Path, start: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // A link counts as where it leads.
        let Ok(found) = fs::metadata(entry.path()) else { continue };
        if name.starts_with(start)
            && (found.file_type().is_char_device() || found.file_type().is_block_device())
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTY: u32 = 4;

    fn judged(block: bool, major: u32, minor: u32) -> Judgement {
        let terminals = Terminals::of(
            "/dev/tty             /dev/tty        5       0 system:/dev/tty\n\
             usbserial            /dev/ttyUSB   188 0-511 serial\n\
             serial               /dev/ttyS       4 64-95 serial\n\
             pty_slave            /dev/pts      136 0-1048575 pty:slave\n\
             unknown              /dev/tty        4 1-63 console\n",
            "tty0                 -WU (E     )    4:7\nttyS0                -W- (EC  p a)    4:64\n",
        );
        HostDevice { path: "/dev/x".into(), block, major, minor }.judge(&terminals)
    }

    #[test]
    fn a_few_are_free_and_some_are_nobodys() {
        for (major, minor) in
            [(1, 3), (10, 200), (10, 229), (10, 232), (226, 128), (226, 130), (188, 0), (TTY, 65)]
        {
            assert_eq!(judged(false, major, minor), Judgement::Free, "{major}:{minor}");
        }
        // The host's console, its screens, its terminals, a card that sets its screens, and whatever is not known.
        for (major, minor) in
            [(TTY, 64), (TTY, 1), (5, 0), (136, 3), (226, 0), (226, 192), (10, 237), (1, 11), (13, 64)]
        {
            assert_eq!(judged(false, major, minor), Judgement::Named, "{major}:{minor}");
        }
        for (major, minor) in [(1, 1), (1, 2), (1, 4), (202, 0)] {
            assert_eq!(judged(false, major, minor), Judgement::Never, "{major}:{minor}");
        }
        // The same numbers are others for block devices.
        for (major, minor) in [(10, 200), (8, 0), (1, 1)] {
            assert_eq!(judged(true, major, minor), Judgement::Named, "{major}:{minor}");
        }
    }

    #[test]
    fn the_hosts_devices_are_found() {
        let null = HostDevice::at(Path::new("/dev/null")).unwrap();
        assert_eq!((null.block, null.major, null.minor), (false, 1, 3));
        assert_eq!(HostDevice::at(Path::new("/dev/kmem")), Err(DeviceFault::Never), "there or not");
        assert_eq!(HostDevice::at(Path::new("/dev/no-such")), Err(DeviceFault::Missing));
        assert_eq!(HostDevice::at(Path::new("/dev/shm")), Err(DeviceFault::NoDevice));
        assert_eq!(HostDevice::at(Path::new("/dev/fd")), Err(DeviceFault::Outside));
        assert!(in_folder(Path::new("/dev"), "nul").unwrap().contains(&"null".to_owned()));
    }
}
