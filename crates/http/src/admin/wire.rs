//! Values as they stand in the JSON of the admin API, and the reading of bodies.
//!
//! Times are RFC 3339 in UTC, durations are words like `7d` or `1h 30m`, money is decimal dollars
//! in a string: a number of JSON is a float to many readers.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gateway::amounts::{Span, Unit};
use gateway::keys::{AuditPolicy, Endpoint, KeyKind, UnixMillis};
use gateway::store::UsageBy;
use serde::de::{self, Deserialize, DeserializeOwned, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use super::refused::Refused;

#[cfg(test)]
mod tests;

/// The last millisecond that a year of four digits can tell.
const LAST_INSTANT: u64 = 253_402_300_799_999;
/// Nano-dollars of a dollar.
const DOLLAR: u64 = 1_000_000_000;

/// An instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant(pub(super) UnixMillis);

impl FromStr for Instant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let whole = if text.len() == "2026-11-25".len() {
            format!("{text}T00:00:00Z")
        } else {
            text.to_owned()
        };
        let wrong = || "expected a time like 2026-11-25T14:00:00Z, in UTC".to_owned();
        let time = humantime::parse_rfc3339(&whole).map_err(|_| wrong())?;
        let since = time.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
        UnixMillis::try_from(since.as_millis()).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What lies outside of the calendar cannot be written, and panics there.
        let since = u64::try_from(self.0).unwrap_or_default().min(LAST_INSTANT);
        let time: SystemTime = UNIX_EPOCH + Duration::from_millis(since);
        fmt::Display::fmt(&humantime::format_rfc3339_millis(time), f)
    }
}

impl Serialize for Instant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length(pub(super) Duration);

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a duration like 7d, 12h or 1h 30m".to_owned();
        humantime::parse_duration(text).map(Self).map_err(|_| wrong())
    }
}

impl Length {
    /// The instant this long after another one.
    pub(super) fn after(self, now: UnixMillis) -> UnixMillis {
        let length = UnixMillis::try_from(self.0.as_millis()).unwrap_or(UnixMillis::MAX);
        now.saturating_add(length)
    }
}

/// Money, in nano-dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Money(pub(super) u64);

impl FromStr for Money {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected dollars like 25 or 0.50, with at most 9 decimals".to_owned();
        let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(rest) || rest.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let rest: u64 = format!("{rest:0<9}").parse().map_err(|_| wrong())?;
        let sum = whole.checked_mul(DOLLAR).and_then(|whole| whole.checked_add(rest));
        sum.map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = format!("{:09}", self.0 % DOLLAR);
        let rest = rest.trim_end_matches('0');
        write!(f, "{}.{rest:0<2}", self.0 / DOLLAR)
    }
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A closed set of words.
pub(super) trait Worded: Copy + 'static {
    const ALL: &'static [Self];
    fn word(self) -> &'static str;
}

impl Worded for KeyKind {
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Worded for Endpoint {
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Worded for AuditPolicy {
    const ALL: &'static [Self] = &[Self::Full, Self::Metadata];
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Worded for Unit {
    const ALL: &'static [Self] = &[Self::Requests, Self::Tokens, Self::Cost];
    fn word(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }
}

impl Worded for Span {
    const ALL: &'static [Self] =
        &[Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Total];
    fn word(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Total => "total",
        }
    }
}

impl Worded for UsageBy {
    const ALL: &'static [Self] = &[Self::Key, Self::Tenant, Self::Model, Self::Day];
    fn word(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Model => "model",
            Self::Day => "day",
        }
    }
}

/// One of a closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<T>(pub(super) T);

impl<T: Worded> FromStr for Word<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        T::ALL.iter().find(|known| known.word() == text).map(|known| Self(*known)).ok_or_else(
            || {
                let known: Vec<&str> = T::ALL.iter().map(|known| known.word()).collect();
                format!("expected one of {}", known.join(", "))
            },
        )
    }
}

impl<T: Worded> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

/// Text that is read as something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reads<T>(PhantomData<T>);
        impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Reads<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Reads(PhantomData))
    }
}

/// Reads a field that may be left out or be null, and tells the two apart.
#[expect(clippy::option_option, reason = "null takes a bound away; nothing leaves it")]
pub(super) fn said<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Reads the JSON of a body; none at all is an object without fields.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize::<_, T>(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if !inner.is_data() {
            return Refused::invalid("", format!("The request body is not valid JSON: {inner}."));
        }
        let text = inner.to_string();
        let why = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
        let param = at_fault(if path == "." { "" } else { &path }, why);
        let message = if param.is_empty() {
            format!("The request body: {why}.")
        } else {
            format!("Invalid value for '{param}': {why}.")
        };
        Refused::invalid(param, message)
    })?;
    json.end().map_err(|error| {
        Refused::invalid("", format!("The request body is not valid JSON: {error}."))
    })?;
    Ok(read)
}

/// The field that is at fault. Of one that is unknown or missing, serde tells the name in words.
fn at_fault(path: &str, why: &str) -> String {
    let named = ["unknown field `", "missing field `", "duplicate field `"]
        .iter()
        .find_map(|start| why.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    match named {
        Some(name) if path.is_empty() || path == name => name.to_owned(),
        Some(name) if path.ends_with(&format!(".{name}")) => path.to_owned(),
        Some(name) => format!("{path}.{name}"),
        None => path.to_owned(),
    }
}

/// Some of many, and what to ask for next.
#[derive(Serialize)]
pub(super) struct PageOut<T> {
    pub(super) data: Vec<T>,
    pub(super) next: Option<String>,
}

/// What was forgotten.
#[derive(Serialize)]
pub(super) struct Deleted<'a> {
    pub(super) id: &'a str,
    pub(super) deleted: bool,
}
