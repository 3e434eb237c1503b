//! host up, host down, host check.

use nixcloud_container::{Change, Finding, HostChange, Verdict};
use serde::Serialize;

use super::View;
use crate::printer::Printer;

/// What was done to the host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HostView {
    /// Each of its parts, in the order in which they were changed.
    changes: Vec<ChangeView>,
}

/// What was done to a part of the host.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ChangeView {
    /// What it is: `bridge`, `ids` (kept from users of the host), `limit` (of the kernel) ...
    part: &'static str,
    /// Its name.
    name: String,
    /// `made`, `mended`, `kept`, `foreign` (left alone), `removed` or `absent`.
    change: &'static str,
}

impl HostView {
    pub(crate) fn of(changes: &[HostChange]) -> Self {
        let view = |change: &HostChange| ChangeView {
            part: change.part.as_str(),
            name: change.name.clone(),
            change: match change.change {
                Change::Made => "made",
                Change::Mended => "mended",
                Change::Kept => "kept",
                Change::Foreign => "foreign",
                Change::Removed => "removed",
                Change::Absent => "absent",
                _ => "unknown",
            },
        };
        Self { changes: changes.iter().map(view).collect() }
    }
}

impl View for HostView {
    fn tell(&self, printer: &Printer) {
        for ChangeView { part, name, change } in &self.changes {
            printer.result(match *change {
                "kept" => format!("{part} {name} is there already"),
                "foreign" => format!("{part} {name} is not ours: left alone"),
                "absent" => format!("{part} {name} is not there"),
                change => format!("{change} {part} {name}"),
            });
        }
    }
}

/// How the host is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckView {
    /// Whether nothing is wrong.
    good: bool,
    /// What was looked at.
    findings: Vec<FindingView>,
}

/// How a part of the host is.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct FindingView {
    /// What it is: `bridge`, `ids` (kept from users of the host), `limit` (of the kernel) ...
    part: &'static str,
    /// Its name.
    name: String,
    /// `good`, `off` (optional, and not there) or `wrong`.
    verdict: &'static str,
    /// What was seen.
    what: String,
    /// How to mend it.
    mend: Option<String>,
}

impl CheckView {
    pub(crate) fn of(findings: &[Finding]) -> Self {
        let view = |finding: &Finding| FindingView {
            part: finding.part.as_str(),
            name: finding.name.clone(),
            verdict: match finding.verdict {
                Verdict::Good => "good",
                Verdict::Off => "off",
                _ => "wrong",
            },
            what: finding.what.clone(),
            mend: finding.mend.clone(),
        };
        Self {
            good: findings.iter().all(|finding| finding.verdict < Verdict::Wrong),
            findings: findings.iter().map(view).collect(),
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.good
    }
}

impl View for CheckView {
    fn tell(&self, printer: &Printer) {
        for FindingView { part, name, verdict, what, mend } in &self.findings {
            printer.result(format!("{verdict:<5}  {part} {name}: {what}"));
            if let Some(mend) = mend {
                printer.result(format!("       mend: {mend}"));
            }
        }
    }
}
