//! `[prices."…"]` and `[models."…"]`: what models cost, and how much of them may be used.
//!
//! Money is counted in pico-dollars (10⁻¹² US dollars), because one dollar for a million tokens is
//! a million of them for one token: every price with up to six decimals is a whole number, and so
//! is the cost of any number of tokens. The same number is nano-dollars for a thousand tokens and
//! micro-dollars for a million.

use gateway::keys::Glob;
use serde_json::{Value as Json, json};

use super::by_model::ByModel;
use super::document::{Entry, Table, Value, printable};
use super::{Fault, suggestion, units};

/// Decimals of a price for a million tokens, and of a multiplier.
const PLACES: u32 = 6;
/// Decimals of a price for a request.
const REQUEST_PLACES: u32 = 9;
/// Pico-dollars in the last decimal of a price for a request.
const REQUEST_UNIT: u64 = 1000;
/// A million dollars for a million tokens: more is a mistake, and sums must not overflow.
const MOST: u64 = 1_000_000_000_000;
/// A thousand dollars for a request, in pico-dollars.
const MOST_FOR_REQUEST: u64 = 1_000_000_000_000_000;
/// The largest multiplier, in parts per million.
const MOST_TIMES: u64 = 1_000_000_000;

const PRICE_NAMES: [&str; 5] = ["input", "output", "cached_input", "per_request", "multiplier"];
const LIMIT_NAMES: [&str; 3] = ["requests_per_minute", "tokens_per_minute", "concurrency"];

/// What a model costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    /// Pico-dollars for a token that is read.
    pub(crate) input: u64,
    /// Pico-dollars for a token that is written.
    pub(crate) output: u64,
    /// Pico-dollars for a token that is read from a cache; as `input` where it is not set.
    pub(crate) cached_input: u64,
    /// Pico-dollars for a request, whatever its size.
    pub(crate) per_request: u64,
    /// What a seat pays of all this, in parts per million.
    pub(crate) multiplier: u64,
}

/// How much of a model may be used, by all callers together. `None` is without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ModelLimits {
    pub(crate) requests_per_minute: Option<u64>,
    pub(crate) tokens_per_minute: Option<u64>,
    /// Calls at once.
    pub(crate) concurrency: Option<u64>,
}

/// Reads a table of tables by pattern.
pub(super) fn by_model<T>(
    entry: &Entry,
    read: fn(&Table, &Entry, &str) -> Result<T, Fault>,
) -> Result<ByModel<T>, Fault> {
    let section = &entry.name;
    let Value::Table(table) = &entry.value else {
        return Err(Fault::value(entry, &format!("tables such as [{section}.\"gpt-*\"]")));
    };
    let mut rules = ByModel::default();
    for entry in &table.entries {
        let shown = format!("[{section}.\"{}\"]", printable(&entry.name));
        let Value::Table(inner) = &entry.value else {
            return Err(Fault::new(
                entry.line,
                format!("`{}` in [{section}] is no table", printable(&entry.name)),
                format!("name the models first, in quotes: [{section}.\"gpt-*\"]"),
            ));
        };
        // Without quotes, `gpt-4.1` is a table `1` in a table `gpt-4`.
        if let Some(nested) =
            inner.entries.iter().find(|entry| matches!(entry.value, Value::Table(_)))
        {
            return Err(Fault::new(
                nested.line,
                format!("{shown} holds another table, `{}`", printable(&nested.name)),
                format!("a name with a dot needs quotes: [{section}.\"gpt-4.1\"]"),
            ));
        }
        let pattern = entry.name.parse::<Glob>().map_err(|_| {
            Fault::new(
                entry.line,
                format!("{shown} names no models"),
                "a pattern has 1 to 256 bytes; * is any text, ? is one character",
            )
        })?;
        rules.push(pattern, read(inner, entry, &shown)?);
    }
    Ok(rules)
}

