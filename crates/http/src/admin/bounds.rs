//! Bounds of keys and tenants as JSON.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use gateway::admin::BoundsFields;
use gateway::amounts::{Budget, Span, Unit};
use gateway::keys::{Bounds, Endpoint, Glob};
use ipnet::IpNet;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::wire::{Money, Text, Word, said};

/// Bounds as they are asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::option_option, reason = "null takes a bound away; nothing leaves it")]
pub(super) struct BoundsIn {
    #[serde(default, deserialize_with = "said")]
    models: Option<Option<Vec<Text<Glob>>>>,
    #[serde(default, deserialize_with = "said")]
    endpoints: Option<Option<Vec<Text<Word<Endpoint>>>>>,
    #[serde(default, deserialize_with = "said")]
    networks: Option<Option<Vec<Text<Network>>>>,
    #[serde(default, deserialize_with = "said")]
    max_output: Option<Option<u64>>,
    #[serde(default, deserialize_with = "said")]
    max_body: Option<Option<u64>>,
    #[serde(default, deserialize_with = "said")]
    requests_per_minute: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    tokens_per_minute: Option<Option<u64>>,
    #[serde(default, deserialize_with = "said")]
    concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    budgets: Option<Option<Vec<BudgetIn>>>,
}

impl BoundsIn {
    pub(super) fn fields(self) -> BoundsFields {
        BoundsFields {
            models: self.models.map(|list| texts(list, |glob| glob)),
            endpoints: self.endpoints.map(|list| texts(list, |Word(endpoint)| endpoint)),
            networks: self.networks.map(|list| texts(list, |Network(net)| net)),
            max_output: self.max_output,
            max_body: self.max_body,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
            concurrency: self.concurrency,
            budgets: self.budgets.map(|list| {
                list.unwrap_or_default().into_iter().map(|BudgetIn(budget)| budget).collect()
            }),
        }
    }
}

fn texts<T, U>(list: Option<Vec<Text<T>>>, inner: impl Fn(T) -> U) -> Vec<U> {
    list.unwrap_or_default().into_iter().map(|Text(text)| inner(text)).collect()
}

/// A network, or one address.
#[derive(Debug)]
pub(super) struct Network(pub(super) IpNet);

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let net = text.parse::<IpNet>().map(|net| net.trunc()).ok();
        net.or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
            .map(Self)
            .ok_or("expected a network like 10.0.0.0/8, or an address")
    }
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "RawBudget")]
struct BudgetIn(Budget);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBudget {
    unit: Text<Word<Unit>>,
    span: Text<Word<Span>>,
    limit: RawLimit,
}

/// A count as a number, or money as a string.
enum RawLimit {
    Count(u64),
    Money(Money),
}

impl TryFrom<RawBudget> for BudgetIn {
    type Error = &'static str;

    fn try_from(raw: RawBudget) -> Result<Self, Self::Error> {
        let (Text(Word(unit)), Text(Word(span))) = (raw.unit, raw.span);
        let limit = match (unit, raw.limit) {
            (Unit::Requests | Unit::Tokens, RawLimit::Count(count)) => count,
            (Unit::Cost, RawLimit::Money(Money(nanos))) => nanos,
            (Unit::Requests | Unit::Tokens, RawLimit::Money(_)) => {
                return Err("a limit of requests or tokens is a number");
            }
            (Unit::Cost, RawLimit::Count(_)) => {
                return Err("a limit of cost is a string of dollars, like \"25.00\"");
            }
        };
        Ok(Self(Budget { unit, span, limit }))
    }
}

impl<'de> Deserialize<'de> for RawLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads;
        impl Visitor<'_> for Reads {
            type Value = RawLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or dollars in a string")
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<RawLimit, E> {
                Ok(RawLimit::Count(count))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawLimit, E> {
                text.parse().map(RawLimit::Money).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Reads)
    }
}

/// Bounds as they are.
#[derive(Serialize)]
pub(super) struct BoundsOut<'a> {
    models: Vec<&'a str>,
    endpoints: Vec<Word<Endpoint>>,
    networks: Vec<String>,
    max_output: Option<u64>,
    max_body: Option<u64>,
    requests_per_minute: Option<u32>,
    tokens_per_minute: Option<u64>,
    concurrency: Option<u32>,
    budgets: Vec<BudgetOut>,
}

#[derive(Serialize)]
struct BudgetOut {
    unit: Word<Unit>,
    span: Word<Span>,
    limit: LimitOut,
}

enum LimitOut {
    Count(u64),
    Money(Money),
}

impl Serialize for LimitOut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u64(*count),
            Self::Money(money) => money.serialize(serializer),
        }
    }
}

impl<'a> BoundsOut<'a> {
    pub(super) fn new(bounds: &'a Bounds) -> Self {
        Self {
            models: bounds.models.iter().map(Glob::as_str).collect(),
            endpoints: bounds.endpoints.iter().copied().map(Word).collect(),
            networks: bounds.networks.iter().map(IpNet::to_string).collect(),
            max_output: bounds.max_output,
            max_body: bounds.max_body,
            requests_per_minute: bounds.requests_per_minute,
            tokens_per_minute: bounds.tokens_per_minute,
            concurrency: bounds.concurrency,
            budgets: bounds.budgets.iter().map(BudgetOut::new).collect(),
        }
    }
}

impl BudgetOut {
    fn new(budget: &Budget) -> Self {
        let limit = match budget.unit {
            Unit::Requests | Unit::Tokens => LimitOut::Count(budget.limit),
            Unit::Cost => LimitOut::Money(Money(budget.limit)),
        };
        Self { unit: Word(budget.unit), span: Word(budget.span), limit }
    }
}
