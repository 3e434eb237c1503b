//! lxc-destroy, of destroy.

use nixcloud_container::ContainerName;

use super::common::{self, NAME, NO_LOGFILE, NO_LOGPRIORITY};
use super::option::{Opt, flag};
use super::{ArgsError, Tool, parse};

pub(super) const OPTIONS: &[Opt] = &[
    NAME,
    flag("f", "force", "end it first if it runs").does("as `--force`"),
    flag("s", "snapshots", "destroy its snapshots, too")
        .does("nothing more: a container goes with all its generations"),
    NO_LOGFILE,
    NO_LOGPRIORITY,
];

/// What `-l` asks of destroy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Destroy {
    pub(crate) force: bool,
    pub(crate) quiet: bool,
}

impl Destroy {
    /// Reads the words; `name` is the container, where the command names one alone.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(name: Option<&ContainerName>, words: &[String]) -> Result<Self, ArgsError> {
        let parsed = match name {
            Some(name) => common::read(Tool::Destroy, name, words)?,
            None => parse::parse(Tool::Destroy, words)?,
        };
        common::no_operands(Tool::Destroy, &parsed, "the containers are named before `-l`")?;
        let given = |long| parsed.options.iter().any(|given| given.option.long == long);
        Ok(Self { force: given("force"), quiet: given("quiet") })
    }
}
