//! All calls that fit, as JSON lines or as CSV.

use std::fmt::Write as _;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, ValueEnum};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::progress::Progress;
use super::{Filters, Span};
use crate::cli::client::{Ask, Client, Reach, escaped, read};
use crate::cli::token::NewFile;
use crate::cli::{Problem, note, pages};

/// What is written, and where.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    span: Span,
    /// The form of it.
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Requests and replies, too; in JSON lines only.
    #[arg(long)]
    bodies: bool,
    /// File for it, which must not be there yet; without it, stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object on each line.
    Jsonl,
    /// A table for spreadsheets.
    Csv,
}

/// The columns of the table.
const COLUMNS: [&str; 32] = [
    "id",
    "received",
    "first_byte",
    "ended",
    "key",
    "tenant",
    "sandbox",
    "address",
    "agent",
    "dialect",
    "endpoint",
    "model",
    "model_served",
    "upstream",
    "replay_of",
    "stream",
    "messages",
    "status",
    "stop_reason",
    "failure",
    "message",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "estimated",
    "overrun",
    "losses",
    "bytes_in",
    "bytes_out",
    "spent.requests",
    "spent.tokens",
    "spent.cost",
];

enum Sink {
    Stdout,
    File(NewFile),
}

impl Sink {
    /// Writes; false where the reader has gone.
    fn write(&mut self, text: &str) -> Result<bool, Problem> {
        match self {
            Self::Stdout => Ok(std::io::stdout().write_all(text.as_bytes()).is_ok()),
            Self::File(file) => file.write(text.as_bytes()).map(|()| true),
        }
    }
}

/// Runs it.
pub(super) fn run(args: &ExportArgs, matches: &ArgMatches) -> Result<ExitCode, Problem> {
    if args.bodies && args.format == Format::Csv {
        return Err(Problem::new(
            "--bodies goes with --format jsonl only",
            "leave one of them out",
        ));
    }
    let client = Client::open(&args.reach, matches, false)?;
    let mut sink = match &args.out {
        Some(path) => Sink::File(NewFile::make(path)?),
        None => Sink::Stdout,
    };
    let mut progress = Progress::new();
    let total = if progress.is_watched() { total(args, &client) } else { None };
    let mut written = 0_u64;
    let begun = args.format != Format::Csv || sink.write(&format!("{}\r\n", COLUMNS.join(",")))?;
    let ask = args.filters.ask_within(&args.span);
    let mut write = |page: Vec<Box<RawValue>>| {
        for call in page {
            let line = match (args.format, args.bodies) {
                (Format::Csv, _) => csv(&pages::value(&call)),
                (Format::Jsonl, false) => format!("{}\n", call.get()),
                (Format::Jsonl, true) => whole(&client, &call)?,
            };
            if !sink.write(&line)? {
                return Ok(ControlFlow::Break(()));
            }
            written += 1;
            progress.tell(written, total);
        }
        Ok(ControlFlow::Continue(()))
    };
    if begun {
        pages::each_page(&client, &ask, None, &mut write)?;
    }
    if progress.is_watched() {
        drop(progress);
        note(&format!("{written} calls"));
    }
    if let Sink::File(file) = sink {
        file.keep()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// How many calls there are, where that can be summed: not by model or status. They may become
/// more meanwhile.
fn total(args: &ExportArgs, client: &Client) -> Option<u64> {
    let Filters { key, tenant, model: None, status: None } = &args.filters else { return None };
    let ask = Ask::get("/admin/v1/usage").query(&[
        ("by", Some("day")),
        ("key", key.as_deref()),
        ("tenant", tenant.as_deref()),
    ]);
    let usage: Json = read(&client.fetch(&ask.query(&args.span.parameters())).ok()?).ok()?;
    let days = usage.get("data")?.as_array()?;
    Some(days.iter().filter_map(|day| day.get("calls")?.as_u64()).sum())
}

fn whole(client: &Client, call: &RawValue) -> Result<String, Problem> {
    let value = pages::value(call);
    let id = value.get("id").and_then(Json::as_str).unwrap_or_default();
    let body = client.fetch(&Ask::get(format!("{}/{}", super::PATH, escaped(id))))?;
    Ok(format!("{body}\n"))
}

/// One line of the table, as RFC 4180 has it.
fn csv(call: &Json) -> String {
    let cells: Vec<String> = COLUMNS
        .iter()
        .map(|name| {
            let pointer = format!("/{}", name.replace('.', "/"));
            cell(call.pointer(&pointer).unwrap_or(&Json::Null))
        })
        .collect();
    format!("{}\r\n", cells.join(","))
}

fn cell(value: &Json) -> String {
    let text = match value {
        Json::Null => return String::new(),
        Json::String(text) => text,
        other => return other.to_string(),
    };
    // Callers write some of these: no spreadsheet must take one for a formula.
    let mark = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    if mark.is_empty() && !text.contains([',', '"', '\n', '\r']) {
        return text.clone();
    }
    let mut quoted = String::with_capacity(text.len() + 3);
    // Writing to a string cannot fail.
    let _ = write!(quoted, "\"{mark}{}\"", text.replace('"', "\"\""));
    quoted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::cell;

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        assert_eq!(cell(&json!("gpt")), "gpt");
        assert_eq!(cell(&json!(null)), "");
        assert_eq!(cell(&json!(12)), "12");
        assert_eq!(cell(&json!("a,\"b\"\n")), "\"a,\"\"b\"\"\n\"");
        assert_eq!(cell(&json!("=1+1")), "\"'=1+1\"");
    }
}
