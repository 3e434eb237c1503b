//! What LXC runs for a port of a bridge at each boot of the guest, also when it reboots from inside: a program of its own
//! that is to cost nothing. Where it fails, LXC refuses to boot the guest.
//!
//! ```text
//! PROGRAM --nixcloud-port INTERFACE POLICY  (what LXC adds: container, "net", "up", "veth", bridge, interface)
//! ```

use std::error::Error as _;
use std::io::Write;
use std::path::Path;

use crate::model::bridge_port::PortPolicy;
use crate::model::interface::{InterfaceId, Slot};
use crate::model::layout::LIMITS;
use crate::net::Netlink;
use crate::net::bridge_port::{self, Error};
use crate::render::{CGROUP_DEPTH, CGROUPS};
use crate::sys::cgroup::{self, noted};
use crate::sys::proc::Process;

/// Why a port was not set. What LXC says of it is the number that its program ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HookFailure {
    /// The words on its command line are of another version.
    Words,
    /// The kernel lacks the filters.
    Unsupported,
    /// The bridge cannot isolate a port.
    Isolate,
    /// There is no such port.
    NoPort,
    /// The program itself is not there, or cannot be run.
    Program,
    /// The guest could make any number of cgroups.
    Cgroups,
    /// A limit of its resources cannot be held.
    Limits,
    /// Something else.
    Other,
}

impl HookFailure {
    const ALL: [(Self, i32); 9] = [
        (Self::Words, 71),
        (Self::Unsupported, 72),
        (Self::Isolate, 73),
        (Self::NoPort, 74),
        (Self::Other, 75),
        (Self::Cgroups, 76),
        (Self::Limits, 77),
        // The shell's own words for it.
        (Self::Program, 127),
        (Self::Program, 126),
    ];

    fn code(self) -> i32 {
        Self::ALL.iter().find(|(failure, _)| *failure == self).map_or(1, |(_, code)| *code)
    }

    /// Finds it in what LXC logged.
    pub(crate) fn find(lines: &[String]) -> Option<Self> {
        let said = |code: i32| {
            let end = format!("exited with status {code}");
            lines.iter().any(|line| line.trim_end().ends_with(&end))
        };
        Self::ALL.iter().find(|(_, code)| said(*code)).map(|(failure, _)| *failure)
    }

    /// What went wrong.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Words => "its policy is not understood by the program that sets it",
            Self::Unsupported => {
                "this kernel lacks the packet filters of interfaces (sch_clsact and cls_bpf)"
            }
            Self::Isolate => "the kernel refuses to isolate it",
            Self::Program => "the program that sets its ports cannot be run",
            Self::Cgroups => "the guest cannot be kept from making cgroups of the host's controllers",
            Self::Limits => "a limit of the guest's resources cannot be held",
            Self::NoPort => "its bridge is none of the kernel's own",
            Self::Other => "the kernel refuses; LXC's log says more at level DEBUG",
        }
    }
}

/// Sets the port that the command line names, and ends the process.
pub(super) fn main() -> ! {
    let (code, text) = match set() {
        Ok(()) => (0, String::new()),
        Err((failure, text)) => (failure.code(), text),
    };
    // LXC logs it.
    let _ = writeln!(std::io::stdout(), "{text}");
    std::process::exit(code)
}

fn set() -> Result<(), (HookFailure, String)> {
    let mut words = std::env::args().skip(2);
    let (Some(interface), Some(policy)) = (words.next(), words.next()) else {
        return Err((HookFailure::Words, "an interface and its policy are missing".to_owned()));
    };
    let policy: PortPolicy = policy.parse().map_err(|error| (HookFailure::Words, format!("{error}")))?;
    let mut netlink = Netlink::open().map_err(|error| failure(&error.into()))?;
    bridge_port::set(&mut netlink, &interface, &policy).map_err(|error| failure(&error))?;
    // LXC has made the guest's cgroups by now, and its init waits. Once a guest.
    if InterfaceId::of_host_name(&interface).is_none_or(|(_, slot)| slot == Slot::First)
        && let Some(init) = std::env::var("LXC_PID").ok().and_then(|pid| pid.parse().ok())
    {
        cgroup::keep_controllers(init, CGROUPS, CGROUP_DEPTH).map_err(|error| {
            (HookFailure::Cgroups, format!("cannot keep the guest from making cgroups: {error}"))
        })?;
        hold_limits(init).map_err(|text| (HookFailure::Limits, text))?;
    }
    Ok(())
}

/// Holds the guest to the limits that it has by now: LXC itself knows those of its start alone.
fn hold_limits(init: i32) -> Result<(), String> {
    let Some(limits) =
        std::env::var_os("LXC_CONFIG_FILE").map(|config| Path::new(&config).with_file_name(LIMITS))
    else {
        return Ok(());
    };
    let limits = noted::load(&limits).map_err(|error| error.to_string())?;
    if limits.is_empty() {
        return Ok(());
    }
    let init = Process::now(init).ok_or("the guest is gone")?;
    let cgroups = cgroup::of(&[init]);
    for limit in &limits {
        cgroup::hold(&cgroups, limit).map_err(|error| {
            format!("cannot hold `resources.{}` ({} to {}): {error}", limit.key, limit.file, limit.value)
        })?;
    }
    Ok(())
}

fn failure(error: &Error) -> (HookFailure, String) {
    let failure = match error {
        Error::Unsupported { .. } => HookFailure::Unsupported,
        Error::Isolate { .. } => HookFailure::Isolate,
        Error::NoPort { .. } => HookFailure::NoPort,
        _ => HookFailure::Other,
    };
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    (failure, text)
}
