//! The page of the host configuration, from the file that shows each key with its default.

use clap_mangen::roff::{Roff, bold, roman};
use nixcloud_container::config::{DEFAULT_PATH, SHOWN};

use super::{Page, inline, listing, references, title};

/// A key as the file shows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'t> {
    /// The comment above it.
    pub(super) text: String,
    /// `key = value`.
    pub(super) line: &'t str,
    /// Whether it is a comment, since it has no default.
    pub(super) unset: bool,
}

/// A table and its keys; that of the file itself has no name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Table<'t> {
    pub(super) name: Option<&'t str>,
    pub(super) text: String,
    pub(super) keys: Vec<Key<'t>>,
}

/// Reads the file: comments explain the key or table below them; `#key = value` is a key without a default,
/// `#[table]` a table.
pub(super) fn tables(file: &str) -> Vec<Table<'_>> {
    let mut tables = vec![Table::default()];
    let mut text: Vec<&str> = Vec::new();
    for line in file.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            text.push(comment);
        } else if let Some(name) = header(line) {
            tables.push(Table {
                name: Some(name),
                text: std::mem::take(&mut text).join(" "),
                keys: Vec::new(),
            });
        } else if line.is_empty() {
            // What stands above an empty line is about the whole table.
            if let Some(table) = tables.last_mut().filter(|_| !text.is_empty()) {
                table.text = std::mem::take(&mut text).join(" ");
            }
        } else if let Some(table) = tables.last_mut() {
            let unset = line.starts_with('#');
            let text = std::mem::take(&mut text).join(" ");
            table.keys.push(Key { text, line: line.trim_start_matches('#'), unset });
        }
    }
    tables
}

/// The name in `[name]`, or in `#[name]`, a table that there is not without its keys.
fn header(line: &str) -> Option<&str> {
    line.strip_prefix('#').unwrap_or(line).strip_prefix('[')?.strip_suffix(']')
}

pub(super) fn page() -> Page {
    let mut roff = Roff::new();
    title(&mut roff, "nixcloud-container.toml", "5");
    roff.control("SH", ["NAME"]);
    roff.text([roman("nixcloud-container.toml - host configuration of nixcloud-container")]);
    roff.control("SH", ["SYNOPSIS"]).text([bold(DEFAULT_PATH)]);
    roff.control("SH", ["DESCRIPTION"]);
    let tables = tables(SHOWN);
    if let Some(top) = tables.first() {
        roff.text(inline(&top.text));
    }
    for table in tables {
        match table.name {
            None => roff.control("SH", ["KEYS"]),
            Some(name) => roff.control("SH", [format!("[{name}]").as_str()]).text(inline(&table.text)),
        };
        for key in table.keys {
            let unset = if key.unset { "  (not set)" } else { "" };
            roff.control("TP", []).text([bold(key.line), roman(unset)]).text(inline(&key.text));
        }
    }
    roff.control("SH", ["EXAMPLES"]);
    roff.text([roman("Guests get more time to shut down, and Nix takes its packages from a folder:")]);
    roff.control("PP", []);
    let example = ["[nix]", "nixpkgs = \"/srv/nixpkgs\"", "", "[timeouts]", "stop = 120"];
    listing(&mut roff, &example.map(str::to_owned));
    roff.control("SH", ["FILES"]);
    roff.control("TP", []).text([bold(DEFAULT_PATH)]).text(inline(
        "Read where neither `--config` nor NIXCLOUD_CONTAINER_CONFIG names another file. Where it does not exist, \
         all keys have their defaults.",
    ));
    references(&mut roff, &[("nixcloud-container".to_owned(), "1"), ("lxc.container.conf".to_owned(), "5")]);
    Page { section: "man5", file: "nixcloud-container.toml.5".to_owned(), text: roff.render() }
}
