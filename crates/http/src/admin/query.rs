//! The query string, where every parameter is known and none comes twice: a filter that is not
//! understood must not widen what is found.

use super::refused::Refused;
use super::routes::Route;
use crate::query::parameter;

/// Entries of a page, unless the request says how many.
pub(super) const PAGE: usize = 100;
/// The most that it may say.
pub(super) const LONGEST_PAGE: usize = 1000;

/// The parameters of a request.
pub(super) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads the parameters that a route knows.
    pub(super) fn read(text: &str, route: &Route) -> Result<Self, Refused> {
        let mut found = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split_once('=').map_or(pair, |(name, _)| name);
            let Some(known) = route.query.iter().find(|known| known.name == name) else {
                let name: String = name.chars().take(100).collect();
                let known: Vec<&str> = route.query.iter().map(|known| known.name).collect();
                let message = match known.as_slice() {
                    [] => format!("Unknown parameter '{name}': this path takes none."),
                    known => {
                        let known = known.join(", ");
                        format!("Unknown parameter '{name}': expected one of {known}.")
                    }
                };
                return Err(Refused::invalid(name, message));
            };
            if found.iter().any(|(name, _)| *name == known.name) {
                let message = format!("The parameter '{name}' comes twice.");
                return Err(Refused::invalid(name, message));
            }
            found.push((known.name, parameter(text, name).unwrap_or_default()));
        }
        Ok(Self(found))
    }

    /// The text of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str())
    }

    /// A parameter, read.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Refused> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let wrong = |why| Refused::invalid(name, format!("Invalid value for '{name}': {why}."));
        read(text).map(Some).map_err(wrong)
    }

    /// How many entries a page may have.
    pub(super) fn limit(&self) -> Result<usize, Refused> {
        let limit = self.get("limit", |text| {
            let limit = text.parse().ok().filter(|limit| (1..=LONGEST_PAGE).contains(limit));
            limit.ok_or_else(|| format!("expected a number from 1 to {LONGEST_PAGE}"))
        })?;
        Ok(limit.unwrap_or(PAGE))
    }
}
