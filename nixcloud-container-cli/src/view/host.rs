//! host up, host down, host check.

use nixcloud_container::{Change, Finding, HostChange, Verdict};
use serde::Serialize;

use super::View;
use crate::printer::{Printer, Tone};

/// What was done to the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HostView {
    /// Each of its parts, in the order in which they were changed.
    changes: Vec<ChangeView>,
}

/// What was done to a part of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ChangeView {
    /// What it is, such as `bridge`.
    part: &'static str,
    /// Its name.
    name: String,
    /// `made`, `mended`, `kept`, `foreign` (left alone), `removed` (put back, of a setting) or `absent`.
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
            printer.result(match (*part, *change) {
                ("sysctl", "made" | "mended") => format!("set {part} {name}"),
                ("sysctl", "kept") => format!("{part} {name} is set already"),
                ("sysctl", "removed") => format!("put back {part} {name}"),
                ("sysctl", "foreign") => {
                    format!("{part} {name} is needed or was changed by others: left alone")
                }
                ("firewall", "made" | "mended") => format!("added our rule to {part} {name}"),
                ("firewall", "kept") => format!("{part} {name} has our rule already"),
                ("firewall", "removed") => format!("removed our rule from {part} {name}"),
                (_, "kept") => format!("{part} {name} is there already"),
                (_, "foreign") => format!("{part} {name} is not ours: left alone"),
                (_, "absent") => format!("{part} {name} is not there"),
                (_, change) => format!("{change} {part} {name}"),
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
    /// What it is, such as `bridge`.
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

impl CheckView {
    /// What was seen, in columns; below it how to mend it.
    fn lines(&self, mark: &dyn Fn(Tone, &str) -> String) -> Vec<String> {
        let thing = |finding: &FindingView| format!("{} {}", finding.part, finding.name);
        let width =
            self.findings.iter().map(|finding| thing(finding).chars().count()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for finding in &self.findings {
            let FindingView { verdict, what, mend, .. } = finding;
            // Padded before it is coloured: the colour has no width.
            let word = match *verdict {
                "wrong" => mark(Tone::Error, "wrong"),
                "off" => mark(Tone::Warning, "off  "),
                _ => "good ".to_owned(),
            };
            lines.push(format!("{word}  {:width$}  {what}", thing(finding)));
            if let Some(mend) = mend {
                lines.push(format!("       {} {mend}", mark(Tone::Hint, "mend:")));
            }
        }
        lines
    }
}

impl View for CheckView {
    fn tell(&self, printer: &Printer) {
        for line in self.lines(&|tone, word| printer.marked(tone, word)) {
            printer.answer(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use nixcloud_container::Part;

    use super::*;

    #[test]
    fn findings_are_in_columns_and_mended_below() {
        let finding = |part, name: &str, verdict, mend: Option<&str>| Finding {
            part,
            name: name.into(),
            verdict,
            what: "it is so".into(),
            mend: mend.map(str::to_owned),
        };
        let view = CheckView::of(&[
            finding(Part::Bridge, "brNC-hostonly", Verdict::Good, None),
            finding(Part::Filter, "table", Verdict::Wrong, Some("`host up`")),
            finding(Part::Forward, "tcp-80", Verdict::Off, None),
        ]);
        assert!(!view.is_good());
        let lines = view.lines(&|_, word| format!("<{word}>"));
        assert_eq!(
            lines,
            [
                "good   bridge brNC-hostonly  it is so",
                "<wrong>  filter table          it is so",
                "       <mend:> `host up`",
                "<off  >  forward tcp-80        it is so",
            ]
        );
    }
}
