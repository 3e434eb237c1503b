//! lxc-stop, of stop, restart and terminate.

use std::time::Duration;

use nixcloud_container::{ContainerName, StopRequest};

use super::common::{self, NAME, NO_LOGFILE, NO_LOGPRIORITY};
use super::option::{Opt, flag, valued};
use super::{ArgsError, Tool};

pub(super) const OPTIONS: &[Opt] = &[
    NAME,
    flag("r", "reboot", "reboot it")
        .does("asks the guest to boot again, within the time limit; `stop` alone takes it"),
    flag("W", "nowait", "do not wait").does("asks and returns; `stop` alone takes it"),
    valued("t", "timeout", "SECONDS", "how long to wait before it is killed").does(
        "killed when it still runs after that time, and said so; 0: as -W. Without it nothing is killed",
    ),
    flag("k", "kill", "kill it").does("as `terminate`"),
    flag("", "nokill", "do not kill it after the time limit").does("with -t: only wait that long"),
    flag("", "nolock", "do not take LXC's lock").does("with -k: nothing more, no lock of LXC is taken"),
    NO_LOGFILE,
    NO_LOGPRIORITY,
];

const TOOL: Tool = Tool::Stop;

/// What `-l` asks of stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) how: How,
    pub(crate) quiet: bool,
}

/// How it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// At once.
    Kill,
    /// By its init.
    Ask(StopRequest),
}

impl Stop {
    /// Reads the words.
    ///
    /// # Errors
    /// Words that are refused, by lxc-stop's own rules too.
    pub(crate) fn parse(name: &ContainerName, words: &[String]) -> Result<Self, ArgsError> {
        let parsed = common::read(TOOL, name, words)?;
        common::no_operands(TOOL, &parsed, "lxc-stop takes nothing else")?;
        let (mut quiet, mut kill, mut nokill, mut nolock) = (false, false, false, false);
        let (mut reboot, mut wait, mut timeout) = (false, true, None);
        for given in &parsed.options {
            match given.option.long {
                "reboot" => reboot = true,
                "nowait" => wait = false,
                "timeout" => timeout = Some(seconds(given.value())?),
                "kill" => kill = true,
                "nokill" => nokill = true,
                "nolock" => nolock = true,
                "quiet" => quiet = true,
                _ => {}
            }
        }
        let conflict = |one, other| Err(ArgsError::Conflict { tool: TOOL, one, other });
        if kill {
            if nokill {
                return conflict("-k", "--nokill");
            }
            if reboot {
                return conflict("-k", "-r");
            }
            if wait && timeout.is_some_and(|limit| limit > 0) {
                return conflict("-k", "a time limit (-t)");
            }
            return Ok(Self { how: How::Kill, quiet });
        }
        if nolock {
            return conflict("--nolock", "a clean shutdown: it is for -k");
        }
        wait &= timeout != Some(0);
        Ok(Self {
            how: How::Ask(
                StopRequest::new()
                    .with_reboot(reboot)
                    .with_timeout(
                        timeout.filter(|limit| *limit > 0).map(|limit| Duration::from_secs(limit.into())),
                    )
                    .with_then_kill(wait && timeout.is_some() && !nokill && !reboot)
                    .with_wait(wait),
            ),
            quiet,
        })
    }

    /// With the time limit of the command's own `-t`, which kills nothing. `None` where the words say another thing.
    pub(crate) fn within(self, seconds: u32) -> Option<Self> {
        match self.how {
            How::Ask(request @ StopRequest { timeout: None, wait: true, .. }) => {
                let timeout = Some(Duration::from_secs(seconds.into()));
                Some(Self { how: How::Ask(request.with_timeout(timeout)), ..self })
            }
            _ => None,
        }
    }

    /// For `restart`, which starts it again when it has ended.
    ///
    /// # Errors
    /// When it would not end, or not be waited for.
    pub(crate) fn for_restart(self) -> Result<Self, ArgsError> {
        match self.how {
            How::Ask(StopRequest { reboot: true, .. }) => refused("-r", "`restart` boots it again by itself"),
            How::Ask(StopRequest { wait: false, .. }) => {
                refused("-W", "`restart` starts it when it has ended")
            }
            _ => Ok(self),
        }
    }

    /// For `terminate`, which is `-k` already.
    ///
    /// # Errors
    /// When it is to be asked to end.
    pub(crate) fn for_terminate(self) -> Result<Self, ArgsError> {
        let why = "`terminate` ends it at once";
        match self.how {
            How::Ask(StopRequest { reboot: true, .. }) => refused("-r", why),
            How::Ask(StopRequest { wait: false, .. }) => refused("-W", why),
            How::Ask(StopRequest { timeout: Some(_), .. }) => refused("-t", why),
            _ => Ok(Self { how: How::Kill, ..self }),
        }
    }
}

fn refused(option: &str, why: &str) -> Result<Stop, ArgsError> {
    let instead = "`nixcloud-container stop` takes it".to_owned();
    Err(ArgsError::Refused { tool: TOOL, option: option.to_owned(), why: why.to_owned(), instead })
}

fn seconds(text: &str) -> Result<u32, ArgsError> {
    text.parse().map_err(|_| ArgsError::Invalid {
        tool: TOOL,
        option: "-t",
        value: text.to_owned(),
        why: "a number of seconds is wanted; it is not waited for ever".to_owned(),
    })
}
