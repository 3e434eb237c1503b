//! lxc-start, of start.

use nixcloud_container::ContainerName;

use super::common::{self, LOGFILE, LOGPRIORITY, Log, NAME};
use super::option::{Opt, flag, valued};
use super::{ArgsError, Tool};

pub(super) const OPTIONS: &[Opt] = &[
    NAME,
    flag("d", "daemon", "run it in the background (the default)")
        .does("returns once the guest runs: the default; of -d and -F the last counts"),
    flag("F", "foreground", "run it on this terminal")
        .does("the guest's console is this terminal, and the command ends when the guest does"),
    valued("f", "rcfile", "FILE", "load another configuration").refused(
        common::RCFILE_WHY,
        "`-s KEY=VAL` adds to it for one start, `lxcExtraConfig` in the container file for all",
    ),
    valued("s", "define", "KEY=VAL", "an LXC configuration item")
        .does("for this start alone; checked as `lxcExtraConfig` is and set after it"),
    valued("c", "console", "FILE", "the console of the guest")
        .does("the guest's console is this file or terminal; `none`: it has none"),
    valued("L", "console-log", "FILE", "where the console's output is logged")
        .does("what the guest prints on its console is added to this file"),
    flag("C", "close-all-fds", "close inherited files").does("nothing more: the guest never inherits a file"),
    valued("p", "pidfile", "FILE", "where the pid is written")
        .does("the process id of LXC's monitor is written there"),
    valued("", "share-net", "NAME|PID", "share a network namespace").does(SHARE),
    valued("", "share-ipc", "NAME|PID", "share an IPC namespace").does(SHARE),
    valued("", "share-uts", "NAME|PID", "share a UTS namespace").does(SHARE),
    valued("", "share-pid", "NAME|PID", "share a pid namespace").does(SHARE),
    LOGFILE.does("LXC's log of this start goes there instead of the container's `lxc.log`"),
    LOGPRIORITY,
];

const SHARE: &str = "the guest uses the namespace of that running container or process";

/// A namespace that a guest can share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    Net,
    Ipc,
    Uts,
    Pid,
}

/// What `-l` asks of start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) foreground: bool,
    pub(crate) items: Vec<(String, String)>,
    /// As typed; not yet absolute.
    pub(crate) console: Option<String>,
    /// As typed.
    pub(crate) console_log: Option<String>,
    /// As typed.
    pub(crate) pidfile: Option<String>,
    /// Whose namespaces it uses: a container's name or a process id. One for each kind.
    pub(crate) share: Vec<(Shared, String)>,
    pub(crate) log: Log,
    pub(crate) quiet: bool,
}

impl Start {
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(name: &ContainerName, words: &[String]) -> Result<Self, ArgsError> {
        const TOOL: Tool = Tool::Start;
        let parsed = common::read(TOOL, name, words)?;
        common::no_operands(TOOL, &parsed, "what the guest boots is its generation's init")?;
        let mut asked = Self::default();
        for given in &parsed.options {
            match given.option.long {
                "daemon" => asked.foreground = false,
                "foreground" => asked.foreground = true,
                "define" => asked.items.push(common::item(TOOL, given)?),
                "console" => asked.console = Some(common::path(TOOL, "-c", given)?),
                "console-log" => asked.console_log = Some(common::path(TOOL, "-L", given)?),
                "pidfile" => asked.pidfile = Some(common::path(TOOL, "-p", given)?),
                "share-net" => asked.share("--share-net", Shared::Net, given.value())?,
                "share-ipc" => asked.share("--share-ipc", Shared::Ipc, given.value())?,
                "share-uts" => asked.share("--share-uts", Shared::Uts, given.value())?,
                "share-pid" => asked.share("--share-pid", Shared::Pid, given.value())?,
                "quiet" => asked.quiet = true,
                _ => _ = asked.log.take(TOOL, given)?,
            }
        }
        Ok(asked)
    }

    /// The last of a kind counts, as with the tool.
    fn share(&mut self, option: &'static str, kind: Shared, whose: &str) -> Result<(), ArgsError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if whose.is_empty() || !whose.bytes().all(plain) {
            let why = "a container's name or a process id is wanted".to_owned();
            return Err(ArgsError::Invalid { tool: Tool::Start, option, value: whose.to_owned(), why });
        }
        self.share.retain(|(there, _)| *there != kind);
        self.share.push((kind, whose.to_owned()));
        Ok(())
    }
}
