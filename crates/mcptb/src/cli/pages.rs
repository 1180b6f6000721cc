//! Lists that come in pages, and what is asked of them.

use std::ops::ControlFlow;

use clap::Args;
use serde::Deserialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::Problem;
use super::client::{Ask, Client};

/// Entries that are asked for at once, at most.
const PAGE: usize = 1000;

/// When.
#[derive(Clone, Debug, Args)]
pub(super) struct Span {
    /// The first instant, such as 2027-01-15 or 2027-01-15T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// The instant after the last one.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Span {
    /// The same for the routes.
    pub(super) fn parameters(&self) -> [(&'static str, Option<&str>); 2] {
        [("from", self.from.as_deref()), ("to", self.to.as_deref())]
    }
}

/// How much of a list.
#[derive(Debug, Args)]
pub(super) struct Most {
    /// No more than this many.
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// One page, with its entries as they came.
#[derive(Deserialize)]
struct Page {
    data: Vec<Box<RawValue>>,
    next: Option<String>,
    /// Of a search for words.
    lag: Option<u64>,
}

/// A list, as far as it was wanted.
pub(super) struct List {
    pub(super) entries: Vec<Box<RawValue>>,
    /// Of a search for words: how many calls could not be found by them yet, at most.
    pub(super) lag: u64,
}

/// Goes over a list page by page, up to `limit` entries, or until no more are wanted. Gives the
/// lag of a search.
pub(super) fn each_page(
    client: &Client,
    ask: &Ask,
    limit: Option<usize>,
    mut page: impl FnMut(Vec<Box<RawValue>>) -> Result<ControlFlow<()>, Problem>,
) -> Result<u64, Problem> {
    let mut behind = 0;
    let mut left = limit.unwrap_or(usize::MAX);
    let mut cursor: Option<String> = None;
    while left > 0 {
        let count = left.min(PAGE).to_string();
        let asked =
            ask.clone().query(&[("limit", Some(count.as_str())), ("cursor", cursor.as_deref())]);
        let Page { data, next, lag } = client.read(&asked)?;
        behind = behind.max(lag.unwrap_or_default());
        left = left.saturating_sub(data.len());
        if page(data)?.is_break() {
            break;
        }
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(behind)
}

/// All entries of a list, up to `limit`.
pub(super) fn all(
    client: &Client,
    ask: &Ask,
    limit: Option<usize>,
) -> Result<Vec<Box<RawValue>>, Problem> {
    search(client, ask, limit).map(|list| list.entries)
}

/// The same of a search for words.
pub(super) fn search(client: &Client, ask: &Ask, limit: Option<usize>) -> Result<List, Problem> {
    let mut entries = Vec::new();
    let lag = each_page(client, ask, limit, |page| {
        entries.extend(page);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(List { entries, lag })
}

/// A list as one document for scripts.
pub(super) fn document(entries: &[Box<RawValue>]) -> String {
    format!("{{{}}}\n", fields(entries))
}

/// What a search has found, as one document for scripts.
pub(super) fn found(list: &List) -> String {
    format!("{{{},\"lag\":{}}}\n", fields(&list.entries), list.lag)
}

fn fields(entries: &[Box<RawValue>]) -> String {
    let entries: Vec<&str> = entries.iter().map(|entry| entry.get()).collect();
    format!("\"data\":[{}]", entries.join(","))
}

/// An entry, read.
pub(super) fn value(entry: &RawValue) -> Json {
    // It was read once already.
    serde_json::from_str(entry.get()).unwrap_or_default()
}
