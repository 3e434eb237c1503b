//! What is asked of the worker and what it answers, as JSON over its control channel.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::devices::DeviceNode;
use crate::model::exit::Exit;
use crate::model::layout::Layout;
use crate::model::log_level::Level;
use crate::model::name::ContainerName;
use crate::model::namespace::{Elevated, Namespace};
use crate::model::setters::setters;
use crate::model::user::{Account, User};
use crate::render::LockedSource;
use crate::sys::proc::Process;
use crate::sys::userns::IdSpan;

/// One container as LXC knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The LXC path, canonical.
    pub(crate) lxc_path: PathBuf,
    /// The container's name.
    pub(crate) name: String,
}

impl Target {
    /// That container.
    pub(crate) fn of(layout: &Layout, name: &ContainerName) -> Self {
        Self { lxc_path: layout.lxc_path().to_owned(), name: name.to_string() }
    }
}

/// Where LXC logs what it does for one request, and how much.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogRequest {
    /// The file, appended to; relative to the caller's current directory. Without one a start logs into the
    /// container's `lxc.log`, made anew, and other requests into memory.
    pub file: Option<PathBuf>,
    /// The least grave of what is written; warnings and errors when not given. Errors are always written: they are what
    /// a failure is explained by.
    pub level: Option<Level>,
}

setters!(LogRequest: "Where and how much LXC logs by itself." {
    with_file => file: Option<PathBuf>,
    with_level => level: Option<Level>,
});

/// What the worker is asked to do. One request, one answer, then it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Boot a container.
    Start {
        target: Target,
        /// The caller's pid: a start ends with its caller.
        caller: u32,
        /// Where LXC logs; the monitor keeps it open.
        log: LogFile,
        /// The folder that shows the locked sources.
        locked: PathBuf,
        /// What it shows.
        sources: Vec<LockedSource>,
        /// What of the store is shown there, where it is not all of it.
        store: Option<StoreClosure>,
        /// Where LXC finds the program that sets the ports, which is the worker's own.
        kept: Option<PathBuf>,
        /// The user namespace that is made for it; without, LXC makes it.
        user_namespace: Option<IdSpan>,
        /// The device nodes that it gets.
        devices: Vec<DeviceNode>,
        /// The host's id of the guest's root, whose they are.
        root: u32,
        /// Items for this boot, beside those of the configuration file.
        items: Vec<(String, String)>,
        /// Whether the worker itself is the monitor, and answers when the guest has ended.
        foreground: bool,
    },
    /// Make the paths of these closures those that a running guest sees of the store.
    ShowPaths {
        /// The asking process: with it, the worker ends.
        caller: u32,
        /// When it was asked, in nanoseconds since the host was booted: the later one of two counts.
        asked: u64,
        /// The guest's monitor, in whose mount namespace they are shown.
        monitor: Process,
        /// The folder that shows the locked sources.
        locked: PathBuf,
        /// The lists of the closures that are to be seen.
        lists: Vec<PathBuf>,
        /// The lists of those that may go: one of which the guest has a path in use stays whole.
        leaving: Vec<PathBuf>,
    },
    /// Make these devices those that a running guest has.
    ShowDevices {
        /// The asking process: with it, the worker ends.
        caller: u32,
        target: Target,
        /// The guest's init; without, it is between two boots.
        init: Option<Process>,
        /// The host's id of the guest's root, whose they are.
        root: u32,
        /// The guest's monitor, in whose mount namespace the nodes are.
        monitor: Process,
        /// The folder that shows the locked sources.
        locked: PathBuf,
        /// The nodes.
        devices: Vec<DeviceNode>,
        /// Changes of the rules of its cgroup that only LXC can make: file and rule.
        rules: Vec<(String, String)>,
    },
    /// Show what comes out of a pseudo terminal, whose master is the file descriptor after the channel, on the worker's
    /// own stdout, until nobody has its other end.
    Show {
        /// The cgroups of the guest and its monitor, which end where both have lost their caller.
        cgroups: Vec<PathBuf>,
        /// Whether stdin and stdout are a terminal whose keys go in.
        keys: bool,
    },
    /// Run a command in a container, on the worker's own stdin, stdout and stderr.
    Attach { target: Target, command: AttachCommand },
    /// Read who a user of the guest with this init is.
    Identify { init: Process, user: User },
    /// Wait until the guest with this init has booted, or has ended.
    AwaitBoot { init: Process },
    /// Ask liblxc whether it takes these configuration items.
    Check {
        items: Vec<(String, String)>,
        /// Where it logs; in memory when not given.
        log: Option<LogFile>,
    },
    /// Say what the lxcfs that is mounted there offers: it may hang.
    Lxcfs { place: PathBuf },
    /// Show a part of the store as a guest would see it, with these ids where they are given, and to nobody.
    TryStore { ids: Option<IdSpan> },
    /// Say which liblxc there is.
    Version,
    /// Freeze or thaw.
    Freeze { target: Target, frozen: bool },
}