impl Price {
    pub(super) fn read(table: &Table, at: &Entry, shown: &str) -> Result<Self, Fault> {
        let (mut input, mut output, mut cached, mut per_request) = (None, None, None, None);
        let mut multiplier = 1_000_000;
        for entry in &table.entries {
            match entry.name.as_str() {
                "input" => input = Some(dollars(entry)?),
                "output" => output = Some(dollars(entry)?),
                "cached_input" => cached = Some(dollars(entry)?),
                "per_request" => {
                    let price = scaled(entry, REQUEST_PLACES)
                        .and_then(|price| price.checked_mul(REQUEST_UNIT))
                        .filter(|price| *price <= MOST_FOR_REQUEST);
                    per_request = Some(price.ok_or_else(|| {
                        Fault::value(
                            entry,
                            "US dollars for one request, such as \"0.04\", up to 1000",
                        )
                    })?);
                }
                "multiplier" => {
                    let times = scaled(entry, PLACES).filter(|times| *times <= MOST_TIMES);
                    multiplier = times
                        .ok_or_else(|| Fault::value(entry, "a decimal such as 0.33, up to 1000"))?;
                }
                _ => return Err(suggestion::unknown(entry, shown, PRICE_NAMES)),
            }
        }
        let by_token = match (input, output) {
            (Some(input), Some(output)) => Some((input, output)),
            (None, None) if per_request.is_some() && cached.is_none() => Some((0, 0)),
            _ => None,
        };
        let (input, output) = by_token.ok_or_else(|| {
            Fault::new(
                at.line,
                format!("{shown} does not say what a token costs"),
                "set input and output, or only per_request; \"0\" is a price",
            )
        })?;
        Ok(Self {
            input,
            output,
            cached_input: cached.unwrap_or(input),
            per_request: per_request.unwrap_or(0),
            multiplier,
        })
    }

    pub(super) fn rows(&self, pattern: &Glob) -> Vec<(String, Json)> {
        let values = [
            units::decimal_text(self.input, PLACES),
            units::decimal_text(self.output, PLACES),
            units::decimal_text(self.cached_input, PLACES),
            units::decimal_text(self.per_request / REQUEST_UNIT, REQUEST_PLACES),
            units::decimal_text(self.multiplier, PLACES),
        ];
        let name = |name| format!("prices.{}.{name}", json!(pattern.to_string()));
        PRICE_NAMES.iter().zip(values).map(|(at, value)| (name(at), json!(value))).collect()
    }
}

impl ModelLimits {
    pub(super) fn read(table: &Table, at: &Entry, shown: &str) -> Result<Self, Fault> {
        let mut limits = Self::default();
        for entry in &table.entries {
            let slot = match entry.name.as_str() {
                "requests_per_minute" => &mut limits.requests_per_minute,
                "tokens_per_minute" => &mut limits.tokens_per_minute,
                "concurrency" => &mut limits.concurrency,
                _ => return Err(suggestion::unknown(entry, shown, LIMIT_NAMES)),
            };
            *slot = Some(entry.whole(1, 1_000_000_000_000)?);
        }
        if limits == Self::default() {
            return Err(Fault::new(
                at.line,
                format!("{shown} sets no limit"),
                format!("set one of {}", LIMIT_NAMES.join(", ")),
            ));
        }
        Ok(limits)
    }

    pub(super) fn rows(&self, pattern: &Glob) -> Vec<(String, Json)> {
        let values = [self.requests_per_minute, self.tokens_per_minute, self.concurrency];
        let set = LIMIT_NAMES.iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
        set.map(|(name, value)| {
            (format!("models.{}.{name}", json!(pattern.to_string())), json!(value))
        })
        .collect()
    }
}

/// Pico-dollars for a token, from US dollars for a million.
fn dollars(entry: &Entry) -> Result<u64, Fault> {
    scaled(entry, PLACES).filter(|price| *price <= MOST).ok_or_else(|| {
        Fault::value(
            entry,
            "US dollars for a million tokens, such as \"2.50\", with up to 6 decimals",
        )
    })
}

fn scaled(entry: &Entry, places: u32) -> Option<u64> {
    match &entry.value {
        Value::Text(text) | Value::Whole(text) | Value::Decimal(text) => {
            units::decimal(text, places)
        }
        _ => None,
    }
}
