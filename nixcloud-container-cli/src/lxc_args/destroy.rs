//! lxc-destroy, of destroy.

use nixcloud_container::ContainerName;

use super::common::{self, NAME, NO_LOGFILE, NO_LOGPRIORITY};
use super::option::{Opt, flag};
use super::{ArgsError, Tool};

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
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused.
    pub(crate) fn parse(name: &ContainerName, words: &[String]) -> Result<Self, ArgsError> {
        let parsed = common::read(Tool::Destroy, name, words)?;
        common::no_operands(Tool::Destroy, &parsed, "one container is destroyed at a time")?;
        let given = |long| parsed.options.iter().any(|given| given.option.long == long);
        Ok(Self { force: given("force"), quiet: given("quiet") })
    }
}