/// What of the store a guest sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreClosure {
    /// The lists of the closures.
    pub(crate) lists: Vec<PathBuf>,
    /// Whose the paths are, there; without, the host's.
    pub(crate) ids: Option<IdSpan>,
}

/// A log of a start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    pub(crate) level: Level,
    /// Whether what an earlier start wrote is dropped.
    pub(crate) anew: bool,
}

/// A command in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttachCommand {
    /// Program and arguments; the program is looked for in the guest's `PATH`.
    pub(crate) argv: Vec<OsString>,
    /// What the program is told that it is called, where that is not `argv[0]`.
    pub(crate) arg0: Option<OsString>,
    /// The whole environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// Where it runs. No path, which JSON has only where it is text.
    pub(crate) cwd: Option<OsString>,
    /// Whether it runs in `/` where there is no such folder.
    pub(crate) cwd_or_root: bool,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    /// All its groups but for `gid`.
    pub(crate) groups: Vec<u32>,
    /// Whether the worker puts a pseudo terminal of the guest between.
    pub(crate) terminal: bool,
    /// The namespaces that it enters; all when not given.
    pub(crate) namespaces: Option<Vec<Namespace>>,
    pub(crate) elevated: Elevated,
    pub(crate) remount: bool,
    /// How long it may take. Needs the next one.
    pub(crate) limit: Option<Duration>,
    /// All that it starts is held together, and once it is told to end it may take so long until all of that is killed.
    pub(crate) patience: Option<Duration>,
}

/// A user as the guest knows it. What the guest's files said is checked: no control characters, absolute paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All groups, `gid` among them; empty where the guest does not know the user.
    pub(crate) groups: Vec<u32>,
    pub(crate) name: Option<String>,
    pub(crate) home: Option<String>,
    pub(crate) shell: Option<String>,
}

/// A user or group that the guest does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NoAccount {
    /// Whether it is a group.
    pub group: bool,
    /// The user or group that was asked for.
    pub wanted: Account,
    /// Some that there are.
    pub known: Vec<String>,
}

setters!(NoAccount: "A user that the guest does not have." (wanted: Account) {
    with_group => group: bool,
    with_known => known: Vec<String>,
});

/// What the worker answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// The container runs; this is its init.
    Started { init_pid: i32 },
    /// The guest that was started in the foreground has ended.
    Ended,
    /// The paths are shown, and those of the closures that could go stay (by their place in the request), since the guest has
    /// them in use.
    PathsShown { kept: Vec<usize> },
    /// The devices are as they are to be, but for those (by their place in the request) that the guest itself is in the way of,
    /// with why: those it gets when it boots again.
    DevicesShown { left: Vec<(usize, String)> },
    /// The command ran.
    Exited(Exit),
    /// The command was never run: it could not enter this folder.
    NoFolder { folder: OsString, errno: i32 },
    /// This is the user.
    Identified(Identity),
    /// There is no such user or group.
    NoAccount(NoAccount),
    /// The items that liblxc refuses, with its words.
    Checked { refused: Vec<(String, String, String)> },
    /// These paths below lxcfs stand for the same ones below a guest's root.
    Lxcfs { paths: Vec<String> },
    /// The version of liblxc, which will do.
    Version(String),
    /// Done.
    Done,
    /// It failed.
    Failed(SentFailure),
}

/// A failure in the worker, in words, since the C library gives no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentFailure {
    /// What failed and why, outermost first.
    pub(crate) chain: Vec<String>,
    /// LXC's own lines about it.
    pub(crate) log: Vec<String>,
    /// Where the kernel cannot show the store as it is to be seen: whether it may be possible without the guest's ids.
    #[serde(default)]
    pub(crate) of_store: Option<bool>,
}
