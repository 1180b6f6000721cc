//! TOML text as a tree that knows its lines.
//!
//! The parser's own tree sorts keys and counts bytes. What follows here needs the order of the
//! file (the first price that fits wins) and line numbers, and numbers as they were written: a
//! price must not pass through a binary fraction.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Fault;

/// The longest value that a message repeats, in characters.
const SHOWN: usize = 60;

/// Names and values in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// One name with its value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// A value. Numbers are decimal text without underscores.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(String),
    Decimal(String),
    Switch(bool),
    Time(String),
    List(Vec<Value>),
    Table(Table),
}

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Table, Fault> {
    let lines = Lines::of(text);
    let root = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(1, |span| lines.number(span.start));
        let key = error.span().and_then(|span| text.get(span)).unwrap_or_default();
        match error.message() {
            "duplicate key" => Fault::new(
                at,
                format!("`{}` is set twice", printable(key)),
                "keep one of the two; a table may also stand in the file only once",
            ),
            message => Fault::new(
                at,
                format!("this is not TOML: {}", printable(message)),
                "text needs quotes, and each setting its own line: auth = \"required\"",
            ),
        }
    })?;
    Ok(table(root.get_ref(), &lines))
}

fn table(from: &DeTable<'_>, lines: &Lines) -> Table {
    let mut spans: Vec<_> = from.iter().collect();
    spans.sort_by_key(|(name, _)| name.span().start);
    let entries = spans.into_iter().map(|(name, value)| Entry {
        name: name.get_ref().to_string(),
        line: lines.number(name.span().start),
        value: read(value, lines),
    });
    Table { entries: entries.collect() }
}

fn read(from: &Spanned<DeValue<'_>>, lines: &Lines) -> Value {
    match from.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(whole) if whole.radix() == 10 => {
            Value::Whole(whole.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Integer(whole) => Value::Whole(
            u128::from_str_radix(whole.as_str(), whole.radix())
                .map_or_else(|_| whole.to_string(), |number| number.to_string()),
        ),
        DeValue::Float(decimal) => {
            Value::Decimal(decimal.as_str().trim_start_matches('+').to_owned())
        }
        DeValue::Boolean(switch) => Value::Switch(*switch),
        DeValue::Datetime(time) => Value::Time(time.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(|item| read(item, lines)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, lines)),
    }
}

impl Value {
    /// What it is, in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Whole(_) => "a whole number",
            Self::Decimal(_) => "a decimal number",
            Self::Switch(_) => "true or false",
            Self::Time(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl fmt::Display for Value {
    /// The value as it may be repeated in a message: short and without control characters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "\"{}\"", printable(text)),
            Self::Whole(text) | Self::Decimal(text) | Self::Time(text) => {
                f.write_str(&printable(text))
            }
            Self::Switch(switch) => write!(f, "{switch}"),
            Self::List(_) => f.write_str("[…]"),
            Self::Table(_) => f.write_str("{…}"),
        }
    }
}

/// Text of the file for a message.
pub(super) fn printable(text: &str) -> String {
    let mut shown: String =
        text.chars().take(SHOWN).flat_map(char::escape_debug).collect::<String>();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown.replace("\\\"", "\"").replace("\\'", "'")
}

/// Where lines begin.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: breaks.map(|(at, _)| at + 1).collect() }
    }

    /// The line of a byte, counted from 1.
    fn number(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) + 1
    }
}
