//! What only the file can say: there is no flag for a table of prices.

use gateway::budgets::Calendar;
use serde_json::{Value as Json, json};

use super::Fault;
use super::audit::Audit;
use super::by_model::ByModel;
use super::document::{Entry, Value};
use super::prices::{ModelLimits, Price, by_model};

/// The names of everything here, at the top of the file.
pub(super) const NAMES: [&str; 6] =
    ["time_zone", "expected_output", "budget", "audit", "prices", "models"];

/// Those of them that are tables.
pub(super) const TABLES: [&str; 3] = ["audit", "prices", "models"];

/// The settings that are no flags. Read whole from each version of the file, and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    /// The zone whose calendar budgets follow, as in the IANA database, which knows it.
    pub(crate) time_zone: String,
    /// Tokens of output that are reserved for a call, at most.
    pub(crate) expected_output: u64,
    pub(crate) budget: BudgetMode,
    pub(crate) audit: Audit,
    pub(crate) prices: ByModel<Price>,
    pub(crate) models: ByModel<ModelLimits>,
}

/// What `time_zone` takes.
const ZONES: &str = "a name of the IANA database, such as \"Europe/Berlin\" or \"UTC\"";

/// What is reserved for a call before it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BudgetMode {
    /// What such calls use; a budget may be overrun by calls that were admitted.
    Expected,
    /// All that was asked for; nothing is overrun.
    Hard,
}

impl Default for Sections {
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            expected_output: 4096,
            budget: BudgetMode::Expected,
            audit: Audit::default(),
            prices: ByModel::default(),
            models: ByModel::default(),
        }
    }
}

impl Sections {
    /// Takes one entry of the top of the file, if it belongs here.
    pub(super) fn take(&mut self, entry: &Entry) -> Result<bool, Fault> {
        match entry.name.as_str() {
            "time_zone" => self.time_zone = time_zone(entry)?,
            "expected_output" => self.expected_output = entry.whole(1, 10_000_000)?,
            "budget" => {
                self.budget = match &entry.value {
                    Value::Text(word) if word == "expected" => BudgetMode::Expected,
                    Value::Text(word) if word == "hard" => BudgetMode::Hard,
                    _ => return Err(Fault::value(entry, "\"expected\" or \"hard\"")),
                };
            }
            "audit" => self.audit = Audit::read(entry)?,
            "prices" => self.prices = by_model(entry, Price::read)?,
            "models" => self.models = by_model(entry, ModelLimits::read)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Names and values for people and scripts.
    pub(in crate::settings) fn rows(&self) -> Vec<(String, Json)> {
        let budget = match self.budget {
            BudgetMode::Expected => "expected",
            BudgetMode::Hard => "hard",
        };
        let mut rows = vec![
            ("time_zone".to_owned(), json!(self.time_zone)),
            ("expected_output".to_owned(), json!(self.expected_output)),
            ("budget".to_owned(), json!(budget)),
        ];
        rows.extend(self.audit.rows());
        rows.extend(self.prices.iter().flat_map(|(pattern, price)| price.rows(pattern)));
        rows.extend(self.models.iter().flat_map(|(pattern, limits)| limits.rows(pattern)));
        rows
    }
}

/// The name of a zone that there is.
fn time_zone(entry: &Entry) -> Result<String, Fault> {
    let plausible = |name: &str| {
        !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-+/".contains(&byte))
            && name.split('/').all(|part| !part.is_empty())
    };
    let Value::Text(name) = &entry.value else { return Err(Fault::value(entry, ZONES)) };
    if !plausible(name) {
        return Err(Fault::value(entry, ZONES));
    }
    // What is not known here would end the bridge at its start.
    Calendar::new(name).map(|_| name.clone()).map_err(|unknown| {
        let meant = unknown.meant.map(|meant| format!("; did you mean \"{meant}\"?"));
        let what = format!("`time_zone` cannot be {}{}", entry.value, meant.unwrap_or_default());
        Fault::new(entry.line, what, format!("it takes {ZONES}"))
    })
}
