//! lxc-start, of start.

use nixcloud_container::{ContainerName, Namespace, StartRequest};

use super::common::{self, LOGFILE, LOGPRIORITY, NAME};
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
        .does("the process id of the guest's init is written there"),
    valued("", "share-net", "NAME|PID", "share a network namespace")
        .refused("the guest has ids of its own, and with them no right to mount /sys there", SHARE_INSTEAD),
    valued("", "share-ipc", "NAME|PID", "share an IPC namespace").does(SHARE),
    valued("", "share-uts", "NAME|PID", "share a UTS namespace").does(SHARE),
    valued("", "share-pid", "NAME|PID", "share a pid namespace")
        .refused("the guest has ids of its own, and with them no right to mount /proc there", SHARE_INSTEAD),
    LOGFILE.does("LXC's log of this start goes there instead of the container's `lxc.log`"),
    LOGPRIORITY,
];

const SHARE_INSTEAD: &str = "`--share-ipc` and `--share-uts` work";
const SHARE: &str = "the guest uses the namespace of that running container or process";

/// What `-l` asks of start. Paths are as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) request: StartRequest,
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
        let (mut request, mut quiet) = (StartRequest::default(), false);
        for given in &parsed.options {
            match given.option.long {
                "daemon" => request.foreground = false,
                "foreground" => request.foreground = true,
                "define" => request.items.push(common::item(TOOL, given)?),
                "console" => request.console = Some(common::path(TOOL, "-c", given)?),
                "console-log" => request.console_log = Some(common::path(TOOL, "-L", given)?),
                "pidfile" => request.pidfile = Some(common::path(TOOL, "-p", given)?),
                "share-ipc" => share(&mut request, "--share-ipc", Namespace::Ipc, given.value())?,
                "share-uts" => share(&mut request, "--share-uts", Namespace::Uts, given.value())?,
                "quiet" => quiet = true,
                _ => _ = common::log(&mut request.log, TOOL, given)?,
            }
        }
        Ok(Self { request, quiet })
    }
}

/// The last of a kind counts, as with the tool.
fn share(
    request: &mut StartRequest,
    option: &'static str,
    kind: Namespace,
    whose: &str,
) -> Result<(), ArgsError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if whose.is_empty() || !whose.bytes().all(plain) {
        let why = "a container's name or a process id is wanted".to_owned();
        return Err(ArgsError::Invalid { tool: Tool::Start, option, value: whose.to_owned(), why });
    }
    request.share.retain(|(there, _)| *there != kind);
    request.share.push((kind, whose.to_owned()));
    Ok(())
}
