//! The options of a tool as documents list them: the page in `docs`, and manual pages.

use super::Tool;
use super::option::{Here, Opt, Value};

/// An option, in words.
#[derive(Debug)]
pub(crate) struct OptionRow {
    /// All its spellings, each in backquotes.
    pub(crate) spelled: String,
    /// What it does here, or why it does nothing and what does.
    pub(crate) text: String,
}

/// The options of a tool: those that do something, and those that are refused.
pub(crate) fn listed(tool: Tool) -> (Vec<OptionRow>, Vec<OptionRow>) {
    let (mut honoured, mut refused) = (Vec::new(), Vec::new());
    for option in seen(tool) {
        let spelled = spellings(option);
        match option.here {
            Here::Honoured(does) => honoured.push(OptionRow { spelled, text: does.to_owned() }),
            Here::Refused { why, instead } => {
                refused.push(OptionRow { spelled, text: format!("{why}; {instead}") });
            }
        }
    }
    (honoured, refused)
}

/// The options of a tool that are not hidden by another one of the same name.
pub(super) fn seen(tool: Tool) -> Vec<&'static Opt> {
    let mut seen: Vec<&Opt> = Vec::new();
    for option in tool.options() {
        if seen.iter().all(|there| there.long != option.long) {
            seen.push(option);
        }
    }
    seen
}

/// All spellings: `-t SECONDS`, `--timeout=SECONDS`.
pub(super) fn spellings(option: &Opt) -> String {
    let (short, long) = match option.value {
        Value::No => (String::new(), String::new()),
        Value::Needed(value) => (format!(" {value}"), format!("={value}")),
        Value::Optional(value) => (format!("[{value}]"), format!("[={value}]")),
    };
    let mut all: Vec<String> = option.short.chars().map(|letter| format!("`-{letter}{short}`")).collect();
    all.push(format!("`--{}{long}`", option.long));
    all.join(", ")
}
