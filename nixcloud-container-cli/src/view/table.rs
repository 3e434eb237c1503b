//! Tables: columns aligned by what a terminal shows, two spaces between them, no lines.

use comfy_table::{CellAlignment, ContentArrangement};

use crate::printer::clean;

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

    pub(crate) fn lines(mut self) -> Vec<String> {
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
    fn columns_are_as_wide_as_they_look() {
        let mut table = Table::new(&["NAME", "N", ""]);
        table.row(["ä", "1", "x"].map(str::to_owned));
        table.row(["漢字web", "22", ""].map(str::to_owned));
        let lines = table.right(1).lines();
        assert_eq!(lines, ["NAME      N", "ä         1  x", "漢字web  22"]);
    }
}
