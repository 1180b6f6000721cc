//! Tables for people on a terminal.
//!
//! Names, models and agents were written by others: nothing of them reaches the terminal that
//! could move its cursor.

use std::fmt::Write as _;

use crate::telemetry::Plain;

/// On which side a column is flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    Left,
    Right,
}

/// A table with a head.
#[derive(Debug)]
pub(super) struct Table {
    columns: Vec<(&'static str, Flush)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Flush)]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.iter().map(|cell| Plain(cell).to_string()).collect());
    }

    /// The lines of the table.
    pub(super) fn text(&self) -> String {
        let widths: Vec<usize> = self
            .columns
            .iter()
            .enumerate()
            .map(|(at, (head, _))| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells.map(|cell| width(cell)).chain([width(head)]).max().unwrap_or_default()
            })
            .collect();
        let mut text = String::new();
        let heads: Vec<String> = self.columns.iter().map(|(head, _)| (*head).to_owned()).collect();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for ((cell, (_, flush)), wide) in row.iter().zip(&self.columns).zip(&widths) {
                if !line.is_empty() {
                    line.push_str("  ");
                }
                let gap = " ".repeat(wide.saturating_sub(width(cell)));
                // Writing to a string cannot fail.
                let _ = match flush {
                    Flush::Left => write!(line, "{cell}{gap}"),
                    Flush::Right => write!(line, "{gap}{cell}"),
                };
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Columns that a terminal takes for a text. Chinese, Japanese and Korean characters take two.
fn width(text: &str) -> usize {
    let wide = |char: &char| {
        matches!(char, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}'
            | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}'
            | '\u{ffe0}'..='\u{ffe6}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    };
    text.chars().map(|char| if wide(&char) { 2 } else { 1 }).sum()
}

#[cfg(test)]
mod tests {
    use super::{Flush, Table};

    #[test]
    fn columns_stand_under_their_heads() {
        let mut table = Table::new(&[("NAME", Flush::Left), ("CALLS", Flush::Right)]);
        table.row(&["一二三".to_owned(), "7".to_owned()]);
        table.row(&["a\u{1b}[2J".to_owned(), "1234567".to_owned()]);
        assert_eq!(
            table.text(),
            "NAME          CALLS\n一二三            7\na\\u001b[2J  1234567\n"
        );
    }
}
