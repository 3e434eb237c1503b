//! `-l`: what the LXC tool of a command takes, as of LXC 5 and 6. Data first: each tool's options are a table, which
//! says of each of them what it does here, or why it does nothing and what does.
//!
//! None of these tools is run. Their words are read as `getopt_long` reads them, and become a typed request.

mod attach;
mod common;
mod create;
mod destroy;
mod error;
mod listing;
mod ls;
mod option;
mod parse;
mod start;
mod stop;

pub(crate) use attach::Attach;
pub(crate) use create::Create;
pub(crate) use destroy::Destroy;
pub(crate) use error::ArgsError;
pub(crate) use listing::{OptionRow, listed};
pub(crate) use ls::{Column, Ls};
pub(crate) use start::Start;
pub(crate) use stop::{How, Stop};

use option::Opt;

/// An LXC tool, each one that of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    /// lxc-create, of create, update and plan.
    Create,
    /// lxc-start.
    Start,
    /// lxc-stop, of stop, restart and terminate.
    Stop,
    /// lxc-attach, of login and run.
    Attach,
    /// lxc-ls, of list.
    Ls,
    /// lxc-destroy.
    Destroy,
}

impl Tool {
    /// The tool of a command, if it has one.
    pub(crate) fn of(command: &str) -> Option<Self> {
        Some(match command {
            "create" | "update" | "plan" => Self::Create,
            "start" => Self::Start,
            "stop" | "restart" | "terminate" => Self::Stop,
            "login" | "run" => Self::Attach,
            "list" => Self::Ls,
            "destroy" => Self::Destroy,
            _ => return None,
        })
    }

    /// The tool's own name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "lxc-create",
            Self::Start => "lxc-start",
            Self::Stop => "lxc-stop",
            Self::Attach => "lxc-attach",
            Self::Ls => "lxc-ls",
            Self::Destroy => "lxc-destroy",
        }
    }

    /// The tool's own options, before the common ones, as the tool looks them up.
    fn own(self) -> &'static [Opt] {
        match self {
            Self::Create => create::OPTIONS,
            Self::Start => start::OPTIONS,
            Self::Stop => stop::OPTIONS,
            Self::Attach => attach::OPTIONS,
            Self::Ls => ls::OPTIONS,
            Self::Destroy => destroy::OPTIONS,
        }
    }

    /// All its options.
    fn options(self) -> impl Iterator<Item = &'static Opt> + Clone {
        self.own().iter().chain(common::OPTIONS)
    }
}

#[cfg(test)]
mod docs;
#[cfg(test)]
mod tests;
