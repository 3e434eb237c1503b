//! Reads words as `getopt_long` does: letters in one word (`-Fd`, `-t10`), `--timeout=10`, `--timeout 10`, long names
//! cut short where that is clear, operands between options, and `--` before operands alone.

use super::option::{Here, Opt, Value};
use super::{ArgsError, Tool};

/// What the words are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parsed {
    /// The options in their order, with their values. None of them is one that is refused here.
    pub(super) options: Vec<Given>,
    /// The words that are none.
    pub(super) operands: Vec<String>,
}

/// An option that was given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) option: &'static Opt,
    /// Empty where the option takes none.
    pub(super) value: Option<String>,
}

impl Given {
    /// The value of an option that needs one.
    pub(super) fn value(&self) -> &str {
        self.value.as_deref().unwrap_or_default()
    }
}

/// Reads the words of `tool`.
///
/// # Errors
/// The first word that the tool would not take, or that is refused here.
pub(super) fn parse(tool: Tool, words: &[String]) -> Result<Parsed, ArgsError> {
    let mut parsed = Parsed::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.operands.extend(words.cloned());
            break;
        } else if let Some(long) = word.strip_prefix("--") {
            parsed.options.push(read_long(tool, long, &mut words)?);
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            read_letters(tool, letters, &mut words, &mut parsed.options)?;
        } else {
            parsed.operands.push(word.clone());
        }
    }
    Ok(parsed)
}

type Words<'a> = std::slice::Iter<'a, String>;

fn read_long(tool: Tool, text: &str, words: &mut Words<'_>) -> Result<Given, ArgsError> {
    let (name, attached) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let option = long_named(tool, name)?;
    let typed = format!("--{}", option.long);
    refuse(tool, option, &typed)?;
    let value = match (option.value, attached) {
        (Value::No, Some(_)) => return Err(ArgsError::Value { tool, option: typed }),
        (Value::Needed(value), None) => Some(next(tool, typed, value, words)?),
        (_, attached) => attached,
    };
    Ok(Given { option, value })
}

/// The option of that name, or the only one that begins so.
fn long_named(tool: Tool, name: &str) -> Result<&'static Opt, ArgsError> {
    if let Some(exact) = tool.options().find(|option| option.long == name) {
        return Ok(exact);
    }
    let mut of: Vec<&Opt> = Vec::new();
    for option in tool.options().filter(|option| option.long.starts_with(name)) {
        // The tool's own `rcfile` hides the common one.
        if of.iter().all(|there| there.long != option.long) {
            of.push(option);
        }
    }
    let option = format!("--{name}");
    match *of.as_slice() {
        [only] => Ok(only),
        [] => Err(ArgsError::Unknown { tool, option }),
        ref several => {
            let of = several.iter().map(|option| format!("--{}", option.long)).collect();
            Err(ArgsError::Ambiguous { tool, option, of })
        }
    }
}

fn read_letters(
    tool: Tool,
    letters: &str,
    words: &mut Words<'_>,
    into: &mut Vec<Given>,
) -> Result<(), ArgsError> {
    let mut rest = letters.chars();
    while let Some(letter) = rest.next() {
        let typed = format!("-{letter}");
        let Some(option) = tool.options().find(|option| option.short.contains(letter)) else {
            return Err(ArgsError::Unknown { tool, option: typed });
        };
        refuse(tool, option, &typed)?;
        let attached = Some(rest.as_str()).filter(|rest| !rest.is_empty()).map(str::to_owned);
        let value = match option.value {
            Value::No => {
                into.push(Given { option, value: None });
                continue;
            }
            Value::Optional(_) => attached,
            Value::Needed(value) => match attached {
                Some(attached) => Some(attached),
                None => Some(next(tool, typed, value, words)?),
            },
        };
        into.push(Given { option, value });
        break;
    }
    Ok(())
}

fn next(tool: Tool, option: String, value: &'static str, words: &mut Words<'_>) -> Result<String, ArgsError> {
    words.next().cloned().ok_or(ArgsError::NoValue { tool, option, value })
}

/// Before its value is looked at: a refused option is told as such, whatever follows it.
fn refuse(tool: Tool, option: &Opt, typed: &str) -> Result<(), ArgsError> {
    match option.here {
        Here::Honoured(_) => Ok(()),
        Here::Refused { why, instead } => Err(ArgsError::Refused {
            tool,
            option: typed.to_owned(),
            why: why.to_owned(),
            instead: instead.to_owned(),
        }),
    }
}
