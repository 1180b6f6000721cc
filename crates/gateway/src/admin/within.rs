//! Whether a child key stays within those above it.
//!
//! What holds for a call is always the tightest bound of the whole line, whatever a child's own
//! fields say. This check is for people: a bound that could never count is refused by name, and
//! not stored to be believed.

use super::AdminError;
use super::fields::{BoundsFields, KeyFields};
use crate::amounts::Budget;
use crate::keyring::ActiveKey;
use crate::keys::{Bounds, Glob, VirtualKey};

type Checked = Result<(), AdminError>;

/// Checks what was said of a child against one key above it. What was not said was inherited.
pub(super) fn check_within(fields: &KeyFields, line: &ActiveKey) -> Checked {
    let above = &line.key;
    if !fits(fields.expires, above.expires) {
        return Err(wider("expires", above));
    }
    if !fits(fields.uses, above.uses) {
        return Err(wider("uses", above));
    }
    if fields.can_mint == Some(true) && !above.can_mint {
        return Err(wider("can_mint", above));
    }
    if fields.priority.is_some_and(|priority| priority > above.priority) {
        return Err(wider("priority", above));
    }
    // How a line of keys is recorded is decided at its top: neither may a child hide what is to be
    // kept, nor keep what is not.
    if fields.audit.is_some_and(|audit| audit != line.audit) {
        let why = format!("must be `{}`, as of the keys above it", line.audit.as_str());
        return Err(AdminError::invalid("audit", why));
    }
    check_bounds(&fields.bounds, above)
}

fn check_bounds(fields: &BoundsFields, key: &VirtualKey) -> Checked {
    let above = &key.bounds;
    let refuse = |field| wider(field, key);
    if !covered(fields.models.as_deref(), &above.models, Glob::covers) {
        return Err(refuse("bounds.models"));
    }
    if !covered(fields.endpoints.as_deref(), &above.endpoints, |wide, narrow| wide == narrow) {
        return Err(refuse("bounds.endpoints"));
    }
    if !covered(fields.networks.as_deref(), &above.networks, |wide, narrow| wide.contains(narrow)) {
        return Err(refuse("bounds.networks"));
    }
    let bounded = |field, good: bool| if good { Ok(()) } else { Err(refuse(field)) };
    bounded("bounds.max_output", fits(fields.max_output, above.max_output))?;
    bounded("bounds.max_body", fits(fields.max_body, above.max_body))?;
    let (requests, tokens) = (fields.requests_per_minute, fields.tokens_per_minute);
    bounded("bounds.requests_per_minute", fits(requests, above.requests_per_minute))?;
    bounded("bounds.tokens_per_minute", fits(tokens, above.tokens_per_minute))?;
    bounded("bounds.concurrency", fits(fields.concurrency, above.concurrency))?;
    let budgets = fields.budgets.as_deref().unwrap_or_default();
    let more = |budget: &Budget| {
        let same = above.budgets.iter().find(|other| same_window(budget, other));
        same.is_some_and(|other| budget.limit > other.limit)
    };
    bounded("bounds.budgets", !budgets.iter().any(more))
}

/// Adds the budgets of a parent that a child's own list does not name.
pub(super) fn inherit_budgets(child: &mut Bounds, parent: &Bounds) {
    for budget in &parent.budgets {
        if !child.budgets.iter().any(|other| same_window(budget, other)) {
            child.budgets.push(*budget);
        }
    }
}

fn same_window(left: &Budget, right: &Budget) -> bool {
    (left.unit, left.span) == (right.unit, right.span)
}

/// Whether each of `narrow` lies within one of `wide`; an empty list is everything.
fn covered<T>(narrow: Option<&[T]>, wide: &[T], within: impl Fn(&T, &T) -> bool) -> bool {
    let Some(narrow) = narrow else { return true };
    let all = || narrow.iter().all(|narrow| wide.iter().any(|wide| within(wide, narrow)));
    wide.is_empty() || (!narrow.is_empty() && all())
}

/// Whether what was said is no more than what is above; `None` is without bound.
#[expect(clippy::option_option, reason = "a bound may be left out, or said to be none")]
fn fits<T: Ord>(said: Option<Option<T>>, above: Option<T>) -> bool {
    match (said, above) {
        (None, _) | (_, None) => true,
        (Some(None), Some(_)) => false,
        (Some(Some(said)), Some(above)) => said <= above,
    }
}

fn wider(field: &'static str, above: &VirtualKey) -> AdminError {
    AdminError::invalid(field, format!("goes beyond that of the key {} above it", above.id))
}
