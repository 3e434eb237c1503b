//! `lxcExtraConfig` and items that are given beside it: which keys keep the protection.

use super::keys::{self, MOUNT};
use super::mount_entry::MountEntry;
use crate::model::config::HostConfig;

/// One `key = value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraLine {
    /// The line's number in `lxcExtraConfig`, from 1; `None` for an item that was given beside it.
    pub number: Option<usize>,
    /// A name for the source of a mount, which no other line has.
    pub place: String,
    /// The LXC key.
    pub key: String,
    /// Its value, as LXC would read it.
    pub value: String,
}

/// A line of `lxcExtraConfig`, or an item given beside it, that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}`{line}`: {why}", place(*.number))]
#[non_exhaustive]
pub struct ExtraError {
    /// The line's number, from 1; `None` for an item.
    pub number: Option<usize>,
    /// The line.
    pub line: String,
    /// Why it is refused.
    pub why: String,
}

fn place(number: Option<usize>) -> String {
    number.map_or_else(
        || "LXC configuration item ".to_owned(),
        |number| format!("lxcExtraConfig line {number}, "),
    )
}

/// An item for one boot that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{key} = {value}` cannot be set for one boot: {why}")]
#[non_exhaustive]
pub struct ItemError {
    /// The LXC key.
    pub key: String,
    /// The value of the line.
    pub value: String,
    /// Why it is refused.
    pub why: String,
}

/// Judges one item as a line of `lxcExtraConfig` is judged.
///
/// # Errors
/// When it is refused.
pub(super) fn item(key: &str, value: &str, allowed: &[String]) -> Result<(), ItemError> {
    let refuse = |why: String| ItemError { key: key.to_owned(), value: value.to_owned(), why };
    check(key, value, allowed).map_err(refuse)
}

/// Splits `lxcExtraConfig` as LXC reads a file and refuses what would undo the protection.
/// `allowed` are the keys that the host configuration allows by name.
///
/// # Errors
/// The first line that is refused.
pub fn parse(text: &str, allowed: &[String]) -> Result<Vec<ExtraLine>, ExtraError> {
    each(text, allowed).filter_map(Result::transpose).collect()
}

/// As [`parse`], but what is refused is told apart, with mount entries that are: for lines that nobody can change.
pub fn keep(text: &str, allowed: &[String]) -> (Vec<ExtraLine>, Vec<ExtraError>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for line in each(text, allowed).filter_map(Result::transpose) {
        let judged = line.and_then(|line| {
            if line.key != MOUNT {
                return Ok(line);
            }
            let refuse =
                |why| ExtraError { number: line.number, line: format!("{} = {}", line.key, line.value), why };
            MountEntry::parse(&line.value).map_err(refuse)?;
            Ok(line)
        });
        match judged {
            Ok(line) => kept.push(line),
            Err(error) => refused.push(error),
        }
    }
    (kept, refused)
}

/// Each line; `None` for one that says nothing.
fn each<'a>(
    text: &'a str,
    allowed: &'a [String],
) -> impl Iterator<Item = Result<Option<ExtraLine>, ExtraError>> + 'a {
    text.lines().enumerate().map(|(index, raw)| {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let number = Some(index + 1);
        let refuse = |why: String| ExtraError { number, line: line.to_owned(), why };
        let Some((key, value)) = line.split_once('=') else {
            return Err(refuse("it is not `key = value`".to_owned()));
        };
        let (key, value) = (key.trim(), unquote(value.trim()));
        check(key, value, allowed).map_err(refuse)?;
        let place = format!("extra-{}", index + 1);
        Ok(Some(ExtraLine { number, place, key: key.to_owned(), value: value.to_owned() }))
    })
}

/// Items that were given beside `lxcExtraConfig`, judged as its lines are. `kind` is a word for their places.
///
/// # Errors
/// The first item that is refused.
pub fn items(
    items: &[(String, String)],
    kind: &str,
    allowed: &[String],
) -> Result<Vec<ExtraLine>, ExtraError> {
    let mut lines = Vec::with_capacity(items.len());
    for (index, (key, value)) in items.iter().enumerate() {
        let (key, value) = (key.trim(), value.trim());
        let refuse = |why: String| ExtraError { number: None, line: format!("{key} = {value}"), why };
        check(key, value, allowed).map_err(refuse)?;
        let place = format!("{kind}-{}", index + 1);
        lines.push(ExtraLine { number: None, place, key: key.to_owned(), value: value.to_owned() });
    }
    Ok(lines)
}

/// Whether LXC reads it as it is judged here, and whether it keeps the protection.
fn check(key: &str, value: &str, allowed: &[String]) -> Result<(), String> {
    let odd = |text: &str| text.contains(|c: char| c.is_control() && c != '\t');
    if odd(key) || odd(value) {
        return Err("it holds a control character".to_owned());
    }
    if !keys::is_whole(key) {
        return Err(format!("`{key}` is no key of LXC's configuration"));
    }
    // LXC would take off a second pair, and then see another value than the one judged here.
    if value.starts_with(['"', '\'']) {
        return Err("a value within quotes is not quoted again".to_owned());
    }
    if allowed.iter().any(|pattern| matches(pattern, key)) { Ok(()) } else { keys::judge(key, value) }
}

/// LXC takes one pair of quotes off a value.
fn unquote(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// Whether a pattern, of which a trailing `*` matches the rest, matches.
pub(crate) fn matches(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.len() > start.len() && key.starts_with(start),
        None => key == pattern,
    }
}

/// Whether the host configuration allows a key by name.
#[must_use]
pub fn allows(config: &HostConfig, key: &str) -> bool {
    config.allow_lxc_keys.iter().any(|pattern| matches(pattern, key))
}

#[cfg(test)]
mod tests;
