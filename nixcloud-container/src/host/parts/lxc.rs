//! liblxc, which only what starts or enters a guest loads: whether it is there is not seen before. And lxcfs, which each start
//! does without where it is not.

use crate::error::{self, Error};
use crate::host::Host;
use crate::host::lxcfs::{self, Lxcfs};
use crate::model::hint::Hint;
use crate::model::host_report::{Finding, Part, Verdict};
use crate::model::observe::Cancel;
use crate::render::AppArmor;

pub(super) fn check(host: &Host, cancel: &Cancel) -> Result<Vec<Finding>, Error> {
    let (verdict, what, mend) = match version::of(host)? {
        Ok(version) => (Verdict::Good, format!("version {version}"), None),
        Err((error, mend)) => (Verdict::Wrong, error::chain(&error), Some(mend.into())),
    };
    let liblxc = Finding { part: Part::Lxc, name: "liblxc".to_owned(), verdict, what, mend };
    Ok(vec![liblxc, own_size(host, cancel)?, apparmor(host.facts()?.apparmor)])
}

/// Whether guests have a profile.
fn apparmor(found: AppArmor) -> Finding {
    let (verdict, what, mend) = match found {
        AppArmor::On => (Verdict::Good, "each guest has a profile of its own", None),
        AppArmor::NoParser => (
            Verdict::Wrong,
            "the kernel has it, and there is no apparmor_parser: guests that are started now have no profile",
            Some("install its tools (Debian: `apparmor`; NixOS: `security.apparmor.enable`)"),
        ),
        AppArmor::Off => (Verdict::Off, "this kernel has none, or it is off: guests have no profile", None),
    };
    let (what, mend) = (what.to_owned(), mend.map(Hint::from));
    Finding { part: Part::Lxc, name: "AppArmor".to_owned(), verdict, what, mend }
}

/// Whether guests see their own size.
fn own_size(host: &Host, cancel: &Cancel) -> Result<Finding, Error> {
    let theirs = "guests see the memory and the processors of this host as their own";
    let (verdict, what, mend) = match lxcfs::look(host, cancel)? {
        Lxcfs::Offers(_) => (Verdict::Good, "guests see their own size".to_owned(), None),
        Lxcfs::Absent => (
            Verdict::Off,
            format!("it is not mounted at {}: {theirs}", host.config.paths.lxcfs.display()),
            Some("install it (Debian: `lxcfs`; NixOS: `virtualisation.lxc.lxcfs.enable`)"),
        ),
        Lxcfs::Fails(why) => (
            Verdict::Wrong,
            format!(
                "{why}: {theirs} if they are started now, and in those that run whoever reads `/proc/meminfo` waits or fails"
            ),
            Some("`systemctl restart lxcfs`, and then restart the guests"),
        ),
    };
    Ok(Finding { part: Part::Lxc, name: "lxcfs".to_owned(), verdict, what, mend: mend.map(Hint::from) })
}

#[cfg(feature = "liblxc")]
mod version {
    use super::{Error, Host};
    use crate::lxc::{Version, version};

    /// The version that this program would load, or why it would not, and how to mend that.
    #[expect(clippy::unnecessary_wraps, reason = "a program without liblxc asks its worker, which may fail")]
    pub(super) fn of(_: &Host) -> Result<Result<String, (version::Error, String)>, Error> {
        let mend = || format!("install LXC {} or later (Debian: `lxc`)", Version::NEEDED);
        Ok(Version::supported().map(|version| version.to_string()).map_err(|error| (error, mend())))
    }
}

#[cfg(not(feature = "liblxc"))]
mod version {
    use std::time::Duration;

    use super::{Error, Host};
    use crate::model::observe::Cancel;
    use crate::worker::{Answer, Request, Stdio, WorkerError};

    /// How long the worker may take to load it.
    const LIMIT: Duration = Duration::from_secs(10);

    /// The version that the worker loads, or why it does not, and how to mend that.
    pub(super) fn of(host: &Host) -> Result<Result<String, (WorkerError, String)>, Error> {
        match host.worker.call(&Request::Version, Stdio::Null, Some(LIMIT), &Cancel::new()) {
            Ok(Answer::Version(version)) => Ok(Ok(version)),
            Ok(answer) => Err(WorkerError::NoAnswer { status: format!("it said {answer:?}") }.into()),
            Err(error @ WorkerError::Lxc { .. }) => {
                Ok(Err((error, "install LXC, or a later one (Debian: `lxc`)".to_owned())))
            }
            Err(error) => Err(error.into()),
        }
    }
}
