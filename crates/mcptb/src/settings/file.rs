//! The configuration file.
//!
//! It says what flags and variables can say, under the flags' own names, and what needs a table.
//! All of it is read and checked before any of it counts, and every refusal names its line: a
//! setting that was misspelt and passed over would be a door left open.

use std::ffi::OsString;
use std::io::Read;
use std::path::Path;

use crate::cli::Problem;

mod audit;
mod by_model;
mod document;
mod example;
mod flags;
mod place;
mod prices;
mod sections;
mod stamp;
mod suggestion;
#[cfg(test)]
mod tests;
mod units;

pub(crate) use audit::Durability as AuditDurability;
use document::{Entry, Value};
pub(super) use example::write as write_example;
pub(super) use flags::{Kind, kind, shown, typed};
pub(crate) use place::{ConfigPath, Place};
pub(crate) use sections::{BudgetMode, Sections};
pub(crate) use stamp::Stamp;

/// The largest file, in bytes. A file of settings has some thousands.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileSettings {
    /// The settings that are flags as well.
    pub(super) flags: Vec<FlagValue>,
    pub(super) sections: Sections,
    /// The lines of the names at the top that `sections` holds.
    pub(super) section_lines: Vec<(String, usize)>,
}

/// A flag's setting in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlagValue {
    /// The flag, in `snake_case`.
    pub(super) name: String,
    pub(super) line: usize,
    /// As on the command line.
    pub(super) values: Vec<OsString>,
}

/// What is wrong in a file, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    line: usize,
    what: String,
    hint: String,
}

impl Fault {
    fn new(line: usize, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { line, what: what.into(), hint: hint.into() }
    }

    /// A value that its setting does not take.
    fn value(entry: &Entry, allowed: &str) -> Self {
        let what = format!("`{}` cannot be {}", document::printable(&entry.name), entry.value);
        let hint = match &entry.value {
            Value::Table(_) | Value::List(_) | Value::Time(_) => {
                format!("it takes {allowed}; here stands {}", entry.value.kind())
            }
            _ => format!("it takes {allowed}"),
        };
        Self::new(entry.line, what, hint)
    }
}

impl Entry {
    /// A switch, or the fault.
    fn switch(&self) -> Result<bool, Fault> {
        match self.value {
            Value::Switch(switch) => Ok(switch),
            _ => Err(Fault::value(self, "true or false")),
        }
    }

    /// A whole number in a range, or the fault.
    fn whole(&self, least: u64, most: u64) -> Result<u64, Fault> {
        let number = match &self.value {
            Value::Whole(text) => text.parse().ok(),
            _ => None,
        };
        number
            .filter(|number| (least..=most).contains(number))
            .ok_or_else(|| Fault::value(self, &format!("a whole number from {least} to {most}")))
    }
}

/// Reads the file, if there has to be or is one.
pub(super) fn read(place: &Place) -> Result<Option<FileSettings>, Problem> {
    let Some(path) = place.path() else { return Ok(None) };
    let unreadable = |error: &std::io::Error| {
        let hint = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "--config and MCPTB_CONFIG must name a file; make one with: mcptb config example"
            }
            std::io::ErrorKind::PermissionDenied => {
                "let the account that runs mcptb read the file and its folders"
            }
            _ => "name a file of settings with --config or MCPTB_CONFIG",
        };
        Problem::new(
            format!("the configuration file {} cannot be read: {error}", path.display()),
            hint,
        )
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(place, Place::Usual(_)) && error.kind() == std::io::ErrorKind::NotFound =>
        {
            return Ok(None);
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Problem::new(
            format!("the configuration file {} is larger than 1 MiB", path.display()),
            "name a file of settings with --config or MCPTB_CONFIG",
        ));
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    parse(&bytes, folder).map(Some).map_err(|fault| {
        let Fault { line, what, hint } = fault;
        Problem::new(format!("{}: line {line}: {what}", path.display()), hint)
    })
}

/// Parses the bytes of a file. Relative paths start at its folder.
fn parse(bytes: &[u8], folder: &Path) -> Result<FileSettings, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = good.split(|byte| *byte == b'\n').count();
        Fault::new(line, "this is not UTF-8", "save the file as UTF-8")
    })?;
    let command = super::command();
    let mut read = FileSettings::default();
    for entry in &document::parse(text)?.entries {
        if entry.name == "token" {
            return Err(Fault::new(
                entry.line,
                "a token does not belong in this file",
                "put it alone in a file that only you can read, and name that one here: \
                 token_file = \"/path/to/token\"; or set MCPTB_TOKEN",
            ));
        }
        if entry.name == "config" {
            return Err(Fault::new(
                entry.line,
                "a configuration file cannot name another one",
                "use --config or MCPTB_CONFIG",
            ));
        }
        if let Some(argument) = command
            .get_arguments()
            // Here it may be a table, of which the flag says one word.
            .find(|known| *known.get_id() == *entry.name && entry.name != "audit")
        {
            read.flags.push(flags::read(argument, entry, folder)?);
        } else if read.sections.take(entry)? {
            read.section_lines.push((entry.name.clone(), entry.line));
        } else {
            let flags = command.get_arguments().map(|known| known.get_id().as_str());
            let known = flags.chain(sections::NAMES).filter(|name| *name != "config");
            return Err(match entry.value {
                Value::Table(_) => suggestion::unknown(entry, "", sections::TABLES),
                _ => suggestion::unknown(entry, "", known),
            });
        }
    }
    Ok(read)
}
