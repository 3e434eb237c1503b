//! `list -l`: the same containers, in the shapes that lxc-ls has. The JSON is that of `list`.

use std::net::IpAddr;

use nixcloud_container::{Listed, Status};
use serde::Serialize;

use super::{ListView, NOTHING, Table, View, or_nothing};
use crate::lxc_args::Column;
use crate::screen::printer::Printer;

/// Names alone, a line each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct NamesView(pub(crate) ListView);

impl View for NamesView {
    fn tell(&self, printer: &Printer) {
        self.0.tell_names(printer);
        self.0.tell_trouble(printer);
    }
}

/// A table with columns of lxc-ls.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct LsView {
    list: ListView,
    #[serde(skip)]
    lines: Vec<String>,
}

/// What the columns of a container are, in the words of lxc-ls.
pub(crate) type Row<'a> = Box<dyn Fn(Column) -> String + 'a>;

impl LsView {
    /// As lxc-ls, without a heading where there is nothing.
    pub(crate) fn new<'a>(list: ListView, columns: &[Column], rows: impl Iterator<Item = Row<'a>>) -> Self {
        let headings: Vec<&str> = columns.iter().map(|column| column.heading()).collect();
        let mut table = Table::new(&headings);
        for row in rows {
            table.row(columns.iter().map(|column| row(*column)));
        }
        let lines = if list.containers.is_empty() { Vec::new() } else { table.rows() };
        Self { list, lines }
    }
}

impl View for LsView {
    fn tell(&self, printer: &Printer) {
        printer.answers(&self.lines);
        self.list.tell_trouble(printer);
    }
}

/// The cells of one container; `inside` is what its running guest's interfaces have.
pub(crate) fn row<'a>(listed: &'a Listed, inside: &[(String, IpAddr)]) -> Row<'a> {
    let inside = inside.to_vec();
    match listed {
        Listed::Container(status) => Box::new(move |column| cell(status, &inside, column)),
        other => {
            let state = if matches!(other, Listed::Broken { .. }) { "BROKEN" } else { "FOREIGN" };
            Box::new(move |column| match column {
                Column::Name => other.name().to_owned(),
                Column::State => state.to_owned(),
                _ => NOTHING.to_owned(),
            })
        }
    }
}

fn cell(status: &Status, inside: &[(String, IpAddr)], column: Column) -> String {
    let addresses = |wanted: fn(&IpAddr) -> bool| {
        let addresses = inside.iter().map(|(_, address)| address).filter(|address| wanted(address));
        joined(addresses.map(ToString::to_string))
    };
    match column {
        Column::Name => status.name.to_string(),
        Column::State => status.state.to_string().to_uppercase(),
        Column::Pid => or_nothing(status.init_pid),
        Column::Ram => or_nothing(status.memory.map(megabytes)),
        Column::Swap => or_nothing(status.swap.map(megabytes)),
        Column::Autostart => u8::from(status.autostart).to_string(),
        Column::Groups => joined(status.groups.iter().cloned()),
        Column::Interface => joined(inside.iter().map(|(interface, _)| interface.clone())),
        Column::Ipv4 => addresses(IpAddr::is_ipv4),
        Column::Ipv6 => addresses(IpAddr::is_ipv6),
        // None of ours is anything else.
        Column::Unprivileged => "true".to_owned(),
    }
}

/// By commas, each one once.
fn joined(words: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = Vec::new();
    for word in words {
        if !all.contains(&word) {
            all.push(word);
        }
    }
    if all.is_empty() { NOTHING.to_owned() } else { all.join(", ") }
}

/// `12.34MB`, in units of 2^20 as lxc-ls has them.
fn megabytes(bytes: u64) -> String {
    let hundredths = u128::from(bytes) * 100 / (1 << 20);
    format!("{}.{:02}MB", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_lxc_ls_prints_them() {
        assert_eq!([0, 10_486, 1 << 20, 5 << 30].map(megabytes), ["0.00MB", "0.01MB", "1.00MB", "5120.00MB"]);
    }

    #[test]
    fn what_is_not_ours_has_a_name_and_a_state() {
        let list = [Listed::foreign("debian")];
        let view = LsView::new(
            ListView::of(&list),
            &[Column::Name, Column::State, Column::Ipv4],
            list.iter().map(|listed| row(listed, &[])),
        );
        assert_eq!(view.lines, ["NAME    STATE    IPV4", "debian  FOREIGN  -"]);
        let none = LsView::new(ListView::of(&[]), &[Column::Name], std::iter::empty());
        assert!(none.lines.is_empty());
    }
}
