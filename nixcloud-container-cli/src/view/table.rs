//! Tables: columns aligned by what a terminal shows, two spaces between them, no lines.

use comfy_table::{CellAlignment, ContentArrangement};

use crate::screen::colours::Stream;
use crate::screen::printer::clean;
use crate::screen::terminal;

/// A table with a heading.
#[derive(Debug)]
pub(crate) struct Table(comfy_table::Table);

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        // A row is never wrapped: one container a line, also for `grep`.
        table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(heading);
        Self(table)
    }

    /// Some cells are a guest's to say: the kernel takes escape sequences as the name of an interface.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| clean(&cell).replace(['\n', '\t'], " ")));
    }

    /// Numbers stand at the right.
    pub(crate) fn right(mut self, column: usize) -> Self {
        if let Some(column) = self.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self
    }

    /// A line a row; on a terminal that is too narrow for that, a block a row.
    pub(crate) fn lines(self) -> Vec<String> {
        self.lines_within(terminal::columns(Stream::Out))
    }

    /// A line a row, however wide, as LXC's own tools have it.
    pub(crate) fn rows(self) -> Vec<String> {
        self.lines_within(None)
    }

    fn lines_within(self, columns: Option<usize>) -> Vec<String> {
        let blocks = self.blocks();
        let lines = self.aligned();
        match columns {
            Some(columns) if lines.iter().any(|line| line.chars().count() > columns) => blocks,
            _ => lines,
        }
    }

    /// Each row with its first cell as a heading, and the others below it by the names of their columns.
    fn blocks(&self) -> Vec<String> {
        let text = |cell: &comfy_table::Cell| cell.content();
        let heading: Vec<String> =
            self.0.header().into_iter().flat_map(|row| row.cell_iter().map(text)).collect();
        let width = heading.iter().skip(1).map(|name| name.chars().count()).max().unwrap_or_default();
        let mut lines = Vec::new();
        for row in self.0.row_iter() {
            let cells = heading.iter().zip(row.cell_iter().map(text)).enumerate();
            for (index, (name, cell)) in cells.filter(|(_, (_, cell))| !cell.is_empty()) {
                lines.push(match index {
                    0 => cell,
                    _ => format!("  {:width$}  {cell}", name.to_lowercase()).trim_end().to_owned(),
                });
            }
        }
        lines
    }

    fn aligned(mut self) -> Vec<String> {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.0.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_steers_the_terminal() {
        let mut table = Table::new(&["INTERFACE", "IPV4"]);
        table.row(["\x1b]0;x\x07\x1b[2J\nup", "-"].map(str::to_owned));
        assert_eq!(table.lines()[1], "]0;x[2J up  -");
    }

    #[test]
    fn a_row_that_does_not_fit_is_a_block() {
        let table = || {
            let mut table = Table::new(&["NAME", "STATE", "ADDRESS"]);
            table.row(["database", "running", "10.101.0.2"].map(str::to_owned));
            table.row(["web", "", "-"].map(str::to_owned));
            table
        };
        assert_eq!(table().lines_within(Some(29)).len(), 3);
        assert_eq!(
            table().lines_within(Some(28)),
            ["database", "  state    running", "  address  10.101.0.2", "web", "  address  -"]
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let mut table = Table::new(&["NAME", "N", ""]);
        table.row(["ä", "1", "x"].map(str::to_owned));
        table.row(["漢字web", "22", ""].map(str::to_owned));
        let lines = table.right(1).lines();
        assert_eq!(lines, ["NAME      N", "ä         1  x", "漢字web  22"]);
    }
}
