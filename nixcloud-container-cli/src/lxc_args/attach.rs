//! lxc-attach, of login and run.

use nixcloud_container::{ContainerName, Elevated, Environment, Namespace, User};

use super::common::{self, NAME, NO_LOGFILE, NO_LOGPRIORITY};
use super::option::{Opt, flag, valued};
use super::parse::Given;
use super::{ArgsError, Tool};

const ALL_PRIVILEGES: &str = "CAP|CGROUP|LSM";

pub(super) const OPTIONS: &[Opt] = &[
    NAME,
    flag("e", "elevated-privileges", "keep privileges of the host: all, or those named")
        .optional(ALL_PRIVILEGES)
        .does("-eCAP: the capabilities that the configuration drops. The others are refused: a guest could use them against the host"),
    valued("a", "arch", "ARCH", "another architecture for the program")
        .refused("a guest has one architecture", "`setarch` in the guest"),
    valued(
        "s",
        "namespaces",
        "MOUNT|PID|UTSNAME|IPC|USER|NETWORK",
        "enter these namespaces alone; implies -e",
    )
    .does("without MOUNT and USER a command of the host, as its root, that sees the guest's network or processes; what is half of the guest is refused"),
    flag("R", "remount-sys-proc", "show its namespaces in /proc and /sys")
        .does("with -s, without MOUNT: /proc and /sys are mounted anew for the command"),
    flag("", "clear-env", "begin with an empty environment").does("the default here"),
    flag("", "keep-env", "keep the environment (the default)")
        .does("the command gets the caller's environment, too; of it and --clear-env the last counts"),
    valued("", "keep-var", "VAR", "keep this variable of the environment").does("the same; repeatable"),
    valued("v", "set-var", "VAR=VAL", "set a variable").does("the same; repeatable"),
    valued("L", "pty-log", "FILE", "log the terminal's output")
        .refused("nothing records a terminal here", "`script -c 'nixcloud-container login NAME' FILE`"),
    valued("f", "rcfile", "FILE", "load another configuration").refused(
        "the command runs in the guest as it was booted",
        "`nixcloud-container state --json NAME` shows what it was booted with",
    ),
    valued("u", "uid", "UID", "the user of the command").does("the guest's user, by number"),
    valued("g", "gid", "GID", "its group").does("the guest's group, by number"),
    valued("c", "context", "CONTEXT", "its SELinux context")
        .refused("the guest's own profile stays on", "there is no way around it"),
    NO_LOGFILE.refused(LOG_WHY, LOG_INSTEAD),
    NO_LOGPRIORITY.refused(LOG_WHY, LOG_INSTEAD),
];

const LOG_WHY: &str = "no file is kept of it";
const LOG_INSTEAD: &str = "what LXC says is in the error, where it fails";

/// What `-l` asks of login and run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attach {
    pub(crate) user: Option<User>,
    pub(crate) environment: Environment,
    /// Variables of the caller's that come along.
    pub(crate) keep: Vec<String>,
    /// Variables that are set.
    pub(crate) set: Vec<(String, String)>,
    pub(crate) elevated: Elevated,
    /// The namespaces that it enters; all when not given.
    pub(crate) namespaces: Option<Vec<Namespace>>,
    pub(crate) remount: bool,
    pub(crate) quiet: bool,
}

const TOOL: Tool = Tool::Attach;

impl Attach {
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(name: &ContainerName, words: &[String]) -> Result<Self, ArgsError> {
        let parsed = common::read(TOOL, name, words)?;
        common::no_operands(TOOL, &parsed, "`nixcloud-container run NAME COMMAND` runs a command")?;
        let mut asked = Self::default();
        let (mut uid, mut gid) = (None, None);
        for given in &parsed.options {
            match given.option.long {
                "elevated-privileges" => asked.elevated = elevated(given)?,
                "namespaces" => asked.namespaces = Some(namespaces(given)?),
                "remount-sys-proc" => asked.remount = true,
                "clear-env" => asked.environment = Environment::Clear,
                "keep-env" => asked.environment = Environment::Keep,
                "keep-var" => asked.keep.push(variable_name(given)?),
                "set-var" => asked.set.push(common::variable(TOOL, given)?),
                "uid" => uid = Some(id("-u", given)?),
                "gid" => gid = Some(id("-g", given)?),
                "quiet" => asked.quiet = true,
                _ => {}
            }
        }
        if uid.is_some() || gid.is_some() {
            asked.user = Some(User::ids(uid.unwrap_or(0), gid));
        }
        if asked.namespaces.is_none() {
            if asked.remount {
                return Err(ArgsError::Conflict {
                    tool: TOOL,
                    one: "-R",
                    other: "all namespaces: it is for -s",
                });
            }
            // A program of the host has them anyway.
            if asked.elevated.cgroup || asked.elevated.lsm {
                return Err(ArgsError::Refused {
                    tool: TOOL,
                    option: "-e".to_owned(),
                    why: "without the guest's limits or its security profile the command could be used against the \
                          host"
                        .to_owned(),
                    instead: "`-eCAP` leaves it the capabilities of the guest's root".to_owned(),
                });
            }
        }
        Ok(asked)
    }
}

fn invalid(option: &'static str, given: &Given, why: impl Into<String>) -> ArgsError {
    ArgsError::Invalid { tool: TOOL, option, value: given.value().to_owned(), why: why.into() }
}

fn elevated(given: &Given) -> Result<Elevated, ArgsError> {
    let Some(words) = &given.value else { return Ok(Elevated::ALL) };
    let mut elevated = Elevated::default();
    for word in words.split('|') {
        match word {
            "CAP" => elevated.capabilities = true,
            "CGROUP" => elevated.cgroup = true,
            "LSM" => elevated.lsm = true,
            _ => return Err(invalid("-e", given, format!("privileges are {ALL_PRIVILEGES}"))),
        }
    }
    Ok(elevated)
}

fn namespaces(given: &Given) -> Result<Vec<Namespace>, ArgsError> {
    let words = given.value().split('|');
    words.map(|word| word.parse().map_err(|error| invalid("-s", given, format!("{error}")))).collect()
}

fn variable_name(given: &Given) -> Result<String, ArgsError> {
    let name = given.value();
    if name.is_empty() || name.contains('=') {
        return Err(invalid("--keep-var", given, "the name of a variable is wanted"));
    }
    Ok(name.to_owned())
}

fn id(option: &'static str, given: &Given) -> Result<u32, ArgsError> {
    // The last number means "unchanged" to the kernel.
    let id = given.value().parse().ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| invalid(option, given, "a number is wanted"))
}
