//! Flags in the file: native TOML values, checked by the flags' own parsers.
//!
//! There is no second list of settings. Names, ranges and words come from the definitions of the
//! command line, so that a new flag is at once a new setting of the file.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use serde_json::{Value as Json, json};

use super::document::{Entry, Value, printable};
use super::{Fault, FlagValue};
use crate::settings::values::{Wait, WarmUp, switch};

/// Which TOML values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::settings) enum Kind {
    Text,
    /// Text; where it is not absolute, it starts at the folder of the file.
    Path,
    Whole,
    Number,
    Switch,
    /// A list of text.
    List,
    /// A number or a word: the flag's parser decides.
    Mixed,
}

/// The kind of a setting, from the type that its flag is parsed to.
pub(in crate::settings) fn kind(argument: &Arg) -> Kind {
    let parsed = argument.get_value_parser().type_id();
    let is_whole = parsed == TypeId::of::<u16>()
        || parsed == TypeId::of::<u32>()
        || parsed == TypeId::of::<u64>()
        || parsed == TypeId::of::<usize>();
    if matches!(argument.get_action(), ArgAction::Append) {
        Kind::List
    } else if is_whole {
        Kind::Whole
    } else if parsed == TypeId::of::<f64>() {
        Kind::Number
    } else if parsed == TypeId::of::<bool>() {
        Kind::Switch
    } else if parsed == TypeId::of::<PathBuf>() {
        Kind::Path
    } else if parsed == TypeId::of::<Wait>() || parsed == TypeId::of::<WarmUp>() {
        Kind::Mixed
    } else {
        Kind::Text
    }
}

impl Kind {
    fn allowed(self) -> &'static str {
        match self {
            Self::Text => "text in quotes",
            Self::Path => "a path in quotes",
            Self::Whole => "a whole number without quotes",
            Self::Number => "a number without quotes",
            Self::Switch => "true or false",
            Self::List => "a list of text, such as [\"one\", \"two\"]",
            Self::Mixed => "a number or a word",
        }
    }
}

/// Reads and checks the value of a flag.
pub(super) fn read(argument: &Arg, entry: &Entry, folder: &Path) -> Result<FlagValue, Fault> {
    let kind = kind(argument);
    let words = words(argument);
    let refuse = || {
        let allowed = words.clone().unwrap_or_else(|| kind.allowed().to_owned());
        Err(Fault::value(entry, &allowed))
    };
    let values: Vec<OsString> = match (kind, &entry.value) {
        (Kind::Path, Value::Text(text)) if text.contains('\0') => return refuse(),
        (Kind::Path, Value::Text(text)) if !text.is_empty() => vec![folder.join(text).into()],
        (Kind::Text | Kind::Path | Kind::Mixed, Value::Text(text))
        | (Kind::Whole | Kind::Number | Kind::Mixed, Value::Whole(text))
        | (Kind::Number | Kind::Mixed, Value::Decimal(text)) => vec![text.into()],
        (Kind::Switch | Kind::Mixed, Value::Switch(switch)) => vec![switch.to_string().into()],
        (Kind::List, Value::List(items)) => {
            let mut texts = Vec::new();
            for item in items {
                match item {
                    // A comma would make two of one on the command line.
                    Value::Text(text) if !text.is_empty() && !text.contains(',') => {
                        texts.push(text.into());
                    }
                    _ => return refuse(),
                }
            }
            texts
        }
        _ => return refuse(),
    };
    match try_alone(argument, &values) {
        Ok(()) => Ok(FlagValue { name: entry.name.clone(), line: entry.line, values }),
        Err(_) if words.is_some() => refuse(),
        Err(error) => Err(refusal(entry, kind, &error)),
    }
}

/// The parser's refusal in the words of the file.
fn refusal(entry: &Entry, kind: Kind, error: &clap::Error) -> Fault {
    let value = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if kind == Kind::List => {
            format!("\"{}\"", printable(value))
        }
        _ => entry.value.to_string(),
    };
    let reason = std::error::Error::source(error).map(ToString::to_string);
    // What the standard library says of digits helps nobody.
    let hint = match reason.filter(|reason| !reason.contains("invalid digit")) {
        Some(range) if range.contains(" is not in ") => range,
        Some(allowed) => format!("it takes {allowed}"),
        None if kind == Kind::Whole => "it takes a whole number from 0".to_owned(),
        None => format!("it takes {}", kind.allowed()),
    };
    Fault::new(entry.line, format!("`{}` cannot be {value}", entry.name), hint)
}

/// Parses one flag as if it alone stood on a command line.
fn try_alone(argument: &Arg, values: &[OsString]) -> Result<(), clap::Error> {
    let Some(name) = argument.get_long() else {
        return Err(clap::Error::new(ErrorKind::UnknownArgument));
    };
    let line = std::iter::once("mcptb".into()).chain(values.iter().map(|value| typed(name, value)));
    Command::new("mcptb").arg(argument.clone()).try_get_matches_from(line).map(drop)
}

/// `--name=value`.
pub(in crate::settings) fn typed(name: &str, value: &OsStr) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

/// The words of a closed list, as they are written in the file.
fn words(argument: &Arg) -> Option<String> {
    // The parser of booleans lists words that the file does not take.
    if kind(argument) != Kind::Text {
        return None;
    }
    let words: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|word| format!("\"{}\"", word.get_name()))
        .collect();
    (!words.is_empty()).then(|| words.join(" or "))
}

/// A value as the file would hold it.
pub(in crate::settings) fn shown(kind: Kind, values: &[OsString]) -> Json {
    let text = |value: &OsString| value.to_string_lossy().into_owned();
    let one = values.first().map(text);
    match (kind, one) {
        (Kind::List, _) => json!(values.iter().map(text).collect::<Vec<_>>()),
        (_, None) => Json::Null,
        (Kind::Switch, Some(word)) => switch(&word).map_or(json!(word), |on| json!(on)),
        (Kind::Whole | Kind::Number | Kind::Mixed, Some(word)) => {
            word.trim().parse::<serde_json::Number>().map_or(json!(word), |number| json!(number))
        }
        (Kind::Text | Kind::Path, Some(word)) => json!(word),
    }
}
