//! `audit`: what is recorded of calls, and for how long.

use std::time::Duration;

use gateway::Redactor;
use serde_json::{Value as Json, json};
use stores::LEAST_BYTES;

use super::document::{Entry, Table, Value};
use super::{Fault, suggestion, units};

/// The longest pattern of `redact`, in bytes, and how many there may be.
const PATTERN_BYTES: usize = 1024;
const PATTERNS: usize = 100;

const NAMES: [&str; 6] = ["enabled", "bodies", "durability", "max_age", "max_bytes", "redact"];

/// What is recorded of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Audit {
    pub(crate) enabled: bool,
    /// Whether requests and answers are kept in full.
    pub(crate) bodies: bool,
    pub(crate) durability: Durability,
    /// How long a call is kept.
    pub(crate) max_age: Duration,
    /// The largest size of all files together, no smaller than the store can keep to.
    pub(crate) max_bytes: u64,
    /// Regular expressions of what is struck out before anything is written. Each compiles.
    pub(crate) redact: Vec<String>,
}

/// What a record survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The end of the process.
    Commit,
    /// Also the loss of power.
    Fsync,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            enabled: true,
            bodies: true,
            durability: Durability::Commit,
            max_age: Duration::from_hours(90 * 24),
            max_bytes: 10 << 30,
            redact: Vec::new(),
        }
    }
}

impl Audit {
    /// Reads `audit = "on"`, `audit = "off"` or the table.
    pub(super) fn read(entry: &Entry) -> Result<Self, Fault> {
        match &entry.value {
            Value::Text(word) if word == "on" => Ok(Self::default()),
            Value::Text(word) if word == "off" => Ok(Self { enabled: false, ..Self::default() }),
            Value::Table(table) => Self::read_table(table),
            _ => Err(Fault::value(entry, "\"on\", \"off\" or a table [audit]")),
        }
    }

    fn read_table(table: &Table) -> Result<Self, Fault> {
        let mut audit = Self::default();
        for entry in &table.entries {
            match entry.name.as_str() {
                "enabled" => audit.enabled = entry.switch()?,
                "bodies" => audit.bodies = entry.switch()?,
                "durability" => {
                    audit.durability = match &entry.value {
                        Value::Text(word) if word == "commit" => Durability::Commit,
                        Value::Text(word) if word == "fsync" => Durability::Fsync,
                        _ => return Err(Fault::value(entry, "\"commit\" or \"fsync\"")),
                    };
                }
                "max_age" => {
                    audit.max_age = match &entry.value {
                        Value::Text(text) => units::duration(text).filter(|age| !age.is_zero()),
                        _ => None,
                    }
                    .ok_or_else(|| {
                        Fault::value(entry, "text such as \"90d\", \"12h\" or \"2w\"")
                    })?;
                }
                "max_bytes" => {
                    audit.max_bytes = match &entry.value {
                        Value::Text(text) | Value::Whole(text) => units::bytes(text),
                        _ => None,
                    }
                    .filter(|bytes| *bytes >= LEAST_BYTES)
                    .ok_or_else(|| {
                        let least = units::bytes_text(LEAST_BYTES);
                        let allowed = "text such as \"10GiB\" or \"500MB\"";
                        Fault::value(entry, &format!("{allowed}, at least {least}"))
                    })?;
                }
                "redact" => audit.redact = patterns(entry)?,
                _ => return Err(suggestion::unknown(entry, "[audit]", NAMES)),
            }
        }
        Ok(audit)
    }

    /// Names and values for people and scripts.
    pub(super) fn rows(&self) -> Vec<(String, Json)> {
        let durability = match self.durability {
            Durability::Commit => "commit",
            Durability::Fsync => "fsync",
        };
        let values = [
            json!(self.enabled),
            json!(self.bodies),
            json!(durability),
            json!(units::duration_text(self.max_age)),
            json!(units::bytes_text(self.max_bytes)),
            json!(self.redact),
        ];
        NAMES.iter().map(|name| format!("audit.{name}")).zip(values).collect()
    }
}

fn patterns(entry: &Entry) -> Result<Vec<String>, Fault> {
    let Value::List(items) = &entry.value else {
        return Err(Fault::value(entry, "a list of regular expressions in quotes"));
    };
    if items.len() > PATTERNS {
        let what = format!("`redact` has {} patterns", items.len());
        return Err(Fault::new(entry.line, what, format!("keep at most {PATTERNS}")));
    }
    let patterns: Vec<String> = items
        .iter()
        .map(|item| match item {
            Value::Text(text) if text.is_empty() || text.len() > PATTERN_BYTES => Err(Fault::new(
                entry.line,
                format!("a pattern of `redact` has {} bytes", text.len()),
                format!("a pattern has 1 to {PATTERN_BYTES} bytes"),
            )),
            Value::Text(text) => match regex::bytes::Regex::new(text) {
                // What fits nothing at all would be put between all characters.
                Ok(pattern) if pattern.is_match(b"") => Err(Fault::new(
                    entry.line,
                    format!("the pattern {item} of `redact` fits the empty text"),
                    "say what at least must be there, for example with + in the place of *",
                )),
                Ok(_) => Ok(text.clone()),
                Err(error) => Err(Fault::new(
                    entry.line,
                    format!(
                        "{item} of `redact` is not a regular expression: {}",
                        error.to_string().lines().last().unwrap_or_default().trim()
                    ),
                    "write it in 'single quotes', in which backslashes stay as they are",
                )),
            },
            _ => Err(Fault::value(entry, "a list of regular expressions in quotes")),
        })
        .collect::<Result<_, _>>()?;
    // As at the start, which also says how large one may be.
    Redactor::new(&patterns).map_err(|error| {
        let item = error.place.and_then(|place| items.get(place));
        let item = item.map(|item| format!("the pattern {item} of ")).unwrap_or_default();
        Fault::new(
            entry.line,
            format!("{item}`redact` cannot be used: {}", error.why),
            "take a simpler pattern, or several that are shorter",
        )
    })?;
    Ok(patterns)
}
