//! Whether fields make sense by themselves.

use std::collections::HashSet;
use std::fmt::Display;

use super::AdminError;
use super::fields::{BoundsFields, KeyFields, TenantFields};
use crate::keys::{KeyKind, UnixMillis};

/// The longest name, in characters.
const NAME: usize = 100;
/// The longest notes, in bytes.
const NOTES: usize = 4096;
/// The longest list of one bound.
const LIST: usize = 64;
/// The last instant that a date with four digits of a year can tell.
const LAST_INSTANT: UnixMillis = 253_402_300_799_999;

type Checked = Result<(), AdminError>;

impl KeyFields {
    pub(super) fn check(&self, kind: KeyKind, now: UnixMillis) -> Checked {
        if let Some(name) = &self.name {
            if name.chars().count() > NAME {
                return Err(AdminError::invalid("name", "is longer than 100 characters"));
            }
            // Names stand in tables on terminals, where control characters do things.
            if name.chars().any(char::is_control) {
                return Err(AdminError::invalid("name", "holds control characters"));
            }
        }
        check_notes(self.notes.as_ref())?;
        match self.expires.flatten() {
            Some(expires) if expires <= now => {
                return Err(AdminError::invalid("expires", "is in the past"));
            }
            Some(expires) if expires > LAST_INSTANT => {
                return Err(AdminError::invalid("expires", "is after the year 9999"));
            }
            _ => {}
        }
        check_amount("uses", self.uses.flatten())?;
        self.bounds.check()?;
        if kind == KeyKind::Admin { self.check_admin() } else { Ok(()) }
    }

    /// An admin key calls no model. A bound that never holds would only seem to protect.
    fn check_admin(&self) -> Checked {
        let bounds = &self.bounds;
        let pointless = [
            ("uses", self.uses.flatten().is_some()),
            ("can_mint", self.can_mint == Some(true)),
            ("priority", self.priority.is_some()),
            ("audit", self.audit.is_some()),
            ("bounds.models", given(bounds.models.as_ref())),
            ("bounds.endpoints", given(bounds.endpoints.as_ref())),
            ("bounds.max_output", bounds.max_output.flatten().is_some()),
            ("bounds.max_body", bounds.max_body.flatten().is_some()),
            ("bounds.requests_per_minute", bounds.requests_per_minute.flatten().is_some()),
            ("bounds.tokens_per_minute", bounds.tokens_per_minute.flatten().is_some()),
            ("bounds.concurrency", bounds.concurrency.flatten().is_some()),
            ("bounds.budgets", given(bounds.budgets.as_ref())),
        ];
        match pointless.into_iter().find(|(_, given)| *given) {
            Some((field, _)) => {
                Err(AdminError::invalid(field, "is not for an admin key, which calls no model"))
            }
            None => Ok(()),
        }
    }
}

impl TenantFields {
    pub(super) fn check(&self) -> Checked {
        check_notes(self.notes.as_ref())?;
        if self.weight == Some(0) {
            return Err(AdminError::invalid("weight", "must be at least 1"));
        }
        self.bounds.check()
    }
}

impl BoundsFields {
    fn check(&self) -> Checked {
        check_list("bounds.models", self.models.as_ref())?;
        check_list("bounds.endpoints", self.endpoints.as_ref())?;
        check_list("bounds.networks", self.networks.as_ref())?;
        check_amount("bounds.max_output", self.max_output.flatten())?;
        check_amount("bounds.max_body", self.max_body.flatten())?;
        let requests = self.requests_per_minute.flatten();
        check_amount("bounds.requests_per_minute", requests.map(u64::from))?;
        check_amount("bounds.tokens_per_minute", self.tokens_per_minute.flatten())?;
        check_amount("bounds.concurrency", self.concurrency.flatten().map(u64::from))?;
        let Some(budgets) = &self.budgets else { return Ok(()) };
        check_list("bounds.budgets", Some(budgets))?;
        let mut seen = HashSet::new();
        for budget in budgets {
            check_amount("bounds.budgets", Some(budget.limit))?;
            if !seen.insert((budget.unit, budget.span)) {
                let why = "has two of the same unit and span";
                return Err(AdminError::invalid("bounds.budgets", why));
            }
        }
        Ok(())
    }
}

fn given<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn check_notes(notes: Option<&String>) -> Checked {
    let Some(notes) = notes else { return Ok(()) };
    if notes.len() > NOTES {
        return Err(AdminError::invalid("notes", "is longer than 4096 bytes"));
    }
    let odd = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    if notes.chars().any(odd) {
        return Err(AdminError::invalid("notes", "holds control characters"));
    }
    Ok(())
}

fn check_list<T>(field: &'static str, list: Option<&Vec<T>>) -> Checked {
    if list.is_some_and(|list| list.len() > LIST) {
        return Err(too_many(field, LIST));
    }
    Ok(())
}

fn too_many(field: &'static str, most: impl Display) -> AdminError {
    AdminError::invalid(field, format!("has more than {most} entries"))
}

/// Stores count in signed numbers of 64 bits.
fn check_amount(field: &'static str, amount: Option<u64>) -> Checked {
    match amount {
        Some(0) => Err(AdminError::invalid(field, "must be at least 1")),
        Some(amount) if i64::try_from(amount).is_err() => {
            Err(AdminError::invalid(field, format!("must be at most {}", i64::MAX)))
        }
        _ => Ok(()),
    }
}
