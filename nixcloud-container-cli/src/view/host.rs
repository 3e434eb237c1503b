//! host up, host down, host check.

use nixcloud_container::{Finding, HostChange, Verdict};
use serde::Serialize;

use super::{View, spelled};
use crate::screen::colours::Stream;
use crate::screen::printer::{Printer, Tone};
use crate::screen::terminal;
use crate::screen::wrap::wrapped;

/// No text is wrapped into fewer columns.
const NARROWEST: usize = 24;

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
    /// What it is: `bridge`, `ids` (kept from users of the host), `limit` (of the kernel) ...
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
            change: change.change.as_str(),
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
            verdict: finding.verdict.as_str(),
            what: finding.what.clone(),
            mend: finding.mend.as_ref().map(spelled),
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
    /// What was seen, in columns; below it how to mend it. Wrapped where there is a `limit`.
    fn lines(&self, limit: Option<usize>, mark: &dyn Fn(Tone, &str) -> String) -> Vec<String> {
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
            let first = format!("{word}  {:width$}  ", thing(finding));
            lines.extend(hanging(&first, 9 + width, what, limit));
            if let Some(mend) = mend {
                lines.extend(hanging(&format!("       {} ", mark(Tone::Hint, "mend:")), 13, mend, limit));
            }
        }
        lines
    }

    /// `1 wrong, 2 off, 9 good`.
    fn summary(&self) -> String {
        let count = |word: &str| self.findings.iter().filter(|finding| finding.verdict == word).count();
        let told: Vec<String> = ["wrong", "off", "good"]
            .into_iter()
            .map(|word| (count(word), word))
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        told.join(", ")
    }
}

/// `text` behind `first`, which looks `indent` wide; what does not fit stands below, from there on, or further to the left
/// where that leaves no room.
fn hanging(first: &str, indent: usize, text: &str, limit: Option<usize>) -> Vec<String> {
    let Some(limit) = limit else { return vec![format!("{first}{text}")] };
    let below = if indent + NARROWEST <= limit { indent } else { 7 };
    let mut lines = wrapped(text, indent, below, limit);
    if let Some(line) = lines.first_mut() {
        line.insert_str(0, first);
        line.truncate(line.trim_end().len());
    }
    lines
}

impl View for CheckView {
    fn tell(&self, printer: &Printer) {
        for line in self.lines(terminal::columns(Stream::Out), &|tone, word| printer.marked(tone, word)) {
            printer.answer(line);
        }
        // A long list scrolls away what is wrong.
        if printer.for_people() {
            printer.result(self.summary());
        }
    }
}

#[cfg(test)]
mod tests {
    use nixcloud_container::Hint;
    use nixcloud_container::Part;
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn findings_are_in_columns_and_mended_below() {
        let finding = |part: Part, name: &str, verdict: Verdict, mend: Option<&str>| -> Finding {
            let mend = mend.map(Hint::from);
            from_value(
                json!({ "part": part, "name": name, "verdict": verdict, "what": "it is so", "mend": mend }),
            )
            .unwrap()
        };
        let view = CheckView::of(&[
            finding(Part::Bridge, "brNC-hostonly", Verdict::Good, None),
            finding(Part::Filter, "table", Verdict::Wrong, Some("`host up`")),
            finding(Part::Forward, "tcp-80", Verdict::Off, None),
        ]);
        assert!(!view.is_good());
        let lines = view.lines(None, &|_, word| format!("<{word}>"));
        assert_eq!(
            lines,
            [
                "good   bridge brNC-hostonly  it is so",
                "<wrong>  filter table          it is so",
                "       <mend:> `host up`",
                "<off  >  forward tcp-80        it is so",
            ]
        );
        assert_eq!(view.summary(), "1 wrong, 1 off, 1 good");
    }

    #[test]
    fn what_does_not_fit_stands_below() {
        let text = "it is so because of this and that, which is long";
        let wrapped = hanging("good  port x  ", 14, text, Some(40));
        assert_eq!(
            wrapped,
            ["good  port x  it is so because of this", "              and that, which is long",]
        );
        assert_eq!(
            hanging("good  port x  ", 14, text, Some(30)),
            ["good  port x  it is so because", "       of this and that, which", "       is long"]
        );
        assert_eq!(hanging("", 0, text, None), [text]);
    }
}
