//! Bounds of keys and tenants as flags.

use clap::{Args, ValueEnum};
use serde_json::{Map, Value as Json, json};

/// What bounds a key, or all keys of a tenant together.
#[derive(Debug, Args)]
pub(super) struct BoundsFlags {
    /// Models that may be asked for, as patterns with * and ?; repeat, or separate by commas.
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    model: Vec<String>,
    /// Endpoints that may be used, such as `chat`, `messages` or `responses`; likewise.
    #[arg(long, value_name = "ENDPOINT", value_delimiter = ',')]
    endpoint: Vec<String>,
    /// Networks or addresses from which it holds; likewise.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    network: Vec<String>,
    /// Most tokens of output for one call.
    #[arg(long, value_name = "N")]
    max_output: Option<u64>,
    /// Most bytes of a request.
    #[arg(long, value_name = "BYTES")]
    max_body: Option<u64>,
    /// Requests a minute.
    #[arg(long, value_name = "N")]
    rpm: Option<u32>,
    /// Tokens a minute.
    #[arg(long, value_name = "N")]
    tpm: Option<u64>,
    /// Calls at once.
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// A budget, such as `tokens/day=1000000`, `requests/hour=100` or `cost/month=25.00` (dollars).
    /// Units: requests, tokens, cost; spans: minute, hour, day, week, month, total. Repeat for more.
    #[arg(long, value_name = "UNIT/SPAN=LIMIT", value_parser = budget)]
    budget: Vec<Json>,
}

/// Bounds that are taken away by a change.
#[derive(Debug, Args)]
pub(super) struct ClearFlags {
    /// A bound to take away; repeat, or separate by commas.
    #[arg(long, value_enum, value_name = "BOUND", value_delimiter = ',')]
    clear: Vec<Bound>,
}

/// A bound that can be taken away.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Bound {
    Expires,
    Uses,
    Model,
    Endpoint,
    Network,
    MaxOutput,
    MaxBody,
    Rpm,
    Tpm,
    Concurrency,
    Budget,
}

impl Bound {
    /// Its name in the API; `None` where it is no field of `bounds`.
    const fn within(self) -> Option<&'static str> {
        match self {
            Self::Expires | Self::Uses => None,
            Self::Model => Some("models"),
            Self::Endpoint => Some("endpoints"),
            Self::Network => Some("networks"),
            Self::MaxOutput => Some("max_output"),
            Self::MaxBody => Some("max_body"),
            Self::Rpm => Some("requests_per_minute"),
            Self::Tpm => Some("tokens_per_minute"),
            Self::Concurrency => Some("concurrency"),
            Self::Budget => Some("budgets"),
        }
    }
}

impl BoundsFlags {
    /// Writes what was said into the body of a request; what was cleared is null there.
    pub(super) fn write(&self, cleared: Option<&ClearFlags>, body: &mut Map<String, Json>) {
        let mut bounds = Map::new();
        for bound in cleared.map_or(&[][..], |cleared| &cleared.clear) {
            match (bound.within(), bound) {
                (Some(name), _) => put(&mut bounds, name, Some(Json::Null)),
                (None, Bound::Uses) => put(body, "uses", Some(Json::Null)),
                (None, _) => put(body, "expires", Some(Json::Null)),
            }
        }
        for (name, list) in
            [("models", &self.model), ("endpoints", &self.endpoint), ("networks", &self.network)]
        {
            put(&mut bounds, name, (!list.is_empty()).then(|| json!(list)));
        }
        put(&mut bounds, "max_output", self.max_output.map(Json::from));
        put(&mut bounds, "max_body", self.max_body.map(Json::from));
        put(&mut bounds, "requests_per_minute", self.rpm.map(Json::from));
        put(&mut bounds, "tokens_per_minute", self.tpm.map(Json::from));
        put(&mut bounds, "concurrency", self.concurrency.map(Json::from));
        put(&mut bounds, "budgets", (!self.budget.is_empty()).then(|| json!(self.budget)));
        if !bounds.is_empty() {
            body.insert("bounds".to_owned(), Json::Object(bounds));
        }
    }
}

/// Puts a field where there is something to say.
pub(super) fn put(body: &mut Map<String, Json>, name: &str, value: Option<Json>) {
    if let Some(value) = value {
        body.insert(name.to_owned(), value);
    }
}

/// `tokens/day=1000000`. What the words may be is known behind the API.
fn budget(text: &str) -> Result<Json, String> {
    let wrong = || "a budget such as tokens/day=1000000 or cost/month=25.00".to_owned();
    let (what, limit) = text.split_once('=').ok_or_else(wrong)?;
    let (unit, span) = what.split_once('/').ok_or_else(wrong)?;
    let limit = if unit == "cost" {
        json!(limit)
    } else {
        json!(limit.parse::<u64>().map_err(|_| wrong())?)
    };
    Ok(json!({"unit": unit, "span": span, "limit": limit}))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::budget;

    #[test]
    fn money_stays_text_and_counts_are_numbers() {
        assert_eq!(
            budget("tokens/day=10"),
            Ok(json!({"unit": "tokens", "span": "day", "limit": 10}))
        );
        assert_eq!(
            budget("cost/month=2.50"),
            Ok(json!({"unit": "cost", "span": "month", "limit": "2.50"}))
        );
        for wrong in ["", "tokens=1", "tokens/day", "tokens/day=-1", "tokens/day=1.5"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }
}
