//! lxc-ls, of list.

use nixcloud_container::{Listed, State};
use regex_lite::Regex;

use super::common::{NO_LOGFILE, NO_LOGPRIORITY};
use super::option::{Opt, flag, valued};
use super::parse::Given;
use super::{ArgsError, Tool, parse};

pub(super) const OPTIONS: &[Opt] = &[
    flag("1", "line", "a name a line").does("names alone, one a line, on a terminal too"),
    flag("f", "fancy", "a table")
        .does("lxc-ls's table: NAME STATE AUTOSTART GROUPS IPV4 IPV6 UNPRIVILEGED, in a pipe too"),
    valued("F", "fancy-format", "COLUMNS", "the columns of the table, by commas")
        .does("of NAME STATE PID RAM SWAP AUTOSTART GROUPS INTERFACE IPV4 IPV6 UNPRIVILEGED; implies -f"),
    flag("", "active", "active ones")
        .does("those that have a live init: running, frozen, starting, stopping, unreachable"),
    flag("", "running", "running ones").does(STATE),
    flag("", "frozen", "frozen ones").does(STATE),
    flag("", "stopped", "stopped ones").does(STATE),
    flag("", "defined", "those with a configuration").does("nothing more: none without one is listed"),
    flag("", "nesting", "containers in containers, too").optional("NUM").refused(
        "the containers of a guest are that guest's",
        "`nixcloud-container run NAME lxc-ls` asks it",
    ),
    valued("g", "groups", "GROUPS", "those that are in all of these groups, by commas")
        .does("groups are `lxc.group` lines of `lxcExtraConfig` or `-s`"),
    valued("", "filter", "REGEX", "those whose names match")
        .does("a regular expression; as a word of its own, too"),
    valued("n", "name", "NAME", "(nothing)")
        .refused("the list is of all containers", "`--filter '^NAME$'` shows one"),
    NO_LOGFILE,
    NO_LOGPRIORITY,
];

const STATE: &str = "those that are; of several such options, any";

/// What `-l` asks of list.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ls {
    /// Names alone.
    pub(crate) line: bool,
    /// The columns of a table.
    pub(crate) columns: Option<Vec<Column>>,
    /// States, any of which is wanted; empty: all.
    pub(crate) states: Vec<Wanted>,
    /// Groups, all of which are wanted.
    pub(crate) groups: Vec<String>,
    pub(crate) filter: Option<Regex>,
    pub(crate) quiet: bool,
}

/// A state by lxc-ls's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Active,
    Running,
    Frozen,
    Stopped,
}

/// A column of lxc-ls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    State,
    Pid,
    Ram,
    Swap,
    Autostart,
    Groups,
    Interface,
    Ipv4,
    Ipv6,
    Unprivileged,
}

impl Column {
    const ALL: [Self; 11] = [
        Self::Name,
        Self::State,
        Self::Pid,
        Self::Ram,
        Self::Swap,
        Self::Autostart,
        Self::Groups,
        Self::Interface,
        Self::Ipv4,
        Self::Ipv6,
        Self::Unprivileged,
    ];

    /// The columns of `-f`.
    const FANCY: [Self; 7] =
        [Self::Name, Self::State, Self::Autostart, Self::Groups, Self::Ipv4, Self::Ipv6, Self::Unprivileged];

    /// Whether it tells what is inside the guest's network namespace.
    pub(crate) fn looks_inside(self) -> bool {
        matches!(self, Self::Interface | Self::Ipv4 | Self::Ipv6)
    }

    /// Its heading.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::Name => "NAME",
            Self::State => "STATE",
            Self::Pid => "PID",
            Self::Ram => "RAM",
            Self::Swap => "SWAP",
            Self::Autostart => "AUTOSTART",
            Self::Groups => "GROUPS",
            Self::Interface => "INTERFACE",
            Self::Ipv4 => "IPV4",
            Self::Ipv6 => "IPV6",
            Self::Unprivileged => "UNPRIVILEGED",
        }
    }
}

const TOOL: Tool = Tool::Ls;

impl Ls {
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(words: &[String]) -> Result<Self, ArgsError> {
        let parsed = parse::parse(TOOL, words)?;
        let mut asked = Self::default();
        for given in &parsed.options {
            match given.option.long {
                "line" => asked.line = true,
                "fancy" => _ = asked.columns.get_or_insert_with(|| Column::FANCY.to_vec()),
                "fancy-format" => asked.columns = Some(columns(given)?),
                "active" => asked.states.push(Wanted::Active),
                "running" => asked.states.push(Wanted::Running),
                "frozen" => asked.states.push(Wanted::Frozen),
                "stopped" => asked.states.push(Wanted::Stopped),
                "groups" => asked.groups = words_of(given.value()).map(str::to_owned).collect(),
                "filter" => asked.filter = Some(regex(given.value())?),
                "quiet" => asked.quiet = true,
                _ => {}
            }
        }
        match (parsed.operands.as_slice(), &asked.filter) {
            ([], _) => {}
            ([word], None) => asked.filter = Some(regex(word)?),
            ([word, ..], _) => {
                let instead = "one filter is taken";
                return Err(ArgsError::Operand { tool: TOOL, word: word.clone(), instead });
            }
        }
        Ok(asked)
    }
}

impl Ls {
    /// Whether a container is wanted.
    pub(crate) fn wants(&self, listed: &Listed) -> bool {
        if self.filter.as_ref().is_some_and(|filter| !filter.is_match(listed.name())) {
            return false;
        }
        let Listed::Container(status) = listed else {
            // What is not ours, or cannot be read, has no state and no groups that could be asked for.
            return self.states.is_empty() && self.groups.is_empty();
        };
        (self.states.is_empty() || self.states.iter().any(|wanted| wanted.is(status.state)))
            && self.groups.iter().all(|group| status.groups.contains(group))
    }
}

impl Wanted {
    fn is(self, state: State) -> bool {
        match self {
            Self::Active => state.is_live(),
            Self::Running => state == State::Running,
            Self::Frozen => state == State::Frozen,
            Self::Stopped => state == State::Stopped,
        }
    }
}

fn words_of(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

fn columns(given: &Given) -> Result<Vec<Column>, ArgsError> {
    let all = || Column::ALL.map(Column::heading).join(", ");
    let invalid = |value: &str| ArgsError::Invalid {
        tool: TOOL,
        option: "-F",
        value: value.to_owned(),
        why: format!("columns are {}", all()),
    };
    let columns: Result<Vec<Column>, ArgsError> = words_of(given.value())
        .map(|word| {
            let known = Column::ALL.into_iter().find(|column| column.heading().eq_ignore_ascii_case(word));
            known.ok_or_else(|| invalid(word))
        })
        .collect();
    let columns = columns?;
    if columns.is_empty() { Err(invalid(given.value())) } else { Ok(columns) }
}

fn regex(text: &str) -> Result<Regex, ArgsError> {
    Regex::new(text).map_err(|error| ArgsError::Invalid {
        tool: TOOL,
        option: "--filter",
        value: text.to_owned(),
        why: error.to_string(),
    })
}
