//! What the benchmark prints: tables for people, or one JSON object.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use crate::arguments::Arguments;
use crate::error::Outcome;
use crate::proc;

/// Everything measured in one run.
#[derive(Debug)]
pub(crate) struct Report {
    conditions: String,
    tables: Vec<Table>,
    figures: Map<String, Value>,
    bad: u64,
    quiet: bool,
}

/// A table and what to know when reading it.
#[derive(Debug)]
pub(crate) struct Table {
    /// What it shows.
    pub(crate) title: &'static str,
    /// The names of its columns; the first two are words, the rest figures.
    pub(crate) columns: Vec<&'static str>,
    /// Its rows, each as long as the columns.
    pub(crate) rows: Vec<Vec<String>>,
    /// The bar it is held against.
    pub(crate) bar: &'static str,
}

impl Report {
    /// An empty report that remembers under which conditions it came about.
    pub(crate) fn new(arguments: &Arguments) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let conditions = format!(
            "{cores} core(s), pinned {:?}, load average {} at the start, {:?} wires, host delay {:?}, {} round(s) of {:?}, 500 bytes asked and answered",
            arguments.pin,
            proc::load_average(),
            arguments.stdio,
            arguments.host_delay(),
            arguments.rounds(),
            arguments.measured(),
        );
        Self { conditions, tables: Vec::new(), figures: Map::new(), bad: 0, quiet: arguments.json }
    }

    /// Tells the person who waits what is being measured.
    pub(crate) fn progress(&self, step: &str) {
        if !self.quiet {
            complain(step);
        }
    }

    /// Counts calls that were lost, refused or answered wrongly.
    pub(crate) fn count_bad(&mut self, calls: u64) {
        self.bad += calls;
    }

    /// Whether every call was answered as it should be.
    pub(crate) fn all_answered(&self) -> bool {
        self.bad == 0
    }

    /// Adds a table and the same figures for programs.
    pub(crate) fn add(&mut self, name: &str, table: Table, figures: Value) {
        self.tables.push(table);
        self.figures.insert(name.to_owned(), figures);
    }

    /// Writes the report to standard output.
    pub(crate) fn print(&self, as_json: bool) -> Outcome<()> {
        let mut out = io::stdout().lock();
        if as_json {
            let whole = json!({
                "conditions": self.conditions,
                "load_average_at_the_end": proc::load_average(),
                "bad_calls": self.bad,
                "figures": self.figures,
            });
            writeln!(out, "{}", serde_json::to_string_pretty(&whole)?)?;
            return Ok(());
        }
        writeln!(
            out,
            "Conditions: {}; load average {} at the end",
            self.conditions,
            proc::load_average()
        )?;
        for table in &self.tables {
            table.print(&mut out)?;
        }
        match self.bad {
            0 => writeln!(out, "\nEvery call was answered with its own text.")?,
            bad => writeln!(out, "\n{bad} call(s) were lost, refused or answered wrongly.")?,
        }
        Ok(())
    }
}

impl Table {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "\n{}\n", self.title)?;
        let heads: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&heads]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..heads.len()).map(width).collect();
        let line = |out: &mut dyn Write, row: &[String]| -> io::Result<()> {
            for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let bar = if place == 0 { "| " } else { " | " };
                if place < 2 {
                    write!(out, "{bar}{cell:<width$}")?;
                } else {
                    write!(out, "{bar}{cell:>width$}")?;
                }
            }
            writeln!(out, " |")
        };
        line(out, &heads)?;
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        line(out, &rule)?;
        for row in &self.rows {
            line(out, row)?;
        }
        writeln!(out, "\nBar: {}", self.bar)
    }
}

/// Writes a line to standard error.
pub(crate) fn complain(line: &str) {
    // Nothing is left to say when standard error is gone.
    let _gone = writeln!(io::stderr().lock(), "{line}");
}

/// Bytes as megabytes.
pub(crate) fn megabytes(bytes: f64) -> String {
    format!("{:.1}", bytes / 1_048_576.0)
}

/// Nanoseconds as milliseconds.
pub(crate) fn milliseconds(nanoseconds: f64) -> String {
    format!("{:.3}", nanoseconds / 1e6)
}

/// Whether a bar was reached, in a word.
pub(crate) fn verdict(met: bool) -> String {
    if met { "met" } else { "MISSED" }.to_owned()
}
