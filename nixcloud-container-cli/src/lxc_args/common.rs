//! The options that all LXC tools have, and what is read alike by several.

use std::path::PathBuf;

use nixcloud_container::{ContainerName, LogRequest, UnknownLevel};

use super::option::{Opt, flag, valued};
use super::parse::{Given, Parsed};
use super::{ArgsError, Tool, parse};

/// What is common to all tools. `-n`, `-o` and `-l` are in each tool's own table: not all of them honour those.
pub(super) const OPTIONS: &[Opt] = &[
    flag("q", "quiet", "print nothing").does("as `--quiet`: nothing but answers and errors is printed"),
    valued("P", "lxcpath", "PATH", "use another LXC path").refused(
        "the LXC path is the host configuration's",
        "`paths.lxc` in it, or another one by `--config`",
    ),
    valued("", "rcfile", "FILE", "load another configuration").refused(RCFILE_WHY, RCFILE_INSTEAD),
    flag("h?", "help", "print the tool's help").refused(HELP_WHY, HELP_INSTEAD),
    flag("", "usage", "print the tool's usage").refused(HELP_WHY, HELP_INSTEAD),
    flag("", "version", "print LXC's version").refused(HELP_WHY, HELP_INSTEAD),
];

pub(super) const RCFILE_WHY: &str = "the configuration is rendered from the container's generation";
pub(super) const RCFILE_INSTEAD: &str = "`lxcExtraConfig` in the container file takes lines for it";
const HELP_WHY: &str = "no LXC tool is run";
const HELP_INSTEAD: &str =
    "`nixcloud-container help COMMAND` helps, and docs/lxc-args.md has all these options";

/// `-n` of a tool for one container.
pub(super) const NAME: Opt = valued("n", "name", "NAME", "the container")
    .does("nothing more: it is to be the container that the command names");

/// `-o` and `-l` where liblxc has nothing to log.
pub(super) const NO_LOGFILE: Opt =
    valued("o", "logfile", "FILE", "where LXC logs").refused(LOG_WHY, LOG_INSTEAD);
pub(super) const NO_LOGPRIORITY: Opt =
    valued("l", "logpriority", "LEVEL", "how much LXC logs").refused(LOG_WHY, LOG_INSTEAD);
const LOG_WHY: &str = "LXC logs nothing of this";
const LOG_INSTEAD: &str = "`-v` and `-vv` tell what is done";

/// `-o` and `-l` where it has.
pub(super) const LOGFILE: Opt =
    valued("o", "logfile", "FILE", "where LXC logs").does("LXC logs there, this time alone");
pub(super) const LOGPRIORITY: Opt = valued("l", "logpriority", "LEVEL", "how much LXC logs")
    .does("TRACE, DEBUG, INFO, NOTICE, WARN, ERROR, CRIT, ALERT or FATAL");

/// Takes `-o` and `-l`; whether it was one of these. The file is as typed.
pub(super) fn log(log: &mut LogRequest, tool: Tool, given: &Given) -> Result<bool, ArgsError> {
    match given.option.long {
        "logfile" => log.file = Some(path(tool, "-o", given)?),
        "logpriority" => {
            log.level = Some(given.value().parse().map_err(|error: UnknownLevel| ArgsError::Invalid {
                tool,
                option: "-l",
                value: given.value().to_owned(),
                why: error.to_string(),
            })?);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Reads the words of a tool for the container `name`.
///
/// # Errors
/// Those of the parser; another container's name.
pub(super) fn read(tool: Tool, name: &ContainerName, words: &[String]) -> Result<Parsed, ArgsError> {
    let parsed = parse::parse(tool, words)?;
    for given in parsed.options.iter().filter(|given| given.option.long == "name") {
        if given.value() != name.as_str() {
            return Err(ArgsError::Invalid {
                tool,
                option: "-n",
                value: given.value().to_owned(),
                why: format!("the command is for `{name}`"),
            });
        }
    }
    Ok(parsed)
}

/// Refuses words that are no options.
pub(super) fn no_operands(tool: Tool, parsed: &Parsed, instead: &'static str) -> Result<(), ArgsError> {
    match parsed.operands.first() {
        None => Ok(()),
        Some(word) => Err(ArgsError::Operand { tool, word: word.clone(), instead }),
    }
}

/// A path: anything but nothing.
pub(super) fn path(tool: Tool, option: &'static str, given: &Given) -> Result<PathBuf, ArgsError> {
    if given.value().is_empty() {
        let why = "a path is not empty".to_owned();
        return Err(ArgsError::Invalid { tool, option, value: String::new(), why });
    }
    Ok(given.value().into())
}

/// `KEY=VAL` of `-s`, as LXC reads such a line: blanks around both go, and one pair of quotes around the value.
pub(super) fn item(tool: Tool, given: &Given) -> Result<(String, String), ArgsError> {
    let invalid = |why: &str| ArgsError::Invalid {
        tool,
        option: "-s",
        value: given.value().to_owned(),
        why: why.to_owned(),
    };
    let (key, value) = given.value().split_once('=').ok_or_else(|| invalid("KEY=VAL is wanted"))?;
    let (key, mut value) = (key.trim(), value.trim());
    // LXC passes over others without a word.
    if !key.starts_with("lxc.") {
        return Err(invalid("an LXC key begins with `lxc.`"));
    }
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            value = inner;
            break;
        }
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// `VAR=VAL`.
pub(super) fn variable(tool: Tool, given: &Given) -> Result<(String, String), ArgsError> {
    match given.value().split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(ArgsError::Invalid {
            tool,
            option: "-v",
            value: given.value().to_owned(),
            why: "VAR=VAL is wanted".to_owned(),
        }),
    }
}
