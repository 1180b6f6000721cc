//! Lists that come in pages, and what is asked of them.

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
}

/// Goes over a list page by page, up to `limit` entries.
pub(super) fn each_page(
    client: &Client,
    ask: &Ask,
    limit: Option<usize>,
    mut page: impl FnMut(Vec<Box<RawValue>>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut left = limit.unwrap_or(usize::MAX);
    let mut cursor: Option<String> = None;
    while left > 0 {
        let count = left.min(PAGE).to_string();
        let asked =
            ask.clone().query(&[("limit", Some(count.as_str())), ("cursor", cursor.as_deref())]);
        let Page { data, next } = client.read(&asked)?;
        left = left.saturating_sub(data.len());
        page(data)?;
        match next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    Ok(())
}

/// All entries of a list, up to `limit`.
pub(super) fn all(
    client: &Client,
    ask: &Ask,
    limit: Option<usize>,
) -> Result<Vec<Box<RawValue>>, Problem> {
    let mut entries = Vec::new();
    each_page(client, ask, limit, |page| {
        entries.extend(page);
        Ok(())
    })?;
    Ok(entries)
}

/// A list as one document for scripts.
pub(super) fn document(entries: &[Box<RawValue>]) -> String {
    let entries: Vec<&str> = entries.iter().map(|entry| entry.get()).collect();
    format!("{{\"data\":[{}]}}\n", entries.join(","))
}

/// An entry, read.
pub(super) fn value(entry: &RawValue) -> Json {
    // It was read once already.
    serde_json::from_str(entry.get()).unwrap_or_default()
}
